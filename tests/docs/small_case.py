"""A small plan on which the documentation's commands are run: water, a tumour beside a cord, two fields, a TPS dose.

The dose is a formula's, with fields and depth about right; what it is compared with here is of no interest.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np

from gatecheck.config import project_folder
from gatecheck.linac.load import load_linac_model
from gatecheck.phantoms.dicom_writer import (
    Identity,
    StructureDrawing,
    Uids,
    write_ct,
    write_dose,
    write_plan,
    write_structures,
)
from gatecheck.phantoms.water_tank import static_beam

CENTRE = (0.0, 50.0, 0.0)  # of the tumour, which is the isocentre; the box's anterior face is y = 0
_CT = 5.0  # mm, voxels along x and y
_SLICE = 5.0
_HALF, _DEPTH, _HALF_LENGTH = 60.0, 100.0, 50.0
_TUMOUR_RADIUS, _CORD_RADIUS, _CORD_BEHIND = 12.0, 7.0, 16.0
_FIELD = 20.0  # mm, half of the leaves' opening
_PRESCRIPTION = 8.0


def write_small_case(folder: Path, *, meterset: float = 400.0) -> None:
    """Write CT, RTSTRUCT, RTPLAN and RTDOSE; another meterset makes another plan."""
    identity, uids = Identity(), Uids(f"documentation {meterset:g}")
    axis = {0: _centres(_HALF + 10, _CT), 1: _centres(_HALF + 10, _CT) + _DEPTH / 2, 2: _centres(_HALF_LENGTH, _SLICE)}
    x, y, z = axis[0][None, None, :], axis[1][None, :, None], axis[2][:, None, None]
    inside = (np.abs(x) < _HALF) & (y > 0) & (y < _DEPTH) & (np.abs(z) < 1e3)
    origin = (float(axis[0][0]), float(axis[1][0]), float(axis[2][0]))
    spacing = (_CT, _CT, _SLICE)
    slices = write_ct(
        folder,
        np.where(inside, 0, -1000).astype(np.int16),
        origin=origin,
        spacing=spacing,
        identity=identity,
        uids=uids,
    )
    write_structures(folder, _structures(axis[2]), ct_slices=slices, identity=identity, uids=uids)
    boundaries = load_linac_model(project_folder() / "linac_models" / "truebeam_stx", "beam_6x").machine.mlc.boundaries
    beams = [
        static_beam(
            number=number,
            name=f"field {number}",
            gantry=gantry,
            isocentre=CENTRE,
            meterset=meterset,
            jaw_x=(-_FIELD - 5, _FIELD + 5),
            jaw_y=(-_FIELD - 5, _FIELD + 5),
            leaf_boundaries=boundaries,
            leaf_positions=_opening(boundaries),
        )
        for number, gantry in ((1, 0.0), (2, 90.0))
    ]
    write_plan(folder, beams, fractions=1, prescription_gy=_PRESCRIPTION, identity=identity, uids=uids)
    dose = np.where(inside, _formula(x, y, z, meterset), 0.0)
    write_dose(folder, dose, origin=origin, spacing=spacing, identity=identity, uids=uids)


def _centres(half: float, step: float) -> np.ndarray:
    return np.arange(-half + step / 2, half, step)


def _opening(boundaries: tuple[float, ...]) -> tuple[list[float], list[float]]:
    middles = [(low + high) / 2 for low, high in itertools.pairwise(boundaries)]
    ends = [_FIELD if abs(middle) < _FIELD else 0.0 for middle in middles]
    return [-end for end in ends], ends


def _structures(z: np.ndarray) -> list[StructureDrawing]:
    square = [(-_HALF, 0.0), (_HALF, 0.0), (_HALF, _DEPTH), (-_HALF, _DEPTH)]
    body = [np.array([(x, y, level) for x, y in square]) for level in z]
    cord = [_circle(_CORD_RADIUS, (CENTRE[0], CENTRE[1] + _CORD_BEHIND), float(level)) for level in z]
    tumour = [
        _circle(math.sqrt(_TUMOUR_RADIUS**2 - level**2), CENTRE[:2], float(level))
        for level in z
        if abs(level) < _TUMOUR_RADIUS
    ]
    return [
        StructureDrawing(1, "BODY", "EXTERNAL", (0, 200, 0), body),
        StructureDrawing(2, "GTV", "GTV", (200, 0, 0), tumour),
        StructureDrawing(3, "SpinalCord", "ORGAN", (200, 200, 0), cord),
    ]


def _circle(radius: float, centre: tuple[float, float], z: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    return np.stack(
        [centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle), np.full(angle.shape, z)], 1
    )


def _formula(x: np.ndarray, y: np.ndarray, z: np.ndarray, meterset: float) -> np.ndarray:
    """0.85 Gy per 100 MU at the isocentre from each field, 0.5 % less a mm deeper, edges 6 mm wide."""

    def edge(across: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp((np.abs(across) - _FIELD) / 1.5))

    from_above = edge(x) * edge(z) * np.exp(-0.005 * (y - CENTRE[1]))
    from_left = edge(y - CENTRE[1]) * edge(z) * np.exp(0.005 * x)
    return np.asarray(0.0085 * meterset * (from_above + from_left))
