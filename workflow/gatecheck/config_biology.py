"""The configuration's section `biology`: effective doses, earlier courses, limits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gatecheck.config_section import ConfigSection


class AlphaBetaConfig(ConfigSection):
    """The alpha/beta of some structures."""

    structures: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="names; case, spaces, underscores and hyphens do not count"
    )
    value: Annotated[float, Field(ge=0.3, le=50)] = Field(description="alpha/beta, Gy")
    reference: str = Field("", description="where the value comes from")


class EarlierCourseConfig(ConfigSection):
    """An earlier course of radiotherapy: its dose as RTDOSE, or the same dose everywhere."""

    dose_file: Path | None = Field(
        None,
        description="RTDOSE of the whole earlier course, physical dose in Gy, in the frame of reference of this plan's "
        "CT: registered and exported so by the planning system",
    )
    uniform_dose: Annotated[float, Field(gt=0, le=200)] | None = Field(
        None, description="instead of dose_file: Gy of the whole earlier course, taken as given everywhere"
    )
    fractions: Annotated[int, Field(ge=1, le=100)] = Field(description="of the earlier course")
    recovery: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="part of the earlier course's biological dose taken as recovered from; 0: none"
    )

    @model_validator(mode="after")
    def _one_dose(self) -> Self:
        if (self.dose_file is None) == (self.uniform_dose is None):
            raise ValueError("an earlier course needs either dose_file or uniform_dose, and not both")
        return self


EffectiveMetric = Literal["max_gy", "d0_03cc_gy", "d0_01cc_gy", "mean_gy"]


class EffectiveLimitConfig(ConfigSection):
    """A limit of EQD2."""

    structures: Annotated[tuple[str, ...], Field(min_length=1)] = Field(description="names, as for alpha_beta")
    metric: EffectiveMetric = Field("max_gy", description="max_gy, d0_03cc_gy, d0_01cc_gy or mean_gy")
    courses: Literal["this_course", "all_courses"] = Field(
        "this_course", description="all_courses: with the earlier ones; without any, this one alone"
    )
    limit_gy: Annotated[float, Field(gt=0)] = Field(description="EQD2, Gy, not to be exceeded")
    alpha_beta: Annotated[float, Field(gt=0)] = Field(
        description="Gy, with which the limit was stated; a structure of another value is not judged by it"
    )
    reference: str = Field(description="who states it")


_CORD_NAMES = ("SpinalCord", "Cord")
_CORD_AND_THECAL_SAC = (*_CORD_NAMES, "ThecalSac")


class BiologyConfig(ConfigSection):
    """Biologically effective dose by the linear-quadratic model."""

    alpha_beta: tuple[AlphaBetaConfig, ...] = Field(
        (
            AlphaBetaConfig(
                structures=_CORD_AND_THECAL_SAC,
                value=2.0,
                reference="Nieder et al., Int J Radiat Oncol Biol Phys 66 (2006) 1446 (cervical and thoracic cord); "
                "Sahgal et al., Int J Radiat Oncol Biol Phys 82 (2012) 107",
            ),
        ),
        description="in order of priority: a voxel in several of these structures has the value listed first",
    )
    target_alpha_beta: Annotated[float, Field(ge=0.3, le=50)] = Field(
        10.0,
        description="Gy, of structures of type GTV, CTV or PTV that are not named above; the customary value for "
        "tumours (Fowler, Br J Radiol 62 (1989) 679)",
    )
    default_alpha_beta: Annotated[float, Field(ge=0.3, le=50)] = Field(
        3.0,
        description="Gy, everywhere else; the customary value for late reactions (Fowler, Br J Radiol 62 (1989) 679)",
    )
    earlier_courses: tuple[EarlierCourseConfig, ...] = Field((), description="doses given before this plan")
    limits: tuple[EffectiveLimitConfig, ...] = Field(
        (
            EffectiveLimitConfig(
                structures=_CORD_NAMES,
                metric="max_gy",
                courses="this_course",
                limit_gy=54.0,
                alpha_beta=2.0,
                reference="QUANTEC, Kirkpatrick et al., Int J Radiat Oncol Biol Phys 76(3 Suppl) (2010) S42: "
                "myelopathy below 1 % at 54 Gy to the full thickness of the cord in 1.8 to 2 Gy a fraction",
            ),
            EffectiveLimitConfig(
                structures=_CORD_AND_THECAL_SAC,
                metric="max_gy",
                courses="all_courses",
                limit_gy=70.0,
                alpha_beta=2.0,
                reference="Sahgal et al., Int J Radiat Oncol Biol Phys 82 (2012) 107, and HyTEC, Sahgal et al., ibid. "
                "110 (2021) 124: thecal sac, all courses, at least 5 months apart, the later one in 1 to 5 fractions",
            ),
            EffectiveLimitConfig(
                structures=_CORD_NAMES,
                metric="max_gy",
                courses="all_courses",
                limit_gy=67.75,
                alpha_beta=2.0,
                reference="Nieder et al., Int J Radiat Oncol Biol Phys 66 (2006) 1446: BED of 135.5 Gy (alpha/beta 2 "
                "Gy), at least 6 months apart, no course above a BED of 98 Gy",
            ),
        ),
        description="judged one by one; given here, they replace the default ones",
    )
