"""Where the planning engine looks its cells up, by a table, they are those that a search finds."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.phantoms.planning import engine


@pytest.mark.parametrize(("nodes", "width"), [(engine._DEPTHS, engine._DEPTH_PART), (engine._lateral_places(), 0.5)])
def test_cells_looked_up_are_those_that_a_search_finds(nodes: np.ndarray, width: float) -> None:
    """At every node, next to it on both sides, in between, and beyond both ends."""
    between = np.random.default_rng(4).uniform(nodes[0] - 5.0, nodes[-1] + 5.0, 20_000)
    values = np.concatenate([nodes, np.nextafter(nodes, -np.inf), np.nextafter(nodes, np.inf), between])
    first = engine._first_cells(nodes, width)
    found = [engine._cell(value, nodes, first, width) for value in values]
    held = np.clip(values, nodes[0], nodes[-1])
    cells = np.minimum(np.searchsorted(nodes, held, "right") - 1, len(nodes) - 2)
    np.testing.assert_array_equal([cell for cell, _ in found], cells)
    fractions = (held - nodes[cells]) / (nodes[cells + 1] - nodes[cells])
    np.testing.assert_array_equal([fraction for _, fraction in found], fractions)
