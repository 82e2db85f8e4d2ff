"""What the biology hands on."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gatecheck.compare.model import Metric
from gatecheck.config_biology import EffectiveMetric
from gatecheck.files import HandedOn


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EffectiveMetrics(_Part):
    """EQD2 of one structure, Gy; without the bias of the noise that is in proportion to its variance.

    Sigma (k = 1) is that of the Monte Carlo noise; the calibration's, common to all, is not part of it. A metric is
    None where the structure is smaller than its volume.
    """

    mean_gy: Metric | None
    max_gy: Metric | None
    d0_03cc_gy: Metric | None
    d0_01cc_gy: Metric | None


class StructureBiology(_Part):
    """One structure's EQD2, of this plan's course and of all courses together."""

    name: str
    alpha_beta: float
    alpha_beta_source: str
    volume_ml: float
    covered_fraction: float = Field(description="part of the volume inside the Monte Carlo grid")
    earlier_covered_fraction: float | None = Field(
        description="part of that where the dose of every earlier course is known; None without earlier courses"
    )
    this_course: EffectiveMetrics | None
    all_courses: EffectiveMetrics | None = Field(description="of the part where all doses are known")
    note: str = ""


Verdict = Literal["pass", "fail", "undecided"]


class JudgedLimit(_Part):
    """One limit at one structure.

    The value's interval is that of the noise alone; a limit is decided where it lies further from the value than
    `half_width`, in which the calibration is too. `undecided` otherwise, or where part of what counts is unknown.
    """

    structure: str
    metric: EffectiveMetric
    courses: Literal["this_course", "all_courses"]
    limit_gy: float
    alpha_beta: float
    reference: str
    value: Metric | None
    half_width: float | None = Field(
        None, description="of the 95 % interval by noise (Student's t) and calibration, in quadrature, Gy"
    )
    verdict: Verdict
    photons_factor: float | None = Field(
        description="how many times as many photons would decide, if the value stays; None where more do not help"
    )
    note: str = ""


class EarlierCourse(_Part):
    """An earlier course as it was counted."""

    fractions: int
    recovery: float
    uniform_dose_gy: float | None
    sha256: str | None = Field(description="of the RTDOSE; None for a uniform dose")
    maximum_gy: float


class Biology(HandedOn):
    """Written as compare/biology.json.

    Beside it, float32 on the Monte Carlo grid: alpha_beta.mha, bed.mha, bed_sigma.mha, eqd2.mha, eqd2_sigma.mha (Gy)
    and, with earlier courses, bed_all_courses.mha and eqd2_all_courses.mha, not a number where the dose of an earlier
    course is not known. An earlier dose is taken as known: the sigmas are those of all courses together, too.
    """

    made_from: dict[str, str]
    fractions: int
    calibration_relative_sigma: float = Field(
        description="k = 1, common to all doses: part of no metric's sigma or interval, but of the limits' half_width"
    )
    earlier_courses: tuple[EarlierCourse, ...]
    alpha_beta_rule: str
    structures: tuple[StructureBiology, ...]
    limits: tuple[JudgedLimit, ...]
    warnings: tuple[str, ...] = ()
