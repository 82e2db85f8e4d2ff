"""The planning engine's own geometry beside the delivery's: two implementations of IEC 61217 that share no code."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import numpy as np
import pytest

import gatecheck.phantoms.arcs
import gatecheck.phantoms.planning
from gatecheck.delivery.coordinates import beam_limiting_device_to_patient, project_to_isocentre_plane
from gatecheck.phantoms.planning.geometry import beam_axes, in_beam, seen_from_source

ANGLES = list(itertools.product((0.0, 37.0, 90.0, 181.0), (0.0, 30.0, 330.0), (0.0, 15.0, 270.0)))
ISOCENTRE = (12.0, -34.0, 56.0)
# What the engine may know of the rest: the plan, files and other phantoms.
ALLOWED = ("gatecheck.case.model", "gatecheck.files", "gatecheck.phantoms.")


@pytest.mark.parametrize("position", ["HFS", "HFP", "FFS", "FFP"])
def test_axes_and_projections_are_those_of_the_delivery(position: str) -> None:
    points = np.array([[20.0, -30.0, 40.0], [0.0, -60.0, 70.0], [12.0, -34.0, 56.0]])
    for gantry, collimator, couch in ANGLES:
        angles = {"gantry": gantry, "collimator": collimator, "couch": couch}
        placed = {"isocentre": ISOCENTRE, "patient_position": position}
        axes = beam_axes(gantry, collimator, couch, position)
        transform = beam_limiting_device_to_patient(**angles, **placed)
        np.testing.assert_allclose(axes, transform.rotation, atol=1e-12)
        np.testing.assert_allclose(in_beam(points, axes, ISOCENTRE), transform.inverse().apply(points), atol=1e-9)
        seen = project_to_isocentre_plane(points, **angles, **placed)
        np.testing.assert_allclose(seen_from_source(points, axes, ISOCENTRE), seen, atol=1e-9)


def test_signs_of_a_patient_on_the_back() -> None:
    """Gantry 90: the source stands at the patient's left. Couch 90: a lateral beam enters at the head or feet."""
    np.testing.assert_allclose(beam_axes(90.0, 0.0, 0.0, "HFS")[:, 2], (1, 0, 0), atol=1e-12)
    np.testing.assert_allclose(beam_axes(0.0, 0.0, 0.0, "HFS")[:, 2], (0, -1, 0), atol=1e-12)
    np.testing.assert_allclose(beam_axes(0.0, 0.0, 0.0, "HFS")[:, 1], (0, 0, 1), atol=1e-12)
    np.testing.assert_allclose(beam_axes(90.0, 0.0, 90.0, "HFS")[:, 2], (0, 0, -1), atol=1e-12)


def test_the_planning_engine_knows_nothing_of_delivery_head_or_transport() -> None:
    folder = Path(str(gatecheck.phantoms.planning.__file__)).parent
    files = [*folder.rglob("*.py"), Path(str(gatecheck.phantoms.arcs.__file__))]
    known = [
        node.module or ""
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
    ]
    ours = {name for name in known if name.startswith("gatecheck")}
    assert ours
    assert not [name for name in ours if not name.startswith(ALLOWED)]
