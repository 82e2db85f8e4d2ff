"""Clinical case 1: a 0.3 ml tumour inside the cord at C6-7, 39 Gy in 13 fractions by two full arcs.

After Mori et al., Int. J. Radiat. Res. 18(3):599-604 (2020), case 1: TrueBeam STx with HD120, 6 MV, no
PTV margin, D95 at 95 % of 39 Gy (37.05 Gy), planned maximum 46.3 Gy. The leaves follow the tumour's
projection; the margin and the meterset are chosen so that Monte Carlo gives those doses.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.case.model import Beam, PatientPosition
from gatecheck.delivery.coordinates import source_position
from gatecheck.phantoms import neck
from gatecheck.phantoms.arcs import ArcPrescription, arc_onto_target
from gatecheck.phantoms.dicom_writer import Identity, StructureDrawing, Uids, write_ct, write_plan, write_structures
from gatecheck.phantoms.solids import Raster, Sections, contours_of, paint

logger = logging.getLogger(__name__)

FRACTIONS = 13
PRESCRIPTION_GY = 39.0
PATIENT_POSITION: PatientPosition = "HFS"

# The isocentre is on the cord's axis, so that the tumour, 1.6 mm to its left, goes round it.
ISOCENTRE = neck.CORD_CENTRE

# MU per fraction, both arcs: makes the tumour's D95 37 Gy in the Monte Carlo dose.
TOTAL_METERSET = 507.0

# From the tumour's projection to the leaves, mm: makes the maximum about 1.25 times D95.
APERTURE_MARGIN = 0.6

_JAW_MARGIN = 3.0

# Meterset goes preferably where the way through the neck is short, at the attenuation of 6 MV in water.
_ATTENUATION_PER_MM = 0.0047


_IDENTITY = Identity(
    patient_name="GATECHECK^CASE1",
    patient_id="GATECHECK-CASE1",
    plan_label="CASE1",
    structure_set_label="CASE1",
)
_UIDS = Uids("clinical_case_1")

# name, RT ROI interpreted type, colour, solid
_STRUCTURES: tuple[tuple[str, str, tuple[int, int, int], Sections], ...] = (
    ("BODY", "EXTERNAL", (0, 200, 0), neck.body),
    ("GTV", "GTV", (255, 0, 0), neck.tumour),
    ("SpinalCord", "ORGAN", (255, 200, 0), neck.spinal_cord),
    ("SpinalCord_PRV01", "AVOIDANCE", (255, 120, 0), neck.spinal_cord_planning_risk_volume),
    ("SpinalCanal", "ORGAN", (0, 180, 255), neck.spinal_canal),
    ("Trachea", "ORGAN", (150, 220, 255), neck.trachea),
    ("Esophagus", "ORGAN", (170, 110, 60), neck.oesophagus),
    ("VertebralColumn", "ORGAN", (230, 230, 200), neck.vertebral_column),
)


def write_clinical_case_1(folder: Path, *, control_points: int = 178) -> None:
    """Write clinical case 1 as a DICOM set: CT, RTSTRUCT and RTPLAN.

    Parameters
    ----------
    folder : Path
        Made when it is not there.
    control_points : int
        Of each arc.
    """
    ct_numbers_zyx = clinical_case_1_ct()
    ct_slices = write_ct(
        folder,
        ct_numbers_zyx,
        origin=neck.RASTER.origin,
        spacing=neck.RASTER.spacing,
        patient_position=PATIENT_POSITION,
        identity=_IDENTITY,
        uids=_UIDS,
    )
    write_structures(folder, _structures(), ct_slices=ct_slices, identity=_IDENTITY, uids=_UIDS)
    write_plan(
        folder,
        clinical_case_1_beams(ct_numbers_zyx, control_points=control_points),
        fractions=FRACTIONS,
        prescription_gy=PRESCRIPTION_GY,
        patient_position=PATIENT_POSITION,
        identity=_IDENTITY,
        uids=_UIDS,
    )
    logger.info("clinical case 1: %d CT slices, %d structures, 2 arcs", len(ct_slices), len(_STRUCTURES))


def clinical_case_1_beams(ct_numbers_zyx: npt.NDArray[np.int16], *, control_points: int = 178) -> tuple[Beam, ...]:
    """The two arcs, clockwise with collimator 30 and back with collimator 330 degrees."""
    arcs = (
        ArcPrescription(1, "Arc 1 CW", 181.0, 179.0, "CW", 30.0, TOTAL_METERSET / 2),
        ArcPrescription(2, "Arc 2 CC", 179.0, 181.0, "CC", 330.0, TOTAL_METERSET / 2),
    )

    def relative_dose_rate(gantry: float) -> float:
        depth = water_equivalent_depth(ct_numbers_zyx, neck.RASTER, gantry=gantry)
        return math.exp(-_ATTENUATION_PER_MM * depth)

    return tuple(
        arc_onto_target(
            arc,
            target_surface=neck.tumour_surface(),
            isocentre=ISOCENTRE,
            patient_position=PATIENT_POSITION,
            aperture_margin=APERTURE_MARGIN,
            jaw_margin=_JAW_MARGIN,
            control_points=control_points,
            relative_dose_rate=relative_dose_rate,
        )
        for arc in arcs
    )


def water_equivalent_depth(ct_numbers_zyx: npt.NDArray[np.int16], raster: Raster, *, gantry: float) -> float:
    """Depth of the isocentre below the skin, mm of water, along the beam's axis; density is 1 + HU / 1000."""
    source = source_position(gantry=gantry, couch=0.0, isocentre=ISOCENTRE, patient_position=PATIENT_POSITION)
    towards_source = (source - np.array(ISOCENTRE)) / np.linalg.norm(source - np.array(ISOCENTRE))
    step = 0.5
    distances = np.arange(0.5 * step, 200.0, step)
    points_xyz = np.array(ISOCENTRE) + distances[:, np.newaxis] * towards_source
    indices_xyz = np.rint((points_xyz - np.array(raster.origin)) / np.array(raster.spacing)).astype(int)
    inside = np.all((indices_xyz >= 0) & (indices_xyz < np.array(raster.size)), axis=1)
    i, j, k = indices_xyz[inside].T
    return float(np.sum(1.0 + ct_numbers_zyx[k, j, i] / 1000.0) * step)


def clinical_case_1_ct() -> npt.NDArray[np.int16]:
    """CT numbers of the neck on `neck.RASTER`, indexed [z, y, x]."""
    return paint(neck.anatomy(), neck.RASTER)


def _structures() -> list[StructureDrawing]:
    planes = neck.RASTER.centres(2)
    return [
        StructureDrawing(number, name, interpreted_type, color, contours_of(sections, planes))
        for number, (name, interpreted_type, color, sections) in enumerate(_STRUCTURES, start=1)
    ]
