"""The clinical cases of the reference, made as complete DICOM sets with a dose of a stand-in planning system.

After Mori et al., Int. J. Radiat. Res. 18(3):599-604 (2020): intramedullary tumours of the cervical cord, 39 Gy
in 13 fractions by two full arcs of a TrueBeam STx (HD120, 6 MV), no PTV margin, D95 at 95 % of 39 Gy. A case is a
neck (`neck`, sizes from a file), aims, and the plan that `planning.optimise` found for them (from a file).
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from gatecheck.case.model import Beam, PatientPosition
from gatecheck.files import read_json
from gatecheck.phantoms.arcs import ArcPrescription, arc_onto_target
from gatecheck.phantoms.dicom_writer import (
    Identity,
    StructureDrawing,
    Uids,
    write_ct,
    write_dose,
    write_plan,
    write_structures,
)
from gatecheck.phantoms.neck import Neck
from gatecheck.phantoms.planning.beam_model import stored_beam
from gatecheck.phantoms.planning.engine import DoseEngine, Patient
from gatecheck.phantoms.planning.openings import Segment, segments_of
from gatecheck.phantoms.planning.plane_dose import commissioned
from gatecheck.phantoms.solids import Raster, Sections, contours_of, paint

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

FRACTIONS = 13
PRESCRIPTION_GY = 39.0
WANTED_D95_GY = 0.95 * PRESCRIPTION_GY
CONTROL_POINTS = 178
PATIENT_POSITION: PatientPosition = "HFS"

_JAW_MARGIN = 3.0
_DOSE_SPACING = 1.0  # mm; 1.25 mm leave 0.46 % of the core's dose open, by how voxels are read
_DOSE_HALF_HEIGHT = 40.0  # mm above and below the tumour's centre
_FOLDER = Path(__file__).parent


class PlanParameters(BaseModel):
    """What the optimisation chooses."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    aperture_margin: float = Field(description="from the tumour's projection to the leaves, mm at the isocentre plane")
    angle_weights: tuple[float, ...] = Field(
        description="meterset per degree at evenly spaced gantry angles from 0, relative to their mean; linear between"
    )
    total_meterset: float = Field(description="MU per fraction, both arcs")


@dataclass(frozen=True, slots=True)
class ClinicalCase:
    """One case.

    Attributes
    ----------
    name : str
        Also of its files, and the seed of its UIDs.
    neck : Neck
    wanted_maximum_gy : float
        In the tumour, all fractions.
    airway_name : str
        Of the structure.
    """

    name: str
    neck: Neck
    wanted_maximum_gy: float
    airway_name: str

    @property
    def isocentre(self) -> tuple[float, float, float]:
        """On the cord's axis, so that the tumour goes round it."""
        return self.neck.cord_centre

    def ct(self) -> npt.NDArray[np.int16]:
        """CT numbers on the neck's raster, indexed [z, y, x]."""
        return paint(self.neck.anatomy(), self.neck.raster)

    def parameters(self) -> PlanParameters:
        """The plan that the optimisation found."""
        return read_json(_FOLDER / f"{self.name}_plan.json", PlanParameters)

    def beams(
        self, parameters: PlanParameters | None = None, *, control_points: int = CONTROL_POINTS
    ) -> tuple[Beam, ...]:
        """The two arcs, clockwise with collimator 30 and back with collimator 330 degrees."""
        chosen = self.parameters() if parameters is None else parameters
        half = chosen.total_meterset / 2
        arcs = (
            ArcPrescription(1, "Arc 1 CW", 181.0, 179.0, "CW", 30.0, half),
            ArcPrescription(2, "Arc 2 CC", 179.0, 181.0, "CC", 330.0, half),
        )
        rate = functools.partial(relative_dose_rate, chosen.angle_weights)
        return tuple(
            arc_onto_target(
                arc,
                target_surface=self.neck.tumour_surface(),
                isocentre=self.isocentre,
                patient_position=PATIENT_POSITION,
                aperture_margin=chosen.aperture_margin,
                jaw_margin=_JAW_MARGIN,
                control_points=control_points,
                relative_dose_rate=rate,
            )
            for arc in arcs
        )

    def structures(self) -> list[StructureDrawing]:
        """Contours of what is drawn, on every slice."""
        neck = self.neck
        drawn: list[tuple[str, str, tuple[int, int, int], Sections]] = [
            ("BODY", "EXTERNAL", (0, 200, 0), neck.body),
            ("GTV", "GTV", (255, 0, 0), neck.tumour),
            ("SpinalCord", "ORGAN", (255, 200, 0), neck.spinal_cord),
            ("SpinalCord_PRV01", "AVOIDANCE", (255, 120, 0), neck.spinal_cord_planning_risk_volume),
            ("SpinalCanal", "ORGAN", (0, 180, 255), neck.spinal_canal),
            (self.airway_name, "ORGAN", (150, 220, 255), neck.airway_lumen),
            ("VertebralColumn", "ORGAN", (230, 230, 200), neck.vertebral_column),
        ]
        if neck.oesophagus is not None:
            drawn.append(("Esophagus", "ORGAN", (170, 110, 60), neck.oesophageal))
        planes = neck.raster.centres(2)
        return [
            StructureDrawing(number, name, interpreted_type, color, contours_of(sections, planes))
            for number, (name, interpreted_type, color, sections) in enumerate(drawn, start=1)
        ]


def relative_dose_rate(angle_weights: Sequence[float], gantry: float) -> float:
    """Meterset per degree at a gantry angle, linear between the weights, round the circle."""
    angles = np.linspace(0.0, 360.0, len(angle_weights) + 1)
    return float(np.interp(gantry % 360.0, angles, (*angle_weights, angle_weights[0])))


def dose_engine(case: ClinicalCase, ct_numbers_zyx: npt.NDArray[np.int16]) -> DoseEngine:
    """The stand-in planning system with the case's CT."""
    return DoseEngine(commissioned(stored_beam()), Patient(ct_numbers_zyx, case.neck.raster, PATIENT_POSITION))


def all_segments(beams: Sequence[Beam]) -> list[Segment]:
    """The segments of all beams, as the stand-in planning system sees them."""
    model = stored_beam()
    return [segment for beam in beams for segment in segments_of(beam, model)]


def write_clinical_case(case: ClinicalCase, folder: Path, *, control_points: int = CONTROL_POINTS) -> None:
    """Write a case as a DICOM set: CT, RTSTRUCT, RTPLAN and RTDOSE.

    Parameters
    ----------
    folder : Path
        Made when it is not there.
    control_points : int
        Of each arc.
    """
    label = case.name.replace("clinical_case_", "CASE")
    identity = Identity(
        patient_name=f"GATECHECK^{label}",
        patient_id=f"GATECHECK-{label}",
        plan_label=label,
        structure_set_label=label,
    )
    uids = Uids(case.name)
    ct_numbers_zyx = case.ct()
    raster = case.neck.raster
    ct_slices = write_ct(
        folder,
        ct_numbers_zyx,
        origin=raster.origin,
        spacing=raster.spacing,
        patient_position=PATIENT_POSITION,
        body_part="NECK",
        identity=identity,
        uids=uids,
    )
    write_structures(folder, case.structures(), ct_slices=ct_slices, identity=identity, uids=uids)
    beams = case.beams(control_points=control_points)
    write_plan(
        folder,
        beams,
        fractions=FRACTIONS,
        prescription_gy=PRESCRIPTION_GY,
        patient_position=PATIENT_POSITION,
        identity=identity,
        uids=uids,
    )
    grid = dose_raster(case.neck)
    dose_zyx = plan_dose(case, ct_numbers_zyx, beams, grid)
    write_dose(folder, dose_zyx, origin=grid.origin, spacing=grid.spacing, identity=identity, uids=uids, bits=16)
    logger.info("%s: %d CT slices, 2 arcs, dose up to %.1f Gy", case.name, len(ct_slices), dose_zyx.max())


def dose_raster(neck: Neck) -> Raster:
    """The dose grid: over the body's outline, 40 mm above and below the tumour's centre, which is a voxel's."""
    z = neck.cord_centre[2]
    sections = [neck.body(z + level)[0] for level in (-_DOSE_HALF_HEIGHT, 0.0, _DOSE_HALF_HEIGHT)]
    centre, lower, size = neck.tumour_centre, [], []
    for axis in (0, 1):
        low = min(section.centre[axis] - section.semi_axes[axis] for section in sections)
        high = max(section.centre[axis] + section.semi_axes[axis] for section in sections)
        before = int(np.ceil((centre[axis] - low) / _DOSE_SPACING))
        lower.append(centre[axis] - before * _DOSE_SPACING)
        size.append(before + int(np.ceil((high - centre[axis]) / _DOSE_SPACING)) + 1)
    half = round(_DOSE_HALF_HEIGHT / _DOSE_SPACING)
    spacing = (_DOSE_SPACING,) * 3
    return Raster((size[0], size[1], 2 * half + 1), spacing, (lower[0], lower[1], z - half * _DOSE_SPACING))


def plan_dose(
    case: ClinicalCase, ct_numbers_zyx: npt.NDArray[np.int16], beams: Sequence[Beam], grid: Raster
) -> FloatArray:
    """Dose of all fractions in the body, Gy to medium, 0 outside, indexed [z, y, x]."""
    x, y, z = (grid.centres(axis) for axis in range(3))
    inside_zyx = np.stack([case.neck.body(float(level))[0].contains(x[np.newaxis, :], y[:, np.newaxis]) for level in z])
    k, j, i = np.nonzero(inside_zyx)
    dose_zyx = np.zeros(inside_zyx.shape)
    points_xyz = np.stack([x[i], y[j], z[k]], axis=1)
    dose_zyx[inside_zyx] = FRACTIONS * dose_engine(case, ct_numbers_zyx).dose(all_segments(beams), points_xyz)
    return dose_zyx
