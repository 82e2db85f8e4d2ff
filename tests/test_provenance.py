"""What each room depends on: noticed when it changes, and untouched when it does not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import gatecheck
from gatecheck import front_door
from gatecheck.config import Config, project_folder
from gatecheck.errors import PREPARED_VARIABLE, GatecheckError
from gatecheck.layout import locate_case
from gatecheck.locking import locked, token_of_run
from gatecheck.provenance import ROOMS, code_files, code_sha256, hashes_of, inputs_of, read_hashes, write_inputs
from gatecheck.transport import engine


def _config(tmp_path: Path, **sections: dict[str, Any]) -> Config:
    content: dict[str, Any] = {"results_folder": str(tmp_path / "results"), **sections}
    content.setdefault("machine", {})
    content["machine"].setdefault("models_folder", str(project_folder() / "linac_models"))
    return Config.model_validate(content)


def _changed(first: Config, second: Config, signatures: tuple[str, str] = ("a", "a")) -> set[str]:
    before, after = (
        hashes_of(inputs_of(config, sign)) for config, sign in zip((first, second), signatures, strict=True)
    )
    return {room for room in ROOMS if before[room] != after[room]}


def test_a_changed_setting_is_seen_by_the_rooms_that_use_it(tmp_path: Path) -> None:
    plain = _config(tmp_path)
    assert _changed(plain, plain) == set()
    assert _changed(plain, _config(tmp_path, transport={"seed": 1})) == {"calibration", "transport"}
    assert _changed(plain, _config(tmp_path, transport={"target_relative_sigma": 0.01})) == {"transport"}
    # The calibration's key holds what follows its electrons: a case that kept the old one would be refused.
    replayed = _config(tmp_path, transport={"electron_transport": "replayed"})
    assert _changed(plain, replayed) == {"calibration", "transport"}
    assert _changed(plain, _config(tmp_path, calibration={"relative_sigma": 0.01})) == {"calibration"}
    assert _changed(plain, _config(tmp_path, machine={"head": "full"})) == {"calibration", "transport"}
    assert _changed(plain, _config(tmp_path, patient={"coarse_voxel_size": 5})) == {"patient"}
    assert _changed(plain, _config(tmp_path, report={"title": "other"})) == {"report"}
    assert _changed(plain, plain, ("a", "b")) == {"case"}


def test_an_edited_machine_or_curve_is_seen_though_its_name_stays(tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(project_folder() / "linac_models", models)
    curve = tmp_path / "curve.csv"
    curve.write_text("ct_number,density_g_cm3\n-1000,0.0012\n0,1.0\n", encoding="utf-8")
    config = _config(tmp_path, machine={"models_folder": str(models)}, patient={"ct_calibration": str(curve)})
    before = hashes_of(inputs_of(config, "a"))
    file = models / "truebeam_stx" / "machine.yaml"
    file.write_text(file.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    curve.write_text("ct_number,density_g_cm3\n-1000,0.0012\n0,1.01\n", encoding="utf-8")
    after = hashes_of(inputs_of(config, "a"))
    assert {room for room in ROOMS if before[room] != after[room]} == {
        "delivery",
        "patient",
        "calibration",
        "transport",
    }


def test_no_path_of_the_site_is_written(tmp_path: Path) -> None:
    write_inputs(tmp_path / "inputs", _config(tmp_path), "a")
    for path in (tmp_path / "inputs").glob("*.json"):
        assert str(tmp_path) not in path.read_text(encoding="utf-8")


def test_files_are_rewritten_only_where_something_changed(tmp_path: Path) -> None:
    folder = tmp_path / "inputs"
    first = write_inputs(folder, _config(tmp_path), "a")
    assert read_hashes(folder) == first
    stamps = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    write_inputs(folder, _config(tmp_path, report={"title": "other"}), "a")
    changed = {path.name for path in folder.iterdir() if path.stat().st_mtime_ns != stamps[path.name]}
    assert changed == {"report.json"}


def test_the_first_process_prepares_and_locks_and_the_others_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PREPARED_VARIABLE, raising=False)
    config = _config(tmp_path)
    layout, hashes = front_door.enter(config, ["snakemake", "--cores", "1"])
    monkeypatch.setenv(PREPARED_VARIABLE, token_of_run(layout))
    assert front_door.enter(config, ["snakemake", "--cores", "1"]) == (layout, hashes)
    monkeypatch.setenv(PREPARED_VARIABLE, "of a run before")
    with pytest.raises(GatecheckError, match="belongs to a run that has ended"):
        front_door.enter(config, ["snakemake", "--cores", "1"])
    monkeypatch.delenv(PREPARED_VARIABLE)
    with pytest.raises(GatecheckError, match=r"another gatecheck works on this case \(process \d+\)"):
        front_door.enter(config, ["snakemake", "--cores", "1"])


def test_a_dry_run_of_a_case_that_is_there_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PREPARED_VARIABLE, raising=False)
    config = _config(tmp_path)
    write_inputs(locate_case(config).inputs, config, "a")
    locate_case(config).config.write_text("as it was", encoding="utf-8")
    with locked(locate_case(config)):
        _, hashes = front_door.enter(_config(tmp_path, report={"title": "other"}), ["snakemake", "-n"])
    assert hashes != read_hashes(locate_case(config).inputs)
    assert locate_case(config).config.read_text(encoding="utf-8") == "as it was"


def test_a_line_of_code_changes_the_rooms_that_run_it_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a copy of the library; a room's hash is a chunk's, and a stale chunk is simulated again."""
    library = Path(gatecheck.__file__).parent
    shutil.copytree(library, tmp_path / "gatecheck", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(gatecheck, "__file__", str(tmp_path / "gatecheck" / "__init__.py"))

    def hashes() -> dict[str, str]:
        code_sha256.cache_clear()
        return {room: code_sha256(room) for room in ROOMS} | {"a chunk": engine.code_sha256()}

    try:
        before = hashes()
        with (tmp_path / "gatecheck" / "transport" / "run.py").open("a", encoding="utf-8") as file:
            file.write("# changed\n")
        after = hashes()
    finally:
        code_sha256.cache_clear()
    changed = {room for room, value in after.items() if value != before[room]}
    assert changed == {"calibration", "transport", "recalculated", "a chunk"}


def test_what_is_compiled_on_the_first_run_is_no_change_of_the_code(tmp_path: Path) -> None:
    cache = tmp_path / "compare" / "__pycache__"
    cache.mkdir(parents=True)
    (tmp_path / "compare" / "gamma.py").write_text("", encoding="utf-8")
    before = code_files(tmp_path, "compare")
    for suffix in ("cpython-311.pyc", "_search-12.py311.nbi", "_search-12.py311.1.nbc"):
        (cache / f"gamma.{suffix}").write_bytes(b"compiled")
    assert code_files(tmp_path, "compare") == before
    assert tmp_path / "compare" / "gamma.py" in before
