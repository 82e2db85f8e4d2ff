"""Where the patient ends: the body's contour, or the body found in the CT, with what is odd about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatecheck.case.model import Case, Structure
from gatecheck.errors import InputError
from gatecheck.patient.body import find_body, hollow_fraction, sides_touching_border
from gatecheck.patient.boxes import Extent
from gatecheck.patient.scan import FloatImage, Scan
from gatecheck.patient.structures import body_candidates, by_name, targets

# A contour that leaves out more of its own filled outline than this is a shell, not a body.
_HOLLOW = 0.1
# mm: a target nearer than this to an end of the scan lacks scatter from beyond it.
_NEAR_END = 30.0


@dataclass(frozen=True, slots=True)
class Outline:
    """Part of every CT voxel that lies in the body, on the grid of the whole scan."""

    inside: FloatImage
    extent: Extent
    warnings: tuple[str, ...]
    _scan: Scan

    def on(self, cut: Scan) -> FloatImage:
        """The same on a block cut out of the scan."""
        start = [
            round((c - w) / s)
            for c, w, s in zip(cut.grid.corner, self._scan.grid.corner, cut.grid.spacing, strict=True)
        ]
        nx, ny, nz = cut.grid.size
        x, y, z = start
        return self.inside[z : z + nz, y : y + ny, x : x + nx]


def find_outline(scan: Scan, case: Case, body_structure: str | None) -> Outline:
    """The body: the structure named, else by type EXTERNAL, else called BODY, EXTERNAL or SKIN, else found.

    Raises
    ------
    InputError
        When the structure is missing, empty or hollow, or no body can be found in the CT.
    """
    warnings: list[str] = []
    chosen = _chosen(case, body_structure, warnings)
    if chosen is None:
        inside = find_body(scan.ct_zyx, scan.grid.spacing).astype(np.float32)
        warnings.append(
            "No structure is the body (by type EXTERNAL, or called BODY, EXTERNAL or SKIN): it was found in the CT "
            "by threshold. Look at it in the report: a table top or a mask that touches the patient may be part of it."
        )
    else:
        inside = scan.inside_fraction(chosen)
        _refuse_shell(inside, chosen)
    extent = scan.extent_of(inside > 0)
    if extent is None:
        raise InputError("patient.body_structure: no body found in the CT. Name the body's contour.")
    warnings.extend(_warn_of_cut_body(inside, scan, case))
    return Outline(inside, extent, tuple(warnings), scan)


def _chosen(case: Case, body_structure: str | None, warnings: list[str]) -> Structure | None:
    if body_structure is not None:
        return by_name(case.structures, body_structure, key="patient.body_structure")
    candidates = body_candidates(case.structures)
    if len(candidates) > 1:
        warnings.append(
            f"{len(candidates)} structures may be the body ({', '.join(s.name for s in candidates)}): the largest, "
            f"{candidates[0].name}, was taken. Name it in patient.body_structure."
        )
    return candidates[0] if candidates else None


def _refuse_shell(inside: FloatImage, structure: Structure) -> None:
    hollow = hollow_fraction(inside)
    if hollow > _HOLLOW:
        raise InputError(
            f"patient.body_structure: structure {structure.name!r} leaves out {100 * hollow:.0f} % of its own filled "
            "outline, as a shell of skin does; expected the whole body. Name another structure."
        )


def _warn_of_cut_body(inside: FloatImage, scan: Scan, case: Case) -> list[str]:
    warnings = []
    body = inside > 0.5
    sides = sides_touching_border(body)
    if sides:
        warnings.append(
            f"The body reaches the edge of the CT's field of view ({', '.join(sides)}): what lies beyond is air in "
            "the simulation."
        )
    edges = scan.grid.edges(2)
    for structure in targets(case.structures):
        extent = scan.extent_of(scan.inside_fraction(structure))
        if extent is None:
            continue
        for plane, distance in ((0, extent.lower[2] - edges[0]), (-1, edges[-1] - extent.upper[2])):
            if distance < _NEAR_END and body[plane].any():
                warnings.append(
                    f"{structure.name} lies {max(distance, 0):.0f} mm from an end of the scan, where the body is cut "
                    f"off: scatter from beyond is missing (expected at least {_NEAR_END:.0f} mm)."
                )
    return warnings
