"""The calibration's reference field: its delivery, its water tank, and the dose at the reference point."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gatecheck.delivery.model import BeamTimeline, Delivery
from gatecheck.errors import SimulationError
from gatecheck.linac.model import LinacModel
from gatecheck.transport.model import PhaseSpace
from gatecheck.transport.scored_dose import MEV_PER_GRAM_IN_GRAY
from gatecheck.transport.volumes import HomogeneousVolume

FloatArray = npt.NDArray[np.float64]

_METERSET = 100.0
_DEPTH_STEP = 2.5  # mm
_LATERAL_STEP = 5.0  # mm
_FIRST_FITTED_DEPTH = 8.0  # mm; above it contaminant electrons and build-up bend the curve
_FITTED_BEYOND = 100.0  # mm below the reference depth
_TANK_BEYOND = 180.0  # mm below the reference depth: full backscatter for all that is fitted
_TANK_MARGIN = 120.0  # mm of water beside the field
_FITTED_SHARE = 0.3  # radius of the fit, as a share of the field's side: well inside the penumbra
_BUILD_UP_LENGTH = 4.0  # mm
_DECAY_LENGTH = 200.0  # mm


def reference_delivery(linac: LinacModel) -> Delivery:
    """The reference field: gantry 0, jaws only, isocentre at the origin of a head-first supine patient."""
    half = linac.calibration.reference.field_size / 2
    nodes = np.zeros(2)
    jaw = np.tile([-half, half], (2, 1))
    beam = BeamTimeline(
        number=1,
        name="reference",
        nominal_energy_mv=linac.beam.nominal_energy_mv,
        fluence_mode=linac.beam.fluence_mode,
        meterset=np.array([0.0, _METERSET]),
        gantry=nodes,
        collimator=nodes,
        couch=nodes,
        jaw_x=jaw,
        jaw_y=jaw,
        leaf_positions=None,
        leaf_boundaries=None,
        isocentre=np.zeros((2, 3)),
    )
    return Delivery(beams=(beam,), patient_position="HFS", fractions=1, made_from_sha256=linac.content_sha256)


def reference_tank(linac: LinacModel) -> HomogeneousVolume:
    """Water with its surface at the reference SSD, across a beam along +y; scored without voxel faces.

    Raises
    ------
    SimulationError
        When the reference depth is not one that can be fitted.
    """
    reference = linac.calibration.reference
    if reference.depth < _FIRST_FITTED_DEPTH:
        raise SimulationError(
            f"{linac.name}/calibration.yaml: reference.depth: {reference.depth:g} mm found, expected at least "
            f"{_FIRST_FITTED_DEPTH:g} mm: nearer to the surface the dose depends on contaminant electrons."
        )
    surface = reference.source_surface_distance - linac.machine.source_axis_distance
    half = math.ceil((reference.field_size / 2 * 1.3 + _TANK_MARGIN) / _LATERAL_STEP) * _LATERAL_STEP
    depth = math.ceil((reference.depth + _TANK_BEYOND) / _DEPTH_STEP) * _DEPTH_STEP
    lateral = round(2 * half / _LATERAL_STEP)
    return HomogeneousVolume(
        name="water tank",
        material_label=0,
        lower=(-half, surface, -half),
        upper=(half, surface + depth, half),
        scoring_size=(lateral, round(depth / _DEPTH_STEP), lateral),
    )


def fitted_region(tank: HomogeneousVolume, *, depth: float, field_size: float) -> HomogeneousVolume:
    """A box round the voxels that `point_estimator` fits."""
    radius = _FITTED_SHARE * field_size
    return HomogeneousVolume(
        name="fitted region",
        material_label=tank.material_label,
        lower=(-radius, tank.lower[1] + _FIRST_FITTED_DEPTH, -radius),
        upper=(radius, tank.lower[1] + depth + _FITTED_BEYOND, radius),
        scoring_size=(1, 1, 1),
    )


@dataclass(frozen=True, slots=True)
class PointEstimator:
    """A fixed linear combination of voxel energies (MeV) that gives the dose (Gy) at a point.

    It is the value at the point of a least-squares fit of smooth functions to all voxels near the
    axis: with weights that do not depend on the scores, the estimate is linear in them, so that the
    mean of batches is the estimate of their sum and its sigma follows from their spread.
    """

    coefficients_zyx: FloatArray

    def dose(self, energy_zyx: FloatArray) -> float:
        """Gy, from the energy scored in the tank."""
        return float((self.coefficients_zyx * energy_zyx).sum())


def point_estimator(tank: HomogeneousVolume, *, depth: float, field_size: float) -> PointEstimator:
    """Estimator of the dose on the axis at a depth.

    Depth: exp(-d/200) times a parabola, and exp(-d/4) for the end of the build-up, from 8 mm to 100 mm
    below the reference depth (a published depth dose of 6 MV, 100 x 100 mm, comes out within 0.1 %).
    Across the beam: 1 and r^2 within 0.3 field sizes of the axis, each
    averaged over the voxel.
    """
    x, y, z = (_centres(tank, axis) for axis in range(3))
    d = y - tank.lower[1]
    rows = (d >= _FIRST_FITTED_DEPTH) & (d <= depth + _FITTED_BEYOND)
    spread = (tank.spacing[0] ** 2 + tank.spacing[2] ** 2) / 12
    squared_radius = x[None, :] ** 2 + z[:, None] ** 2 + spread
    near = squared_radius <= (_FITTED_SHARE * field_size) ** 2
    dd = np.broadcast_to(d[None, rows, None], (len(z), int(rows.sum()), len(x)))
    rr = np.broadcast_to(squared_radius[:, None, :], dd.shape)
    chosen = np.broadcast_to(near[:, None, :], dd.shape)
    scale = (_FITTED_SHARE * field_size) ** 2
    columns = _functions(dd[chosen], rr[chosen] / scale)
    # The score's variance follows the dose: nearly exp(-d/200).
    root_weight = np.exp(dd[chosen] / _DECAY_LENGTH / 2)
    at_point = _functions(np.array([depth]), np.zeros(1))[0]
    # The minimum-norm solution of A^T c = f(point) holds the coefficients of least squares at the point.
    values, *_ = np.linalg.lstsq((columns * root_weight[:, None]).T, at_point, rcond=None)
    coefficients = np.zeros(tank.scoring_size[::-1])
    block = np.zeros(dd.shape)
    block[chosen] = values * root_weight
    coefficients[:, rows, :] = block
    gray_per_mev = MEV_PER_GRAM_IN_GRAY / (float(np.prod(tank.spacing)) * 1e-3)
    return PointEstimator(coefficients * gray_per_mev)


def _functions(depth: FloatArray, relative_squared_radius: FloatArray) -> FloatArray:
    """Basis functions in columns, shape (n, 6)."""
    decay = np.exp(-depth / _DECAY_LENGTH)
    t = depth / 100.0
    along = np.stack([decay, decay * t, decay * t**2, np.exp(-depth / _BUILD_UP_LENGTH)], axis=1)
    across = along[:, :2] * relative_squared_radius[:, None]
    return np.concatenate([along, across], axis=1)


def _centres(tank: HomogeneousVolume, axis: int) -> FloatArray:
    count, step = tank.scoring_size[axis], tank.spacing[axis]
    return np.asarray(tank.lower[axis] + step * (np.arange(count) + 0.5))


def thinned(
    phase_space: PhaseSpace, tank: HomogeneousVolume, *, field_size: float, seed: int, keeps_order: bool = False
) -> PhaseSpace:
    """Keep one in four of the particles that pass far from the fitted region, with four times the weight.

    Their scatter reaches the axis, but little of it; the expected dose does not change. The order is
    shuffled, so that parts of equal length are equal samples; with `keeps_order` it is left as it is, for particles
    that belong together and were shuffled in groups.
    """
    one_in = 4
    random = np.random.default_rng([seed, 3])  # 1 and 2 are the head's, of the same seed
    along = (tank.lower[1] - phase_space.position[:, 1]) / phase_space.direction[:, 1]
    x, z = (phase_space.position[:, axis] + along * phase_space.direction[:, axis] for axis in (0, 2))
    far = np.hypot(x, z) > (_FITTED_SHARE + 0.05) * field_size
    weight = np.where(far, one_in * phase_space.weight, phase_space.weight)
    kept = np.flatnonzero(~far | (random.random(len(phase_space)) < 1 / one_in))
    if not keeps_order:
        random.shuffle(kept)
    return replace(phase_space.chosen(kept), weight=weight[kept])
