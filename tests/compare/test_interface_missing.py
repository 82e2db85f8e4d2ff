"""What is missing or cut off is named, and what cannot be answered is not answered."""

from __future__ import annotations

import dataclasses

import numpy as np
import SimpleITK as sitk
from tests.compare.interface_case import MC_GRID, TPS_GRID, TUMOUR_RADIUS, case, cord_mask, dose, mask

from gatecheck.compare.dose_image import DoseImage
from gatecheck.compare.interface.interface import InterfaceResult, compare_interface
from gatecheck.compare.interface.preparation import InterfaceInput
from gatecheck.compare.sampling import VoxelGrid
from gatecheck.config_comparison import ComparisonConfig, CordLimitConfig

_SETTINGS = ComparisonConfig(gamma=())


def _compared(**changes: object) -> InterfaceResult:
    given: InterfaceInput = case(batches=5)
    return compare_interface(dataclasses.replace(given, **changes), _SETTINGS)  # type: ignore[arg-type,unused-ignore]


def _outcomes(result: InterfaceResult) -> dict[str, str]:
    return {one.question: one.outcome for one in result.comparison.verdicts}


def _notes(result: InterfaceResult) -> str:
    return " ".join(result.comparison.notes)


def test_without_a_tps_dose_nothing_is_assessed_and_the_monte_carlo_is_told() -> None:
    result = _compared(tps=None)
    assert set(_outcomes(result).values()) == {"not assessed"}
    assert "No TPS dose" in _notes(result)
    assert result.comparison.cord_maximum is not None
    assert result.comparison.cord_maximum.difference_gy is None
    assert result.comparison.shells[0].mc_mean_gy is not None


def test_without_a_cord_its_maximum_is_not_assessed() -> None:
    result = _compared(cord_mask=None, cord_name=None)
    assert _outcomes(result)["cord maximum"] == "not assessed"
    assert _outcomes(result)["position"] != "not assessed"
    assert {one.region for one in result.comparison.shells} == {"tumour", "all"}
    assert "No cord" in _notes(result)


def test_a_hole_in_the_tumour_is_named() -> None:
    hollow = mask(lambda x, y, z: (x**2 + y**2 + z**2 < TUMOUR_RADIUS**2) & (x**2 + y**2 + z**2 > 1.5**2), (5, 5, 5))
    result = _compared(tumour_mask=hollow)
    assert "has a hole" in _notes(result)
    assert _outcomes(result)["position"] != "not assessed"


def test_a_tps_dose_cut_off_beside_the_tumour_is_named() -> None:
    whole = dose(TPS_GRID, 1)
    grid = VoxelGrid((26, 40, 50), TPS_GRID.spacing, TPS_GRID.origin)
    result = _compared(tps=DoseImage(np.ascontiguousarray(whole[:, :, :26]), grid))
    assert "TPS dose grid ends within" in _notes(result)
    assert result.surface_map is not None


def test_a_tps_dose_that_does_not_hold_the_tumour_is_not_compared() -> None:
    whole = dose(TPS_GRID, 1)
    grid = VoxelGrid((20, 40, 50), TPS_GRID.spacing, TPS_GRID.origin)
    result = _compared(tps=DoseImage(np.ascontiguousarray(whole[:, :, :20]), grid))
    assert "does not hold the tumour" in _notes(result)
    assert _outcomes(result)["position"] == "not assessed"


def test_a_tumour_outside_of_the_fine_voxels_is_named() -> None:
    result = _compared(fine_region=VoxelGrid((4, 4, 4), (2.0, 2.0, 2.0), (10.0, 10.0, 10.0)))
    assert "fine voxels" in _notes(result)


def test_a_tumour_outside_of_the_dose_grid_is_refused() -> None:
    away = sitk.Image(case(batches=5).tumour_mask)
    away.SetOrigin((60.0, -5.0, -5.0))
    result = _compared(tumour_mask=away)
    assert set(_outcomes(result).values()) == {"not assessed"}
    assert "not wholly within the Monte Carlo dose grid" in _notes(result)
    assert result.surface_map is None


def _with_hot_spot(at_z: float) -> dict[str, object]:
    """Both doses with another ball of 80 Gy on the cord's axis, 7 mm across at half its height."""

    def along(grid: VoxelGrid, axis: int, middle: float, parts: int) -> np.ndarray:
        # The Monte Carlo's voxels hold means over them: the ball is averaged along each axis, of which it is a product.
        inside = (np.arange(parts) + 0.5) / parts - 0.5
        places = grid.origin[axis] + grid.spacing[axis] * (np.arange(grid.size[axis])[:, None] + inside)
        mean: np.ndarray = np.exp(-((places - middle) ** 2) / (2 * 3.0**2)).mean(axis=1)
        return mean

    def spot(grid: VoxelGrid, parts: int) -> np.ndarray:
        x, y, z = (along(grid, axis, middle, parts) for axis, middle in enumerate((0.0, 0.0, at_z)))
        return 80.0 * z[:, None, None] * y[None, :, None] * x[None, None, :]

    given = case(batches=5)
    batches = given.batches_zyx + spot(MC_GRID, 8)
    return {
        "mc": DoseImage(batches.mean(axis=0), MC_GRID),
        "batches_zyx": batches,
        "tps": DoseImage(dose(TPS_GRID, 1) + spot(TPS_GRID, 1), TPS_GRID),
    }


def test_the_hottest_cord_is_found_far_from_the_tumour() -> None:
    """20 mm along the cord, a ball of 80 Gy: its hottest 0.03 ml reach 1.93 mm from its middle, at 65 Gy."""
    cord = _compared(**_with_hot_spot(20.0)).comparison.cord_maximum
    assert cord is not None
    assert cord.tps_gy is not None
    assert cord.mc_gy.value > 60.0
    assert abs(cord.mc_gy.value - cord.tps_gy) < 3 * cord.mc_gy.sigma + (cord.grid_error_gy or 0.0)


def test_a_hotter_cord_beyond_the_monte_carlo_grid_is_a_refusal() -> None:
    short = VoxelGrid((24, 24, 20), MC_GRID.spacing, (MC_GRID.origin[0], MC_GRID.origin[1], -18.45))
    changes = _with_hot_spot(27.0)
    batches = case(batches=5).batches_zyx[:, 6:26]
    result = _compared(
        mc=DoseImage(batches.mean(axis=0), short), batches_zyx=batches, tps=changes["tps"], cord_mask=cord_mask(30)
    )
    assert _outcomes(result)["cord maximum"] == "not assessed"
    assert "more than within" in _notes(result)


def test_a_cord_that_no_dose_covers_whole_meets_no_limit_but_can_break_one() -> None:
    """The cord is 200 mm long, both doses 75 mm at most: a limit far above what is seen is not met by that."""
    long_cord = {"cord_mask": cord_mask(100)}
    given = dataclasses.replace(case(batches=5), **long_cord)

    def outcome(limit: float) -> tuple[str, str]:
        settings = ComparisonConfig(gamma=(), cord_limit=CordLimitConfig(dose_gy=limit, source="made for this test"))
        found = compare_interface(given, settings).comparison
        assert found.cord_maximum is not None
        assert not found.cord_maximum.is_of_whole_cord
        (one,) = [verdict for verdict in found.verdicts if verdict.question == "cord maximum"]
        return one.outcome, one.statement

    assert outcome(150.0)[0] == "not assessed"
    assert "not all of the cord" in outcome(150.0)[1]
    assert outcome(10.0)[0] == "fail"
