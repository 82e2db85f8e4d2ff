"""Measures how fast gatecheck is and what that costs as cases grow; `make bench` runs it, half a day on two cores.

    python tests/benchmarks/speed.py --oracle .venv-oracle/bin/python
    python tests/benchmarks/speed.py --only efficiency chunks

Each section is written to docs/benchmarks.json when it is finished, beside those measured before, and
docs/benchmarks.md is made from it. The plan that --plan names (a DICOM folder of a TrueBeam STx plan) is verified
besides the clinical cases, which gatecheck makes itself; without one there is no section `plan`, without --oracle none
of gamma.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gamma_benchmark
import growth
from case_times import Wanted, case_times
from cluster_model import batch_on_paper, measured_work
from efficiency import Case, efficiency_of_patient, efficiency_of_the_whole
from recordings import spread_of_recordings
from speed_page import markdown
from unbiased import (
    AIR_ROULETTE,
    AIR_ROULETTE_IN_AIR,
    RECORDED_STEPS,
    RECORDED_STEPS_AROUND,
    RECORDED_STEPS_IN_AIR,
    ROULETTE_ALONE,
    ROULETTE_FAR,
    ROULETTE_IN_AIR,
    SPLIT_PHOTONS,
    SPLIT_PHOTONS_IN_AIR,
    TRACKED_PHOTONS,
    TRACKED_PHOTONS_IN_AIR,
    TRACKED_PHOTONS_IN_TARGET,
    Claim,
    mean_doses,
)

from gatecheck.case.ingest import ingest, read_case
from gatecheck.config import project_folder
from gatecheck.delivery.storage import write_delivery
from gatecheck.delivery.timeline import deliver
from gatecheck.files import write_atomically
from gatecheck.phantoms import write_phantom

CASE, OTHER_CASE = "clinical_case_2", "clinical_case_1"
FINE_MARGIN = 12.0
Section = Callable[[argparse.Namespace, Case], Any]

# Sections of mean doses, with the source photons of a whole run.
CLAIMS: dict[str, tuple[Claim, float]] = {
    "unbiased": (RECORDED_STEPS, 4e8),
    "unbiased_around": (RECORDED_STEPS_AROUND, 1.2e8),
    "unbiased_air": (RECORDED_STEPS_IN_AIR, 8e7),
    "analog": (TRACKED_PHOTONS, 4e8),
    "analog_target": (TRACKED_PHOTONS_IN_TARGET, 1e9),
    "analog_air": (TRACKED_PHOTONS_IN_AIR, 2e8),
    "roulette": (ROULETTE_ALONE, 1.6e8),
    "roulette_air": (ROULETTE_IN_AIR, 1.6e8),
    "roulette_far": (ROULETTE_FAR, 1.6e8),
    "air_roulette": (AIR_ROULETTE, 8e7),
    "air_roulette_air": (AIR_ROULETTE_IN_AIR, 8e7),
    "split": (SPLIT_PHOTONS, 2e9),
    "split_air": (SPLIT_PHOTONS_IN_AIR, 2e9),
}


def _mean_doses(section: str, options: argparse.Namespace, _: Case) -> list[dict[str, Any]]:
    claim, histories = CLAIMS[section]
    before = _read(options.docs).get(section, {}).get("rows", []) if options.more else []
    names = _cases(options)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        cases = {name: made_case(Path(folder) / name, name) for name in names}
        return mean_doses(claim, cases, int(options.scale * histories), commit=_commit(), before=before)


def _recordings(options: argparse.Namespace, _: Case) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        cases = {name: made_case(Path(folder) / name, name) for name in _cases(options)}
        return spread_of_recordings(cases, int(options.scale * 1.6e8), commit=_commit())


def _cases(options: argparse.Namespace) -> list[str]:
    return [options.case] if options.case else [OTHER_CASE, CASE]


SECTIONS: dict[str, Section] = {
    "efficiency": lambda options, case: efficiency_of_patient(case, options.scale),
    **{name: partial(_mean_doses, name) for name in CLAIMS},
    "recordings": _recordings,
    "whole_job": lambda options, case: efficiency_of_the_whole(case, options.scale),
    "photons": lambda options, case: growth.with_photons(
        case, [int(options.scale * number) for number in (1e6, 2e6, 4e6, 8e6)]
    ),
    "voxels": lambda options, case: growth.with_voxels(
        case, [4.0, 3.0, 2.0, 1.5], int(options.scale * 2e6), int(options.scale * 4e5)
    ),
    "control_points": lambda options, case: growth.with_control_points(
        case, [1000, 16, 4, 1], int(options.scale * 2e6)
    ),
    "chunks": lambda options, case: growth.with_chunks([10, 50, 500], 215),
    "gamma": lambda options, case: gamma_benchmark.measured(options.oracle, ["10", "20:10"]),
    "cases": lambda options, case: case_times([Wanted(name) for name in _cases(options)], options.cores),
    "cluster": lambda options, case: batch_on_paper(
        measured_work(options.docs / "benchmarks.json", OTHER_CASE), plans=1000, cores=2000
    ),
    "plan": lambda options, case: case_times([Wanted("plan", options.plan)], options.cores),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if "plan" in (options.only or []) and options.plan is None:
        parser.error("--only plan: --plan says which")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    found = _read(options.docs)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        case = made_case(Path(folder))
        needs = {"gamma": options.oracle, "plan": options.plan}
        for name in options.only or [one for one in SECTIONS if needs.get(one, True)]:
            started = time.perf_counter()
            rows = SECTIONS[name](options, case)
            if options.case and name in (*CLAIMS, "recordings", "cases"):
                of_others = [row for row in found.get(name, {}).get("rows", []) if row["case"] != options.case]
                rows = sorted([*of_others, *rows], key=lambda row: str(row["case"]))
            found[name] = {**_where(options.scale), "rows": rows}
            _write(options.docs, found)
            sys.stdout.write(f"{name}: measured in {time.perf_counter() - started:.0f} s\n")
            sys.stdout.flush()
    sys.stdout.write(markdown(found))
    return 0


def made_case(folder: Path, name: str = CASE) -> Case:
    """A clinical case, ingested and delivered."""
    write_phantom(name, folder / "dicom")
    ingest(folder / "dicom", folder / "case")
    write_delivery(deliver(read_case(folder / "case")), folder / "timeline.parquet")
    return Case(
        folder / "case",
        folder / "timeline.parquet",
        project_folder() / "linac_models" / "truebeam_stx",
        {"fine_region_margin": FINE_MARGIN},
    )


def _read(docs: Path) -> dict[str, Any]:
    path = docs / "benchmarks.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _write(docs: Path, found: dict[str, Any]) -> None:
    for name, text in (("benchmarks.json", json.dumps(found, indent=1) + "\n"), ("benchmarks.md", markdown(found))):
        with write_atomically(docs / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _where(scale: float) -> dict[str, Any]:
    """Machine, code and share of the photons that a section was measured with."""
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    return {"machine": machine, "commit": _commit(), "scale": scale}


def _commit() -> str:
    asked = ["git", "-C", str(project_folder()), "describe", "--always", "--dirty"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or "not known"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), help="sections; all without it")
    parser.add_argument("--scale", type=float, default=1.0, help="of all numbers of photons: 0.1 for a quick look")
    parser.add_argument(
        "--case",
        choices=[OTHER_CASE, CASE],
        help="of mean doses and cases this alone, beside the rows of the other",
    )
    parser.add_argument(
        "--more", action="store_true", help="of mean doses: go on with the rows that there are, with other photons"
    )
    parser.add_argument("--oracle", type=Path, help="Python of the environment with pymedphys, for gamma")
    parser.add_argument("--plan", type=Path, help="DICOM folder of a plan to verify besides")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--docs", type=Path, default=project_folder() / "docs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
