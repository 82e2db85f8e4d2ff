"""The machine models as data: what they hold, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from gatecheck.errors import InputError
from gatecheck.linac.load import load_linac_model

MODELS = Path(__file__).resolve().parents[2] / "linac_models"
NAMES = ["truebeam_stx", "truebeam_m120"]


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    folder = tmp_path / "truebeam_stx"
    shutil.copytree(MODELS / "truebeam_stx", folder)
    return folder


def change(path: Path, *keys: str, value: object) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    place = content
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def test_hd120_boundaries_are_those_of_the_public_geometry() -> None:
    boundaries = load_linac_model(MODELS / "truebeam_stx").machine.mlc.boundaries
    assert boundaries[:15] == tuple(range(-110, -39, 5))
    assert boundaries[14:17] == (-40.0, -37.5, -35.0)
    assert boundaries[46] == 40.0
    assert boundaries[-1] == 110.0
    assert len(boundaries) == 61


def test_hd120_has_one_full_thirteen_half_and_thirty_two_quarter_leaves_a_side() -> None:
    kinds = load_linac_model(MODELS / "truebeam_stx").machine.mlc.kind_of_pair
    assert kinds == ("full",) + ("half",) * 13 + ("quarter",) * 32 + ("half",) * 13 + ("full",)


def test_millennium_boundaries_are_those_of_the_public_geometry() -> None:
    boundaries = load_linac_model(MODELS / "truebeam_m120").machine.mlc.boundaries
    assert boundaries == (*range(-200, -100, 10), *range(-100, 100, 5), *range(100, 201, 10))


def test_both_machines_share_source_and_calibration() -> None:
    stx, m120 = (load_linac_model(MODELS / name) for name in NAMES)
    assert stx.beam == m120.beam
    assert stx.calibration == m120.calibration
    assert stx.machine.jaws == m120.machine.jaws


@pytest.mark.parametrize("name", NAMES)
def test_every_section_that_holds_numbers_names_its_source(name: str) -> None:
    def walk(node: object, where: str, sourced: bool) -> list[str]:
        if isinstance(node, dict):
            sourced = sourced or "source" in node
            return [bad for key, value in node.items() for bad in walk(value, f"{where}.{key}", sourced)]
        if isinstance(node, list):
            return [bad for value in node for bad in walk(value, where, sourced)]
        return [where] if isinstance(node, float) and not sourced else []

    linac = load_linac_model(MODELS / name)
    for part in (linac.machine.jaws, linac.machine.mlc, linac.beam, linac.calibration):
        # The top level's own source is left out, so that each section has to have one.
        content = part.model_dump(mode="json", exclude={"source"})
        content.pop("nominal_energy_mv", None)
        if part is linac.machine.mlc:
            content["source"] = linac.machine.mlc.source
        assert walk(content, type(part).__name__, sourced=False) == []


def test_the_hash_follows_values_and_not_layout(copied: Path) -> None:
    before = load_linac_model(copied).content_sha256
    machine = copied / "machine.yaml"
    machine.write_text("# a comment\n" + machine.read_text(encoding="utf-8"), encoding="utf-8")
    assert load_linac_model(copied).content_sha256 == before
    change(machine, "mlc", "physical_gap_offset", value=0.1)
    assert load_linac_model(copied).content_sha256 != before


def test_an_unknown_key_is_refused_by_file_and_key(copied: Path) -> None:
    change(copied / "machine.yaml", "mlc", "tip_radios", value=160.0)
    with pytest.raises(InputError, match=r"truebeam_stx/machine\.yaml: mlc\.tip_radios"):
        load_linac_model(copied)


def test_a_number_out_of_range_is_refused_by_file_and_key(copied: Path) -> None:
    change(copied / "beam_6x.yaml", "extra_focal", "fraction", value=1.5)
    with pytest.raises(InputError, match=r"truebeam_stx/beam_6x\.yaml: extra_focal\.fraction"):
        load_linac_model(copied)


def test_a_gap_offset_below_zero_is_refused_by_file_and_key(copied: Path) -> None:
    change(copied / "machine.yaml", "mlc", "physical_gap_offset", value=-0.05)
    with pytest.raises(
        InputError,
        match=r"truebeam_stx/machine\.yaml: mlc\.physical_gap_offset: .*-0\.05 mm found, expected 0 or more",
    ):
        load_linac_model(copied)
    change(copied / "machine.yaml", "mlc", "physical_gap_offset", value=0.0)
    assert load_linac_model(copied).machine.mlc.physical_gap_offset == 0.0


def test_a_section_without_its_source_is_refused(copied: Path) -> None:
    content = yaml.safe_load((copied / "calibration.yaml").read_text(encoding="utf-8"))
    del content["reference"]["source"]
    (copied / "calibration.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(InputError, match=r"calibration\.yaml: reference\.source"):
        load_linac_model(copied)


def test_overlapping_parts_of_the_head_are_refused(copied: Path) -> None:
    change(copied / "machine.yaml", "mlc", "leaf_centre", value=460.0)
    with pytest.raises(InputError, match="overlap or are out of order"):
        load_linac_model(copied)


def test_a_source_below_the_jaws_is_refused(copied: Path) -> None:
    change(copied / "beam_6x.yaml", "extra_focal", "distance", value=300.0)
    with pytest.raises(InputError, match=r"extra_focal\.distance: 300 mm"):
        load_linac_model(copied)


def test_a_missing_beam_file_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"truebeam_stx/beam_10fff\.yaml: not found"):
        load_linac_model(MODELS / "truebeam_stx", "beam_10fff")


def test_a_missing_model_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="no machine model halcyon"):
        load_linac_model(MODELS / "halcyon")
