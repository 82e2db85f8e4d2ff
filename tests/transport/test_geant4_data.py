"""Which Geant4 data are used, and how the embedded set is built, verified and replaced."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gatecheck.errors import GatecheckError
from gatecheck.transport import geant4_data
from gatecheck.transport.geant4_data import embedded, folders, official, photons, resolver


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return geant4_data.build(tmp_path_factory.mktemp("geant4-data") / "built")


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of its own, no configured folder, nothing official."""
    monkeypatch.setenv("GATECHECK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(geant4_data.CONFIGURED_VARIABLE, raising=False)
    monkeypatch.setattr(resolver, "_official_set", lambda: None)
    return tmp_path / "cache"


@pytest.fixture
def cached(own_cache: Path, built: Path) -> Path:
    """The cache with a whole embedded set in it (copied: building takes seconds)."""
    shutil.copytree(built, embedded.default_folder())
    return embedded.default_folder()


# Together as many as a whole G4EMLOW has at the least.
FILES_OF_A_FOLDER = 130


def official_like(root: Path) -> Path:
    """The folders that a complete official installation has, with a file in each that is looked at."""
    for variable, prefix in folders.FOLDER_PREFIXES.items():
        folder = root / f"{prefix}1.0"
        names = folders.FULL_FOLDERS if variable == folders.LOW_ENERGY else ("data",)
        for name in names:
            (folder / name).mkdir(parents=True)
            for number in range(FILES_OF_A_FOLDER if variable == folders.LOW_ENERGY else 1):
                (folder / name / f"file-{number}").write_text("1")
    return root


# Order -----------------------------------------------------------------------------------------


def test_without_anything_else_the_embedded_set_is_built_once_into_the_cache(own_cache: Path) -> None:
    told: list[float] = []
    first = geant4_data.resolve(progress=lambda share, _: told.append(share))
    assert first.kind == "embedded"
    assert own_cache in first.folder.parents
    assert told == sorted(told)
    assert told[-1] == 1.0
    before = (first.folder / "manifest.json").stat().st_mtime_ns
    assert geant4_data.resolve() == first
    assert (first.folder / "manifest.json").stat().st_mtime_ns == before


def test_a_configured_folder_comes_before_all_others(
    cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = official_like(tmp_path / "copied")
    monkeypatch.setenv(geant4_data.CONFIGURED_VARIABLE, str(root))
    by_variable = geant4_data.resolve()
    assert by_variable.kind == "configured"
    assert by_variable.folder == root
    assert geant4_data.resolve(root) == by_variable


def test_the_configuration_comes_before_the_environment_variable(
    tmp_path: Path, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(geant4_data.CONFIGURED_VARIABLE, str(tmp_path / "elsewhere"))
    assert geant4_data.resolve(built).folder == built


def test_complete_official_sets_come_before_the_embedded_one(
    cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = official_like(tmp_path / "official")
    present = folders.set_folders(root)
    sets = official.OfficialSets(root, present, dict.fromkeys(present, "address"), lambda *_: None)
    monkeypatch.undo()
    monkeypatch.setenv("GATECHECK_CACHE", str(cached.parents[1]))
    monkeypatch.delenv(geant4_data.CONFIGURED_VARIABLE, raising=False)
    monkeypatch.setattr(official, "official_sets", lambda: sets)
    found = geant4_data.resolve()
    assert (found.kind, found.clinical, found.complete) == ("official", True, True)
    shutil.rmtree(present["G4PIIDATA"])
    assert geant4_data.resolve().kind == "embedded"


# What a set says of itself ----------------------------------------------------------------------


def test_the_embedded_set_says_that_it_is_not_for_clinical_use(cached: Path) -> None:
    data_set = geant4_data.resolve()
    assert not data_set.clinical
    assert not data_set.complete
    assert "NOT for clinical use" in data_set.description
    assert "xraylib" in data_set.description


def test_a_reduced_configured_folder_is_not_clinical_and_a_complete_one_is(tmp_path: Path) -> None:
    complete = geant4_data.resolve(official_like(tmp_path / "complete"))
    assert (complete.clinical, complete.complete) == (True, True)
    shutil.rmtree(complete.folder / "G4EMLOW1.0" / "penelope")
    reduced = geant4_data.resolve(complete.folder)
    assert (reduced.clinical, reduced.complete) == (False, False)
    assert "NOT for clinical use" in reduced.description
    assert reduced.content_sha256 != complete.content_sha256


def test_a_set_that_was_cut_off_while_unpacking_is_not_complete(tmp_path: Path) -> None:
    root = official_like(tmp_path / "cut off")
    low_energy = root / "G4EMLOW1.0"
    for path in sorted((low_energy / "penelope").iterdir())[1:]:
        path.unlink()
    assert not geant4_data.resolve(root).clinical
    sets = official.OfficialSets(root, folders.set_folders(root), {}, lambda *_: None)
    assert sets.missing() == [folders.LOW_ENERGY]
    for path in sorted((low_energy / "brem_SB").iterdir())[50:]:
        path.unlink()
    with pytest.raises(GatecheckError, match=r"lacks G4EMLOW1\.0/brem_SB"):
        geant4_data.resolve(root)


def test_no_description_holds_a_path(cached: Path, tmp_path: Path) -> None:
    for data_set in (geant4_data.resolve(), geant4_data.resolve(official_like(tmp_path / "some"))):
        assert os.sep not in data_set.description
        assert "\n" not in data_set.description


def test_every_variable_names_an_existing_folder(cached: Path) -> None:
    environment = dict(geant4_data.resolve().environment)
    assert environment.pop("GATEONRTD") == "1"
    assert set(environment) == set(folders.FOLDER_PREFIXES)
    assert all(Path(value).is_absolute() and Path(value).is_dir() for value in environment.values())


def test_the_identity_does_not_depend_on_the_place(built: Path, tmp_path: Path) -> None:
    copied = tmp_path / "another" / "place"
    shutil.copytree(built, copied)
    assert geant4_data.resolve(copied).content_sha256 == geant4_data.resolve(built).content_sha256


def test_two_builds_are_identical_to_the_byte(built: Path, tmp_path: Path) -> None:
    again = geant4_data.build(tmp_path / "again")
    assert (again / "manifest.json").read_bytes() == (built / "manifest.json").read_bytes()


# Damage and races ------------------------------------------------------------------------------


def test_a_truncated_file_is_noticed_and_the_set_built_again(cached: Path) -> None:
    table = cached / "G4EMLOW8.8" / "brem_SB" / "br8"
    whole = table.read_bytes()
    table.write_bytes(whole[:1000])
    assert geant4_data.status().embedded_problems
    geant4_data.resolve()
    assert table.read_bytes() == whole


def test_a_missing_file_or_manifest_is_noticed(cached: Path) -> None:
    assert embedded.problems(cached, in_full=False) == []
    (cached / "G4EMLOW8.8" / "brem_SB" / "br8").unlink()
    assert embedded.problems(cached, in_full=False) == ["G4EMLOW8.8/brem_SB/br8 is missing"]
    (cached / "manifest.json").write_text("{")
    assert embedded.problems(cached, in_full=False) == ["manifest.json is missing or damaged"]


def test_status_notices_a_change_that_keeps_the_size(cached: Path) -> None:
    table = cached / "G4EMLOW8.8" / "brem_SB" / "br8"
    table.write_bytes(table.read_bytes().replace(b"1", b"2", 1))
    assert embedded.problems(cached, in_full=False) == []
    assert geant4_data.status().embedded_problems == ("G4EMLOW8.8/brem_SB/br8 differs from what was built",)


def test_two_processes_that_build_at_once_both_succeed(tmp_path: Path) -> None:
    target = tmp_path / "set"
    program = (
        f"from pathlib import Path; from gatecheck.transport.geant4_data import build; build(Path({str(target)!r}))"
    )
    source = str(Path(geant4_data.__file__).parents[3])
    environment = {**os.environ, "PYTHONPATH": source}

    def run(_: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(2) as pool:
        for done in pool.map(run, range(2)):
            assert done.returncode == 0, done.stderr
    assert embedded.problems(target, in_full=True) == []
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]


def test_a_folder_with_other_files_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(GatecheckError, match="something else"):
        geant4_data.build(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_failing_build_leaves_nothing_behind(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> dict[str, str]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(embedded, "element_files", full)
    with pytest.raises(GatecheckError, match="No space left"):
        geant4_data.resolve()
    assert list((own_cache / "geant4-data").iterdir()) == []


# Errors ------------------------------------------------------------------------------------------


def test_a_configured_folder_that_is_not_there_is_an_error_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(GatecheckError, match="does not exist"):
        geant4_data.resolve(tmp_path / "nowhere")


def test_a_configured_folder_without_the_files_is_an_error_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "G4EMLOW8.8" / "brem_SB").mkdir(parents=True)
    with pytest.raises(GatecheckError, match=r"G4ENSDFSTATE.*G4EMLOW8\.8/brem_SB.*epics2017/phot"):
        geant4_data.resolve(tmp_path)


def test_a_set_built_by_another_version_is_built_again_in_the_cache_and_accepted_where_configured(
    cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "source_sha256", lambda: "0" * 64)
    assert embedded.problems(cached, in_full=False) == ["built by another version of gatecheck"]
    assert geant4_data.resolve(cached).kind == "configured"


def test_a_damaged_configured_embedded_set_is_an_error(built: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(built, copied)
    (copied / "G4EMLOW8.8" / "brem_SB" / "br8").write_text("5 32 57")
    with pytest.raises(GatecheckError, match="br8 has"):
        geant4_data.resolve(copied)


@pytest.mark.parametrize("physics_list", ["G4EmStandardPhysics_option3", "G4EmStandardPhysics_option4"])
def test_richer_physics_lists_need_the_official_data(physics_list: str, cached: Path, tmp_path: Path) -> None:
    with pytest.raises(GatecheckError, match="gatecheck geant4-data install"):
        geant4_data.check_physics_list(physics_list, geant4_data.resolve())
    geant4_data.check_physics_list(physics_list, geant4_data.resolve(official_like(tmp_path / "complete")))


def test_the_standard_physics_list_runs_with_every_set(cached: Path) -> None:
    geant4_data.check_physics_list("G4EmStandardPhysics", geant4_data.resolve())


def test_data_cannot_change_once_opengate_is_imported(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_set = geant4_data.resolve()
    for name in data_set.environment:
        monkeypatch.setenv(name, "before")
    monkeypatch.setitem(sys.modules, "opengate_core", sys)
    with pytest.raises(GatecheckError, match="already imported"):
        geant4_data.activate(data_set)
    monkeypatch.delitem(sys.modules, "opengate_core")
    geant4_data.activate(data_set)
    monkeypatch.setitem(sys.modules, "opengate_core", sys)
    geant4_data.activate(data_set)
    assert os.environ["G4LEDATA"] == data_set.environment["G4LEDATA"]


# Installation ------------------------------------------------------------------------------------


def test_an_unreachable_host_is_a_clear_error_within_twenty_seconds() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/sets/G4EMLOW.8.8.tar.gz"
        start = time.monotonic()
        with pytest.raises(GatecheckError, match="cannot be reached"):
            official.check_host(address)
    assert time.monotonic() - start < 20


def test_a_host_that_never_answers_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(official, "_PROBE_SECONDS", 0.2)
    monkeypatch.setattr(official, "_reason_unreachable", lambda _: time.sleep(1) or "")
    with pytest.raises(GatecheckError, match="no answer within"):
        official.check_host("https://example.org/file")


def test_install_uses_opengates_own_downloader_for_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"G4LEDATA": tmp_path / "G4EMLOW8.8", "G4PIIDATA": tmp_path / "G4PII1.3"}
    (names["G4PIIDATA"] / "data").mkdir(parents=True)
    fetched: list[tuple[int, str, int]] = []
    sets = official.OfficialSets(
        tmp_path, names, {name: f"https://host/{name}" for name in names}, lambda *call: fetched.append(call)
    )
    monkeypatch.setattr(official, "official_sets", lambda: sets)
    monkeypatch.setattr(official, "check_host", lambda _: None)
    told: list[str] = []
    geant4_data.install(told.append)
    assert fetched == [(0, "https://host/G4LEDATA", 1)]
    assert told[-1] == "all official data sets are present"


def test_a_download_that_breaks_off_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ConnectionResetError("gone")

    sets = official.OfficialSets(tmp_path, {"G4LEDATA": tmp_path / "x"}, {"G4LEDATA": "https://host/a.tar.gz"}, broken)
    monkeypatch.setattr(official, "official_sets", lambda: sets)
    monkeypatch.setattr(official, "check_host", lambda _: None)
    with pytest.raises(GatecheckError, match=r"a\.tar\.gz: the download failed"):
        geant4_data.install(lambda *_: None)


def test_status_builds_and_downloads_nothing(own_cache: Path) -> None:
    found = geant4_data.status()
    assert found.active is None
    assert found.problem is not None
    assert not found.embedded_present
    assert not own_cache.exists()
    assert [line.split(":")[0] for line in found.lines()] == ["configured", "official", "embedded", "in use"]


def test_opengates_list_of_sets_is_read_without_importing_opengate() -> None:
    program = (
        "import sys; from gatecheck.transport.geant4_data import status; found = status(); "
        "assert 'opengate_core' not in sys.modules and 'spekpy' not in sys.modules; print(found.official_folder.name)"
    )
    source = str(Path(geant4_data.__file__).parents[3])
    environment = {**os.environ, "PYTHONPATH": source}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "geant4_data", done.stderr


# Tables ------------------------------------------------------------------------------------------


def test_the_set_covers_every_element_that_xraylib_covers(built: Path) -> None:
    manifest = json.loads((built / "manifest.json").read_text())
    assert manifest["highest_element"] == 98
    assert len(manifest["files"]) == 98 * 6 + 1


@pytest.mark.parametrize("number", [1, 6, 20, 74, 98])
def test_cross_sections_are_smooth_at_the_end_of_xraylibs_range(number: int) -> None:
    """Value and slope: a kink of less than 0.05 in d(ln sigma)/d(ln E)."""
    for cross_section in (photons.photoelectric(number).above, photons.rayleigh(number)):
        logs = np.log(cross_section.energies), np.log(cross_section.barns)
        at = int(np.searchsorted(cross_section.energies, photons.HIGHEST_ENERGY))
        below, above = (
            (logs[1][end] - logs[1][start]) / (logs[0][end] - logs[0][start])
            for start, end in ((at - 3, at), (at, at + 3))
        )
        assert abs(below - above) < 0.12
        assert below < above + 0.05


@pytest.mark.parametrize("number", [13, 26, 50, 74, 82])
def test_linear_interpolation_between_our_points_follows_xraylib(number: int) -> None:
    """As Geant4 interpolates (E³ sigma, linearly in E): 0.2 % between the points from 5 keV, edges apart.

    Below 5 keV xraylib's own splines swing by some percent beside the edges.
    """
    import xraylib

    photo = photons.photoelectric(number)
    for branch in (photo.above, photo.below):
        energies = np.geomspace(5e-3, 0.8, 999)
        energies = energies[(energies > branch.energies[1]) & (energies < branch.energies[-1])]
        edges = np.array(photons.edge_energies(number))
        away = (np.abs(energies[:, None] / edges - 1) > 1e-3).all(axis=1)
        ours = np.interp(energies, branch.energies, branch.barns * branch.energies**3) / energies**3
        reference = np.array([xraylib.CSb_Photo(number, energy * 1e3) for energy in energies])
        assert (np.abs(ours / reference - 1)[away] < 0.002).all()


def test_the_k_edge_is_a_step_where_xraylib_has_it() -> None:
    photo = photons.photoelectric(74)
    assert photo.edge == pytest.approx(0.069525, rel=1e-3)
    assert photo.above.barns[0] / photo.below.barns[-1] == pytest.approx(5.1, rel=0.02)


def test_geant4s_compton_formula_is_within_its_stated_accuracy() -> None:
    """The formula written down in gatecheck is Geant4's: within 2 % of evaluated data above 0.1 MeV for tungsten."""
    import xraylib

    energies = [0.1, 0.3, 0.5, 0.8]
    evaluated = np.array([xraylib.CSb_Compt(74, 1e3 * energy) for energy in energies])
    np.testing.assert_allclose(photons.geant4_compton(74, np.array(energies)), evaluated, rtol=0.02)
