"""Times gamma of a 200 x 200 x 150 pair at 2 %/1 mm here and by pymedphys; `make bench` runs it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gamma_pairs import pymedphys_gamma, treatment

from gatecheck.compare.dose_image import DoseImage
from gatecheck.compare.gamma import GammaCriteria, GammaResult, gamma_map
from gatecheck.compare.sampling import VoxelGrid

SIZE = (200, 200, 150)
HALF_WIDTHS = (70.0, 65.0, 50.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--oracle", type=Path, required=True, help="Python of the environment with pymedphys")
    parser.add_argument(
        "--settings",
        nargs="+",
        default=["10", "20:10"],
        metavar="INTERP_FRACTION[:SLICES]",
        help="of pymedphys, which has 10; with SLICES, so many reference slices, its time scaled by points",
    )
    options = parser.parse_args()
    for row in measured(options.oracle, options.settings):
        sys.stdout.write(f"{row}\n")


def measured(oracle: Path, settings: Sequence[str]) -> list[dict[str, float]]:
    """A row for each setting of pymedphys: both times, scaled to all points, and their ratio."""
    grid = VoxelGrid(SIZE, (1.0, 1.0, 1.0), (-99.5, -99.5, -74.5))
    reference = treatment(grid, half_widths=HALF_WIDTHS)
    evaluated = treatment(grid, half_widths=HALF_WIDTHS, shift=(0.4, 0.2, -0.3), scale=1.01, noise=0.01, seed=1)
    criteria = GammaCriteria(2, 1)
    small = treatment(VoxelGrid((8, 8, 8), (1.0,) * 3, (-4.0,) * 3))
    gamma_map(small, small, criteria)  # compiles
    started = time.perf_counter()
    result = gamma_map(reference, evaluated, criteria)
    own = time.perf_counter() - started
    rows = []
    for setting in settings:
        interp_fraction, _, slices = setting.partition(":")
        seconds, points = pymedphys_seconds(oracle, evaluated, result, int(interp_fraction), int(slices or SIZE[2]))
        scaled = seconds * result.points / points
        rows.append(
            {
                "interp_fraction": int(interp_fraction),
                "points": result.points,
                "measured_points": points,
                "pymedphys_seconds": scaled,
                "gatecheck_seconds": own,
                "ratio": scaled / own,
            }
        )
    return rows


def pymedphys_seconds(
    oracle: Path, evaluated: DoseImage, result: GammaResult, interp_fraction: int, slices: int
) -> tuple[float, int]:
    """Seconds and points of pymedphys for the middle slices of the reference dose."""
    grid, criteria, normalisation = evaluated.grid, result.criteria, result.normalisation
    first = (SIZE[2] - slices) // 2
    part = treatment(
        VoxelGrid((SIZE[0], SIZE[1], slices), grid.spacing, (*grid.origin[:2], grid.origin[2] + first)),
        half_widths=HALF_WIDTHS,
    )
    points = gamma_map(part, evaluated, criteria, normalisation=normalisation).points
    _, seconds = pymedphys_gamma(
        oracle, part, evaluated, criteria, interp_fraction=interp_fraction, normalisation=normalisation
    )
    return seconds, points


if __name__ == "__main__":
    main()
