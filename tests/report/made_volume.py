"""Gamma of the whole dose and profiles of a made case, as `compare` leaves them."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from gatecheck.compare.interface.model import NoiseFreeEstimate
from gatecheck.compare.profiles import write_profiles
from gatecheck.compare.volume_gamma.model import UNREACHED, GammaMap, VolumeGamma, VolumeGammaRate
from gatecheck.dose.model import ConvergenceStep
from gatecheck.files import array_zyx, image_from_zyx, read_image, sha256_of_file, write_image, write_json
from gatecheck.layout import CaseLayout

CONVERGENCE = tuple(
    ConvergenceStep(
        batches=batches,
        histories=6_123_456 * batches,
        seconds=250.0 * batches,
        fine_relative_sigma=0.0249 * (10 / batches) ** 0.5 * wrong,
        expected_relative_sigma=0.0249 * (10 / batches) ** 0.5,
    )
    for batches, wrong in ((2, 0.97), (4, 1.02), (8, 0.99), (10, 1.0))
)
_REGIONS = ((10.0, 51_234, 37), (50.0, 8_765, 3), (80.0, 3_210, 0))


def make_volume(layout: CaseLayout, *, tps: bool, prescription_gy: float | None) -> None:
    """Write gamma.json with its maps where there is a TPS dose, and profiles.json."""
    merge, dose = layout.dose / "merge.json", layout.dose / "mc_dose.mha"
    maps = _make_maps(layout, read_image(dose)) if tps else ()
    write_json(
        layout.compare / "gamma.json",
        VolumeGamma(
            made_from={
                "case": sha256_of_file(layout.case / "case.json"),
                "merge": sha256_of_file(merge),
                "mc_dose": sha256_of_file(dose),
            },
            normalisation_gy=(prescription_gy or 42.0) if tps else None,
            normalisation_of=("the prescription" if prescription_gy else "the maximum") if tps else "",
            cutoff_percent=10.0,
            high_dose_relative_sigma=0.0249,
            high_dose_voxels=4312,
            batches=10,
            rates=tuple(_rates()) if tps else (),
            maps=maps,
            notes=() if tps else ("No TPS dose: there is no gamma.",),
        ),
    )
    write_profiles(layout, dose_folder=layout.dose, out_folder=layout.compare)


def _rates() -> list[VolumeGammaRate]:
    rates = []
    for reference in ("TPS", "MC"):
        for criteria, less in (("2 %/1 mm", 90), ("3 %/2 mm", 10)):
            for percent, points, unreached in _REGIONS:
                passed = points - unreached - less
                as_computed = 100 * passed / points
                free = NoiseFreeEstimate(
                    value=as_computed + 0.1,
                    sigma=0.05,
                    low=as_computed,
                    high=as_computed + 0.2,
                    as_computed=as_computed,
                    extrapolation_sigma=0.02,
                )
                rates.append(
                    VolumeGammaRate(
                        least_percent=percent,
                        criteria=criteria,
                        reference=reference,
                        points=points,
                        unreached=unreached,
                        passed=passed,
                        as_computed_percent=as_computed,
                        mean_gamma=0.31,
                        # As of a region with too few points to extrapolate.
                        pass_percent=None if percent == 80.0 and reference == "MC" else free,
                        sampled_points=200,
                    )
                )
    return rates


def _make_maps(layout: CaseLayout, dose: sitk.Image) -> tuple[GammaMap, ...]:
    """A gamma that grows along x from 0 to 2, not reached in the uppermost slices, not evaluated at low dose."""
    values = array_zyx(dose)
    gamma = np.broadcast_to(np.linspace(0, 2, values.shape[2]), values.shape).astype(np.float32).copy()
    gamma[values.shape[0] // 2 + 6 :] = UNREACHED
    gamma[values < 4.0] = np.nan
    image = image_from_zyx(gamma, origin=dose.GetOrigin(), spacing=dose.GetSpacing())
    maps = []
    for reference, file in (("TPS", "gamma_tps.mha"), ("MC", "gamma.mha")):
        write_image(layout.compare / file, image)
        maps.append(GammaMap(file=file, criteria="2 %/1 mm", reference=reference, largest=2.0))
    return tuple(maps)
