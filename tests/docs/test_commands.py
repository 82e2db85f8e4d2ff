"""Every command in README.md and docs/ is run on a small plan, or stands in a table with the reason why not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest
import yaml
from pynetdicom import AE  # type: ignore[attr-defined]
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

import schemas
from gatecheck.case.storage import read_case
from gatecheck.config import Config, project_folder, validate_config
from gatecheck.delivery.timeline import deliver
from gatecheck.errors import InputError
from gatecheck.layout import CaseLayout
from gatecheck.phantoms.water_tank import static_beam, write_water_phantom

from ..calibrations import RELATIVE_SIGMA, Calibrations
from .blocks import OTHER, SHELL, Command, all_blocks, all_commands
from .command_line import fault_of
from .small_case import write_small_case

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "delivery"))
from made_logs import LogOfBeam

VERIFY = "gatecheck verify export --config site.yaml --name plan"
"""The command that makes the case that the others work on."""

_DEMONSTRATION = "a whole verification at the default's precision: minutes"
_CLUSTER = "needs a cluster"
_TESTS = "what runs this test"
_AGAIN = "simulates a plan again; tests/workflow does"
NOT_RUN = {
    "make demo": _DEMONSTRATION,
    "make test": _TESTS,
    "make docs": "installs packages",
    ".ci/run": _TESTS,
    "gatecheck verify export": _DEMONSTRATION,
    "gatecheck phantom clinical_case_2 --out case-2": "computes two arcs: a minute and more; tests/phantoms makes it",
    "gatecheck verify case-2 --config site.yaml --name case-2": "a clinical case: minutes",
    "gatecheck verify export --config site.yaml --name plan --log arc-1.bin --log arc-2.bin": _AGAIN,
    "gatecheck recalculate results/plan leaf_gap": _AGAIN,
    "gatecheck setup-check results/plan --photons 10": "simulates three more doses: minutes; tests/physics does",
    "snakemake --cores 2": _DEMONSTRATION,
    "gatecheck geant4-data install": "fetches gigabytes",
    "gatecheck geant4-data build": "half a minute or more; tests/transport builds it",
    "gatecheck commission truebeam_stx --beam-data measured/beam.csv --out measured/fitted": "half an hour",
    'gatecheck accept-machine truebeam_stx --treats LINAC2 --by "A. Physicist" --grounds "end-to-end test of May"': (
        "writes beside the machine models; tests/linac does"
    ),
    "gatecheck verify export --config site.yaml --profile workflow/profiles/slurm": _CLUSTER,
    "gatecheck batch plans --config site.yaml --results results --profile workflow/profiles/slurm": _CLUSTER,
    'sbatch --cpus-per-task=2 --mem=8G --wrap "gatecheck verify plans/$plan --config site.yaml --cores 2"': _CLUSTER,
    "python tests/benchmarks/cluster_model.py": "minutes; tests/benchmarks runs its parts",
    'pip install "gatecheck[slurm]"': "installs packages",
    "apptainer build gatecheck.sif workflow/apptainer/gatecheck.def": "needs Apptainer, and installs packages",
    "apptainer run --bind /data gatecheck.sif verify /data/plan --results /data/results": "needs Apptainer",
}
"""Commands that are not run, and why; each is held against the real command line instead."""

NOT_WRITTEN = ("batch", "top-up", "phase-space", "setup-check", "logs", "recalculated")
"""Kinds of files that one small verification does not leave."""

UNTIL_STOPPED = ("gatecheck listen incoming --config site.yaml",)
"""Commands that run until they are stopped."""

SETTINGS = {
    "machine": {"model": "truebeam_stx"},
    "patient": {"coarse_voxel_size": 10, "fine_voxel_size": 5},
    "transport": {
        "source_photons": 60_000,
        "pilot_photons": 5_000,
        "minimum_chunks": 4,
        "maximum_source_photons": 60_000,
    },
    "calibration": {"relative_sigma": RELATIVE_SIGMA},
    "setup": {"courses": 100},
    "listen": {"port": 0, "callers": {"TPS": "127.0.0.1"}, "quiet_seconds": 1},
}
"""The reader's site.yaml, with few photons: what is tested is that the commands do what they are said to."""

SMALLER = {
    "patient": {"coarse_voxel_size": 10},
    "transport": {"source_photons": 20_000, "pilot_photons": 2_000, "minimum_chunks": 4},
}

COMMANDS: dict[str, Command] = {}
"""Each once, in the order of the pages."""
for _command in all_commands():
    COMMANDS.setdefault(_command.text, _command)
RUN = [command for command in COMMANDS.values() if command.text not in (*NOT_RUN, *UNTIL_STOPPED, VERIFY)]


@dataclass(frozen=True)
class World:
    """The folder in which the reader is."""

    folder: Path

    def environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        return os.environ | {"PYTHONPATH": str(project_folder() / "workflow"), "PATH": path}

    def run(self, command: str, seconds: int = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euc", command],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, calibrations: Calibrations) -> World:
    """A reader's folder: an export, a batch of it, what was received, trajectory logs, and a verified case."""
    made = World(tmp_path_factory.mktemp("reader"))
    folder = made.folder
    write_small_case(folder / "export")
    # The batch's plan is a smaller one, with a configuration of its own.
    field = static_beam(isocentre=(0.0, 40.0, 0.0), meterset=50.0)
    first = folder / "plans" / "first"
    write_water_phantom(first, size=(120.0, 100.0, 120.0), spacing=(10.0, 10.0, 10.0), beams=[field])
    (first / "gatecheck.yaml").write_text(yaml.safe_dump(SETTINGS | SMALLER), encoding="utf-8")
    # What was received is the batch's first plan again: the second batch finds it verified.
    (folder / "incoming" / "queue").mkdir(parents=True)
    (folder / "incoming" / "queue" / "a-study").symlink_to(first)
    (folder / "site.yaml").write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
    calibrations.lend(folder / "results")
    done = made.run(VERIFY, seconds=900)
    assert done.returncode == 0, done.stderr
    assert (folder / "results" / "plan" / "report" / "report.html").exists()
    shutil.copytree(folder / "results" / "plan", folder / "results" / "demo", symlinks=True)
    for beam in deliver(read_case(CaseLayout(folder / "results" / "plan").case)).beams:
        (folder / f"arc-{beam.number}.bin").write_bytes(LogOfBeam(beam).content())
    return made


def test_the_case_of_the_other_commands_is_one_that_the_documentation_makes() -> None:
    assert VERIFY in COMMANDS


@pytest.mark.gate
@pytest.mark.parametrize("one", schemas.HANDED_ON, ids=lambda one: one.name)
def test_files_of_a_real_case_are_as_their_published_schema_says(world: World, one: schemas.Published) -> None:
    written = sorted((world.folder / "results" / "plan").glob(one.file.replace("-0001", "-*")))
    if not written:
        assert one.name in NOT_WRITTEN
        return
    validator = jsonschema.Draft202012Validator(json.loads(one.path.read_text(encoding="utf-8")))
    for path in written:
        content = json.loads(path.read_text(encoding="utf-8"))
        assert [error.message for error in validator.iter_errors(content)] == [], path.name
        content["not_a_key"] = 1
        assert not validator.is_valid(content)


@pytest.mark.gate
@pytest.mark.parametrize("command", RUN, ids=str)
def test_command_does_what_it_is_asked(world: World, command: Command) -> None:
    done = world.run(command.text)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.gate
@pytest.mark.parametrize("command", UNTIL_STOPPED)
def test_command_that_runs_until_it_is_stopped(world: World, command: str) -> None:
    """The receiver answers a known sender's C-ECHO, and nobody else's."""
    assert command in COMMANDS
    process = subprocess.Popen(
        ["bash", "-euc", f"exec {command}"],
        cwd=world.folder,
        env=world.environment() | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert "listening at 127.0.0.1" in first, first
        port = int(first.split("port ")[1].split(",")[0])
        assert [_echoes(port, title) for title in ("TPS", "STRANGER")] == [True, False]
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "stopped" in output


def _echoes(port: int, title: str) -> bool:
    sender = AE(ae_title=title)
    sender.add_requested_context(Verification)
    association = sender.associate("127.0.0.1", port, ae_title="GATECHECK")
    if not association.is_established:
        return False
    status = association.send_c_echo()
    association.release()
    return bool(status) and status.Status == 0


@pytest.mark.parametrize("command", [text for text in NOT_RUN if text in COMMANDS])
def test_command_that_is_not_run_is_one_that_could_be(command: str) -> None:
    if command == ".ci/run":
        assert os.access(project_folder() / command, os.X_OK)
        return
    assert fault_of(command) is None


def test_the_table_of_what_is_not_run_names_nothing_else() -> None:
    assert [text for text in NOT_RUN if text not in COMMANDS] == []


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("gatecheck verfy export", "no such verb"),
        ("gatecheck verify export --sigma 2", "no option --sigma"),
        ("gatecheck verify export other", "too many arguments"),
        ("gatecheck gamma one.mha two.mha --dose", "without a value"),
        ("gatecheck export", "an argument is missing"),
        ("gatecheck verify export --profile workflow/profiles/other", "not in the project"),
        ("make demos", "no target demos"),
        ("make demo CORE=2", "no variable CORE"),
        ('pip install "gatecheck[cluster]"', "no such extra"),
        ('sbatch --wrap "gatecheck verify plans/$plan --core 2"', "no option --core"),
        ("python tests/benchmarks/clustermodel.py", "not in the project"),
        ("curl http://192.0.2.1", "not a program"),
    ],
)
def test_a_wrong_command_is_found(command: str, fault: str) -> None:
    assert fault in (fault_of(command) or "")


def test_every_block_says_its_language() -> None:
    """One without would be a command that nothing runs."""
    unknown = [f"{one.page}:{one.line} {one.language!r}" for one in all_blocks() if one.language not in SHELL + OTHER]
    assert unknown == []


def _blocks_of(language: str) -> list[object]:
    found = [one for one in all_blocks() if one.language == language]
    return [pytest.param(one.text, id=f"{one.page}:{one.line}") for one in found]


@pytest.mark.gate
@pytest.mark.parametrize("text", _blocks_of("python"))
def test_python_runs(world: World, text: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=world.folder,
        env=world.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "an example that shows nothing"


@pytest.mark.parametrize("text", _blocks_of("yaml"))
def test_yaml_is_a_configuration(text: str) -> None:
    """Examples that begin with a section of the configuration are taken by it as they are."""
    content = yaml.safe_load(text)
    assert isinstance(content, dict)
    if set(content) & set(Config.model_fields):
        validate_config(content, source="example", check_inputs=False)
    with pytest.raises(InputError):
        validate_config(content | {"unknown_section": 1}, source="example", check_inputs=False)
