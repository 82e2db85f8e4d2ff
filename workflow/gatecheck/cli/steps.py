"""One verb for each step of the workflow, room by room."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gatecheck.cli.app import CaseFolder, app, case_to_work_on, linac_of, source_of
from gatecheck.config import Config, resolve_models_folder
from gatecheck.config_recalculation import CHANGES
from gatecheck.errors import GatecheckError, InputError
from gatecheck.layout import CaseLayout, linac_results_folder

if TYPE_CHECKING:
    from gatecheck.transport.chunk import ChunkInputs
    from gatecheck.transport.model import ChunkPlan


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

    layout, config = case_to_work_on(case_folder)
    linac = linac_of(layout, config)
    delivery = deliver_case(read_case(layout.case))
    write_delivery(delivery, layout.delivery)
    typer.echo(f"{len(delivery.beams)} beams, {delivery.total_meterset:.1f} MU a fraction, on {linac.name}.")


@app.command()
def deliver_logged(case_folder: CaseFolder) -> None:
    """delivery: what the machine did, by the case's trajectory logs."""
    from gatecheck.cli.recalculate import run_deliver_logged

    run_deliver_logged(*case_to_work_on(case_folder))


@app.command()
def voxelise(case_folder: CaseFolder) -> None:
    """patient: materials and densities, on fine and coarse voxels."""
    from gatecheck.patient.voxelise import voxelise as voxelise_case

    layout, config = case_to_work_on(case_folder)
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

    layout, config = case_to_work_on(case_folder)
    check_comparison(layout, config)  # a misspelt structure must not be found out after hours
    try:
        result = calibrate_linac(
            linac_of(layout, config),
            settings=config.transport,
            calibration=config.calibration,
            dose_to=config.dose.dose_to,
            out_root=linac_results_folder(layout.folder.resolve().parent),
            progress=lambda progress: write_calibration_progress(layout.transport, progress),
            head=config.machine.head,
            source=source_of(layout, config),
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

    layout, config = case_to_work_on(case_folder)
    check_comparison(layout, config)
    result = plan(
        delivery_path=layout.delivery,
        linac=linac_of(layout, config),
        patient_folder=layout.patient,
        settings=config.transport,
        dose_to=config.dose.dose_to,
        out_folder=layout.transport,
        head=config.machine.head,
        source=source_of(layout, config),
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

    layout, config = case_to_work_on(case_folder)
    plan, inputs = planned(layout, config)
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


def planned(layout: CaseLayout, config: Config) -> tuple[ChunkPlan, ChunkInputs]:
    """A case's plan, and what its chunks are simulated from, which is what it was made for."""
    from gatecheck.transport.chunk import ChunkInputs
    from gatecheck.transport.plan import check_plan
    from gatecheck.transport.rounds import read_plan

    plan = read_plan(layout.transport)
    inputs = ChunkInputs(
        delivery_path=layout.delivery,
        linac=linac_of(layout, config),
        patient_folder=layout.patient,
        inputs_sha256=plan.inputs_sha256,
        settings=config.transport,
        dose_to=config.dose.dose_to,
        out_folder=layout.transport,
        head=config.machine.head,
        source=source_of(layout, config),
        scratch_folder=config.execution.scratch,
        electron_steps_sha256=plan.electron_steps_sha256,
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

    layout, config = case_to_work_on(case_folder)
    _, inputs = planned(layout, config)
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

    layout, config = case_to_work_on(case_folder)
    linac = linac_of(layout, config)
    calibration = read_json(layout.calibration, CalibrationResult)
    source = source_of(layout, config)
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
        f"highest voxel {result.maximum_gy:.2f} Gy as scored, mean sigma of {result.fine_voxels} fine voxels above "
        f"{result.fine_above_gy:.1f} Gy {100 * result.fine_relative_sigma:.2f} %."
    )


@app.command()
def check_comparison(case_folder: CaseFolder) -> None:
    """compare: find what the configuration names in the case, before anything is simulated."""
    from gatecheck.compare.check import write_checked

    layout, config = case_to_work_on(case_folder)
    result = write_checked(layout, config)
    typer.echo(f"{len(result.tumours)} tumours, {'a' if result.cord else 'no'} cord.")


@app.command()
def compare(case_folder: CaseFolder) -> None:
    """compare: dose-volume histograms, the interface of tumour and cord, EQD2, setup errors; and the TPS dose."""
    from gatecheck.compare.compare import compare as compare_doses

    layout, config = case_to_work_on(case_folder)
    result = compare_doses(layout, config)
    typer.echo(f"{len(result.structures)} structures.")


@app.command()
def recalculate(
    case_folder: CaseFolder,
    change: Annotated[str, typer.Argument(help=f"what differs from the plan: {', '.join(CHANGES)}")],
    cores: Annotated[int, typer.Option(min=1, help="chunks at a time")] = os.cpu_count() or 1,
) -> None:
    """compare: simulate the case's photons again with something changed, for what that does to the dose."""
    from gatecheck.cli.recalculate import run_recalculate
    from gatecheck.dose.chunks import check_plan_is_there

    if change not in CHANGES:
        raise InputError(f"{change} found, expected one of {', '.join(CHANGES)}.")
    layout, config = case_to_work_on(case_folder)
    check_plan_is_there(layout.transport, layout.dose)
    _, inputs = planned(layout, config)
    run_recalculate(layout, inputs.linac, config, change, cores=cores)


@app.command()
def error_budget(case_folder: CaseFolder) -> None:
    """compare: what the doses of tumour and cord are uncertain by, and from what."""
    from gatecheck.compare.error_budget import error_budget as gather

    budget = gather(*case_to_work_on(case_folder))
    for one in budget.metrics:
        unknown = f", without {' and '.join(one.unknown)}" if one.unknown else ""
        typer.echo(f"{one.structure} {one.metric}: {one.value_gy:.2f} +- {one.total_gy:.2f} Gy (k = 1{unknown})")


@app.command()
def report(case_folder: CaseFolder) -> None:
    """report: what people read, report.html and report.pdf, and summary.json."""
    from gatecheck.linac.acceptance import read_acceptance
    from gatecheck.report.html import write_report

    layout, config = case_to_work_on(case_folder)
    linac = linac_of(layout, config)
    acceptance = read_acceptance(resolve_models_folder(config) / linac.name, config.machine.beam)
    write_report(layout.folder, layout.calibration, config.report, linac=linac, acceptance=acceptance, config=config)
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

    layout, config = case_to_work_on(case_folder)
    kinds = config.report.dicom_doses
    if what:
        try:
            kinds = ReportConfig(dicom_doses=what).dicom_doses
        except ValueError:
            raise InputError(f"export {' '.join(what)}: dose, sigma, difference or gamma expected.") from None
    run_export(layout, config, kinds)
