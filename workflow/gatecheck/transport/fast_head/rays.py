"""A ray of the source as a row of numbers, between the source and the collimators."""

from __future__ import annotations

# In the beam limiting device system, x(s) = x0 + slope_x s with s the distance from the target: where it
# starts (s), its moment as a share of its stretch's segment, energy, weight, stretch, particle, whether it
# was aimed at the opening, and a number that stays with all that becomes of it.
RAY_X0, RAY_SLOPE_X, RAY_Y0, RAY_SLOPE_Y, RAY_START, RAY_SHARE, RAY_ENERGY, RAY_WEIGHT = range(8)
RAY_STRETCH, RAY_PDG, RAY_IS_FOCUSED, RAY_LABEL, RAY_COLUMNS = range(8, 13)

ELECTRON_PDG, POSITRON_PDG, PHOTON_PDG = 11, -11, 22
