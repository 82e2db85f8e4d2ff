"""`gatecheck`: one verb per room, and `verify`, which walks through all of them."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from gatecheck import __version__
from gatecheck.cli.geant4_data import geant4_data_app
from gatecheck.config import Config, load_config, project_folder, resolve_models_folder
from gatecheck.config_recalculation import CHANGES
from gatecheck.errors import ERROR_FILE_VARIABLE, GatecheckError, InputError
from gatecheck.layout import CaseLayout, linac_results_folder

if TYPE_CHECKING:
    from gatecheck.linac.model import LinacModel
    from gatecheck.transport.chunk import ChunkInputs
    from gatecheck.transport.model import ChunkPlan
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
        float | None, typer.Option(help="mean relative standard deviation wanted in voxels above half the maximum")
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


@app.command()
def ingest(
    dicom_dir: Annotated[Path, typer.Argument(help="folder of DICOM files, in any order and nesting")],
    out: Annotated[Path, typer.Option(help="folder to write case.json and images to")],
    show_identity: Annotated[bool, typer.Option("--show-identity", help="keep the plan's label")] = False,
) -> None:
    """case: read and check a DICOM folder."""
    from gatecheck.case.ingest import ingest as ingest_folder

    case = ingest_folder(dicom_dir, out, show_identity=show_identity)
    for warning in case.warnings:
        typer.echo(f"warning: {warning.message}")
    typer.echo(
        f"{case.case_id}: {len(case.beams)} beams, {sum(beam.meterset for beam in case.beams):.1f} MU a fraction, "
        f"{case.fractions} fractions, {len(case.structures)} structures."
    )


@app.command()
def deliver(case_folder: CaseFolder) -> None:
    """delivery: one timeline of machine states against meterset."""
    from gatecheck.case.ingest import read_case
    from gatecheck.delivery.storage import write_delivery
    from gatecheck.delivery.timeline import deliver as deliver_case

    layout, config = _case(case_folder)
    linac = _linac(layout, config)
    delivery = deliver_case(read_case(layout.case))
    write_delivery(delivery, layout.delivery)
    typer.echo(f"{len(delivery.beams)} beams, {delivery.total_meterset:.1f} MU a fraction, on {linac.name}.")


@app.command()
def deliver_logged(case_folder: CaseFolder) -> None:
    """delivery: what the machine did, by the case's trajectory logs."""
    from gatecheck.cli.recalculate import run_deliver_logged

    run_deliver_logged(*_case(case_folder))


@app.command()
def recalculate(
    case_folder: CaseFolder,
    change: Annotated[str, typer.Argument(help=f"what differs from the plan: {', '.join(CHANGES)}")],
    cores: Annotated[int, typer.Option(min=1, help="chunks at a time")] = os.cpu_count() or 1,
) -> None:
    """compare: simulate the case's photons again with something changed, for what that does to the dose."""
    from gatecheck.cli.recalculate import run_recalculate

    if change not in CHANGES:
        raise InputError(f"{change} found, expected one of {', '.join(CHANGES)}.")
    layout, config = _case(case_folder)
    run_recalculate(layout, _linac(layout, config), config, change, cores=cores)


@app.command()
def error_budget(case_folder: CaseFolder) -> None:
    """compare: what the doses of tumour and cord are uncertain by, and from what."""
    from gatecheck.compare.error_budget import error_budget as gather

    budget = gather(*_case(case_folder))
    for one in budget.metrics:
        unknown = f", without {' and '.join(one.unknown)}" if one.unknown else ""
        typer.echo(f"{one.structure} {one.metric}: {one.value_gy:.2f} +- {one.total_gy:.2f} Gy (k = 1{unknown})")


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
def voxelise(case_folder: CaseFolder) -> None:
    """patient: materials and densities, on fine and coarse voxels."""
    from gatecheck.patient.voxelise import voxelise as voxelise_case

    layout, config = _case(case_folder)
    patient = voxelise_case(layout.case, layout.patient, config.patient)
    for warning in patient.warnings:
        typer.echo(f"warning: {warning}")
    typer.echo(f"{len(patient.boxes)} boxes, {len(patient.materials)} materials.")


@app.command()
def calibrate(case_folder: CaseFolder) -> None:
    """transport: simulate the machine's reference field once, and keep it for all its cases."""
    from gatecheck.compare.check import check_comparison
    from gatecheck.files import write_json
    from gatecheck.transport.calibrate import calibrate as calibrate_linac
    from gatecheck.transport.progress import remove_calibration_progress, write_calibration_progress

    layout, config = _case(case_folder)
    check_comparison(layout, config)  # a misspelt structure must not be found out after hours
    try:
        result = calibrate_linac(
            _linac(layout, config),
            settings=config.transport,
            calibration=config.calibration,
            dose_to=config.dose.dose_to,
            out_root=linac_results_folder(layout.folder.resolve().parent),
            progress=lambda progress: write_calibration_progress(layout.transport, progress),
            head=config.machine.head,
            source=_source(layout, config),
        )
    finally:
        remove_calibration_progress(layout.transport)
    write_json(layout.calibration, result)
    typer.echo(
        f"{result.machine}: {result.nominal_photons_per_mu:.4g} nominal photons per MU, "
        f"sigma {100 * result.relative_sigma:.2f} %."
    )


@app.command()
def plan_chunks(case_folder: CaseFolder) -> None:
    """transport: a pilot run says how many photons the wanted standard deviation needs."""
    from gatecheck.compare.check import check_comparison
    from gatecheck.transport.chunk import starts_once
    from gatecheck.transport.plan import plan_chunks as plan

    layout, config = _case(case_folder)
    check_comparison(layout, config)
    result = plan(
        delivery_path=layout.delivery,
        linac=_linac(layout, config),
        patient_folder=layout.patient,
        settings=config.transport,
        dose_to=config.dose.dose_to,
        out_folder=layout.transport,
        head=config.machine.head,
        source=_source(layout, config),
    )
    histories = sum(chunk.histories for chunk in result.chunks)
    starts = 1 if starts_once(config.transport, config.machine.head) else len(result.chunks)
    core_seconds = histories * result.seconds_per_history + starts * result.seconds_start_up
    typer.echo(
        f"{len(result.chunks)} chunks, {histories / 1e6:.2f} million photons, "
        f"about {core_seconds / 60:.0f} core-minutes."
    )


@app.command()
def simulate(
    case_folder: CaseFolder,
    chunk: Annotated[int | None, typer.Option(help="this chunk alone, whether it is there or not")] = None,
    job: Annotated[int | None, typer.Option(help="chunks of this job; without it and --chunk those of all")] = None,
    cores: Annotated[int, typer.Option(min=1, help="chunks at a time")] = 1,
) -> None:
    """transport: simulate the chunks of the plan that are not there yet."""
    from gatecheck.cli.progress import count_photons
    from gatecheck.transport.chunk import simulate_chunks_here
    from gatecheck.transport.jobs import chunks_of_job, longest_seconds, missing_chunks, write_job

    layout, config = _case(case_folder)
    plan, inputs = _planned(layout, config)
    if chunk is not None:
        wanted = [share for share in plan.chunks if share.index == chunk]
        if not wanted:
            last = plan.chunks[-1].index
            raise GatecheckError(f"--chunk {chunk}: the plan has chunks {plan.chunks[0].index} to {last}.")
    else:
        of_job = plan.chunks if job is None else chunks_of_job(plan, config.execution.chunks_per_job, job)
        wanted = missing_chunks(layout.transport, plan, of_job)
    if wanted:
        limit = longest_seconds(plan, config.execution.longest_chunk_minutes)
        simulate_chunks_here(inputs, wanted, at_a_time=cores, longest_seconds=limit)
    if job is not None:
        write_job(layout.transport, job, of_job)
    count = count_photons(layout)
    if count is not None:
        typer.echo(f"{len(wanted)} chunks: {count.done / 1e6:.2f} of {count.total / 1e6:.2f} million photons done.")


@app.command()
def reproduce(
    case_folder: CaseFolder,
    chunk: Annotated[int, typer.Option(help="number of the chunk")] = 1,
) -> None:
    """transport: simulate a chunk again and compare it with what is there, bit for bit."""
    from gatecheck.transport.reproduce import reproduce as simulate_again

    layout, config = _case(case_folder)
    plan, inputs = _planned(layout, config)
    found = simulate_again(inputs, plan, chunk)
    if not found.is_same:
        raise GatecheckError(
            f"chunk {chunk}: {len(found.different)} of {found.images} images are not the same bit for bit: "
            f"{', '.join(found.different)}. "
            + (
                "The machine or its libraries differ from those that simulated it, or the images were changed."
                if found.same_electron_steps
                else "Electrons took other recorded steps: those in gatecheck's cache were recorded again since, or on "
                "another machine."
            )
        )
    typer.echo(f"chunk {chunk}: {found.histories / 1e6:.2f} million photons again, {found.images} images the same.")


def _planned(layout: CaseLayout, config: Config) -> tuple[ChunkPlan, ChunkInputs]:
    """A case's plan, and what its chunks are simulated from, which is what it was made for."""
    from gatecheck.transport.chunk import ChunkInputs
    from gatecheck.transport.plan import check_plan
    from gatecheck.transport.rounds import read_plan

    plan = read_plan(layout.transport)
    inputs = ChunkInputs(
        delivery_path=layout.delivery,
        linac=_linac(layout, config),
        patient_folder=layout.patient,
        inputs_sha256=plan.inputs_sha256,
        settings=config.transport,
        dose_to=config.dose.dose_to,
        out_folder=layout.transport,
        head=config.machine.head,
        source=_source(layout, config),
        scratch_folder=config.execution.scratch,
    )
    check_plan(
        plan,
        delivery_path=inputs.delivery_path,
        linac=inputs.linac,
        patient_folder=inputs.patient_folder,
        settings=inputs.settings,
        dose_to=inputs.dose_to,
        head=inputs.head,
        source=inputs.source,
    )
    return plan, inputs


@app.command()
def top_up(
    case_folder: CaseFolder,
    number: Annotated[int, typer.Option("--round", min=1, max=3, help="after the pilot's")] = 1,
) -> None:
    """transport: whether what was wanted is reached, and how many chunks more it takes."""
    from gatecheck.compare.top_up import top_up as ask_for_more
    from gatecheck.files import read_json
    from gatecheck.transport.calibrate import check_calibration
    from gatecheck.transport.model import CalibrationResult

    layout, config = _case(case_folder)
    _, inputs = _planned(layout, config)
    calibration = read_json(layout.calibration, CalibrationResult)
    check_calibration(
        calibration, inputs.linac, config.transport, config.calibration, inputs.source, head=config.machine.head
    )
    result = ask_for_more(
        layout,
        config,
        number,
        linac=inputs.linac,
        prescription_gy=_prescription(layout, config),
        source=inputs.source,
    )
    for one in result.precisions:
        reached = "not to be had from this case" if one.reached is None else f"{one.reached:.2f} % reached"
        typer.echo(f"{one.name}: {one.wanted:.2f} % wanted, {reached}.")
    photons = sum(chunk.histories for chunk in result.chunks)
    typer.echo(f"round {number}: {len(result.chunks)} chunks more, {photons / 1e6:.2f} million photons.")


def _prescription(layout: CaseLayout, config: Config) -> float | None:
    """Gy of the whole course that per cents are of; None: neither configuration nor plan has one."""
    from gatecheck.case.storage import read_case

    return config.comparison.prescription_gy or read_case(layout.case).target_prescription_gy


@app.command()
def merge(case_folder: CaseFolder) -> None:
    """dose: add the chunks up to Gy with a standard deviation in every voxel."""
    from gatecheck.dose.merge import merge as merge_chunks
    from gatecheck.files import read_json
    from gatecheck.transport.calibrate import check_calibration
    from gatecheck.transport.model import CalibrationResult
    from gatecheck.transport.plan import check_plan
    from gatecheck.transport.rounds import read_plan

    layout, config = _case(case_folder)
    linac = _linac(layout, config)
    calibration = read_json(layout.calibration, CalibrationResult)
    source = _source(layout, config)
    check_calibration(calibration, linac, config.transport, config.calibration, source, head=config.machine.head)
    check_plan(
        read_plan(layout.transport),
        delivery_path=layout.delivery,
        linac=linac,
        patient_folder=layout.patient,
        settings=config.transport,
        dose_to=config.dose.dose_to,
        head=config.machine.head,
        source=source,
    )
    result = merge_chunks(
        transport_folder=layout.transport,
        patient_folder=layout.patient,
        delivery_path=layout.delivery,
        calibration=calibration,
        out_folder=layout.dose,
        prescription_gy=_prescription(layout, config),
    )
    for warning in result.warnings:
        typer.echo(f"warning: {warning}")
    typer.echo(
        f"maximum {result.maximum_gy:.2f} Gy, mean sigma above half of it {100 * result.mean_relative_sigma:.2f} %."
    )


@app.command()
def check_comparison(case_folder: CaseFolder) -> None:
    """compare: find what the configuration names in the case, before anything is simulated."""
    from gatecheck.compare.check import write_checked

    layout, config = _case(case_folder)
    result = write_checked(layout, config)
    typer.echo(f"{len(result.tumours)} tumours, {'a' if result.cord else 'no'} cord.")


@app.command()
def compare(case_folder: CaseFolder) -> None:
    """compare: dose-volume histograms, the interface of tumour and cord, EQD2, setup errors; and the TPS dose."""
    from gatecheck.compare.compare import compare as compare_doses

    layout, config = _case(case_folder)
    result = compare_doses(layout, config)
    typer.echo(f"{len(result.structures)} structures.")


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
def report(case_folder: CaseFolder) -> None:
    """report: what people read, report.html and report.pdf, and summary.json."""
    from gatecheck.report.html import write_report

    layout, config = _case(case_folder)
    write_report(layout.folder, layout.calibration, config.report, linac=_linac(layout, config), config=config)
    typer.echo("report.html, report.pdf and summary.json written.")


@app.command()
def export(
    case_folder: CaseFolder,
    what: Annotated[
        list[str] | None,
        typer.Argument(help="dose, sigma, difference, gamma; without it what report.dicom_doses says"),
    ] = None,
) -> None:
    """report: doses as RTDOSE files for the planning system."""
    from gatecheck.cli.export import run_export
    from gatecheck.config import ReportConfig

    layout, config = _case(case_folder)
    kinds = config.report.dicom_doses
    if what:
        try:
            kinds = ReportConfig(dicom_doses=what).dicom_doses
        except ValueError:
            raise InputError(f"export {' '.join(what)}: dose, sigma, difference or gamma expected.") from None
    run_export(layout, config, kinds)


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

    layout, config = _case(case_folder)
    request = ViewRequest(beam=beam, control_point=control_point, meterset=meterset, out=out)
    written = write_views(layout, _linac(layout, config), request, config.report.structures)
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


def _case(case_folder: Path) -> tuple[CaseLayout, Config]:
    layout = CaseLayout(case_folder)
    # Steps need none of the inputs' folders: results may have been moved, and the export be gone.
    return layout, load_config(layout.config, check_inputs=False)


def _linac(layout: CaseLayout, config: Config) -> LinacModel:
    from gatecheck.case.ingest import read_case
    from gatecheck.linac.load import choose_linac_model

    return choose_linac_model(
        resolve_models_folder(config), read_case(layout.case), model=config.machine.model, beam=config.machine.beam
    )


def _source(layout: CaseLayout, config: Config) -> PhaseSpaceSource | None:
    """The recorded phase space in place of the machine model's source, where the configuration asks for it."""
    if config.machine.source == "model":
        return None
    from gatecheck.transport.phase_space_source import open_source

    return open_source(config.machine.phase_space, _linac(layout, config), layout.transport)


def main() -> None:
    """Run the command line; refusals are one line on stderr and exit code 2."""
    try:
        app()
    except GatecheckError as error:
        _record(str(error))
        sys.stderr.write(f"gatecheck: {error}\n")
        sys.exit(error.exit_code)


def _record(message: str) -> None:
    """Leave the message where `verify` looks for it, since a rule's stderr goes to its log."""
    target = os.environ.get(ERROR_FILE_VARIABLE)
    if target:
        # On a full disk the message stays on stderr alone, and so in the step's log if that has room.
        with contextlib.suppress(OSError):
            Path(target).write_text(json.dumps({"message": message}), encoding="utf-8")


if __name__ == "__main__":
    main()
