"""The reference field in its tank, a process' share of it, and the reference dose that many such shares make.

Nearly all the time goes into electrons, and most of the noise comes from photons: which of them came near the axis,
and how deep. So the dose has a control variate, the dose as if electrons slowed down along straight lines. It needs no
electron transport, so that its expectation comes from many times as many photons, and of the dose itself only its ratio
to that of the same photons is taken. What straight lines get wrong is in the ratio; a bias of order 1/n is below 5e-5
of the dose after the first round.
"""

from __future__ import annotations

import itertools
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.config import HeadKind
from gatecheck.config_transport import TransportConfig
from gatecheck.errors import SimulationError
from gatecheck.linac.model import LinacModel
from gatecheck.transport.aim import aimed_at
from gatecheck.transport.fast_head import sample_phase_space
from gatecheck.transport.gate import GateRun
from gatecheck.transport.head import sample_head
from gatecheck.transport.materials import water
from gatecheck.transport.model import PhaseSpace
from gatecheck.transport.phase_space_source import HistoryRun, PhaseSpaceSource
from gatecheck.transport.photon_tracker import track_photons
from gatecheck.transport.reference_field import (
    PointEstimator,
    fitted_region,
    point_estimator,
    reference_delivery,
    reference_tank,
    thinned,
)
from gatecheck.transport.run import follow_charged, follow_photons, run_transport
from gatecheck.transport.volumes import HomogeneousVolume, hull

FloatArray = npt.NDArray[np.float64]

_BATCHES_PER_RUN = 20
_PHOTONS_AT_A_TIME = 250_000
_SMALLEST_BATCH = 2_000
_POINTS_PER_LINE = 4
_MOST_SIGMAS = 6.0  # by which the control variates of two sets of photons may differ; by chance less than once in 1e6


@dataclass(frozen=True, slots=True)
class ReferenceRun:
    """One process' share.

    Attributes
    ----------
    doses : tuple of float
        At the reference point, of each batch, Gy per nominal photon.
    histories : int
        Source photons behind them.
    seconds : float
        That all of it took, without the start of the process and of GATE.
    straight : tuple of float
        The control variate of the same batches; none where GATE follows the photons.
    photon_straight : tuple of float
        The control variate of batches of other photons, followed without their electrons.
    photon_histories : int
        Source photons behind these.
    """

    doses: tuple[float, ...]
    histories: int
    seconds: float
    straight: tuple[float, ...] = ()
    photon_straight: tuple[float, ...] = ()
    photon_histories: int = 0


def reference_dose(runs: Sequence[ReferenceRun]) -> tuple[float, float]:
    """Dose at the reference point, Gy per nominal photon, and its relative sigma from the spread of batches.

    With photons followed alone it is sum(d) / sum(s) times the mean of their s, d and s being a batch's dose and
    control variate; the sigma of the ratio is that of d - (sum(d) / sum(s)) s, and both parts are independent.

    Raises
    ------
    SimulationError
        When the photons followed alone have another control variate than the dose's own, beyond their noise.
    """
    doses, weights = _batches([(run.doses, run.histories) for run in runs])
    if not all(run.photon_straight for run in runs):
        return weighted_mean(doses, weights)
    straight, _ = _batches([(run.straight, run.histories) for run in runs])
    photons, photon_weights = _batches([(run.photon_straight, run.photon_histories) for run in runs])
    dose = float(np.average(doses, weights=weights))
    own, own_sigma = weighted_mean(straight, weights)
    expected, expected_sigma = weighted_mean(photons, photon_weights)
    apart, sigma = own / expected - 1, math.hypot(own_sigma, expected_sigma)
    if abs(apart) > _MOST_SIGMAS * sigma:
        raise SimulationError(
            f"calibration: the straight-line dose of photons followed alone and of the dose's own photons differ by "
            f"{100 * apart:.2f} % +- {100 * sigma:.2f} %, expected the same. Please report this with the configuration."
        )
    ratio = dose / own
    _, ratio_sigma = weighted_mean(dose + doses - ratio * straight, weights)
    return ratio * expected, math.hypot(ratio_sigma, expected_sigma)


def weighted_mean(values: FloatArray, weights: FloatArray) -> tuple[float, float]:
    """Mean of batches of different weight, and its relative sigma from their spread."""
    mean = float(np.average(values, weights=weights))
    variance = float((weights * (values - mean) ** 2).sum() / ((len(values) - 1) * weights.sum()))
    return mean, math.sqrt(variance) / abs(mean)


def _batches(runs: Sequence[tuple[tuple[float, ...], int]]) -> tuple[FloatArray, FloatArray]:
    """Values of all runs' batches, and how many source photons each stands for."""
    values = np.concatenate([values for values, _ in runs])
    weights = np.concatenate([np.full(len(values), histories / len(values)) for values, histories in runs])
    return values, weights


def simulate_reference(
    *,
    linac: LinacModel,
    settings: TransportConfig,
    histories: int,
    seed: int,
    photon_histories: int = 0,
    head: HeadKind = "fast",
    source: PhaseSpaceSource | None = None,
    run: HistoryRun | None = None,
) -> ReferenceRun:
    """The reference field in the water tank, in this process; a full head in one of its own before it.

    Parameters
    ----------
    photon_histories : int
        Source photons to follow besides without their electrons; with the fast head and the machine model's source.
    head : "fast" or "full"
    source, run : PhaseSpaceSource and HistoryRun, optional
        Recorded histories in place of the source model's.

    Raises
    ------
    SimulationError
        When no particle reaches the tank.
    ValueError
        For photons followed alone where the dose's own are GATE's, or come from another head or source.
    """
    if photon_histories and not (settings.tracks_photons and head == "fast" and source is None):
        raise ValueError("photons followed alone have to be those of the dose: tracked, fast head, the model's source")
    started = time.perf_counter()
    reference = linac.calibration.reference
    tank = reference_tank(linac)
    estimator = point_estimator(tank, depth=reference.depth, field_size=reference.field_size)
    with tempfile.TemporaryDirectory(prefix="reference-field-") as folder:
        phase_space = sample_head(
            reference_delivery(linac),
            linac,
            head=head,
            histories=histories,
            seed=seed,
            settings=settings,
            work_folder=Path(folder),
            source=source,
            run=run,
        )
    in_tank = _in_tank(phase_space, tank, linac, seed=seed, keeps_order=source is not None)
    if len(in_tank) == 0:
        raise SimulationError("The reference field gave no particles. Check the machine model's reference condition.")
    transported, straight = _transported(in_tank, tank, estimator, linac, settings, seed=seed)
    batches = transported.scores[0].batches
    per_batch = phase_space.nominal_photons / len(batches)
    photons = _photons_alone(linac, tank, estimator, photon_histories, seed)
    start_up = phase_space.seconds_start_up + transported.seconds_start_up
    return ReferenceRun(
        doses=tuple(estimator.dose(batch) / per_batch for batch in batches),
        histories=histories,
        seconds=time.perf_counter() - started - start_up,
        straight=tuple((straight / per_batch).tolist()),
        photon_straight=photons,
        photon_histories=photon_histories,
    )


def _in_tank(
    phase_space: PhaseSpace, tank: HomogeneousVolume, linac: LinacModel, *, seed: int, keeps_order: bool = False
) -> PhaseSpace:
    aimed = aimed_at(phase_space, *hull([tank]))
    field_size = linac.calibration.reference.field_size
    return thinned(aimed, tank, field_size=field_size, seed=seed, keeps_order=keeps_order)


def _transported(
    phase_space: PhaseSpace,
    tank: HomogeneousVolume,
    estimator: PointEstimator,
    linac: LinacModel,
    settings: TransportConfig,
    *,
    seed: int,
) -> tuple[GateRun, FloatArray]:
    """The tank's dose in batches, and the control variate of each (none where GATE follows the photons)."""
    volumes, materials = [tank], [water()]
    if not settings.tracks_photons:
        run = run_transport(
            volumes=volumes,
            materials=materials,
            phase_space=phase_space,
            settings=settings,
            seed=seed,
            batches=_BATCHES_PER_RUN,
        )
        return run, np.empty(0)
    reference = linac.calibration.reference
    followed = follow_photons(
        phase_space,
        volumes,
        materials,
        settings,
        seed=seed,
        batches=_BATCHES_PER_RUN,
        of_interest=fitted_region(tank, depth=reference.depth, field_size=reference.field_size),
    )
    on_the_spot = np.array([estimator.dose(batch[0].energy_zyx) for batch in followed.tracked.deposits])
    straight = straight_line_doses(followed.charged, followed.batches, tank, estimator)
    return follow_charged(followed, volumes, materials, settings, seed=seed), on_the_spot + straight


def _photons_alone(
    linac: LinacModel, tank: HomogeneousVolume, estimator: PointEstimator, histories: int, seed: int
) -> tuple[float, ...]:
    """The control variate of batches of photons, Gy per nominal photon."""
    if histories < 2:
        return ()
    batches = max(math.ceil(histories / _PHOTONS_AT_A_TIME), min(_BATCHES_PER_RUN, histories // _SMALLEST_BATCH), 2)
    delivery = reference_delivery(linac)
    doses = []
    for batch in range(batches):
        own_seed = int(np.random.SeedSequence([seed, batch]).generate_state(1, np.uint64)[0])
        phase_space = sample_phase_space(delivery, linac, histories // batches, own_seed)
        in_tank = _in_tank(phase_space, tank, linac, seed=own_seed)
        tracked = track_photons(in_tank, [tank], [water()], seed=own_seed, score_on_the_spot=False)
        (dose,) = straight_line_doses(tracked.charged, tracked.batch_sizes, tank, estimator)
        doses.append(float(dose) / phase_space.nominal_photons)
    return tuple(doses)


def straight_line_doses(
    charged: PhaseSpace, batch_sizes: Sequence[int], tank: HomogeneousVolume, estimator: PointEstimator
) -> FloatArray:
    """What the estimator finds, Gy, of each batch of charged particles if they slowed down along straight lines.

    A particle's energy is left in four equal parts along its range in water: 0.412 E^(1.265 - 0.0954 ln E) g/cm² (Katz
    and Penfold, Rev. Mod. Phys. 24 (1952) 28). One that cannot leave its voxel leaves it all there, as it does where
    the photon tracker deposits it on the spot.

    Parameters
    ----------
    charged : PhaseSpace
        In the order of their batches.
    """
    energy = np.maximum(charged.energy, 0.01)
    path = 4.12 * energy ** (1.265 - 0.0954 * np.log(energy))  # mm of water
    part = charged.energy * charged.weight / _POINTS_PER_LINE
    dose = np.zeros(len(charged))
    for point in range(_POINTS_PER_LINE):
        along = path * (point + 0.5) / _POINTS_PER_LINE
        dose += part * _coefficient_at(charged.position + along[:, None] * charged.direction, tank, estimator)
    ends = itertools.accumulate(batch_sizes, initial=0)
    return np.array([dose[first:last].sum() for first, last in itertools.pairwise(ends)])


def _coefficient_at(position: FloatArray, tank: HomogeneousVolume, estimator: PointEstimator) -> FloatArray:
    """Gy at the point per MeV at each position, 0 outside of the tank."""
    index = np.floor((position - tank.lower) / tank.spacing).astype(np.int64)
    inside = ((index >= 0) & (index < tank.scoring_size)).all(axis=1)
    found = np.zeros(len(position))
    x, y, z = index[inside].T
    found[inside] = estimator.coefficients_zyx[z, y, x]
    return found
