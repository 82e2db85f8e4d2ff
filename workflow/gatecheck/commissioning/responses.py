"""The simulations that a set of observations needs: each jaw setting once, for all its tanks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gatecheck.commissioning.beam_data import JawField
from gatecheck.commissioning.observations import Observation
from gatecheck.commissioning.parameters import SPOT_SCALE, with_values
from gatecheck.commissioning.water.field import expected_field
from gatecheck.commissioning.water.pencil import PencilTables
from gatecheck.commissioning.water.source_basis import (
    BasisSampling,
    BeamSampling,
    Sampling,
    SourceBasis,
    basis_for,
    proposal_source,
)
from gatecheck.commissioning.water.tank import Response, TankSetup
from gatecheck.linac.model import LinacModel
from gatecheck.transport.fast_head.tables import source_of
from gatecheck.transport.process import run_in_processes

FloatArray = npt.NDArray[np.float64]

_BELOW = 15.0  # mm of depth dose below the deepest value, for the smooth curve through it
_DEEP_ENOUGH = 200.0  # mm: a smooth curve is fitted down to there
_PROFILE_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class FieldRequest:
    """One jaw setting and what is scored in its tanks."""

    jaws: JawField
    setups: tuple[TankSetup, ...]


def requests_for(observations: Sequence[Observation]) -> list[FieldRequest]:
    """What must be simulated for these observations, the largest fields first: they take longest."""
    setups: dict[JawField, dict[float, tuple[float, set[float]]]] = {}
    for seen in observations:
        for jaws in {seen.jaws, seen.reference}:
            deepest, profiles = setups.setdefault(jaws, {}).setdefault(
                seen.source_surface_distance, (_DEEP_ENOUGH, set())
            )
            if seen.quantity in ("profile", "width_50", "penumbra_80_20"):
                profiles = {*profiles, seen.depth}
            setups[jaws][seen.source_surface_distance] = (max(deepest, seen.depth + _BELOW), profiles)
    requests = [
        FieldRequest(
            jaws,
            tuple(TankSetup(ssd, deepest, tuple(sorted(depths))) for ssd, (deepest, depths) in sorted(tanks.items())),
        )
        for jaws, tanks in setups.items()
    ]
    return sorted(requests, key=lambda request: -request.jaws.size_x * request.jaws.size_y)


@dataclass(frozen=True, slots=True)
class ResponseSet:
    """Responses by jaw setting, SSD and scale of the focal spot."""

    basis: SourceBasis
    responses: dict[tuple[JawField, float, float], Response]

    def response(self, jaws: JawField, source_surface_distance: float, spot_scale: float = 1.0) -> Response:
        """One response."""
        return self.responses[jaws, source_surface_distance, spot_scale]

    def averaged(self) -> ResponseSet:
        """With the mean of the batches as the only one: no sigma, but an eighth of the work."""
        return self._changed(
            lambda response: (response.depth_dose.mean(axis=0)[np.newaxis], response.profile.mean(axis=0)[np.newaxis])
        )

    def weighted(self, weights: FloatArray) -> ResponseSet:
        """The responses of one source, as a basis of one element."""
        return self._changed(
            lambda response: (
                (response.depth_dose @ weights)[..., np.newaxis],
                (response.profile @ weights)[..., np.newaxis],
            )
        )

    def _changed(self, change: Callable[[Response], tuple[FloatArray, FloatArray]]) -> ResponseSet:
        changed = {}
        for key, response in self.responses.items():
            depth_dose, profile = change(response)
            changed[key] = replace(response, depth_dose=depth_dose, profile=profile)
        return ResponseSet(self.basis, changed)

    def spot_scales(self, jaws: JawField, source_surface_distance: float) -> list[float]:
        """The scales of the focal spot for which a field was simulated, rising."""
        return sorted(scale for field, ssd, scale in self.responses if (field, ssd) == (jaws, source_surface_distance))


def simulate_responses(
    requests: Sequence[FieldRequest],
    *,
    linac: LinacModel,
    tables: PencilTables,
    histories: int,
    batches: int,
    seed: int,
    spot_scales: Sequence[float] = (0.6, 1.0, 1.6),
    processes: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> ResponseSet:
    """Simulate all requests; fields whose edges are looked at also with other sizes of the focal spot.

    All sizes of the spot have the same photons but for where in the spot they begin, so that edges differ by what
    the spot does and not by noise: at large depths that would be millimetres.

    Parameters
    ----------
    histories : int
        Source photons of a 100 x 100 mm field, in all; others as `share_of` says.
    """
    basis = basis_of(linac)
    tasks: list[tuple[FieldRequest, float]] = []
    seeds: list[int] = []
    for number, request in enumerate(requests):
        tasks.append((request, 1.0))
        edges = tuple(setup for setup in request.setups if setup.profile_depth)
        if edges:
            reduced = FieldRequest(request.jaws, edges)
            tasks += [(reduced, scale) for scale in spot_scales if scale != 1.0]
        seeds += [seed + number] * (len(tasks) - len(seeds))
    arguments = [
        _arguments(
            request,
            _with_spot(linac, scale),
            BasisSampling(basis, proposal_source(basis, _with_spot(linac, scale).beam)),
            tables=tables,
            histories=histories,
            batches=batches,
            seed=own_seed,
        )
        for (request, scale), own_seed in zip(tasks, seeds, strict=True)
    ]
    return ResponseSet(basis, _simulated(tasks, arguments, processes, progress))


def simulate_beam(
    requests: Sequence[FieldRequest],
    *,
    linac: LinacModel,
    tables: PencilTables,
    histories: int,
    batches: int,
    seed: int,
    processes: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> ResponseSet:
    """Simulate all requests with the machine's own source, as the patient's dose is: responses of one element."""
    sampling = BeamSampling(source_of(linac))
    arguments = [
        _arguments(request, linac, sampling, tables=tables, histories=histories, batches=batches, seed=seed + number)
        for number, request in enumerate(requests)
    ]
    tasks = [(request, 1.0) for request in requests]
    return ResponseSet(basis_of(linac), _simulated(tasks, arguments, processes, progress))


def basis_of(linac: LinacModel) -> SourceBasis:
    """The basis round a machine's beam."""
    return basis_for(
        linac.beam,
        opening_radius=linac.machine.primary_collimator.opening_radius,
        axis_distance=linac.machine.source_axis_distance,
    )


def _arguments(
    request: FieldRequest,
    linac: LinacModel,
    sampling: Sampling,
    *,
    tables: PencilTables,
    histories: int,
    batches: int,
    seed: int,
) -> dict[str, object]:
    return {
        "field": request.jaws,
        "setups": request.setups,
        "linac": linac,
        "sampling": sampling,
        "tables": tables,
        "histories": max(round(histories * share_of(request.jaws) / batches), 1),
        "batches": batches,
        "seed": seed,
    }


def _simulated(
    tasks: Sequence[tuple[FieldRequest, float]],
    arguments: Sequence[dict[str, object]],
    processes: int,
    progress: Callable[[int, int], None] | None,
) -> dict[tuple[JawField, float, float], Response]:
    found: dict[tuple[JawField, float, float], Response] = {}
    every = run_in_processes(expected_field, arguments, processes=processes, progress=progress)
    for (request, scale), responses in zip(tasks, every, strict=True):
        for setup, response in zip(request.setups, responses, strict=True):
            found[request.jaws, setup.source_surface_distance, scale] = response
    return found


def share_of(jaws: JawField) -> float:
    """How many photons a field needs, relative to 100 x 100 mm: fewer of them pass near the axis of a large one."""
    return math.sqrt(jaws.size_x * jaws.size_y) / 100.0


def _with_spot(linac: LinacModel, scale: float) -> LinacModel:
    return linac.model_copy(update={"beam": with_values(linac.beam, np.array([scale]), [SPOT_SCALE])})


def profile_index(response: Response, depth: float) -> int:
    """Which of a response's profiles lies at a depth."""
    found = np.flatnonzero(np.abs(np.array(response.setup.profile_depth) - depth) < _PROFILE_TOLERANCE)
    return int(found[0])
