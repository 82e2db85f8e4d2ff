"""One electron or positron after another along recorded steps, compiled.

A particle takes up a recorded track where that had a little less energy than it has, in its group of matter, and goes
on along it, turned into its own direction, until the track ends or matter of another group begins. What it has more
than the track leaves along the first step, which is so much longer. Steps pass through voxels of their group with their
length scaled by the ratio of stopping powers, and turn as much more as the matter scatters more for the same loss.

A step goes straight to a hinge, a random part of its length, turns there by what it turns in all, and goes on straight:
so far as it has come, it depends on nothing that lies ahead of it. (Along the recorded chord a strongly turned step
meets a face that lies beside it early, and would be cut before its turn: electrons went 1 % too deep in voxels of
alternating groups.) At the face of another group it ends with the part that is done: so much of its energy is gone.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from gatecheck.compiled import inlined_part_of_kernel, part_of_kernel
from gatecheck.linac.attenuation import ELECTRON_REST_ENERGY
from gatecheck.transport.electron_replay.steps import (
    BINS,
    DEPOSIT,
    DIRECTION,
    FREED,
    FREED_ENERGY,
    FREED_FIRST,
    IS_LAST,
    KINETIC,
    LENGTH,
    PDG_CODE,
    REACH,
    STEP_ENERGY,
    TURNED,
    Steps,
)
from gatecheck.transport.fast_head.random import State, child_stream, start_stream, uniform, uniform_aside
from gatecheck.transport.photon_tracker.kernel import (
    ELECTRON_PDG,
    ENERGY,
    HIGHEST_LOCAL,
    LABEL,
    PDG,
    PHOTON_PDG,
    STREAM,
    WEIGHT,
    Boxes,
    U,
    X,
    longest_range,
    voxel_at,
)

FloatArray = npt.NDArray[np.float64]
Vector = tuple[float, float, float]

# Places in the tally, MeV, weighted: that particles had, was deposited, left the boxes, photons took, mass that
# annihilation freed, and what those had that came into what is left to GATE; particles that found no room (never), and
# steps made.
ENTERED, DEPOSITED, ESCAPED, PHOTONS, MASS, LEFT, OVERFLOW, STEPS, TALLIES = range(9)

MOST_WAITING = 1000
"""Particles that wait at once; an electron of 10 MeV frees some 30 above the production cut."""

# Recorded steps, next below a particle's energy, of which it takes any: more are further below it.
_CHOICE = 20
_NUDGE = 1e-6  # mm, across a face
_STRIDE_IN_GAPS = 0.5  # mm, where no box is
_AIR_ROUND = 1100.0  # mm of it round the boxes, as in GATE's world
_OF_LEFT = 0  # what is chosen aside of a particle's stream
# How a step ends: where the recorded one does, at other matter, or out of the world.
_WHOLE, _CUT, _GONE = 0, 1, 2

# Columns of a voxel in the scores: MeV deposited, the sum of squares of what each history left, what the history that
# was last here left, and which that was.
DEPOSITS, SQUARES, CURRENT, HISTORY, SCORE_COLUMNS = range(5)


class Scores(NamedTuple):
    """Voxels of all boxes, (n, SCORE_COLUMNS), and the tally."""

    voxels: FloatArray
    tally: FloatArray


class Matter(NamedTuple):
    """Group, lengths and turns over those recorded in it, density of each material, and whether it is left to GATE.

    Of particles that come into such matter a share survives, with its inverse as a factor of the weight.
    """

    group: npt.NDArray[np.int64]
    length: FloatArray
    turn: FloatArray
    density: FloatArray
    is_left: npt.NDArray[np.bool_]
    survival: float


class Place(NamedTuple):
    """A point, the voxel in the scores (-1 outside of all boxes), the row of the material there, and the voxel's faces.

    Nothing lies between the faces where no voxel is. They are worked out once, when a particle comes into a voxel: of
    its steps there nine in ten end in it, which takes no more than to compare.
    """

    x: float
    y: float
    z: float
    voxel: int
    row: int
    lower: Vector
    upper: Vector


@inlined_part_of_kernel
def _place_at(boxes: Boxes, x: float, y: float, z: float) -> Place:
    row, voxel = voxel_at(boxes, x, y, z)
    if voxel < 0:
        return Place(x, y, z, voxel, row, (math.inf, math.inf, math.inf), (-math.inf, -math.inf, -math.inf))
    box = _box_of(boxes, voxel)
    low_x, high_x = _faces(boxes.lower[box, 0], boxes.spacing[box, 0], x)
    low_y, high_y = _faces(boxes.lower[box, 1], boxes.spacing[box, 1], y)
    low_z, high_z = _faces(boxes.lower[box, 2], boxes.spacing[box, 2], z)
    return Place(x, y, z, voxel, row, (low_x, low_y, low_z), (high_x, high_y, high_z))


@inlined_part_of_kernel
def _faces(lower: float, step: float, at: float) -> tuple[float, float]:
    number = math.floor((at - lower) / step)
    return lower + number * step, lower + (number + 1) * step


@inlined_part_of_kernel
def _box_of(boxes: Boxes, voxel: int) -> int:
    box = len(boxes.first) - 1
    while boxes.first[box] > voxel:
        box -= 1
    return box


@inlined_part_of_kernel
def _way_to_face(boxes: Boxes, place: Place, direction: Vector) -> float:
    """Distance along a direction to where another voxel or the hull begins."""
    if place.voxel < 0:
        return _way_outside(boxes, place, direction)
    way = _face_along(place.lower[0], place.upper[0], place.x, direction[0])
    way = min(way, _face_along(place.lower[1], place.upper[1], place.y, direction[1]))
    return min(way, _face_along(place.lower[2], place.upper[2], place.z, direction[2]))


@inlined_part_of_kernel
def _face_along(lower: float, upper: float, at: float, slope: float) -> float:
    if abs(slope) < 1e-12:
        return math.inf
    return max(((upper if slope > 0 else lower) - at) / slope, 0.0)


@part_of_kernel
def _way_outside(boxes: Boxes, place: Place, direction: Vector) -> float:
    """To the hull; a stride where boxes leave a gap in it; infinite where the way does not meet the hull."""
    enter, leave = 0.0, math.inf
    for axis in range(3):
        at = place.x if axis == 0 else (place.y if axis == 1 else place.z)
        slope = direction[0] if axis == 0 else (direction[1] if axis == 1 else direction[2])
        low, high = boxes.hull_lower[axis] - at, boxes.hull_upper[axis] - at
        if abs(slope) < 1e-12:
            if low > 0.0 or high < 0.0:
                return math.inf
            continue
        enter = max(enter, min(low / slope, high / slope))
        leave = min(leave, max(low / slope, high / slope))
    if enter >= leave:
        return math.inf
    return enter if enter > 0.0 else _STRIDE_IN_GAPS


@part_of_kernel
def _is_beyond(boxes: Boxes, place: Place, margin: float) -> bool:
    """More than a margin outside of the hull."""
    return bool(
        place.x < boxes.hull_lower[0] - margin
        or place.y < boxes.hull_lower[1] - margin
        or place.z < boxes.hull_lower[2] - margin
        or place.x > boxes.hull_upper[0] + margin
        or place.y > boxes.hull_upper[1] + margin
        or place.z > boxes.hull_upper[2] + margin
    )


@inlined_part_of_kernel
def _stays(place: Place, longest: float) -> bool:
    """Every face is farther than that."""
    return (
        min(place.x - place.lower[0], place.upper[0] - place.x) > longest
        and min(place.y - place.lower[1], place.upper[1] - place.y) > longest
        and min(place.z - place.lower[2], place.upper[2] - place.z) > longest
    )


@inlined_part_of_kernel
def _score(scores: Scores, voxel: int, energy: float, history: float) -> None:
    if voxel < 0:
        scores.tally[ESCAPED] += energy
        return
    scores.tally[DEPOSITED] += energy
    scores.voxels[voxel, DEPOSITS] += energy
    if scores.voxels[voxel, HISTORY] != history:
        scores.voxels[voxel, SQUARES] += scores.voxels[voxel, CURRENT] * scores.voxels[voxel, CURRENT]
        scores.voxels[voxel, CURRENT] = 0.0
        scores.voxels[voxel, HISTORY] = history
    scores.voxels[voxel, CURRENT] += energy


@part_of_kernel
def turned_into(direction: Vector, a: float, b: float, c: float) -> Vector:
    """A vector given in the frame of a direction, see `record.frame_of`."""
    dx, dy, dz = direction
    sign = 1.0 if dz >= 0.0 else -1.0
    q = -1.0 / (sign + dz)
    t = dx * dy * q
    return (
        a * (1.0 + sign * dx * dx * q) + b * t + c * dx,
        a * sign * t + b * (sign + dy * dy * q) + c * dy,
        -a * sign * dx - b * dy + c * dz,
    )


@part_of_kernel
def unit(vector: Vector) -> Vector:
    """The vector's direction."""
    size = 1.0 / math.sqrt(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2])
    return vector[0] * size, vector[1] * size, vector[2] * size


@part_of_kernel
def _turned(direction: Vector, steps: Steps, step: int, turn: float) -> Vector:
    """The direction after a step that turns so many times as far (by its sine) as the recorded one, at most across."""
    u, v, w = steps.data[step, TURNED], steps.data[step, TURNED + 1], steps.data[step, TURNED + 2]
    across = u * u + v * v
    along = across + w * w - turn * turn * across
    if along <= 0.0:
        return unit(turned_into(direction, turn * u, turn * v, 0.0))
    x, y, z = turned_into(direction, turn * u, turn * v, math.copysign(math.sqrt(along), w))
    size = 1.5 - 0.5 * (x * x + y * y + z * z)  # its inverse, but for the square of what single precision is off by
    return x * size, y * size, z * size


@part_of_kernel
def _step_to_take(steps: Steps, library: int, energy: float, state: State) -> int:
    """Any of the recorded steps next below an energy; -1 where there are too few below."""
    number = min(int(energy * steps.per_bin), BINS - 1)
    low, high = steps.bins[library, number], steps.bins[library, number + 1]
    while low < high:
        middle = (low + high) // 2
        if steps.sorted_energy[middle] <= energy:
            low = middle + 1
        else:
            high = middle
    if low - steps.first[library] < _CHOICE:
        return -1
    return int(steps.sorted_step[low - 1 - int(uniform(state) * _CHOICE)])


@part_of_kernel
def _end_of_a_track(steps: Steps, library: int) -> int:
    """A step that ends a track, for a positron of less energy than any that was recorded."""
    step = int(steps.sorted_step[steps.first[library]])
    while steps.data[step, IS_LAST] == 0.0:
        step += 1
    return step


@inlined_part_of_kernel
def _walk(
    place: Place,
    direction: Vector,
    way: float,
    energy: float,
    history: float,
    matter: Matter,
    boxes: Boxes,
    scores: Scores,
) -> tuple[Place, float, int]:
    """Go `way` mm of recorded length along a direction and leave `energy` evenly; the end, the part done, and how."""
    started = matter.group[place.row]
    left = 1.0
    while True:
        whole = way * matter.length[place.row]
        rest = left * whole
        x, y, z = place.x + rest * direction[0], place.y + rest * direction[1], place.z + rest * direction[2]
        is_inside = (
            place.lower[0] < x < place.upper[0]
            and place.lower[1] < y < place.upper[1]
            and place.lower[2] < z < place.upper[2]
        )
        face = math.inf if is_inside else _way_to_face(boxes, place, direction)
        if rest <= face:
            _score(scores, place.voxel, energy * left, history)
            return Place(x, y, z, place.voxel, place.row, place.lower, place.upper), 1.0, _WHOLE
        face += _NUDGE
        done = min(face / whole, left)
        _score(scores, place.voxel, energy * done, history)
        left -= done
        was_inside = place.voxel >= 0
        place = _place_at(
            boxes, place.x + face * direction[0], place.y + face * direction[1], place.z + face * direction[2]
        )
        if place.voxel < 0 and _is_beyond(boxes, place, 0.0 if was_inside else _AIR_ROUND):
            return place, 1.0 - left, _GONE
        if matter.group[place.row] != started or (place.voxel >= 0 and matter.is_left[place.row]):
            return place, 1.0 - left, _CUT


@part_of_kernel
def _set_free(
    steps: Steps,
    step: int,
    place: Place,
    direction: Vector,
    weight: float,
    history: float,
    waiting: FloatArray,
    count: int,
    out: FloatArray,
    kept: int,
    tally: FloatArray,
    state: State,
) -> tuple[int, int]:
    """What a step frees at its end: charged particles wait, photons go out; how many of both there are then."""
    first = int(steps.data[step, FREED_FIRST])
    for index in range(first, first + int(steps.data[step, FREED])):
        freed = steps.freed
        flight = turned_into(
            direction, freed[index, DIRECTION], freed[index, DIRECTION + 1], freed[index, DIRECTION + 2]
        )
        energy, pdg = float(freed[index, KINETIC]), int(freed[index, PDG_CODE])
        is_photon = pdg == PHOTON_PDG
        if (is_photon and kept >= len(out)) or (not is_photon and count >= len(waiting)):
            tally[OVERFLOW] += 1.0
            continue
        if is_photon:
            tally[PHOTONS] += weight * energy
            _put(out, kept, energy, place, flight, weight, pdg, history)
            out[kept, STREAM] = child_stream(state, index - first)
            kept += 1
        else:
            _put(waiting, count, energy, place, flight, weight, pdg, history)
            count += 1
    return count, kept


@part_of_kernel
def _leave(
    out: FloatArray,
    kept: int,
    energy: float,
    place: Place,
    direction: Vector,
    weight: float,
    pdg: int,
    history: float,
    survival: float,
    scores: Scores,
    state: State,
) -> int:
    """Hand a particle out as it is, if it survives; how many there are in `out` then."""
    scores.tally[LEFT] += weight * energy
    if survival < 1.0:
        if uniform_aside(state, _OF_LEFT) >= survival:
            return kept
        weight /= survival
    if kept >= len(out):
        scores.tally[OVERFLOW] += 1.0
        return kept
    _put(out, kept, energy, place, direction, weight, pdg, history)
    out[kept, STREAM] = 0.0
    return kept + 1


@part_of_kernel
def _put(
    rows: FloatArray,
    row: int,
    energy: float,
    place: Place,
    direction: Vector,
    weight: float,
    pdg: int,
    label: float,
) -> None:
    rows[row, ENERGY] = energy
    rows[row, X], rows[row, X + 1], rows[row, X + 2] = place.x, place.y, place.z
    rows[row, U], rows[row, U + 1], rows[row, U + 2] = direction
    rows[row, WEIGHT], rows[row, PDG], rows[row, LABEL] = weight, pdg, label


@part_of_kernel
def _follow(  # noqa: PLR0912, PLR0915 - one particle's life in the order it happens
    waiting: FloatArray,
    history: int,
    steps: Steps,
    matter: Matter,
    boxes: Boxes,
    out: FloatArray,
    kept: int,
    scores: Scores,
    state: State,
) -> int:
    """The particle in the first row of `waiting` and all that it sets free; how many rows of `out` are in use after."""
    groups = (len(steps.first) - 1) // 2
    data = steps.data
    count = 1
    while count > 0:
        count -= 1
        energy, weight = waiting[count, ENERGY], waiting[count, WEIGHT]
        place = _place_at(boxes, waiting[count, X], waiting[count, X + 1], waiting[count, X + 2])
        direction = (waiting[count, U], waiting[count, U + 1], waiting[count, U + 2])
        is_electron = waiting[count, PDG] == ELECTRON_PDG
        step, more = -1, 0.0
        while True:
            if is_electron and place.voxel >= 0 and energy < HIGHEST_LOCAL:
                longest = longest_range(energy, 1.0) if step < 0 else float(data[step, REACH])
                if _stays(place, longest / matter.density[place.row]):
                    _score(scores, place.voxel, weight * energy, history)
                    break
            if place.voxel >= 0 and matter.is_left[place.row]:
                pdg = ELECTRON_PDG if is_electron else -ELECTRON_PDG  # its row may be another's by now
                kept = _leave(out, kept, energy, place, direction, weight, pdg, history, matter.survival, scores, state)
                break
            if step < 0:
                library = matter.group[place.row] + (0 if is_electron else groups)
                step = _step_to_take(steps, library, energy, state)
                if step < 0 and is_electron:
                    _score(scores, place.voxel, weight * energy, history)
                    break
                if step < 0:
                    step = _end_of_a_track(steps, library)
                more = energy - data[step, STEP_ENERGY]
            scores.tally[STEPS] += 1.0
            freed, deposit, is_last = data[step, FREED_ENERGY], data[step, DEPOSIT], data[step, IS_LAST] > 0.0
            # A track's last step leaves what there is, so that energy is kept whatever single precision makes of it.
            mass = 2.0 * ELECTRON_REST_ENERGY if is_last and not is_electron and freed > 0.0 else 0.0
            lost = max(energy + mass - freed, 0.0) if is_last else max(deposit + more, 0.0)
            before = direction
            way = float(data[step, LENGTH])
            if more != 0.0:
                way *= 1.0 + min(max(more / max(deposit, 1e-9), -0.9), 1.0)
            part, ending = 1.0, _WHOLE
            if way > 0.0:
                hinge = uniform(state)
                place, part, ending = _walk(
                    place, direction, hinge * way, weight * lost * hinge, history, matter, boxes, scores
                )
                part *= hinge
                if ending == _WHOLE:
                    direction = _turned(direction, steps, step, matter.turn[place.row])
                    rest = 1.0 - hinge
                    place, beyond, ending = _walk(
                        place, direction, rest * way, weight * lost * rest, history, matter, boxes, scores
                    )
                    part = hinge + rest * beyond
            else:
                uniform(state)  # what this step sets free has other streams than what the next one does
                _score(scores, place.voxel, weight * lost, history)
            more = 0.0
            if ending == _GONE or (place.voxel < 0 and _is_beyond(boxes, place, _AIR_ROUND)):
                scores.tally[ESCAPED] += weight * (energy - part * lost)
                break
            if ending == _CUT:
                energy -= part * lost
                step = -1
                continue
            scores.tally[MASS] += weight * mass
            count, kept = _set_free(
                steps, step, place, before, weight, history, waiting, count, out, kept, scores.tally, state
            )
            if is_last:
                break
            energy -= lost + freed
            if way <= 0.0:
                direction = _turned(direction, steps, step, matter.turn[place.row])
            step += 1
    return kept


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def follow_range(
    first: int,
    last: int,
    particles: FloatArray,
    steps: Steps,
    matter: Matter,
    boxes: Boxes,
    seed: np.uint64,
    out: FloatArray,
    scores: Scores,
    state: State,
) -> tuple[int, int]:
    """Follow particles `first` to `last` - 1 until `out` is nearly full.

    Returns
    -------
    (int, int)
        Photons, and particles that are left to GATE, in `out`; and the first particle not followed.
    """
    kept = 0
    waiting = np.empty((MOST_WAITING, particles.shape[1]))
    for particle in range(first, last):
        if kept + MOST_WAITING > len(out):
            return kept, particle
        start_stream(state, seed, np.uint64(particles[particle, STREAM]))
        waiting[0] = particles[particle]
        scores.tally[ENTERED] += particles[particle, ENERGY] * particles[particle, WEIGHT]
        kept = _follow(waiting, int(particles[particle, LABEL]), steps, matter, boxes, out, kept, scores, state)
    return kept, last


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def close_squares(voxels: FloatArray) -> None:
    """Add what the last history of each voxel left in it."""
    for voxel in range(len(voxels)):
        voxels[voxel, SQUARES] += voxels[voxel, CURRENT] ** 2
        voxels[voxel, CURRENT] = 0.0
        voxels[voxel, HISTORY] = -1.0
