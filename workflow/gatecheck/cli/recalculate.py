"""The verbs `deliver-logged` and `recalculate`: what was delivered, and what a small change does to the dose."""

from __future__ import annotations

import typer

from gatecheck.case.storage import read_case
from gatecheck.compare.recalculation.recalculate import recalculate
from gatecheck.config import Config
from gatecheck.config_recalculation import Change
from gatecheck.delivery.logged import delivered
from gatecheck.delivery.logs_followed import logs_followed
from gatecheck.delivery.storage import read_delivery, write_delivery
from gatecheck.delivery.trajectory_log import read_trajectory_log
from gatecheck.errors import InputError
from gatecheck.files import write_json
from gatecheck.layout import CaseLayout
from gatecheck.linac.model import LinacModel


def run_deliver_logged(layout: CaseLayout, config: Config) -> None:
    """Write delivery/delivered.parquet and delivery/logs.json from the case's trajectory logs.

    Raises
    ------
    InputError
        When there is no log, one cannot be read, or a beam has none or another's.
    """
    count = len(config.case.trajectory_logs)
    if not count:
        raise InputError("case.trajectory_logs: none found. Give the logs of one fraction, one for every beam.")
    numbers = range(1, count + 1)
    logs = [read_trajectory_log(layout.trajectory_log(one), f"trajectory log {one}") for one in numbers]
    planned, uid = read_delivery(layout.delivery), read_case(layout.case).plan_uid_sha256
    found = delivered(planned, logs, uid)
    followed = logs_followed(planned, logs, found.made_from_sha256, uid)
    write_delivery(found, layout.delivered)
    write_json(layout.logs_followed, followed)
    for beam in followed.beams:
        typer.echo(
            f"beam {beam.number}, log {beam.log}: {beam.meterset_delivered:.2f} of {beam.meterset_planned:.2f} MU"
        )


def run_recalculate(layout: CaseLayout, linac: LinacModel, config: Config, change: Change, *, cores: int) -> None:
    """Recalculate with one change, and say what came out.

    Raises
    ------
    GatecheckError
        As `gatecheck.compare.recalculation.recalculate.recalculate`.
    """
    result = recalculate(
        layout,
        linac,
        config,
        change,
        processes=cores,
        progress=lambda done, total: typer.echo(f"chunk {done} of {total}", err=True),
    )
    for metric in result.metrics:
        typer.echo(
            f"{metric.structure} {metric.region or metric.metric}: {metric.difference_gy:+.3f} +- {metric.sigma_gy:.3f}"
            f" of {metric.planned_gy:.2f} Gy (+- {metric.sigma_apart_gy:.3f} with other photons)"
        )
    if result.gain is not None:
        typer.echo(f"With other photons {result.gain:.1f} times as many would give the same sigma.")
