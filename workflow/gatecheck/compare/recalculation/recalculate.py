"""The case simulated again with the same photons and something changed: the machine's log, its leaf gap, tissues."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.case.storage import read_case
from gatecheck.compare.biology.structures import configured_roles
from gatecheck.compare.model import Comparison, Metric, StructureComparison
from gatecheck.compare.recalculation.model import ChangedMetric, Recalculation
from gatecheck.compare.recalculation.points import LinearMetric, places_to_look
from gatecheck.compare.smoothing import smoothed
from gatecheck.compare.structures import COMPARISON_FILE, read_mc_dose
from gatecheck.config import Config
from gatecheck.config_recalculation import Change
from gatecheck.delivery.segments import segmented
from gatecheck.delivery.storage import read_delivery, write_delivery
from gatecheck.dose.chunks import check_chunks
from gatecheck.dose.model import MergeResult
from gatecheck.dose.pairs import ChunkFolder, pairs_of_doses
from gatecheck.errors import InputError, ResultError
from gatecheck.files import image_from_zyx, read_json, sha256_of_file, write_image, write_json
from gatecheck.layout import CaseLayout
from gatecheck.linac.model import LinacModel
from gatecheck.transport.chunk import ChunkInputs, simulate_chunks
from gatecheck.transport.chunk_files import chunk_name
from gatecheck.transport.counterpart import Counterpart
from gatecheck.transport.jobs import longest_seconds
from gatecheck.transport.model import Chunk, ChunkResult
from gatecheck.transport.patient_files import read_body, read_patient
from gatecheck.transport.rounds import read_plan

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

_WHOLE_TURN = 360.0


@dataclass(frozen=True, slots=True)
class _Size:
    """By how much something is changed."""

    value: float | None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class _Changed:
    """What was simulated."""

    name: Change
    size: _Size
    counterpart: Counterpart
    inputs_sha256: str


def recalculate(
    layout: CaseLayout,
    linac: LinacModel,
    config: Config,
    change: Change,
    *,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Recalculation:
    """Simulate the first chunks' photons again with a change, and write recalculated/<change>.json and its difference.

    The photons, their random numbers and so whatever is alike are those of the case's own chunks: see
    `gatecheck.transport.fast_head.other_delivery`. Chunks that are there from an interrupted run are kept.

    Parameters
    ----------
    processes : int
        Chunks at a time.
    progress : callable, optional
        As of `simulate_chunks`.

    Raises
    ------
    InputError
        For a full head or a recorded phase space, whose photons are not known one by one.
    ResultError
        When a file is missing or damaged, or files do not belong together. Of the case's own chunks such are removed,
        so that the workflow simulates them again.
    SimulationError
        When a simulation fails.
    """
    if config.machine.head != "fast" or config.machine.source != "model":
        raise InputError(
            f"recalculation: machine.head {config.machine.head} and machine.source {config.machine.source} found; the "
            "same photons can be sent twice through the fast head with the machine model's source alone."
        )
    result_file = layout.recalculation(change)
    result_file.unlink(missing_ok=True)
    counterpart, size = _counterpart(layout, linac, config, change)
    merged = read_json(layout.dose / "merge.json", MergeResult)
    plan = read_plan(layout.transport)
    if plan.inputs_sha256 != merged.inputs_sha256:
        raise ResultError("chunks.json: made from other inputs than merge.json. Run merge again.")
    chunks = _equal_chunks(plan.chunks, config.recalculation.chunks)
    check_chunks(layout.transport, layout.dose, [chunk.index for chunk in chunks])
    folder = layout.recalculations / change
    inputs = counterpart.inputs_sha256(plan.inputs_sha256, plan.electron_steps_sha256)
    common = ChunkInputs(
        delivery_path=layout.delivery,
        linac=linac,
        patient_folder=layout.patient,
        inputs_sha256=inputs,
        settings=config.transport,
        dose_to=config.dose.dose_to,
        out_folder=folder,
        counterpart=counterpart,
        scratch_folder=config.execution.scratch,
        electron_steps_sha256=plan.electron_steps_sha256,
    )
    limit = longest_seconds(plan, config.execution.longest_chunk_minutes)
    _simulate(common, chunks, processes, limit, progress)
    result = _compared(layout, config, _Changed(change, size, counterpart, inputs), chunks, merged)
    write_json(result_file, result)
    return result


def _counterpart(layout: CaseLayout, linac: LinacModel, config: Config, change: Change) -> tuple[Counterpart, _Size]:
    settings = config.recalculation
    if change == "as_delivered":
        return Counterpart(layout.delivered, linac), _Size(None)
    if change == "leaf_gap":
        mlc = linac.machine.mlc
        wider = mlc.model_copy(update={"physical_gap_offset": mlc.physical_gap_offset + settings.leaf_gap_mm})
        machine = linac.machine.model_copy(update={"mlc": wider})
        changed = linac.model_copy(update={"machine": machine})
        return Counterpart(layout.delivery, changed), _Size(settings.leaf_gap_mm, "mm")
    if change == "density":
        factor = 1.0 - settings.density_percent / 100
        return Counterpart(layout.delivery, linac, density_factor=factor), _Size(settings.density_percent, "%")
    path = layout.recalculations / change / "timeline.parquet"
    planned = read_delivery(layout.delivery)
    write_delivery(segmented(planned, largest_rotation=_WHOLE_TURN, largest_motion=None), path)
    return Counterpart(path, linac), _Size(None)


def _equal_chunks(chunks: Sequence[Chunk], count: int) -> tuple[Chunk, ...]:
    """The first chunks, of as many photons each: their spread is that of equal parts."""
    return tuple([one for one in chunks if one.histories == chunks[0].histories][:count])


def _simulate(
    common: ChunkInputs,
    chunks: Sequence[Chunk],
    processes: int,
    limit: float,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Those that are not there from the same inputs."""
    missing = [chunk for chunk in chunks if not _is_done(common, chunk)]
    done = len(chunks) - len(missing)
    if done:
        logger.info("%d of %d chunks are there", done, len(chunks))
    if missing:
        say = None if progress is None else lambda now, _: progress(done + now, len(chunks))
        simulate_chunks(common, missing, at_a_time=processes, longest_seconds=limit, progress=say)


def _is_done(common: ChunkInputs, chunk: Chunk) -> bool:
    path = common.out_folder / f"{chunk_name(chunk.index)}.json"
    if not path.exists():
        return False
    try:
        found = read_json(path, ChunkResult)
    except ResultError:  # cut short or changed: it is simulated again
        return False
    same = found.inputs_sha256 == common.inputs_sha256 and (found.seed, found.histories) == (
        chunk.seed,
        chunk.histories,
    )
    return same and all(
        (file := common.out_folder / box.file).exists() and sha256_of_file(file) == box.sha256 for box in found.boxes
    )


def _compared(
    layout: CaseLayout, config: Config, changed: _Changed, chunks: Sequence[Chunk], merged: MergeResult
) -> Recalculation:
    patient = read_patient(layout.patient)
    dose = read_mc_dose(layout.dose, layout.patient)
    case = read_case(layout.case)
    notes: list[str] = []
    roles = configured_roles(case.structures, config.setup, config.comparison)
    more = (*config.setup.structures, *(one.name for one in roles.tumours))
    places = places_to_look(case_folder=layout.case, case=case, roles=roles, more=more, dose=dose, notes=notes)
    per_mu = merged.nominal_photons_per_mu * merged.fractions
    delivery_path, folder = changed.counterpart.delivery_path, layout.recalculations / changed.name
    meterset = read_delivery(delivery_path).total_meterset
    planned = ChunkFolder(layout.transport, merged.inputs_sha256, per_mu * merged.meterset_per_fraction)
    other = ChunkFolder(folder, changed.inputs_sha256, per_mu * meterset)
    own = np.asarray(sitk.GetArrayViewFromImage(dose))
    in_body = read_body(layout.patient, patient)
    high = in_body & (own > own[in_body].max() / 2)
    at_points: list[tuple[FloatArray, FloatArray]] = []
    shares: list[float] = []
    difference: Float32Array = np.zeros(patient.joined_grid.size[::-1], dtype=np.float32)
    for pair in pairs_of_doses(planned, other, patient, chunks):
        at_points.append((places.doses(pair.planned_zyx), places.doses(pair.changed_zyx)))
        shift = pair.changed_zyx - pair.planned_zyx
        shares.append(float((shift[high] / own[high]).mean()))
        difference += shift / len(chunks)
    image = image_from_zyx(difference, origin=dose.GetOrigin(), spacing=dose.GetSpacing())
    difference_file = layout.recalculations / f"{changed.name}-difference.mha"
    write_image(difference_file, image)
    x, y, z = dose.GetSpacing()
    smooth = smoothed(own[..., np.newaxis].astype(np.float32), (z, y, x))[..., 0]
    linear = places.linear(places.doses(smooth))
    compared = read_json(layout.compare / COMPARISON_FILE, Comparison)
    values = _planned_values(linear, compared.structures, places.doses(own))
    metrics = tuple(changed_metrics(linear, values, at_points))
    gains = [one.gain for one in metrics if one.gain is not None and one.metric == "mean_gy"]
    return Recalculation(
        made_from={
            "mc_dose": sha256_of_file(layout.dose / "mc_dose.mha"),
            "delivery": sha256_of_file(delivery_path),
            "case": sha256_of_file(layout.case / "case.json"),
        },
        change=changed.name,
        size=changed.size.value,
        unit=changed.size.unit,
        photons=sum(chunk.histories for chunk in chunks),
        pairs=len(chunks),
        prescription_gy=config.comparison.prescription_gy or case.target_prescription_gy,
        mean_relative_difference=float(np.mean(shares)),
        mean_relative_sigma=_sigma_of_mean(np.array(shares)),
        metrics=metrics,
        gain=float(np.median(gains)) if gains else None,
        difference=difference_file.name,
        difference_sha256=sha256_of_file(difference_file),
        notes=tuple(notes),
    )


def changed_metrics(
    linear: Sequence[LinearMetric],
    planned_gy: Sequence[float],
    at_points: Sequence[tuple[FloatArray, FloatArray]],
) -> list[ChangedMetric]:
    """What the mean difference of the pairs adds to each metric; sigma from their spread.

    Parameters
    ----------
    planned_gy : sequence of float
        Of each metric.
    at_points : sequence of (ndarray, ndarray)
        Planned and changed dose of each pair at all points, Gy.
    """
    found = []
    for metric, value in zip(linear, planned_gy, strict=True):
        planned, changed = (np.array([metric.of(pair[index]) for pair in at_points]) for index in range(2))
        shift = changed - planned
        found.append(
            ChangedMetric(
                structure=metric.name.structure,
                metric=metric.name.metric,
                region=metric.name.region,
                planned_gy=value,
                difference_gy=float(shift.mean()),
                sigma_gy=_sigma_of_mean(shift),
                sigma_apart_gy=math.hypot(_sigma_of_mean(planned), _sigma_of_mean(changed)),
            )
        )
    return found


def _sigma_of_mean(values: FloatArray) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def _planned_values(
    linear: Sequence[LinearMetric], compared: Sequence[StructureComparison], own: FloatArray
) -> list[float]:
    """Of structures what the comparison found, without the bias of noise; of others the mean at their points."""
    doses = {one.name: one.mc for one in compared}
    fields = {"d0_03cc_gy": "d003cc_gy"}
    values = []
    for metric in linear:
        dose = None if metric.name.region else doses.get(metric.name.structure)
        value: Metric | None = getattr(dose, fields.get(metric.name.metric, metric.name.metric), None)
        values.append(metric.of(own) if value is None else value.value)
    return values
