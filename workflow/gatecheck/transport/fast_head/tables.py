"""Delivery and machine as flat arrays for compiled code."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gatecheck.delivery.coordinates import position_code_of
from gatecheck.delivery.model import BeamTimeline, Delivery
from gatecheck.errors import UnsupportedPlanError
from gatecheck.linac.attenuation import compton_coefficient, removal_coefficient
from gatecheck.linac.geometry import leaf_sides
from gatecheck.linac.load import BOUNDARY_TOLERANCE
from gatecheck.linac.model import LinacModel
from gatecheck.linac.photon_source import (
    electron_quantiles,
    extra_focal_quantiles,
    focal_energy_table,
    relative_fluence_at,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FOCAL, EXTRA_FOCAL, ELECTRONS = 0, 1, 2
COMPONENTS = 3
RADIUS_STEP = 5.0
ENERGY_STEP = 0.005
_ABOVE_SPECTRUM = 1.5  # MeV: attenuation is known beyond the spectrum, for sources that are tried


class Nodes(NamedTuple):
    """The nodes of all beams one after another; leaves are zero where a beam has no MLC."""

    gantry: FloatArray
    collimator: FloatArray
    couch: FloatArray
    jaw_x: FloatArray
    jaw_y: FloatArray
    leaves: FloatArray
    isocentre: FloatArray


class Head(NamedTuple):
    """The machine below the source."""

    axis_distance: float
    exit_plane: float
    jaw_y_top: float
    jaw_y_bottom: float
    jaw_x_top: float
    jaw_x_bottom: float
    jaw_y_turn: float
    jaw_x_turn: float
    leaf_top: float
    leaf_bottom: float
    leaf_centre: float
    tip_radius: float
    gap_offset: float
    side_position: FloatArray
    side_step: FloatArray
    side_shift_above: FloatArray
    side_shift_below: FloatArray
    half_gap: float
    side_reach: float
    lowest_energy: float
    jaw_removal: FloatArray
    jaw_compton: FloatArray
    leaf_removal: FloatArray
    leaf_compton: FloatArray


class Source(NamedTuple):
    """Focal photons, extra-focal photons and electrons, in this order.

    `density` is the relative number per area at the isocentre plane, at multiples of RADIUS_STEP and
    at most 1; `peak_density` is what 1 stands for, per mm² and per nominal photon.
    """

    opening_radius: float
    spot_xx: float
    spot_xy: float
    spot_yy: float
    distance: FloatArray
    sigma: FloatArray
    number: FloatArray
    density: FloatArray
    peak_density: FloatArray
    focal_energy: FloatArray
    extra_focal_energy: FloatArray
    electron_energy: FloatArray


def nodes_of(delivery: Delivery, linac: LinacModel) -> tuple[Nodes, IntArray]:
    """All nodes, and the index of each beam's first node.

    Raises
    ------
    UnsupportedPlanError
        When a beam's MLC is not the machine's, or its energy not the beam model's.
    """
    pairs = len(linac.machine.mlc.boundaries) - 1
    for beam in delivery.beams:
        _check(beam, linac)
    leaves = [
        beam.leaf_positions if beam.leaf_positions is not None else np.zeros((len(beam.meterset), 2, pairs))
        for beam in delivery.beams
    ]
    first = np.cumsum([0, *(len(beam.meterset) for beam in delivery.beams[:-1])])

    def joined(arrays: list[FloatArray]) -> FloatArray:
        return np.ascontiguousarray(np.concatenate(arrays), dtype=float)

    nodes = Nodes(
        gantry=joined([b.gantry for b in delivery.beams]),
        collimator=joined([b.collimator for b in delivery.beams]),
        couch=joined([b.couch for b in delivery.beams]),
        jaw_x=joined([b.jaw_x for b in delivery.beams]),
        jaw_y=joined([b.jaw_y for b in delivery.beams]),
        leaves=joined(leaves),
        isocentre=joined([b.isocentre for b in delivery.beams]),
    )
    return nodes, first.astype(np.int64)


def _check(beam: BeamTimeline, linac: LinacModel) -> None:
    if beam.nominal_energy_mv != linac.beam.nominal_energy_mv or beam.fluence_mode != linac.beam.fluence_mode:
        raise UnsupportedPlanError(
            f"Beam {beam.number}: {beam.nominal_energy_mv:g} MV {beam.fluence_mode} found, expected "
            f"{linac.beam.nominal_energy_mv:g} MV {linac.beam.fluence_mode} of {linac.name}."
        )
    if beam.leaf_boundaries is None:
        return
    known = np.array(linac.machine.mlc.boundaries)
    if known.shape != beam.leaf_boundaries.shape or np.any(np.abs(known - beam.leaf_boundaries) > BOUNDARY_TOLERANCE):
        raise UnsupportedPlanError(
            f"Beam {beam.number}: an MLC of {len(beam.leaf_boundaries) - 1} leaf pairs unknown to the machine "
            f"{linac.name} ({linac.machine.mlc.name}). Choose the machine model that the plan was made for."
        )


def head_of(linac: LinacModel) -> Head:
    """The machine's geometry and attenuation."""
    machine = linac.machine
    sides = leaf_sides(machine.mlc)
    energy = energy_grid(linac)
    return Head(
        axis_distance=machine.source_axis_distance,
        exit_plane=machine.exit_plane,
        jaw_y_top=machine.jaws.y.top,
        jaw_y_bottom=machine.jaws.y.bottom,
        jaw_x_top=machine.jaws.x.top,
        jaw_x_bottom=machine.jaws.x.bottom,
        jaw_y_turn=machine.jaws.y.turning_distance(machine.source_axis_distance),
        jaw_x_turn=machine.jaws.x.turning_distance(machine.source_axis_distance),
        leaf_top=machine.mlc.leaf_centre - machine.mlc.leaf_height / 2,
        leaf_bottom=machine.mlc.leaf_centre + machine.mlc.leaf_height / 2,
        leaf_centre=machine.mlc.leaf_centre,
        tip_radius=machine.mlc.tip_radius,
        gap_offset=machine.mlc.physical_gap_offset,
        side_position=sides.position,
        side_step=sides.step,
        side_shift_above=sides.shift_above,
        side_shift_below=sides.shift_below,
        half_gap=sides.half_gap,
        side_reach=sides.reach,
        lowest_energy=float(energy[0]),
        jaw_removal=removal_coefficient(machine.jaws.alloy, energy),
        jaw_compton=compton_coefficient(machine.jaws.alloy, energy),
        leaf_removal=removal_coefficient(machine.mlc.alloy, energy),
        leaf_compton=compton_coefficient(machine.mlc.alloy, energy),
    )


def energy_grid(linac: LinacModel) -> FloatArray:
    """Energies at which the attenuation is tabulated: equal steps over the spectrum."""
    lowest = linac.beam.spectrum.lowest_energy
    highest = linac.beam.spectrum.electron_energy + _ABOVE_SPECTRUM
    count = int(np.ceil((highest - lowest) / ENERGY_STEP)) + 2
    grid: FloatArray = lowest + ENERGY_STEP * np.arange(count, dtype=float)
    return grid


def source_of(linac: LinacModel) -> Source:
    """The source's components."""
    beam = linac.beam
    radius = linac.machine.primary_collimator.opening_radius
    radii: FloatArray = RADIUS_STEP * np.arange(int(np.ceil(radius / RADIUS_STEP)) + 2, dtype=float)
    focal = relative_fluence_at(beam.off_axis, radii)
    fine = np.linspace(0.0, radius, 4001)
    integral = float(np.trapezoid(2 * np.pi * fine * np.interp(fine, radii, focal), fine))
    number = np.array([1 - beam.extra_focal.fraction, beam.extra_focal.fraction, beam.contaminant_electrons.per_photon])
    area = np.pi * radius**2
    xx, xy, yy = beam.focal_spot.square_root
    return Source(
        opening_radius=radius,
        spot_xx=xx,
        spot_xy=xy,
        spot_yy=yy,
        distance=np.array([0.0, beam.extra_focal.distance, beam.contaminant_electrons.distance]),
        sigma=np.array([0.0, beam.extra_focal.sigma, beam.contaminant_electrons.sigma]),
        number=number,
        density=np.array([focal / focal.max(), np.ones_like(focal), np.ones_like(focal)]),
        peak_density=number * np.array([focal.max() / integral, 1 / area, 1 / area]),
        focal_energy=focal_energy_table(beam, radii),
        extra_focal_energy=extra_focal_quantiles(beam.spectrum, beam.extra_focal),
        electron_energy=electron_quantiles(beam.contaminant_electrons),
    )


def position_code(delivery: Delivery) -> int:
    """The delivery's patient position as compiled code knows it."""
    return position_code_of(delivery.patient_position)
