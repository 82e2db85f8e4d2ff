"""From a case to the patient model: the whole of this room in one call."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.case.model import Case
from gatecheck.case.storage import read_case
from gatecheck.config import PatientConfig
from gatecheck.errors import InputError, ResultError
from gatecheck.files import (
    image_from_zyx,
    read_json,
    sha256_of_file,
    sha256_of_json,
    write_image,
    write_json,
)
from gatecheck.patient.boxes import Extent, Tiling, VoxelGrid, tile
from gatecheck.patient.calibration import Calibration, read_calibration
from gatecheck.patient.composition import HIGHEST_DENSITY
from gatecheck.patient.materials import LabelledMatter, bin_materials
from gatecheck.patient.matter import Override, average_matter, matter_on_ct
from gatecheck.patient.model import Grid, PatientModel, VoxelBox
from gatecheck.patient.outline import Outline, find_outline
from gatecheck.patient.resample import average_onto
from gatecheck.patient.scan import FloatImage, Scan, read_scan
from gatecheck.patient.structures import by_name, listed, targets

logger = logging.getLogger(__name__)

PATIENT_FILE = "patient.json"
BODY_FILE = "body.mha"

MOST_VOXELS_OF_JOINED_GRID = 80_000_000


@dataclass(frozen=True, slots=True)
class _Kept:
    """Fractions, on a scan's grid, of what is not air outside of the body."""

    fraction: FloatImage
    overrides: tuple[Override, ...]


def voxelise(case_folder: Path, out_folder: Path, settings: PatientConfig) -> PatientModel:
    """Turn CT and structures into boxes of voxels with materials.

    Writes `patient.json`, one label image per box and the body mask on the joined grid.

    Raises
    ------
    InputError
        When the configuration names a structure that is not there, the calibration cannot be used,
        no body or no target can be found, or the voxels are too many.
    ResultError
        When the case cannot be read.
    """
    case = read_case(case_folder, check_images=True)
    calibration = read_calibration(settings.ct_calibration)
    scan = read_scan(case_folder, case)
    outline = find_outline(scan, case, settings.body_structure)
    tiling = _tiling(scan, case, outline, settings)
    cut = scan.cut_to(tiling.joined)
    body = outline.on(cut)
    kept = _kept(cut, case, body, settings)
    warnings = [*outline.warnings, *_warn_of_settings(settings), *_warn_of_metal(cut, kept, calibration)]
    labelled = _labelled(cut, kept, calibration, tiling)
    logger.info("%d boxes, %d materials", len(tiling.boxes), len(labelled.materials))
    # Label images of this model beside the description of an earlier one must not be taken for a model.
    (out_folder / PATIENT_FILE).unlink(missing_ok=True)
    body_mask = average_onto(tiling.joined, cut.grid, body) > 0.5
    model = PatientModel(
        made_from={
            "case": case.content_sha256,
            "ct": case.ct.sha256,
            "settings": _sha256_of_settings(settings),
        },
        boxes=_write_boxes(out_folder, tiling, labelled),
        materials=labelled.materials,
        joined_grid=_grid(tiling.joined),
        body_mask=BODY_FILE,
        calibration=calibration.description,
        warnings=tuple(warnings),
    )
    _write_zyx(out_folder / BODY_FILE, body_mask.astype(np.uint8), tiling.joined)
    write_json(out_folder / PATIENT_FILE, model)
    for warning in warnings:
        logger.warning(warning)
    return model


def _warn_of_settings(settings: PatientConfig) -> list[str]:
    """What the configuration changes of the CT: whoever signs has to know."""
    warnings = [
        f"Density override: {name} is {density:g} g/cm3 by the configuration, whatever the CT shows."
        for name, density in settings.density_overrides.items()
    ]
    if settings.couch_structures:
        warnings.append(f"Kept outside of the body by the configuration: {', '.join(settings.couch_structures)}.")
    return warnings


def read_patient(patient_folder: Path) -> PatientModel:
    """Read a patient model back.

    Raises
    ------
    ResultError
        When it or one of its images is missing, or a label image is not the one it was written with.
    """
    model = read_json(patient_folder / PATIENT_FILE, PatientModel)
    for name in [box.labels for box in model.boxes] + [model.body_mask]:
        if not (patient_folder / name).exists():
            raise ResultError(f"{name}: not found in {patient_folder.name}/. Run gatecheck voxelise again.")
    for box in model.boxes:
        if sha256_of_file(patient_folder / box.labels) != box.sha256:
            raise ResultError(f"{box.labels}: not the image that {PATIENT_FILE} names. Run gatecheck voxelise again.")
    return model


def _tiling(scan: Scan, case: Case, outline: Outline, settings: PatientConfig) -> Tiling:
    whole = outline.extent
    for name, key in _named_outside(settings):
        extent = scan.extent_of(scan.inside_fraction(by_name(case.structures, name, key=key)))
        whole = whole if extent is None else whole.joined_with(extent)
    tiling = tile(
        whole.grown(settings.margin_around_body),
        _fine_extent(scan, case, settings),
        anchor=scan.grid.corner,
        coarse_spacing=settings.coarse_voxel_size,
        fine_spacing=settings.fine_voxel_size,
    )
    if tiling.joined.voxels > MOST_VOXELS_OF_JOINED_GRID:
        key = "coarse_voxel_size" if settings.fine_voxel_size is None else "fine_voxel_size"
        raise InputError(
            f"patient.{key}: {tiling.joined.spacing:g} mm makes {tiling.joined.voxels / 1e6:.0f} million voxels of "
            f"the grid on which doses are joined; at most {MOST_VOXELS_OF_JOINED_GRID / 1e6:.0f} million can be "
            "used. Give a larger size."
        )
    return tiling


def _named_outside(settings: PatientConfig) -> list[tuple[str, str]]:
    """Structures that are kept even where they lie outside of the body, with the key that names them."""
    couch = [(name, "patient.couch_structures") for name in settings.couch_structures]
    return couch + [(name, "patient.density_overrides") for name in settings.density_overrides]


def _fine_extent(scan: Scan, case: Case, settings: PatientConfig) -> Extent | None:
    if settings.fine_voxel_size is None:
        return None
    key = "patient.fine_region_structures"
    chosen = tuple(by_name(case.structures, name, key=key) for name in settings.fine_region_structures)
    chosen = chosen or targets(case.structures)
    extent: Extent | None = None
    for structure in chosen:
        own = scan.extent_of(scan.inside_fraction(structure))
        if own is not None:
            extent = own if extent is None else extent.joined_with(own)
    if extent is None:
        raise InputError(
            "patient.fine_voxel_size: fine voxels are asked for, but no structure is a GTV, CTV or PTV by type or "
            f"name. Name some in {key}, or leave fine_voxel_size empty. {listed(case.structures)}"
        )
    return extent.grown(settings.fine_region_margin)


def _kept(scan: Scan, case: Case, body: FloatImage, settings: PatientConfig) -> _Kept:
    fraction = body
    for name in settings.couch_structures:
        couch = scan.inside_fraction(by_name(case.structures, name, key="patient.couch_structures"))
        fraction = np.maximum(fraction, couch)
    overrides = []
    for name, density in settings.density_overrides.items():
        if density > HIGHEST_DENSITY:
            raise InputError(
                f"patient.density_overrides: {density:g} g/cm3 for {name!r}; a composition is known up to "
                f"{HIGHEST_DENSITY:g} g/cm3 (tissue, bone, titanium above 3, stainless steel above 6)."
            )
        inside = scan.inside_fraction(by_name(case.structures, name, key="patient.density_overrides"))
        overrides.append(Override(inside, density))
    return _Kept(fraction, tuple(overrides))


def _warn_of_metal(scan: Scan, kept: _Kept, calibration: Calibration) -> list[str]:
    beyond = (scan.ct_zyx > calibration.warn_above) & (kept.fraction > 0.5)
    for override in kept.overrides:
        beyond &= override.inside < 0.5
    voxels = int(beyond.sum())
    if not voxels:
        return []
    millilitres = voxels * float(np.prod(scan.grid.spacing)) / 1000
    found = f"{voxels} CT voxels of the body ({millilitres:.2g} ml) have CT numbers above {calibration.warn_above:g}"
    if calibration.composition_from_density:
        what = f"where the calibration ends; they take its last density, {calibration.densities[-1]:g} g/cm3"
    else:
        what = (
            "where Schneider's table of compositions ends; their density goes on along its line for bone (up to "
            f"{calibration.densities[-1]:.2f} g/cm3 at {calibration.highest:g}), their composition is dense bone's"
        )
    return [f"{found}, {what}. If this is metal, give its density in patient.density_overrides."]


def _labelled(scan: Scan, kept: _Kept, calibration: Calibration, tiling: Tiling) -> LabelledMatter:
    matter = matter_on_ct(scan.ct_zyx, scan.grid, calibration=calibration, kept=kept.fraction, overrides=kept.overrides)
    return bin_materials(tuple(average_matter(matter, box.grid) for box in tiling.boxes))


def _write_boxes(out_folder: Path, tiling: Tiling, labelled: LabelledMatter) -> tuple[VoxelBox, ...]:
    written = []
    for box, labels in zip(tiling.boxes, labelled.labels, strict=True):
        path = out_folder / f"{box.name}.mha"
        _write_zyx(path, labels, box.grid)
        grid = _grid(box.grid)
        written.append(
            VoxelBox(
                name=box.name,
                role=box.role,
                labels=path.name,
                sha256=sha256_of_file(path),
                size=grid.size,
                spacing=grid.spacing,
                origin=grid.origin,
            )
        )
    return tuple(written)


def _write_zyx(path: Path, values_zyx: npt.NDArray[np.generic], grid: VoxelGrid) -> None:
    spacing = (grid.spacing, grid.spacing, grid.spacing)
    write_image(path, image_from_zyx(values_zyx, origin=grid.origin, spacing=spacing))


def _grid(grid: VoxelGrid) -> Grid:
    return Grid(size=grid.size, spacing=(grid.spacing, grid.spacing, grid.spacing), origin=grid.origin)


def _sha256_of_settings(settings: PatientConfig) -> str:
    """The site's path to its calibration does not matter, its content does."""
    content = settings.model_dump(mode="json")
    if settings.ct_calibration is not None:
        content["ct_calibration"] = sha256_of_file(settings.ct_calibration)
    return sha256_of_json(content)
