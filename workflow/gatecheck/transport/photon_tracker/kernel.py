"""One photon after another through the patient, compiled.

Woodcock's tracking (Woodcock et al., ANL-7050, 1965): every flight is sampled with the largest
attenuation coefficient of any material; where it ends, an interaction is real with the probability of
the local coefficient over the largest. No voxel face is looked for, and no bias is made.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from gatecheck.compiled import part_of_kernel
from gatecheck.linac.attenuation import ELECTRON_REST_ENERGY
from gatecheck.transport.fast_head.compton import klein_nishina, turned
from gatecheck.transport.fast_head.random import State, child_stream, start_stream, uniform, uniform_aside
from gatecheck.transport.photon_tracker.cross_sections import LOWEST_ENERGY, WAVELENGTH_ENERGY, Matter
from gatecheck.transport.photon_tracker.interactions import (
    compton_electron,
    pair_angle,
    pair_share,
    photoelectron_cosine,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_REST = ELECTRON_REST_ENERGY
ELECTRON_PDG, POSITRON_PDG, PHOTON_PDG = 11, -11, 22
_LOWEST = LOWEST_ENERGY
_WAVELENGTH_ENERGY = WAVELENGTH_ENERGY

# Columns of a particle. What a photon sets free carries its label on, and has a stream of random numbers of its own: a
# whole number by where the photon's stands, so that what becomes of a particle does not depend on those before it.
ENERGY, X, Y, Z, U, V, W, WEIGHT, PDG, LABEL, STREAM, COLUMNS = range(12)
# Places in the tally, MeV: energy that left, that was deposited on the spot, that charged particles took,
# that became mass of pairs, that entered, and that found no room (never); the weight of photons that leave without an
# interaction; what photons that lost their roulette had, less what those that won it were given: 0 in the mean.
ESCAPED, LOCAL, CHARGED, MASS, ENTERED, OVERFLOW, UNTOUCHED, ROULETTE, TALLIES = range(9)

# An electron of more energy goes to GATE: its bremsstrahlung would count. Up to here it takes less than 0.1 % of
# the energy in water and 0.2 % in bone (NIST's ESTAR), and such electrons carry a tenth of a 6 MV beam's dose.
HIGHEST_LOCAL = 0.25  # MeV

# A photon that stays so far from the region of interest goes past it (mm): most electrons that it sets free do not
# reach the region.
_CLEAR = 10.0

# Tells a photon's own roulette apart from those of what the same interaction sets free.
_OF_PHOTON = 2

# Room kept for what one photon sets free; a photon of 30 MeV makes about 30 electrons that matter.
MOST_PER_PHOTON = 200


class Boxes(NamedTuple):
    """The patient's boxes and their scoring voxels.

    Attributes
    ----------
    lower, spacing : ndarray of shape (n, 3)
        Lower corner and scoring voxel, xyz.
    size : ndarray of shape (n, 3)
        Scoring voxels along x, y, z.
    first : ndarray of shape (n,)
        Where a box's voxels begin in the scores; [z, y, x] in C order.
    first_label : ndarray of shape (n,)
        Where its labels begin in `rows`, or -1 for a box of one material.
    row : ndarray of shape (n,)
        The material's row where there is but one.
    rows : ndarray, uint16
        Rows of `Matter` for every voxel.
    hull_lower, hull_upper : ndarray of shape (3,)
    air : int
        The row of air, outside of the boxes.
    near_lower, near_upper : ndarray of shape (3,)
        Corners of the region that is of interest.
    far_survival : float
        Probability with which an electron is followed that is set free too far from that region to reach it.
    far_photon_survival : float
        Probability with which a photon is followed on that was scattered onto a way past that region.
    """

    lower: FloatArray
    spacing: FloatArray
    size: IntArray
    first: IntArray
    first_label: IntArray
    row: IntArray
    rows: npt.NDArray[np.uint16]
    hull_lower: FloatArray
    hull_upper: FloatArray
    air: int
    near_lower: FloatArray
    near_upper: FloatArray
    far_survival: float
    far_photon_survival: float


class Scores(NamedTuple):
    """Energy deposited on the spot, MeV, and its square per deposit; all boxes' voxels in a row."""

    energy: FloatArray
    squared: FloatArray
    tally: FloatArray


@part_of_kernel
def _at(table: FloatArray, place: float) -> float:
    index = min(max(int(place), 0), len(table) - 2)
    share = place - index
    value: float = (1.0 - share) * table[index] + share * table[index + 1]
    return value


@part_of_kernel
def voxel_at(boxes: Boxes, x: float, y: float, z: float) -> tuple[int, int]:
    """Row of the material at a point, and the scoring voxel there; -1 outside of the boxes."""
    for box in range(len(boxes.first)):
        i = math.floor((x - boxes.lower[box, 0]) / boxes.spacing[box, 0])
        if i < 0 or i >= boxes.size[box, 0]:
            continue
        j = math.floor((y - boxes.lower[box, 1]) / boxes.spacing[box, 1])
        if j < 0 or j >= boxes.size[box, 1]:
            continue
        k = math.floor((z - boxes.lower[box, 2]) / boxes.spacing[box, 2])
        if k < 0 or k >= boxes.size[box, 2]:
            continue
        place = (k * boxes.size[box, 1] + j) * boxes.size[box, 0] + i
        if boxes.first_label[box] < 0:
            return int(boxes.row[box]), int(boxes.first[box] + place)
        return int(boxes.rows[boxes.first_label[box] + place]), int(boxes.first[box] + place)
    return int(boxes.air), -1


@part_of_kernel
def _crossing(boxes: Boxes, position: FloatArray, direction: FloatArray) -> tuple[float, float]:
    """Distances to where a ray enters and leaves the boxes' hull; it misses when the first is the larger."""
    enter, leave = 0.0, math.inf
    for axis in range(3):
        start, slope = position[axis], direction[axis]
        if abs(slope) < 1e-12:
            if start < boxes.hull_lower[axis] or start > boxes.hull_upper[axis]:
                return 1.0, 0.0
            continue
        first = (boxes.hull_lower[axis] - start) / slope
        second = (boxes.hull_upper[axis] - start) / slope
        enter = max(enter, min(first, second))
        leave = min(leave, max(first, second))
    return enter, leave


@part_of_kernel
def longest_range(kinetic: float, density: float) -> float:
    """A length (mm) that no electron exceeds: 1.2 times 0.412 E^(1.265 - 0.0954 ln E) g/cm².

    Katz and Penfold, Rev. Mod. Phys. 24 (1952) 28, from 0.01 to 2.5 MeV. NIST's ranges in continuous
    slowing down are 4 to 8 % above theirs in water and 11 to 15 % in bone and air, from 0.02 to 1 MeV.
    """
    energy = max(kinetic, 0.01)
    longest: float = 12.0 * 0.412 * energy ** (1.265 - 0.0954 * math.log(energy)) / density
    return longest


@part_of_kernel
def _stays(kinetic: float, row: int, voxel: int, position: FloatArray, boxes: Boxes, matter: Matter) -> bool:
    """Whether an electron cannot leave the scoring voxel that it is set free in."""
    if kinetic > HIGHEST_LOCAL:
        return False
    longest = longest_range(kinetic, matter.density[row])
    box = len(boxes.first) - 1
    while boxes.first[box] > voxel:
        box -= 1
    for axis in range(3):
        place = (position[axis] - boxes.lower[box, axis]) / boxes.spacing[box, axis]
        inside = place - math.floor(place)
        if min(inside, 1.0 - inside) * boxes.spacing[box, axis] < longest:
            return False
    return True


@part_of_kernel
def _is_far(kinetic: float, position: FloatArray, boxes: Boxes) -> bool:
    """Whether an electron in water could not reach the region of interest; one in thinner matter may."""
    square = 0.0
    for axis in range(3):
        apart = max(boxes.near_lower[axis] - position[axis], position[axis] - boxes.near_upper[axis], 0.0)
        square += apart * apart
    return square > longest_range(kinetic, 1.0) ** 2


@part_of_kernel
def _goes_past(position: FloatArray, direction: FloatArray, boxes: Boxes) -> bool:
    """Whether a photon's way, until it interacts again, stays clear of the region of interest."""
    enter, leave = 0.0, math.inf
    for axis in range(3):
        low = boxes.near_lower[axis] - _CLEAR - position[axis]
        high = boxes.near_upper[axis] + _CLEAR - position[axis]
        slope = direction[axis]
        if abs(slope) < 1e-12:
            if low > 0.0 or high < 0.0:
                return True
            continue
        enter = max(enter, min(low / slope, high / slope))
        leave = min(leave, max(low / slope, high / slope))
    return enter >= leave


@part_of_kernel
def _set_free(
    kinetic: float,
    direction: tuple[float, float, float],
    pdg: int,
    number: int,
    weight: float,
    label: float,
    position: FloatArray,
    row: int,
    voxel: int,
    boxes: Boxes,
    matter: Matter,
    out: FloatArray,
    kept: int,
    limit: int,
    survival: float,
    scores: Scores,
    state: State,
) -> int:
    """Give a charged particle to GATE, or deposit it on the spot when it could not leave its voxel.

    Far from the region of interest Russian roulette is played: of those there a share of `survival` is followed, with
    so much more weight. `number` tells apart what one interaction sets free.
    """
    if voxel >= 0 and pdg == ELECTRON_PDG and _stays(kinetic, row, voxel, position, boxes, matter):
        scores.energy[voxel] += weight * kinetic
        scores.squared[voxel] += (weight * kinetic) ** 2
        scores.tally[LOCAL] += weight * kinetic
        return kept
    scores.tally[CHARGED] += weight * kinetic  # what it stands for, followed or not
    if survival < 1.0 and _is_far(kinetic, position, boxes):
        if uniform_aside(state, number) >= survival:
            return kept
        weight /= survival
    if kept >= limit:
        scores.tally[OVERFLOW] += weight * kinetic
        return kept
    out[kept, ENERGY] = kinetic
    for axis in range(3):
        out[kept, X + axis] = position[axis]
        out[kept, U + axis] = direction[axis]
    out[kept, WEIGHT] = weight
    out[kept, PDG] = pdg
    out[kept, LABEL] = label
    out[kept, STREAM] = child_stream(state, number)
    return kept + 1


@part_of_kernel
def _rayleigh_cosine(energy: float, row: int, matter: Matter, state: State) -> float:
    """Cosine of coherent scattering: the squared form factor by inversion, Thomson's by rejection."""
    table = matter.form_factor[row]
    largest = (energy / _WAVELENGTH_ENERGY) ** 2
    end = int(min(max(int(np.searchsorted(matter.transfer, largest)), 1), len(table) - 1))
    before = matter.transfer[end - 1]
    part = (largest - before) / (matter.transfer[end] - before)
    whole = table[end - 1] + min(part, 1.0) * (table[end] - table[end - 1])
    while True:
        wanted = uniform(state) * whole
        index = int(min(max(int(np.searchsorted(table, wanted)), 1), len(table) - 1))
        step = table[index] - table[index - 1]
        inside = (wanted - table[index - 1]) / step if step > 0 else 0.0
        transfer = matter.transfer[index - 1] + inside * (matter.transfer[index] - matter.transfer[index - 1])
        cosine: float = max(1.0 - 2.0 * transfer / largest, -1.0)
        if 2.0 * uniform(state) <= 1.0 + cosine * cosine:
            return cosine


@part_of_kernel
def _flight(
    energy: float, position: FloatArray, direction: FloatArray, boxes: Boxes, matter: Matter, state: State
) -> tuple[int, int]:
    """Move a photon to its next real interaction: row and voxel there; (-1, -1) when it leaves.

    Flights begin where the photon is, also before the boxes, where they count for nothing: where they end does not
    depend on the place at which it enters. So a photon that comes in a little beside another, with the same random
    numbers, does the same a little beside it.
    """
    place = (math.log(energy) - matter.log_lowest) * matter.inverse_step
    majorant = _at(matter.majorant, place)
    enter, leave = _crossing(boxes, position, direction)
    if enter >= leave:
        return -1, -1
    if enter > 0.0:
        way = -math.log(1.0 - uniform(state)) / _at(matter.total[boxes.air], place)
        if way < enter:
            for axis in range(3):
                position[axis] += way * direction[axis]
            return boxes.air, -1
    way, been = 0.0, 0.0
    while True:
        way -= math.log(1.0 - uniform(state)) / majorant
        if way >= leave:
            return -1, -1
        if way <= enter:
            continue
        for axis in range(3):
            position[axis] += (way - been) * direction[axis]
        been = way
        row, voxel = voxel_at(boxes, position[0], position[1], position[2])
        if uniform(state) * majorant < _at(matter.total[row], place):
            return row, voxel


@part_of_kernel
def _follow(
    energy: float,
    position: FloatArray,
    direction: FloatArray,
    weight: float,
    label: float,
    boxes: Boxes,
    matter: Matter,
    out: FloatArray,
    kept: int,
    scores: Scores,
    state: State,
) -> int:
    """One photon to its end; how many charged particles are in `out` after it.

    Scattered onto a way past the region of interest it plays Russian roulette, once. What it sets free far from there
    plays that much less, so that weights there are what they are without.
    """
    limit = kept + MOST_PER_PHOTON
    scores.tally[ENTERED] += weight * energy
    interactions = 0
    survival = boxes.far_survival
    may_lose = boxes.far_photon_survival < 1.0
    while True:
        row, voxel = _flight(energy, position, direction, boxes, matter, state)
        if row < 0:
            scores.tally[ESCAPED] += weight * energy
            if interactions == 0:
                scores.tally[UNTOUCHED] += weight
            return kept
        place = (math.log(energy) - matter.log_lowest) * matter.inverse_step
        interactions += 1
        u = (direction[0], direction[1], direction[2])
        choice = uniform(state)
        if choice < _at(matter.compton[row], place):
            scattered, cosine = klein_nishina(energy, state)
            v = turned(u[0], u[1], u[2], cosine, 2.0 * math.pi * uniform(state))
            electron = compton_electron(energy, u, scattered, v)
            kept = _set_free(
                energy - scattered,
                electron,
                ELECTRON_PDG,
                0,
                weight,
                label,
                position,
                row,
                voxel,
                boxes,
                matter,
                out,
                kept,
                limit,
                survival,
                scores,
                state,
            )
            energy = scattered
            if energy < _LOWEST:
                return _set_free(
                    energy,
                    v,
                    ELECTRON_PDG,
                    1,
                    weight,
                    label,
                    position,
                    row,
                    voxel,
                    boxes,
                    matter,
                    out,
                    kept,
                    limit,
                    survival,
                    scores,
                    state,
                )
            direction[0], direction[1], direction[2] = v
            if may_lose and _goes_past(position, direction, boxes):
                may_lose = False
                lost = weight * energy
                if uniform_aside(state, _OF_PHOTON) >= boxes.far_photon_survival:
                    scores.tally[ROULETTE] += lost
                    return kept
                weight /= boxes.far_photon_survival
                survival = min(survival / boxes.far_photon_survival, 1.0)
                scores.tally[ROULETTE] += lost - weight * energy
        elif choice < _at(matter.photoelectric[row], place):
            # The shell's binding energy stays near the atom; the electron keeps it here.
            cosine = photoelectron_cosine(energy, state)
            v = turned(u[0], u[1], u[2], cosine, 2.0 * math.pi * uniform(state))
            return _set_free(
                energy,
                v,
                ELECTRON_PDG,
                0,
                weight,
                label,
                position,
                row,
                voxel,
                boxes,
                matter,
                out,
                kept,
                limit,
                survival,
                scores,
                state,
            )
        elif choice < _at(matter.pair[row], place) and energy > 2.0 * _REST:
            share = pair_share(energy, state)
            scores.tally[MASS] += 2.0 * _REST * weight
            azimuth = 2.0 * math.pi * uniform(state)
            for sign in range(2):
                total = energy * (share if sign == 0 else 1.0 - share)
                angle = pair_angle(total, state)
                v = turned(u[0], u[1], u[2], math.cos(angle), azimuth + sign * math.pi)
                pdg = ELECTRON_PDG if sign == 0 else POSITRON_PDG
                kept = _set_free(
                    max(total - _REST, 0.0),
                    v,
                    pdg,
                    sign,
                    weight,
                    label,
                    position,
                    row,
                    voxel,
                    boxes,
                    matter,
                    out,
                    kept,
                    limit,
                    survival,
                    scores,
                    state,
                )
            return kept
        else:
            cosine = _rayleigh_cosine(energy, row, matter, state)
            v = turned(u[0], u[1], u[2], cosine, 2.0 * math.pi * uniform(state))
            direction[0], direction[1], direction[2] = v


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def follow_range(
    first: int,
    last: int,
    particles: FloatArray,
    copies: int,
    boxes: Boxes,
    matter: Matter,
    seed: np.uint64,
    out: FloatArray,
    scores: Scores,
    state: State,
) -> tuple[int, int]:
    """Follow the photons among particles `first` to `last` - 1, until `out` is nearly full.

    Each is followed `copies` times, with its weight shared.

    Returns
    -------
    (int, int)
        Charged particles in `out`, and the first photon not followed.
    """
    kept = 0
    position = np.empty(3)
    direction = np.empty(3)
    for photon in range(first, last):
        if kept + copies * MOST_PER_PHOTON > len(out):
            return kept, photon
        if particles[photon, PDG] != PHOTON_PDG:
            continue
        for copy in range(copies):
            start_stream(state, seed, np.uint64(particles[photon, STREAM]) * np.uint64(copies) + np.uint64(copy))
            for axis in range(3):
                position[axis] = particles[photon, X + axis]
                direction[axis] = particles[photon, U + axis]
            kept = _follow(
                particles[photon, ENERGY],
                position,
                direction,
                particles[photon, WEIGHT] / copies,
                particles[photon, LABEL],
                boxes,
                matter,
                out,
                kept,
                scores,
                state,
            )
    return kept, last
