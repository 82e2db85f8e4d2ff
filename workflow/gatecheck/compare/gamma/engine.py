"""Gamma of one dose against another, in three dimensions, on any two axis-aligned grids.

What is not obvious, decided once:

- Evaluated dose exists between the centres of the outermost voxels, interpolated trilinearly; half a voxel beyond them
  is no dose. A cell of eight voxels of which one has NaN for a dose is none either.
- A reference point of exactly the cut-off counts, and a gamma of exactly 1 passes (`PASS_LIMIT`).
- A reference dose of NaN, or an infinite dose anywhere, is refused; a negative dose is a dose like any other.
- A local tolerance is a part of the reference point's dose, but of at least `LEAST_LOCAL_DOSE` of the normalisation:
  without that, a point without dose could match nothing but exactly no dose.
- A reference point without evaluated dose within reach fails, and is counted.
- Gamma is found to `ACCURACY`, never below what is true: a point may fail by it, and none pass.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from gatecheck.compare.dose_image import DoseImage
from gatecheck.compare.gamma import kernel
from gatecheck.compare.gamma.kernel import search_points
from gatecheck.compare.gamma.model import PASS_LIMIT, GammaCriteria, GammaResult, GammaValues
from gatecheck.compare.sampling import VoxelGrid
from gatecheck.compiled import blocks_of, digest_of_sources, run_blocks
from gatecheck.errors import InputError

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IndexArray = npt.NDArray[np.int64]

ACCURACY = 0.005
"""Gamma found is at most this more than the least one (to be 0.02), and never less."""

LEAST_LOCAL_DOSE = 1e-4
"""Of the normalisation: a local tolerance is taken of no smaller dose."""

MOST_CELLS = 10_000_000
"""Of the evaluated dose that are looked through round each point: 1 GB. 3 mm and a cap of 2 on 1 mm need 3,000."""

_POINTS_AT_ONCE = 1 << 21
_BLOCK = 4096  # points that a thread takes at a time
_SAME_PLACE = 1e-7  # of a voxel, so that points at the centres of equal grids are at the centres in spite of rounding


def gamma_at(
    points_xyz: npt.NDArray[np.floating],
    reference_dose: npt.NDArray[np.floating],
    evaluated: DoseImage,
    criteria: GammaCriteria,
    *,
    normalisation: float,
) -> GammaValues:
    """Gamma at points of known reference dose.

    Parameters
    ----------
    points_xyz : ndarray of shape (n, 3)
        LPS mm, anywhere.
    reference_dose : ndarray of shape (n,)
        Gy. No point is left out here: the criteria's cut-off is the caller's to apply.
    evaluated : DoseImage
        The dose that is searched.
    normalisation : float
        Dose of which a global tolerance is a part, Gy.

    Raises
    ------
    ValueError
        For arrays that do not belong together, or points, doses or a normalisation that are not finite.
    InputError
        For an evaluated dose of less than two voxels along an axis, or with infinite doses.
    """
    places = (np.asarray(points_xyz, dtype=np.float64) - evaluated.grid.origin) / evaluated.grid.spacing
    doses = np.ascontiguousarray(reference_dose, dtype=np.float64)
    if places.shape != (len(doses), 3) or doses.ndim != 1:
        raise ValueError(f"points of shape {places.shape} with doses of shape {doses.shape}")
    if not (np.isfinite(places).all() and np.isfinite(doses).all()):
        raise ValueError("points or reference doses that are not finite")
    if not (np.isfinite(normalisation) and normalisation > 0):
        raise ValueError(f"a normalisation of {normalisation:g} Gy, more than 0 expected")
    _check_evaluated(evaluated)
    return _search(places, doses, evaluated, criteria, normalisation)


def gamma_map(
    reference: DoseImage,
    evaluated: DoseImage,
    criteria: GammaCriteria,
    *,
    normalisation: float | None = None,
    inside_zyx: BoolArray | None = None,
) -> GammaResult:
    """Gamma at the voxels of the reference dose.

    Parameters
    ----------
    reference, evaluated : DoseImage
        On any grids that overlap.
    normalisation : float, optional
        Dose of which cut-off and global tolerance are parts, Gy; the largest reference dose inside where not given.
    inside_zyx : ndarray of shape (nz, ny, nx), bool, optional
        Voxels of the reference grid that are not left out (the body); all where not given.

    Raises
    ------
    InputError
        When the grids do not overlap, the evaluated dose has less than two voxels along an axis, a dose is infinite,
        a reference dose inside is NaN, or no point is left to evaluate.
    """
    values = reference.values_zyx
    inside = np.ones(values.shape, dtype=np.bool_) if inside_zyx is None else inside_zyx
    if inside.shape != values.shape:
        raise ValueError(f"inside of shape {inside.shape}, the reference dose has {values.shape}")
    check_overlap(reference.grid, evaluated.grid)
    _check_evaluated(evaluated)
    wrong = int(np.count_nonzero(~np.isfinite(values) & inside))
    if wrong:
        raise InputError(
            f"Gamma: {wrong} reference voxels have no finite dose. Leave them out with a mask of the body."
        )
    normalisation = _normalisation(values, inside, normalisation)
    # Less than the spacing of single precision below the cut-off is the cut-off.
    cutoff = criteria.cutoff_percent / 100 * normalisation * (1 - 1e-7)
    chosen = np.flatnonzero(inside & (values >= cutoff))
    if not len(chosen):
        raise InputError(
            f"Gamma: no reference voxel inside has {criteria.cutoff_percent:g} % of the normalisation of "
            f"{normalisation:g} Gy. Give a lower cut-off or normalisation, or another mask."
        )
    gamma_zyx = np.full(values.shape, np.nan, dtype=np.float32)
    reached = np.empty(len(chosen), dtype=np.bool_)
    for start in range(0, len(chosen), _POINTS_AT_ONCE):
        part = chosen[start : start + _POINTS_AT_ONCE]
        places = _places_of_voxels(part, reference.grid, evaluated.grid)
        doses = values.ravel()[part].astype(np.float64)
        found = _search(places, doses, evaluated, criteria, normalisation)
        gamma_zyx.ravel()[part] = found.gamma
        reached[start : start + _POINTS_AT_ONCE] = found.is_reached
    gamma = gamma_zyx.ravel()[chosen]
    is_unreached_zyx = np.zeros(values.shape, dtype=np.bool_)
    is_unreached_zyx.ravel()[chosen] = ~reached
    return GammaResult(
        gamma_zyx=gamma_zyx,
        is_unreached_zyx=is_unreached_zyx,
        grid=reference.grid,
        criteria=criteria,
        normalisation=normalisation,
        points=len(chosen),
        passed=int(np.count_nonzero(reached & (gamma <= PASS_LIMIT))),
        unreachable=int(np.count_nonzero(~reached)),
        mean=float(gamma.mean(dtype=np.float64)),
        p99=float(np.percentile(gamma, 99)),
    )


def check_overlap(reference: VoxelGrid, evaluated: VoxelGrid) -> None:
    """Refuse two grids that share no part of space.

    Raises
    ------
    InputError
        Naming the axis along which they lie apart.
    """
    for axis, name in enumerate("xyz"):
        ranges = [
            (
                grid.origin[axis] - grid.spacing[axis] / 2,
                grid.origin[axis] + grid.spacing[axis] * (grid.size[axis] - 0.5),
            )
            for grid in (reference, evaluated)
        ]
        if ranges[0][0] >= ranges[1][1] or ranges[1][0] >= ranges[0][1]:
            (a, b), (c, d) = ranges
            raise InputError(
                f"Gamma: the grids do not overlap: along {name} the reference dose lies from {a:g} to {b:g} mm, "
                f"the evaluated dose from {c:g} to {d:g} mm."
            )


def _check_evaluated(evaluated: DoseImage) -> None:
    if min(evaluated.grid.size) < 2:
        raise InputError(
            f"Gamma: the evaluated dose has {' x '.join(map(str, evaluated.grid.size))} voxels; at least 2 along each "
            "axis are needed to interpolate between."
        )


def _normalisation(values_zyx: npt.NDArray[np.floating], inside: BoolArray, given: float | None) -> float:
    if given is not None:
        if not (np.isfinite(given) and given > 0):
            raise InputError(f"Gamma: a normalisation of {given:g} Gy found, more than 0 expected.")
        return given
    largest = float(values_zyx.max(where=inside, initial=-np.inf))
    if not largest > 0:
        raise InputError(
            f"Gamma: the largest reference dose inside is {largest:g} Gy, more than 0 expected to take percentages of."
        )
    return largest


def _places_of_voxels(flat: IndexArray, of: VoxelGrid, on: VoxelGrid) -> FloatArray:
    """Centres of voxels of one grid, in voxels of another, shape (n, 3)."""
    indices_zyx = np.unravel_index(flat, of.size[::-1])
    places = np.empty((len(flat), 3))
    for axis in range(3):
        along = of.origin[axis] + of.spacing[axis] * np.arange(of.size[axis]) - on.origin[axis]
        places[:, axis] = (along / on.spacing[axis])[indices_zyx[2 - axis]]
    return places


def _search(
    places: FloatArray, doses: FloatArray, evaluated: DoseImage, criteria: GammaCriteria, normalisation: float
) -> GammaValues:
    centres = np.rint(places)
    places = np.ascontiguousarray(np.where(np.abs(places - centres) < _SAME_PLACE, centres, places))
    basis = np.maximum(doses, LEAST_LOCAL_DOSE * normalisation) if criteria.is_local else normalisation
    tolerances = np.broadcast_to(np.asarray(criteria.dose_percent / 100 * basis), doses.shape)
    tolerances = np.ascontiguousarray(tolerances)
    values = np.ascontiguousarray(evaluated.values_zyx)
    pitch = np.array(evaluated.grid.spacing) / criteria.distance
    cells, distances = _cells_within(tuple(pitch), criteria.cap)
    gamma, is_reached = np.empty(len(doses)), np.empty(len(doses), dtype=np.bool_)
    search = _compiled()

    def search_block(part: slice) -> None:
        search(
            places[part],
            doses[part],
            tolerances[part],
            values,
            pitch,
            cells,
            distances,
            criteria.cap,
            ACCURACY,
            gamma[part],
            is_reached[part],
        )

    run_blocks(search_block, blocks_of(len(doses), _BLOCK))
    given_up = int(np.count_nonzero(np.isnan(gamma)))
    if given_up:
        raise InputError(
            f"Gamma: the search of {given_up} of {len(doses)} points did not end: doses differ by too many tolerances "
            "from voxel to voxel. Give a larger dose or distance tolerance, or a higher cut-off."
        )
    return GammaValues(gamma, is_reached)


@functools.lru_cache(maxsize=8)
def _cells_within(pitch: tuple[float, float, float], cap: float) -> tuple[IndexArray, FloatArray]:
    """Cells that can be within reach of a point somewhere in cell (0, 0, 0), by least distance, that cell first."""
    along = []
    for step in pitch:
        most = int(np.floor(cap / step)) + 1
        along.append(np.arange(-most, most + 1))
    number = math.prod(len(one) for one in along)
    if number > MOST_CELLS:
        raise InputError(
            f"Gamma: {number / 1e6:.0f} million voxels of the evaluated dose round each point would be searched, at "
            f"most {MOST_CELLS / 1e6:.0f} million expected. Give a shorter distance tolerance or a lower cap."
        )
    cells = np.stack(np.meshgrid(*along, indexing="ij"), axis=-1).reshape(-1, 3)
    least = np.sqrt(((np.maximum(np.abs(cells) - 1, 0) * pitch) ** 2).sum(axis=1))
    kept = least <= cap
    cells, least = cells[kept], least[kept]
    order = np.lexsort(((cells**2).sum(axis=1), least))
    return np.ascontiguousarray(cells[order], dtype=np.int64), np.ascontiguousarray(least[order])


@functools.cache
def _compiled() -> Callable[..., None]:
    """The compiled kernel, kept on disk."""
    return _cached_kernel(digest_of_sources(kernel))


def _cached_kernel(digest_of_sources: int) -> Callable[..., None]:
    @numba.njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
    def search(  # noqa: PLR0917 - compiled code knows arguments by place
        places_xyz: FloatArray,
        doses: FloatArray,
        tolerances: FloatArray,
        values_zyx: Any,
        pitch: FloatArray,
        cells_xyz: IndexArray,
        least_distances: FloatArray,
        cap: float,
        accuracy: float,
        gamma: FloatArray,
        is_reached: BoolArray,
    ) -> None:
        # Captured, and so a part of numba's cache key.
        if digest_of_sources < 0:
            return
        search_points(
            places_xyz,
            doses,
            tolerances,
            values_zyx,
            pitch,
            cells_xyz,
            least_distances,
            cap,
            accuracy,
            gamma,
            is_reached,
        )

    kernel_of_points: Callable[..., None] = search
    return kernel_of_points
