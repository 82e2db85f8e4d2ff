"""What was planned: the Case that `ingest` writes and every later room reads.

Lengths in mm, angles in degrees, meterset in MU, DICOM LPS patient coordinates. Nothing here can
carry a name, an ID or a date of a patient: `case.json` is pseudonymous by construction.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gatecheck.files import HandedOn

PatientPosition = Literal["HFS", "HFP", "FFS", "FFP"]
Vector = tuple[float, float, float]

WEIGHT_TOLERANCE = 1e-4
"""Largest relative difference between the last Cumulative Meterset Weight and the final one: 0.01 % of the dose."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CaseWarning(_Part):
    """Something that a signing physicist has to know, though it does not stop the job."""

    code: str = Field(description="stable short name, for example rtstruct-not-the-one-of-the-plan")
    message: str


class ControlPoint(_Part):
    """One control point, with everything carried forward that the plan leaves out.

    `leaf_positions` holds bank X1 (row 0) and X2 (row 1), each ordered from Y1 to Y2, as DICOM
    (300A,011C) orders them, at the isocentre plane; None for a beam without an MLC.
    """

    cumulative_meterset_weight: float
    gantry_angle: float
    gantry_rotation_direction: Literal["CW", "CC", "NONE"]
    collimator_angle: float
    collimator_rotation_direction: Literal["CW", "CC", "NONE"] = "NONE"
    couch_angle: float = Field(description="IEC patient support angle")
    couch_rotation_direction: Literal["CW", "CC", "NONE"] = "NONE"
    jaw_x: tuple[float, float]
    jaw_y: tuple[float, float]
    leaf_positions: tuple[tuple[float, ...], tuple[float, ...]] | None
    isocentre: Vector


class Beam(_Part):
    """One photon treatment beam of non-zero meterset."""

    number: int
    name: str
    machine_name: str
    radiation_type: Literal["PHOTON"]
    nominal_energy_mv: float
    fluence_mode: str = Field(description="STANDARD, or the non-standard mode's ID, for example FFF")
    beam_type: Literal["STATIC", "DYNAMIC"]
    technique: Literal["static", "step-and-shoot", "sliding-window", "conformal-arc", "vmat"]
    source_axis_distance: float
    meterset: float = Field(description="MU per fraction, by ReferencedBeamNumber")
    final_cumulative_meterset_weight: float
    leaf_boundaries: tuple[float, ...] | None = Field(
        description="n_pairs + 1 leaf position boundaries from Y1 to Y2; None without an MLC"
    )
    control_points: tuple[ControlPoint, ...]


class Structure(_Part):
    """One structure; its partial-volume mask lies beside case.json."""

    number: int
    name: str
    interpreted_type: str = Field(description="DICOM RT ROI interpreted type, upper case, or empty")
    volume_ml: float
    mask: str | None = Field(
        description="path of the mask relative to case.json, by number (float32, 0 to 1 inside fraction, on "
        "the grid of the CT cropped to the structure); None for an empty structure"
    )


class Image(_Part):
    """An axis-aligned image beside case.json."""

    file: str
    sha256: str
    size: tuple[int, int, int] = Field(description="voxels along x, y, z")
    spacing: Vector
    origin: Vector = Field(description="centre of the first voxel")


class TpsDose(_Part):
    """The TPS's physical dose of the whole plan, Gy, for all fractions planned."""

    image: Image
    maximum_gy: float
    summation_type: Literal["PLAN", "BEAM"]
    dose_type: Literal["PHYSICAL"]


class Case(HandedOn):
    """A checked, pseudonymous case. `files` maps the role of each source file to its SHA-256."""

    case_id: str = Field(description="pseudonym: case- and the first 8 digits of content_sha256")
    content_sha256: str = Field(description="over the SHA-256 of every DICOM file used")
    plan_label: str = Field(description="empty unless the configuration shows identities")
    patient_position: PatientPosition
    frame_of_reference_sha256: str = Field(
        "", description="SHA-256 of the CT's Frame of Reference UID: a dose from elsewhere must lie in the same frame"
    )
    plan_uid_sha256: str = Field(
        "", description="SHA-256 of the RTPLAN's SOP Instance UID: a trajectory log may name its plan"
    )
    fractions: int
    target_prescription_gy: float | None
    ct: Image
    structures: tuple[Structure, ...]
    beams: tuple[Beam, ...]
    tps_dose: TpsDose | None
    warnings: tuple[CaseWarning, ...]
    files: dict[str, str]

    def beam(self, number: int) -> Beam:
        """The beam of a given BeamNumber."""
        for beam in self.beams:
            if beam.number == number:
                return beam
        raise KeyError(number)
