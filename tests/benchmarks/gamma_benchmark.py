"""Times gamma of a 200 x 200 x 150 pair at 2 %/1 mm here and by pymedphys; `make bench` runs it."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from gamma_pairs import pymedphys_gamma, treatment

from gatecheck.compare.gamma import GammaCriteria, gamma_map
from gatecheck.compare.sampling import VoxelGrid

SIZE = (200, 200, 150)
HALF_WIDTHS = (70.0, 65.0, 50.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--oracle", type=Path, required=True, help="Python of the environment with pymedphys")
    parser.add_argument("--interp-fraction", type=int, default=10, help="of pymedphys; 10 is its default")
    parser.add_argument(
        "--slices", type=int, default=SIZE[2], help="reference slices given to pymedphys, its time scaled by points"
    )
    options = parser.parse_args()
    grid = VoxelGrid(SIZE, (1.0, 1.0, 1.0), (-99.5, -99.5, -74.5))
    reference = treatment(grid, half_widths=HALF_WIDTHS)
    evaluated = treatment(grid, half_widths=HALF_WIDTHS, shift=(0.4, 0.2, -0.3), scale=1.01, noise=0.01, seed=1)
    criteria = GammaCriteria(2, 1)
    small = treatment(VoxelGrid((8, 8, 8), (1.0,) * 3, (-4.0,) * 3))
    gamma_map(small, small, criteria)  # compiles
    started = time.perf_counter()
    result = gamma_map(reference, evaluated, criteria)
    own = time.perf_counter() - started
    sys.stdout.write(f"gatecheck {own:.2f} s for {result.points} points, {100 * result.pass_rate:.3f} % pass\n")
    sys.stdout.flush()
    first = (SIZE[2] - options.slices) // 2
    part = treatment(
        VoxelGrid((SIZE[0], SIZE[1], options.slices), grid.spacing, (*grid.origin[:2], grid.origin[2] + first)),
        half_widths=HALF_WIDTHS,
    )
    points = gamma_map(part, evaluated, criteria, normalisation=result.normalisation).points
    _, seconds = pymedphys_gamma(
        options.oracle,
        part,
        evaluated,
        criteria,
        interp_fraction=options.interp_fraction,
        normalisation=result.normalisation,
    )
    scaled = seconds * result.points / points
    how = "" if points == result.points else f" (measured {seconds:.1f} s for {points} points, scaled)"
    sys.stdout.write(f"pymedphys {scaled:.1f} s at interp_fraction {options.interp_fraction}{how}\n")
    sys.stdout.write(f"ratio {scaled / own:.0f}\n")


if __name__ == "__main__":
    main()
