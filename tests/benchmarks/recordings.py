"""How much mean doses depend on which tracks of electrons were recorded: all tracks of a dose come from one recording.

A recording is taken apart into some of as many tracks each. With each of them alone the same photons' electrons are
followed; how far the doses are apart, beyond their noise, is what a recording of so few tracks does, and that of all of
them less by the square root of their number.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from efficiency import BATCHES, OWN, Case
from unbiased import AT_A_TIME, Rows, box_round, regions_of

from gatecheck.config_transport import TransportConfig
from gatecheck.delivery.storage import read_delivery
from gatecheck.files import sha256_of_json
from gatecheck.linac.load import load_linac_model
from gatecheck.patient.model import Material
from gatecheck.transport.aim import aimed_at
from gatecheck.transport.electron_replay.provide import electron_steps, recorded_with, recording_files
from gatecheck.transport.electron_replay.replay import ElectronSteps, replay_charged
from gatecheck.transport.electron_replay.steps import RecordedTracks, joined
from gatecheck.transport.engine import describe_engine
from gatecheck.transport.fast_head import sample_phase_space
from gatecheck.transport.gate import no_dose
from gatecheck.transport.geant4_data.folders import cache_folder
from gatecheck.transport.photon_tracker import Roulette
from gatecheck.transport.process import run_in_processes
from gatecheck.transport.run import follow_photons
from gatecheck.transport.volumes import hull

FloatArray = npt.NDArray[np.float64]

PARTS = 8
"""Their spread is known to 27 %."""


def spread_of_recordings(cases: dict[str, Case], histories: int, *, commit: str, processes: int = 2) -> Rows:
    """Rows: one for each case and region."""
    runs = max(1, round(histories / AT_A_TIME))
    rows = []
    for name, case in cases.items():
        asked = [{"case": case, "seed": seed} for seed in range(1, 1 + runs)]
        found = run_in_processes(_of_parts, asked, processes=processes)
        for region in found[0]:
            doses = np.concatenate([one[region] for one in found], axis=1)
            of_whole, noise = beyond_noise(doses)
            row = {
                "case": name,
                "region": region,
                "source_photons": runs * AT_A_TIME,
                "sigma_of_recording": of_whole,
                "noise": noise,
                "of_commits": {commit: runs * AT_A_TIME},
            }
            rows.append(row)
            sys.stdout.write(f"{row}\n")
            sys.stdout.flush()
    return rows


def beyond_noise(doses: FloatArray) -> tuple[float, float]:
    """Relative sigma that the whole recording gives a mean dose, and what of it the photons' noise would look like.

    Parameters
    ----------
    doses : ndarray of shape (parts, batches)
        Of the same photons in each batch.
    """
    parts, batches = doses.shape
    doses = doses / doses.mean()
    between = doses.mean(axis=1).var(ddof=1)
    # What is common to a batch, its photons, is in all parts; what is left scatters from batch to batch.
    left = doses - doses.mean(axis=0) - doses.mean(axis=1, keepdims=True) + 1.0
    noise = (left**2).sum() / ((parts - 1) * (batches - 1)) / batches
    return float(np.sqrt(max(between - noise, 0.0) / parts)), float(np.sqrt(noise / parts))


def part_of(tracks: RecordedTracks, part: int) -> RecordedTracks:
    """Every eighth track, from one of the first eight."""
    number = np.concatenate([[0], np.cumsum(tracks.is_last)[:-1]])  # of the track that each step belongs to
    chosen = np.flatnonzero(number % PARTS == part)
    counts = np.diff(tracks.freed_first)[chosen]
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    freed = np.repeat(tracks.freed_first[chosen] - first[:-1], counts) + np.arange(first[-1])
    of_steps = {name: getattr(tracks, name)[chosen] for name in ("energy", "deposit", "chord", "direction", "is_last")}
    of_freed = {name: getattr(tracks, name)[freed] for name in ("freed_pdg", "freed_energy", "freed_direction")}
    return RecordedTracks(**of_steps, **of_freed, freed_first=first)


def _parts(settings: TransportConfig, materials: Sequence[Material]) -> list[ElectronSteps]:
    whole = electron_steps(settings, materials)
    files = recording_files(recorded_with(settings), whole.groups, cache_folder() / "electron-steps").values()
    found = []
    for part in range(PARTS):
        loads = [partial(_load, path, part) for path in files]
        extents = [load().extent for load in loads]
        found.append(
            ElectronSteps(joined(loads, extents), whole.groups, whole.highest_energy, sha256_of_json(part)).in_gas_too()
        )
    return found


def _load(path: Path, part: int) -> RecordedTracks:
    return part_of(RecordedTracks.load(path), part)


def _of_parts(case: Case, seed: int) -> dict[str, FloatArray]:
    """Mean dose of each region by part and batch, in arbitrary but equal units."""
    settings = TransportConfig(**{**OWN, "far_electron_survival": 0.01, "photon_splitting": 5})
    describe_engine(settings)
    phase_space = sample_phase_space(read_delivery(case.delivery), load_linac_model(case.machine), AT_A_TIME, seed)
    matter, number, density, found = regions_of(case, margin=25.0)
    regions = {name: found[name] for name in ("tumour", "target", "cord", "bone") if name in found}
    volumes, materials = matter.volumes, matter.patient.materials
    of_interest = box_round(np.logical_or.reduce(list(regions.values())), volumes[number])
    followed = follow_photons(
        aimed_at(phase_space, *hull(volumes)),
        volumes,
        materials,
        settings,
        seed=seed,
        batches=BATCHES,
        of_interest=of_interest,
    )
    roulette = Roulette(
        of_interest.lower, of_interest.upper, settings.far_electron_survival, settings.far_photon_survival
    )
    doses: dict[str, list[list[float]]] = {name: [] for name in regions}
    for part, steps in enumerate(_parts(settings, materials)):
        replayed = replay_charged(
            followed.charged,
            volumes,
            materials,
            steps,
            seed=seed + 1000 * part,
            batches=followed.batches,
            roulette=roulette,
        )
        scores = replace(followed, replayed=replayed).with_deposits(no_dose(volumes, BATCHES)).scores
        for name, chosen in regions.items():
            doses[name].append([(batch[chosen] / density[chosen]).mean() for batch in scores[number].batches])
    return {name: np.array(one) for name, one in doses.items()}
