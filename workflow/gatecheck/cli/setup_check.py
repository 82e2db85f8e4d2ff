"""The verb `setup-check`: the worst setup errors simulated again."""

from __future__ import annotations

from pathlib import Path

import typer

from gatecheck.case.storage import read_case
from gatecheck.compare.setup_errors.recalculation import recalculate_worst
from gatecheck.config import load_config, resolve_models_folder
from gatecheck.layout import CaseLayout
from gatecheck.linac.load import choose_linac_model


def run_setup_check(case_folder: Path, *, photons: int, count: int, cores: int) -> None:
    """Recalculate, write compare/setup_check.json, and say what came out.

    Raises
    ------
    GatecheckError
        When the case has no setup.json, or a simulation fails.
    """
    layout = CaseLayout(case_folder)
    config = load_config(layout.config, check_inputs=False)
    linac = choose_linac_model(
        resolve_models_folder(config), read_case(layout.case), model=config.machine.model, beam=config.machine.beam
    )
    result = recalculate_worst(
        layout,
        linac,
        config,
        photons=photons,
        count=count,
        processes=cores,
        progress=lambda done, total: typer.echo(f"batch {done} of {total}", err=True),
    )
    for displacement in result.displacements:
        for metric in displacement.metrics:
            typer.echo(
                f"course {displacement.course}, {metric.structure} {metric.metric}: moved {metric.cloud.value:.2f} Gy, "
                f"recalculated {metric.recalculated.value:.2f} Gy, difference {metric.difference:+.2f} "
                f"+- {metric.sigma:.2f} Gy"
            )
    typer.echo(f"Largest difference: {result.largest_significance:.1f} sigma.")
