"""The head's solids as GATE volumes, which only move between the runs of one simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gatecheck.linac.model import Alloy, Machine
from gatecheck.transport.full_head.solids import JawBlock, LeafPiece, Leaves, Pose
from gatecheck.transport.full_head.states import HeadState

FloatArray = npt.NDArray[np.float64]

VACUUM = "G4_Galactic"
JAW_ALLOY, LEAF_ALLOY = "gatecheck_jaw_alloy", "gatecheck_leaf_alloy"
EXIT_PLANE = "exit_plane"

# Half of the world across the beam: a particle that leaves a jaw flatter than this does not reach a patient.
_WORLD_HALF_WIDTH = 1500.0
_ABOVE_TARGET = 10.0
_EXIT_THICKNESS = 1.0
_BEYOND_PRISM = 1.0  # mm
# Larger than anything that a boolean operation shall cut with; only surfaces that matter lie within.
_LARGE = 2000.0


def add_alloy(simulation: Any, name: str, alloy: Alloy) -> None:
    """Register an alloy."""
    import opengate  # noqa: PLC0415

    units = opengate.g4_units
    simulation.volume_manager.material_database.add_material_weights(
        name,
        list(alloy.mass_fractions),
        list(alloy.mass_fractions.values()),
        alloy.density * units.g / units.cm3,
    )


def add_world(simulation: Any, machine: Machine) -> None:
    """A world of vacuum in the beam limiting device's frame, and the plane at which particles are handed on.

    Vacuum, because the source already stands for all that happens above and beside the collimators, with the
    electrons that the air sets free there.
    """
    half_height = machine.source_axis_distance + _ABOVE_TARGET
    simulation.world.size = [2 * _WORLD_HALF_WIDTH, 2 * _WORLD_HALF_WIDTH, 2 * half_height]
    simulation.world.material = VACUUM
    plane = simulation.add_volume("Box", EXIT_PLANE)
    plane.mother = "world"
    plane.material = VACUUM
    plane.size = [2 * _WORLD_HALF_WIDTH - 1.0, 2 * _WORLD_HALF_WIDTH - 1.0, _EXIT_THICKNESS]
    upper = machine.source_axis_distance - machine.exit_plane
    plane.translation = [0.0, 0.0, upper - _EXIT_THICKNESS / 2]


def add_jaws(
    simulation: Any, jaws: Sequence[JawBlock], states: Sequence[HeadState], axis_distance: float, material: str
) -> list[str]:
    """Add the jaws with their places in every run; gives the volumes' names."""
    for jaw in jaws:
        volume = _jaw_volume(simulation, jaw)
        volume.mother = "world"
        volume.material = material
        poses = [_centred(jaw, jaw.pose(state.jaw(jaw.along, jaw.bank), axis_distance)) for state in states]
        _move(volume, poses)
    return [jaw.name for jaw in jaws]


def _centre(jaw: JawBlock) -> FloatArray:
    across = jaw.bank * jaw.length / 2
    height = -(jaw.top + jaw.bottom) / 2
    return np.array([across, 0.0, height] if jaw.along == "x" else [0.0, across, height])


def _centred(jaw: JawBlock, pose: Pose) -> Pose:
    """The place of the box' centre instead of its origin at the target."""
    return Pose(pose.rotation, pose.translation + pose.rotation @ _centre(jaw))


def _jaw_volume(simulation: Any, jaw: JawBlock) -> Any:
    from opengate.geometry import volumes  # noqa: PLC0415

    height, width = jaw.bottom - jaw.top, 2 * jaw.half_width
    size = [jaw.length, width, height] if jaw.along == "x" else [width, jaw.length, height]
    if jaw.trim_tangent <= 0.0 or jaw.along == "x":
        block = simulation.add_volume("Box", jaw.name)
        block.size = size
        return block
    whole = volumes.BoxVolume(name=f"{jaw.name}_whole")
    whole.size = size
    knife = volumes.BoxVolume(name=f"{jaw.name}_trim")
    knife.size = [_LARGE, _LARGE, _LARGE]
    # The knife's upper face is the trimming plane; its normal points down and outwards from the target.
    angle = math.atan(jaw.trim_tangent)
    outwards, down = jaw.bank * math.sin(angle), -math.cos(angle)
    place = jaw.bottom + _LARGE / 2
    centre = np.array([0.0, outwards * place, down * place]) - _centre(jaw)
    turn = jaw.bank * angle
    upright = np.array([[1.0, 0.0, 0.0], [0.0, math.cos(turn), -math.sin(turn)], [0.0, math.sin(turn), math.cos(turn)]])
    block = volumes.subtract_volumes(
        whole,
        knife,
        translation=[float(value) for value in centre],
        # Geant4's boolean solids take the rotation of the frame, not of the solid.
        rotation=upright.T,
        new_name=jaw.name,
    )
    simulation.volume_manager.add_volume(block)
    return block


def add_leaves(
    simulation: Any, leaves: Leaves, states: Sequence[HeadState], machine: Machine, material: str
) -> list[str]:
    """Add the leaves with their places in every run; gives the volumes' names."""
    container = simulation.add_volume("Box", "multileaf_collimator")
    container.mother = "world"
    container.material = VACUUM
    # Just as high as the leaves; wide enough for parked ones.
    half = max(abs(leaves.parked(1.0)) + max(abs(piece.far) for piece in leaves.pieces) + 10.0, 400.0)
    middle = machine.source_axis_distance - leaves.leaf_centre
    container.size = [2 * half, 800.0, leaves.leaf_height]
    container.translation = [0.0, 0.0, middle]
    for piece in leaves.pieces:
        volume = _leaf_volume(simulation, piece, leaves)
        volume.mother = container.name
        volume.material = material
        x, y, z = _piece_centre(piece, leaves.leaf_centre)
        arcs = [_arc(state, piece, leaves) for state in states]
        _move(volume, [Pose(np.eye(3), np.array([arc + x, y, z])) for arc in arcs])
    return [piece.name for piece in leaves.pieces]


def _arc(state: HeadState, piece: LeafPiece, leaves: Leaves) -> float:
    position = state.leaf(piece.bank, piece.pair)
    return leaves.parked(piece.bank) if position is None else leaves.arc_centre(position, piece.bank)


def _piece_centre(piece: LeafPiece, leaf_centre: float) -> tuple[float, float, float]:
    """Centre of a piece's prism, from its arc's centre; z up from the leaves' centre plane."""
    y = (piece.low_at_top + piece.high_at_top + piece.low_at_bottom + piece.high_at_bottom) / 4
    return (piece.near + piece.far) / 2, y, leaf_centre - (piece.top + piece.bottom) / 2


def _leaf_volume(simulation: Any, piece: LeafPiece, leaves: Leaves) -> Any:
    from opengate.geometry import volumes  # noqa: PLC0415

    if not piece.is_tip:
        body = simulation.add_volume("Trap", piece.name)
        _shape_prism(body, piece)
        return body
    prism = volumes.TrapVolume(name=f"{piece.name}_prism")
    _shape_prism(prism, piece)
    x, y, z = _piece_centre(piece, leaves.leaf_centre)
    arc = volumes.TubsVolume(name=f"{piece.name}_arc")
    _shape_arc(arc, piece, leaves, y)
    # The arc's axis, z of the tube, lies along y; a quarter turn about x either way.
    lying = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    tip = volumes.intersect_volumes(prism, arc, translation=[-x, 0.0, -z], rotation=lying, new_name=piece.name)
    simulation.volume_manager.add_volume(tip)
    return tip


def _shape_arc(volume: Any, piece: LeafPiece, leaves: Leaves, middle: float) -> None:
    """A shell that reaches a little beyond the tip's prism on all sides but its round face.

    Not a whole cylinder: Geant4's check for overlaps tries points on the surfaces of both solids, and of a large one so
    few belong to the tip that it gives up and takes others.

    Parameters
    ----------
    middle : float
        y of the prism's centre.
    """
    sides = (piece.low_at_top, piece.high_at_top, piece.low_at_bottom, piece.high_at_bottom)
    half_angle = math.asin(leaves.leaf_height / 2 / leaves.tip_radius) + _BEYOND_PRISM / leaves.tip_radius
    volume.rmin = min(abs(piece.near), abs(piece.far)) - _BEYOND_PRISM
    volume.rmax = leaves.tip_radius
    volume.dz = max(abs(side - middle) for side in sides) + _BEYOND_PRISM
    # The tip of an X2 leaf looks towards -x.
    volume.sphi = (math.pi if piece.bank > 0 else 0.0) - half_angle
    volume.dphi = 2 * half_angle


def _shape_prism(volume: Any, piece: LeafPiece) -> None:
    """A trapezoid in y and z, drawn out along x."""
    half_height = (piece.bottom - piece.top) / 2
    half_length = abs(piece.far - piece.near) / 2
    shift = (piece.low_at_top + piece.high_at_top - piece.low_at_bottom - piece.high_at_bottom) / 2
    volume.dz = half_height
    volume.dy1 = (piece.high_at_bottom - piece.low_at_bottom) / 2
    volume.dy2 = (piece.high_at_top - piece.low_at_top) / 2
    volume.dx1 = volume.dx2 = volume.dx3 = volume.dx4 = half_length
    volume.theta = math.atan(abs(shift) / (2 * half_height))
    volume.phi = math.pi / 2 if shift >= 0 else -math.pi / 2
    volume.alp1 = volume.alp2 = 0.0


def _move(volume: Any, poses: Sequence[Pose]) -> None:
    volume.translation = [float(value) for value in poses[0].translation]
    volume.rotation = poses[0].rotation
    moves: dict[str, Any] = {}
    if any(not np.array_equal(pose.translation, poses[0].translation) for pose in poses[1:]):
        moves["translation"] = [[float(value) for value in pose.translation] for pose in poses]
    if any(not np.array_equal(pose.rotation, poses[0].rotation) for pose in poses[1:]):
        moves["rotation"] = [pose.rotation for pose in poses]
    if moves:
        volume.add_dynamic_parametrisation(**moves)
