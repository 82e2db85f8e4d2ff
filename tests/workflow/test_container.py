"""The container: its definition carried out on a bare Debian, and a plan verified in it as on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gatecheck.config import project_folder
from gatecheck.files import sha256_of_file
from gatecheck.layout import CaseLayout

from .conftest import SETTINGS, Bench
from .image_here import NOBODY, Image, sections_of, why_not

pytestmark = [pytest.mark.gate, pytest.mark.cluster, pytest.mark.skipif(why_not() != "", reason=why_not())]

DEFINITION = project_folder() / "workflow" / "apptainer" / "gatecheck.def"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of plans and results, and of a user's own files."""
    folder = tmp_path_factory.mktemp("data")
    _own(folder)
    return folder


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Iterator[Image]:
    root = tmp_path_factory.mktemp("image") / "root"
    made = Image(root, sections_of(DEFINITION), (shared,))
    made.build(project_folder())
    yield made
    shutil.rmtree(root)  # gigabytes


def _own(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, NOBODY, NOBODY)


def test_the_images_own_test_passes_where_nothing_of_it_can_be_written(image: Image, shared: Path) -> None:
    home = shared / "home"
    home.mkdir()
    _own(home)
    script = image.sections["environment"] + image.sections["test"]
    image.run(script, user=NOBODY, environment={"HOME": str(home)})


def test_a_plan_gets_the_dose_of_this_machine_bit_for_bit(
    image: Image, shared: Path, bench: Bench, verified: str, water_plan: Path
) -> None:
    work = shared / "work"
    shutil.copytree(water_plan, work / "plan")
    (work / "settings.yaml").write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
    _own(work)
    options = ["--config", f"{work}/settings.yaml", "--results", f"{work}/results", "--name", "inside", "--cores", "2"]
    image.execute("verify", f"{work}/plan", *options, environment={"HOME": str(work)})
    there = CaseLayout(work / "results" / "inside")
    assert (there.report / "report.html").exists()
    for dose in ("mc_dose.mha", "mc_sigma.mha"):
        assert sha256_of_file(there.dose / dose) == sha256_of_file(bench.layout(verified).dose / dose)
