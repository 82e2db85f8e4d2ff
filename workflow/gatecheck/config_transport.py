"""The configuration's sections `transport`, `calibration` and `dose`: physics, how much, and what is dose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from gatecheck.config_section import ConfigSection

# Copies of each photon: an electron along recorded steps costs little beside the photon's way through the head.
_COPIES, _COPIES_REPLAYED = 5, 12

FEW_BATCHES = 20
"""With fewer, 95 % intervals of doses to volumes hold less than they state: what asks for one has at least as many."""


class HalfWidthConfig(ConfigSection):
    """How well a metric is wanted."""

    metric: Literal["cord_d003cc", "tumour_d95", "shell_means"] = Field(
        description="dose to the hottest 0.03 ml of the cord or to 95 % of each tumour, or means of the shells round it"
    )
    percent: Annotated[float, Field(gt=0.05, le=50)] = Field(
        description="half of the 95 % interval by noise, per cent of the prescription"
    )


class TransportConfig(ConfigSection):
    """Physics of the patient's transport, and how much of it."""

    physics_list: Literal["G4EmStandardPhysics", "G4EmStandardPhysics_option3", "G4EmStandardPhysics_option4"] = Field(
        "G4EmStandardPhysics", description="Geant4 physics; options 3 and 4 need the official data sets"
    )
    geant4_data: Path | None = Field(None, description="folder of Geant4 data sets; empty: official, else embedded")
    electron_production_cut: Annotated[float, Field(gt=0, le=10)] = Field(0.2, description="mm")
    photon_production_cut: Annotated[float, Field(gt=0, le=10)] = Field(0.2, description="mm")
    electron_step_function: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=10)]] = Field(
        (0.025, 0.04), description="largest fractional energy loss range per step, and final range in mm"
    )
    multiple_scattering_model: Literal["auto", "WentzelVI", "physics_list"] = Field(
        "auto",
        description="WentzelVI: Geant4's Wentzel VI model with single scattering at large angles; physics_list: the "
        "list's own; auto: WentzelVI for G4EmStandardPhysics, whose Urban model keeps MeV electrons 3 % too close to "
        "their line",
    )
    multiple_scattering_step_limit: Literal["UseSafety", "UseSafetyPlus", "UseDistanceToBoundary"] = Field(
        "UseSafety", description="how multiple scattering limits electron steps at boundaries"
    )
    photon_transport: Literal["auto", "tracked", "gate"] = Field(
        "auto",
        description="who follows the photons. tracked: gatecheck, without a stop at voxel faces, several times faster, "
        "for G4EmStandardPhysics; gate: GATE; auto: tracked where it serves",
    )
    electron_transport: Literal["gate", "replayed"] = Field(
        "gate",
        description="who follows electrons. gate: GATE, through all voxels; replayed: gatecheck, along steps that "
        "GATE recorded once in matter alike, ten times as fast, up to where they come into air in the patient, which "
        "is left to GATE; mean doses of tumour, cord and bone were within 0.2 % of GATE's on the clinical cases, with "
        "coarser recordings than are made now; dose in air is some per cent low with either, less so with replayed. "
        "With tracked photons and dose to medium only",
    )
    photon_splitting: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None,
        description="times that a tracked photon is followed, each with its share of the weight; without it "
        f"{_COPIES}, or {_COPIES_REPLAYED} with replayed electrons, which take less of the time",
    )
    far_electron_survival: Annotated[float, Field(ge=0.01, le=1)] = Field(
        0.1,
        description="probability with which an electron that is set free too far from the fine voxels to reach them "
        "through water is followed, in place of all of them (through lung a few reach them, with more "
        "weight); 1: each is. With tracked photons, in cases with fine voxels, and in the calibration's "
        "tank beside the voxels that are fitted",
    )
    far_photon_survival: Annotated[float, Field(ge=0.05, le=1)] = Field(
        0.2,
        description="likewise of a photon that scatters onto a way past the fine voxels, once for each",
    )
    air_electron_survival: Annotated[float, Field(ge=0.05, le=1)] = Field(
        0.25,
        description="likewise of a replayed electron that comes into air in the patient, where GATE takes two hundred "
        "times as long for it as recorded steps do elsewhere",
    )
    target_relative_sigma: Annotated[float, Field(gt=0.0005, le=0.5)] = Field(
        0.025,
        description="mean relative sigma (k = 1) wanted in the fine voxels above half the prescription, or half the "
        "maximum without one",
    )
    target_half_widths: tuple[HalfWidthConfig, ...] = Field(
        (), description="wanted besides: how well metrics of the comparison are to be known"
    )
    top_up_rounds: Annotated[int, Field(ge=0, le=3)] = Field(
        3, description="rounds of more photons after those that the pilot asked for, until what is wanted is reached"
    )
    source_photons: Annotated[int, Field(ge=1000)] | None = Field(
        None, description="photons behind the head, instead of target_relative_sigma"
    )
    maximum_source_photons: Annotated[int, Field(ge=1000)] = Field(
        200_000_000, description="photons behind the head, never exceeded"
    )
    pilot_photons: Annotated[int, Field(ge=1000)] = Field(200_000, description="photons of the pilot run")
    minimum_chunks: Annotated[int, Field(ge=4, le=10_000)] = Field(
        10,
        description="the standard deviation comes from the spread of chunks; with target_half_widths at least, and "
        f"without a number, {FEW_BATCHES}",
    )
    chunk_minutes: Annotated[float, Field(gt=0.05, le=600)] = Field(8.0, description="aimed length of a chunk")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="varies all random numbers; 0 is the usual choice")

    @model_validator(mode="before")
    @classmethod
    def _half_widths_have_their_chunks(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("target_half_widths") and "minimum_chunks" not in given:
            return {**given, "minimum_chunks": FEW_BATCHES}
        return given

    @model_validator(mode="after")
    def _half_widths_have_enough_chunks(self) -> Self:
        if self.target_half_widths and self.minimum_chunks < FEW_BATCHES:
            raise ValueError(
                f"target_half_widths need minimum_chunks of {FEW_BATCHES} or more, found {self.minimum_chunks}: with "
                "fewer, a run ends by chance where its intervals are too narrow. Raise minimum_chunks or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _tracking_has_its_cross_sections(self) -> Self:
        if self.photon_transport == "tracked" and self.physics_list != "G4EmStandardPhysics":
            raise ValueError(
                f"photon_transport tracked has the cross sections of G4EmStandardPhysics, not of {self.physics_list}; "
                "use auto or gate"
            )
        if self.replays_electrons and not self.tracks_photons:
            raise ValueError("electron_transport replayed needs photon_transport tracked; gate found")
        return self

    @property
    def photon_copies(self) -> int:
        """Times that a tracked photon is followed."""
        if self.photon_splitting is not None:
            return self.photon_splitting
        return _COPIES_REPLAYED if self.replays_electrons else _COPIES

    @property
    def replays_electrons(self) -> bool:
        """Whether gatecheck follows electrons along recorded steps."""
        return self.electron_transport == "replayed"

    @property
    def uses_wentzel_vi(self) -> bool:
        """Whether electrons scatter by the Wentzel VI model."""
        if self.multiple_scattering_model == "auto":
            return self.physics_list == "G4EmStandardPhysics"
        return self.multiple_scattering_model == "WentzelVI"

    @property
    def tracks_photons(self) -> bool:
        """Whether gatecheck follows the photons itself."""
        if self.photon_transport == "auto":
            return self.physics_list == "G4EmStandardPhysics"
        return self.photon_transport == "tracked"


class DoseConfig(ConfigSection):
    """What is reported as dose."""

    dose_to: Literal["medium", "water"] = Field(
        "medium", description="medium: as transported; water: times the stopping power ratio water to medium"
    )


class CalibrationConfig(ConfigSection):
    """How well the reference field is simulated."""

    relative_sigma: Annotated[float, Field(gt=0.0002, le=0.05)] = Field(
        0.004, description="wanted relative sigma (k = 1) of the reference dose per photon"
    )
