"""The photon source as a sum of parts: what each gives is simulated once, any source is a weighted sum.

Photons and electrons are sampled from a proposal that is wider than any source to be tried. Each belongs,
with shares, to the nearest nodes of energy and radius (hat functions). The dose of a source is the
sum over nodes of the node's response times the source's density there over the proposal's.

Linear in the weights are so: spectrum, its change off the axis, fluence off the axis, the weight and
width of the extra-focal disc and its spectrum, and number, width and spectrum of the electrons. The
focal spot's size is not among them; it is a setting of the simulation.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gatecheck.linac.model import Beam, ContaminantElectrons
from gatecheck.linac.photon_source import (
    compton_shifted,
    photon_number,
    quantiles,
    relative_fluence_at,
    softening_at,
)
from gatecheck.transport.fast_head.rays import (
    ELECTRON_PDG,
    RAY_ENERGY,
    RAY_PDG,
    RAY_SLOPE_X,
    RAY_SLOPE_Y,
    RAY_START,
    RAY_X0,
    RAY_Y0,
)
from gatecheck.transport.fast_head.tables import RADIUS_STEP, Source

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Nodes of the basis.
# fmt: off
PHOTON_ENERGY = np.array(
    [
        0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.3, 2.6,
        3.0, 3.4, 3.8, 4.2, 4.6, 5.0, 5.4, 5.8, 6.2, 6.8,
    ]
)
# fmt: on
ELECTRON_ENERGY = np.array([0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0])
EXTRA_FOCAL_RADIUS = np.array([0.0, 3.0, 6.0, 9.0, 12.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 70.0, 100.0])
ELECTRON_RADIUS = np.array([0.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 130.0])

# The proposal: photons of each part relative to the focal ones, and widths of the discs, mm.
_NUMBER = np.array([1.0, 0.12, 0.06])
_SIGMA = np.array([0.0, 20.0, 35.0])
# Of the proposal's energies; the rest is the beam's own spectrum, so that the weights near it are alike.
_FLAT_SHARE, _FLAT_ELECTRONS = 0.2, 0.5
_FINE = 4001


class Sampling(Protocol):
    """What is sampled, and the elements that each ray belongs to."""

    @property
    def source(self) -> Source:
        """Distributions that the fast head samples."""

    @property
    def size(self) -> int:
        """Number of elements."""

    def entries(self, rays: FloatArray) -> tuple[IntArray, FloatArray]:
        """Elements and shares of each ray, both of shape (n_rays, 4)."""


@dataclass(frozen=True, slots=True)
class BeamSampling:
    """A machine's own source, as one element of weight 1."""

    source: Source
    size: int = 1

    def entries(self, rays: FloatArray) -> tuple[IntArray, FloatArray]:
        """The one element."""
        share = np.zeros((len(rays), 4))
        share[:, 0] = 1.0
        return np.zeros((len(rays), 4), dtype=np.int64), share


@dataclass(frozen=True, slots=True)
class BasisSampling:
    """A basis' proposal, with a beam's focal spot."""

    basis: SourceBasis
    source: Source

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.basis.size

    def entries(self, rays: FloatArray) -> tuple[IntArray, FloatArray]:
        """Elements and shares by energy and radius."""
        return entries(self.basis, rays)


@dataclass(frozen=True, slots=True)
class SourceBasis:
    """Nodes of the basis for a beam's geometry, and the proposal from which photons are sampled.

    Attributes
    ----------
    radius : ndarray
        Nodes of the focal photons' distance from the axis at the isocentre plane, mm.
    opening_radius : float
        Of the primary collimator, mm at the isocentre plane.
    axis_distance : float
    distance : ndarray of shape (3,)
        Of target, extra-focal disc and electron disc from the target.
    energy_density : tuple of (ndarray, ndarray)
        Proposal of the focal photons' energies: MeV, and density at them, 1/MeV.
    """

    radius: FloatArray
    opening_radius: float
    axis_distance: float
    distance: FloatArray
    focal_density: tuple[FloatArray, FloatArray]
    extra_focal_density: tuple[FloatArray, FloatArray]
    electron_density: tuple[FloatArray, FloatArray]

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Elements of the focal, the extra-focal and the electrons' part."""
        photons, electrons = len(PHOTON_ENERGY), len(ELECTRON_ENERGY)
        return (
            photons * len(self.radius),
            photons * len(EXTRA_FOCAL_RADIUS),
            electrons * len(ELECTRON_RADIUS),
        )

    @property
    def size(self) -> int:
        """Elements in all."""
        return sum(self.sizes)


def basis_for(beam: Beam, *, opening_radius: float, axis_distance: float) -> SourceBasis:
    """A basis round a beam: its spectrum is half of the proposal."""
    energy, number = photon_number(beam.spectrum)
    focal = _mixed(energy, number, PHOTON_ENERGY[0], PHOTON_ENERGY[-1])
    shifted = compton_shifted(energy, beam.extra_focal.scattering_angle)
    extra = _mixed(shifted, number, PHOTON_ENERGY[0], PHOTON_ENERGY[-1])
    electron_energy = np.linspace(ELECTRON_ENERGY[0], ELECTRON_ENERGY[-1], _FINE)
    electrons = _mixed(
        electron_energy,
        _electron_number(beam.contaminant_electrons, electron_energy),
        ELECTRON_ENERGY[0],
        ELECTRON_ENERGY[-1],
        flat=_FLAT_ELECTRONS,
    )
    inner = np.array(
        [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 100.0, 120.0, 140.0, 160.0, 180.0, 200.0, 225.0]
    )
    radius = np.concatenate([inner[inner < opening_radius - 10.0], [opening_radius]])
    return SourceBasis(
        radius=radius,
        opening_radius=opening_radius,
        axis_distance=axis_distance,
        distance=np.array([0.0, beam.extra_focal.distance, beam.contaminant_electrons.distance]),
        focal_density=focal,
        extra_focal_density=extra,
        electron_density=electrons,
    )


def _mixed(
    energy: FloatArray, number: FloatArray, low: float, high: float, *, flat: float = _FLAT_SHARE
) -> tuple[FloatArray, FloatArray]:
    """A density that is partly flat from low to high and partly the given one."""
    grid = np.linspace(low, high, _FINE)
    usual = np.interp(grid, energy, number, left=0.0, right=0.0)
    usual /= np.trapezoid(usual, grid)
    return grid, flat / (high - low) + (1.0 - flat) * usual


def proposal_source(basis: SourceBasis, beam: Beam) -> Source:
    """The proposal as the fast head samples it, with the beam's focal spot."""
    radii = RADIUS_STEP * np.arange(int(np.ceil(basis.opening_radius / RADIUS_STEP)) + 2, dtype=float)
    area = np.pi * basis.opening_radius**2
    xx, xy, yy = beam.focal_spot.square_root
    return Source(
        opening_radius=basis.opening_radius,
        spot_xx=xx,
        spot_xy=xy,
        spot_yy=yy,
        distance=basis.distance,
        sigma=_SIGMA,
        number=_NUMBER,
        density=np.ones((3, len(radii))),
        peak_density=_NUMBER / area,
        focal_energy=np.tile(quantiles(*basis.focal_density), (len(radii), 1)),
        extra_focal_energy=quantiles(*basis.extra_focal_density),
        electron_energy=quantiles(*basis.electron_density),
    )


def entries(basis: SourceBasis, rays: FloatArray) -> tuple[IntArray, FloatArray]:
    """The elements that each ray belongs to and its share in them, both of shape (n_rays, 4)."""
    index = np.zeros((len(rays), 4), dtype=np.int64)
    share = np.zeros((len(rays), 4))
    start = rays[:, RAY_START]
    is_electron = rays[:, RAY_PDG] == ELECTRON_PDG
    is_focal = ~is_electron & (start == 0.0)
    x, y = (rays[:, at] + rays[:, slope] * start for at, slope in ((RAY_X0, RAY_SLOPE_X), (RAY_Y0, RAY_SLOPE_Y)))
    origin = np.hypot(x, y)
    # Where it points to: from its own origin, through the isocentre plane.
    seen = np.hypot(
        rays[:, RAY_X0] + rays[:, RAY_SLOPE_X] * basis.axis_distance,
        rays[:, RAY_Y0] + rays[:, RAY_SLOPE_Y] * basis.axis_distance,
    )
    first = 0
    parts = (
        (is_focal, PHOTON_ENERGY, basis.radius, seen),
        (~is_focal & ~is_electron, PHOTON_ENERGY, EXTRA_FOCAL_RADIUS, origin),
        (is_electron, ELECTRON_ENERGY, ELECTRON_RADIUS, origin),
    )
    for (chosen, energies, radii, radius), size in zip(parts, basis.sizes, strict=True):
        row, row_share = _hats(energies, rays[chosen, RAY_ENERGY])
        column, column_share = _hats(radii, radius[chosen])
        for entry in range(4):
            a, b = entry // 2, entry % 2
            index[chosen, entry] = first + (row + a) * len(radii) + column + b
            share[chosen, entry] = (row_share if a else 1.0 - row_share) * (column_share if b else 1.0 - column_share)
        first += size
    return index, share


def _hats(nodes: FloatArray, value: FloatArray) -> tuple[IntArray, FloatArray]:
    """The node below each value and how far it is towards the next."""
    low = np.clip(np.searchsorted(nodes, value, side="right") - 1, 0, len(nodes) - 2)
    share = np.clip((value - nodes[low]) / (nodes[low + 1] - nodes[low]), 0.0, 1.0)
    return low.astype(np.int64), share


def weights(basis: SourceBasis, beam: Beam) -> FloatArray:
    """The beam's density over the proposal's at every element, shape (basis.size,)."""
    return np.concatenate(
        [
            _focal_weights(basis, beam).ravel(),
            _extra_focal_weights(basis, beam).ravel(),
            _electron_weights(basis, beam).ravel(),
        ]
    )


def _focal_weights(basis: SourceBasis, beam: Beam) -> FloatArray:
    area = np.pi * basis.opening_radius**2
    fine = np.linspace(0.0, basis.opening_radius, _FINE)
    integral = float(np.trapezoid(2 * np.pi * fine * relative_fluence_at(beam.off_axis, fine), fine))
    density = relative_fluence_at(beam.off_axis, basis.radius) * area / integral
    columns = []
    for less in softening_at(beam.off_axis, basis.radius):
        energy, number = photon_number(beam.spectrum, less_aluminium=float(less))
        columns.append(_ratio(energy, number, basis.focal_density, PHOTON_ENERGY))
    number_share = (1.0 - beam.extra_focal.fraction) / _NUMBER[0]
    return np.asarray(number_share * np.array(columns).T * density)


def _ratio(
    energy: FloatArray, number: FloatArray, proposal: tuple[FloatArray, FloatArray], nodes: FloatArray
) -> FloatArray:
    """Density of energies over the proposal's at the nodes; the mean over each node's hat keeps sharp edges right."""
    grid, proposed = proposal
    wanted = np.interp(grid, energy, number, left=0.0, right=0.0)
    hats = _hats_on(tuple(nodes.tolist()), float(grid[0]), float(grid[-1]))
    # The trapezoidal rule on an even grid; its step drops out of the quotient.
    return np.asarray((hats @ wanted) / (np.trapezoid(wanted, grid) * (hats @ proposed)))


@functools.lru_cache(maxsize=16)
def _hats_on(nodes: tuple[float, ...], low: float, high: float) -> FloatArray:
    """Each node's hat on the proposal's grid of energies, shape (n_nodes, _FINE), ends of the grid halved."""
    grid = np.linspace(low, high, _FINE)
    hats = np.array([np.interp(grid, nodes, row) for row in np.eye(len(nodes))])
    hats[:, [0, -1]] *= 0.5
    return hats


def _extra_focal_weights(basis: SourceBasis, beam: Beam) -> FloatArray:
    extra = beam.extra_focal
    energy, number = photon_number(beam.spectrum)
    shifted = np.maximum(compton_shifted(energy, extra.scattering_angle), beam.spectrum.lowest_energy)
    # Equal numbers in shifted intervals: the density carries the interval's change of length.
    density = number * np.gradient(energy) / np.maximum(np.gradient(shifted), 1e-12)
    ratio = _ratio(
        shifted, np.where(np.gradient(shifted) > 1e-9, density, 0.0), basis.extra_focal_density, PHOTON_ENERGY
    )
    return np.asarray(extra.fraction / _NUMBER[1] * np.outer(ratio, _disc(EXTRA_FOCAL_RADIUS, extra.sigma, _SIGMA[1])))


def _electron_weights(basis: SourceBasis, beam: Beam) -> FloatArray:
    electrons = beam.contaminant_electrons
    grid = basis.electron_density[0]
    ratio = _ratio(grid, _electron_number(electrons, grid), basis.electron_density, ELECTRON_ENERGY)
    disc = _disc(ELECTRON_RADIUS, electrons.sigma, _SIGMA[2])
    return np.asarray(electrons.per_photon / _NUMBER[2] * np.outer(ratio, disc))


def _electron_number(electrons: ContaminantElectrons, energy: FloatArray) -> FloatArray:
    inside = (energy >= electrons.lowest_energy) & (energy <= electrons.highest_energy)
    return np.where(inside, np.exp(-energy / electrons.mean_energy), 0.0)


def _disc(radius: FloatArray, sigma: float, proposed: float) -> FloatArray:
    """Density of a Gaussian disc over that of the proposed one: means over each node's hat, so that both sum alike."""
    fine = np.linspace(0.0, radius[-1], _FINE)
    wanted = fine / sigma**2 * np.exp(-0.5 * (fine / sigma) ** 2)
    given = fine / proposed**2 * np.exp(-0.5 * (fine / proposed) ** 2)
    result = np.empty(len(radius))
    for place in range(len(radius)):
        corners = radius[max(place - 1, 0) : place + 2]
        hat = np.interp(fine, corners, np.where(corners == radius[place], 1.0, 0.0), left=0.0, right=0.0)
        result[place] = np.trapezoid(hat * wanted, fine) / np.trapezoid(hat * given, fine)
    return result
