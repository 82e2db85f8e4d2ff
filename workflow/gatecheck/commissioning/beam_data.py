"""Beam data of one machine and energy: what was measured in a water tank, typed and with its conditions.

Lengths are in mm, jaw settings at the isocentre plane. **x and y are those of the beam limiting device**
(IEC 61217) at collimator 0: x_b is crossline, the travel of the leaves and of the X jaws; y_b is inline, from the
couch towards the gantry, the travel of the Y jaws. Off-axis positions are measured in the plane of the detector,
not scaled to the isocentre. All fields are open and perpendicular to the water's surface.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

Axis = Literal["x", "y", "mean", "diagonal", "antidiagonal"]
AXES: tuple[str, ...] = get_args(Axis)
"""Directions of a profile.

`x` and `y` run along the axes of the beam limiting device. `mean` is the mean of the left and right halves, over
the axes that were measured, where a source does not say which; its positions are not negative. `diagonal` runs
along x_b = y_b, `antidiagonal` along x_b = -y_b, with the distance from the axis as position and the sign of x_b.
"""

Normalisation = Literal["maximum", "axis", "as measured"]
"""What 100 % is: the curve's own maximum, the dose on the axis at the same depth, or nothing (any unit)."""

NOT_STATED = "not stated"

SMALLEST_FIELD = 1.0
LARGEST_JAW = 250.0
SHORTEST_SSD, LONGEST_SSD = 500.0, 3000.0
DEEPEST = 600.0
LARGEST_DETECTOR = 50.0

# What values can be; wider than any measurement, so that they catch wrong units and columns.
PERCENT_OF_MAXIMUM = (-2.0, 102.0)
PERCENT_OF_AXIS = (-2.0, 200.0)
WIDTHS = (0.1, 3 * LARGEST_JAW)
OUTPUT_FACTORS = (0.1, 3.0)
LEAF_TRANSMISSIONS = (1e-4, 0.1)
LEAF_GAPS = (-2.0, 10.0)

# A curve in per cent lies above this somewhere; one that doesn't is in fractions of 1.
_FRACTION = 2.0


@dataclass(frozen=True, slots=True)
class JawField:
    """A field defined by the jaws alone.

    Attributes
    ----------
    x1, x2, y1, y2 : float
        IEC positions at the isocentre plane: an ordinary 100 x 100 mm field has x1 = y1 = -50, x2 = y2 = 50.
    """

    x1: float
    x2: float
    y1: float
    y2: float

    def __post_init__(self) -> None:
        for name, low, high in (("x", self.x1, self.x2), ("y", self.y1, self.y2)):
            if not (abs(low) <= LARGEST_JAW and abs(high) <= LARGEST_JAW):
                raise ValueError(
                    f"jaws {name} at {low:g} and {high:g} mm, expected between {-LARGEST_JAW:g} and {LARGEST_JAW:g} mm"
                )
            if not high - low >= SMALLEST_FIELD:
                raise ValueError(
                    f"jaws {name} at {low:g} and {high:g} mm, expected {name}2 above {name}1 by {SMALLEST_FIELD:g} mm "
                    "or more"
                )

    @classmethod
    def of_size(cls, field_x: float, field_y: float) -> JawField:
        """A rectangle centred on the axis."""
        return cls(x1=-field_x / 2, x2=field_x / 2, y1=-field_y / 2, y2=field_y / 2)

    @property
    def size_x(self) -> float:
        """Between the X jaws."""
        return self.x2 - self.x1

    @property
    def size_y(self) -> float:
        """Between the Y jaws."""
        return self.y2 - self.y1

    @property
    def is_centred(self) -> bool:
        """Whether opposing jaws are equally far from the axis."""
        return self.x1 == -self.x2 and self.y1 == -self.y2

    def __str__(self) -> str:
        if self.is_centred:
            return f"{self.size_x:g} x {self.size_y:g} mm"
        return f"X {self.x1:g} to {self.x2:g}, Y {self.y1:g} to {self.y2:g} mm"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """Conditions common to everything that is measured.

    Attributes
    ----------
    jaws : JawField
    source_surface_distance : float
    detector_diameter : float or None
        Width over which the detector averages in the direction of a profile; 0 for one that is taken as a point or
        has been deconvolved, None where it is not stated.
    label : str
        Free text that tells repeated measurements apart.
    """

    jaws: JawField
    source_surface_distance: float
    detector_diameter: float | None = None
    label: str = ""

    def __post_init__(self) -> None:
        _check_range("source_surface_distance", self.source_surface_distance, SHORTEST_SSD, LONGEST_SSD)
        if self.detector_diameter is not None:
            _check_range("detector_diameter", self.detector_diameter, 0, LARGEST_DETECTOR)
        check_line("label", self.label)

    @property
    def field_x(self) -> float:
        """Between the X jaws, at the isocentre plane."""
        return self.jaws.size_x

    @property
    def field_y(self) -> float:
        """Between the Y jaws, at the isocentre plane."""
        return self.jaws.size_y


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DepthDose(_Measured):
    """Dose along a line that is parallel to the beam's axis.

    Attributes
    ----------
    depth : ndarray of shape (n,)
        Below the surface, rising.
    dose : ndarray of shape (n,)
        In % of the maximum, or in any unit when `normalisation` is "as measured".
    sigma : ndarray of shape (n,) or None
        Standard uncertainty of `dose`, in its unit.
    normalisation : "maximum" or "as measured"
    off_axis : float
        Distance of the line from the axis along x_b.
    """

    depth: FloatArray
    dose: FloatArray
    sigma: FloatArray | None = None
    normalisation: Normalisation = "maximum"
    off_axis: float = 0.0

    def __post_init__(self) -> None:
        _Measured.__post_init__(self)
        _keep_curve(self, "depth", self.depth, self.dose, self.sigma)
        _check_range("depth", float(self.depth[0]), 0, DEEPEST)
        _check_range("depth", float(self.depth[-1]), 0, DEEPEST)
        _check_range("off_axis", self.off_axis, -DEEPEST, DEEPEST)
        if self.normalisation not in ("maximum", "as measured"):
            raise ValueError(f"normalisation {self.normalisation!r}, expected 'maximum' or 'as measured'")
        if self.normalisation == "maximum":
            _check_percent_of_maximum(self.dose)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Profile(_Measured):
    """Dose across the beam at one depth.

    Attributes
    ----------
    depth : float
    axis : {"x", "y", "mean", "diagonal", "antidiagonal"}
        See `AXES`.
    position : ndarray of shape (n,)
        At the detector's depth, rising; a half profile has none below 0.
    dose : ndarray of shape (n,)
        In % of the dose on the axis at this depth, or in any unit when `normalisation` is "as measured".
    sigma : ndarray of shape (n,) or None
        Standard uncertainty of `dose`, in its unit.
    normalisation : "axis" or "as measured"
    """

    depth: float
    axis: Axis
    position: FloatArray
    dose: FloatArray
    sigma: FloatArray | None = None
    normalisation: Normalisation = "axis"

    def __post_init__(self) -> None:
        _Measured.__post_init__(self)
        _check_range("depth", self.depth, 0, DEEPEST)
        _check_axis(self.axis)
        _keep_curve(self, "position", self.position, self.dose, self.sigma)
        if self.axis == "mean" and self.position[0] < 0:
            raise ValueError(f"position {self.position[0]:g} mm on axis mean, expected none below 0")
        if self.normalisation not in ("axis", "as measured"):
            raise ValueError(f"normalisation {self.normalisation!r}, expected 'axis' or 'as measured'")
        if self.normalisation == "axis":
            _check_percent_of_axis(self)

    @property
    def is_half(self) -> bool:
        """Whether only one side of the axis is given."""
        return bool(self.position[0] >= 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileWidth(_Measured):
    """Width and penumbra of a profile, where a source gives them without the curve (or besides it).

    Attributes
    ----------
    depth : float
    axis : {"x", "y", "mean", "diagonal", "antidiagonal"}
    width_50 : float or None
        Distance between the two points at 50 % of the dose on the axis, at the detector's depth.
    penumbra_80_20 : float or None
        Distance between 80 % and 20 % of the dose on the axis, mean of both sides.
    width_sigma, penumbra_sigma : float or None
        Standard uncertainties.
    """

    depth: float
    axis: Axis
    width_50: float | None = None
    penumbra_80_20: float | None = None
    width_sigma: float | None = None
    penumbra_sigma: float | None = None

    def __post_init__(self) -> None:
        _Measured.__post_init__(self)
        _check_range("depth", self.depth, 0, DEEPEST)
        _check_axis(self.axis)
        if self.width_50 is None and self.penumbra_80_20 is None:
            raise ValueError("neither width_50 nor penumbra_80_20 is given")
        for name in ("width_50", "penumbra_80_20"):
            value = getattr(self, name)
            if value is not None:
                _check_range(name, value, *WIDTHS)
        _check_sigma("width_sigma", self.width_50, self.width_sigma)
        _check_sigma("penumbra_sigma", self.penumbra_80_20, self.penumbra_sigma)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFactor(_Measured):
    """Dose per MU on the axis, relative to a reference field at the same SSD and depth.

    Attributes
    ----------
    depth : float
    value : float
    sigma : float or None
        Standard uncertainty of `value`.
    reference : JawField
        The field whose value is 1.
    """

    depth: float
    value: float
    sigma: float | None = None
    reference: JawField = field(default_factory=lambda: JawField.of_size(100.0, 100.0))

    def __post_init__(self) -> None:
        _Measured.__post_init__(self)
        _check_range("depth", self.depth, 0, DEEPEST)
        low, high = OUTPUT_FACTORS
        if not low <= self.value <= high:
            raise ValueError(f"output factor {self.value:g}, expected a ratio from {low:g} to {high:g}")
        _check_sigma("sigma", self.value, self.sigma)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafTransmission(_Measured):
    """Mean dose under closed leaves, over interleaf leakage too, relative to the open field of the same jaws.

    Attributes
    ----------
    depth : float
    value : float
        A ratio, not per cent; mean of both banks.
    sigma : float or None
        Standard uncertainty of `value`.
    """

    depth: float
    value: float
    sigma: float | None = None

    def __post_init__(self) -> None:
        _Measured.__post_init__(self)
        _check_range("depth", self.depth, 0, DEEPEST)
        low, high = LEAF_TRANSMISSIONS
        if not low <= self.value <= high:
            raise ValueError(f"leaf transmission {self.value:g}, expected a ratio from {low:g} to {high:g}")
        _check_sigma("sigma", self.value, self.sigma)


@dataclass(frozen=True, slots=True, kw_only=True)
class DosimetricLeafGap(_Measured):
    """Gap at which the dose of sweeping gaps would vanish, with the sign changed: LoSasso et al. (1998).

    A measured gap, not the one that a treatment planning system was tuned to.

    Attributes
    ----------
    depth : float
    value : float
    sigma : float or None
        Standard uncertainty of `value`.
    """

    depth: float
    value: float
    sigma: float | None = None

    def __post_init__(self) -> None:
        _Measured.__post_init__(self)
        _check_range("depth", self.depth, 0, DEEPEST)
        _check_range("dosimetric leaf gap", self.value, *LEAF_GAPS)
        _check_sigma("sigma", self.value, self.sigma)


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamData:
    """Everything measured of one machine and energy.

    Attributes
    ----------
    machine, beam : str
        As the file names them, for people.
    detector : str
        Type of detector, in words.
    source : str
        Where the measurements come from.
    sha256 : str
        Of the file, or over those of the files that were joined; empty for data that were not read from a file.
    depth_doses, profiles, widths, output_factors, leaf_transmissions, leaf_gaps : tuple
    notes : tuple of str
        What the reader left out or assumed, to be shown with the results.
    """

    machine: str = NOT_STATED
    beam: str = NOT_STATED
    detector: str = NOT_STATED
    source: str = NOT_STATED
    sha256: str = ""
    depth_doses: tuple[DepthDose, ...] = ()
    profiles: tuple[Profile, ...] = ()
    widths: tuple[ProfileWidth, ...] = ()
    output_factors: tuple[OutputFactor, ...] = ()
    leaf_transmissions: tuple[LeafTransmission, ...] = ()
    leaf_gaps: tuple[DosimetricLeafGap, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("machine", "beam", "detector", "source"):
            check_line(name, getattr(self, name))
            if not getattr(self, name):
                raise ValueError(f"{name} is empty, expected a description or {NOT_STATED!r}")

    @property
    def is_empty(self) -> bool:
        """Whether nothing was measured."""
        beam = self.depth_doses or self.profiles or self.widths or self.output_factors
        return not (beam or self.leaf_transmissions or self.leaf_gaps)


def check_line(name: str, text: str) -> None:
    """Refuse text that is not one tidy line.

    Raises
    ------
    ValueError
    """
    if text != " ".join(text.split()) or not text.isprintable():
        raise ValueError(f"{name} is not one line of printable text without doubled or outer blanks: {text!r}")


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value:g} mm, expected {low:g} to {high:g} mm")


def _check_axis(axis: str) -> None:
    if axis not in AXES:
        raise ValueError(f"axis {axis!r}, expected one of {', '.join(AXES)}")


def _check_sigma(name: str, value: float | None, sigma: float | None) -> None:
    if sigma is None:
        return
    if value is None:
        raise ValueError(f"{name} is given for a value that is not")
    if not 0 <= sigma < np.inf:
        raise ValueError(f"{name} is {sigma:g}, expected a finite number not below 0")


def _keep_curve(
    owner: DepthDose | Profile, name: str, places: FloatArray, dose: FloatArray, sigma: FloatArray | None
) -> None:
    """Check a curve and keep read-only copies of its arrays."""
    given = {name: places, "dose": dose} | ({} if sigma is None else {"sigma": sigma})
    arrays = {key: np.array(value, dtype=float) for key, value in given.items()}
    n = arrays[name].shape
    if len(n) != 1 or n[0] < 1 or any(array.shape != n for array in arrays.values()):
        shapes = ", ".join(f"{key} {array.shape}" for key, array in arrays.items())
        raise ValueError(f"arrays of shapes {shapes}, expected one dimension and equal lengths of 1 or more")
    for key, array in arrays.items():
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{key} has values that are not finite")
    if np.any(np.diff(arrays[name]) <= 0):
        raise ValueError(f"{name} does not rise from point to point")
    if sigma is not None and np.any(arrays["sigma"] < 0):
        raise ValueError("sigma has values below 0")
    for key, array in arrays.items():
        array.setflags(write=False)
        object.__setattr__(owner, key, array)


def _check_percent_of_maximum(dose: FloatArray) -> None:
    low, high = PERCENT_OF_MAXIMUM
    if not low <= dose.min() <= dose.max() <= high or dose.max() < _FRACTION:
        raise ValueError(f"dose from {dose.min():g} to {dose.max():g}, expected per cent of the curve's maximum")


def _check_percent_of_axis(profile: Profile) -> None:
    low, high = PERCENT_OF_AXIS
    position, dose = profile.position, profile.dose
    inside = np.abs(position).min() < min(profile.field_x, profile.field_y) / 2
    if not low <= dose.min() <= dose.max() <= high or (inside and dose.max() < _FRACTION):
        raise ValueError(f"dose from {dose.min():g} to {dose.max():g}, expected per cent of the dose on the axis")
    on_axis = dose[position == 0]
    # Noise apart, which is less than this even in a single unsmoothed scan.
    if on_axis.size and abs(on_axis[0] - 100) > 2:
        raise ValueError(f"dose {on_axis[0]:g} on the axis, expected 100 (per cent of the dose on the axis)")
