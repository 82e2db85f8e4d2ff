"""The patient displaced against the machine: the head's phase space carried over."""

from __future__ import annotations

from dataclasses import replace

from gatecheck.delivery.coordinates import RigidTransform
from gatecheck.delivery.displacement import carried_over
from gatecheck.transport.model import PhaseSpace


def displaced(phase_space: PhaseSpace, transform: RigidTransform) -> PhaseSpace:
    """A phase space as a displaced patient sees it.

    Parameters
    ----------
    transform : RigidTransform
        From where the patient was planned to where it lies; see `gatecheck.delivery.displacement`.
    """
    position, direction = carried_over(phase_space.position, phase_space.direction, transform)
    return replace(phase_space, position=position, direction=direction)
