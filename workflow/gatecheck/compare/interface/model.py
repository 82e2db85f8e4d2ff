"""What the comparison at one tumour's surface hands on."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gatecheck.files import HandedOn


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Estimate(_Part):
    """A value with its standard deviation (k = 1) by noise, and a 95 % interval by Student's t.

    A value without noise (the TPS's) is a plain number, not one of these.
    """

    value: float
    sigma: float
    low: float
    high: float


class NoiseFreeEstimate(Estimate):
    """A value that noise moves, extrapolated to a dose without any; its sigma includes that of the extrapolation."""

    as_computed: float = Field(description="from the dose with its noise")
    extrapolation_sigma: float = Field(description="part of sigma: how far the form of the extrapolation matters")


class GammaRate(_Part):
    """Part of some points that passes gamma, in per cent."""

    criteria: str
    reference: Literal["TPS", "MC"]
    points: int
    unreached: int | None = Field(None, description="of the points, those not reached; null: of an earlier version")
    unreached_percent: float = Field(
        description="of the volume that the points stand for: no dose near enough within the search, as computed; they "
        "failed"
    )
    pass_percent: NoiseFreeEstimate


class ShellComparison(_Part):
    """What lies between two distances from the tumour's surface."""

    name: str
    nearest: float = Field(description="mm from the tumour's surface, negative inside")
    furthest: float
    region: Literal["tumour", "cord", "all"] = Field(description="cord: without any tumour; all: whatever lies there")
    volume_ml: float
    mc_mean_gy: Estimate | None = Field(description="None where nothing lies there, or no dose")
    tps_mean_gy: float | None
    difference_gy: Estimate | None = Field(description="MC less TPS")
    difference_percent: Estimate | None = Field(description="of the prescription")
    grid_error_gy: float | None = Field(description="change of tps_mean_gy when the TPS's grid is read the other way")
    mc_gradient_gy_per_mm: Estimate | None = Field(description="mean fall outwards along the surface's normal")
    tps_gradient_gy_per_mm: float | None
    mc_gradient_percent_per_mm: Estimate | None = Field(description="of the prescription")
    tps_gradient_percent_per_mm: float | None
    gamma: tuple[GammaRate, ...] = ()


class GradientClass(_Part):
    """Points within 5 mm of the surface, and inside, by the steepness of the dose."""

    name: str
    steepest_by: Literal["TPS", "MC"] = Field(description="whose gradient was used; the MC's is raised by its noise")
    volume_ml: float
    gamma: tuple[GammaRate, ...]


class DirectionAgreement(_Part):
    """Mean distance between the isodoses on the part of the surface that faces one way."""

    direction: Literal["+x", "-x", "+y", "-y", "+z", "-z"]
    rays: int
    mean: Estimate | None = Field(description="mm, positive where the MC's lies further out; None with no ray")


class IsodoseAgreement(_Part):
    """Distance to agreement of one isodose along the normals of the tumour's surface, mm.

    Positive where the Monte Carlo's isodose lies further out. Over rays on which both meet it; the others are counted.
    """

    percent: float
    level_gy: float
    rays: int
    met_by_both: int
    never_met_by_mc: int
    never_met_by_tps: int | None
    mc_distance: Estimate | None = Field(description="mean from the surface, over rays on which the MC meets it")
    tps_distance: float | None
    mean: Estimate | None
    median: NoiseFreeEstimate | None
    p95_of_absolute: NoiseFreeEstimate | None
    directions: tuple[DirectionAgreement, ...] = ()


class Plateau(_Part):
    """The tumour's core, where the dose hardly changes."""

    definition: str
    is_flat: bool = Field(description="whether the tumour has such a core; otherwise its innermost part")
    volume_ml: float
    depth: float = Field(description="least distance from the surface, mm")
    gradient_percent_per_mm: float = Field(description="mean magnitude, of the TPS dose, of the prescription")
    mc_mean_gy: Estimate
    tps_mean_gy: float
    difference_percent: Estimate = Field(description="MC less TPS, of the TPS's mean there")
    grid_error_percent: float


class JointFit(_Part):
    """By how much the MC's dose is higher, shifted and wider than the TPS's, fitted together."""

    voxels: int
    output_percent: Estimate
    shift_xyz: tuple[Estimate, Estimate, Estimate] = Field(description="mm, LPS, of the MC's dose from the TPS's")
    shift_covariance: tuple[tuple[float, float, float], ...] = Field(description="mm2, by noise")
    widening: Estimate = Field(description="mm by which every isodose lies further out at equal output")
    residual_percent: float = Field(description="of the prescription, root mean square beyond what noise explains")
    grid_error: dict[str, float] = Field(
        description="what the fit finds when the TPS's grid is read the other way: output in per cent, the rest in mm"
    )


class FallOff(_Part):
    """Distance between the first and the last isodose along the normals, MC less TPS, at equal output, mm."""

    from_percent: float
    to_percent: float
    rays: int
    tps_width: float
    difference: NoiseFreeEstimate
    grid_error: float


class CordMaximum(_Part):
    """Least dose to the hottest part of the cord outside of all tumours, Gy."""

    volume_ml: float = Field(description="of the hottest part: 0.03")
    cord_volume_ml: float = Field(description="of the cord without tumours, within the Monte Carlo's grid")
    is_of_whole_cord: bool = Field(
        description="false: some of the cord lies beyond the Monte Carlo's grid, where the TPS does not show it colder"
    )
    mc_gy: Estimate = Field(description="what noise adds is taken off")
    mc_as_computed_gy: float = Field(description="from the dose with its noise")
    degrees_of_freedom: int = Field(description="of the sigma")
    tps_gy: float | None
    difference_gy: Estimate | None
    grid_error_gy: float | None


Outcome = Literal["pass", "fail", "undecided", "not assessed"]


class Finding(_Part):
    """One quantity against one tolerance."""

    quantity: str
    unit: str
    value: float
    low: float = Field(description="95 % interval by noise and calibration, then widened by the grid's error")
    high: float
    noise_sigma: float
    common_sigma: float = Field(description="of the calibration, which more photons here do not lower")
    grid_error: float
    tolerance: float = Field(description="largest magnitude that passes; of a limit, the largest value")
    tolerance_source: str
    is_limit: bool = False
    significance: float | None = Field(description="value over its sigma, grid error taken off: how surely it is not 0")
    is_seen: bool = Field(
        False, description="differs from zero beyond what chance does once in 370 times, by Student's t for its noise"
    )
    outcome: Outcome
    more_photons: float | None = Field(description="about as many more would decide; None: decided, or none would")
    statement: str


class Verdict(_Part):
    """One question, answered by the worst of its findings."""

    question: Literal["output", "position", "spread", "cord maximum"]
    outcome: Outcome
    is_seen: bool = Field(description="any finding is seen, within tolerance or not")
    findings: tuple[Finding, ...]
    statement: str


class InterfaceComparison(_Part):
    """One tumour against the cord, or what can be said of it."""

    tumour: str
    cord: str | None
    relation: str = Field(description="how the tumour lies to the cord")
    tumour_volume_ml: float
    prescription_gy: float
    batches: int
    photons: float | None
    calibration_relative_sigma: float
    shells: tuple[ShellComparison, ...] = ()
    gradient_classes: tuple[GradientClass, ...] = ()
    isodoses: tuple[IsodoseAgreement, ...] = ()
    fall_off: FallOff | None = None
    plateau: Plateau | None = None
    fit: JointFit | None = None
    cord_maximum: CordMaximum | None = None
    verdicts: tuple[Verdict, ...] = ()
    surface_map: str | None = Field(None, description="file beside interface.json, one row a ray; None: no map")
    notes: tuple[str, ...] = ()


class Interface(HandedOn):
    """Written as compare/interface.json. Without tumours, `notes` say why."""

    made_from: dict[str, str]
    tumours: tuple[InterfaceComparison, ...]
    notes: tuple[str, ...] = ()
