"""Faults put into a plan: each changes what it says, and nothing else."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from gatecheck.case.model import Beam
from gatecheck.patient.calibration import schneider_2000
from gatecheck.phantoms.clinical_case_1 import CASE
from gatecheck.phantoms.faults import Beams, faults, last_beam_missing, leaf_stuck, leaves_moved

SPACING = (1.0, 1.5, 2.0)
ALL = faults(tps_dose_spacing=SPACING)


@pytest.fixture(scope="module")
def beams() -> Beams:
    return CASE.beams(control_points=24)


def leaves(beam: Beam) -> npt.NDArray[np.float64]:
    return np.array([point.leaf_positions for point in beam.control_points], dtype=np.float64)


def values(beams: Beams, name: str) -> npt.NDArray[np.float64]:
    return np.array([getattr(point, name) for beam in beams for point in beam.control_points], dtype=np.float64)


def without(beam: Beam, *names: str) -> list[dict[str, object]]:
    return [point.model_dump(exclude=set(names)) for point in beam.control_points]


def test_the_case_without_a_fault_comes_first_and_is_untouched(beams: Beams) -> None:
    first, none = next(iter(ALL.items()))
    assert first == none.name == "none"
    numbers = np.array([[[-1000, 0, 40]]], dtype=np.int16)
    assert none.of_beams(beams) == beams
    assert np.array_equal(none.of_ct_numbers(numbers), numbers)
    assert not any(none.tps_dose_shift)


def test_output_changes_metersets_alone(beams: Beams) -> None:
    found = ALL["output +2 %"].of_beams(beams)
    assert [beam.meterset for beam in found] == pytest.approx([1.02 * beam.meterset for beam in beams])
    assert [beam.control_points for beam in found] == [beam.control_points for beam in beams]


def test_gap_and_bank_move_every_leaf_to_its_side(beams: Beams) -> None:
    wider, shifted = (ALL[name].of_beams(beams) for name in ("leaf gap +0.5 mm", "bank X2 +1 mm"))
    for before, gap, bank in zip(beams, wider, shifted, strict=True):
        opened = leaves(gap) - leaves(before)
        assert np.allclose(opened[:, 0], -0.25)
        assert np.allclose(opened[:, 1], 0.25)
        moved = leaves(bank) - leaves(before)
        assert np.allclose(moved[:, 0], 0.0)
        assert np.allclose(moved[:, 1], 1.0)
        assert without(gap, "leaf_positions") == without(before, "leaf_positions")


@pytest.mark.parametrize("bank", [0, 1])
def test_one_leaf_of_each_beam_stays_where_it_began_and_meets_no_other(beams: Beams, bank: int) -> None:
    for before, after in zip(beams, leaf_stuck(beams, bank), strict=True):
        changed = np.abs(leaves(after) - leaves(before)).max(axis=0) > 0
        assert np.count_nonzero(changed[bank]) == 1
        stuck = int(np.argmax(changed[bank]))
        assert np.ptp(leaves(after)[:, bank, stuck]) == 0.0
        assert np.flatnonzero(changed[1 - bank]).tolist() in ([], [stuck])
        assert (leaves(after)[:, 1] - leaves(after)[:, 0]).min() >= 0.0
        # It is one that matters: its pair opens onto the target.
        assert (leaves(before)[:, 1] - leaves(before)[:, 0])[:, stuck].max() > 2.0


def test_mirrored_twice_is_as_planned_and_once_lies_on_the_other_side(beams: Beams) -> None:
    mirror = ALL["leaves mirrored"].of_beams
    assert mirror(mirror(beams)) == beams
    for before, after in zip(beams, mirror(beams), strict=True):
        assert np.allclose(leaves(after).mean(axis=1), -leaves(before).mean(axis=1))
        assert (leaves(after)[:, 1] - leaves(after)[:, 0]).min() >= -1e-9


@pytest.mark.parametrize(("name", "axis"), [("left", 0), ("posterior", 1), ("superior", 2)])
def test_isocentre_moves_along_one_axis(beams: Beams, name: str, axis: int) -> None:
    moved = values(ALL[f"isocentre 1 mm {name}"].of_beams(beams), "isocentre") - values(beams, "isocentre")
    assert np.allclose(moved, np.eye(3)[axis])


@pytest.mark.parametrize(
    ("name", "angle", "by"),
    [("collimator +1 degree", "collimator_angle", 1.0), ("couch 15 degrees", "couch_angle", 15.0)],
)
def test_angles_turn_and_stay_below_360(beams: Beams, name: str, angle: str, by: float) -> None:
    found = values(ALL[name].of_beams(beams), angle)
    assert np.allclose((found - values(beams, angle)) % 360.0, by)
    assert found.max() < 360.0


def test_a_beam_is_missing_but_never_the_only_one(beams: Beams) -> None:
    assert ALL["one arc missing"].of_beams(beams) == beams[:1]
    with pytest.raises(ValueError, match="1 beam"):
        last_beam_missing(beams[:1])


def test_every_tissue_becomes_3_per_cent_denser() -> None:
    """By the curve that the Monte Carlo uses, which is another table than the fault's own; 90 lies before its step."""
    numbers = np.array([[[-120, -90, 0, 10, 40, 90, 99, 150, 700, 1500]]], dtype=np.int16)
    found = ALL["CT density +3 %"].of_ct_numbers(numbers)
    curve = schneider_2000()
    assert np.allclose(curve.density(found) / curve.density(numbers), 1.03, atol=0.0012)
    assert ALL["CT density +3 %"].of_ct_numbers(np.array([[[-1000, 3071]]], dtype=np.int16)).tolist() == [
        [[-1000, 3071]]
    ]


def test_the_tps_dose_is_displaced_by_half_a_voxel() -> None:
    assert ALL["TPS dose grid half a voxel"].tps_dose_shift == (0.5, 0.75, 1.0)


def test_a_beam_without_leaves_cannot_have_their_faults(beams: Beams) -> None:
    points = tuple(point.model_copy(update={"leaf_positions": None}) for point in beams[0].control_points)
    with pytest.raises(ValueError, match="no MLC"):
        leaves_moved((beams[0].model_copy(update={"control_points": points}),), x1=1.0)
