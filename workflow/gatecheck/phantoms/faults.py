"""Faults put into a plan or its CT on purpose, to see which metric of the comparison finds which.

Each stands for something that goes wrong between planning system and patient: the TPS dose stays that of the
plan as it was meant, and what is simulated has the fault. A fault of one leaf is put where it matters, into the
pairs that open onto the target.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gatecheck.case.model import Beam, ControlPoint
from gatecheck.phantoms.planning.tissue import mass_density

FloatArray = npt.NDArray[np.float64]
Beams = tuple[Beam, ...]

# A leaf that is nearer to its opposite one than this does not open the pair, mm.
_CLOSED = 1.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes
    ----------
    name : str
        As tables show it.
    is_gross : bool
        One that nobody would treat with.
    of_beams : callable
        From the beams as planned to those that are simulated.
    of_ct_numbers : callable
        The same for CT numbers [z, y, x].
    tps_dose_shift : tuple of 3 floats
        mm by which the TPS dose's grid is displaced along x, y, z.
    must_be_seen : bool
        Whether a check that does not see it is not sensitive enough; every gross one is among these.
    photon_factor : int
        How many times the photons of other faults it is given. A gap that opens moves isodoses by 0.2 mm only, and
        where the fault-free ones lie 0.1 mm further in, half of that is hidden: 12 million photons did not show it.
    """

    name: str
    is_gross: bool = False
    of_beams: Callable[[Beams], Beams] = field(default=lambda beams: beams)
    of_ct_numbers: Callable[[npt.NDArray[np.int16]], npt.NDArray[np.int16]] = field(default=lambda numbers: numbers)
    tps_dose_shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    must_be_seen: bool = False
    photon_factor: int = 1


def output_scaled(beams: Beams, by: float) -> Beams:
    """All metersets times a factor."""
    return tuple(beam.model_copy(update={"meterset": beam.meterset * by}) for beam in beams)


def leaves_moved(beams: Beams, *, x1: float = 0.0, x2: float = 0.0) -> Beams:
    """Displace every leaf of a bank along x_b, mm; a negative `x1` and a positive `x2` open the gaps."""

    def moved(positions: FloatArray) -> FloatArray:
        displaced: FloatArray = positions + np.array([[x1], [x2]])
        return displaced

    return _with_leaves(beams, moved)


def leaf_stuck(beams: Beams, bank: int = 1) -> Beams:
    """The leaf of bank X1 (0) or X2 (1) that travels most in a beam, among those that open, stays where it began."""
    result = []
    for beam in beams:
        leaves = _leaves_of(beam)
        opens = (leaves[:, 1] - leaves[:, 0] > _CLOSED).any(axis=0)
        if not opens.any():
            raise ValueError(f"beam {beam.number}: no pair of leaves opens")
        travel = np.abs(np.diff(leaves[:, bank], axis=0)).sum(axis=0) * opens
        stuck = int(np.argmax(travel))
        leaves[:, bank, stuck] = leaves[0, bank, stuck]
        # The opposite leaf stops where it would run into the one that is stuck.
        other = 1 - bank
        limit = np.minimum if other == 0 else np.maximum
        leaves[:, other, stuck] = limit(leaves[:, other, stuck], leaves[:, bank, stuck])
        result.append(_with_positions(beam, leaves))
    return tuple(result)


def leaves_mirrored(beams: Beams) -> Beams:
    """The banks' positions with the sign of the other bank: x_b becomes -x_b."""
    return _with_leaves(beams, lambda positions: -positions[::-1])


def isocentre_shifted(beams: Beams, shift: tuple[float, float, float]) -> Beams:
    """Displace the isocentre in the patient, LPS mm."""

    def moved(point: ControlPoint) -> ControlPoint:
        x, y, z = (place + by for place, by in zip(point.isocentre, shift, strict=True))
        return point.model_copy(update={"isocentre": (x, y, z)})

    return _with_control_points(beams, moved)


def collimator_turned(beams: Beams, degrees: float) -> Beams:
    """Add to every collimator angle."""

    def turned(point: ControlPoint) -> ControlPoint:
        return point.model_copy(update={"collimator_angle": (point.collimator_angle + degrees) % 360.0})

    return _with_control_points(beams, turned)


def couch_turned(beams: Beams, degrees: float) -> Beams:
    """Add to every couch angle."""

    def turned(point: ControlPoint) -> ControlPoint:
        return point.model_copy(update={"couch_angle": (point.couch_angle + degrees) % 360.0})

    return _with_control_points(beams, turned)


def last_beam_missing(beams: Beams) -> Beams:
    """All but the last beam."""
    if len(beams) < 2:
        raise ValueError(f"{len(beams)} beam, at least 2 are needed for one to be missing")
    return beams[:-1]


def denser(ct_numbers_zyx: npt.NDArray[np.int16], by: float) -> npt.NDArray[np.int16]:
    """CT numbers of a patient whose densities are larger by a factor of 1 or more, by Schneider's curve.

    Of the CT numbers at or above a voxel's own the first that is dense enough, or the one before it, which is nearer;
    the curve falls by 4 % at 100. Above 3071 there is none: such voxels become 3071.
    """
    numbers = np.arange(-1024, 3072)
    densities = mass_density(numbers)
    simulated = np.empty(len(numbers), dtype=np.int16)
    for index, density in enumerate(densities * by):
        dense = np.flatnonzero(densities[index:] >= density)
        first = index + int(dense[0]) if dense.size else len(numbers) - 1
        before = max(first - 1, index)
        is_nearer = density - densities[before] < densities[first] - density
        simulated[index] = numbers[before if is_nearer else first]
    return simulated[np.clip(ct_numbers_zyx, -1024, 3071).astype(np.int64) + 1024]


def faults(*, tps_dose_spacing: tuple[float, float, float]) -> Mapping[str, Fault]:
    """All faults by name, "none" first.

    Parameters
    ----------
    tps_dose_spacing : tuple of 3 floats
        Of the TPS dose's voxels, mm: its grid is displaced by half of them.
    """
    along = {"left": (1.0, 0.0, 0.0), "posterior": (0.0, 1.0, 0.0), "superior": (0.0, 0.0, 1.0)}
    x, y, z = (spacing / 2 for spacing in tps_dose_spacing)
    found = (
        Fault("none"),
        Fault("output +2 %", of_beams=lambda beams: output_scaled(beams, 1.02), must_be_seen=True),
        Fault("output -2 %", of_beams=lambda beams: output_scaled(beams, 0.98)),
        Fault(
            "leaf gap +0.5 mm",
            of_beams=lambda beams: leaves_moved(beams, x1=-0.25, x2=0.25),
            must_be_seen=True,
            photon_factor=5,
        ),
        Fault("bank X2 +1 mm", of_beams=lambda beams: leaves_moved(beams, x2=1.0), must_be_seen=True),
        Fault("one leaf stuck", of_beams=leaf_stuck),
        *(
            Fault(
                f"isocentre 1 mm {name}",
                of_beams=functools.partial(isocentre_shifted, shift=shift),
                must_be_seen=True,
            )
            for name, shift in along.items()
        ),
        Fault("collimator +1 degree", of_beams=lambda beams: collimator_turned(beams, 1.0)),
        _gross("leaves mirrored", leaves_mirrored),
        _gross("one arc missing", last_beam_missing),
        Fault("CT density +3 %", of_ct_numbers=lambda numbers: denser(numbers, 1.03)),
        _gross("couch 15 degrees", lambda beams: couch_turned(beams, 15.0)),
        Fault("TPS dose grid half a voxel", tps_dose_shift=(x, y, z)),
    )
    return {fault.name: fault for fault in found}


def _gross(name: str, of_beams: Callable[[Beams], Beams]) -> Fault:
    return Fault(name, is_gross=True, of_beams=of_beams, must_be_seen=True)


def _with_control_points(beams: Beams, change: Callable[[ControlPoint], ControlPoint]) -> Beams:
    return tuple(
        beam.model_copy(update={"control_points": tuple(change(point) for point in beam.control_points)})
        for beam in beams
    )


def _with_leaves(beams: Beams, change: Callable[[FloatArray], FloatArray]) -> Beams:
    return tuple(_with_positions(beam, np.array([change(leaves) for leaves in _leaves_of(beam)])) for beam in beams)


def _leaves_of(beam: Beam) -> FloatArray:
    """Positions, (n_control_points, 2, n_pairs)."""
    if any(point.leaf_positions is None for point in beam.control_points):
        raise ValueError(f"beam {beam.number}: has no MLC, its leaves cannot be at fault")
    return np.array([point.leaf_positions for point in beam.control_points], dtype=np.float64)


def _with_positions(beam: Beam, leaves: FloatArray) -> Beam:
    points = tuple(
        point.model_copy(update={"leaf_positions": (tuple(x1), tuple(x2))})
        for point, (x1, x2) in zip(beam.control_points, leaves.tolist(), strict=True)
    )
    return beam.model_copy(update={"control_points": points})
