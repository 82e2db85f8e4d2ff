"""`gatecheck geant4-data`: which cross sections there are, and how to get others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

geant4_data_app = typer.Typer(
    help="Geant4 data sets: what there is, install the official ones, build the embedded one.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@geant4_data_app.command()
def status() -> None:
    """Say which data sets are there and which one would be used."""
    from gatecheck.transport import geant4_data

    for line in geant4_data.status().lines():
        typer.echo(line)


@geant4_data_app.command()
def install() -> None:
    """Fetch the official Geant4 data sets by opengate's own mechanism."""
    from gatecheck.transport import geant4_data

    geant4_data.install(progress=typer.echo)
    typer.echo("The official data sets are complete.")


@geant4_data_app.command()
def build(
    folder: Annotated[Path | None, typer.Option(help="where to; without it the user's cache folder")] = None,
) -> None:
    """Build the embedded data set (not for clinical use) from packages that are installed anyway."""
    from gatecheck.transport import geant4_data

    columns = (TextColumn("embedded data set"), BarColumn(), TextColumn("{task.fields[what]}"), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("", total=1.0, what="")

        def show(share: float, what: str) -> None:
            bar.update(task, completed=share, what=what)

        built = geant4_data.build(folder, progress=show)
    typer.echo(f"The embedded data set is in {built}.")
