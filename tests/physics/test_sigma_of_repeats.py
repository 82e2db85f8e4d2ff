"""Sigma of a whole run against the spread of ten: a clinical case, from the head's photons to the merged dose."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest

from gatecheck.case.ingest import ingest, read_case
from gatecheck.config import PatientConfig, project_folder
from gatecheck.config_transport import TransportConfig
from gatecheck.delivery.storage import write_delivery
from gatecheck.delivery.timeline import deliver
from gatecheck.dose.merge import merge
from gatecheck.dose.model import MergeResult
from gatecheck.files import array_zyx, read_image
from gatecheck.linac.load import load_linac_model
from gatecheck.linac.model import LinacModel
from gatecheck.patient.voxelise import voxelise
from gatecheck.phantoms import write_phantom
from gatecheck.transport.chunk import ChunkInputs, simulate_chunks
from gatecheck.transport.engine import describe_engine
from gatecheck.transport.model import CalibrationResult
from gatecheck.transport.patient_files import PatientMatter, placement, read_body
from gatecheck.transport.plan import plan_chunks
from gatecheck.transport.volumes import VoxelVolume, density_zyx

pytestmark = [pytest.mark.physics, pytest.mark.gate]

logger = logging.getLogger(__name__)

REPEATS = 10
PHOTONS = 1_000_000
FloatArray = npt.NDArray[np.float64]

# Where particles of little weight and particles of much meet: outside of the fine box roulette leaves one of ten, in
# air of these one electron of four. How well the ratio is known (k = 1), at least, by leaving out a run each time.
HIGH, COARSE, AIR = "above half the maximum", "coarse, above 3 % of it", "coarse air, above 0.3 %"
KNOWN = {HIGH: 0.033, COARSE: 0.033, AIR: 0.15}
_LEAST_OF_MAXIMUM = {COARSE: 0.03, AIR: 0.003}
_DENSEST_AIR = 0.05  # g/cm3


@dataclass(frozen=True)
class Repeats:
    """Doses and sigmas of shape (repeats, voxels) of each region, and what merging said."""

    doses: dict[str, FloatArray]
    sigmas: dict[str, FloatArray]
    merged: tuple[MergeResult, ...]


@pytest.fixture(scope="module", params=["gate", "replayed"])
def repeats(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Repeats:
    """With each way of electrons."""
    folder = tmp_path_factory.mktemp("repeats")
    write_phantom("clinical_case_2", folder / "dicom")
    ingest(folder / "dicom", folder / "case")
    delivery = folder / "timeline.parquet"
    write_delivery(deliver(read_case(folder / "case")), delivery)
    voxels = PatientConfig(coarse_voxel_size=6, fine_voxel_size=2, fine_region_margin=12)
    voxelise(folder / "case", folder / "patient", voxels)
    linac = load_linac_model(project_folder() / "linac_models" / "truebeam_stx", "beam_6x")
    merged = tuple(_repeat(folder, delivery, linac, request.param, seed) for seed in range(1, 1 + REPEATS))
    doses, sigmas = (
        np.array([array_zyx(read_image(folder / f"dose-{seed}" / name)) for seed in range(1, 1 + REPEATS)], np.float64)
        for name in ("mc_dose.mha", "mc_sigma.mha")
    )
    mean = doses.mean(axis=0)
    chosen = {HIGH: mean > mean.max() / 2, **_outside_of_the_fine_box(folder / "patient", mean)}
    return Repeats(
        {region: doses[:, which] for region, which in chosen.items()},
        {region: sigmas[:, which] for region, which in chosen.items()},
        merged,
    )


def _outside_of_the_fine_box(patient_folder: Path, mean: FloatArray) -> dict[str, npt.NDArray[np.bool_]]:
    """Regions on the joined grid; of each coarse voxel the joined one at its corner alone."""
    matter = PatientMatter.read(patient_folder)
    patient = matter.patient
    body = read_body(patient_folder, patient)
    regions = {region: np.zeros(mean.shape, bool) for region in _LEAST_OF_MAXIMUM}
    for box, volume in zip(patient.boxes, matter.volumes, strict=True):
        if box.role == "fine" or not isinstance(volume, VoxelVolume):
            continue
        ratio, start = placement(box, patient.joined_grid)
        corners = tuple(
            slice(first, first + step * number, step)
            for first, step, number in zip(start[::-1], ratio[::-1], box.size[::-1], strict=True)
        )
        density = density_zyx(volume, patient.materials)
        for region, least in _LEAST_OF_MAXIMUM.items():
            which = body[corners] & (mean[corners] > least * mean.max())
            regions[region][corners] = which & (density < _DENSEST_AIR) if region == AIR else which
    return regions


def _repeat(
    folder: Path, delivery: Path, linac: LinacModel, electrons: Literal["gate", "replayed"], seed: int
) -> MergeResult:
    """A run of ten chunks with a seed of its own: no photon of the head is another run's."""
    settings = TransportConfig(
        seed=seed, source_photons=PHOTONS, pilot_photons=20_000, minimum_chunks=10, electron_transport=electrons
    )
    common = {
        "delivery_path": delivery,
        "linac": linac,
        "patient_folder": folder / "patient",
        "settings": settings,
        "dose_to": "medium",
        "out_folder": folder / f"transport-{seed}",
    }
    plan = plan_chunks(**common)
    simulate_chunks(ChunkInputs(**common, inputs_sha256=plan.inputs_sha256), plan.chunks, at_a_time=2)
    return merge(
        transport_folder=folder / f"transport-{seed}",
        patient_folder=folder / "patient",
        delivery_path=delivery,
        calibration=CalibrationResult(
            key_sha256="0" * 64,
            machine=linac.name,
            linac_sha256=linac.content_sha256,
            engine=describe_engine(settings, "fast"),
            reference={},
            dose_per_nominal_photon=1e-16,
            relative_sigma=0.003,
            nominal_photons_per_mu=1e12,
            histories=1,
            seconds=1.0,
        ),
        out_folder=folder / f"dose-{seed}",
    )


def _ratio(doses: FloatArray, sigmas: FloatArray) -> float:
    """Root of the mean of squares over voxels, stated over spread."""
    return float(np.sqrt(np.mean(sigmas**2) / np.mean(doses.var(axis=0, ddof=1))))


@pytest.mark.parametrize("region", list(KNOWN))
def test_sigma_from_ten_chunks_is_the_spread_of_ten_runs_within_10_percent(repeats: Repeats, region: str) -> None:
    """Known to 3 % and better, by leaving out one run after the other: 10 % are three sigma and more. In air, where few
    electrons of much weight make the dose, it is known less well, and has to be within three sigma."""
    doses, sigmas = repeats.doses[region], repeats.sigmas[region]
    found = _ratio(doses, sigmas)
    left_out = [_ratio(np.delete(doses, one, axis=0), np.delete(sigmas, one, axis=0)) for one in range(REPEATS)]
    sigma = float(np.sqrt((REPEATS - 1) * np.var(left_out)))
    logger.info("%s: stated over spread %.3f +- %.3f in %d voxels", region, found, sigma, doses.shape[1])
    assert sigma < KNOWN[region]
    assert found == pytest.approx(1.0, abs=max(0.10, 3 * sigma))


def test_sigma_history_by_history_agrees_with_that_from_chunks_within_10_percent(repeats: Repeats) -> None:
    """In the mean of ten runs; with electrons in GATE it is known to be 2 to 5 % low, see `test_sigma`."""
    ratios = np.array([one.mean_relative_sigma_history / one.mean_relative_sigma for one in repeats.merged])
    sigma = float(ratios.std(ddof=1) / np.sqrt(REPEATS))
    logger.info("history by history over chunks %.3f +- %.3f", ratios.mean(), sigma)
    assert sigma < 0.033
    assert ratios.mean() == pytest.approx(1.0, abs=0.10)
