"""Electron steps are converged where it matters: at a small field's edge, in water and at a bone-air step.

The electrons that a 20 mm wide 6 MV field sets free by Compton scattering are started along one line
and transported by GATE. In a medium of layers across the beam the field's dose at a point is the sum
of that line's dose over a square of 20 mm around the point, so that every electron counts everywhere.
Photons scattered once add the same, smooth dose for any electron step; leaving them out leaves the
noise out too. Electrons are the same for both settings; sigma of the difference, from 20 batches, is
0.07 % on the axis and 0.04 % outside in water, up to 0.22 % and 0.1 % in the thin layers at the step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from gatecheck.config_transport import TransportConfig
from gatecheck.patient.model import Material
from gatecheck.transport.gate import GateRun, run_gate
from gatecheck.transport.materials import air, water
from gatecheck.transport.model import PhaseSpace
from gatecheck.transport.process import run_in_processes
from gatecheck.transport.volumes import HomogeneousVolume

pytestmark = [pytest.mark.physics, pytest.mark.gate]

FloatArray = npt.NDArray[np.float64]

FIELD = 20.0
HALF_WIDTH = 40.0  # mm of scoring grid, in voxels of 1 mm
BATCHES = 20
BONE = Material(
    label=1,
    name="cortical bone",
    density=1.92,
    mass_fractions={"H": 0.034, "C": 0.155, "N": 0.042, "O": 0.435, "Mg": 0.002, "P": 0.103, "S": 0.003, "Ca": 0.226},
)
MATERIALS = [water(0), BONE, air(2)]

# Photon energies (MeV) and their shares in number, roughly a 6 MV beam's.
SPECTRUM = ((0.3, 0.14), (0.6, 0.22), (1.0, 0.22), (1.5, 0.16), (2.0, 0.10), (3.0, 0.10), (4.5, 0.06))


def _compton_electrons(number: int, random: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Energies and polar angles of Compton electrons (Klein-Nishina, sampled by rejection)."""
    energies, shares = np.array(SPECTRUM).T
    kappa = random.choice(energies, number, p=shares / shares.sum()) / 0.51099895
    cosine = np.empty(number)
    left = np.arange(number)
    while left.size:
        trial = random.uniform(-1, 1, left.size)
        ratio = 1 / (1 + kappa[left] * (1 - trial))
        accepted = random.uniform(0, 2, left.size) < ratio**2 * (ratio + 1 / ratio - 1 + trial**2)
        cosine[left[accepted]] = trial[accepted]
        left = left[~accepted]
    photon = 0.51099895 * kappa
    energy = photon * (1 - 1 / (1 + kappa * (1 - cosine)))
    # Electron's angle from momentum conservation: cot(phi) = (1 + kappa) tan(theta / 2).
    angle = np.arctan2(1.0, (1 + kappa) * np.tan(np.arccos(cosine) / 2))
    return energy, angle


def _electrons(number: int, depths: FloatArray, seed: int) -> PhaseSpace:
    random = np.random.default_rng(seed)
    energy, angle = _compton_electrons(number, random)
    azimuth = random.uniform(0, 2 * np.pi, number)
    position = np.zeros((number, 3))
    position[:, 1] = depths
    direction = np.stack([np.sin(angle) * np.cos(azimuth), np.cos(angle), np.sin(angle) * np.sin(azimuth)], axis=1)
    return PhaseSpace(
        pdg_code=np.full(number, 11, np.int32),
        energy=energy,
        position=position,
        direction=direction,
        weight=np.ones(number),
        beam_number=np.ones(number, np.int32),
        histories=number,
        nominal_photons=float(number),
    )


@dataclass(frozen=True, slots=True)
class Geometry:
    """Layers along y, where electrons start, and the layers whose dose is looked at."""

    volumes: tuple[HomogeneousVolume, ...]
    electrons: int
    looked_at: dict[str, tuple[int, slice]]

    def phase_space(self, seed: int) -> PhaseSpace:
        """Starts in proportion to mass, as Compton scattering nearly is."""
        random = np.random.default_rng([seed, 9])
        density = {material.label: material.density for material in MATERIALS}
        mass = np.array([density[v.material_label] * (v.upper[1] - v.lower[1]) for v in self.volumes])
        chosen = random.choice(len(self.volumes), self.electrons, p=mass / mass.sum())
        low, high = (np.array([getattr(v, end)[1] for v in self.volumes])[chosen] for end in ("lower", "upper"))
        return _electrons(self.electrons, random.uniform(low, high), seed)


def _slab(name: str, label: int, start: float, end: float, layers: int) -> HomogeneousVolume:
    side = round(2 * HALF_WIDTH)
    return HomogeneousVolume(
        name, label, (-HALF_WIDTH, start, -HALF_WIDTH), (HALF_WIDTH, end, HALF_WIDTH), (side, layers, side)
    )


WATER = Geometry((_slab("water", 0, 0.0, 50.0, 10),), 400_000, {"water": (0, slice(3, 9))})
BONE_AIR = Geometry(
    (
        _slab("water before", 0, 0.0, 10.0, 2),
        _slab("bone", 1, 10.0, 20.0, 4),
        _slab("air", 2, 20.0, 32.0, 1),
        _slab("water behind", 0, 32.0, 52.0, 8),
    ),
    1_800_000,
    {
        "bone before the step": (1, slice(2, 4)),
        "air": (2, slice(0, 1)),
        "water behind the step": (3, slice(0, 2)),
        "water further on": (3, slice(2, 6)),
    },
)
GEOMETRIES = {"water": WATER, "bone-air step": BONE_AIR}


def _run(geometry: str, settings: TransportConfig, seed: int) -> GateRun:
    """The same electrons for any setting and seed, so that differences do not hold their number and energy."""
    layout = GEOMETRIES[geometry]
    return run_gate(
        volumes=layout.volumes,
        materials=MATERIALS,
        phase_space=layout.phase_space(1),
        settings=settings,
        seed=seed,
        batches=BATCHES,
        starts_inside=True,
    )


@dataclass(frozen=True, slots=True)
class FieldDose:
    """Dose of the field per batch: on the axis, and 1 to 5 mm outside of its edge (mean of four sides)."""

    axis: FloatArray
    outside: FloatArray


def _field_dose(energy_zyx: FloatArray) -> tuple[float, FloatArray]:
    """On the axis; and at 1.5, 2.5, 3.5, 4.5 mm outside, in the same unit."""
    plane = energy_zyx.sum(axis=1)
    middle, half = plane.shape[0] // 2, round(FIELD / 2)
    band = slice(middle - half, middle + half)
    axis = plane[band, band].sum()
    lines = [plane[band, :].sum(axis=0), plane[:, band].sum(axis=1)]
    sides = [side for line in lines for side in (line, line[::-1])]
    cumulated = np.mean([np.concatenate([[0.0], np.cumsum(side)]) for side in sides], axis=0)
    outside = []
    for distance in (1.5, 2.5, 3.5, 4.5):
        # The field's points lie from `distance` to `distance` + 20 mm away.
        start = middle + distance
        ends = np.interp([start, start + FIELD], np.arange(len(cumulated)), cumulated)
        outside.append(ends[1] - ends[0])
    return float(axis), np.array(outside)


def _doses(run: GateRun, volume: int, layers: slice) -> FieldDose:
    both = [_field_dose(batch[:, layers, :]) for batch in run.scores[volume].batches]
    return FieldDose(np.array([axis for axis, _ in both]), np.array([outside for _, outside in both]))


@dataclass(frozen=True, slots=True)
class Change:
    """How one setting's dose differs from another's, in shares of the axis dose, with sigma (k = 1)."""

    axis: float
    axis_sigma: float
    outside: FloatArray
    outside_sigma: FloatArray

    @property
    def mean_outside(self) -> float:
        return float(self.outside.mean())


def _change(one: FieldDose, other: FieldDose) -> Change:
    """Batch by batch: the same batch holds the same electrons."""
    reference = one.axis.mean()
    root = np.sqrt(len(one.axis))
    axis, outside = (other.axis - one.axis) / reference, (other.outside - one.outside) / reference
    return Change(
        axis=float(axis.mean()),
        axis_sigma=float(axis.std(ddof=1) / root),
        outside=outside.mean(axis=0),
        outside_sigma=outside.std(axis=0, ddof=1) / root,
    )


DEFAULT = TransportConfig()
HALVED = DEFAULT.model_copy(
    update={"electron_step_function": tuple(value / 2 for value in DEFAULT.electron_step_function)}
)
# Geant4's own settings of G4EmStandardPhysics.
GEANT4_DEFAULT = DEFAULT.model_copy(
    update={"electron_step_function": (0.2, 1.0), "multiple_scattering_step_limit": "UseSafety"}
)


@pytest.fixture(scope="module")
def runs() -> dict[tuple[str, str], GateRun]:
    settings = {"ours": DEFAULT, "halved": HALVED, "geant4": GEANT4_DEFAULT}
    keys = [(geometry, name) for geometry in GEOMETRIES for name in settings]
    requests = [
        {"geometry": geometry, "settings": settings[name], "seed": 40 + number}
        for number, (geometry, name) in enumerate(keys)
    ]
    return dict(zip(keys, run_in_processes(_run, requests, processes=2), strict=True))


def _changes(runs: dict[tuple[str, str], GateRun], geometry: str, other: str) -> dict[str, Change]:
    return {
        name: _change(*(_doses(runs[geometry, setting], volume, layers) for setting in ("ours", other)))
        for name, (volume, layers) in GEOMETRIES[geometry].looked_at.items()
    }


def _report(changes: dict[str, Change]) -> str:
    return "\n".join(
        f"{name}: axis {100 * c.axis:+.2f} +- {100 * c.axis_sigma:.2f} %, outside "
        + ", ".join(f"{100 * o:+.2f} +- {100 * s:.2f} %" for o, s in zip(c.outside, c.outside_sigma, strict=True))
        for name, c in changes.items()
    )


@pytest.mark.parametrize("geometry", list(GEOMETRIES))
def test_halving_the_electron_step_changes_less_than_half_a_percent_on_the_axis_and_0_3_outside(
    runs: dict[tuple[str, str], GateRun], geometry: str
) -> None:
    changes = _changes(runs, geometry, "halved")
    # Air holds no tissue, and the few electrons that end in it leave its dose noisy: see below.
    for change in (change for name, change in changes.items() if name != "air"):
        assert change.axis_sigma < 0.0027, _report(changes)
        assert np.all(change.outside_sigma < 0.001), _report(changes)
        assert abs(change.axis) < 0.005, _report(changes)
        assert np.all(np.abs(change.outside) < 0.003), _report(changes)


def test_halving_the_electron_step_changes_the_air_itself_by_a_few_percent_at_most(
    runs: dict[tuple[str, str], GateRun],
) -> None:
    """Measured: +3.2 +- 0.7 % on the axis, +0.7 to +1.4 % of it outside, in 12 mm of air behind bone.

    Air holds no tissue. Its dose follows the few electrons that leave bone askew; energy left in the gap by electrons
    from the last 6 mm of bone is 5 +- 2 % higher by single scattering, and 3 +- 2 % less than with Urban's model. The
    dose of the tissue on both sides, which the other tests look at, does not feel it.
    """
    change = _changes(runs, "bone-air step", "halved")["air"]
    assert abs(change.axis) < 0.05 + 3.0 * change.axis_sigma
    assert np.all(np.abs(change.outside) < 0.02 + 3.0 * change.outside_sigma)


def test_the_test_can_fail_because_geant4_s_own_settings_do_not_pass(
    runs: dict[tuple[str, str], GateRun],
) -> None:
    """They lose dose outside of the edge in water by more than the limit, at more than 5 sigma."""
    changes = _changes(runs, "water", "geant4")
    change = changes["water"]
    worst = int(np.argmin(change.outside))
    assert change.outside[worst] < -0.003, _report(changes)
    assert change.outside[worst] < -5 * change.outside_sigma[worst], _report(changes)
