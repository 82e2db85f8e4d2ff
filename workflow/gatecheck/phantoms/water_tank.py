"""Water boxes with slabs and static beams, as DICOM sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gatecheck.case.model import Beam, ControlPoint, PatientPosition
from gatecheck.phantoms.dicom_writer import Identity, StructureDrawing, Uids, write_ct, write_plan, write_structures
from gatecheck.phantoms.solids import AIR, Raster

Vector = tuple[float, float, float]
Interval = tuple[float, float]

WATER = 0
_AIR_AROUND = 10.0
_WHOLE_NUMBER = 1e-6


@dataclass(frozen=True, slots=True)
class Slab:
    """A layer across the whole box.

    Attributes
    ----------
    from_depth, to_depth : float
        mm below the box's anterior face.
    ct_number : int
        Hounsfield units; about 1000 for cortical bone, -700 for lung.
    """

    from_depth: float
    to_depth: float
    ct_number: int


def static_beam(
    *,
    number: int = 1,
    name: str = "static",
    jaw_x: Interval = (-50.0, 50.0),
    jaw_y: Interval = (-50.0, 50.0),
    gantry: float = 0.0,
    collimator: float = 0.0,
    couch: float = 0.0,
    isocentre: Vector = (0.0, 0.0, 0.0),
    meterset: float = 100.0,
    leaf_boundaries: Sequence[float] | None = None,
    leaf_positions: tuple[Sequence[float], Sequence[float]] | None = None,
    machine_name: str = "TrueBeamSTx",
) -> Beam:
    """A static 6 MV beam, with or without an MLC. Lengths at the isocentre plane, angles IEC 61217."""
    leaves = None if leaf_positions is None else (tuple(leaf_positions[0]), tuple(leaf_positions[1]))
    return Beam(
        number=number,
        name=name,
        machine_name=machine_name,
        radiation_type="PHOTON",
        nominal_energy_mv=6.0,
        fluence_mode="STANDARD",
        beam_type="STATIC",
        technique="static",
        source_axis_distance=1000.0,
        meterset=meterset,
        final_cumulative_meterset_weight=1.0,
        leaf_boundaries=None if leaf_boundaries is None else tuple(leaf_boundaries),
        control_points=tuple(
            ControlPoint(
                cumulative_meterset_weight=weight,
                gantry_angle=gantry,
                gantry_rotation_direction="NONE",
                collimator_angle=collimator,
                couch_angle=couch,
                jaw_x=jaw_x,
                jaw_y=jaw_y,
                leaf_positions=leaves,
                isocentre=isocentre,
            )
            for weight in (0.0, 1.0)
        ),
    )


def write_water_phantom(
    folder: Path,
    size: Vector,
    spacing: Vector,
    beams: Sequence[Beam],
    *,
    slabs: Sequence[Slab] = (),
    fractions: int = 1,
    prescription_gy: float | None = None,
    patient_position: PatientPosition = "HFS",
) -> None:
    """Write a box of water in air as a DICOM set: CT, RTSTRUCT (BODY) and RTPLAN.

    The box is centred on x = 0 and z = 0; its anterior face is the plane y = 0, so that y is the depth for
    a beam from gantry 0 onto a supine patient.

    Parameters
    ----------
    folder : Path
        Made when it is not there.
    size : (x, y, z)
        Of the box, mm; whole multiples of the spacing, so that its faces are voxel faces.
    spacing : (x, y, z)
        mm.
    beams : sequence of Beam
    slabs : sequence of Slab
        Other materials; a later one replaces an earlier one where they overlap.

    Raises
    ------
    ValueError
        When faces of box or slabs are not voxel faces.
    """
    raster, around = _raster(size, spacing)
    ct_numbers_zyx = np.full(raster.size[::-1], int(AIR), dtype=np.int16)
    inside_zyx = ct_numbers_zyx[tuple(slice(cells, -cells) for cells in reversed(around))]
    inside_zyx[:] = WATER
    for slab in slabs:
        rows = slice(_whole(slab.from_depth / spacing[1], "slab"), _whole(slab.to_depth / spacing[1], "slab"))
        inside_zyx[:, rows] = slab.ct_number
    identity = Identity(patient_name="GATECHECK^WATER", patient_id="GATECHECK-WATER")
    uids = Uids(f"water {size} {spacing} {slabs} {patient_position}")
    ct_slices = write_ct(
        folder,
        ct_numbers_zyx,
        origin=raster.origin,
        spacing=spacing,
        patient_position=patient_position,
        identity=identity,
        uids=uids,
    )
    body = StructureDrawing(1, "BODY", "EXTERNAL", (0, 200, 0), _outlines(size, raster))
    write_structures(folder, [body], ct_slices=ct_slices, identity=identity, uids=uids)
    write_plan(
        folder,
        beams,
        fractions=fractions,
        prescription_gy=prescription_gy,
        patient_position=patient_position,
        identity=identity,
        uids=uids,
    )


def _raster(size: Vector, spacing: Vector) -> tuple[Raster, tuple[int, int, int]]:
    """The CT's grid, and how many voxels of air lie on each side of the box."""
    cells = [_whole(length / step, "box") for length, step in zip(size, spacing, strict=True)]
    around = [int(np.ceil(_AIR_AROUND / step)) for step in spacing]
    faces = (-0.5 * size[0], 0.0, -0.5 * size[2])
    origin = [face - (outside - 0.5) * step for face, outside, step in zip(faces, around, spacing, strict=True)]
    total = [inside + 2 * outside for inside, outside in zip(cells, around, strict=True)]
    raster = Raster((total[0], total[1], total[2]), spacing, (origin[0], origin[1], origin[2]))
    return raster, (around[0], around[1], around[2])


def _whole(ratio: float, what: str) -> int:
    if abs(ratio - round(ratio)) > _WHOLE_NUMBER:
        raise ValueError(
            f"a face of the {what} lies {ratio:g} voxels from the anterior or first face, not a whole number"
        )
    return round(ratio)


def _outlines(size: Vector, raster: Raster) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    half_x, depth, half_z = 0.5 * size[0], size[1], 0.5 * size[2]
    corners = ((-half_x, 0.0), (half_x, 0.0), (half_x, depth), (-half_x, depth))
    return [np.array([(x, y, z) for x, y in corners], dtype=float) for z in raster.centres(2) if -half_z < z < half_z]
