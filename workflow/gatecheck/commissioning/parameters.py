"""The free parameters of the source model, and a beam with other values of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator

from gatecheck.linac.model import Beam

FloatArray = npt.NDArray[np.float64]

FLUENCE_KNOTS = (20.0, 40.0, 60.0, 80.0, 100.0, 120.0, 140.0, 165.0, 200.0)
"""mm at the isocentre plane; the fluence is 1 on the axis and falls as it did beyond the last."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One free parameter.

    Attributes
    ----------
    name : str
        Its place in beam_6x.yaml; fluence knots as off_axis.relative_fluence@radius.
    unit : str
    step : float
        A typical change: parameters are fitted in units of it.
    low, high : float
        Bounds.
    """

    name: str
    unit: str
    step: float
    low: float
    high: float


SPOT_SCALE = Parameter("focal_spot.scale", "", 0.1, 0.4, 2.5)

PARAMETERS: tuple[Parameter, ...] = (
    Parameter("spectrum.electron_energy", "MeV", 0.1, 5.0, 6.7),
    Parameter("spectrum.aluminium", "g/cm2", 3.0, 5.0, 90.0),
    *(Parameter(f"off_axis.relative_fluence@{knot:g}", "", 0.01, 0.3, 2.0) for knot in FLUENCE_KNOTS),
    Parameter("off_axis.softening_scale", "", 0.1, 0.0, 3.0),
    Parameter("extra_focal.fraction", "", 0.01, 0.0, 0.3),
    Parameter("extra_focal.sigma", "mm", 2.0, 4.0, 40.0),
    Parameter("contaminant_electrons.per_photon", "", 0.003, 0.0, 0.1),
    Parameter("contaminant_electrons.mean_energy", "MeV", 0.2, 0.3, 3.0),
    Parameter("contaminant_electrons.sigma", "mm", 5.0, 5.0, 60.0),
    SPOT_SCALE,
)


def start_values(beam: Beam, parameters: Sequence[Parameter] = PARAMETERS) -> FloatArray:
    """The values that a beam has."""
    return np.array([_value_of(beam, parameter.name) for parameter in parameters])


def _value_of(beam: Beam, name: str) -> float:
    if name.startswith("off_axis.relative_fluence@"):
        radius = float(name.split("@")[1])
        return float(np.interp(radius, beam.off_axis.radius, beam.off_axis.relative_fluence))
    if name in ("off_axis.softening_scale", SPOT_SCALE.name):
        return 1.0
    section, key = name.split(".")
    return float(getattr(getattr(beam, section), key))


def with_values(beam: Beam, values: FloatArray, parameters: Sequence[Parameter] = PARAMETERS) -> Beam:
    """A beam with these values; what is no parameter stays."""
    named = dict(zip((parameter.name for parameter in parameters), values.tolist(), strict=True))
    sections: dict[str, dict[str, object]] = {}
    knots = {0.0: 1.0}
    for name, value in named.items():
        if name.startswith("off_axis.relative_fluence@"):
            knots[float(name.split("@")[1])] = value
        elif name == "off_axis.softening_scale":
            scaled = tuple(value * softening for softening in beam.off_axis.softening_aluminium)
            sections.setdefault("off_axis", {})["softening_aluminium"] = scaled
        elif name == SPOT_SCALE.name:
            spot = beam.focal_spot
            sections["focal_spot"] = {
                "sigma_minor": spot.sigma_minor * value,
                "sigma_major": spot.sigma_major * value,
            }
        else:
            section, key = name.split(".")
            sections.setdefault(section, {})[key] = value
    if len(knots) > 1:
        fluence = fluence_table(np.array(sorted(knots)), np.array([knots[key] for key in sorted(knots)]))
        sections.setdefault("off_axis", {})["relative_fluence"] = tuple(
            fluence(np.array(beam.off_axis.radius)).tolist()
        )
    return beam.model_copy(
        update={name: getattr(beam, name).model_copy(update=changes) for name, changes in sections.items()}
    )


@dataclass(frozen=True, slots=True)
class _Fluence:
    knots: FloatArray
    values: FloatArray

    def __call__(self, radius: FloatArray) -> FloatArray:
        # Even in the radius, and so level on the axis.
        whole = np.concatenate([-self.knots[:0:-1], self.knots])
        curve = PchipInterpolator(whole, np.concatenate([self.values[:0:-1], self.values]))
        last = self.knots[-1]
        slope = (self.values[-1] - self.values[-2]) / (last - self.knots[-2])
        beyond = np.maximum(self.values[-1] + slope * (radius - last), 0.0)
        return np.asarray(np.where(radius <= last, curve(np.minimum(radius, last)), beyond), dtype=float)


def fluence_table(knots: FloatArray, values: FloatArray) -> _Fluence:
    """A smooth, monotone curve through knots, straight on beyond the last."""
    return _Fluence(knots, values)
