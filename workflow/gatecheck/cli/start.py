"""The verbs that a plan comes in by: verify, batch, listen, phantom."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gatecheck.cli.app import app
from gatecheck.config import load_config

if TYPE_CHECKING:
    pass


@app.command()
def verify(
    dicom_dir: Annotated[
        Path | None, typer.Argument(help="folder of the exported plan; without it the configuration says what")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="configuration file; without it the documented default")] = None,
    results: Annotated[Path | None, typer.Option(help="where results/<case> is made")] = None,
    name: Annotated[str | None, typer.Option(help="name of the case's folder; without it a pseudonym")] = None,
    cores: Annotated[int, typer.Option(min=1, help="processes at a time")] = os.cpu_count() or 1,
    target_sigma: Annotated[
        float | None,
        typer.Option(help="mean relative sigma (k = 1) wanted in fine voxels above half the prescription"),
    ] = None,
    fine_voxel: Annotated[float | None, typer.Option(help="voxel size of the fine region, mm")] = None,
    coarse_voxel: Annotated[float | None, typer.Option(help="voxel size elsewhere, mm")] = None,
    profile: Annotated[
        Path | None, typer.Option(help="Snakemake profile that says where it runs, such as workflow/profiles/slurm")
    ] = None,
    log: Annotated[
        list[Path] | None,
        typer.Option(help="a trajectory log of the fraction delivered, once for each beam: simulated as well"),
    ] = None,
) -> None:
    """Verify a plan: from the DICOM folder to the report. Interrupted, the same command goes on where it stood."""
    from gatecheck.cli.verify import VerifyOptions, run_verification

    report = run_verification(
        VerifyOptions(
            dicom_folder=dicom_dir,
            config_file=config,
            results_folder=results,
            name=name,
            cores=cores,
            target_relative_sigma=target_sigma,
            fine_voxel_size=fine_voxel,
            coarse_voxel_size=coarse_voxel,
            profile=profile,
            trajectory_logs=tuple(log or ()),
        )
    )
    typer.echo(f"Report: {report}")


@app.command()
def batch(
    folder: Annotated[Path, typer.Argument(help="with a folder for each plan", exists=True, file_okay=False)],
    config: Annotated[
        Path | None, typer.Option(help="configuration file of all plans without a gatecheck.yaml in their folder")
    ] = None,
    results: Annotated[Path, typer.Option(help="where the cases' folders and the overview are made")] = Path("results"),
    cores: Annotated[int, typer.Option(min=1, help="processes at a time, of all plans")] = os.cpu_count() or 1,
    at_a_time: Annotated[
        int, typer.Option(min=1, help="plans at a time; with a cluster's profile as many as it has")
    ] = 1,
    profile: Annotated[
        Path | None, typer.Option(help="Snakemake profile that says where it runs, such as workflow/profiles/slurm")
    ] = None,
    show_folders: Annotated[
        bool, typer.Option("--show-folders", help="name plans by their folders, whose names may be patients'")
    ] = False,
) -> None:
    """Verify every plan of a folder, and write an overview. Stopped, the same command goes on where it stood."""
    from gatecheck.cli.batch import BatchOptions, run_batch

    options = BatchOptions(folder, config, results.resolve(), cores, at_a_time, profile, show_folders)
    if not run_batch(options):
        raise typer.Exit(1)


@app.command()
def listen(
    folder: Annotated[Path, typer.Argument(help="where studies are kept; complete ones in FOLDER/queue")],
    config: Annotated[Path, typer.Option(help="configuration file, whose section listen says who may send")],
) -> None:
    """Receive studies by DICOM C-STORE until stopped; gatecheck batch FOLDER/queue verifies them."""
    from gatecheck.cli.listen import run_listen

    run_listen(folder, load_config(config).listen)


@app.command()
def phantom(
    name: Annotated[str, typer.Argument(help="clinical_case_1 or clinical_case_2")],
    out: Annotated[Path, typer.Option(help="folder to write the DICOM files to")],
) -> None:
    """Make a case of known content as a complete DICOM set."""
    from gatecheck.phantoms import write_phantom

    write_phantom(name, out)
    typer.echo(f"{name}: written.")
