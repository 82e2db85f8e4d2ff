"""Tracked photons give GATE's own dose: the same phase space, photons by gatecheck and photons by GATE.

Two photon beams, of 6 MV bremsstrahlung and of low energy, through slabs of water, cortical bone, lung and
air, with a step across the beam. Compared are the energies in every slab, split at the step and in
depth, and beside the beam. Sigma of the differences, from batches, is 0.1 to 0.35 % in the beam.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from photon_beam import SIX_MEGAVOLT, photon_beam

from gatecheck.config_transport import TransportConfig
from gatecheck.patient.model import Material
from gatecheck.transport.materials import air, water
from gatecheck.transport.model import PhaseSpace
from gatecheck.transport.process import run_in_processes
from gatecheck.transport.run import run_transport
from gatecheck.transport.volumes import HomogeneousVolume

pytestmark = [pytest.mark.physics, pytest.mark.gate]

FloatArray = npt.NDArray[np.float64]

logger = logging.getLogger(__name__)

PHOTONS = {"6 MV": 6_000_000, "low": 2_000_000}
BATCHES = 20
BONE = Material(
    label=1,
    name="cortical bone",
    density=1.92,
    mass_fractions={"H": 0.034, "C": 0.155, "N": 0.042, "O": 0.435, "Mg": 0.002, "P": 0.103, "S": 0.003, "Ca": 0.226},
)
LUNG = Material(
    label=2,
    name="lung",
    density=0.26,
    mass_fractions={"H": 0.103, "C": 0.105, "N": 0.031, "O": 0.749, "Na": 0.002, "P": 0.002, "S": 0.003, "Cl": 0.005},
)
MATERIALS = [water(0), BONE, LUNG, air(3)]
# Shares in number of a 6 MV beam's photons, and of one that is mostly absorbed and scattered coherently.
SPECTRA = {
    "6 MV": SIX_MEGAVOLT,
    "low": ((0.03, 0.2), (0.06, 0.4), (0.12, 0.4)),
}


# Name, material's label, from and to along the beam (mm).
LAYERS: tuple[tuple[str, int, float, float], ...] = (
    ("water, build-up", 0, 0.0, 12.0),
    ("water before", 0, 12.0, 32.0),
    ("bone", 1, 32.0, 48.0),
    ("water after bone", 0, 48.0, 60.0),
    ("lung", 2, 60.0, 100.0),
    ("water after lung", 0, 100.0, 120.0),
    ("air", 3, 120.0, 132.0),
    ("water after air", 0, 132.0, 148.0),
    ("water at depth", 0, 148.0, 200.0),
)
HALF = 48.0
IN_BEAM = slice(4, 8)  # of voxels of 8 mm


def slabs() -> list[HomogeneousVolume]:
    """Slabs without voxel faces, for GATE's sake; the tracking looks up its material voxel by voxel all the same."""
    return [
        HomogeneousVolume(name, label, (-HALF, start, -HALF), (HALF, end, HALF), (12, 1, 12))
        for name, label, start, end in LAYERS
    ]


def _beam(spectrum: str) -> PhaseSpace:
    return photon_beam(SPECTRA[spectrum], PHOTONS[spectrum], 31, spread=0.02)


def _run(
    *,
    spectrum: str,
    photon_transport: str,
    seed: int,
    far_electron_survival: float = 1.0,
    far_photon_survival: float = 1.0,
) -> dict[str, list[float]]:
    """Energy of each batch in and beside the beam. Long electron steps, the same for both: it is about photons."""
    settings = TransportConfig.model_validate(
        {
            "photon_transport": photon_transport,
            "photon_splitting": 2,
            "far_electron_survival": far_electron_survival,
            "far_photon_survival": far_photon_survival,
            "electron_step_function": (0.2, 1.0),
            "multiple_scattering_step_limit": "UseSafety",
        }
    )
    run = run_transport(
        volumes=slabs(),
        materials=MATERIALS,
        phase_space=_beam(spectrum),
        settings=settings,
        seed=seed,
        batches=BATCHES,
        of_interest=next(volume for volume in slabs() if volume.name == "bone"),
    )
    result = {}
    for (name, *_), score in zip(LAYERS, run.scores, strict=True):
        inside = [float(batch[IN_BEAM, 0, IN_BEAM].sum()) for batch in score.batches]
        result[f"{name}, in the beam"] = inside
        result[f"{name}, beside"] = [float(b.sum()) - i for b, i in zip(score.batches, inside, strict=True)]
    return result


@pytest.mark.parametrize("spectrum", list(SPECTRA))
def test_tracked_photons_give_the_dose_that_gate_gives(spectrum: str) -> None:
    """Every region within 3.9 sigma (18 regions, 0.2 % by chance); the whole dose within 0.25 %, 2.5 sigma or more."""
    requests = [
        {"spectrum": spectrum, "photon_transport": transport, "seed": seed}
        for transport, seed in (("gate", 3), ("tracked", 4))
    ]
    whole, sigma, report = _compared(requests)
    assert sigma < 0.001, report
    assert abs(whole) < 0.0025, report


@pytest.mark.parametrize("played", [{"far_electron_survival": 0.1}, {"far_photon_survival": 0.2}])
def test_roulette_far_from_the_bone_gives_the_dose_of_all(played: dict[str, float]) -> None:
    """Every region within 3.9 sigma, and the whole dose within three, of which one is below 0.2 %."""
    requests = [{"spectrum": "6 MV", "photon_transport": "tracked", "seed": 4, **survival} for survival in ({}, played)]
    whole, sigma, report = _compared(requests)
    assert sigma < 0.002, report
    assert abs(whole) < 3 * sigma, report


def _compared(requests: list[dict[str, Any]]) -> tuple[float, float, str]:
    """Refuse two runs that differ in a region; by how much the whole differs, its sigma, and all of it in words."""
    first, second = run_in_processes(_run, requests, processes=2)
    lines, worst = [], 0.0
    for name in first:
        a, b = np.array(first[name]), np.array(second[name])
        # Batch by batch the same photons, so that their number and energies are in neither sigma.
        ratio = b.sum() / a.sum() - 1
        sigma = float((b - a).std(ddof=1) * np.sqrt(BATCHES) / a.sum())
        lines.append(f"{name}: {100 * ratio:+.2f} +- {100 * sigma:.2f} %")
        worst = max(worst, abs(ratio) / sigma)
    totals = [np.sum(list(result.values()), axis=0) for result in (first, second)]
    whole = float(totals[1].sum() / totals[0].sum() - 1)
    whole_sigma = float((totals[1] - totals[0]).std(ddof=1) * np.sqrt(BATCHES) / totals[0].sum())
    report = "\n".join([*lines, f"all: {100 * whole:+.3f} +- {100 * whole_sigma:.3f} %"])
    logger.info("%s", report)
    assert worst < 3.9, report
    return whole, whole_sigma, report
