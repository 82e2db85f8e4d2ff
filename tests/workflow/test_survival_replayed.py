"""What machines do to a run with recorded electron steps, and to one in its second round: the same dose, bit for bit.

The steps are few tracks', so that recording them takes seconds; all else is as in a patient's run.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from gatecheck.config import project_folder
from gatecheck.files import read_json, sha256_of_file
from gatecheck.transport.geant4_data.folders import cache_folder
from gatecheck.transport.model import ChunkResult
from gatecheck.transport.rounds import read_plan

from .conftest import SETTINGS, Bench, end_all, wait_for

pytestmark = pytest.mark.gate

_STARTS = '{"e-": ((HIGHEST_ENERGY, 40), (2.0, 20)), "e+": ((HIGHEST_ENERGY, 30), (2.0, 10))}'
# As in test_rounds.py: the pilot looks at voxels above 0.5 Gy, wanted is sigma above 0.1 Gy.
WISHES = {
    "transport": {
        "electron_transport": "replayed",
        "target_relative_sigma": 0.2,
        "pilot_photons": 20_000,
        "minimum_chunks": 4,
        "maximum_source_photons": 2_000_000,
    },
    "comparison": {"prescription_gy": 0.2},
}


def _new_cache(folder: Path) -> dict[str, str]:
    """The variable that names a cache with Geant4's data and no recorded steps."""
    folder.mkdir()
    data = cache_folder() / "geant4-data"
    if data.exists():
        (folder / "geant4-data").symlink_to(data)
    return {"GATECHECK_CACHE": str(folder)}


@pytest.fixture(scope="module")
def few_tracks(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A bench with a copy of the project that records few tracks."""
    folder = tmp_path_factory.mktemp("few tracks")
    for name in ("workflow", "linac_models"):
        shutil.copytree(project_folder() / name, folder / name)
    for name in ("Snakefile", "config.yaml"):
        shutil.copy2(project_folder() / name, folder / name)
    provide = folder / "workflow" / "gatecheck" / "transport" / "electron_replay" / "provide.py"
    text, found = re.subn(r"(_STARTS: .*? = )\{.*?^\}", rf"\g<1>{_STARTS}", provide.read_text(), flags=re.DOTALL | re.M)
    assert found == 1
    provide.write_text(text, encoding="utf-8")
    return replace(bench, project=folder, variables=_new_cache(folder / "cache"))


@pytest.fixture(scope="module")
def settings(bench: Bench) -> tuple[str, ...]:
    config = bench.folder / "replayed.yaml"
    config.write_text(yaml.safe_dump(SETTINGS | WISHES), encoding="utf-8")
    return ("--config", str(config))


@pytest.fixture(scope="module")
def undisturbed(few_tracks: Bench, water_plan: Path, settings: tuple[str, ...]) -> str:
    few_tracks.dose_of(water_plan, "replayed", *settings)
    plan = read_plan(few_tracks.layout("replayed").transport)
    assert len(plan.chunks_of_rounds) > 1
    assert plan.electron_steps_sha256 is not None
    return "replayed"


def _doses(bench: Bench, name: str) -> list[str]:
    return [sha256_of_file(bench.layout(name).dose / dose) for dose in ("mc_dose.mha", "mc_sigma.mha")]


def _times(folder: Path, pattern: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob(pattern)}


def test_a_run_cut_off_while_it_records_goes_on_with_what_is_recorded(
    few_tracks: Bench, undisturbed: str, water_plan: Path, settings: tuple[str, ...], tmp_path: Path
) -> None:
    bench = replace(few_tracks, variables=_new_cache(tmp_path / "cache"))
    steps = tmp_path / "cache" / "electron-steps"
    process = bench.start(water_plan, "cut_off", *settings)
    wait_for(lambda: len(_times(steps, "[!.]*.npz")) > 0, process)
    end_all(process)
    recorded = _times(steps, "[!.]*.npz")
    (steps / f".{'0' * 32}.partial-left.npz").write_bytes(b"half")
    bench.dose_of(water_plan, "cut_off", *settings)
    after = _times(steps, "[!.]*.npz")
    assert recorded.items() <= after.items(), "what was recorded was recorded again"
    assert len(after) > len(recorded)
    assert not list(steps.glob(".*partial*"))
    assert _doses(bench, "cut_off") == _doses(bench, undisturbed)


def test_a_run_cut_off_in_its_second_round_keeps_both_rounds_chunks_but_a_damaged_one(
    few_tracks: Bench, undisturbed: str, water_plan: Path, settings: tuple[str, ...]
) -> None:
    name, bench = "second_round", few_tracks
    layout, source = bench.layout(name), bench.layout(undisturbed)
    later = ("chunk-*", "job-*", "simulate-*", "top-up-*", "top_up-*", "dose", "compare", ".lock", ".working")
    shutil.copytree(source.folder, layout.folder, symlinks=True, ignore=shutil.ignore_patterns(*later))
    first = read_plan(source.transport).chunks_of_rounds[0]
    process = bench.start(water_plan, name, *settings)
    wait_for(lambda: len(_times(layout.transport, "chunk-*.json")) > first, process)
    end_all(process)
    finished = _times(layout.transport, "chunk-*.json")
    damaged = max(finished)
    image = layout.transport / read_json(damaged, ChunkResult).boxes[0].file
    content = bytearray(image.read_bytes())
    content[-7] ^= 1
    image.write_bytes(content)
    said = bench.dose_of(water_plan, name, *settings)
    assert f"{image.name}: cut short or changed" in said
    after = _times(layout.transport, "chunk-*.json")
    assert {path for path, moment in finished.items() if after[path] != moment} == {damaged}
    assert _doses(bench, name) == _doses(bench, undisturbed)


def test_a_chunk_along_recorded_steps_is_reproduced_bit_for_bit(few_tracks: Bench, undisturbed: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "gatecheck.cli.main", "reproduce", str(few_tracks.layout(undisturbed).folder)],
        env=few_tracks.environment(),
        cwd=few_tracks.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert "images the same." in result.stdout
