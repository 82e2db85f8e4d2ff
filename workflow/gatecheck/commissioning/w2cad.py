"""Beam data from W2CAD text files, the format in which Eclipse takes and gives measured beams.

Used are open photon fields: depth doses (%TYPE OPD), profiles (OPP) along x or y, and diagonal profiles (DPR).
%FLSZ is the field's size as X*Y, %SSD and %DPTH are in mm, rows are x, y, depth in mm and dose. x is crossline and y
inline, as in the rest of this room. Dates, operators and comments in a file are not carried on.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.commissioning.analysis import centre_of_field
from gatecheck.commissioning.beam_data import NOT_STATED, Axis, BeamData, DepthDose, JawField, Profile
from gatecheck.commissioning.measured import (
    centred_profile,
    check_width,
    normalised_depth_dose,
    normalised_profile,
)
from gatecheck.commissioning.w2cad_scans import Scan, read_scans
from gatecheck.errors import InputError
from gatecheck.files import sha256_of_file

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

_DEPTH_DOSE, _PROFILE, _DIAGONAL = "OPD", "OPP", "DPR"
_WEDGED = ("WDD", "WDD_SSD80", "WDD_SSD120", "WDP", "WLP")
_AXES_OF_TYPE = {_DEPTH_DOSE: ("Z",), _PROFILE: ("X", "Y"), _DIAGONAL: ("D",)}
_DETECTORS = {"CHA": "ionisation chamber", "DIO": "diode", "DIA": "diamond"}
_PHOTONS = ("PHO", "PHOTON", "PHOTONS")

# %STEP is nominal only, %VERSION, %PNTS and %DETY are checked elsewhere, %DATE is of no concern.
_KNOWN = frozenset(
    "VERSION DATE DETY BMTY TYPE AXIS PNTS STEP SSD FLSZ DPTH WDGL WDGD".split()  # noqa: SIM905
)

# Coordinates are written to 0.1 mm and %DPTH to 1 mm, and water tanks hang a little askew.
_OFF_LINE = 1.0
_OFF_DEPTH = 1.0

# From here on a field's middle is worth a note.
_OFF_CENTRE = 0.5


def read_w2cad(
    path: Path, *, detector_diameter: float | None = None, normalise: bool = True, centre: bool = False
) -> BeamData:
    """Read a W2CAD file.

    Parameters
    ----------
    path : Path
    detector_diameter : float, optional
        mm, for scans that do not state it (`# detector_mm: 6.1` in the scan, or before the first for all).
    normalise : bool
        Bring depth doses to % of their maximum (`analysis.depth_dose_maximum`) and profiles to % of the dose on the
        axis (`analysis.dose_on_axis`); otherwise doses stay as they are.
    centre : bool
        Move profiles of fields that are centred on the axis so that their edges are equally far from it.

    Raises
    ------
    InputError
        Naming file, scan and keyword.
    """
    return _Reading(path.name, detector_diameter, normalise=normalise, centre=centre).of(path)


class _Reading:
    """One file on its way to beam data."""

    def __init__(self, file: str, detector_diameter: float | None, *, normalise: bool, centre: bool) -> None:
        self._file = file
        self._detector_diameter = detector_diameter
        self._normalise = normalise
        self._centre = centre
        self._notes: list[str] = []

    def of(self, path: Path) -> BeamData:
        scans = read_scans(path)
        depth_doses: list[DepthDose] = []
        profiles: list[Profile] = []
        wedged: list[int] = []
        used: list[Scan] = []
        for scan in scans:
            kind = _kind_of(scan)
            if kind in _WEDGED:
                wedged.append(scan.number)
                continue
            used.append(scan)
            if kind == _DEPTH_DOSE:
                depth_doses.append(self._depth_dose(scan))
            else:
                profiles.append(self._profile(scan, kind))
        if not used:
            raise InputError(f"{self._file}: only wedged fields found, expected open ones (%TYPE OPD, OPP or DPR).")
        self._note_file(used, wedged)
        return BeamData(
            detector=", ".join(sorted({_detector_of(scan) for scan in used} - {NOT_STATED})) or NOT_STATED,
            source=f"W2CAD, open fields: {len(used)}",
            sha256=sha256_of_file(path),
            depth_doses=tuple(depth_doses),
            profiles=tuple(profiles),
            notes=tuple(self._notes),
        )

    def _note_file(self, used: list[Scan], wedged: list[int]) -> None:
        if wedged:
            self._note(f"{self._file}: {_scans(wedged)} left out: wedged fields are not used.")
        bare = [scan.number for scan in used if self._detector_of(scan) is None]
        if bare:
            self._note(
                f"{self._file}: {_scans(bare)}: the detector's diameter is not stated; "
                "add '# detector_mm: 6.1', say, before the first $STOM."
            )
        unknown = sorted({name for scan in used for name in scan.keywords} - _KNOWN)
        if unknown:
            self._note(f"{self._file}: keywords passed over: {', '.join('%' + name for name in unknown)}.")

    def _note(self, text: str) -> None:
        logger.warning("%s", text)
        self._notes.append(text)

    def _detector_of(self, scan: Scan) -> float | None:
        return self._detector_diameter if scan.detector_diameter is None else scan.detector_diameter

    def _depth_dose(self, scan: Scan) -> DepthDose:
        x, y, depth, dose = self._below_surface(scan)
        middle_x, middle_y = float(np.median(x)), float(np.median(y))
        if max(np.abs(x - middle_x).max(), np.abs(y - middle_y).max()) > _OFF_LINE:
            raise scan.refuse("AXIS", "x or y changes along the rows, expected a line in depth (Z)")
        if abs(middle_y) > _OFF_LINE:
            raise scan.refuse("AXIS", f"a depth dose at y = {middle_y:g} mm found, expected on the axis or along x")
        order = _rising(scan, depth)
        try:
            made = DepthDose(
                jaws=_jaws(scan),
                source_surface_distance=_ssd(scan),
                detector_diameter=self._detector_of(scan),
                depth=depth[order],
                dose=dose[order],
                normalisation="as measured",
                off_axis=middle_x if abs(middle_x) > _OFF_LINE else 0.0,
            )
        except ValueError as error:
            raise scan.refuse("TYPE", str(error)) from error
        if not self._normalise:
            return made
        try:
            return normalised_depth_dose(made)
        except ValueError as error:
            self._note(f"{self._file}, scan {scan.number}: left as measured, not in % of the maximum: {error}.")
            return made

    def _profile(self, scan: Scan, kind: str) -> Profile:
        x, y, depths, dose = self._below_surface(scan)
        axis, position = _line_across(scan, kind, x, y)
        order = _rising(scan, position)
        try:
            made = Profile(
                jaws=_jaws(scan),
                source_surface_distance=_ssd(scan),
                detector_diameter=self._detector_of(scan),
                depth=_depth_across(scan, depths),
                axis=axis,
                position=position[order],
                dose=dose[order],
                normalisation="as measured",
            )
        except ValueError as error:
            raise scan.refuse("TYPE", str(error)) from error
        try:
            check_width(made)
        except ValueError as error:
            raise scan.refuse("FLSZ", str(error)) from error
        return self._in_percent(scan, self._centred(scan, made))

    def _centred(self, scan: Scan, profile: Profile) -> Profile:
        if profile.is_half or not profile.jaws.is_centred:
            return profile
        try:
            middle = centre_of_field(profile.position, profile.dose)
        except ValueError as error:
            if self._centre:
                self._note(f"{self._file}, scan {scan.number}: not centred: {error}.")
            return profile
        if self._centre:
            return centred_profile(profile)
        if abs(middle) > _OFF_CENTRE:
            self._note(
                f"{self._file}, scan {scan.number}: the field's middle is at {middle:+.1f} mm on axis {profile.axis}."
            )
        return profile

    def _in_percent(self, scan: Scan, profile: Profile) -> Profile:
        if not self._normalise:
            return profile
        try:
            return normalised_profile(profile)
        except ValueError as error:
            self._note(
                f"{self._file}, scan {scan.number}: left as measured, not in % of the dose on the axis: {error}."
            )
            return profile

    def _below_surface(self, scan: Scan) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """x, y, depth and dose of the rows below the water's surface, depth positive downwards."""
        rows = scan.rows
        # Some exports count z upwards from the surface.
        depth = -rows[:, 2] if rows[:, 2].mean() < 0 else rows[:, 2]
        wet = depth >= 0
        if not wet.any():
            raise scan.refuse("PNTS", f"none of {len(rows)} rows lies below the water's surface (z from 0 down)")
        if not wet.all():
            self._note(f"{self._file}, scan {scan.number}: {np.count_nonzero(~wet)} rows above the surface left out.")
        return rows[wet, 0], rows[wet, 1], depth[wet], rows[wet, 3]


def _scans(numbers: list[int]) -> str:
    return ("scan " if len(numbers) == 1 else "scans ") + ", ".join(map(str, numbers))


def _kind_of(scan: Scan) -> str:
    """The scan's %TYPE, when everything else that it says of its kind agrees."""
    if scan.has("VERSION") and scan.number_of("VERSION") != 2:
        raise scan.refuse("VERSION", f"{scan.text('VERSION')!r} found, expected 02")
    if scan.has("BMTY") and scan.text("BMTY") not in _PHOTONS:
        raise scan.refuse("BMTY", f"{scan.text('BMTY')!r} found, expected PHO (photons)")
    kind = scan.text("TYPE")
    if kind in _WEDGED:
        return kind
    if kind not in _AXES_OF_TYPE:
        expected = ", ".join(_AXES_OF_TYPE)
        raise scan.refuse("TYPE", f"{kind!r} found, expected an open field: {expected} (wedged ones are passed over)")
    if scan.has("WDGL") and scan.text("WDGL").strip("0") not in ("", "NONE"):
        raise scan.refuse("WDGL", f"wedge {scan.text('WDGL')!r} found in an open field (%TYPE {kind})")
    if scan.has("AXIS") and scan.text("AXIS") not in _AXES_OF_TYPE[kind]:
        expected = " or ".join(_AXES_OF_TYPE[kind])
        raise scan.refuse("AXIS", f"{scan.text('AXIS')!r} found, expected {expected} for %TYPE {kind}")
    return kind


def _detector_of(scan: Scan) -> str:
    return _DETECTORS.get(scan.text("DETY"), NOT_STATED) if scan.has("DETY") else NOT_STATED


def _jaws(scan: Scan) -> JawField:
    text = scan.text("FLSZ")
    sizes = re.fullmatch(r"(\d+\.?\d*)\s*[*X]\s*(\d+\.?\d*)", text, re.ASCII)
    try:
        if sizes is None:
            raise ValueError(f"{text!r} found, expected X*Y in mm, such as 100*100")
        return JawField.of_size(float(sizes[1]), float(sizes[2]))
    except ValueError as error:
        raise scan.refuse("FLSZ", str(error)) from error


def _ssd(scan: Scan) -> float:
    return scan.number_of("SSD")


def _rising(scan: Scan, places: FloatArray) -> npt.NDArray[np.intp]:
    """The order in which places rise; scans run either way."""
    order = np.argsort(places, kind="stable")
    repeated = np.flatnonzero(np.diff(places[order]) == 0)
    if repeated.size:
        place = places[order][repeated[0]]
        raise scan.refuse("PNTS", f"two rows at {place:g} mm found, expected one for each place")
    return order


def _line_across(scan: Scan, kind: str, x: FloatArray, y: FloatArray) -> tuple[Axis, FloatArray]:
    """Axis and positions of a profile, from the rows and, where the scan states it, %AXIS."""
    if kind == _DIAGONAL:
        return _diagonal(scan, x, y)
    axis: Axis = "x" if np.ptp(x) >= np.ptp(y) else "y"
    if scan.has("AXIS") and scan.text("AXIS").lower() != axis:
        raise scan.refuse("AXIS", f"{scan.text('AXIS')!r} found, but it is {axis} that changes along the rows")
    position, other = (x, y) if axis == "x" else (y, x)
    if np.abs(other).max() > _OFF_LINE:
        across = "y" if axis == "x" else "x"
        largest = other[np.argmax(np.abs(other))]
        raise scan.refuse("AXIS", f"a profile along {axis} with {across} at {largest:g} mm found, expected on the axis")
    return axis, position


def _diagonal(scan: Scan, x: FloatArray, y: FloatArray) -> tuple[Axis, FloatArray]:
    root_2 = float(np.sqrt(2))
    for axis, along, across in (("diagonal", x + y, x - y), ("antidiagonal", x - y, x + y)):
        if np.abs(across).max() <= 2 * _OFF_LINE:
            return ("diagonal" if axis == "diagonal" else "antidiagonal"), along / root_2
    raise scan.refuse(
        "AXIS", "rows off the lines x = y and x = -y found, expected both coordinates of points on a 45 degree diagonal"
    )


def _depth_across(scan: Scan, depths: FloatArray) -> float:
    depth = float(np.median(depths))
    if np.abs(depths - depth).max() > _OFF_LINE:
        raise scan.refuse(
            "DPTH", f"depths from {depths.min():g} to {depths.max():g} mm in the rows, expected one depth"
        )
    if not scan.has("DPTH"):
        return depth
    stated = scan.number_of("DPTH")
    # Some exports leave z at 0 in the rows of profiles.
    if depth == 0:
        return stated
    if abs(stated - depth) > _OFF_DEPTH:
        raise scan.refuse("DPTH", f"{stated:g} mm found, but the rows are at {depth:g} mm")
    return depth
