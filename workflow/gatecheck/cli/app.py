"""The command line itself, and what its verbs have in common."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gatecheck import __version__
from gatecheck.cli.geant4_data import geant4_data_app
from gatecheck.config import Config, load_config, resolve_models_folder
from gatecheck.layout import CaseLayout

if TYPE_CHECKING:
    from gatecheck.linac.model import LinacModel
    from gatecheck.transport.phase_space_source import PhaseSpaceSource


app = typer.Typer(
    name="gatecheck",
    help="Independent Monte Carlo second check of radiotherapy plans. Start with: gatecheck verify DICOM_DIR",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(geant4_data_app, name="geant4-data")

CaseFolder = Annotated[
    Path,
    typer.Argument(help="the case's folder of results, for example results/demo", exists=True, file_okay=False),
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gatecheck {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="say the version")
    ] = False,
) -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("pydicom").setLevel(logging.ERROR)


def case_of(case_folder: Path) -> tuple[CaseLayout, Config]:
    layout = CaseLayout(case_folder)
    # Steps need none of the inputs' folders: results may have been moved, and the export be gone.
    return layout, load_config(layout.config, check_inputs=False)


def case_to_work_on(case_folder: Path) -> tuple[CaseLayout, Config]:
    """As `case_of`, for a step that writes into the case, and is seen to until this process ends.

    Raises
    ------
    GatecheckError
        When this is a step of a run that has ended, and another one has begun since.
    """
    from gatecheck.locking import work_on

    work_on(CaseLayout(case_folder))
    return case_of(case_folder)


def linac_of(layout: CaseLayout, config: Config) -> LinacModel:
    from gatecheck.case.ingest import read_case
    from gatecheck.linac.load import choose_linac_model

    return choose_linac_model(
        resolve_models_folder(config), read_case(layout.case), model=config.machine.model, beam=config.machine.beam
    )


def source_of(layout: CaseLayout, config: Config) -> PhaseSpaceSource | None:
    """The recorded phase space in place of the machine model's source, where the configuration asks for it."""
    if config.machine.source == "model":
        return None
    from gatecheck.transport.phase_space_source import open_source

    return open_source(config.machine.phase_space, linac_of(layout, config), layout.transport)
