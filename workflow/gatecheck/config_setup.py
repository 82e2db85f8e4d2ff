"""The configuration's section `setup`: errors of the patient's setup, and what they are followed in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gatecheck.config_section import ConfigSection

SetupMetric = Literal["d0_03cc_gy", "d95_gy", "mean_gy"]
ThreeDeviations = tuple[
    Annotated[float, Field(ge=0, le=20)], Annotated[float, Field(ge=0, le=20)], Annotated[float, Field(ge=0, le=20)]
]


class SetupLimitConfig(ConfigSection):
    """A limit of physical dose whose chance of being broken by setup errors is stated."""

    structure: str = Field(description="name; for the cord without the tumour: normal cord")
    metric: SetupMetric = Field("d0_03cc_gy", description="d0_03cc_gy, d95_gy or mean_gy")
    limit_gy: Annotated[float, Field(gt=0)] = Field(description="Gy, whole course, physical dose")
    is_least: bool = Field(False, description="true: the dose must reach the limit; false: it must not exceed it")
    reference: str = Field("", description="who states it")


class SetupConfig(ConfigSection):
    """Errors of the patient's setup, as standard deviations along and about the patient's axes x, y, z (LPS).

    The defaults are those of stereoscopic X-ray guidance in six dimensions: a setup accuracy of 1 mm and 1 degree (RMS)
    on each axis, half of its variance the same all course (systematic) and half new in each fraction (random), and a
    motion of the spine within fractions whose length is 0.6 mm in the mean and below 1.4 mm in 95 %. For a motion alike
    along all axes with deviation s these are 1.60 s and 2.80 s (Maxwell's distribution): 0.38 and 0.50 mm, of which the
    larger is taken.
    """

    courses: Annotated[int, Field(ge=100, le=100_000)] = Field(500, description="courses sampled")
    seed: Annotated[int, Field(ge=0)] = Field(1, description="of the sampled errors")
    systematic_translation: ThreeDeviations = Field((0.71, 0.71, 0.71), description="mm, the same all course")
    random_translation: ThreeDeviations = Field((0.71, 0.71, 0.71), description="mm, new in each fraction")
    intrafraction_translation: ThreeDeviations = Field(
        (0.5, 0.5, 0.5), description="mm, mean place within a fraction, new in each and added to the random part"
    )
    systematic_rotation: ThreeDeviations = Field((0.71, 0.71, 0.71), description="degrees, the same all course")
    random_rotation: ThreeDeviations = Field((0.71, 0.71, 0.71), description="degrees, new in each fraction")
    cord: str | None = Field(
        None,
        description="name of the cord; empty: comparison.cord_structure, else a structure called "
        "spinal cord or cord, else the one that the interface takes for it",
    )
    tumour: str | None = Field(None, description="name of the tumour; empty: the only GTV, else the only CTV or PTV")
    structures: tuple[str, ...] = Field((), description="more structures to be followed")
    limits: tuple[SetupLimitConfig, ...] = Field(
        (),
        description="beside those that follow from biology.limits of the cord and from 95 % of the prescription at the "
        "tumour's D95",
    )
    worst_courses: Annotated[int, Field(ge=1, le=20)] = Field(3, description="listed of each metric, with their errors")
