"""Dose in one plane across the beam, below a depth of water that may differ from ray to ray."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatecheck.phantoms.planning.beam_model import BeamModel, Kernel
from gatecheck.phantoms.planning.openings import SOURCE_AXIS_DISTANCE, Rectangles, blurred, jaw_rectangle

FloatArray = npt.NDArray[np.float64]

# Below this width the kernel makes no difference to the extra-focal fluence, which is blurred by 20 mm.
_NARROW = 4.0


@dataclass(frozen=True, slots=True)
class CommissionedBeam:
    """The beam model with its kernel and its absolute output.

    Attributes
    ----------
    gray_per_unit : float
        Gy per MU and unit of `relative_dose`.
    """

    model: BeamModel
    kernel: Kernel
    gray_per_unit: float


def commissioned(model: BeamModel, kernel: Kernel | None = None) -> CommissionedBeam:
    """Fix the output by the reference condition: so many Gy per MU at its depth in its field."""
    kernel = Kernel(model.fitted.hardening) if kernel is None else kernel
    reference = model.reference
    half = 0.5 * reference.field_size * model.fitted.jaw_scale
    field = jaw_rectangle(np.array([-half, half]), np.array([-half, half]), model)
    axis = np.zeros(1)
    at_reference = dose_in_plane(
        CommissionedBeam(model, kernel, 1.0),
        field,
        axis,
        axis,
        distance=reference.source_surface_distance + reference.depth,
        depths=np.array([reference.depth]),
    )
    return CommissionedBeam(model, kernel, reference.gray_per_mu / float(at_reference[0, 0, 0]))


def dose_in_plane(
    beam: CommissionedBeam,
    rectangles: Rectangles,
    x: FloatArray,
    y: FloatArray,
    *,
    distance: float,
    depths: FloatArray,
    electron_density: float = 1.0,
) -> FloatArray:
    """Dose per MU in the plane at a distance from the target, for each of several depths of water above it.

    The pencils' kernels, each normal to the plane, fall on the fluence there by the inverse square law.

    Parameters
    ----------
    x, y : ndarray of shape (nx,), (ny,)
        mm in the plane.
    distance : float
        mm from the target.
    depths : ndarray of shape (n,)
        mm of water.
    electron_density : float
        Of the medium relative to water: kernels are narrower by it (O'Connor, Phys. Med. Biol. 1 (1957) 352).

    Returns
    -------
    ndarray of shape (n, ny, nx)
        Gy per MU with the beam's `gray_per_unit`, dose to water.
    """
    model, fitted = beam.model, beam.model.fitted
    weights = beam.kernel.at(depths)
    sigmas = beam.kernel.sigmas / electron_density
    radius = np.hypot(x[np.newaxis, :], y[:, np.newaxis]) * SOURCE_AXIS_DISTANCE / distance
    direct = _sum_over_gaussians(
        sigmas, rectangles, x, y, distance=distance, weights=weights, source_plane=0.0, source_sigma=fitted.spot_sigma
    )
    scattered = _sum_over_gaussians(
        sigmas, rectangles, x, y, distance=distance, weights=weights,
        source_plane=model.collimators.extra_focal_plane, source_sigma=fitted.extra_focal_sigma,
    )  # fmt: skip
    horn = np.interp(radius, fitted.horn_radius, fitted.horn)
    softened = np.exp(-fitted.softening * depths[:, np.newaxis, np.newaxis] * (radius / 100.0) ** 2)
    below = np.exp(-depths / fitted.electron_depth)[:, np.newaxis, np.newaxis]
    electrons = fitted.electron_dose * blurred(
        rectangles, x, y, distance=distance, sigmas=np.array([fitted.electron_sigma]),
        source_plane=model.collimators.extra_focal_plane, source_sigma=fitted.extra_focal_sigma,
    )[0]  # fmt: skip
    fraction = fitted.extra_focal_fraction
    photons = (1 - fraction) * horn * softened * direct + fraction * scattered
    total = photons + beam.kernel.weights.sum(axis=1).max() * electrons * below
    dose: FloatArray = beam.gray_per_unit * (SOURCE_AXIS_DISTANCE / distance) ** 2 * total
    return dose


def _sum_over_gaussians(
    sigmas: FloatArray,
    rectangles: Rectangles,
    x: FloatArray,
    y: FloatArray,
    *,
    distance: float,
    weights: FloatArray,
    source_plane: float,
    source_sigma: float,
) -> FloatArray:
    """The kernel's Gaussians, each blurring the opening, shape (n_depths, ny, nx)."""
    # All that is narrow beside an extra-focal source is taken as one.
    narrow = (sigmas < _NARROW) if source_plane > 0 else np.zeros(len(sigmas), dtype=bool)
    widths = sigmas[~narrow]
    columns = weights[:, ~narrow]
    if narrow.any():
        widths = np.concatenate([[0.0], widths])
        columns = np.column_stack([weights[:, narrow].sum(axis=1), columns])
    seen = blurred(
        rectangles, x, y, distance=distance, sigmas=widths, source_plane=source_plane, source_sigma=source_sigma
    )
    return np.tensordot(columns, seen, axes=1)
