"""The least gamma round one reference point after another, compiled.

Lengths are counted in distance tolerances and doses in dose tolerances, so that the gamma of a place at offset y
from the reference point, where the dose is d more than the reference dose, is sqrt(d^2 + |y|^2) (Low et al., Med.
Phys. 25 (1998) 656), and its least value over all places is looked for.

Between the centres of voxels the evaluated dose is trilinear. A cell is the box between eight centres; in it, and in
any box cut out of it, with t = -1 to 1 from face to face,

    d = b0 + bx tx + by ty + bz tz + bxy tx ty + bxz tx tz + byz ty tz + bxyz tx ty tz,

so that about any place p in the box, with s = y - p and u = s counted in half box widths,

    d = d(p) + g.s + (bxy + bxyz tz) ux uy + (bxz + bxyz ty) ux uz + (byz + bxyz tx) uy uz

with each t somewhere in the box. For any number r, d^2 >= 2 r d - r^2, and 2 |ux uy| <= ux^2 + uy^2, so

    gamma^2 >= 2 r d(p) - r^2 + |p|^2 + sum over axes of min (2 (r g + p) s + (1 - |r| B / h^2) s^2)

in the box, h being half its width and Bx = |bxy| + |bxz| + 2 |bxyz|, likewise By and Bz. In a linear dose that is the
Lagrange dual of a convex problem: it is the least gamma itself for p = clip(-r g), r = d(p). Elsewhere, p and r are
those of the dose's tangent at the place found before, and what the bound lacks falls with the square of how far r g + p
is from nothing. Cells are visited by their distance, and cut to what lies within the best gamma found so far along each
axis. One whose bound is below that, less the accuracy asked for, is halved along the axis with the largest B h. So what
is found is a gamma that occurs, and at most the accuracy above the least.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

from gatecheck.compiled import part_of_kernel

FloatArray = npt.NDArray[np.float64]
DoseArray = npt.NDArray[np.float32] | npt.NDArray[np.float64]

# Columns of a box that waits to be searched: coefficients of its dose, lower and upper faces.
_B0, _BX, _BY, _BZ, _BXY, _BXZ, _BYZ, _BXYZ, _LOW, _HIGH, _COLUMNS = 0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 14
# Each halving leaves one more box waiting: 3 x 40 are boxes of 1e-12 of a cell.
_MOST_WAITING = 128
_MOST_STEPS = 60
_MOST_TANGENTS = 3
# Of r, over 1 or the largest dose difference on the way: with a coarser one the bound never comes near what is found
# where doses differ by hundreds of tolerances within the distance tolerance.
_NEWTON_ACCURACY = 1e-12
# Some ten boxes of a cell are searched; a search that does not end by itself is given up, and said.
_MOST_BOXES = 100_000
# Boxes are left out unsearched only for less than this: in a linear dose, what is searched is found exactly.
_CELL_ACCURACY = 1e-4


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def search_points(  # noqa: PLR0917 - compiled code knows arguments by place
    places_xyz: FloatArray,
    doses: FloatArray,
    tolerances: FloatArray,
    values_zyx: DoseArray,
    pitch: FloatArray,
    cells_xyz: npt.NDArray[np.int64],
    least_distances: FloatArray,
    cap: float,
    accuracy: float,
    gamma: FloatArray,
    is_reached: npt.NDArray[np.bool_],
) -> None:
    """Fill `gamma` and `is_reached` of n points.

    Parameters
    ----------
    places_xyz : ndarray of shape (n, 3)
        In voxels of the evaluated dose, 0 at the centre of the first.
    doses, tolerances : ndarray of shape (n,)
        Reference dose and dose tolerance, Gy.
    values_zyx : ndarray of shape (nz, ny, nx)
        Evaluated dose, at least two voxels along each axis; cells with a NaN at a corner are left out.
    pitch : ndarray of shape (3,)
        Spacing of the evaluated dose along x, y, z, in distance tolerances.
    cells_xyz, least_distances : ndarray of shape (m, 3) and (m,)
        Cells to visit, counted from the one that holds the point, and the least distance at which each can be.
    """
    waiting = np.empty((_MOST_WAITING, _COLUMNS))
    for index in range(len(doses)):
        gamma[index], is_reached[index] = search_point(
            places_xyz[index],
            doses[index],
            1.0 / tolerances[index],
            values_zyx,
            pitch,
            cells_xyz,
            least_distances,
            cap,
            accuracy,
            waiting,
        )


@part_of_kernel
def search_point(  # noqa: PLR0917 - compiled code knows arguments by place
    place: FloatArray,
    dose: float,
    per_tolerance: float,
    values_zyx: DoseArray,
    pitch: FloatArray,
    cells_xyz: npt.NDArray[np.int64],
    least_distances: FloatArray,
    cap: float,
    accuracy: float,
    waiting: FloatArray,
) -> tuple[float, bool]:
    nz, ny, nx = values_zyx.shape
    outside = (
        beyond(place[0], nx - 1.0, pitch[0])
        + beyond(place[1], ny - 1.0, pitch[1])
        + beyond(place[2], nz - 1.0, pitch[2])
    )
    if outside > cap * cap:
        return cap, False
    leave = min(accuracy, _CELL_ACCURACY)
    best, reached, multiplier = cap, False, 0.0
    if outside == 0.0:
        here = abs(interpolated(place, values_zyx) - dose) * per_tolerance
        if not math.isnan(here):
            best, reached = min(cap, here), True
    base_x, base_y, base_z = math.floor(place[0]), math.floor(place[1]), math.floor(place[2])
    for number in range(len(least_distances)):
        wanted = best - leave if reached else cap
        if least_distances[number] > wanted:
            break
        x, y, z = base_x + cells_xyz[number, 0], base_y + cells_xyz[number, 1], base_z + cells_xyz[number, 2]
        if x < 0 or y < 0 or z < 0 or x > nx - 2 or y > ny - 2 or z > nz - 2:
            continue
        low_x, low_y, low_z = (x - place[0]) * pitch[0], (y - place[1]) * pitch[1], (z - place[2]) * pitch[2]
        away = squared_distance(low_x, low_x + pitch[0])
        away += squared_distance(low_y, low_y + pitch[1]) + squared_distance(low_z, low_z + pitch[2])
        if away > wanted * wanted:
            continue
        c000, c001 = float(values_zyx[z, y, x]), float(values_zyx[z, y, x + 1])
        c010, c011 = float(values_zyx[z, y + 1, x]), float(values_zyx[z, y + 1, x + 1])
        c100, c101 = float(values_zyx[z + 1, y, x]), float(values_zyx[z + 1, y, x + 1])
        c110, c111 = float(values_zyx[z + 1, y + 1, x]), float(values_zyx[z + 1, y + 1, x + 1])
        total = c000 + c001 + c010 + c011 + c100 + c101 + c110 + c111
        if math.isnan(total):
            continue
        reached = True
        wanted = best - leave
        lowest = min(c000, c001, c010, c011, c100, c101, c110, c111)
        highest = max(c000, c001, c010, c011, c100, c101, c110, c111)
        off = max(lowest - dose, dose - highest, 0.0) * per_tolerance
        if away + off * off >= wanted * wanted:
            continue
        unit = 0.125 * per_tolerance
        waiting[0, _B0] = total * unit - dose * per_tolerance
        waiting[0, _BX] = ((c001 - c000) + (c011 - c010) + (c101 - c100) + (c111 - c110)) * unit
        waiting[0, _BY] = ((c010 - c000) + (c011 - c001) + (c110 - c100) + (c111 - c101)) * unit
        waiting[0, _BZ] = ((c100 - c000) + (c101 - c001) + (c110 - c010) + (c111 - c011)) * unit
        waiting[0, _BXY] = ((c000 - c001) + (c011 - c010) + (c100 - c101) + (c111 - c110)) * unit
        waiting[0, _BXZ] = ((c000 - c001) + (c010 - c011) + (c101 - c100) + (c111 - c110)) * unit
        waiting[0, _BYZ] = ((c000 - c010) + (c001 - c011) + (c110 - c100) + (c111 - c101)) * unit
        waiting[0, _BXYZ] = ((c001 - c000) + (c010 - c011) + (c100 - c101) + (c111 - c110)) * unit
        waiting[0, _LOW], waiting[0, _LOW + 1], waiting[0, _LOW + 2] = low_x, low_y, low_z
        waiting[0, _HIGH], waiting[0, _HIGH + 1] = low_x + pitch[0], low_y + pitch[1]
        waiting[0, _HIGH + 2] = low_z + pitch[2]
        best, multiplier = search_cell(waiting, best, multiplier, accuracy, leave)
        if math.isnan(best):
            return best, True
    return best, reached


@part_of_kernel
def beyond(place: float, last: float, pitch: float) -> float:
    # Squared distance from the evaluated grid along one axis.
    off = max(-place, place - last, 0.0) * pitch
    return off * off


@part_of_kernel
def squared_distance(low: float, high: float) -> float:
    off = max(low, -high, 0.0)
    return off * off


@part_of_kernel
def interpolated(place: FloatArray, values_zyx: DoseArray) -> float:
    nz, ny, nx = values_zyx.shape
    x, y, z = min(int(place[0]), nx - 2), min(int(place[1]), ny - 2), min(int(place[2]), nz - 2)
    u, v, w = place[0] - x, place[1] - y, place[2] - z
    near = (values_zyx[z, y, x] * (1 - u) + values_zyx[z, y, x + 1] * u) * (1 - v)
    near += (values_zyx[z, y + 1, x] * (1 - u) + values_zyx[z, y + 1, x + 1] * u) * v
    far = (values_zyx[z + 1, y, x] * (1 - u) + values_zyx[z + 1, y, x + 1] * u) * (1 - v)
    far += (values_zyx[z + 1, y + 1, x] * (1 - u) + values_zyx[z + 1, y + 1, x + 1] * u) * v
    return float(near * (1 - w) + far * w)


@part_of_kernel
def clipped(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


@part_of_kernel
def search_cell(  # noqa: PLR0915 - one formula
    waiting: FloatArray, best: float, best_multiplier: float, accuracy: float, leave: float
) -> tuple[float, float]:
    """The best gamma, and the r that goes with it, after searching the box in the first row of `waiting`.

    NaN where the search did not end.
    """
    count = 1
    searched = 0
    while count > 0:
        searched += 1
        if searched > _MOST_BOXES or count + 1 > _MOST_WAITING:
            return math.nan, 0.0
        wanted = best - accuracy
        if wanted <= 0.0:
            return best, best_multiplier
        count -= 1
        box = waiting[count]
        away = squared_distance(box[_LOW], box[_HIGH])
        away += squared_distance(box[_LOW + 1], box[_HIGH + 1]) + squared_distance(box[_LOW + 2], box[_HIGH + 2])
        if away >= (best - leave) ** 2:
            continue
        cut_to(box, best)
        b0, bx, by, bz = box[_B0], box[_BX], box[_BY], box[_BZ]
        bxy, bxz, byz, bxyz = box[_BXY], box[_BXZ], box[_BYZ], box[_BXYZ]
        most = abs(bx) + abs(by) + abs(bz) + abs(bxy) + abs(bxz) + abs(byz) + abs(bxyz)
        off = max(abs(b0) - most, 0.0)
        if away + off * off >= (best - leave) ** 2:
            continue
        low_x, low_y, low_z = box[_LOW], box[_LOW + 1], box[_LOW + 2]
        high_x, high_y, high_z = box[_HIGH], box[_HIGH + 1], box[_HIGH + 2]
        per_x, per_y, per_z = 2.0 / (high_x - low_x), 2.0 / (high_y - low_y), 2.0 / (high_z - low_z)
        middle_x, middle_y, middle_z = 0.5 * (low_x + high_x), 0.5 * (low_y + high_y), 0.5 * (low_z + high_z)
        cross_x = (abs(bxy) + abs(bxz) + 2.0 * abs(bxyz)) * per_x * per_x
        cross_y = (abs(bxy) + abs(byz) + 2.0 * abs(bxyz)) * per_y * per_y
        cross_z = (abs(bxz) + abs(byz) + 2.0 * abs(bxyz)) * per_z * per_z
        x, y, z = clipped(0.0, low_x, high_x), clipped(0.0, low_y, high_y), clipped(0.0, low_z, high_z)
        tx, ty, tz = (x - middle_x) * per_x, (y - middle_y) * per_y, (z - middle_z) * per_z
        off = b0 + bx * tx + (by + bxy * tx) * ty + (bz + bxz * tx + (byz + bxyz * tx) * ty) * tz
        gx = (bx + bxy * ty + (bxz + bxyz * ty) * tz) * per_x
        gy = (by + bxy * tx + (byz + bxyz * tx) * tz) * per_y
        gz = (bz + bxz * tx + (byz + bxyz * tx) * ty) * per_z
        # What was best elsewhere in this dose often suffices to leave a box out.
        bound = lower_bound(best_multiplier, off, x, y, z, gx, gy, gz, cross_x, cross_y, cross_z, box)
        if bound >= (best - leave) ** 2:
            continue
        is_done = False
        for _ in range(_MOST_TANGENTS):
            multiplier, x, y, z = least_of_linear(
                off - gx * x - gy * y - gz * z, gx, gy, gz, low_x, low_y, low_z, high_x, high_y, high_z
            )
            tx, ty, tz = (x - middle_x) * per_x, (y - middle_y) * per_y, (z - middle_z) * per_z
            off = b0 + bx * tx + (by + bxy * tx) * ty + (bz + bxz * tx + (byz + bxyz * tx) * ty) * tz
            found = off * off + x * x + y * y + z * z
            if found < best * best:
                best = math.sqrt(found)
                best_multiplier = multiplier
                wanted = best - accuracy
                if wanted <= 0.0:
                    return best, best_multiplier
            gx = (bx + bxy * ty + (bxz + bxyz * ty) * tz) * per_x
            gy = (by + bxy * tx + (byz + bxyz * tx) * tz) * per_y
            gz = (bz + bxz * tx + (byz + bxyz * tx) * ty) * per_z
            bound = lower_bound(multiplier, off, x, y, z, gx, gy, gz, cross_x, cross_y, cross_z, box)
            if bound >= wanted * wanted:
                is_done = True
                break
        if not is_done:
            part_x, part_y, part_z = cross_x / per_x**3, cross_y / per_y**3, cross_z / per_z**3
            halve_longest(waiting, count, (part_x, part_y, part_z), (tx, ty, tz))
            count += 2
    return best, best_multiplier


@part_of_kernel
def lower_bound(  # noqa: PLR0917 - compiled code knows arguments by place
    multiplier: float,
    off: float,
    x: float,
    y: float,
    z: float,
    gx: float,
    gy: float,
    gz: float,
    cross_x: float,
    cross_y: float,
    cross_z: float,
    box: FloatArray,
) -> float:
    # Of gamma^2 in a box, with dose and gradient at a place in it; cross is B / h^2.
    size = abs(multiplier)
    bound = multiplier * (2.0 * off - multiplier) + x * x + y * y + z * z
    bound += least_of_square(2.0 * (multiplier * gx + x), 1.0 - size * cross_x, box[_LOW] - x, box[_HIGH] - x)
    bound += least_of_square(2.0 * (multiplier * gy + y), 1.0 - size * cross_y, box[_LOW + 1] - y, box[_HIGH + 1] - y)
    bound += least_of_square(2.0 * (multiplier * gz + z), 1.0 - size * cross_z, box[_LOW + 2] - z, box[_HIGH + 2] - z)
    return bound


@part_of_kernel
def least_of_square(slope: float, square: float, low: float, high: float) -> float:
    # Of slope s + square s^2 from low to high.
    if square <= 0.0:
        return min(low * (slope + square * low), high * (slope + square * high))
    place = clipped(-0.5 * slope / square, low, high)
    return place * (slope + square * place)


@part_of_kernel
def least_of_linear(  # noqa: PLR0917 - compiled code knows arguments by place
    level: float,
    gx: float,
    gy: float,
    gz: float,
    low_x: float,
    low_y: float,
    low_z: float,
    high_x: float,
    high_y: float,
    high_z: float,
) -> tuple[float, float, float, float]:
    """r and y of the least gamma in a box where the dose is level + g.y more than the reference dose."""
    multiplier = level / (1.0 + gx * gx + gy * gy + gz * gz)
    x = y = z = 0.0
    # r = level + g.clip(-r g) by Newton's method: the difference is piecewise linear and falls with r.
    # Alone it may go to and fro between two pieces, so what is known to be too low or too high bounds it.
    lower, upper = -math.inf, math.inf
    for _ in range(_MOST_STEPS):
        x = clipped(-multiplier * gx, low_x, high_x)
        y = clipped(-multiplier * gy, low_y, high_y)
        z = clipped(-multiplier * gz, low_z, high_z)
        rest = level + gx * x + gy * y + gz * z - multiplier
        slope = 1.0
        slope += gx * gx if low_x < x < high_x else 0.0
        slope += gy * gy if low_y < y < high_y else 0.0
        slope += gz * gz if low_z < z < high_z else 0.0
        if abs(rest) <= _NEWTON_ACCURACY * (1.0 + abs(level)):
            break
        if rest > 0.0:
            lower = multiplier
        else:
            upper = multiplier
        multiplier += rest / slope
        if not lower < multiplier < upper:
            multiplier = 0.5 * (lower + upper)
    return multiplier, x, y, z


@part_of_kernel
def cut_to(box: FloatArray, best: float) -> None:
    # What lies further along an axis than the best gamma is no better, and less of a box is less curved.
    for axis in range(3):
        if box[_LOW + axis] < -best or box[_HIGH + axis] > best:
            narrow(box, axis, max(box[_LOW + axis], -best), min(box[_HIGH + axis], best))


@part_of_kernel
def halve_longest(
    waiting: FloatArray, row: int, parts: tuple[float, float, float], place: tuple[float, float, float]
) -> None:
    # The half with the place found is searched first, so it comes last.
    if parts[0] >= parts[1] and parts[0] >= parts[2]:
        halve(waiting, row, 0, 1.0 if place[0] < 0 else -1.0)
    elif parts[1] >= parts[2]:
        halve(waiting, row, 1, 1.0 if place[1] < 0 else -1.0)
    else:
        halve(waiting, row, 2, 1.0 if place[2] < 0 else -1.0)


@part_of_kernel
def halve(waiting: FloatArray, row: int, axis: int, side: float) -> None:
    """Put the half of a box at its lower (-1) or upper (1) side in its place, and the other half into the next row."""
    for column in range(_COLUMNS):
        waiting[row + 1, column] = waiting[row, column]
    low, high = waiting[row, _LOW + axis], waiting[row, _HIGH + axis]
    middle = 0.5 * (low + high)
    near, far = (row, row + 1) if side < 0 else (row + 1, row)
    narrow(waiting[near], axis, low, middle)
    narrow(waiting[far], axis, middle, high)


@part_of_kernel
def narrow(box: FloatArray, axis: int, low: float, high: float) -> None:
    """Cut a box to its part between two places along an axis."""
    # t = shift + part t' along it: a part of each coefficient of t stays, and the shift goes to the one without it.
    before, after = box[_LOW + axis], box[_HIGH + axis]
    per_length = 1.0 / (after - before)
    shift, part = (low + high - before - after) * per_length, (high - low) * per_length
    if axis == 0:
        narrow_along(box, _B0, _BX, shift, part)
        narrow_along(box, _BY, _BXY, shift, part)
        narrow_along(box, _BZ, _BXZ, shift, part)
        narrow_along(box, _BYZ, _BXYZ, shift, part)
    elif axis == 1:
        narrow_along(box, _B0, _BY, shift, part)
        narrow_along(box, _BX, _BXY, shift, part)
        narrow_along(box, _BZ, _BYZ, shift, part)
        narrow_along(box, _BXZ, _BXYZ, shift, part)
    else:
        narrow_along(box, _B0, _BZ, shift, part)
        narrow_along(box, _BX, _BXZ, shift, part)
        narrow_along(box, _BY, _BYZ, shift, part)
        narrow_along(box, _BXY, _BXYZ, shift, part)
    box[_LOW + axis], box[_HIGH + axis] = low, high


@part_of_kernel
def narrow_along(box: FloatArray, without: int, coefficient: int, shift: float, part: float) -> None:
    box[without] += shift * box[coefficient]
    box[coefficient] *= part
