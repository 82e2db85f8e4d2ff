"""The verb `gamma`: two dose files to one JSON object."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import typer

from gatecheck.case.loose_files import LooseDose, read_loose_dose
from gatecheck.compare.dose_image import DoseImage, read_dose_image, read_inside
from gatecheck.compare.gamma import GammaCriteria, GammaResult, gamma_map
from gatecheck.compare.sampling import VoxelGrid
from gatecheck.errors import InputError
from gatecheck.files import image_from_zyx, write_image

_META_IMAGE = (".mha", ".mhd")


@dataclass(frozen=True, slots=True)
class GammaOptions:
    """What the command line says; None where it is silent."""

    reference: Path
    evaluated: Path
    dose_percent: float
    distance: float
    cutoff_percent: float
    is_local: bool
    cap: float
    normalisation: float | None
    body: Path | None
    map_file: Path | None


def run_gamma(options: GammaOptions) -> None:
    """Read, compare, write the map where it is asked for, and print the result.

    Raises
    ------
    GatecheckError
        When a file, a criterion or a place to write to cannot be used.
    """
    criteria = GammaCriteria(
        dose_percent=options.dose_percent,
        distance=options.distance,
        is_local=options.is_local,
        cutoff_percent=options.cutoff_percent,
        cap=options.cap,
    )
    _check_map_file(options)
    reference, of_reference = _read(options.reference, "REFERENCE")
    evaluated, of_evaluated = _read(options.evaluated, "EVALUATED")
    _check_both(of_reference, of_evaluated)
    inside = None if options.body is None else read_inside(options.body, reference.grid, "--body")
    result = gamma_map(reference, evaluated, criteria, normalisation=options.normalisation, inside_zyx=inside)
    if options.map_file is not None:
        grid = result.grid
        write_image(options.map_file, image_from_zyx(result.gamma_zyx, origin=grid.origin, spacing=grid.spacing))
    typer.echo(json.dumps(_described(result), indent=1, allow_nan=False))


def _check_map_file(options: GammaOptions) -> None:
    target = options.map_file
    if target is None:
        return
    if target.suffix not in _META_IMAGE[:1]:
        raise InputError(f"--map {target.name}: a name that ends in .mha expected.")
    read = (options.reference, options.evaluated, options.body)
    if any(path is not None and path.resolve() == target.resolve() for path in read):
        raise InputError(f"--map {target.name}: is one of the files compared. Give another name.")
    if target.is_dir() or not target.parent.is_dir():
        raise InputError(f"--map {target.name}: a file in a folder that exists expected.")


def _read(path: Path, place: str) -> tuple[DoseImage, LooseDose | None]:
    """A dose, and what an RTDOSE says of it. Messages call files as the command line does: names may be patients'."""
    if path.suffix.lower() in _META_IMAGE:
        return read_dose_image(path, place), None
    dose = read_loose_dose(path, place)
    return DoseImage(dose.values_zyx, VoxelGrid(dose.grid.size, dose.grid.spacing, dose.grid.origin)), dose


def _check_both(reference: LooseDose | None, evaluated: LooseDose | None) -> None:
    """Refuse two RTDOSE that are of different things."""
    if reference is None or evaluated is None:
        return
    if reference.frame_of_reference != evaluated.frame_of_reference:
        raise InputError(
            "EVALUATED: lies in another Frame of Reference (0020,0052) than REFERENCE: the same coordinates are not "
            "the same place. Give doses of one frame, or resampled MetaImages."
        )
    if reference.summation_type != evaluated.summation_type:
        raise InputError(
            f"EVALUATED: Dose Summation Type (3004,000A) {evaluated.summation_type or 'absent'} found, "
            f"{reference.summation_type or 'absent'} as in REFERENCE expected: one dose is of more than the other."
        )


def _described(result: GammaResult) -> dict[str, object]:
    return {
        "points": result.points,
        "passed": result.passed,
        "pass_rate": result.pass_rate,
        "unreachable": result.unreachable,
        "mean": result.mean,
        "p99": result.p99,
        "criteria": dataclasses.asdict(result.criteria) | {"normalisation": result.normalisation},
    }
