"""Gamma agrees with pymedphys's shell search (interp_fraction 20), which is none of our code.

pymedphys looks at places on shells about a reference point, a step of h = 1 / interp_fraction distance tolerances apart
along the radius and along both angles, so that no place is further from one looked at than sqrt(3) / 2 h. Where the
evaluated dose changes by G dose tolerances per distance tolerance, its gamma is therefore up to
sqrt(1 + G^2) sqrt(3) / 2 h above the least one, and never below it. At 8 % per mm and 2 %/1 mm that is 0.18 at
interp_fraction 20; what is seen is less, as few places are so badly hit.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from gatecheck.compare.dose_image import DoseImage
from gatecheck.compare.gamma import ACCURACY, GammaCriteria, gamma_map
from gatecheck.compare.sampling import VoxelGrid

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "benchmarks"))
from gamma_pairs import axes_zyx, pymedphys_gamma, treatment  # noqa: E402

pytestmark = pytest.mark.physics

FloatArray = npt.NDArray[np.float64]

ORACLE = TESTS.parent / ".venv-oracle" / "bin" / "python"
PAIRS = 12
INTERP_FRACTION, FINER = 20, 80


def pair(seed: int) -> tuple[DoseImage, DoseImage, GammaCriteria]:
    """Grids of 1 to 3 mm, edges of 5 to 8 % per mm, shifts of up to 1 mm along each axis, scalings and noise."""
    random = np.random.default_rng([2026, seed])
    grids = []
    for _ in range(2):
        spacing = random.uniform(1, 3, 3)
        size = np.ceil(44 / spacing).astype(int)
        origin = -spacing * (size - 1) / 2 + random.uniform(-0.5, 0.5, 3) * spacing
        grids.append(VoxelGrid(tuple(map(int, size)), tuple(map(float, spacing)), tuple(map(float, origin))))
    noises = random.uniform(0, 0.02, 2) * (seed % 3 > 0)
    # The steepest place of a logistic edge has 1 / (4 penumbra).
    penumbra = 25 / float(random.uniform(5, 8))
    reference = treatment(grids[0], noise=noises[0], seed=2 * seed, penumbra=penumbra)
    evaluated = treatment(
        grids[1],
        shift=tuple(map(float, random.uniform(-1, 1, 3))),
        scale=float(random.uniform(0.97, 1.03)),
        noise=noises[1],
        seed=2 * seed + 1,
        penumbra=penumbra,
    )
    return reference, evaluated, GammaCriteria(*[(2, 1), (3, 2), (2, 2), (3, 3)][seed % 4], is_local=seed % 5 == 4)


def steepest_within_reach(evaluated: DoseImage, reach: float) -> FloatArray:
    """Largest gradient that any cell within reach of a voxel has, Gy/mm, [z, y, x]."""
    squared = np.zeros(evaluated.values_zyx.shape)
    for axis, spacing in enumerate(evaluated.grid.spacing[::-1]):
        step = np.abs(np.diff(evaluated.values_zyx.astype(float), axis=axis)) / spacing
        wide = [(1, 1) if k == axis else (0, 0) for k in range(3)]
        padded = np.pad(step, wide)
        either = np.maximum(np.take(padded, range(1, padded.shape[axis]), axis), np.take(padded, range(padded.shape[axis] - 1), axis))
        squared += either**2
    size = [2 * int(np.ceil(reach / spacing) + 1) + 1 for spacing in evaluated.grid.spacing[::-1]]
    return np.sqrt(ndimage.maximum_filter(squared, size))


if __name__ == "__main__":
    import time
    for seed in map(int, sys.argv[1:]):
        r, e, c = pair(seed)
        n = float(r.values_zyx.max())
        ours = gamma_map(r, e, c).gamma_zyx.astype(float)
        theirs, s = pymedphys_gamma(ORACLE, r, e, c, interp_fraction=20, normalisation=n)
        both = np.isfinite(ours) & np.isfinite(theirs)
        d = ours - theirs
        off = both & (np.abs(d) > 0.03)
        print(seed, c, both.sum(), np.isfinite(ours).sum(), f"{100*(1-off.sum()/both.sum()):.3f} %", d[both].min(), d[both].max(), f"{s:.0f} s", flush=True)
        if off.any():
            only = DoseImage(np.where(off, r.values_zyx, 0).astype(np.float32), r.grid)
            for f in (40, 80):
                finer, s = pymedphys_gamma(ORACLE, only, e, c, interp_fraction=f, normalisation=n)
                print("   ", f, off.sum(), (ours - finer)[off].min(), (ours - finer)[off].max(), np.isfinite(finer).sum(), f"{s:.0f} s", flush=True)
        np.savez(f"/tmp/h5_pair{seed}.npz", ours=ours, theirs=theirs)
