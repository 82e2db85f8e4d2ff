"""Recorded steps made by hand: straight tracks that lose the same energy in every step."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from gatecheck.patient.model import Material
from gatecheck.transport.electron_replay.grouping import MatterGroups, group_materials
from gatecheck.transport.electron_replay.replay import ElectronSteps
from gatecheck.transport.electron_replay.steps import RecordedTracks, joined
from gatecheck.transport.materials import air

HIGHEST = 6.0  # MeV
STEP_LENGTH = 0.5  # mm in water
REST = 0.51099895


def straight_tracks(
    loss: float, *, density: float = 1.0, tracks: int = 300, annihilate: bool = False
) -> RecordedTracks:
    """Tracks of `loss` MeV per mm of water; starts are spread over a step, so that every energy is somewhere."""
    per_step = loss * STEP_LENGTH
    energies, deposits, last = [], [], []
    for track in range(tracks):
        energy = HIGHEST - per_step * track / tracks
        starts = energy - per_step * np.arange(int(np.ceil(energy / per_step - 1e-9)))
        energies.append(starts)
        deposits.append(np.minimum(starts, per_step))
        last.append(np.arange(len(starts)) == len(starts) - 1)
    count = sum(len(one) for one in energies)
    ends = np.concatenate(last)
    chord = np.zeros((count, 3), np.float32)
    chord[:, 2] = STEP_LENGTH / density * np.concatenate(deposits) / per_step
    direction = np.tile(np.float32([0, 0, 1]), (count, 1))
    freed = np.where(ends, 2, 0) if annihilate else np.zeros(count, int)
    photons = int(freed.sum())
    return RecordedTracks(
        energy=np.concatenate(energies).astype(np.float32),
        deposit=np.concatenate(deposits).astype(np.float32),
        chord=chord,
        direction=direction,
        is_last=ends,
        freed_first=np.concatenate([[0], np.cumsum(freed)]).astype(np.int32),
        freed_pdg=np.full(photons, 22, np.int32),
        freed_energy=np.full(photons, REST, np.float32),
        freed_direction=np.tile(np.float32([[1, 0, 0], [-1, 0, 0]]), (photons // 2, 1)),
    )


def with_secondaries(tracks: RecordedTracks, energy: float = 0.01) -> RecordedTracks:
    """Every step but a track's last sets an electron of so many MeV free, forwards, in place of a part it leaves."""
    count = np.arange(len(tracks.energy))
    step = np.sort(np.concatenate([np.repeat(count, np.diff(tracks.freed_first)), count[~tracks.is_last]]))
    of_last = tracks.is_last[step]
    direction = np.tile(np.float32([0, 0, 1]), (len(step), 1))
    direction[of_last] = tracks.freed_direction
    return replace(
        tracks,
        deposit=tracks.deposit - np.where(tracks.is_last, 0.0, energy).astype(np.float32),
        freed_first=np.searchsorted(step, np.arange(len(count) + 1)).astype(np.int32),
        freed_pdg=np.where(of_last, 22, 11).astype(np.int32),
        freed_energy=np.where(of_last, REST, energy).astype(np.float32),
        freed_direction=direction,
    )


def straight_steps(
    materials: list[Material], losses: dict[str, float], *, has_secondaries: bool = False
) -> ElectronSteps:
    """Steps for the materials and air; losses in MeV per mm at unit density, by the name of one of the materials."""
    groups: MatterGroups = group_materials([*materials, air()])
    of_group = {int(groups.group[[one.name for one in materials].index(name)]): loss for name, loss in losses.items()}
    given = [(of_group.get(one.label, 0.2), one.density) for one in groups.references]
    electrons = [straight_tracks(loss, density=density) for loss, density in given]
    positrons = [straight_tracks(loss, density=density, annihilate=True) for loss, density in given]
    parts = [with_secondaries(one) if has_secondaries else one for one in (*electrons, *positrons)]
    given_one_by_one = [partial(replace, part) for part in parts]
    return ElectronSteps(joined(given_one_by_one, [part.extent for part in parts]), groups, HIGHEST)
