"""Efficiency, 1 / (sigma^2 core-seconds), of gatecheck's transport and of what it is made of, over plain GATE's.

Plain is what OpenGATE's own recipe does: the full head as volumes, the whole patient in one grid of voxels, every
particle followed by GATE. All have the same physics, gatecheck's converged electron steps, but for one that has what
GATE does when it is not told: that is faster, and other dose.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gatecheck.config import PatientConfig
from gatecheck.config_transport import TransportConfig
from gatecheck.delivery.storage import read_delivery
from gatecheck.linac.load import load_linac_model
from gatecheck.patient.voxelise import voxelise
from gatecheck.transport.aim import aimed_at
from gatecheck.transport.engine import describe_engine
from gatecheck.transport.fast_head import sample_phase_space
from gatecheck.transport.full_head import run_full_head
from gatecheck.transport.gate import GateRun
from gatecheck.transport.patient_files import PatientMatter
from gatecheck.transport.process import run_in_process
from gatecheck.transport.run import follow_along_steps, follow_photons, run_transport
from gatecheck.transport.volumes import Volume, density_zyx, hull

FloatArray = npt.NDArray[np.float64]

BATCHES = 20
PLAIN: dict[str, Any] = {"photon_transport": "gate", "electron_transport": "gate"}
PLAIN_AT_DEFAULTS: dict[str, Any] = {
    **PLAIN,
    "electron_step_function": (0.2, 1.0),
    "multiple_scattering_model": "physics_list",
    "electron_production_cut": 0.7,
    "photon_production_cut": 0.7,
}
"""Steps and production cuts that Geant4's electromagnetic option 0 has in GATE when nothing is said."""
TRACKED: dict[str, Any] = {
    "electron_transport": "gate",
    "photon_splitting": 1,
    "far_electron_survival": 1.0,
    "far_photon_survival": 1.0,
}
SPLIT = {**TRACKED, "photon_splitting": 5}
ROULETTE = {"electron_transport": "gate"}
OWN = {"electron_transport": "replayed"}
_SEED = 20


@dataclass(frozen=True, slots=True)
class Case:
    """A case's ingested folder, its delivery and the machine that delivers it.

    Attributes
    ----------
    case_folder, delivery : Path
    machine : Path
        A machine model's folder.
    patient : dict
        Keys of `PatientConfig` beside voxel sizes.
    """

    case_folder: Path
    delivery: Path
    machine: Path
    patient: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Way:
    """A way to transport, on voxels of some size.

    Attributes
    ----------
    name : str
    transport : dict
        Keys of `TransportConfig`.
    coarse, fine : float
        Voxel sizes, mm; without fine voxels the patient is one grid.
    """

    name: str
    transport: dict[str, Any]
    coarse: float
    fine: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Dose per batch in some voxels, in one order for all ways, and what it took.

    Attributes
    ----------
    doses : ndarray of shape (batches, voxels)
        Per nominal photon, in arbitrary but equal units.
    core_seconds : float
        Of the patient's transport; start-up is not in it.
    nominal_photons : float
    peak_memory_mb : float
    """

    doses: npt.NDArray[np.float32]
    core_seconds: float
    nominal_photons: float
    peak_memory_mb: float

    @property
    def mean(self) -> FloatArray:
        """Dose of each voxel."""
        return np.asarray(self.doses.mean(axis=0, dtype=np.float64))

    @property
    def variance_of_mean(self) -> FloatArray:
        """Its variance by the spread of batches."""
        return np.asarray(self.doses.var(axis=0, ddof=1, dtype=np.float64) / len(self.doses))

    def relative_variance(self, chosen: npt.NDArray[np.bool_], true_dose: FloatArray) -> float:
        """Of chosen voxels, in the mean; relative to a dose with less noise."""
        return float(self.variance_of_mean[chosen].sum() / (true_dose[chosen] ** 2).sum())

    def cost(self, chosen: npt.NDArray[np.bool_], true_dose: FloatArray, head: float = 0.0) -> float:
        """Relative variance times core-seconds, with the head's per nominal photon: of an efficiency the inverse."""
        seconds = self.core_seconds + head * self.nominal_photons
        return self.relative_variance(chosen, true_dose) * seconds


def transported(case: Case, way: Way, histories: int, *, on_fine: bool, seed: int = _SEED) -> Outcome:
    """Transport in a process of its own.

    Parameters
    ----------
    on_fine : bool
        Give the dose in the fine region's voxels alone, which a grid without a fine region has to have too.
    """
    return run_in_process(_transported, case=case, way=way, histories=histories, on_fine=on_fine, seed=seed)


def _transported(case: Case, way: Way, histories: int, on_fine: bool, seed: int) -> Outcome:
    settings = TransportConfig(**way.transport)
    describe_engine(settings)
    delivery, linac = read_delivery(case.delivery), load_linac_model(case.machine)
    phase_space = sample_phase_space(delivery, linac, histories, seed)
    with tempfile.TemporaryDirectory() as folder:
        matter = _voxelised(case, Path(folder) / "own", way.coarse, way.fine)
        region = matter.fine
        if on_fine and region is None:
            region = _voxelised(case, Path(folder) / "fine", 4 * way.coarse, way.coarse).fine
    if settings.tracks_photons:
        phase_space = aimed_at(phase_space, *hull(matter.volumes))
    arguments: dict[str, Any] = {
        "volumes": matter.volumes,
        "materials": matter.patient.materials,
        "settings": settings,
        "seed": seed,
        "of_interest": matter.fine,
    }
    if settings.replays_electrons:  # compiles, and reads the recorded steps: start-up
        few = {"phase_space": sample_phase_space(delivery, linac, 1000, seed), **arguments}
        follow_along_steps(follow_photons(**few), **arguments)
    run = run_transport(phase_space=phase_space, batches=BATCHES, **arguments)
    doses = _doses(run, matter, region if on_fine else None) / phase_space.nominal_photons
    return Outcome(doses.astype(np.float32), run.seconds_transport, phase_space.nominal_photons, run.peak_memory_mb)


def _voxelised(case: Case, folder: Path, coarse: float, fine: float | None) -> PatientMatter:
    folder.mkdir(parents=True)
    voxelise(case.case_folder, folder, PatientConfig(coarse_voxel_size=coarse, fine_voxel_size=fine, **case.patient))
    return PatientMatter.read(folder)


def _doses(run: GateRun, matter: PatientMatter, region: Volume | None) -> FloatArray:
    """Of all volumes' voxels, or of one volume's that has the region's voxels."""
    parts = []
    for volume, score in zip(matter.volumes, run.scores, strict=True):
        place = (slice(None),) * 3 if region is None else _place(region, volume)
        if place is None:
            continue
        mass = density_zyx(volume, matter.patient.materials)[place] * float(np.prod(volume.spacing))
        parts.append(np.array([(batch[place] / mass).ravel() for batch in score.batches]))
    return np.concatenate(parts, axis=1)


def _place(region: Volume, volume: Volume) -> tuple[slice, ...] | None:
    """Where a region's voxels are among a volume's; None where they are not of one size or not inside."""
    if not np.allclose(region.spacing, volume.spacing):
        return None
    first = np.round((np.array(region.lower) - np.array(volume.lower)) / np.array(volume.spacing)).astype(int)
    last = first + np.array(region.scoring_size)
    if (first < 0).any() or (last > np.array(volume.scoring_size)).any():
        return None
    return tuple(slice(int(low), int(high)) for low, high in zip(first[::-1], last[::-1], strict=True))


def head_seconds(case: Case, *, full: bool, histories: int) -> float:
    """Core-seconds of the head per nominal photon; the full head's start and changes of segment are not in them."""
    return run_in_process(_head_seconds, case=case, full=full, histories=histories)


def _head_seconds(case: Case, full: bool, histories: int) -> float:
    delivery, linac = read_delivery(case.delivery), load_linac_model(case.machine)
    if not full:
        sample_phase_space(delivery, linac, 1000, _SEED)  # compiles
    started = time.perf_counter()
    if full:
        with tempfile.TemporaryDirectory() as folder:
            phase_space = run_full_head(
                delivery,
                linac,
                histories=histories,
                seed=_SEED,
                settings=TransportConfig(),
                work_folder=Path(folder),
            )
    else:
        phase_space = sample_phase_space(delivery, linac, histories, _SEED)
    seconds = time.perf_counter() - started - phase_space.seconds_start_up
    return seconds / phase_space.nominal_photons


def irradiated(outcome: Outcome, above: float) -> npt.NDArray[np.bool_]:
    """Voxels above a share of the highest dose, of which noise is not a part: that of their upper permille."""
    dose = outcome.mean
    highest = float(np.partition(dose, -max(len(dose) // 20_000, 10))[-max(len(dose) // 20_000, 10)])
    return np.asarray(dose > above * highest)


@dataclass(frozen=True, slots=True)
class Measured:
    """One way on voxels of some size, with so many source photons."""

    way: Way
    histories: int


def efficiency_of_patient(case: Case, scale: float) -> list[dict[str, Any]]:
    """Rows: one for each way and region, the plain ones' first."""
    plain, own = int(scale * 4e6), int(scale * 2e7)
    at_defaults = "plain, at GATE's defaults"
    whole = [
        Measured(Way("plain", PLAIN, coarse=2.0), plain),
        Measured(Way(at_defaults, PLAIN_AT_DEFAULTS, coarse=2.0), plain),
        Measured(Way("gatecheck", OWN, coarse=2.0), own),
    ]
    interface = [
        Measured(Way("plain", PLAIN, coarse=1.0), plain),
        Measured(Way(at_defaults, PLAIN_AT_DEFAULTS, coarse=1.0), plain),
        Measured(Way("coarse voxels far away", PLAIN, coarse=4.0, fine=1.0), 2 * plain),
        Measured(Way("and photons tracked", TRACKED, coarse=4.0, fine=1.0), own // 2),
        Measured(Way("and each split in 5", SPLIT, coarse=4.0, fine=1.0), own // 2),
        Measured(Way("and roulette far away", ROULETTE, coarse=4.0, fine=1.0), own // 2),
        Measured(Way("gatecheck: and recorded steps, split in 12", OWN, coarse=4.0, fine=1.0), own),
    ]
    return [
        *_rows(case, whole, region="irradiated volume", on_fine=False, above=0.1),
        *_rows(case, interface, region="fine region", on_fine=True, above=0.5),
    ]


def _rows(case: Case, ways: Sequence[Measured], *, region: str, on_fine: bool, above: float) -> list[dict[str, Any]]:
    """Of ways of which the first is plain, and the second plain at GATE's defaults."""
    outcomes = [transported(case, one.way, one.histories, on_fine=on_fine) for one in ways]
    chosen, dose = _chosen(case, ways[-1], on_fine=on_fine, above=above)
    costs = [outcome.cost(chosen, dose) for outcome in outcomes]
    return [
        {
            "region": region,
            "way": one.way.name,
            "voxel_mm": one.way.fine or one.way.coarse,
            "source_photons": one.histories,
            "core_seconds": outcome.core_seconds,
            "relative_sigma": outcome.relative_variance(chosen, dose) ** 0.5,
            "voxels": int(chosen.sum()),
            "gain": costs[0] / cost,
            "gain_over_defaults": costs[1] / cost,
            "mean_dose_over_plain": float(outcome.mean[chosen].sum() / outcomes[0].mean[chosen].sum()),
            "relative_sigma_of_mean_dose": _sigma_of_sum(outcome, chosen),
        }
        for one, outcome, cost in zip(ways, outcomes, costs, strict=True)
    ]


def _chosen(case: Case, measured: Measured, *, on_fine: bool, above: float) -> tuple[npt.NDArray[np.bool_], FloatArray]:
    """Voxels above a share of the highest dose, and their dose: by photons of their own, else noise would choose."""
    outcome = transported(case, measured.way, measured.histories, on_fine=on_fine, seed=_SEED + 1)
    return irradiated(outcome, above), outcome.mean


def _sigma_of_sum(outcome: Outcome, chosen: npt.NDArray[np.bool_]) -> float:
    sums = outcome.doses[:, chosen].sum(axis=1, dtype=np.float64)
    return float(sums.std(ddof=1) / np.sqrt(len(sums)) / sums.mean())


def efficiency_of_the_whole(case: Case, scale: float) -> list[dict[str, Any]]:
    """Rows: plain with the full head, and gatecheck with its own, in the fine region's voxels."""
    heads = [
        head_seconds(case, full=True, histories=int(scale * 1e6)),
        head_seconds(case, full=False, histories=int(scale * 4e6)),
    ]
    ways = [
        Measured(Way("plain", PLAIN, coarse=1.0), int(scale * 4e6)),
        Measured(Way("gatecheck", OWN, coarse=4.0, fine=1.0), int(scale * 2e7)),
    ]
    outcomes = [transported(case, one.way, one.histories, on_fine=True) for one in ways]
    chosen, dose = _chosen(case, ways[-1], on_fine=True, above=0.5)
    costs = [outcome.cost(chosen, dose, head) for outcome, head in zip(outcomes, heads, strict=True)]
    return [
        {
            "way": one.way.name,
            "head_seconds": head * outcome.nominal_photons,
            "patient_seconds": outcome.core_seconds,
            "relative_sigma": outcome.relative_variance(chosen, dose) ** 0.5,
            "gain": costs[0] / cost,
        }
        for one, outcome, head, cost in zip(ways, outcomes, heads, costs, strict=True)
    ]
