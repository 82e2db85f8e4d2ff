"""The verb `dvh`: a dose and a structure set to the doses of every structure, as one JSON object."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from gatecheck.case.attributes import Notes
from gatecheck.case.loose_files import LooseDose, read_loose_dose, read_loose_structures
from gatecheck.case.masks import Mask
from gatecheck.compare.dvh import METRICS, SMALL_VOLUMES
from gatecheck.compare.sampling import points_of
from gatecheck.compare.structure_dose import Dose, structure_dose
from gatecheck.files import image_from_zyx


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StructureDoses(_Part):
    """One structure's metrics, Gy; None where there is no such dose, and the note says why."""

    volume_ml: float
    covered_fraction: float = Field(description="part of the volume inside the dose grid")
    metrics: dict[str, float | None]
    note: str = ""


class DosesOfStructures(_Part):
    """What the verb prints."""

    assumed: tuple[str, ...]
    warnings: tuple[str, ...]
    structures: dict[str, StructureDoses]


def doses_of_structures(dose_file: Path, structure_set: Path, *, is_mean: bool = False) -> DosesOfStructures:
    """Read a dose (MetaImage or RTDOSE) and the doses of an RTSTRUCT's structures from it.

    Parameters
    ----------
    is_mean : bool
        Whether a voxel's dose is the mean over it, as a Monte Carlo scores it, and not the dose at its centre.

    Raises
    ------
    GatecheckError
        When a file cannot be used, or both do not belong together.
    """
    notes = Notes()
    loose = read_loose_dose(dose_file)
    read = read_loose_structures(structure_set, loose.frame_of_reference, notes)
    image = image_from_zyx(loose.values_zyx, origin=loose.grid.origin, spacing=loose.grid.spacing)
    dose = Dose.of_means(image) if is_mean else Dose.of(image)
    largest_step = min(loose.grid.spacing) / 2
    return DosesOfStructures(
        assumed=_assumed(loose, read.slice_spacing, is_mean=is_mean),
        warnings=tuple(warning.message for warning in notes.warnings),
        structures={structure.name: _doses(mask, dose, largest_step) for structure, mask in read.structures},
    )


def _assumed(loose: LooseDose, slice_spacing: float, *, is_mean: bool) -> tuple[str, ...]:
    assumed = (
        f"Slices are {slice_spacing:g} mm apart, the commonest distance between contours.",
        "A contour stands for a slab that reaches half-way to its neighbours; the first and last reach half a contour "
        "spacing outwards.",
        "The dose of a voxel is the mean over it; from these the doses at the centres are calculated."
        if is_mean
        else "The dose of a voxel is that at its centre. Of a Monte Carlo say --voxel-means.",
        "Between the centres of its voxels the dose is a cubic spline. It has no noise: values are as they are found.",
    )
    if loose.frame_of_reference:
        return assumed
    return (*assumed, "The MetaImage holds Gy in the patient coordinates (LPS, mm) of the structure set.")


def _doses(mask: Mask | None, dose: Dose, largest_step: float) -> StructureDoses:
    nothing: dict[str, float | None] = dict.fromkeys(METRICS)
    if mask is None:
        return StructureDoses(
            volume_ml=0.0, covered_fraction=0.0, metrics=nothing, note="Empty: no contour with a volume."
        )
    image = image_from_zyx(mask.values_zyx, origin=mask.grid.origin, spacing=mask.grid.spacing)
    found = structure_dose(image, points_of(image, largest_step=largest_step), dose, largest_step=largest_step)
    if found is None:
        return StructureDoses(
            volume_ml=mask.volume_ml, covered_fraction=0.0, metrics=nothing, note="Wholly outside of the dose grid."
        )
    metrics = {name: None if metric is None else metric.value for name, metric in found.metrics()}
    return StructureDoses(
        volume_ml=mask.volume_ml,
        covered_fraction=found.covered_fraction,
        metrics=metrics,
        note=_note(found.covered_fraction, found.whole.volume),
    )


def _note(covered: float, volume: float) -> str:
    notes = []
    if covered < 0.999:
        notes.append(
            f"{100 * (1 - covered):.1f} % of the volume lies outside of the dose grid; values are of the rest."
        )
    notes += [
        f"{name}: only {volume / 1000:.4f} ml, less than {small / 1000:g} ml, lie in the dose grid."
        for name, small in SMALL_VOLUMES.items()
        if volume < small
    ]
    return " ".join(notes)
