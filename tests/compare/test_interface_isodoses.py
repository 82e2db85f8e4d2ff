"""What the distances between isodoses cannot be, whatever noise does."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.compare.interface.doses import SampledDoses
from gatecheck.compare.interface.isodoses import compare_isodose
from gatecheck.compare.interface.profiles import STEP, Rays

_RAYS, _PRESCRIPTION = 40, 39.0


def _rays() -> Rays:
    marks = STEP * np.arange(-16.0, 41.0)
    feet = np.column_stack([np.arange(_RAYS), np.zeros(_RAYS), np.zeros(_RAYS)]).astype(np.float64)
    normals = np.tile([0.0, 0.0, 1.0], (_RAYS, 1))
    return Rays(feet, normals, marks, np.zeros(_RAYS, int), np.full(_RAYS, len(marks) - 1))


def test_the_furthest_rays_lie_no_nearer_than_half_of_all_do_and_neither_does_their_interval() -> None:
    """All rays are moved alike by 1.2 mm, known to 0.3 mm: percentile and median of the magnitude are the same."""
    rays = _rays()

    def falling(shift: float) -> np.ndarray:
        dose: np.ndarray = np.tile(_PRESCRIPTION * (0.9 - 0.06 * (rays.marks - shift)), _RAYS)
        return dose

    shifts = 1.2 + 0.3 * 6**0.5 * np.array([-1.2, -0.8, -0.4, 0.4, 0.8, 1.2])
    along = SampledDoses(np.stack([falling(one) for one in shifts]), falling(0.0), falling(0.0))
    table, _ = compare_isodose(rays, along, 80.0, _PRESCRIPTION)
    assert table.median is not None
    assert table.p95_of_absolute is not None
    assert table.median.low < 0.9
    assert abs(table.median.value) <= table.p95_of_absolute.low <= table.p95_of_absolute.value
    assert table.p95_of_absolute.value <= table.p95_of_absolute.high


@pytest.mark.parametrize(("never", "is_known"), [(0, True), (1, True), (3, False)])
def test_rays_on_which_one_dose_never_meets_the_isodose_count_among_the_furthest(never: int, *, is_known: bool) -> None:
    """Ray i is moved by i / 20 mm; on the first few the Monte Carlo stays below the isodose."""
    rays = _rays()
    shift = np.arange(_RAYS)[:, None] / 20

    def falling(by: np.ndarray, without: int) -> np.ndarray:
        dose = _PRESCRIPTION * (0.9 - 0.06 * (rays.marks - by))
        dose[:without] = 0.1
        return dose.ravel()

    batches = np.stack([falling(shift, never)] * 4)
    tps = falling(np.zeros((_RAYS, 1)), 0)
    table, _ = compare_isodose(rays, SampledDoses(batches, tps, tps), 80.0, _PRESCRIPTION)
    assert (table.met_by_both, table.never_met_by_mc) == (_RAYS - never, never)
    if not is_known:
        assert table.p95_of_absolute is None
        return
    assert table.p95_of_absolute is not None
    expected = np.percentile(shift[never:], 100 * min(0.95 * _RAYS / (_RAYS - never), 1.0))
    assert table.p95_of_absolute.value == pytest.approx(expected, abs=0.02)
