"""Gamma by pymedphys, run with the Python of its own environment: pymedphys_gamma.py IN.npz OUT.npz.

IN holds for one comparison `reference`, `evaluated` [z, y, x], `reference_axes_z` ... `evaluated_axes_x`, and the
numbers `dose_percent`, `distance`, `cutoff_percent`, `cap`, `interp_fraction`, `normalisation`, `is_local`. OUT holds
`gamma` [z, y, x], NaN where pymedphys has none, and `seconds`, without the time of compiling.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pymedphys

given = np.load(sys.argv[1])
reference, evaluated = (
    (tuple(given[f"{which}_axes_{axis}"] for axis in "zyx"), given[which]) for which in ("reference", "evaluated")
)
options = {
    "lower_percent_dose_cutoff": float(given["cutoff_percent"]),
    "interp_fraction": int(given["interp_fraction"]),
    "max_gamma": float(given["cap"]),
    "global_normalisation": float(given["normalisation"]),
    "local_gamma": bool(given["is_local"]),
}
criteria = (float(given["dose_percent"]), float(given["distance"]))


def corner(dose: tuple[tuple[np.ndarray, ...], np.ndarray]) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Four voxels along each axis, for compiling."""
    return tuple(axis[:4] for axis in dose[0]), np.full_like(dose[1][:4, :4, :4], given["normalisation"])


pymedphys.gamma(*corner(reference), *corner(evaluated), *criteria, **options)
started = time.perf_counter()
gamma = pymedphys.gamma(*reference, *evaluated, *criteria, **options)
np.savez(sys.argv[2], gamma=gamma, seconds=time.perf_counter() - started)
