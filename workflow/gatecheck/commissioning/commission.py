"""`gatecheck commission`: beam data in, a fitted source model with its page and table out."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.commissioning.beam_data import BeamData
from gatecheck.commissioning.beam_file import fitted_beam, write_beam
from gatecheck.commissioning.fit import (
    FitResult,
    correction_at,
    fit,
    judged_directly,
    penumbra_readings,
    predict_directly,
)
from gatecheck.commissioning.jaw_scale import JawScale, jaw_scale
from gatecheck.commissioning.judgement import Judged
from gatecheck.commissioning.leaves import commission_leaves
from gatecheck.commissioning.observations import observations_of
from gatecheck.commissioning.observe import CHAMBER_WIDTH
from gatecheck.commissioning.page import Cost, write_page
from gatecheck.commissioning.responses import requests_for, simulate_beam, simulate_responses
from gatecheck.commissioning.water.electron_library import electron_library
from gatecheck.commissioning.water.pencil import pencil_tables
from gatecheck.config_transport import TransportConfig
from gatecheck.errors import InputError
from gatecheck.files import write_atomically
from gatecheck.linac.model import LinacModel
from gatecheck.transport.engine import describe_engine
from gatecheck.transport.geant4_data.folders import cache_folder

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
FloatArray = npt.NDArray[np.float64]

_FEWEST = 12  # numbers in beam data that are worth a fit
_SEED, _SEEDS_APART = 20_001, 1_000

_RESPONSE_SHARE = 0.5  # of the photons, for the responses: only their changes are used

ROUNDS = 2
"""How often the fitted source is simulated and fitted again with what that gave."""


@dataclass(frozen=True, slots=True)
class Commissioned:
    """What `commission` wrote and found."""

    result: FitResult
    judged: tuple[Judged, ...]
    jaws: JawScale | None
    beam_file: Path
    page: Path


def commission(
    linac: LinacModel,
    data: BeamData,
    out_folder: Path,
    *,
    settings: TransportConfig,
    histories: int,
    batches: int = 8,
    processes: int = 2,
    leaves: bool = True,
    progress: Progress | None = None,
) -> Commissioned:
    """Fit a machine's photon source to beam data.

    Writes beam_6x.yaml (named as the beam is), commissioning.html and commissioning.json into
    `out_folder`; the machine model itself is left as it is until someone puts the new beam file there.

    Parameters
    ----------
    histories : int
        Source photons of a 100 x 100 mm field; others as their size asks.
    leaves : bool
        Whether the MLC is simulated too, with the fitted source, for the page.
    progress : callable, optional
        Called with what is being done, how many parts of it are done, and of how many.

    Raises
    ------
    InputError
        When the beam data hold too little to fit.
    SimulationError, WriteError
    """
    observations = observations_of(data, detector=CHAMBER_WIDTH)
    if len(observations) < _FEWEST:
        raise InputError(
            f"beam data ({data.source}): {len(observations)} usable numbers found, at least {_FEWEST} are needed: "
            "depth doses, profiles in % of the axis, widths, penumbrae or output factors of jaw-defined fields."
        )
    seconds: dict[str, float] = {}

    def say(what: str, done: int, total: int) -> None:
        if progress is not None:
            progress(what, done, total)

    started = time.perf_counter()
    tables = pencil_tables(
        settings,
        cache_folder() / "water",
        processes=processes,
        progress=lambda done, total: say("dose round single particles", done, total),
    )
    seconds["Dose round single particles (kept for later)"] = time.perf_counter() - started
    requests = requests_for(observations)
    started = time.perf_counter()
    responses = simulate_responses(
        requests,
        linac=linac,
        tables=tables,
        histories=round(_RESPONSE_SHARE * histories),
        batches=batches,
        seed=_SEED,
        processes=processes,
        progress=lambda done, total: say("responses of the source's parts", done, total),
    )
    seconds["Responses of the source's parts"] = time.perf_counter() - started
    seconds["Fits"] = seconds["Fields of the fitted sources"] = 0.0
    corrections: list[FloatArray] = []
    variances: list[FloatArray] = []
    readings = np.zeros(len(observations))
    for turn in range(ROUNDS + 1):
        started = time.perf_counter()
        say("fit", turn, ROUNDS + 1)
        # The mean of all rounds has less noise than the last one; what corrects hardly depends on the parameters.
        correction = np.mean(corrections, axis=0) if corrections else None
        noise = np.sqrt(np.mean(variances, axis=0) / len(variances) + readings**2) if variances else None
        result = fit(linac.beam, observations, responses, correction=correction, noise=noise)
        seconds["Fits"] += time.perf_counter() - started
        started = time.perf_counter()
        direct = simulate_beam(
            requests,
            linac=linac.model_copy(update={"beam": result.beam}),
            tables=tables,
            histories=histories,
            batches=batches,
            seed=_SEED + (turn + 1) * _SEEDS_APART,
            processes=processes,
            progress=lambda done, total: say("fields of the fitted source", done, total),
        )
        seconds["Fields of the fitted sources"] += time.perf_counter() - started
        found = predict_directly(observations, direct)
        corrections.append(correction_at(result, found, responses))
        variances.append(np.square([one.sigma for one in found]))
        readings = penumbra_readings(observations, direct)
    result = judged_directly(result, found, readings)
    started = time.perf_counter()
    leaf_fields = None
    if leaves:
        leaf_fields = commission_leaves(
            linac.model_copy(update={"beam": result.beam}),
            data,
            electron_library(settings, cache_folder() / "water"),
            processes=processes,
            progress=progress,
        )
        seconds["Leaf fields"] = time.perf_counter() - started
    beam = fitted_beam(result, data_source=data.source, data_sha256=data.sha256)
    beam_file = out_folder / f"beam_{beam.name.lower()}.yaml"
    write_beam(beam_file, beam)
    page = out_folder / "commissioning.html"
    judged = write_page(
        page,
        linac=linac,
        data=data,
        result=result,
        responses=direct,
        leaves=leaf_fields,
        engine=describe_engine(settings),
        cost=Cost(histories, seconds),
    )
    jaws = jaw_scale(judged, assumed=linac.machine.jaws.x.position_scale)
    _write_table(out_folder / "commissioning.json", result, judged, jaws, seconds)
    return Commissioned(result, judged, jaws, beam_file, page)


def _write_table(
    path: Path, result: FitResult, judged: tuple[Judged, ...], jaws: JawScale | None, seconds: dict[str, float]
) -> None:
    content = {
        "schema_version": 1,
        "chi_squared": result.chi_squared,
        "degrees_of_freedom": result.degrees_of_freedom,
        "seconds": seconds,
        "jaw_position_scale": None if jaws is None else asdict(jaws),
        "parameters": {
            one.parameter.name: {
                "value": one.value,
                "uncertainty": one.uncertainty,
                "start": one.start,
                "unit": one.parameter.unit,
                "at_bound": one.at_bound,
            }
            for one in result.parameters
        },
        "table": [
            {
                "quantity": one.observation.quantity,
                "jaws": [
                    one.observation.jaws.x1,
                    one.observation.jaws.x2,
                    one.observation.jaws.y1,
                    one.observation.jaws.y2,
                ],
                "ssd_mm": one.observation.source_surface_distance,
                "depth_mm": one.observation.depth,
                "off_axis_mm": one.observation.off_axis,
                "axis": one.observation.axis,
                "measured": one.observation.value,
                "simulated": one.simulated.value,
                "difference": one.difference,
                "sigma": one.sigma,
                "tolerance": one.tolerance.value,
                "unit": one.tolerance.unit,
                "passed": one.passed,
                "decides": one.decides,
            }
            for one in judged
        ],
    }
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
