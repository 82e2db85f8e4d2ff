"""The photon source's distributions as tables: energy, intensity across the field, electrons."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gatecheck.linac.attenuation import ELECTRON_REST_ENERGY, mass_attenuation
from gatecheck.linac.model import Beam, ContaminantElectrons, ExtraFocal, OffAxis, Spectrum

FloatArray = npt.NDArray[np.float64]

GRID_POINTS = 600
QUANTILES = 513


def energy_fluence(spectrum: Spectrum, energy: npt.ArrayLike, *, less_aluminium: float = 0.0) -> FloatArray:
    """Relative energy fluence per energy, equation 12 of Ali and Rogers, Phys. Med. Biol. 57 (2012) 31.

    Parameters
    ----------
    spectrum : Spectrum
    energy : array_like
        MeV.
    less_aluminium : float
        g/cm2 by which the flattening filter is thinner than on the axis.
    """
    e = np.asarray(energy, dtype=float)
    end = spectrum.electron_energy
    inside = (e > 0) & (e < end)
    safe = np.where(inside, e, end / 2)
    thin = (1 + spectrum.shape * safe / end + (safe / end) ** 2) * (np.log(end * (end - safe) / safe + 1.65) - 0.5)
    depth = mass_attenuation("W", safe) * spectrum.tungsten
    depth = depth + mass_attenuation("Al", safe) * (spectrum.aluminium - less_aluminium)
    result: FloatArray = np.where(inside, np.maximum(thin, 0.0) * np.exp(-depth), 0.0)
    return result


def photon_number(spectrum: Spectrum, *, less_aluminium: float = 0.0) -> tuple[FloatArray, FloatArray]:
    """Energies (MeV, shape (n,)) and relative photon number per energy at them."""
    energy = np.linspace(spectrum.lowest_energy, spectrum.electron_energy, GRID_POINTS)
    return energy, energy_fluence(spectrum, energy, less_aluminium=less_aluminium) / energy


def mean_energy(spectrum: Spectrum, *, less_aluminium: float = 0.0) -> float:
    """Mean photon energy by number, MeV."""
    energy, number = photon_number(spectrum, less_aluminium=less_aluminium)
    return float(np.trapezoid(energy * number, energy) / np.trapezoid(number, energy))


def quantiles(energy: FloatArray, density: FloatArray) -> FloatArray:
    """Inverse of the cumulative distribution at QUANTILES equal steps of probability."""
    steps = 0.5 * (density[1:] + density[:-1]) * np.diff(energy)
    cumulative = np.concatenate([[0.0], np.cumsum(steps)])
    cumulative /= cumulative[-1]
    # np.interp needs a rising abscissa: a flat end of the distribution holds no photons.
    rising = np.concatenate([[True], np.diff(cumulative) > 0])
    result: FloatArray = np.interp(np.linspace(0, 1, QUANTILES), cumulative[rising], energy[rising])
    return result


def softening_at(off_axis: OffAxis, radius: npt.ArrayLike) -> FloatArray:
    """g/cm2 of aluminium by which the filter is thinner at a radius (mm at the isocentre plane)."""
    return np.asarray(np.interp(np.asarray(radius, dtype=float), off_axis.radius, off_axis.softening_aluminium))


def relative_fluence_at(off_axis: OffAxis, radius: npt.ArrayLike) -> FloatArray:
    """Focal photons per area relative to the axis, at a radius (mm at the isocentre plane)."""
    return np.asarray(np.interp(np.asarray(radius, dtype=float), off_axis.radius, off_axis.relative_fluence))


def focal_energy_table(beam: Beam, radii: FloatArray) -> FloatArray:
    """Energy quantiles at each radius, shape (n_radii, QUANTILES), MeV."""
    rows = [
        quantiles(*photon_number(beam.spectrum, less_aluminium=float(less)))
        for less in softening_at(beam.off_axis, radii)
    ]
    return np.array(rows)


def compton_shifted(energy: npt.ArrayLike, angle: float) -> FloatArray:
    """Energy after a Compton scatter through an angle in degrees (Compton 1923), MeV."""
    e = np.asarray(energy, dtype=float)
    result: FloatArray = e / (1 + e / ELECTRON_REST_ENERGY * (1 - np.cos(np.radians(angle))))
    return result


def extra_focal_quantiles(spectrum: Spectrum, extra_focal: ExtraFocal) -> FloatArray:
    """Energy quantiles of the extra-focal photons, shape (QUANTILES,), MeV."""
    on_axis = quantiles(*photon_number(spectrum))
    return np.maximum(compton_shifted(on_axis, extra_focal.scattering_angle), spectrum.lowest_energy)


def electron_quantiles(electrons: ContaminantElectrons) -> FloatArray:
    """Energy quantiles of the contaminant electrons, shape (QUANTILES,), MeV."""
    low = np.exp(-electrons.lowest_energy / electrons.mean_energy)
    high = np.exp(-electrons.highest_energy / electrons.mean_energy)
    u = np.linspace(0, 1, QUANTILES)
    result: FloatArray = -electrons.mean_energy * np.log(low - u * (low - high))
    return result
