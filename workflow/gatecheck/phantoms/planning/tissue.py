"""What the planning engine takes a CT number for: density, electrons per gram, and their product.

Density: Schneider, Bortfeld and Schlegel, Phys. Med. Biol. 45 (2000) 459, as a planning system's own table. Electrons
per gram relative to water from the hydrogen of their table 6: every other element of tissue has half as many
electrons as nucleons, hydrogen twice that.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_DENSITY_NODES = np.array([
    (-1000.0, 0.00121), (-98.0, 0.9305), (14.0, 1.0305), (23.0, 1.0299), (100.0, 1.1199), (101.0, 1.0768),
    (1600.0, 1.9642), (3000.0, 2.793),
]).T  # fmt: skip
_HYDROGEN_NODES = np.array([
    (-1000.0, 0.0), (-960.0, 0.0), (-940.0, 0.103), (-130.0, 0.103), (-101.0, 0.116), (-67.0, 0.113), (-37.0, 0.110),
    (-7.0, 0.108), (13.0, 0.106), (20.0, 0.103), (78.0, 0.103), (82.0, 0.094), (160.0, 0.095), (250.0, 0.089),
    (350.0, 0.082), (450.0, 0.076), (550.0, 0.071), (650.0, 0.066), (750.0, 0.061), (850.0, 0.056), (950.0, 0.052),
    (1050.0, 0.049), (1250.0, 0.042), (1550.0, 0.034),
]).T  # fmt: skip
_HYDROGEN_OF_WATER = 0.111894
_ELECTRONS_PER_NUCLEON, _MORE_IN_HYDROGEN = 0.4995, 0.4926


def electrons_per_gram(ct_numbers: npt.ArrayLike) -> FloatArray:
    """Electrons per gram relative to water."""
    hydrogen = np.interp(np.asarray(ct_numbers, dtype=float), *_HYDROGEN_NODES)
    of_water = _ELECTRONS_PER_NUCLEON + _MORE_IN_HYDROGEN * _HYDROGEN_OF_WATER
    relative: FloatArray = (_ELECTRONS_PER_NUCLEON + _MORE_IN_HYDROGEN * hydrogen) / of_water
    return relative


def mass_density(ct_numbers: npt.ArrayLike) -> FloatArray:
    """Density, g/cm3."""
    density: FloatArray = np.interp(np.asarray(ct_numbers, dtype=float), *_DENSITY_NODES)
    return density


def electron_density(ct_numbers: npt.ArrayLike) -> FloatArray:
    """Electrons per volume relative to water: what attenuates, per mm."""
    return mass_density(ct_numbers) * electrons_per_gram(ct_numbers)
