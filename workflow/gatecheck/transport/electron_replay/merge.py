"""Several recorded steps in one, where nothing happens between them.

Geant4's steps are short so that its scattering is exact, far shorter than a voxel.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from gatecheck.transport.electron_replay.kernel import turned_into, unit
from gatecheck.transport.electron_replay.steps import IntArray, RecordedTracks, SingleArray
from gatecheck.transport.photon_tracker.kernel import longest_range


def merged(tracks: RecordedTracks, longest: float, *, share: float = math.inf, density: float = 1.0) -> RecordedTracks:
    """Join steps until so many mm are reached, counted along their chords, or a share of what a particle could go.

    A step that frees a particle, or is its track's last, ends one, so that these start where they did. Nothing that
    lies ahead ends one: else few would start close before such a step, and a particle that takes up a track would miss
    it. A particle about to stop turns much in little: with one turn in all of the rest of its way, too few leave
    matter sideways for the air beside it.

    Parameters
    ----------
    tracks : RecordedTracks
    longest : float
        mm.
    share : float
        Of `longest_range` at the energy that the first of the joined steps starts with.
    density : float
        Of what the tracks are in, g/cm3.

    Raises
    ------
    ValueError
        When one of these is not positive.
    """
    if not (longest > 0 and share > 0 and density > 0):
        raise ValueError(f"Steps are joined up to {longest} mm, {share} of the range at {density} g/cm3: not positive.")
    counts = np.diff(tracks.freed_first)
    kept, chord, direction, deposit = _merge(
        tracks.energy,
        tracks.chord,
        tracks.direction,
        tracks.deposit,
        tracks.is_last,
        counts,
        longest,
        share / density,
    )
    ends = np.concatenate([kept[1:], [len(counts)]]) - 1
    return RecordedTracks(
        energy=tracks.energy[kept],
        deposit=deposit,
        chord=chord,
        direction=direction,
        is_last=tracks.is_last[ends],
        freed_first=np.concatenate([[0], np.cumsum(counts[ends])]).astype(np.int32),
        freed_pdg=tracks.freed_pdg,
        freed_energy=tracks.freed_energy,
        freed_direction=_freed_directions(tracks, kept),
    )


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _merge(
    energy: SingleArray,
    chord: SingleArray,
    direction: SingleArray,
    deposit: SingleArray,
    is_last: np.ndarray,
    freed: IntArray,
    longest: float,
    share: float,
) -> tuple[IntArray, SingleArray, SingleArray, SingleArray]:
    """First step of each that is made, and its chord, direction and deposit."""
    n = len(deposit)
    kept = np.empty(n, dtype=np.int32)
    chords = np.empty((n, 3), dtype=np.float32)
    directions = np.empty((n, 3), dtype=np.float32)
    deposits = np.empty(n, dtype=np.float32)
    made = 0
    step = 0
    while step < n:
        kept[made] = step
        x = y = z = lost = way = 0.0
        limit = min(longest, share * longest_range(energy[step], 1.0))
        d = (0.0, 0.0, 1.0)
        while True:
            c = turned_into(d, chord[step, 0], chord[step, 1], chord[step, 2])
            x, y, z = x + c[0], y + c[1], z + c[2]
            way += math.sqrt(c[0] * c[0] + c[1] * c[1] + c[2] * c[2])
            lost += deposit[step]
            d = unit(turned_into(d, direction[step, 0], direction[step, 1], direction[step, 2]))
            step += 1
            if is_last[step - 1] or freed[step - 1] > 0 or step >= n:
                break
            if way >= limit:
                break
        chords[made, 0], chords[made, 1], chords[made, 2] = x, y, z
        directions[made, 0], directions[made, 1], directions[made, 2] = d
        deposits[made] = lost
        made += 1
    return kept[:made].copy(), chords[:made].copy(), directions[:made].copy(), deposits[:made].copy()


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _turn(
    chord: SingleArray, direction: SingleArray, first_step: IntArray, freed_first: IntArray, freed: SingleArray
) -> SingleArray:
    """What a merged step frees, in the frame of that step's start."""
    result = np.empty_like(freed)
    ends = len(first_step)
    for made in range(ends):
        end = first_step[made + 1] if made + 1 < ends else len(chord)
        d = (0.0, 0.0, 1.0)
        for step in range(first_step[made], end):
            if step == end - 1:
                for index in range(freed_first[step], freed_first[step + 1]):
                    f = turned_into(d, freed[index, 0], freed[index, 1], freed[index, 2])
                    result[index, 0], result[index, 1], result[index, 2] = f
            d = unit(turned_into(d, direction[step, 0], direction[step, 1], direction[step, 2]))
    return result


def _freed_directions(tracks: RecordedTracks, kept: IntArray) -> SingleArray:
    return np.asarray(
        _turn(tracks.chord, tracks.direction, kept, tracks.freed_first, tracks.freed_direction), dtype=np.float32
    )
