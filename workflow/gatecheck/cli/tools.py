"""Verbs for single questions: of a case that is there, of files, of a machine, of the configuration."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from gatecheck.cli.app import CaseFolder, app, case_of, linac_of
from gatecheck.cli.steps import planned
from gatecheck.config import Config, load_config, project_folder
from gatecheck.errors import GatecheckError

if TYPE_CHECKING:
    pass


@app.command()
def reproduce(
    case_folder: CaseFolder,
    chunk: Annotated[int, typer.Option(help="number of the chunk")] = 1,
) -> None:
    """transport: simulate a chunk again and compare it with what is there, bit for bit."""
    from gatecheck.transport.reproduce import reproduce as simulate_again

    layout, config = case_of(case_folder)
    plan, inputs = planned(layout, config)
    found = simulate_again(inputs, plan, chunk)
    if not found.is_same:
        why = "The machine differs from the one that simulated it, or the images were changed."
        if found.made_otherwise:
            why = f"It was made otherwise: {'; '.join(found.made_otherwise)}."
        if not found.same_electron_steps:
            why = (
                "Electrons took other recorded steps: those in gatecheck's cache were recorded again since, or on "
                "another machine."
            )
        raise GatecheckError(
            f"chunk {chunk}: {len(found.different)} of {found.images} images are not the same bit for bit: "
            f"{', '.join(found.different)}. {why}"
        )
    typer.echo(f"chunk {chunk}: {found.histories / 1e6:.2f} million photons again, {found.images} images the same.")


@app.command()
def trajectory_log(
    files: Annotated[list[Path], typer.Argument(help="TrueBeam trajectory logs, .bin", exists=True, dir_okay=False)],
    case: Annotated[
        Path | None, typer.Option(help="a case's folder: each log has to belong to a beam of its plan")
    ] = None,
) -> None:
    """delivery: how the machine followed, by its trajectory logs."""
    from gatecheck.cli.trajectory_log import run_trajectory_log

    run_trajectory_log(files, case)


@app.command()
def gamma(
    reference: Annotated[Path, typer.Argument(help="dose at whose voxels gamma is found: MetaImage or RTDOSE")],
    evaluated: Annotated[Path, typer.Argument(help="dose that is searched round them: MetaImage or RTDOSE")],
    dose: Annotated[float, typer.Option(help="dose tolerance, %")],
    distance: Annotated[float, typer.Option(help="distance tolerance, mm")],
    cutoff: Annotated[
        float, typer.Option(help="reference voxels below this % of the normalisation are left out")
    ] = 10.0,
    local: Annotated[
        bool, typer.Option("--local", help="dose tolerance of each voxel's own dose, not of the normalisation")
    ] = False,
    cap: Annotated[
        float, typer.Option(help="larger gammas count as this; the search ends at this times distance")
    ] = 2.0,
    normalisation: Annotated[
        float | None, typer.Option(help="Gy; without it the largest reference dose (inside the body)")
    ] = None,
    body: Annotated[Path | None, typer.Option(help="mask (.mha, 1 inside); voxels outside are left out")] = None,
    map_file: Annotated[Path | None, typer.Option("--map", help="write gamma to this .mha; NaN where left out")] = None,
) -> None:
    """compare: gamma of any two doses, as one JSON object; pass_rate is a fraction, lengths are mm, doses Gy."""
    from gatecheck.cli.gamma import GammaOptions, run_gamma

    run_gamma(
        GammaOptions(
            reference=reference,
            evaluated=evaluated,
            dose_percent=dose,
            distance=distance,
            cutoff_percent=cutoff,
            is_local=local,
            cap=cap,
            normalisation=normalisation,
            body=body,
            map_file=map_file,
        )
    )


@app.command()
def beams_eye_view(
    case_folder: CaseFolder,
    beam: Annotated[int | None, typer.Option(help="number of the beam; without it all beams")] = None,
    control_point: Annotated[
        int | None, typer.Option(min=0, help="its control point, from 0; without it the first, middle and last")
    ] = None,
    meterset: Annotated[float | None, typer.Option(help="instead of a control point, MU since the beam began")] = None,
    out: Annotated[
        Path | None, typer.Option(help="file to draw to, .png or .svg; without it PNGs in the case's report folder")
    ] = None,
) -> None:
    """report: draw jaws, leaves and structures as the source sees them."""
    from gatecheck.report.case_beams_eye_views import ViewRequest, write_views

    layout, config = case_of(case_folder)
    request = ViewRequest(beam=beam, control_point=control_point, meterset=meterset, out=out)
    written = write_views(layout, linac_of(layout, config), request, config.report.structures)
    for path in written.files:
        typer.echo(path.name)
    if written.letters:
        typer.echo("Structures: " + ", ".join(f"{letter} {name}" for letter, name in written.letters.items()))


@app.command()
def commission(
    machine: Annotated[str, typer.Argument(help="folder name of a machine model, for example truebeam_stx")],
    beam_data: Annotated[
        list[Path] | None,
        typer.Option(help="CSV or W2CAD file; several are joined. Without it beam_data_6x.csv of the model"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="folder for the fitted beam, the page and the table")] = None,
    config: Annotated[Path | None, typer.Option(help="configuration file; without it the documented default")] = None,
    photons: Annotated[float, typer.Option(min=0.01, help="source photons of each field, millions")] = 40.0,
    cores: Annotated[int, typer.Option(min=1, help="processes at a time")] = os.cpu_count() or 1,
    predict: Annotated[
        bool, typer.Option("--predict", help="also simulate the standard fields with the fitted source, as a CSV table")
    ] = False,
    leaves: Annotated[
        bool, typer.Option(help="also simulate the MLC: transmission, gaps, tongue and groove, positions")
    ] = True,
) -> None:
    """commissioning: fit a machine's photon source to beam data; writes a beam file, a page and a table."""
    from gatecheck.cli.commission import CommissionOptions, run_commissioning

    run_commissioning(
        CommissionOptions(
            machine=machine,
            beam_data=tuple(beam_data or ()),
            out_folder=out,
            config_file=config,
            histories=round(photons * 1e6),
            cores=cores,
            predict=predict,
            leaves=leaves,
        )
    )


@app.command()
def accept_machine(
    machine: Annotated[str, typer.Argument(help="folder name of a machine model, for example truebeam_stx")],
    treats: Annotated[list[str], typer.Option(help="machine it stands for, as plans name it; may be repeated")],
    by: Annotated[str, typer.Option(help="who says so")],
    grounds: Annotated[str, typer.Option(help="measurements and reports that it rests on")] = "",
    config: Annotated[Path | None, typer.Option(help="configuration file; without it the documented default")] = None,
) -> None:
    """linac: record that a machine model, as it is now, stands for machines that treat; reports warn until then."""
    from gatecheck.cli.accept_machine import run_acceptance

    run_acceptance(machine, tuple(treats), by, grounds, config)


@app.command()
def dvh(
    dose: Annotated[Path, typer.Argument(help="MetaImage of Gy (.mha, .mhd), or RTDOSE")],
    rtstruct: Annotated[Path, typer.Argument(help="RTSTRUCT; no CT is needed")],
    voxel_means: Annotated[
        bool, typer.Option("--voxel-means", help="the doses are means over voxels, as a Monte Carlo scores them")
    ] = False,
) -> None:
    """compare: doses of every structure, as one JSON object."""
    from gatecheck.cli.dvh import doses_of_structures

    typer.echo(doses_of_structures(dose, rtstruct, is_mean=voxel_means).model_dump_json(indent=1))


@app.command()
def setup_check(
    case_folder: CaseFolder,
    photons: Annotated[float, typer.Option(min=0.001, help="source photons of each displacement, millions")] = 10.0,
    worst: Annotated[int, typer.Option(min=1, help="how many displacements")] = 3,
    cores: Annotated[int, typer.Option(min=1, help="processes at a time")] = os.cpu_count() or 1,
) -> None:
    """compare: simulate the worst setup errors again, to check the dose that was taken to stand still."""
    from gatecheck.cli.setup_check import run_setup_check

    run_setup_check(case_folder, photons=round(photons * 1e6), count=worst, cores=cores)


@app.command("config")
def config_command(
    file: Annotated[Path | None, typer.Argument(help="configuration file to check; without it the default")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="print every key with its meaning, as JSON schema")] = False,
) -> None:
    """Check a configuration and print it with everything that it leaves to the defaults."""
    if schema:
        typer.echo(json.dumps(Config.model_json_schema(), indent=1))
        return
    checked = load_config(file or project_folder() / "config.yaml")
    typer.echo(yaml.safe_dump(checked.model_dump(mode="json"), sort_keys=False), nl=False)
