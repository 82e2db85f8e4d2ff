"""report/report.html: one file, no network, everything that is known; and the same on paper, report.pdf."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gatecheck.compare.biology.model import EffectiveMetrics
from gatecheck.config import Config, ReportConfig
from gatecheck.errors import ResultError, WriteError
from gatecheck.files import write_atomically, write_json
from gatecheck.forks import in_forks
from gatecheck.layout import CaseLayout
from gatecheck.linac.acceptance import Acceptance
from gatecheck.linac.model import LinacModel
from gatecheck.report import recalculated_words, style, words
from gatecheck.report.beams_eye_view import JAW_COLOUR, STRUCTURE_COLOUR
from gatecheck.report.case_beams_eye_views import views_of_beam
from gatecheck.report.case_figures import (
    STAMP,
    TARGET_TYPES,
    CaseFigures,
    PlaneSet,
    draw_figures,
    in_reading_order,
)
from gatecheck.report.compared_words import metric_name
from gatecheck.report.inputs import ReportInputs, read_images, read_inputs
from gatecheck.report.interface_figures import CLEAR, REGION_MARKS, draw_interface
from gatecheck.report.interface_tables import gamma_table
from gatecheck.report.pdf import Running, pdf_of
from gatecheck.report.records import records_of
from gatecheck.report.sections import context_of_sections
from gatecheck.report.statement import stated
from gatecheck.report.style import Normalisation, normalisation
from gatecheck.report.summary import Summary, SummaryStructure, named_structures, summarise
from gatecheck.report.viewer import ViewerPage, viewer_of
from gatecheck.report.viewer_gamma import gamma_layers

MAXIMUM_BYTES = 15_000_000

_logger = logging.getLogger(__name__)


def write_report(
    results_case_folder: Path,
    calibration_path: Path,
    settings: ReportConfig,
    *,
    linac: LinacModel | None = None,
    acceptance: Acceptance | None = None,
    config: Config | None = None,
) -> Path:
    """Draw the report of one case and write report.html, report.pdf and summary.json into its report folder.

    Parameters
    ----------
    results_case_folder : the case's folder of results
    calibration_path : the calibration that the dose was made with
    linac : the machine model; without it the beam's-eye views are left out, and what it says is "not recorded"
    acceptance : who took the model for which machine; without it the report warns that nobody did
    config : the case's configuration; without it what it alone says is "not recorded"

    Returns
    -------
    Path
        Of report.html.

    Raises
    ------
    ResultError
        When an earlier step's file is missing, damaged or does not belong to the others.
    WriteError
        When the files cannot be written. None is written unless all could be made.
    """
    layout = CaseLayout(results_case_folder)
    inputs = read_inputs(layout, calibration_path, config.changes if config is not None else ())
    if linac is not None:
        _check_machine(inputs, linac)
    records = records_of(inputs, linac=linac, config=config)
    summary = stated(summarise(inputs, settings.structures, records=records, linac=linac, acceptance=acceptance))
    scale = normalisation(summary)
    summary = summary.model_copy(update={"normalisation_gy": scale.gray, "normalisation_of": scale.of_what})
    images = read_images(inputs)
    figures = draw_figures(inputs, images, summary, scale, settings.structures)
    show = functools.partial(
        viewer_of,
        inputs,
        images,
        summary,
        scale,
        overlays=figures.overlays,
        preferred=settings.structures,
        gammas=tuple(gamma_layers(inputs, images)),
    )
    viewer, views, of_sections = _drawn(inputs, linac, figures, summary, show)
    draw = functools.partial(render, inputs, summary, scale, figures, settings, views=views, of_sections=of_sections)
    text = draw(viewer=viewer)
    too_much = len(text.encode("utf-8")) - MAXIMUM_BYTES
    if 0 < too_much < len(viewer.data):
        # The figures and numbers come first: the viewer takes what they leave.
        text = draw(viewer=show(most_characters=len(viewer.data) - too_much))
    made_by = f"gatecheck {summary.gatecheck}"
    pages = {
        "report.html": text.encode("utf-8"),
        "report.pdf": pdf_of(text, Running(settings.title, summary.case_id, made_by, is_clinical=summary.clinical)),
    }
    for name, content in pages.items():
        _check_size(name, content)
    write_json(layout.report / "summary.json", summary)
    for name, content in pages.items():
        with write_atomically(layout.report / name) as temporary:
            temporary.write_bytes(content)
        _logger.info("%s: %.1f MB, %d warnings", name, len(content) / 1e6, len(summary.warnings))
    return layout.report / "report.html"


def _drawn(
    inputs: ReportInputs,
    linac: LinacModel | None,
    figures: CaseFigures,
    summary: Summary,
    show: Callable[[], ViewerPage],
) -> tuple[ViewerPage, tuple[PlaneSet, ...], dict[str, Any]]:
    """The viewer, every beam as its source sees it (none without a machine model), and what sections show."""
    stamp = "" if summary.clinical else STAMP
    to_draw: list[Callable[[], Any]] = [
        show,
        lambda: context_of_sections(summary, stamp),
        lambda: _of_comparison(inputs, summary, stamp),
    ]
    if linac is not None:
        for beam in inputs.delivery.beams:
            to_draw.append(functools.partial(views_of_beam, beam, inputs.delivery, linac, figures.overlays, stamp))
    viewer, sections, comparison, *views = in_forks(to_draw)
    return viewer, tuple(views), sections | comparison


def _check_size(name: str, content: bytes) -> None:
    if len(content) > MAXIMUM_BYTES:
        raise WriteError(
            f"{name}: {len(content) / 1e6:.1f} MB, more than the {MAXIMUM_BYTES / 1e6:.0f} MB that it may be."
        )


def _check_machine(inputs: ReportInputs, linac: LinacModel) -> None:
    if linac.content_sha256 != inputs.calibration.linac_sha256:
        raise ResultError(
            f"The machine model {linac.name} is not the one that the dose was made with (by SHA-256). "
            "Run gatecheck verify again."
        )


def render(
    inputs: ReportInputs,
    summary: Summary,
    scale: Normalisation,
    figures: CaseFigures,
    settings: ReportConfig,
    *,
    views: Sequence[PlaneSet] = (),
    of_sections: dict[str, Any],
    viewer: ViewerPage,
) -> str:
    """Fill the template; every text of the plan is escaped."""
    structures = _structures_in_order(inputs, summary, settings)
    template = template_environment().get_template("report.html.j2")
    return template.render(
        title=settings.title,
        s=summary,
        scale=scale,
        isodoses_reached=[isodose for isodose in scale.isodoses if isodose.gray < summary.maximum_gy],
        isodoses_not_reached=[isodose for isodose in scale.isodoses if isodose.gray >= summary.maximum_gy],
        figures=figures,
        views=views,
        viewer=viewer,
        view_colours={"jaws": JAW_COLOUR, "structures": STRUCTURE_COLOUR},
        structures=structures,
        targets=[(name, one.mc) for name, one in structures if one.interpreted_type in TARGET_TYPES and one.mc],
        metrics=METRICS,
        whole_region=words.WHOLE_REGION,
        patient=inputs.patient,
        window_level=style.WINDOW_LEVEL,
        window_width=style.WINDOW_WIDTH,
        difference_percent=style.DIFFERENCE_RANGE_PERCENT,
        delivered_percent=style.DELIVERED_RANGE_PERCENT,
        symbols=_MARKER_SYMBOLS,
        **of_sections,
        **recalculated_words.of_recalculations(summary),
    )


def _of_comparison(inputs: ReportInputs, summary: Summary, stamp: str) -> dict[str, Any]:
    """What the parts of the template that show the interface, EQD2 and setup errors need beside the summary."""
    tumours, setup = summary.interface.tumours, summary.setup
    tables = inputs.compared.surface_maps
    return {
        "is_judged": any(verdict.outcome != "not assessed" for one in tumours for verdict in one.verdicts),
        "interface": [
            (tumour, draw_interface(tumour, table, stamp), gamma_table(tumour))
            for tumour, table in zip(tumours, tables, strict=True)
        ],
        "region_marks": REGION_MARKS,
        "clear": CLEAR,
        "biology_metrics": [(key, metric_name(key)) for key in EffectiveMetrics.model_fields],
        "setup_percentiles": sorted(
            {band.percentile for one in setup.structures for metric in one.metrics for band in metric.bands}
        ),
        "setup_exceedances": [
            (one.name, metric.metric, exceedance, metric.is_noise_dominated)
            for one in setup.structures
            for metric in one.metrics
            for exceedance in metric.exceedances
        ],
        "setup_check_left_out": inputs.compared.setup_check_left_out,
    }


METRICS = (
    ("mean_gy", "Mean"),
    ("d95_gy", "D95 %"),
    ("d50_gy", "D50 %"),
    ("d2_gy", "D2 %"),
    ("d003cc_gy", "D0.03 cc"),
    ("d001cc_gy", "D0.01 cc"),
    ("max_gy", "Maximum"),
)

# The markers of matplotlib as SVG shapes centred on (16, 7).
_MARKER_SYMBOLS = {
    "o": Markup('<circle cx="16" cy="7" r="3.4"/>'),
    "s": Markup('<rect x="12.8" y="3.8" width="6.4" height="6.4"/>'),
    "^": Markup('<path d="M16 2.8 19.8 10.2H12.2Z"/>'),
    "v": Markup('<path d="M16 11.2 12.2 3.8H19.8Z"/>'),
    "D": Markup('<path d="M16 2.6 20.4 7 16 11.4 11.6 7Z"/>'),
    "P": Markup('<path d="M14.8 2.8h2.4v3h3v2.4h-3v3h-2.4v-3h-3V5.8h3Z"/>'),
    "X": Markup('<path d="M12.6 5 14 3.6l2 2 2-2L19.4 5l-2 2 2 2L18 10.4l-2-2-2 2L12.6 9l2-2Z"/>'),
}


def _structures_in_order(
    inputs: ReportInputs, summary: Summary, settings: ReportConfig
) -> list[tuple[str, SummaryStructure]]:
    ordered = in_reading_order(named_structures(inputs), settings.structures)
    return [(name, summary.structures[name]) for name, _ in ordered]


def template_environment() -> Environment:
    """Of the pages that this room writes: whatever is put into them is escaped."""
    environment = Environment(
        loader=PackageLoader("gatecheck.report", "."),
        autoescape=lambda name: name is None or name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(words.FILTERS | recalculated_words.FILTERS)
    return environment
