"""The verb `accept-machine`: who took a machine model for which machine, written beside the model."""

from __future__ import annotations

import datetime
from pathlib import Path

import typer
from pydantic import ValidationError

from gatecheck.config import load_config, project_folder, resolve_models_folder
from gatecheck.errors import InputError
from gatecheck.linac.acceptance import Acceptance, write_acceptance
from gatecheck.linac.load import load_linac_model


def run_acceptance(model: str, machines: tuple[str, ...], by: str, grounds: str, config_file: Path | None) -> None:
    """Write the acceptance of one beam of a model, in place of an earlier one.

    Raises
    ------
    InputError
        When the model cannot be read, or what was said is empty or too long.
    """
    config = load_config(config_file or project_folder() / "config.yaml", check_inputs=False)
    folder = resolve_models_folder(config) / model
    linac = load_linac_model(folder, config.machine.beam)
    try:
        acceptance = Acceptance(
            machines=machines,
            accepted_by=by,
            accepted_on=datetime.datetime.now(datetime.UTC).date(),
            grounds=grounds,
            content_sha256=linac.content_sha256,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"accept-machine: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
    path = write_acceptance(folder, config.machine.beam, acceptance)
    typer.echo(
        f"{model}/{path.name}: accepted for {', '.join(machines)}, as it is now (SHA-256 {linac.content_sha256[:12]}). "
        "A change of its values has to be accepted again."
    )
