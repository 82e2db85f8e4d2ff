"""The verb `commission`: a machine model and beam data to a fitted beam file."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import typer

from gatecheck.commissioning.commission import commission
from gatecheck.commissioning.condense import condensed
from gatecheck.commissioning.predictions import predict_fields, write_predictions
from gatecheck.commissioning.read_beam_data import read_beam_data
from gatecheck.commissioning.water.pencil import pencil_tables
from gatecheck.config import load_config, project_folder, resolve_models_folder
from gatecheck.linac.load import load_linac_model
from gatecheck.transport.geant4_data.folders import cache_folder

BEAM_DATA = "beam_data_6x.csv"


@dataclass(frozen=True, slots=True)
class CommissionOptions:
    """What the command line says; None where it is silent."""

    machine: str
    beam_data: tuple[Path, ...]
    out_folder: Path | None
    config_file: Path | None
    histories: int
    cores: int
    predict: bool
    leaves: bool


class _Progress:
    """A line for each finished part, with the time left judged from the parts that took the longest first."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != self._what:
            self._what, self._started = what, time.perf_counter()
        left = ""
        if 0 < done < total:
            seconds = (time.perf_counter() - self._started) / done * (total - done)
            left = f", at most about {max(seconds / 60, 1):.0f} min left"
        typer.echo(f"{what}: {done} of {total}{left}", err=True)


def run_commissioning(options: CommissionOptions) -> None:
    """Fit, write, and say how it went.

    Raises
    ------
    GatecheckError
        When the model, the beam data or the configuration cannot be used.
    """
    config = load_config(options.config_file or project_folder() / "config.yaml", check_inputs=False)
    folder = resolve_models_folder(config) / options.machine
    linac = load_linac_model(folder, config.machine.beam)
    data = condensed(read_beam_data(options.beam_data or (folder / BEAM_DATA,)))
    out = options.out_folder or config.results_folder / "commissioning" / options.machine
    progress = _Progress()
    done = commission(
        linac,
        data,
        out,
        settings=config.transport,
        histories=options.histories,
        processes=options.cores,
        leaves=options.leaves,
        progress=progress,
    )
    failed = [one for one in done.judged if not one.passed]
    undecided = [one for one in done.judged if not one.decides]
    typer.echo(
        f"{len(done.judged)} measured numbers: {len(done.judged) - len(failed)} within tolerance, {len(failed)} not; "
        f"{len(undecided)} with a sigma too large to decide. Chi squared {done.result.chi_squared:.1f} with "
        f"{done.result.degrees_of_freedom} degrees of freedom."
    )
    for one in done.result.parameters:
        note = " (at its bound)" if one.at_bound else ""
        typer.echo(f"{one.parameter.name}: {one.value:.4g} +- {one.uncertainty:.2g} {one.parameter.unit}{note}")
    if done.jaws is not None and done.jaws.differs:
        typer.echo(
            f"Field widths ask for a jaw position scale of {done.jaws.value:.4f} +- {done.jaws.uncertainty:.4f}, "
            f"{done.jaws.assumed:g} was simulated: correct machine.yaml and run again."
        )
    if options.predict:
        fitted = linac.model_copy(update={"beam": done.result.beam})
        tables = pencil_tables(config.transport, cache_folder() / "water", processes=options.cores)
        table = predict_fields(
            fitted,
            tables,
            histories=options.histories,
            processes=options.cores,
            progress=lambda part, total: progress("standard fields", part, total),
        )
        write_predictions(out / f"{options.machine}_{linac.beam.name.lower()}.csv", table)
    typer.echo(f"Page: {done.page}. Fitted beam: {done.beam_file}; copy it into {options.machine}/ to use it.")
