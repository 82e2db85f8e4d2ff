"""Case folders: pseudonyms, links and refusals."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gatecheck.config import Config, load_config
from gatecheck.errors import InputError
from gatecheck.layout import CaseLayout, bring_back_from_the_future, prepare_case, pseudonym_of


def _dicom_folder(parent: Path, name: str, content: bytes = b"plan") -> Path:
    folder = parent / name
    folder.mkdir()
    (folder / "DOE_JANE_plan.dcm").write_bytes(content)
    return folder


def _config(results: Path, **case: object) -> Config:
    return Config.model_validate({"results_folder": str(results), "case": case})


def test_the_pseudonym_depends_on_content_and_not_on_names(tmp_path: Path) -> None:
    first = _dicom_folder(tmp_path, "DOE^JANE")
    second = tmp_path / "anonymous"
    second.mkdir()
    (second / "x").write_bytes(b"plan")
    assert pseudonym_of(first) == pseudonym_of(second)
    assert pseudonym_of(first) != pseudonym_of(_dicom_folder(tmp_path, "other", b"another plan"))


def test_no_path_of_the_site_gets_into_the_case_folder(tmp_path: Path) -> None:
    source = _dicom_folder(tmp_path, "DOE^JANE")
    prepared = prepare_case(_config(tmp_path / "results", dicom_folder=str(source)))
    assert prepared.name.startswith("case-")
    assert prepared.layout.dicom.resolve() == source.resolve()
    written = "".join(
        path.read_text(encoding="utf-8")
        for path in prepared.layout.folder.rglob("*")
        if path.is_file() and prepared.layout.dicom not in path.parents
    )
    assert "DOE" not in written


def test_preparing_twice_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = _dicom_folder(tmp_path, "export")
    config = _config(tmp_path / "results", dicom_folder=str(source), name="head1")
    first = prepare_case(config)
    stamp = first.layout.config.stat().st_mtime_ns
    monkeypatch.chdir(first.layout.folder)
    second = prepare_case(load_config(first.layout.config))
    assert first.source_signature == second.source_signature
    assert second.layout.config.stat().st_mtime_ns == stamp


def test_a_name_that_belongs_to_another_folder_is_refused(tmp_path: Path) -> None:
    results = tmp_path / "results"
    prepare_case(_config(results, dicom_folder=str(_dicom_folder(tmp_path, "one")), name="head1"))
    with pytest.raises(InputError, match="another DICOM folder"):
        prepare_case(_config(results, dicom_folder=str(_dicom_folder(tmp_path, "two")), name="head1"))


def test_a_changed_file_changes_the_signature(tmp_path: Path) -> None:
    source = _dicom_folder(tmp_path, "export")
    config = _config(tmp_path / "results", dicom_folder=str(source))
    before = prepare_case(config)
    (source / "dose.dcm").write_bytes(b"dose")
    config = _config(tmp_path / "results", dicom_folder=str(source), name=before.name)
    assert prepare_case(config).source_signature != before.source_signature


def test_results_inside_of_the_dicom_folder_do_not_change_the_case(tmp_path: Path) -> None:
    source = _dicom_folder(tmp_path, "export")
    config = _config(source / "results", dicom_folder=str(source))
    first = prepare_case(config)
    (first.layout.folder / "case.json").write_text("{}", encoding="utf-8")
    second = prepare_case(config)
    assert (second.name, second.source_signature) == (first.name, first.source_signature)


def test_a_dangling_link_in_the_dicom_folder_is_passed_over(tmp_path: Path) -> None:
    source = _dicom_folder(tmp_path, "export")
    (source / "gone.dcm").symlink_to(tmp_path / "nowhere")
    assert prepare_case(_config(tmp_path / "results", dicom_folder=str(source))).name.startswith("case-")


def test_a_file_that_was_touched_is_the_same_and_a_renamed_one_is_not(tmp_path: Path) -> None:
    source = _dicom_folder(tmp_path, "export")
    config = _config(tmp_path / "results", dicom_folder=str(source), name="head1")
    before = prepare_case(config).source_signature
    (source / "DOE_JANE_plan.dcm").touch()
    assert prepare_case(config).source_signature == before
    (source / "DOE_JANE_plan.dcm").rename(source / "plan.dcm")
    assert prepare_case(config).source_signature != before


def _date_ahead(path: Path) -> float:
    moment = time.time() + 400 * 86400
    os.utime(path, (moment, moment), follow_symlinks=False)
    return path.lstat().st_mtime


def test_a_phantom_and_links_to_files_that_are_dated_ahead_are_brought_back(tmp_path: Path) -> None:
    layout = CaseLayout(tmp_path / "case")
    layout.dicom.mkdir(parents=True)
    made = layout.dicom / ".snakemake_timestamp"
    made.touch()
    target = tmp_path / "dose.dcm"
    target.touch()
    layout.earlier_dose(0).symlink_to(target)
    ahead = _date_ahead(target)
    for path in (made, layout.earlier_dose(0)):
        _date_ahead(path)
    assert bring_back_from_the_future(layout) == 2
    assert max(path.lstat().st_mtime for path in (made, layout.earlier_dose(0))) < time.time() + 60
    assert target.stat().st_mtime == ahead, "a file of the site was touched"


def test_a_given_folder_is_not_touched_whatever_its_date(tmp_path: Path) -> None:
    layout = CaseLayout(tmp_path / "case")
    layout.folder.mkdir()
    export = tmp_path / "export"
    export.mkdir()
    file = export / ".snakemake_timestamp"
    file.touch()
    layout.dicom.symlink_to(export)
    ahead = _date_ahead(file)
    assert bring_back_from_the_future(layout) == 0
    assert file.stat().st_mtime == ahead
