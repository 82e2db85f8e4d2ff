"""The least gamma round one reference point after another, compiled.

Lengths are counted in distance tolerances and doses in dose tolerances, so that the gamma of a place at offset y
from the reference point, where the dose is d more than the reference dose, is sqrt(d^2 + |y|^2) (Low et al., Med.
Phys. 25 (1998) 656), and its least value over all places is looked for.

Between the centres of voxels the evaluated dose is trilinear. A cell is the box between eight centres; in it, and in
any box cut out of it, with t = -1 to 1 from face to face,

    d = b0 + bx tx + by ty + bz tz + bxy tx ty + bxz tx tz + byz ty tz + bxyz tx ty tz,

so d is linear up to a remainder of at most R = |bxy| + |bxz| + |byz| + |bxyz|. With E + g.y the linear part and any
number r,

    gamma^2 >= 2 r E - r^2 - 2 |r| R + sum over axes of min (2 r g y + y^2)

in the box, since a^2 >= 2 r a - r^2. That is the Lagrange dual of a convex problem: without remainder its largest
value over r is the least gamma itself, reached at y = clip(-r g), r = E + g.y. Cells are visited by their distance.
One whose bound is below the best gamma found so far, less the accuracy asked for, is halved along the axis with the
largest part in R, which falls to a quarter when all axes are halved once. So what is found is a gamma that occurs, and
at most the accuracy above the least.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
DoseArray = npt.NDArray[np.float32] | npt.NDArray[np.float64]

# Columns of a box that waits to be searched: coefficients of its dose, lower and upper faces.
_B0, _BX, _BY, _BZ, _BXY, _BXZ, _BYZ, _BXYZ, _LOW, _HIGH, _COLUMNS = 0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 14
# Each halving leaves one more box waiting: 3 x 40 are boxes of 1e-12 of a cell.
_MOST_WAITING = 128
_MOST_STEPS = 60
# Cells are left out only for less than this, since their linear part is found exactly: in a linear dose nothing else
# is off, and another box of each cell is what would cost time.
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


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
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
    best, reached = cap, False
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
        best = search_cell(waiting, best, accuracy)
    return best, reached


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def beyond(place: float, last: float, pitch: float) -> float:
    # Squared distance from the evaluated grid along one axis.
    off = max(-place, place - last, 0.0) * pitch
    return off * off


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def squared_distance(low: float, high: float) -> float:
    off = max(low, -high, 0.0)
    return off * off


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def interpolated(place: FloatArray, values_zyx: DoseArray) -> float:
    nz, ny, nx = values_zyx.shape
    x, y, z = min(int(place[0]), nx - 2), min(int(place[1]), ny - 2), min(int(place[2]), nz - 2)
    u, v, w = place[0] - x, place[1] - y, place[2] - z
    near = (values_zyx[z, y, x] * (1 - u) + values_zyx[z, y, x + 1] * u) * (1 - v)
    near += (values_zyx[z, y + 1, x] * (1 - u) + values_zyx[z, y + 1, x + 1] * u) * v
    far = (values_zyx[z + 1, y, x] * (1 - u) + values_zyx[z + 1, y, x + 1] * u) * (1 - v)
    far += (values_zyx[z + 1, y + 1, x] * (1 - u) + values_zyx[z + 1, y + 1, x + 1] * u) * v
    return float(near * (1 - w) + far * w)


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def clipped(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def search_cell(waiting: FloatArray, best: float, accuracy: float) -> float:  # noqa: PLR0915 - one formula
    """The best gamma after searching the box in the first row of `waiting`."""
    count = 1
    while count > 0:
        count -= 1
        box = waiting[count]
        b0, bx, by, bz = box[_B0], box[_BX], box[_BY], box[_BZ]
        bxy, bxz, byz, bxyz = box[_BXY], box[_BXZ], box[_BYZ], box[_BXYZ]
        low_x, low_y, low_z = box[_LOW], box[_LOW + 1], box[_LOW + 2]
        high_x, high_y, high_z = box[_HIGH], box[_HIGH + 1], box[_HIGH + 2]
        per_x, per_y, per_z = 2.0 / (high_x - low_x), 2.0 / (high_y - low_y), 2.0 / (high_z - low_z)
        middle_x, middle_y, middle_z = 0.5 * (low_x + high_x), 0.5 * (low_y + high_y), 0.5 * (low_z + high_z)
        gx, gy, gz = bx * per_x, by * per_y, bz * per_z
        level = b0 - gx * middle_x - gy * middle_y - gz * middle_z
        slope = 1.0 + gx * gx + gy * gy + gz * gz
        multiplier = level / slope
        x = y = z = 0.0
        # r = E + g.clip(-r g) by Newton's method: the difference is piecewise linear and falls with r.
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
            if abs(rest) <= 1e-6 * slope:
                break
            if rest > 0.0:
                lower = multiplier
            else:
                upper = multiplier
            multiplier += rest / slope
            if not lower < multiplier < upper:
                multiplier = 0.5 * (lower + upper)
        tx, ty, tz = (x - middle_x) * per_x, (y - middle_y) * per_y, (z - middle_z) * per_z
        off = b0 + bx * tx + (by + bxy * tx) * ty + (bz + bxz * tx + (byz + bxyz * tx) * ty) * tz
        found = off * off + x * x + y * y + z * z
        if found < best * best:
            best = math.sqrt(found)
        wanted = best - accuracy
        if wanted <= 0.0:
            return best
        remainder = abs(bxy) + abs(bxz) + abs(byz) + abs(bxyz)
        # The remainder takes as much from E as it is large.
        multiplier = math.copysign(max(abs(multiplier) - remainder / slope, 0.0), multiplier)
        bound = 2.0 * (multiplier * level - abs(multiplier) * remainder) - multiplier * multiplier
        x = clipped(-multiplier * gx, low_x, high_x)
        y = clipped(-multiplier * gy, low_y, high_y)
        z = clipped(-multiplier * gz, low_z, high_z)
        bound += x * (2.0 * multiplier * gx + x) + y * (2.0 * multiplier * gy + y) + z * (2.0 * multiplier * gz + z)
        if bound < wanted * wanted and count + 2 <= _MOST_WAITING:
            part_x = abs(bxy) + abs(bxz) + abs(bxyz)
            part_y = abs(bxy) + abs(byz) + abs(bxyz)
            part_z = abs(bxz) + abs(byz) + abs(bxyz)
            # The nearer half is searched first, so it comes last.
            if part_x >= part_y and part_x >= part_z:
                halve(waiting, count, 0, 1.0 if tx < 0 else -1.0)
            elif part_y >= part_z:
                halve(waiting, count, 1, 1.0 if ty < 0 else -1.0)
            else:
                halve(waiting, count, 2, 1.0 if tz < 0 else -1.0)
            count += 2
    return best


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def halve(waiting: FloatArray, row: int, axis: int, side: float) -> None:
    """Put the half of a box at its lower (-1) or upper (1) side in its place, and the other half into the next row."""
    for column in range(_COLUMNS):
        waiting[row + 1, column] = waiting[row, column]
    halve_to(waiting[row], axis, side)
    halve_to(waiting[row + 1], axis, -side)


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def halve_to(box: FloatArray, axis: int, side: float) -> None:
    # t = side / 2 + t' / 2: half of each coefficient of t goes to the one without it, and half stays.
    if axis == 0:
        take_half(box, _B0, _BX, side)
        take_half(box, _BY, _BXY, side)
        take_half(box, _BZ, _BXZ, side)
        take_half(box, _BYZ, _BXYZ, side)
    elif axis == 1:
        take_half(box, _B0, _BY, side)
        take_half(box, _BX, _BXY, side)
        take_half(box, _BZ, _BYZ, side)
        take_half(box, _BXZ, _BXYZ, side)
    else:
        take_half(box, _B0, _BZ, side)
        take_half(box, _BX, _BXZ, side)
        take_half(box, _BY, _BYZ, side)
        take_half(box, _BXY, _BXYZ, side)
    middle = 0.5 * (box[_LOW + axis] + box[_HIGH + axis])
    if side < 0:
        box[_HIGH + axis] = middle
    else:
        box[_LOW + axis] = middle


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def take_half(box: FloatArray, without: int, coefficient: int, side: float) -> None:
    box[coefficient] *= 0.5
    box[without] += side * box[coefficient]
