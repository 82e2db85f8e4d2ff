"""`gatecheck verify`: the whole workflow on one folder, with progress and one clear message if it fails."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatecheck.cli.progress import ProgressDisplay
from gatecheck.config import Config, load_config, project_folder, resolve_models_folder, validate_config
from gatecheck.errors import (
    ERROR_FILE_VARIABLE,
    PREPARED_VARIABLE,
    GatecheckError,
    InputError,
    RemovedResultError,
    SimulationError,
)
from gatecheck.layout import (
    CaseLayout,
    bring_back_from_the_future,
    locate_case,
    prepare_case,
    remove_interrupted,
)
from gatecheck.locking import locked, token_of_run, wait_until_left_alone
from gatecheck.provenance import write_inputs
from gatecheck.transport.jobs import remove_damaged_plans

_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """What the command line asked for; None leaves it to the configuration."""

    dicom_folder: Path | None
    config_file: Path | None
    results_folder: Path | None
    name: str | None
    cores: int
    target_relative_sigma: float | None
    fine_voxel_size: float | None
    coarse_voxel_size: float | None
    profile: Path | None = None
    trajectory_logs: tuple[Path, ...] = ()


def run_verification(options: VerifyOptions) -> Path:
    """Run the workflow to its report.

    Returns
    -------
    Path
        The report's HTML file.

    Raises
    ------
    GatecheckError
        With the message of the step that refused or failed.
    """
    config = effective_config(options)
    layout = locate_case(config)
    with locked(layout) as lock:
        # Only now: a refused second run must not change the configuration that the first one works with.
        wait_until_left_alone(layout, lambda sentence: sys.stderr.write(f"{sentence}\n"))
        remove_interrupted(layout)
        if dated := bring_back_from_the_future(layout):
            sys.stderr.write(
                f"warning: {dated} files of this case were dated after now: the clock was wrong, now or then. What "
                "lies behind them is made again; chunks are kept.\n"
            )
        if damaged := remove_damaged_plans(layout.transport):
            sys.stderr.write(
                f"warning: {', '.join(damaged)} in the case's transport folder cannot be read, and was removed: the "
                "chunks are planned again where they are needed. Those that are there are kept.\n"
            )
        prepared = prepare_case(config)
        write_inputs(layout.inputs, config, prepared.source_signature)
        where = ("--cores", str(options.cores))
        if options.profile is not None:
            where = ("--profile", str(options.profile.resolve()))
        _run_to_the_end(layout, where, lock)
    return layout.report / "report.html"


def effective_config(options: VerifyOptions) -> Config:
    """The configuration file (or the documented default) with the command line's wishes on top."""
    if options.profile is not None and not (options.profile / "config.yaml").is_file():
        raise InputError(
            f"{options.profile}: no Snakemake profile (no config.yaml in it). Try workflow/profiles/slurm."
        )
    if options.dicom_folder is not None and not options.dicom_folder.is_dir():
        raise InputError(f"{options.dicom_folder}: not a folder. Give the folder that holds the exported DICOM files.")
    for log in options.trajectory_logs:
        if not log.is_file():
            raise InputError("--log: a file that it names is not there.")
    content = _base_content(options)
    wishes: list[tuple[str, str, Any]] = [
        ("case", "dicom_folder", options.dicom_folder.resolve() if options.dicom_folder else None),
        ("case", "name", options.name),
        ("case", "trajectory_logs", [str(path.resolve()) for path in options.trajectory_logs] or None),
        ("transport", "target_relative_sigma", options.target_relative_sigma),
        ("patient", "fine_voxel_size", options.fine_voxel_size),
        ("patient", "coarse_voxel_size", options.coarse_voxel_size),
    ]
    for section, key, value in wishes:
        if value is not None:
            content.setdefault(section, {})[key] = str(value) if isinstance(value, Path) else value
    config = validate_config(content, source="configuration" if options.config_file is None else "command line")
    if options.target_relative_sigma is not None and config.transport.source_photons is not None:
        raise InputError(
            "--target-sigma: the configuration's transport.source_photons asks for a number of photons instead. Leave "
            "one of both out."
        )
    return _with_absolute_paths(config, options.results_folder)


def _base_content(options: VerifyOptions) -> dict[str, Any]:
    if options.config_file is not None:
        return load_config(options.config_file).model_dump(mode="json")
    if options.dicom_folder is None:
        return load_config(project_folder() / "config.yaml").model_dump(mode="json")
    return {}


def _with_absolute_paths(config: Config, results_folder: Path | None) -> Config:
    content = config.model_dump(mode="json")
    content["results_folder"] = str((results_folder or config.results_folder).resolve())
    content["machine"]["models_folder"] = str(resolve_models_folder(config).resolve())
    for section, key in (("patient", "ct_calibration"), ("transport", "geant4_data")):
        if content[section][key] is not None:
            content[section][key] = str(Path(content[section][key]).resolve())
    content["case"]["trajectory_logs"] = [str(path.resolve()) for path in config.case.trajectory_logs]
    files = config.machine.phase_space.files
    content["machine"]["phase_space"]["files"] = [str(Path(path).resolve()) for path in files]
    for course in content["biology"]["earlier_courses"]:
        if course["dose_file"] is not None:
            course["dose_file"] = str(Path(course["dose_file"]).resolve())
    return validate_config(content, source="configuration")


def _run_to_the_end(layout: CaseLayout, where: Sequence[str], lock: int) -> None:
    """Run Snakemake, and ask it afterwards what it would still do: a code of 0 alone does not prove a current report.

    It has been seen to run one job, leave those behind it, and end with 0. What a step found damaged, and removed, is
    made anew once: a disk that damages it again has to be looked at.
    """
    try:
        _run_snakemake(layout, where, lock)
    except RemovedResultError as error:
        sys.stderr.write(f"warning: {error} This is done now.\n")
        _run_snakemake(layout, where, lock)
    if not _work_is_left(layout, where):
        return
    _run_snakemake(layout, where, lock)
    if _work_is_left(layout, where):
        raise SimulationError(
            "Snakemake ended without an error, but not with everything done, twice: the report is not current and must "
            f"not be used. See logs/{_snakemake_log(layout).name} in the case's folder."
        )


def _work_is_left(layout: CaseLayout, where: Sequence[str]) -> bool:
    result = subprocess.run(
        [*_snakemake_command(layout, where), "--dry-run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        env=_environment(layout),
        cwd=layout.folder,
        text=True,
        check=False,
    )
    return result.returncode != 0 or "Nothing to be done" not in result.stdout


def _snakemake_log(layout: CaseLayout) -> Path:
    return layout.logs / "snakemake.log"


def _error_file(layout: CaseLayout) -> Path:
    return layout.logs / "error.json"


def _run_snakemake(layout: CaseLayout, where: Sequence[str], lock: int) -> None:
    _error_file(layout).unlink(missing_ok=True)
    log_file = _snakemake_log(layout)
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            _snakemake_command(layout, where),
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=_environment(layout),
            cwd=layout.folder,  # Snakemake logs where it was started, and that is the site's business
            pass_fds=(lock,),
            start_new_session=True,
        )
        code = _wait(process, layout, log_file)
    if code < 0:  # killed, its steps were not
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    if code != 0:
        raise _explained(_error_file(layout), log_file)


def _snakemake_command(layout: CaseLayout, where: Sequence[str]) -> list[str]:
    return [
        *(sys.executable, "-m", "snakemake"),
        *("--snakefile", str(project_folder() / "Snakefile")),
        *("--configfile", str(layout.config.resolve())),
        *where,
        *("--nolock", "--rerun-incomplete", "--nocolor"),
    ]


def _environment(layout: CaseLayout) -> dict[str, str]:
    environment = dict(os.environ)
    environment[ERROR_FILE_VARIABLE] = str(_error_file(layout).resolve())
    environment[PREPARED_VARIABLE] = token_of_run(layout)
    # The rules call `gatecheck` by name: find the one beside this Python.
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    return environment


def _wait(process: subprocess.Popen[bytes], layout: CaseLayout, log_file: Path) -> int:
    with ProgressDisplay(layout, log_file) as display, _signals_end(process):
        while (code := process.poll()) is None:
            display.update()
            time.sleep(_POLL_SECONDS)
        display.update()
    return code


@contextlib.contextmanager
def _signals_end(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ctrl-C or a termination ends the workflow's processes too, then this one."""

    def end(number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        raise GatecheckError(
            f"stopped by signal {number}. What was finished is kept: run the same command again to go on."
        )

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _left_error(error_file: Path) -> GatecheckError | None:
    """What a step said before it ended; None when it said nothing, or the disk was too full for it."""
    try:
        content = json.loads(error_file.read_text(encoding="utf-8"))
        kind = RemovedResultError if content["is_removed"] else GatecheckError
        return kind(str(content["message"]))
    except (OSError, ValueError, KeyError):
        return None


def _explained(error_file: Path, log_file: Path) -> GatecheckError:
    error = _left_error(error_file)
    if error is not None:
        return error
    log = log_file.read_text(encoding="utf-8", errors="replace")
    refused = re.search(r"^(?:WorkflowError|InputFunctionException) in .*\n(?:Error:\n)?(.+)$", log, re.MULTILINE)
    failed = re.search(r"^Error in (?:rule|checkpoint) (\w+):", log, re.MULTILINE)
    if failed is None:
        detail = refused.group(1).strip() if refused else "Snakemake ended without a result"
        return SimulationError(f"{detail.rstrip('.')}. See logs/{log_file.name} in the case's folder.")
    step = failed.group(1)
    which = {"simulate": ("job", r"job[-= ](\d{4})"), "top_up": ("round", r"top-up-(\d)")}.get(step)
    found = re.search(which[1], log[failed.start() :]) if which else None
    name, log_name = step, step
    if which and found:
        name, log_name = f"{step} ({which[0]} {found.group(1)})", f"{step}-{found.group(1)}"
    return SimulationError(
        f"The step {name} ended without a result and without a message: its process was killed or crashed (out of "
        "memory, disk full?). Nothing half-written was kept; run the same command again and it goes on where it stood. "
        f"See logs/{log_name}.log in the case's folder."
    )
