"""What the setup robustness hands on."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from gatecheck.compare.model import Metric
from gatecheck.config_setup import SetupMetric
from gatecheck.files import HandedOn


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Band(_Part):
    """One percentile of a metric over the sampled courses, Gy."""

    percentile: float
    value: float = Field(description="without the spread and the bias that Monte Carlo noise gives")
    noise_sigma: float = Field(description="k = 1, from the Monte Carlo noise")
    sampling_error: float = Field(description="k = 1, from the number of courses")


class Exceedance(_Part):
    """How often a limit of physical dose is broken."""

    limit_gy: float
    is_least: bool = Field(description="true: the dose has to reach the limit; false: it must not exceed it")
    reference: str
    probability: float
    lower: float = Field(description="95 % interval by the number of courses (Clopper and Pearson 1934)")
    upper: float


class Course(_Part):
    """One sampled course that came out badly."""

    number: int
    value: float
    mean_displacement: tuple[float, ...] = Field(
        description="mean over its fractions: mm along, then degrees about the patient's x, y, z (LPS)"
    )


class MetricRobustness(_Part):
    """One metric of one structure."""

    metric: SetupMetric
    nominal: Metric = Field(description="of the patient where it was planned, with the noise's sigma")
    bands: tuple[Band, ...]
    spread: float = Field(description="standard deviation over the courses, Gy, without that of the noise")
    spread_of_noise: float = Field(description="what the noise adds to it in quadrature")
    is_noise_dominated: bool = Field(
        description="the noise spreads more than the setup errors: bands are not to be used"
    )
    exceedances: tuple[Exceedance, ...]
    worst: tuple[Course, ...]


class StructureRobustness(_Part):
    """One structure; a metric that it has not (it is smaller than 0.03 ml) is left out."""

    name: str
    volume_ml: float
    metrics: tuple[MetricRobustness, ...]


class SetupRobustness(HandedOn):
    """Written as compare/setup.json. Without structures, `notes` say why."""

    made_from: dict[str, str]
    courses: int
    fractions: int
    seed: int
    isocentre: tuple[float, float, float] | None
    systematic: tuple[float, ...] = Field(description="standard deviations: mm along, degrees about x, y, z")
    random: tuple[float, ...] = Field(description="the same of one fraction, motion within it included")
    structures: tuple[StructureRobustness, ...]
    notes: tuple[str, ...] = ()


class CheckedMetric(_Part):
    """One metric of one structure, by moving the points in the dose that stands still, and by a new simulation."""

    structure: str
    metric: SetupMetric
    cloud: Metric
    recalculated: Metric
    difference: float = Field(description="recalculated less cloud, Gy")
    sigma: float = Field(description="k = 1, of the difference")


class CheckedDisplacement(_Part):
    """One displacement of the patient for all fractions: the mean of a course that came out badly."""

    course: int
    worst_of: str = Field(description="the structure and metric that the course was among the worst of")
    displacement: tuple[float, ...] = Field(description="mm along, then degrees about the patient's x, y, z (LPS)")
    photons: int
    batches: int
    metrics: tuple[CheckedMetric, ...]


class SetupCheck(HandedOn):
    """Written as compare/setup_check.json."""

    made_from: dict[str, str]
    displacements: tuple[CheckedDisplacement, ...]
    largest_significance: float = Field(description="largest difference of all, in units of its sigma")
