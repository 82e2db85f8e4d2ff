"""The beam of the stand-in planning system: what was fitted, what was taken from papers, and its kernel."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from gatecheck.files import read_json
from gatecheck.phantoms.planning.pencil_kernels import PencilKernels, stored_kernels
from gatecheck.phantoms.planning.photon_data import clinac_spectrum, tungsten_attenuation, water_attenuation

FloatArray = npt.NDArray[np.float64]

BEAM_FILE = Path(__file__).with_name("beam_6x.json")
Positive = Annotated[float, Field(gt=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Collimators(_Part):
    """Published geometry and leakage, mm from the target; not fitted."""

    source: str
    jaw_x_plane: Positive = Field(description="middle of the lower jaws")
    jaw_y_plane: Positive = Field(description="middle of the upper jaws")
    leaf_plane: Positive = Field(description="middle of the leaves")
    leaf_height: Positive
    leaf_tip_radius: Positive
    leaf_step: Positive = Field(description="by which neighbouring leaves reach into each other, at their plane")
    leaf_width: Positive = Field(
        description="of the leaves that transmission was measured for, mm at the isocentre plane"
    )
    tungsten_density: Positive = Field(description="of tungsten alone in the leaves' alloy, g/cm3")
    leaf_transmission: Positive = Field(description="mean through closed leaves and the gaps between them")
    extra_focal_plane: Positive = Field(description="flattening filter")


class Reference(_Part):
    """Where the dose per MU is stated."""

    source: str
    field_size: Positive
    source_surface_distance: Positive
    depth: Positive
    gray_per_mu: Positive


class Fitted(_Part):
    """Found by `commissioning.fit` from measurements in water."""

    source: str
    hardening: float = Field(description="water, g/cm2, added to what filters the published spectrum")
    spot_sigma: Positive = Field(description="of the focal source, mm")
    extra_focal_fraction: Positive = Field(description="of the energy fluence of an unlimited field")
    extra_focal_sigma: Positive = Field(description="mm at the flattening filter")
    jaw_scale: Positive = Field(description="of the jaws' positions")
    electron_dose: float = Field(
        description="of contaminant electrons at the surface, unlimited field, share of photons'"
    )
    electron_depth: Positive = Field(description="in which it falls to 1/e, mm")
    electron_sigma: Positive = Field(description="of their lateral spread in air, mm")
    horn_radius: tuple[float, ...] = Field(description="mm at the isocentre plane")
    horn: tuple[float, ...] = Field(description="fluence relative to the axis")
    softening: float = Field(description="1/mm of water at 100 mm from the axis: the horn falls by exp(-s d (r/100)^2)")


class BeamModel(_Part):
    """Everything that the engine knows of the machine."""

    collimators: Collimators
    reference: Reference
    fitted: Fitted


def stored_beam() -> BeamModel:
    """The beam as commissioned."""
    return read_json(BEAM_FILE, BeamModel)


class Kernel:
    """The beam's kernel: weights of Gaussians by depth, MeV/mm per photon of the beam's spectrum."""

    def __init__(self, hardening: float, kernels: PencilKernels | None = None) -> None:
        kernels = _kernels() if kernels is None else kernels
        edges = np.array(kernels.energy_edges)
        shares = spectrum_shares(edges, hardening)
        surface_to_depth = np.array(kernels.depths)
        weights = np.tensordot(shares, np.array(kernels.weights), axes=1)
        self.sigmas = np.array(kernels.sigmas)
        self.depths = np.concatenate([[0.0], surface_to_depth])
        self.weights = np.concatenate([weights[:1], weights])
        self.weights[0] = np.maximum(1.5 * weights[0] - 0.5 * weights[1], 0.0)

    def at(self, depth: npt.ArrayLike) -> FloatArray:
        """Weights at depths in mm of water, shape (n, n_sigmas); the ends' beyond the table."""
        depths = np.atleast_1d(np.asarray(depth, dtype=float))
        return np.stack([np.interp(depths, self.depths, column) for column in self.weights.T], axis=1)


@functools.cache
def _kernels() -> PencilKernels:
    return stored_kernels()


def spectrum_shares(edges: FloatArray, hardening: float) -> FloatArray:
    """Share of photons in each interval of energy: the published spectrum behind more (or less) water."""
    fine = np.linspace(edges[0], edges[-1], 2000)
    middle = 0.5 * (fine[1:] + fine[:-1])
    photons = clinac_spectrum(middle) * np.exp(-hardening * water_attenuation(middle))
    shares, _ = np.histogram(middle, bins=edges, weights=photons)
    normalised: FloatArray = shares / shares.sum()
    return normalised


@functools.cache
def leaf_tip_edges(
    collimators: Collimators, hardening: float, steps: int = 4, *, height_share: float = 1.0
) -> tuple[FloatArray, FloatArray]:
    """A rounded leaf tip as a few sharp edges.

    A ray u mm inside the one that touches the tip crosses a chord of 2 sqrt(2Ru - u²) of tungsten. The part that
    it lets through, above the leakage of the whole leaf, is cut into slices; each becomes a sharp edge at
    the slice's mean depth, so that the fluence behind the tip keeps its integral.

    Parameters
    ----------
    height_share : float
        Of the leaf's height that is in the way: half of it between a leaf's tongue and its groove.

    Returns
    -------
    shares, depths : ndarray of shape (steps,)
        Of the fluence, summing to 1; mm at the isocentre plane, behind the planned leaf position.
    """
    radius = collimators.leaf_tip_radius
    inside = np.concatenate([[0.0], np.geomspace(1e-5, 5.0, 600)])
    chord = height_share * np.minimum(2 * np.sqrt(2 * radius * inside - inside**2), collimators.leaf_height)
    through = through_leaf(chord, collimators, hardening)
    relative = (through - through[-1]) / (1 - through[-1])
    levels = np.linspace(1.0, 0.0, 4001)
    depth_of_level = np.interp(levels[::-1], relative[::-1], inside[::-1])[::-1]
    # Thick slices near the tip, thin ones in the tail, where the depth grows fast.
    shares = np.arange(steps, 0, -1.0) / np.sum(np.arange(steps, 0, -1.0))
    bounds = np.rint(np.concatenate([[0.0], np.cumsum(shares)]) * (len(levels) - 1)).astype(int)
    depths = np.array([depth_of_level[low : high + 1].mean() for low, high in itertools.pairwise(bounds)])
    depths *= 1000.0 / collimators.leaf_plane
    for array in (shares, depths):  # all callers share them
        array.flags.writeable = False
    return shares, depths


@functools.cache
def half_height_transmission(collimators: Collimators, hardening: float) -> float:
    """Share of the energy fluence that half the height of a leaf lets through, above the leakage of whole leaves."""
    half, whole = through_leaf(np.array([0.5, 1.0]) * collimators.leaf_height, collimators, hardening)
    return float((half - whole) / (1 - whole))


@functools.cache
def interleaf_gap(collimators: Collimators, hardening: float) -> float:
    """Air between neighbouring leaves, mm at the isocentre plane, that makes the published transmission.

    A leaf lets through what its height lets through, and each of the two lines that its stepped side leaves free what
    half of its height does; together they are the mean.
    """
    half, whole = through_leaf(np.array([0.5, 1.0]) * collimators.leaf_height, collimators, hardening)
    gap = 0.5 * collimators.leaf_width * (collimators.leaf_transmission - whole) / (half - whole)
    return max(float(gap), 0.0)


def through_leaf(chord: FloatArray, collimators: Collimators, hardening: float) -> FloatArray:
    """Share of the energy fluence that comes through so many mm of a leaf's tungsten.

    Parameters
    ----------
    chord : ndarray of shape (n,)

    Returns
    -------
    ndarray of shape (n,)
    """
    energy = np.linspace(0.15, 5.7, 300)
    fluence = clinac_spectrum(energy) * energy * np.exp(-hardening * water_attenuation(energy))
    density = collimators.tungsten_density / 10
    share: FloatArray = np.exp(-chord[:, np.newaxis] * density * tungsten_attenuation(energy)) @ (
        fluence / fluence.sum()
    )
    return share
