"""Which engine, physics, data and code make a dose: stated in every result and part of every hash."""

from __future__ import annotations

import platform
import re
import warnings
from importlib import metadata
from pathlib import Path

import gatecheck
from gatecheck.config import HeadKind
from gatecheck.config_transport import TransportConfig
from gatecheck.errors import SimulationError
from gatecheck.files import sha256_of_file, sha256_of_json
from gatecheck.transport.geant4_data import GEANT4_COMMANDS, activate, check_physics_list, resolve
from gatecheck.transport.head_settings import head_settings
from gatecheck.transport.model import Engine

# Tracked photons need no fine tables of cross sections, and building those takes longer.
_COMMANDS_FOR_ELECTRONS = ("/process/em/UseGeneralProcess false", "/process/em/binsPerDecade 20")

# Geant4 builds both models into its list and gives electrons below this energy to Urban's, above it to Wentzel VI.
_WENTZEL_VI = "/process/msc/EnergyLimit 0.001 MeV"

# No beam is near it; tables up to 100 TeV, of muons and pions most of all, take three times as long.
_NO_HIGHER_ENERGY = "/process/eLoss/maxKinEnergy 1 GeV"

SYSTEM_PACKAGES = "libgl1 libglu1-mesa libglib2.0-0 libx11-6 libxmu6 libexpat1"
"""Of Debian: what opengate's wheel does not bring along."""

_RECORDED_STEP_FUNCTION = (0.025, 0.005)
# Code that decides what a chunk's dose is; a change of it makes new chunks and a new calibration.
_ROOMS_OF_TRANSPORT = ("delivery", "linac", "transport")
# Drawing the aperture does not touch a dose.
_NOT_OF_TRANSPORT = ("geant4_data", "__pycache__", "aperture.py", "projection.py")
_OF_TRANSPORT_ALL_THE_SAME = ("transport/geant4_data/photons.py",)  # tracked photons take cross sections from it


def describe_engine(settings: TransportConfig, head: HeadKind | None = None) -> Engine:
    """Resolve and activate the Geant4 data, refuse what they cannot serve, and say what will run.

    Parameters
    ----------
    head : "fast" or "full", optional
        The head before the patient; None for particles from elsewhere.

    Raises
    ------
    GatecheckError
        When the data cannot be used, or the physics list needs data that are not there.
    """
    data_set = resolve(settings.geant4_data)
    check_physics_list(settings.physics_list, data_set)
    activate(data_set)
    return Engine(
        gatecheck=gatecheck.__version__,
        opengate=metadata.version("opengate"),
        geant4=_geant4_version(),
        physics_list=settings.physics_list,
        data_set=data_set.description,
        data_set_kind=data_set.kind,
        data_set_sha256=data_set.content_sha256,
        clinical=data_set.clinical,
        settings={**physics_settings(settings), **({} if head is None else head_settings(head))},
    )


def physics_settings(settings: TransportConfig) -> dict[str, str]:
    """The settings that change a dose, in words."""
    fraction, final_range = settings.electron_step_function
    return {
        "electron_production_cut_mm": f"{settings.electron_production_cut:g}",
        "photon_production_cut_mm": f"{settings.photon_production_cut:g}",
        "electron_step_function": f"{fraction:g}, {final_range:g} mm",
        "multiple_scattering_model": "Wentzel VI" if settings.uses_wentzel_vi else "the physics list's own",
        "multiple_scattering_step_limit": settings.multiple_scattering_step_limit,
        "geant4_commands": "; ".join(geant4_commands(settings)),
        "apply_cuts": "false",
        "hit_type": "random",
        "photon_transport": f"tracked by gatecheck, each {settings.photon_copies} times"
        if settings.tracks_photons
        else "GATE",
        "electron_transport": _electron_transport(settings),
        "far_electrons": f"one in {1 / settings.far_electron_survival:g} followed, in the place of all, where they "
        "cannot reach the fine voxels"
        if settings.tracks_photons and settings.far_electron_survival < 1
        else "all followed",
        "far_photons": f"one in {1 / settings.far_photon_survival:.3g} followed, in the place of all, where they "
        "scatter onto a way past the fine voxels"
        if settings.tracks_photons and settings.far_photon_survival < 1
        else "all followed",
        "electrons_into_air": f"one in {1 / settings.air_electron_survival:.3g} followed, in the place of all, where "
        "GATE takes them over"
        if settings.replays_electrons and settings.air_electron_survival < 1
        else "all followed",
        "photon_cross_sections": "Compton and pair: Geant4's parametrisations; photoelectric and Rayleigh: "
        f"xraylib {metadata.version('xraylib')}"
        if settings.tracks_photons
        else "Geant4's, from the data set",
    }


def _electron_transport(settings: TransportConfig) -> str:
    if not settings.replays_electrons:
        return "GATE"
    fraction, final_range = recorded_step_function(settings)
    return f"along steps recorded by GATE with a step function of {fraction:g}, {final_range:g} mm; GATE's own in gas"


def recorded_step_function(settings: TransportConfig) -> tuple[float, float]:
    """Share of the range and final range (mm) of steps that are recorded once for all patients: the finer, the better.

    Electrons about to stop turn by 80 degrees within a step of 0.04 mm; along such steps too few left matter sideways,
    and the air beside it got 3 % too little dose.
    """
    fraction, final_range = settings.electron_step_function
    return min(fraction, _RECORDED_STEP_FUNCTION[0]), min(final_range, _RECORDED_STEP_FUNCTION[1])


def geant4_commands(settings: TransportConfig) -> list[str]:
    """Geant4 commands that make cross sections exact and set the electrons' steps."""
    fraction, final_range = settings.electron_step_function
    return [
        *(_COMMANDS_FOR_ELECTRONS if settings.tracks_photons else GEANT4_COMMANDS),
        _NO_HIGHER_ENERGY,
        f"/process/eLoss/StepFunction {fraction} {final_range} mm",
        f"/process/msc/StepLimit {settings.multiple_scattering_step_limit}",
        *((_WENTZEL_VI,) if settings.uses_wentzel_vi else ()),
    ]


def _geant4_version() -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import opengate_core  # noqa: PLC0415 (only after the data are activated)
        except ImportError as error:
            raise SimulationError(
                f"opengate cannot be loaded ({error}). It takes libraries from the system, which Debian has in the "
                f"packages {SYSTEM_PACKAGES}: install what is missing, and run the same command again."
            ) from error

    name = str(opengate_core.GateInfo.get_G4Version())
    found = re.search(r"geant4-(\d+)-(\d+)(?:-patch-(\d+))?", name)
    if found is None:
        return name
    return ".".join(str(int(part)) for part in found.groups() if part is not None)


# A dose depends on them to the last bit; that it does to more than this would be a fault of theirs.
_LIBRARIES = ("opengate", "numpy", "numba", "llvmlite", "scipy", "SimpleITK", "xraylib")


def made_with() -> dict[str, str]:
    """Versions of Python and the libraries that a dose is made with, the kind of processor, and the hash of the code.

    They are stated, and no part of any hash: doses made with other versions, or on other kinds of processor, for which
    other instructions are compiled, may be added up. They may differ in their last bits.
    """
    from llvmlite import binding  # noqa: PLC0415 - what the photons' code is compiled with, and for what

    libraries = {name: metadata.version(name) for name in _LIBRARIES}
    processor = {"processor": binding.get_host_cpu_name()}
    return {"Python": platform.python_version(), **libraries, **processor, "code_sha256": code_sha256()}


def code_sha256() -> str:
    """Hash over the source of the rooms that decide a chunk's dose."""
    root = Path(gatecheck.__file__).parent
    of_rooms = sorted(
        path
        for room in _ROOMS_OF_TRANSPORT
        for path in (root / room).rglob("*.py")
        if not set(_NOT_OF_TRANSPORT) & set(path.relative_to(root).parts)
        or path.relative_to(root).as_posix() in _OF_TRANSPORT_ALL_THE_SAME
    )
    files = [root / "compiled.py", *of_rooms]
    return sha256_of_json({str(path.relative_to(root).as_posix()): sha256_of_file(path) for path in files})
