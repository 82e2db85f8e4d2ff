"""Puts faults into a case and says which metric sees which, at which significance; `make faults` runs it.

    python tests/benchmarks/fault_table.py clinical_case_1 --photons 12e6 --cores 2
    python tests/benchmarks/fault_table.py results/clinical_case_1 --photons 4e6 --only "leaf gap +0.5 mm"

CASE is the folder of a finished case without any fault (`gatecheck verify` made it), or the name of a phantom, which
is then verified first with `--config`. For each of `gatecheck.phantoms.faults` a case folder is made below `--out`
(<case folder>-faults without it) whose TPS dose is that of the plan as it was meant and whose simulation has the
fault: beams changed and delivered again, CT numbers changed and voxelised again, or the TPS dose's grid displaced.
Each is planned with the same number of photons (five times as many for a leaf gap), simulated with
seeds of its own and the fault-free case's calibration, merged and compared by gatecheck's own steps. Output +2 % takes
the fault-free chunks, whose dose is per nominal photon, and merges them with its own meterset; the displaced grid takes
the fault-free dose.

What is finished with the same inputs is kept: the same command goes on where an interrupted one stood. The table is
written to `--docs` as <case>.json and <case>.md; with `--only` it has the faults named and those finished before.
Exit code 1: a fault that must be seen is not, or the fault-free case does not pass; 2: a step refused or failed.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from fault_case import FaultFree, work_of
from fault_page import markdown, one_line
from fault_rows import FAULT_FREE, FaultRow, FaultTable, read_row, shortcomings, with_changes
from fault_run import FaultOptions, is_finished, layout_of, run_fault

from gatecheck.cli.verify import VerifyOptions, run_verification
from gatecheck.config import load_config, project_folder
from gatecheck.errors import GatecheckError, InputError
from gatecheck.files import write_atomically, write_json
from gatecheck.layout import CaseLayout
from gatecheck.locking import locked
from gatecheck.phantoms.faults import Fault

FAULT_FREE_CONFIG = Path(__file__).with_name("fault_free.yaml")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is as the module says."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        base = FaultFree.read(fault_free_case(options))
        table = make_table(base, options)
    except GatecheckError as error:
        sys.stderr.write(f"fault_table: {error}\n")
        return error.exit_code
    write_json(options.docs / f"{table.case}.json", table)
    with write_atomically(options.docs / f"{table.case}.md") as temporary:
        temporary.write_text(markdown(table), encoding="utf-8")
    found = shortcomings(table)
    for one in found:
        _say(f"NOT MET: {one}")
    return 1 if found else 0


def make_table(base: FaultFree, options: argparse.Namespace) -> FaultTable:
    """Run what is wanted and not finished, and gather the rows of all that is finished.

    Raises
    ------
    GatecheckError
        When a step fails, or the fault-free case was made by other code.
    """
    known = base.faults()
    wanted = _wanted(known, options.only)
    base.check_is_current()
    name = base.layout.folder.resolve().name
    running = FaultOptions(
        root=options.out or base.layout.folder.resolve().with_name(f"{name}-faults"),
        photons=options.photons or base.merged.histories,
        chunks=options.chunks,
        cores=options.cores,
    )
    running.root.mkdir(parents=True, exist_ok=True)
    rows: tuple[FaultRow, ...] = ()
    with locked(CaseLayout(running.root)):
        for fault in known.values():
            is_done = is_finished(base, fault, running)
            if not is_done and fault.name not in wanted:
                continue
            if not is_done:
                _say(f"{fault.name}: {work_of(fault, base).value}")
                run_fault(base, fault, running, _say)
            rows = with_changes([*rows, read_row(fault, layout_of(fault, running), work_of(fault, base).value)])
            _say(one_line(rows[-1]))
    return FaultTable(
        case=name,
        calibration_relative_sigma=base.merged.calibration_relative_sigma,
        clinical=base.merged.engine.clinical,
        rows=rows,
    )


def fault_free_case(options: argparse.Namespace) -> Path:
    """The finished case that was named; a phantom that is not finished is verified.

    Raises
    ------
    GatecheckError
        When it is neither, or the verification fails.
    """
    named = Path(options.case)
    for folder in (named, options.results / named):
        if (folder / "dose" / "merge.json").exists():
            return folder
    if named.exists() or len(named.parts) > 1:
        raise InputError(f"{options.case}: not a finished case (no dose/merge.json). Run gatecheck verify on it first.")
    content = load_config(options.config or config_of_phantom(options.case)).model_dump(mode="json")
    content["case"] |= {"name": options.case, "phantom": options.case, "dicom_folder": None}
    # Beside the case's folder, which the verification itself fills.
    file = options.results / f"{options.case}.fault-free.yaml"
    with write_atomically(file) as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    run_verification(
        VerifyOptions(
            dicom_folder=None,
            config_file=file,
            results_folder=options.results,
            name=options.case,
            cores=options.cores,
            target_relative_sigma=None,
            fine_voxel_size=None,
            coarse_voxel_size=None,
        )
    )
    return CaseLayout(options.results / options.case).folder


def config_of_phantom(name: str) -> Path:
    """The phantom's own configuration beside this file, where it has one, else that of all."""
    own = FAULT_FREE_CONFIG.with_name(f"{name}.yaml")
    return own if own.is_file() else FAULT_FREE_CONFIG


def _wanted(known: dict[str, Fault], only: Sequence[str] | None) -> set[str]:
    """Names of the faults to run; the fault-free case always, since the others are told from it."""
    if not only:
        return set(known)
    unknown = sorted(set(only) - set(known))
    if unknown:
        raise InputError(f"--only {', '.join(unknown)}: not a fault. Known: {', '.join(known)}.")
    return {FAULT_FREE, *only}


def _say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


def _photons(text: str) -> int:
    number = round(float(text))
    if number < 1000:
        raise argparse.ArgumentTypeError(f"{text}: at least 1000 photons")
    return number


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        found = int(text)
        if found < least:
            raise argparse.ArgumentTypeError(f"{text}: at least {least}")
        return found

    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", help="folder of a finished case, or a phantom's name")
    parser.add_argument("--photons", type=_photons, help="of each fault; without it as many as the fault-free case has")
    parser.add_argument("--chunks", type=_at_least(4), help="of each fault; without it as many as needed")
    parser.add_argument("--cores", type=_at_least(1), default=1, help="chunks at a time")
    parser.add_argument("--only", action="append", metavar="NAME", help="a fault by name; may be given several times")
    parser.add_argument("--out", type=Path, help="folder of the faults' case folders")
    parser.add_argument("--results", type=Path, default=project_folder() / "results", help="where cases lie")
    parser.add_argument("--config", type=Path, help="to verify a phantom with; without it that of the phantom here")
    parser.add_argument("--docs", type=Path, default=project_folder() / "docs" / "faults", help="where the table goes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
