"""The slice viewer is given what the images hold, rounded as it says, and no more of it than a page can carry."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from made_results import AWKWARD_NAME, Wanted, Written
from viewer_pages import array_at, content_of, made_gamma, script_of, unpacked

from gatecheck.compare.gamma import PASS_LIMIT
from gatecheck.compare.volume_gamma.model import UNREACHED
from gatecheck.config import ReportConfig
from gatecheck.errors import WriteError
from gatecheck.patient.model import PatientModel
from gatecheck.report import html as html_of_report
from gatecheck.report import viewer_region
from gatecheck.report.html import write_report
from gatecheck.report.inputs import ReportImages, read_images, read_inputs
from gatecheck.report.style import normalisation
from gatecheck.report.viewer import ViewerPage, rounded_gamma, viewer_of
from gatecheck.report.viewer_region import Region, nearest_voxel, regions
from gatecheck.report.viewer_volumes import rounded

VALUES = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=3, max_dims=3, max_side=5),
    elements=st.one_of(st.floats(-80, 80), st.just(np.nan), st.just(-np.inf)),
)


@given(values=VALUES, step=st.floats(1e-3, 1.0))
@settings(max_examples=100, deadline=None)
def test_what_is_packed_is_had_back_within_half_a_step(values: np.ndarray, step: float) -> None:
    volume = rounded(values, step).packed()
    back = unpacked(volume)
    finite = np.isfinite(values)
    assert np.all(np.abs(back[finite] - values[finite]) <= volume["step"] / 2 * (1 + 1e-9))
    np.testing.assert_array_equal(back[~finite], values[~finite])


def test_a_step_grows_where_it_would_not_hold_the_largest_value() -> None:
    volume = rounded(np.array([[[-5000.0, 1.0, 12_000.0]]]), 0.01)
    assert volume.step == pytest.approx(12_000 / 32_000)
    np.testing.assert_allclose(unpacked(volume.packed()), [[[-5000.0, 1.0, 12_000.0]]], atol=volume.step / 2)


def test_plus_infinity_is_refused() -> None:
    with pytest.raises(ValueError, match="infinite"):
        rounded(np.array([[[np.inf]]]), 0.1)


def test_doses_and_sigma_are_those_of_the_images_inside_the_body(with_tps: Written) -> None:
    content, layout = content_of(with_tps.html), with_tps.made.layout
    grid = content["grid"]
    body = array_at(layout.patient / "body.mha", grid) > 0
    assert 0.5 < body.mean() < 1.0
    files = {
        "mc": layout.dose / "mc_dose.mha",
        "sigma": layout.dose / "mc_sigma.mha",
        "tps": layout.case / "tps_dose.mha",
    }
    for name, file in files.items():
        volume = content["volumes"][name]
        expected = np.where(body, array_at(file, grid), np.nan)
        assert volume["step"] < 1e-3 * np.nanmax(expected) * (10 if name == "sigma" else 1)
        np.testing.assert_allclose(unpacked(volume), expected, atol=volume["step"] / 2 * (1 + 1e-6), rtol=0)


def test_the_difference_of_what_is_given_is_that_of_the_comparison(with_tps: Written) -> None:
    content = content_of(with_tps.html)
    mc, tps = (unpacked(content["volumes"][name]) for name in ("mc", "tps"))
    compared = array_at(with_tps.made.layout.compare / "difference.mha", content["grid"])
    step = max(content["volumes"][name]["step"] for name in ("mc", "tps"))
    inside = np.isfinite(mc)
    assert inside.any()
    np.testing.assert_allclose((mc - tps)[inside], compared[inside], atol=step * (1 + 1e-3), rtol=0)


def test_ct_numbers_are_those_of_the_ct_where_it_has_a_voxel(with_tps: Written) -> None:
    content, layout = content_of(with_tps.html), with_tps.made.layout
    ct = sitk.ReadImage(str(layout.case / "ct.mha"))
    given = unpacked(content["volumes"]["ct"])
    grid = content["grid"]
    for k, j, i in np.random.default_rng(3).integers(0, grid["size"][::-1], (50, 3)):
        x, y, z = (o + s * int(n) for o, s, n in zip(grid["origin"], grid["spacing"], (i, j, k), strict=True))
        assert given[k, j, i] == pytest.approx(ct.EvaluateAtPhysicalPoint((x, y, z)), abs=5.001)


def test_masks_lie_where_the_structures_do(with_tps: Written) -> None:
    content, made = content_of(with_tps.html), with_tps.made
    grid = content["grid"]
    cord = next(one for one in content["structures"] if one["name"] == "SPINALCORD")
    mask = unpacked(cord["mask"])
    centre = np.argwhere(mask >= 0.5).mean(axis=0)[::-1] + cord["start"]
    x, y, _ = np.array(grid["origin"]) + centre * grid["spacing"]
    assert (x, y) == pytest.approx((0.0, 60.0), abs=0.6)  # where made_results puts it
    volume = (mask >= 0.5).sum() * np.prod(grid["spacing"]) / 1000
    whole = next(one for one in made.case.structures if one.name == "SPINALCORD").volume_ml
    assert 0.7 * whole < volume < 1.05 * whole  # the CT is longer than the dose grid


def test_the_same_letters_as_in_the_figures_and_others_after_them(with_tps: Written) -> None:
    structures = content_of(with_tps.html)["structures"]
    assert [one["letter"] for one in structures] == list("ABCDEFGHIJKL"[: len(structures)])
    assert AWKWARD_NAME in [one["name"] for one in structures]
    assert "BODY" not in [one["name"] for one in structures]
    assert "EMPTY" not in [one["name"] for one in structures]


def test_without_a_tps_dose_there_is_neither_it_nor_a_difference_nor_gamma(clinical: Written) -> None:
    content = content_of(clinical.html)
    assert [layer["key"] for layer in content["layers"]] == ["mc", "sigma"]
    assert set(content["volumes"]) == {"mc", "sigma", "ct"}
    assert "There is no TPS dose, and so neither difference nor gamma." in clinical.html
    assert "show-tps" not in clinical.html
    assert "read-tps" not in clinical.html.replace(script_of(clinical.html), "")


def test_the_stamp_stands_on_what_is_not_clinical_alone(with_tps: Written, clinical: Written) -> None:
    assert content_of(with_tps.html)["stamp"] == "not for clinical use"
    assert content_of(clinical.html)["stamp"] == ""


def test_no_identity_goes_into_the_viewer(with_tps: Written) -> None:
    text = json.dumps({key: value for key, value in content_of(with_tps.html).items() if key != "volumes"})
    assert "DOE" not in text
    assert "JANE" not in text
    assert "1945" not in text


def test_only_the_script_of_the_page_itself_may_run(with_tps: Written) -> None:
    digest = base64.b64encode(hashlib.sha256(script_of(with_tps.html).encode()).digest()).decode()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', with_tps.html)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert rules["default-src"] == "'none'"


def test_the_data_cannot_end_their_element(with_tps: Written) -> None:
    data = re.search(r'id="viewer-data">(.*?)</script>', with_tps.html, re.DOTALL)
    assert data is not None
    assert not set("<>&") & set(data[1])


def viewer(written: Written, **more: Any) -> ViewerPage:
    """The viewer of a made case, alone."""
    inputs = read_inputs(written.made.layout, written.made.calibration)
    return viewer_of(inputs, read_images(inputs), written.summary, normalisation(written.summary), **more)


def test_gamma_is_given_as_it_was_made(with_tps: Written) -> None:
    made = viewer(with_tps, gammas=(made_gamma(with_tps.made),))
    content = json.loads(made.data)
    gamma, grid = unpacked(content["volumes"]["gamma-0"]), content["grid"]
    offset = round((grid["origin"][0] - (-158.0)) / 4.0)  # of made_results' dose grid
    expected = np.linspace(0, 2.2, 80).clip(0, 2)[offset : offset + grid["size"][0]]
    np.testing.assert_allclose(gamma[2, 2], expected, atol=0.0101, rtol=0)
    assert np.isneginf(gamma).any()
    assert np.isnan(gamma).any()
    assert next(one for one in content["layers"] if one["key"] == "gamma-0")["largest"] == 2.0


@given(values=hnp.arrays(np.float64, (1, 1, 7), elements=st.one_of(st.floats(0, 2), st.floats(0.99, 1.02))))
@settings(max_examples=200, deadline=None)
def test_no_gamma_is_rounded_to_a_pass_or_to_a_failure(values: np.ndarray) -> None:
    back = unpacked(rounded_gamma(values).packed())
    np.testing.assert_array_equal(back > PASS_LIMIT, values > PASS_LIMIT)
    np.testing.assert_allclose(back, values, atol=0.0100001, rtol=0)


def images_of(written: Written) -> tuple[ReportImages, PatientModel]:
    inputs = read_inputs(written.made.layout, written.made.calibration)
    return read_images(inputs), inputs.patient


def test_parts_of_the_dose_are_tried_from_the_body_down(with_tps: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    images, patient = images_of(with_tps)
    monkeypatch.setattr(viewer_region, "MOST_VOXELS", 10**9)
    tried = list(regions(images, patient, 40.0))
    assert tried[0].words == "the body"
    assert tried[1].words.startswith("the part of the body with a Monte Carlo dose of 10 % of 40.00 Gy")
    assert tried[1].voxels < tried[0].voxels
    assert [one.stride for one in tried[:4]] == [1, 1, 2, 3]
    dose = sitk.GetArrayFromImage(images.dose)
    body = sitk.GetArrayFromImage(images.body) > 0
    for k, j, i in np.argwhere(body & (dose >= 4.0)):
        assert all(a <= n < b for a, n, b in zip(tried[1].start, (i, j, k), tried[1].stop, strict=True))
    monkeypatch.setattr(viewer_region, "MOST_VOXELS", tried[0].voxels - 1)
    assert all(one.voxels < tried[0].voxels for one in regions(images, patient, 40.0))


def test_a_thinned_part_holds_voxels_as_they_are_and_says_how_many(
    with_tps: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer_region, "MOST_VOXELS", 4000)
    made = viewer(with_tps)
    content = json.loads(made.data)
    stride = content["grid"]["spacing"][0] / 4.0
    assert stride >= 2
    assert f"one in {stride:.0f} of the dose grid" in made.words
    assert np.prod(content["grid"]["size"]) <= 4000
    mc = unpacked(content["volumes"]["mc"])
    expected = array_at(with_tps.made.layout.dose / "mc_dose.mha", content["grid"])
    inside = np.isfinite(mc)
    np.testing.assert_allclose(mc[inside], expected[inside], atol=content["volumes"]["mc"]["step"] / 2 * (1 + 1e-6))


def test_data_beyond_their_share_of_the_page_are_cut_down(with_tps: Written) -> None:
    whole = viewer(with_tps)
    assert "Held here: the body;" in whole.words
    less = viewer(with_tps, most_characters=len(whole.data) - 1)
    assert len(less.data) < len(whole.data)
    assert "Held here: the part of the body" in less.words
    with pytest.raises(WriteError, match="slice viewer"):
        viewer(with_tps, most_characters=100)


def test_the_viewer_takes_what_the_rest_of_the_page_leaves(
    without_tps: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "case"
    shutil.copytree(without_tps.made.layout.folder, folder, ignore=shutil.ignore_patterns("report"))
    most = len(without_tps.html.encode("utf-8")) - 1000
    monkeypatch.setattr(html_of_report, "MAXIMUM_BYTES", most)
    path = write_report(folder, without_tps.made.calibration, ReportConfig())
    assert path.stat().st_size <= most
    text = path.read_text(encoding="utf-8")
    assert text.count("<img ") == without_tps.html.count("<img ")
    assert "Held here: the body;" not in text


def test_the_fine_voxels_are_the_smallest_part(with_tps: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    images, patient = images_of(with_tps)
    box = patient.boxes[0].model_copy(
        update={"role": "fine", "size": (8, 6, 4), "spacing": (4.0, 4.0, 4.0), "origin": (2.0, -6.0, 26.0)}
    )
    fine = patient.model_copy(update={"boxes": (box,)})
    monkeypatch.setattr(viewer_region, "MOST_VOXELS", 10**9)
    part = list(regions(images, fine, 40.0))[2]
    assert part.words.startswith("the fine voxels")
    grid = part.grid_in(images.dose)
    for axis in range(3):
        first, last = grid.origin[axis], grid.origin[axis] + (grid.size[axis] - 1) * 4.0
        assert first <= box.origin[axis] - 8.0
        assert last >= min(box.origin[axis] + (box.size[axis] - 1) * 4.0 + 8.0, (35, 29.5, 17.5)[axis] * 4.0)


def test_the_viewer_opens_at_the_isocentre_or_as_near_as_it_can(with_tps: Written) -> None:
    content = content_of(with_tps.html)
    grid = content["grid"]
    at = [o + s * n for o, s, n in zip(grid["origin"], grid["spacing"], content["start"], strict=True)]
    assert at == pytest.approx(Wanted().isocentre, abs=2.01)
    region = Region((0, 0, 0), (4, 4, 4), 1, "a corner")
    images, _ = images_of(with_tps)
    assert nearest_voxel(region.grid_in(images.dose), (1e3, -1e3, 0.0)) == (3, 0, 3)


def test_both_maps_of_gamma_that_compare_made_can_be_chosen(with_tps: Written) -> None:
    content = content_of(with_tps.html)
    names = [layer["name"] for layer in content["layers"] if layer["key"].startswith("gamma")]
    assert names == ["Gamma 2 %/1 mm, reference TPS", "Gamma 2 %/1 mm, reference MC"]
    made = array_at(with_tps.made.layout.compare / "gamma.mha", content["grid"])
    expected = np.where(made == UNREACHED, -np.inf, made)
    assert np.isneginf(expected).any()
    np.testing.assert_allclose(unpacked(content["volumes"]["gamma-1"]), expected, atol=0.0101, rtol=0)
    assert "at the voxels of the Monte Carlo dose, the TPS dose searched; global" in with_tps.html
    assert "of 40.00 Gy, the prescription; reference doses below 10 % of it are not evaluated" in with_tps.html
