"""The machine as data: geometry, photon source and reference condition, each number with its source.

Distances along the beam are measured from the target, in mm; leaf and jaw positions are stated at the
isocentre plane, as IEC 61217 does. `source` says where the numbers of a section come from.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Element = Literal["W", "Ni", "Fe", "Cu"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Sourced(_Section):
    source: Annotated[str, Field(min_length=10, description="where these numbers come from")]


class Alloy(_Sourced):
    """A heavy alloy of which jaws or leaves are made."""

    density: Annotated[float, Field(gt=5, lt=23, description="g/cm3")]
    mass_fractions: dict[Element, Annotated[float, Field(gt=0, le=1)]]

    @model_validator(mode="after")
    def _fractions_sum_to_one(self) -> Self:
        total = sum(self.mass_fractions.values())
        if abs(total - 1) > 1e-6:
            raise ValueError(f"mass fractions sum to {total:g}, expected 1")
        return self


class PrimaryCollimator(_Sourced):
    """The cone that bounds everything the source emits."""

    opening_radius: Annotated[float, Field(gt=50, lt=500, description="mm at the isocentre plane")]


class JawPair(_Sourced):
    """Two opposing jaws that move on arcs about the target, so that their flat faces contain it at every position.

    A jaw is a block turned about the target by atan(position / source-axis distance). In its own, turned system
    it lies between `top` and `top + thickness` and reaches outwards from its face. Its outer dimensions, which
    only the full head needs, must cover all that the primary collimator lets through; the fast head takes
    them as endless.
    """

    top: Positive = Field(description="from the target, along the face")
    thickness: Positive
    length: Positive = Field(description="from the face outwards")
    half_width: Positive = Field(description="half of the extent across the travel")
    travel_1: tuple[Finite, Finite] = Field(description="smallest and largest position of jaw X1 or Y1")
    travel_2: tuple[Finite, Finite] = Field(description="smallest and largest position of jaw X2 or Y2")
    position_scale: Annotated[float, Field(ge=0.98, le=1.02)] = Field(
        1.0,
        description="how far a jaw really stands from the axis, over what the machine says: the calibration of its "
        "position, as field widths in water show it",
    )

    def turning_distance(self, axis_distance: float) -> float:
        """Distance from the target at which the jaw's stated position is its face's distance from the axis, mm."""
        return axis_distance / self.position_scale

    @property
    def bottom(self) -> float:
        """Distance of the lower surface from the target, along the face."""
        return self.top + self.thickness


class Jaws(_Section):
    """Upper jaws Y, lower jaws X."""

    x: JawPair
    y: JawPair
    alloy: Alloy


class LeafType(_Sourced):
    """Cross-section of a kind of leaf in the plane across its travel.

    Both sides are focused on the target. At `step_below_top` the side towards Y2 steps by `step_width`
    (tongue and groove): above, the boundary to the next leaf lies half a step towards Y1 of the
    nominal one, below half a step towards Y2 (the other way round when `tongue_towards` is Y1).
    """

    step_below_top: Positive = Field(description="from the leaf's upper surface")
    step_width: NonNegative = Field(description="at the step's own height")
    tongue_towards: Literal["Y1", "Y2"]


class LeafRun(_Section):
    """A number of neighbouring leaves of one kind, counted from Y1 to Y2."""

    count: Annotated[int, Field(ge=1)]
    kind: str
    width: Positive = Field(description="at the isocentre plane")


class MultileafCollimator(_Sourced):
    """A multileaf collimator whose leaves travel along x of the beam limiting device."""

    name: str
    leaf_centre: Positive = Field(description="from the target to the leaves' mid-height")
    leaf_height: Positive
    tip_radius: Positive
    interleaf_gap: NonNegative = Field(description="between neighbouring leaves' sides, at mid-height")
    physical_gap_offset: Finite = Field(
        description="mm at the isocentre plane by which a pair is further open than its planned positions say, 0 or "
        "more: below 0, leaves planned to touch would stand in each other"
    )
    leaves: tuple[LeafRun, ...]
    kinds: dict[str, LeafType]
    alloy: Alloy

    @field_validator("physical_gap_offset")
    @classmethod
    def _closed_leaves_do_not_overlap(cls, offset: float) -> float:
        if offset < 0:
            raise ValueError(
                f"{offset:g} mm found, expected 0 or more: below it, the leaves of a closed pair would stand in each "
                "other"
            )
        return offset

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        unknown = sorted({run.kind for run in self.leaves} - set(self.kinds))
        if unknown:
            raise ValueError(f"leaf kinds {', '.join(unknown)} are used but not described under kinds")
        if self.tip_radius <= self.leaf_height / 2:
            raise ValueError("tip_radius must exceed half of leaf_height: the tip is one arc over the whole height")
        if any(kind.step_below_top >= self.leaf_height for kind in self.kinds.values()):
            raise ValueError("step_below_top must lie within leaf_height")
        return self

    @property
    def boundaries(self) -> tuple[float, ...]:
        """Leaf position boundaries at the isocentre plane, from Y1 to Y2, symmetric about the axis."""
        widths = [run.width for run in self.leaves for _ in range(run.count)]
        edges = [-sum(widths) / 2]
        for width in widths:
            edges.append(edges[-1] + width)
        return tuple(edges)

    @property
    def kind_of_pair(self) -> tuple[str, ...]:
        """The kind of every leaf pair, from Y1 to Y2."""
        return tuple(run.kind for run in self.leaves for _ in range(run.count))


class Machine(_Sourced):
    """machine.yaml: the head's geometry below the flattening filter."""

    schema_version: Literal[1]
    name: str
    description: str
    source_axis_distance: Positive
    exit_plane: Positive = Field(description="from the target; below the MLC, where particles are handed on")
    primary_collimator: PrimaryCollimator
    jaws: Jaws
    mlc: MultileafCollimator

    @model_validator(mode="after")
    def _parts_lie_in_order(self) -> Self:
        leaf_top = self.mlc.leaf_centre - self.mlc.leaf_height / 2
        leaf_bottom = self.mlc.leaf_centre + self.mlc.leaf_height / 2
        places = [self.jaws.y.top, self.jaws.y.bottom, self.jaws.x.top, self.jaws.x.bottom, leaf_top, leaf_bottom]
        if any(later < earlier for earlier, later in pairwise(places)):
            raise ValueError(f"Y jaws, X jaws and MLC overlap or are out of order: {places}")
        if not leaf_bottom <= self.exit_plane < self.source_axis_distance:
            raise ValueError("exit_plane must lie between the MLC and the isocentre")
        return self


class Spectrum(_Sourced):
    """Bremsstrahlung energy fluence on the axis, after Ali and Rogers (2012), their equation 12.

    psi(E) = [1 + c3 E/Ee + (E/Ee)^2] [ln(Ee (Ee - E)/E + 1.65) - 0.5] exp(-mu_W(E) tungsten - mu_Al(E) aluminium)
    """

    electron_energy: Annotated[float, Field(gt=1, lt=30, description="Ee, MeV")]
    shape: Finite = Field(description="c3")
    tungsten: NonNegative = Field(description="g/cm2, Ali and Rogers' c1 squared")
    aluminium: NonNegative = Field(description="g/cm2, Ali and Rogers' c2 squared")
    lowest_energy: Annotated[float, Field(ge=0.1, lt=1, description="MeV; photons below are not emitted")]


class OffAxis(_Sourced):
    """How the focal photons' number and spectrum change with the distance from the axis.

    The flattening filter thins off the axis: its mass thickness is less by `softening_aluminium`
    (g/cm2 of aluminium) there, and photon number per area changes by `relative_fluence`.
    """

    radius: tuple[NonNegative, ...] = Field(description="mm at the isocentre plane")
    relative_fluence: tuple[NonNegative, ...]
    softening_aluminium: tuple[Finite, ...]

    @model_validator(mode="after")
    def _is_a_table(self) -> Self:
        if not len(self.radius) == len(self.relative_fluence) == len(self.softening_aluminium) >= 2:
            raise ValueError("radius, relative_fluence and softening_aluminium must have equal lengths of 2 or more")
        if self.radius[0] != 0 or any(b <= a for a, b in pairwise(self.radius)):
            raise ValueError("radius must rise from 0")
        return self


class FocalSpot(_Sourced):
    """A Gaussian spot at the target."""

    sigma_minor: Positive
    sigma_major: Positive
    major_axis_from_inplane: Annotated[float, Field(ge=-90, le=90)] = Field(
        description="degrees from y_g towards x_g (IEC gantry system)"
    )

    @property
    def square_root(self) -> tuple[float, float, float]:
        """Symmetric square root of the spot's covariance in x_g, y_g: its xx, xy and yy, mm."""
        angle = math.radians(self.major_axis_from_inplane)
        along_x, along_y = math.sin(angle), math.cos(angle)
        difference = self.sigma_major - self.sigma_minor
        return (
            self.sigma_minor + difference * along_x**2,
            difference * along_x * along_y,
            self.sigma_minor + difference * along_y**2,
        )


class ExtraFocal(_Sourced):
    """Photons scattered in the primary collimator and flattening filter: a Gaussian disc that emits a softer beam.

    Each photon is one of the axis' spectrum after one Compton scatter through `scattering_angle`.
    """

    fraction: Annotated[float, Field(ge=0, lt=0.5, description="of all photons in the primary collimator's opening")]
    distance: Positive = Field(description="of the disc from the target")
    sigma: Positive = Field(description="of the disc, mm")
    scattering_angle: Annotated[float, Field(gt=0, lt=90)]


class ContaminantElectrons(_Sourced):
    """Electrons set free in the head: a Gaussian disc with an exponential spectrum."""

    per_photon: Annotated[float, Field(ge=0, lt=0.5, description="electrons per photon, in the primary's opening")]
    distance: Positive = Field(description="of the disc from the target")
    sigma: Positive = Field(description="of the disc, mm")
    mean_energy: Positive = Field(description="of the exponential before truncation, MeV")
    lowest_energy: Positive
    highest_energy: Positive


class FittedValue(_Section):
    """One parameter of the source that was fitted to beam data."""

    value: Finite
    uncertainty: NonNegative = Field(description="standard uncertainty of the linearised fit")
    unit: str = ""
    fitted_to: str
    at_bound: bool = Field(False, description="the fit stopped at a bound: the data do not determine the value")


class BeamFit(_Sourced):
    """How the source's parameters were found."""

    beam_data_sha256: str
    chi_squared: NonNegative
    degrees_of_freedom: Annotated[int, Field(ge=1)]
    parameters: dict[str, FittedValue]


class Beam(_Sourced):
    """beam_*.yaml: the photon source."""

    schema_version: Literal[1]
    name: str
    nominal_energy_mv: Positive
    fluence_mode: Literal["STANDARD", "FFF"]
    spectrum: Spectrum
    off_axis: OffAxis
    focal_spot: FocalSpot
    extra_focal: ExtraFocal
    contaminant_electrons: ContaminantElectrons
    fit: BeamFit | None = Field(None, description="left out: values from the literature, or set by hand")


class MonitorBackscatter(_Sourced):
    """Photons per MU relative to the reference field, by jaw opening; bilinear, constant outside of the table."""

    x_opening: tuple[Positive, ...]
    y_opening: tuple[Positive, ...]
    photons_per_mu: tuple[tuple[Positive, ...], ...] = Field(description="one row for each y_opening")

    @model_validator(mode="after")
    def _is_a_table(self) -> Self:
        if len(self.photons_per_mu) != len(self.y_opening) or any(
            len(row) != len(self.x_opening) for row in self.photons_per_mu
        ):
            raise ValueError("photons_per_mu needs one row for each y_opening and one column for each x_opening")
        for name, axis in (("x_opening", self.x_opening), ("y_opening", self.y_opening)):
            if not axis or any(b <= a for a, b in pairwise(axis)):
                raise ValueError(f"{name} must rise")
        return self


class ReferenceCondition(_Sourced):
    """The field in which one MU gives a known dose to water."""

    field_size: Positive = Field(description="side of the jaw-defined square at the isocentre plane")
    source_surface_distance: Positive
    depth: Positive
    gray_per_mu: Positive


class Calibration(_Section):
    """calibration.yaml: how meterset becomes photons."""

    schema_version: Literal[1]
    reference: ReferenceCondition
    monitor_backscatter: MonitorBackscatter


class LinacModel(_Section):
    """One machine with one beam.

    Attributes
    ----------
    name : str
        The model's folder name.
    content_sha256 : str
        Over all values of the three files, not over their layout or comments.
    """

    name: str
    machine: Machine
    beam: Beam
    calibration: Calibration
    content_sha256: str
