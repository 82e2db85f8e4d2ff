"""The verb `trajectory-log`: how a machine followed, and which beam of a case its log belongs to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from gatecheck.case.storage import read_case
from gatecheck.delivery.logged import LoggedBeam, beams_of, check_plan, differences, errors_of, matched
from gatecheck.delivery.timeline import deliver
from gatecheck.delivery.trajectory_log import read_trajectory_log
from gatecheck.layout import CaseLayout


def run_trajectory_log(files: Sequence[Path], case_folder: Path | None) -> None:
    """Print a JSON list of the beams of all files, in their order.

    Raises
    ------
    InputError
        When a file cannot be read, or belongs to no beam of the case.
    """
    case = None if case_folder is None else read_case(CaseLayout(case_folder).case)
    beams = () if case is None else deliver(case).beams
    rows = []
    for number, path in enumerate(files, start=1):
        place = f"LOG {number}"
        log = read_trajectory_log(path, place)
        if case is not None:
            check_plan(log, case.plan_uid_sha256, place)
        for logged in beams_of(log, place):
            row = {"log": number, "sub_beam": logged.number + 1, **_described(logged)}
            if case is not None:
                beam = matched(logged, beams, place=place)
                apart = differences(logged, beam)
                row["beam"] = beam.number
                row["expected_minus_planned"] = None if apart is None else asdict(apart)
            rows.append(row)
    typer.echo(json.dumps(rows, indent=1, allow_nan=False))


def _described(logged: LoggedBeam) -> dict[str, Any]:
    found, log = errors_of(logged), logged.log
    return {
        "version": log.version,
        "mlc": log.mlc_model,
        "is_truncated": log.is_truncated,
        "seconds": found.seconds,
        "meterset": logged.meterset,
        "actual_minus_expected": {
            one.axis: {"unit": one.unit, "root_mean_square": one.root_mean_square, "largest": one.largest}
            for one in found.axes
        },
        "leaf_root_mean_square_mm": {"X1": found.leaves[0].tolist(), "X2": found.leaves[1].tolist()},
        "gantry_lag_seconds": found.gantry_lag,
    }
