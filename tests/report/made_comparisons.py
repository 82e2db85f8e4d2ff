"""What `compare` leaves beside comparison.json, by its own models: made numbers, its own verdicts."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gatecheck.compare.biology.alpha_beta import RULE
from gatecheck.compare.biology.limits import judge
from gatecheck.compare.biology.model import Biology, EarlierCourse, EffectiveMetrics, StructureBiology
from gatecheck.compare.biology.structures import NORMAL_CORD
from gatecheck.compare.interface.decisions import decide
from gatecheck.compare.interface.model import (
    CordMaximum,
    DirectionAgreement,
    Estimate,
    FallOff,
    GammaRate,
    GradientClass,
    Interface,
    InterfaceComparison,
    IsodoseAgreement,
    JointFit,
    NoiseFreeEstimate,
    Plateau,
    ShellComparison,
)
from gatecheck.compare.interface.shells import SHELL_EDGES
from gatecheck.compare.interface.surface_map import SurfaceMap, write_surface_map
from gatecheck.compare.model import Metric
from gatecheck.compare.setup_errors.model import (
    Band,
    CheckedDisplacement,
    CheckedMetric,
    Course,
    Exceedance,
    MetricRobustness,
    SetupCheck,
    SetupRobustness,
    StructureRobustness,
)
from gatecheck.config_biology import BiologyConfig
from gatecheck.config_comparison import ComparisonConfig, CordLimitConfig
from gatecheck.files import sha256_of_file, write_json

NO_TUMOUR = "No tumour structure (type or name GTV or CTV), so there is no interface to compare at."
NO_TPS = "No TPS dose: values of the Monte Carlo alone, and nothing to compare them with."
PERCENTS = (95.0, 80.0, 50.0)
RAYS = 200
_COURSE = (0.82, -1.13, 0.4, 0.51, -0.02, 1.2)


@dataclass(frozen=True)
class MadeOf:
    """What the comparison was made from, and what is in it."""

    case: Path
    merge: Path
    dose: Path
    sigma: Path
    tps: bool
    tumours: tuple[str, ...]
    cord: str | None
    cord_limit_gy: float | None
    prescription_gy: float
    fractions: int
    followed: tuple[str, ...]
    is_noisy: bool
    earlier_course: bool
    setup_check: str

    def hashes(self, *roles: str) -> dict[str, str]:
        files = {"case": self.case, "merge": self.merge, "mc_dose": self.dose, "mc_sigma": self.sigma}
        return {role: sha256_of_file(files[role]) for role in roles}


def make_comparisons(folder: Path, made_of: MadeOf) -> None:
    """Write interface.json with its maps, biology.json, setup.json and, where it is wanted, setup_check.json."""
    _make_interface(folder, made_of)
    _make_biology(folder, made_of)
    _make_setup(folder, made_of)
    if made_of.setup_check:
        _make_setup_check(folder, made_of)


def _estimate(value: float, sigma: float) -> Estimate:
    return Estimate(value=value, sigma=sigma, low=value - 2.26 * sigma, high=value + 2.26 * sigma)


def _free(value: float, sigma: float, noise: float = 0.1) -> NoiseFreeEstimate:
    one = _estimate(value, sigma)
    return NoiseFreeEstimate(**one.model_dump(), as_computed=value + noise, extrapolation_sigma=0.4 * sigma)


def _make_interface(folder: Path, made_of: MadeOf) -> None:
    tumours = []
    for number, name in enumerate(made_of.tumours):
        file = f"surface_map_{number}.csv"
        write_surface_map(folder / file, _surface_map(made_of.tps))
        tumours.append(_tumour(name, made_of).model_copy(update={"surface_map": file}))
    write_json(
        folder / "interface.json",
        Interface(
            made_from=made_of.hashes("case", "merge", "mc_dose"),
            tumours=tuple(tumours),
            notes=() if tumours else (NO_TUMOUR,),
        ),
    )


def _surface_map(tps: bool) -> SurfaceMap:
    """Rays evenly over an ellipsoid (a Fibonacci lattice); the 95 % isodose is not met at its head."""
    index = np.arange(RAYS) + 0.5
    z = 1 - 2 * index / RAYS
    turn = np.pi * (1 + 5**0.5) * index
    normals = np.stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z], axis=1)
    agreement = np.stack([0.6 * normals[:, 0] + 0.3 * factor for factor in (1.0, 0.5, 0.2)], axis=1)
    agreement += np.random.default_rng(3).normal(0, 0.25, agreement.shape)
    agreement[z > 0.8, 0] = np.nan
    if not tps:
        agreement[:] = np.nan
    points = np.array([5.0, -8.0, 30.0]) + normals * (16, 13, 9)
    sigma = np.where(np.isnan(agreement), np.nan, 0.25)
    return SurfaceMap(points, normals, PERCENTS, agreement, sigma)


def _tumour(name: str, made_of: MadeOf) -> InterfaceComparison:
    tps, prescription = made_of.tps, made_of.prescription_gy
    notes = (*(() if tps else (NO_TPS,)), *(() if made_of.cord else ("No cord: its maximum is not assessed.",)))
    comparison = InterfaceComparison(
        tumour=name,
        cord=made_of.cord,
        relation="partly in the cord: 63 % of its volume" if made_of.cord else "no cord to compare with",
        tumour_volume_ml=7.84,
        prescription_gy=prescription,
        batches=10,
        photons=61_234_567.0,
        calibration_relative_sigma=0.0038,
        shells=_shells(made_of),
        gradient_classes=tuple(
            GradientClass(name=which, steepest_by="TPS" if tps else "MC", volume_ml=1.5, gamma=_gamma(tps, 120, 80.0))
            for which in ("0-2 %/mm", "2-5 %/mm", "5-10 %/mm", "from 10 %/mm")
        ),
        isodoses=tuple(_isodose(percent, made_of) for percent in PERCENTS),
        fall_off=_fall_off() if tps else None,
        plateau=_plateau(prescription) if tps else None,
        fit=_fit() if tps else None,
        cord_maximum=_cord_maximum(made_of) if made_of.cord else None,
        notes=notes,
    )
    limit = made_of.cord_limit_gy
    settings = ComparisonConfig(
        cord_limit=None if limit is None else CordLimitConfig(dose_gy=limit, source="the site's own <limit>")
    )
    return comparison.model_copy(update={"verdicts": decide(comparison, settings)})


def _shells(made_of: MadeOf) -> tuple[ShellComparison, ...]:
    edges = list(itertools.pairwise(SHELL_EDGES))
    shells = [_shell(made_of, -far, -near, "tumour", "inside") for near, far in reversed(edges)]
    for near, far in edges:
        shells += [_shell(made_of, near, far, "cord", "outside")] if made_of.cord else []
        shells.append(_shell(made_of, near, far, "all", "outside"))
    return tuple(shells)


def _shell(made_of: MadeOf, nearest: float, furthest: float, region: str, side: str) -> ShellComparison:
    prescription, tps = made_of.prescription_gy, made_of.tps
    middle = (nearest + furthest) / 2
    dose = prescription / (1 + math.exp((middle - 3.2) / 1.7)) + (0.8 if region == "cord" else 0.0)
    fall = 0.02 * prescription * (1 + abs(middle))
    low, high = sorted((abs(nearest), abs(furthest)))
    return ShellComparison(
        name=f"{side} {low:g}-{high:g} mm",
        nearest=nearest,
        furthest=furthest,
        region=region,
        volume_ml=0.42 + 0.1 * furthest**2,
        mc_mean_gy=_estimate(dose, 0.21),
        tps_mean_gy=dose - 0.4 if tps else None,
        difference_gy=_estimate(0.4, 0.21) if tps else None,
        difference_percent=_estimate(40 / prescription, 21 / prescription) if tps else None,
        grid_error_gy=0.07 if tps else None,
        mc_gradient_gy_per_mm=_estimate(fall, 0.05),
        tps_gradient_gy_per_mm=fall + 0.03 if tps else None,
        mc_gradient_percent_per_mm=_estimate(100 * fall / prescription, 0.13),
        tps_gradient_percent_per_mm=100 * (fall + 0.03) / prescription if tps else None,
        gamma=_gamma(tps, 150, 91.3 - middle),
    )


def _gamma(tps: bool, points: int, rate: float) -> tuple[GammaRate, ...]:
    if not tps:
        return ()
    return tuple(
        GammaRate(
            criteria=criteria,
            reference=reference,
            points=points,
            unreached=points // 40 if reference == "MC" else 0,
            unreached_percent=1.7 if reference == "MC" else 0.0,
            pass_percent=_free(rate + more, 1.9, 0.6),
        )
        for criteria, more in (("2 %/1 mm", 0.0), ("3 %/2 mm", 4.0))
        for reference in ("TPS", "MC")
    )


def _isodose(percent: float, made_of: MadeOf) -> IsodoseAgreement:
    tps = made_of.tps
    met = 158 if percent == 95 else RAYS
    directions = tuple(
        DirectionAgreement(
            direction=way, rays=30 if way != "+z" else 0, mean=_estimate(0.2, 0.08) if way != "+z" else None
        )
        for way in ("+x", "-x", "+y", "-y", "+z", "-z")
    )
    return IsodoseAgreement(
        percent=percent,
        level_gy=percent / 100 * made_of.prescription_gy,
        rays=RAYS,
        met_by_both=met if tps else 0,
        never_met_by_mc=RAYS - met,
        never_met_by_tps=3 if tps else None,
        mc_distance=_estimate(6.5 - percent / 20, 0.06),
        tps_distance=6.2 - percent / 20 if tps else None,
        mean=_estimate(0.31, 0.07) if tps else None,
        median=_free(0.28, 0.08, 0.02) if tps else None,
        p95_of_absolute=_free(0.94, 0.12, 0.21) if tps else None,
        directions=directions if tps else (),
    )


def _fall_off() -> FallOff:
    return FallOff(
        from_percent=95.0, to_percent=50.0, rays=158, tps_width=4.21, difference=_free(0.62, 0.11), grid_error=0.09
    )


def _plateau(prescription: float) -> Plateau:
    return Plateau(
        definition="at least 1 mm deep, and the TPS dose changes by less than 2 %/mm",
        is_flat=True,
        volume_ml=3.1,
        depth=1.02,
        gradient_percent_per_mm=0.64,
        mc_mean_gy=_estimate(1.012 * prescription, 0.08),
        tps_mean_gy=prescription,
        difference_percent=_estimate(1.2, 0.2),
        grid_error_percent=0.03,
    )


def _fit() -> JointFit:
    return JointFit(
        voxels=4321,
        output_percent=_estimate(1.3, 0.21),
        shift_xyz=(_estimate(0.41, 0.05), _estimate(-0.62, 0.06), _estimate(0.08, 0.05)),
        shift_covariance=((0.0025, 0.0, 0.0), (0.0, 0.0036, 0.0), (0.0, 0.0, 0.0025)),
        widening=_estimate(0.35, 0.09),
        residual_percent=0.41,
        grid_error={"output": 0.12, "shift_x": 0.02, "shift_y": 0.03, "shift_z": 0.01, "widening": 0.04},
    )


def _cord_maximum(made_of: MadeOf) -> CordMaximum:
    tps = made_of.tps
    return CordMaximum(
        volume_ml=0.03,
        cord_volume_ml=12.4,
        is_of_whole_cord=True,
        mc_gy=_estimate(36.2, 0.5),
        mc_as_computed_gy=36.9,
        degrees_of_freedom=9,
        tps_gy=35.9 if tps else None,
        difference_gy=_estimate(0.3, 0.5) if tps else None,
        grid_error_gy=0.11 if tps else None,
    )


def _metric(value: float, sigma: float) -> Metric:
    return Metric(value=value, sigma=sigma, interval_95=(value - 2 * sigma, value + 2 * sigma))


def _make_biology(folder: Path, made_of: MadeOf) -> None:
    names = [*made_of.followed, *([made_of.cord, NORMAL_CORD] if made_of.cord else [])]
    structures = tuple(_effective(name, 48.0 + 3 * index, made_of) for index, name in enumerate(dict.fromkeys(names)))
    earlier = EarlierCourse(fractions=10, recovery=0.25, uniform_dose_gy=30.0, sha256=None, maximum_gy=30.0)
    write_json(
        folder / "biology.json",
        Biology(
            made_from=made_of.hashes("case", "mc_dose", "mc_sigma"),
            fractions=made_of.fractions,
            calibration_relative_sigma=0.002,
            earlier_courses=(earlier,) if made_of.earlier_course else (),
            alpha_beta_rule=RULE,
            structures=structures,
            limits=judge(
                structures,
                BiologyConfig().limits,
                fractions=made_of.fractions,
                calibration_relative_sigma=0.002,
                cord=made_of.cord,
            ),
            warnings=("30 Gy in 10 fractions are taken as given everywhere.",) if made_of.earlier_course else (),
        ),
    )


def _effective(name: str, level: float, made_of: MadeOf) -> StructureBiology:
    is_cord = name in (made_of.cord, NORMAL_CORD)

    def of(dose: float) -> EffectiveMetrics:
        return EffectiveMetrics(
            mean_gy=_metric(0.8 * dose, 0.05),
            max_gy=_metric(dose, 1.1),
            d0_03cc_gy=_metric(0.97 * dose, 0.41),
            d0_01cc_gy=None,
        )

    return StructureBiology(
        name=name,
        alpha_beta=2.0 if is_cord else 10.0,
        alpha_beta_source="Nieder et al. <2006>" if is_cord else "target_alpha_beta",
        volume_ml=12.4 if is_cord else 7.84,
        covered_fraction=1.0,
        earlier_covered_fraction=1.0 if made_of.earlier_course else None,
        this_course=of(level),
        all_courses=of(level + (22.5 if made_of.earlier_course else 0.0)),
    )


def _make_setup(folder: Path, made_of: MadeOf) -> None:
    notes = (
        () if made_of.followed else ("The beams have several isocentres: no one centre that the patient turns about.",)
    )
    write_json(
        folder / "setup.json",
        SetupRobustness(
            made_from=made_of.hashes("case", "mc_dose"),
            courses=500,
            fractions=made_of.fractions,
            seed=1,
            isocentre=(10.0, -8.0, 30.0) if made_of.followed else None,
            systematic=(0.71,) * 6,
            random=(0.87, 0.87, 0.87, 0.71, 0.71, 0.71),
            structures=tuple(
                StructureRobustness(name=name, volume_ml=7.84, metrics=(_robustness(made_of),))
                for name in made_of.followed
            ),
            notes=notes,
        ),
    )


def _robustness(made_of: MadeOf) -> MetricRobustness:
    return MetricRobustness(
        metric="d95_gy",
        nominal=Metric(value=38.9, sigma=0.12),
        bands=tuple(
            Band(percentile=percentile, value=38.9 + 0.02 * (percentile - 60), noise_sigma=0.13, sampling_error=0.06)
            for percentile in (5.0, 25.0, 50.0, 75.0, 95.0)
        ),
        spread=0.61,
        spread_of_noise=0.33,
        is_noise_dominated=made_of.is_noisy,
        exceedances=(
            Exceedance(
                limit_gy=0.95 * made_of.prescription_gy,
                is_least=True,
                reference="95 % of the <prescription>",
                probability=0.124,
                lower=0.097,
                upper=0.156,
            ),
        ),
        worst=tuple(
            Course(number=number, value=36.5 + number / 100, mean_displacement=_COURSE) for number in (17, 203)
        ),
    )


def _make_setup_check(folder: Path, made_of: MadeOf) -> None:
    setup = sha256_of_file(folder / "setup.json") if made_of.setup_check == "fresh" else "0" * 64
    moved, again = Metric(value=36.7, sigma=0.14), Metric(value=36.4, sigma=0.31)
    metric = CheckedMetric(
        structure="GTVp", metric="d95_gy", cloud=moved, recalculated=again, difference=-0.3, sigma=0.34
    )
    write_json(
        folder / "setup_check.json",
        SetupCheck(
            made_from=made_of.hashes("mc_dose") | {"setup": setup},
            displacements=(
                CheckedDisplacement(
                    course=17,
                    worst_of="GTVp d95_gy",
                    displacement=_COURSE,
                    photons=20_000_000,
                    batches=8,
                    metrics=(metric,),
                ),
            ),
            largest_significance=0.9,
        ),
    )
