"""The joint fit of both doses, in the units that people read."""

from __future__ import annotations

import numpy as np

from gatecheck.compare.interface.dose_fit import PARAMETERS, DoseFit
from gatecheck.compare.interface.estimates import mean_estimate
from gatecheck.compare.interface.model import JointFit


def described(fit: DoseFit, prescription_gy: float) -> JointFit:
    """A fit as it is handed on."""
    of = fit.of_batches
    covariance = np.cov(of[:, 1:4].T) / len(of)
    rows = [(float(row[0]), float(row[1]), float(row[2])) for row in covariance]
    return JointFit(
        voxels=fit.voxels,
        output_percent=mean_estimate(100 * of[:, 0]),
        shift_xyz=(mean_estimate(of[:, 1]), mean_estimate(of[:, 2]), mean_estimate(of[:, 3])),
        shift_covariance=tuple(rows),
        widening=mean_estimate(of[:, 4]),
        residual_percent=100 * fit.residual / prescription_gy,
        grid_error={
            name: abs(float(value)) * (100 if name == "output" else 1)
            for name, value in zip(PARAMETERS, fit.of_grid, strict=True)
        },
    )
