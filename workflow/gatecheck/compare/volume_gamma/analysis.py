"""Gamma of the whole dose of one case: the batches collected where they are needed, maps and rates written."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.case.storage import read_case
from gatecheck.compare.dose_image import BoolArray, DoseImage, read_inside
from gatecheck.compare.gamma import PASS_LIMIT, GammaCriteria, GammaResult, gamma_map
from gatecheck.compare.volume_gamma.model import UNREACHED, GammaMap, Reference, VolumeGamma, VolumeGammaRate
from gatecheck.compare.volume_gamma.patches import Patches
from gatecheck.compare.volume_gamma.sample import (
    CAP,
    PartOfNoise,
    SampledDoses,
    SampledPoints,
    choose_points,
    parts_of_noise,
    points_that_fit,
)
from gatecheck.config_comparison import ComparisonConfig
from gatecheck.dose.model import MergeResult
from gatecheck.errors import InputError, ResultError
from gatecheck.files import image_from_zyx, read_image, read_json, sha256_of_file, write_image, write_json
from gatecheck.patient.model import PatientModel

logger = logging.getLogger(__name__)

Float32Array = npt.NDArray[np.float32]

GAMMA_FILE = "gamma.json"
MAP_FILES: dict[Reference, str] = {"MC": "gamma.mha", "TPS": "gamma_tps.mha"}
"""Of each reference dose: on its own voxels."""

CUTOFF_PERCENT = 10.0
LEAST_PERCENTS = (CUTOFF_PERCENT, 50.0, 80.0)
"""Where regions begin, per cent of the normalisation."""

_LEAST_BATCHES = 4


class _Named(TypedDict):
    criteria: str
    reference: Reference


@dataclass(frozen=True, slots=True)
class _Pair:
    """Reference and evaluated dose, where the reference is evaluated, and the points at which noise is looked at."""

    reference: Reference
    asked: DoseImage
    searched: DoseImage
    inside_zyx: BoolArray
    points: SampledPoints | None
    patches: Patches | None


class VolumeGammaAnalysis:
    """Collects the batches round some points; `finish` compares the whole doses and writes.

    Parameters
    ----------
    case_folder, patient_folder, dose_folder : Path
    settings : ComparisonConfig

    Raises
    ------
    ResultError
        When a file is missing or damaged.
    """

    def __init__(
        self, *, case_folder: Path, patient_folder: Path, dose_folder: Path, settings: ComparisonConfig
    ) -> None:
        self._case_folder, self._dose_folder = case_folder, dose_folder
        self._case = read_case(case_folder)
        self._merged = read_json(dose_folder / "merge.json", MergeResult)
        self._criteria = [
            GammaCriteria(one.dose_percent, one.distance, cutoff_percent=CUTOFF_PERCENT) for one in settings.gamma
        ]
        self._notes: list[str] = []
        self._mc = DoseImage.of(read_image(dose_folder / "mc_dose.mha"))
        self._normalisation, self._normalisation_of = 0.0, ""
        self._pairs = self._chosen_pairs(patient_folder, settings)
        self._rest: dict[Reference, list[Float32Array]] = {pair.reference: [] for pair in self._pairs}

    def _chosen_pairs(self, patient_folder: Path, settings: ComparisonConfig) -> list[_Pair]:
        """Both ways of asking; none, and a note, where there is nothing to compare."""
        if self._case.tps_dose is None:
            self._notes.append("No TPS dose: there is no gamma.")
            return []
        if not self._criteria:
            self._notes.append("The configuration's comparison.gamma holds no criteria: there is no gamma.")
            return []
        tps = DoseImage.of(read_image(self._case_folder / self._case.tps_dose.image.file))
        body = patient_folder / read_json(patient_folder / "patient.json", PatientModel).body_mask
        try:
            inside: dict[Reference, BoolArray] = {
                "TPS": read_inside(body, tps.grid, body.name),
                "MC": read_inside(body, self._mc.grid, body.name),
            }
        except InputError as error:
            self._notes.append(f"No gamma of the whole dose. {error}")
            return []
        self._normalise(settings, tps, inside["TPS"])
        if self._merged.batches < _LEAST_BATCHES:
            self._notes.append(
                f"{self._merged.batches} batches, at least {_LEAST_BATCHES} are needed to extrapolate a pass rate to a "
                "dose without noise. Raise transport.minimum_chunks."
            )
        return [
            self._pair("TPS", tps, self._mc, inside["TPS"]),
            self._pair("MC", self._mc, tps, inside["MC"]),
        ]

    def _normalise(self, settings: ComparisonConfig, tps: DoseImage, inside_zyx: BoolArray) -> None:
        prescription = settings.prescription_gy or self._case.target_prescription_gy
        if prescription:
            self._normalisation, self._normalisation_of = float(prescription), "the prescription"
        else:
            highest = float(np.nanmax(tps.values_zyx, where=inside_zyx, initial=0.0))
            self._normalisation, self._normalisation_of = highest, "the maximum of the TPS dose in the body"

    def _pair(self, reference: Reference, asked: DoseImage, searched: DoseImage, inside_zyx: BoolArray) -> _Pair:
        if self._merged.batches < _LEAST_BATCHES:
            return _Pair(reference, asked, searched, inside_zyx, None, None)
        reach = max(one.distance for one in self._criteria) * CAP
        most = points_that_fit(self._merged.batches, self._mc.grid, reach)
        points = choose_points(asked, inside_zyx, self._least_gy, most=most)
        patches = Patches.round(points.points_xyz, self._mc.grid, reach=reach) if reference == "TPS" else None
        return _Pair(reference, asked, searched, inside_zyx, points, patches)

    @property
    def _least_gy(self) -> list[float]:
        # Less than the spacing of single precision below the cut-off is the cut-off, as `gamma_map` has it.
        return [percent / 100 * self._normalisation * (1 - 1e-7) for percent in LEAST_PERCENTS]

    def add_left_out(self, dose_zyx: npt.NDArray[np.floating]) -> None:
        """Take in the dose without one batch, Gy, on the grid of mc_dose.mha.

        Raises
        ------
        ResultError
            When it lies on another grid.
        """
        if dose_zyx.shape != self._mc.values_zyx.shape:
            raise ResultError("A batch is not on the grid of mc_dose.mha. Run merge again.")
        for pair in self._pairs:
            if pair.points is not None:
                self._rest[pair.reference].append(_taken(pair, pair.points, dose_zyx))

    def finish(self, out_folder: Path) -> VolumeGamma:
        """Compare both ways, and write gamma.json and the maps of the first criteria.

        Raises
        ------
        ResultError
            When the batches are not those of the dose.
        WriteError
            When a file cannot be written.
        """
        for name in (GAMMA_FILE, *MAP_FILES.values()):
            (out_folder / name).unlink(missing_ok=True)
        rates: list[VolumeGammaRate] = []
        maps: list[GammaMap] = []
        for pair in self._pairs:
            try:
                self._compare(pair, out_folder, rates, maps)
            except InputError as error:
                self._notes.append(f"{pair.reference} as reference: no gamma of the whole dose. {error}")
        result = VolumeGamma(
            made_from=self._made_from(),
            normalisation_gy=self._normalisation or None,
            normalisation_of=self._normalisation_of,
            cutoff_percent=CUTOFF_PERCENT,
            high_dose_relative_sigma=self._merged.mean_relative_sigma,
            high_dose_voxels=self._merged.voxels_above_half_maximum,
            batches=self._merged.batches,
            rates=tuple(rates),
            maps=tuple(maps),
            notes=tuple(self._notes),
        )
        write_json(out_folder / GAMMA_FILE, result)
        logger.info("gamma of the whole dose: %d rates", len(rates))
        return result

    def _made_from(self) -> dict[str, str]:
        made_from = {
            "case": sha256_of_file(self._case_folder / "case.json"),
            "merge": sha256_of_file(self._dose_folder / "merge.json"),
            "mc_dose": sha256_of_file(self._dose_folder / "mc_dose.mha"),
        }
        tps = self._case.tps_dose
        return made_from if tps is None else made_from | {"tps_dose": tps.image.sha256}

    def _compare(self, pair: _Pair, out_folder: Path, rates: list[VolumeGammaRate], maps: list[GammaMap]) -> None:
        sampled = self._sampled(pair)
        for number, criteria in enumerate(self._criteria):
            found = gamma_map(
                pair.asked, pair.searched, criteria, normalisation=self._normalisation, inside_zyx=pair.inside_zyx
            )
            parts: list[PartOfNoise | None] = [None] * len(LEAST_PERCENTS)
            if sampled is not None and len(sampled.points):
                short = dataclasses.replace(criteria, cap=CAP)
                parts = parts_of_noise(sampled, short, self._normalisation, self._least_gy)
            rates += self._rates(pair, found, parts)
            if number == 0:
                maps.append(GammaMap(file=MAP_FILES[pair.reference], **_named(pair, criteria), largest=criteria.cap))
                write_image(out_folder / MAP_FILES[pair.reference], _image(found))

    def _sampled(self, pair: _Pair) -> SampledDoses | None:
        if pair.points is None:
            return None
        rest = self._rest.pop(pair.reference)
        number = self._merged.batches
        if len(rest) != number:
            raise ResultError(f"{len(rest)} batches found, {number} expected. Run merge again.")
        # Each batch by itself: n times the whole less (n - 1) times the rest, for batches of about equal weight.
        whole = _taken(pair, pair.points, self._mc.values_zyx)
        batches = np.empty((number, *whole.shape), dtype=np.float32)
        for index in range(number):
            batches[index] = number * whole - (number - 1) * rest[index]
            rest[index] = whole  # no longer needed
        return SampledDoses(pair.points, batches, pair.patches, pair.searched)

    def _rates(self, pair: _Pair, found: GammaResult, parts: Sequence[PartOfNoise | None]) -> list[VolumeGammaRate]:
        evaluated = np.isfinite(found.gamma_zyx)
        rates = []
        for percent, least, part in zip(LEAST_PERCENTS, self._least_gy, parts, strict=True):
            there = evaluated & (pair.asked.values_zyx >= least)
            points = int(there.sum())
            if not points:
                continue
            gamma, unreached = found.gamma_zyx[there], found.is_unreached_zyx[there]
            passed = int(np.count_nonzero(~unreached & (gamma <= PASS_LIMIT)))
            as_computed = 100 * passed / points
            rates.append(
                VolumeGammaRate(
                    least_percent=percent,
                    **_named(pair, found.criteria),
                    points=points,
                    unreached=int(unreached.sum()),
                    passed=passed,
                    as_computed_percent=as_computed,
                    mean_gamma=float(gamma.mean(dtype=np.float64)),
                    pass_percent=None if part is None else part.applied_to(as_computed),
                    sampled_points=0 if part is None else part.points,
                )
            )
        return rates


def _taken(pair: _Pair, points: SampledPoints, dose_zyx: npt.NDArray[np.floating]) -> Float32Array:
    """What of the Monte Carlo dose is needed at the points: their voxels' own, or blocks to search round them."""
    if pair.patches is not None:
        return pair.patches.taken_from(dose_zyx)
    return dose_zyx.ravel()[points.flat].astype(np.float32)


def _named(pair: _Pair, criteria: GammaCriteria) -> _Named:
    return {"criteria": f"{criteria.dose_percent:g} %/{criteria.distance:g} mm", "reference": pair.reference}


def _image(found: GammaResult) -> sitk.Image:
    values = np.where(found.is_unreached_zyx, np.float32(UNREACHED), found.gamma_zyx)
    return image_from_zyx(values, origin=found.grid.origin, spacing=found.grid.spacing)
