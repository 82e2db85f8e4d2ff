"""The configuration: one typed section per room; unknown keys, wrong units and missing files are refused."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from gatecheck.config_biology import BiologyConfig
from gatecheck.config_comparison import ComparisonConfig
from gatecheck.config_recalculation import Change, RecalculationConfig
from gatecheck.config_section import ConfigSection, Millimetres
from gatecheck.config_setup import SetupConfig
from gatecheck.config_transport import CalibrationConfig, DoseConfig, TransportConfig
from gatecheck.errors import InputError


class CaseConfig(ConfigSection):
    """What is verified."""

    dicom_folder: Path | None = Field(None, description="folder of DICOM files; empty: the phantom below is made")
    phantom: Literal["clinical_case_1", "clinical_case_2"] = Field(
        "clinical_case_1", description="the made case that is verified when there is no dicom_folder"
    )
    trajectory_logs: tuple[Path, ...] = Field(
        (),
        description="a TrueBeam's trajectory logs (.bin) of one fraction: what was delivered is simulated as well, "
        "with the same photons",
    )
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] | None = Field(
        None, description="name of the results folder; empty: a pseudonym made from the plan's content"
    )
    show_identity: bool = Field(
        False,
        description="put the plan's label into the report, and leave the patient's name, IDs and dates where "
        "structures or beams are called by them; else these are taken out",
    )
    site: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _-]{0,39}$")] | None = Field(
        None, description="treatment site, as the batch's overview is to call it, for example spine"
    )


Axis = Literal["+x", "-x", "+y", "-y"]


class PhaseSpaceConfig(ConfigSection):
    """A phase space recorded between target and jaws, in IAEA format, in place of the source model."""

    files: tuple[Path, ...] = Field(
        (), description=".IAEAheader files, each with its .IAEAphsp beside it; several are parts of one source"
    )
    recycle: Annotated[int, Field(ge=1, le=10_000)] = Field(
        1, description="times that each original history is used; the files are never begun again beyond that"
    )
    rotate: bool = Field(
        False,
        description="turn each use of a history about the beam axis by a random angle, as if the source were round",
    )
    target_z: Annotated[float, Field(allow_inf_nan=False, ge=-10_000, le=10_000)] = Field(
        0.0, description="mm, where the target lies on the files' z axis, which is the beam axis, either way"
    )
    x_axis: Axis = Field("+x", description="axis of the IEC gantry system along which the files' x axis points")
    y_axis: Axis | None = Field(
        None,
        description="the same for their y axis; empty: as in a right-handed system, which depends on the beam's way",
    )

    @model_validator(mode="after")
    def _axes_are_across(self) -> Self:
        if self.y_axis is not None and self.y_axis[1] == self.x_axis[1]:
            raise ValueError(f"x_axis {self.x_axis} and y_axis {self.y_axis} lie along each other")
        return self

    @model_validator(mode="after")
    def _files_are_headers(self) -> Self:
        for path in self.files:
            if path.suffix != ".IAEAheader":
                raise ValueError(f"files: {path.name} found, expected a name that ends in .IAEAheader")
        if len(set(self.files)) != len(self.files):
            raise ValueError("files names one file twice; recycle says how often its particles are used")
        return self


HeadKind = Literal["fast", "full"]


class MachineConfig(ConfigSection):
    """The machine that treats."""

    models_folder: Path = Field(Path("linac_models"), description="folder of machine models")
    model: str | None = Field(None, description="a machine model's folder name; empty: chosen by the plan's MLC")
    beam: str = Field("beam_6x", description="the beam file within the machine model")
    head: HeadKind = Field(
        "fast",
        description="how photons are brought through jaws and leaves. fast: gatecheck's own rays through the exact "
        "surfaces; full: Geant4 through the same surfaces as GATE volumes, the reference, several times slower",
    )
    source: Literal["model", "phase_space"] = Field(
        "model", description="where photons come from: model, the machine model's source; phase_space, the files below"
    )
    phase_space: PhaseSpaceConfig = Field(
        PhaseSpaceConfig(), description="recorded particles, for source: phase_space; not read for source: model"
    )

    @model_validator(mode="after")
    def _phase_space_has_files(self) -> Self:
        if self.source == "phase_space" and not self.phase_space.files:
            raise ValueError("source is phase_space, but phase_space.files names no file")
        return self

    @model_validator(mode="after")
    def _full_head_has_the_models_source(self) -> Self:
        if self.head == "full" and self.source == "phase_space":
            raise ValueError(
                "machine.head is full and machine.source is phase_space: the full head follows the machine model's "
                "source alone. Use head: fast with the phase space, or source: model with the full head"
            )
        return self


class PatientConfig(ConfigSection):
    """How CT numbers become matter, and on which voxels."""

    ct_calibration: Path | None = Field(
        None, description="CSV of ct_number,density_g_cm3 of the site's own scanner; empty: Schneider 2000"
    )
    density_overrides: dict[str, Annotated[float, Field(gt=0, le=25)]] = Field(
        default_factory=dict, description="structure name: density in g/cm3, composition from that density"
    )
    body_structure: str | None = Field(None, description="name of the body contour; empty: by type, then by threshold")
    couch_structures: tuple[str, ...] = Field((), description="structures outside the body to be kept")
    margin_around_body: Annotated[float, Field(ge=0, le=200)] = Field(5.0, description="mm of air kept round the body")
    coarse_voxel_size: Millimetres = Field(4.0, description="mm, away from the fine region")
    fine_voxel_size: Millimetres | None = Field(None, description="mm, in the fine region; empty: no fine region")
    fine_region_structures: tuple[str, ...] = Field(
        (), description="the fine region surrounds these structures; empty: chosen by type (GTV, CTV, PTV)"
    )
    fine_region_margin: Annotated[float, Field(ge=0, le=100)] = Field(15.0, description="mm around those structures")

    @model_validator(mode="after")
    def _fine_divides_coarse(self) -> Self:
        if self.fine_voxel_size is not None:
            ratio = self.coarse_voxel_size / self.fine_voxel_size
            if ratio < 1 or abs(ratio - round(ratio)) > 1e-6:
                raise ValueError(
                    f"coarse_voxel_size {self.coarse_voxel_size} mm is not a whole multiple of "
                    f"fine_voxel_size {self.fine_voxel_size} mm, so the boxes would not tile"
                )
        return self


class ListenConfig(ConfigSection):
    """Who may send studies to `gatecheck listen`; no result depends on it."""

    ae_title: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,16}$")] = Field(
        "GATECHECK", description="by which gatecheck is called"
    )
    address: str = Field("127.0.0.1", description="at which it listens; the default is this machine alone")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(11112, description="at which it listens; 0: any that is free")
    callers: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,16}$")], str] = Field(
        {}, description="AE title of each sender that is known, and the address that it sends from, * for any"
    )
    quiet_seconds: Annotated[float, Field(gt=0, le=86_400)] = Field(
        60.0, description="without a new file, after which a study with a plan is taken for complete"
    )


class ExecutionConfig(ConfigSection):
    """How the work is shared out; no result depends on it."""

    chunks_per_job: Annotated[int, Field(ge=1, le=10_000)] = Field(
        10_000,
        description="chunks that one job simulates, as many at a time as it has cores, with one start of Geant4; on a "
        "cluster fewer, so that several nodes work at a plan",
    )
    scratch_folder: str | None = Field(
        None,
        description="where a job keeps what it needs while it runs; environment variables are filled in where it runs, "
        "so that $TMPDIR is a node's own disk; empty: beside the results",
    )
    longest_chunk_minutes: Annotated[float, Field(gt=0, le=10_000)] | None = Field(
        None,
        description="a chunk's process that runs longer is stopped, and its job with it; empty: an hour and ten times "
        "what the pilot's speed says",
    )

    @property
    def scratch(self) -> Path | None:
        """That folder on this machine.

        Raises
        ------
        InputError
            When a variable in it is not set, or there is no such folder.
        """
        if self.scratch_folder is None:
            return None
        folder = Path(os.path.expandvars(self.scratch_folder))
        if "$" in str(folder) or not folder.is_dir():
            raise InputError(
                f"execution.scratch_folder: {self.scratch_folder} is no folder on this machine, or a variable in it is "
                "not set. Name a folder that every node has, or leave it empty."
            )
        return folder


DicomDoseKind = Literal["dose", "sigma", "difference", "gamma"]


class ReportConfig(ConfigSection):
    """What people read, and what goes back to the planning system."""

    title: str = Field("Independent Monte Carlo dose check", description="heading of the report")
    structures: tuple[str, ...] = Field((), description="structures drawn and listed first; all are listed")
    dicom_doses: tuple[DicomDoseKind, ...] = Field(
        ("dose",),
        description="RTDOSE files written beside the report: dose, its sigma, difference from the TPS dose, gamma",
    )
    dicom_identity: bool = Field(
        False,
        description="give these files the plan's patient and study, as an import needs them; else the case's pseudonym",
    )
    dicom_bits: Literal[16, 32] = Field(16, description="of each value in an RTDOSE; either rounds by less than 0.01 %")
    dicom_uid_root: Annotated[str, Field(pattern=r"^[012](\.(0|[1-9]\d*))+$", max_length=40)] | None = Field(
        None, description="root of new UIDs; empty: UUIDs under 2.25"
    )


class Config(ConfigSection):
    """The whole configuration of one verification."""

    results_folder: Path = Field(Path("results"), description="where the cases' folders are made")
    case: CaseConfig = CaseConfig()
    machine: MachineConfig = MachineConfig()
    patient: PatientConfig = PatientConfig()
    transport: TransportConfig = TransportConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    dose: DoseConfig = DoseConfig()
    comparison: ComparisonConfig = ComparisonConfig()
    report: ReportConfig = ReportConfig()
    biology: BiologyConfig = BiologyConfig()
    setup: SetupConfig = SetupConfig()
    recalculation: RecalculationConfig = RecalculationConfig()
    execution: ExecutionConfig = ExecutionConfig()
    listen: ListenConfig = ListenConfig()

    @property
    def changes(self) -> tuple[Change, ...]:
        """What is simulated again with the same photons."""
        logged: tuple[Change, ...] = ("as_delivered",) if self.case.trajectory_logs else ()
        return (*logged, *dict.fromkeys(self.recalculation.changes))

    @model_validator(mode="after")
    def _same_photons_can_be_sent_twice(self) -> Self:
        key = "case.trajectory_logs" if self.case.trajectory_logs else "recalculation.changes"
        if self.changes and (self.machine.head == "full" or self.machine.source == "phase_space"):
            raise ValueError(
                f"{key} needs machine.head fast and machine.source model, whose photons can be sent through the "
                f"machine twice; head {self.machine.head}, source {self.machine.source} found"
            )
        return self

    @model_validator(mode="after")
    def _same_photons_are_tracked(self) -> Self:
        if self.changes and not self.transport.tracks_photons:
            key = "case.trajectory_logs" if self.case.trajectory_logs else "recalculation.changes"
            raise ValueError(
                f"{key} needs photons that gatecheck tracks: transport.photon_transport "
                f"{self.transport.photon_transport} with {self.transport.physics_list} found, with which two "
                "simulations have hardly anything in common"
            )
        return self

    @model_validator(mode="after")
    def _replayed_electrons_score_in_medium(self) -> Self:
        if self.transport.replays_electrons and self.dose.dose_to != "medium":
            raise ValueError("dose.dose_to water needs transport.electron_transport gate; replayed found")
        return self


def project_folder() -> Path:
    """The folder that holds Snakefile and linac_models."""
    return Path(__file__).resolve().parents[2]


def load_config(path: Path, *, check_inputs: bool = True) -> Config:
    """Read and validate a configuration file.

    Parameters
    ----------
    check_inputs : bool
        Whether the files and folders that it names must be there.

    Raises
    ------
    InputError
        Naming the file, the key, what was found and what is expected.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise InputError(f"{path.name}: the configuration file is not there.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name}: not valid YAML ({_one_line(error)}).") from error
    return validate_config(content, source=path.name, check_inputs=check_inputs)


def validate_config(content: object, *, source: str, check_inputs: bool = True) -> Config:
    """Validate the content of a configuration; `source` names it in messages."""
    if not isinstance(content, dict):
        raise InputError(f"{source}: {type(content).__name__} found, expected keys and values at the top level.")
    try:
        config = Config.model_validate(content)
    except ValidationError as error:
        raise InputError(_explained(error, source)) from error
    if check_inputs:
        _check_paths(config, source)
    return config


def _check_paths(config: Config, source: str) -> None:
    expected: list[tuple[str, Path | None]] = [
        ("case.dicom_folder", config.case.dicom_folder),
        ("patient.ct_calibration", config.patient.ct_calibration),
        ("transport.geant4_data", config.transport.geant4_data),
    ]
    expected += [
        (f"biology.earlier_courses.{number}.dose_file", course.dose_file)
        for number, course in enumerate(config.biology.earlier_courses)
    ]
    expected += [(f"case.trajectory_logs.{number}", path) for number, path in enumerate(config.case.trajectory_logs)]
    if config.machine.source == "phase_space":
        headers = config.machine.phase_space.files
        expected += [("machine.phase_space.files", path) for path in headers]
        expected += [("machine.phase_space.files", path.with_suffix(".IAEAphsp")) for path in headers]
    for key, path in expected:
        if path is not None and not path.exists():
            # What lies with a patient's files may have a patient's name.
            shown = "what it names" if key.startswith(("case.", "biology.")) else path
            raise InputError(f"{source}: {key}: {shown} is not there.")
    models = resolve_models_folder(config)
    if not models.is_dir():
        raise InputError(f"{source}: machine.models_folder: {config.machine.models_folder} is not a folder.")


def resolve_models_folder(config: Config) -> Path:
    """The folder of machine models: as given, or beside the Snakefile when given relative to it."""
    folder = config.machine.models_folder
    return folder if folder.is_absolute() or folder.is_dir() else project_folder() / folder


def _explained(error: ValidationError, source: str) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "(top level)"
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"{source}: {key}: unknown key{_did_you_mean(first['loc'])}.{more}"
    found = first["input"]
    shown = "" if isinstance(found, dict) else f"{found!r} found: "
    return f"{source}: {key}: {shown}{first['msg']}.{more}"


def _did_you_mean(location: tuple[int | str, ...]) -> str:
    model: Any = Config
    for part in location[:-1]:
        field = model.model_fields.get(str(part)) if hasattr(model, "model_fields") else None
        if field is None:
            return ""
        model = field.annotation
    names = list(getattr(model, "model_fields", {}))
    close = difflib.get_close_matches(str(location[-1]), names, n=1)
    return f", did you mean {close[0]}" if close else f"; known here: {', '.join(names)}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
