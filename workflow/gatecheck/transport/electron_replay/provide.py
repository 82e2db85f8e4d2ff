"""Recorded steps for a patient's materials: made by GATE once for each material, and kept in gatecheck's cache."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from gatecheck.compiled import digest_of_functions, digest_of_sources, in_threads
from gatecheck.config_transport import TransportConfig
from gatecheck.errors import SimulationError
from gatecheck.file_locks import one_at_a_time
from gatecheck.files import remove_partial, sha256_of_file, sha256_of_json
from gatecheck.patient.model import Material
from gatecheck.transport.electron_replay import merge, record
from gatecheck.transport.electron_replay.grouping import MatterGroups, group_materials
from gatecheck.transport.electron_replay.kernel import turned_into, unit
from gatecheck.transport.electron_replay.merge import merged
from gatecheck.transport.electron_replay.record import Recording, record_tracks
from gatecheck.transport.electron_replay.replay import ElectronSteps
from gatecheck.transport.electron_replay.steps import (
    PARTS_AT_A_TIME,
    Extent,
    RecordedTracks,
    joined,
    one_after_the_other,
)
from gatecheck.transport.engine import describe_engine, recorded_step_function
from gatecheck.transport.gate import add_materials
from gatecheck.transport.gate_run import new_simulation
from gatecheck.transport.geant4_data.folders import cache_folder
from gatecheck.transport.materials import air, mean_excitation_energy_in_geant4
from gatecheck.transport.photon_tracker.kernel import longest_range
from gatecheck.transport.process import LONGEST_WITHOUT_PLAN, run_in_processes

logger = logging.getLogger(__name__)

HIGHEST_ENERGY = 7.0
"""At which tracks start, MeV: no photon of a nominal 6 MV sets an electron of more free."""

# Energies that tracks start with, MeV, and how many: most electrons are set free with less than 2 MeV.
_STARTS: dict[str, tuple[tuple[float, int], ...]] = {
    "e-": ((HIGHEST_ENERGY, 4000), (2.0, 16000)),
    "e+": ((HIGHEST_ENERGY, 1000), (2.0, 4000)),
}
# Steps are joined until so much is reached, g/cm2: a fifth of a 1 mm voxel of water.
_LONGEST_STEP = 0.02
# In gases that is longer than an airway is wide, and with one turn in all of it electrons spread too little. Steps are
# no longer there than so many mm, and as that makes many, a tenth of the tracks are made.
_GAS_BELOW = 0.05
_LONGEST_STEP_IN_GAS = 8.0
# Shorter ones are joined until so much is reached: less than a whole step, of which two would else be joined.
_JOINED_IN_GAS = 6.0
_SHARE_IN_GAS = 10
# Nor are steps joined beyond this share of what an electron could still go: such as are about to stop turn by much in
# little.
_SHARE_OF_RANGE = 0.1
_PROCESSES = 2
_ready: dict[str, ElectronSteps] = {}
_VERSION = 6  # of the files and of how they are made


def electron_steps(settings: TransportConfig, materials: Sequence[Material]) -> ElectronSteps:
    """Steps for these materials, read from the cache, or made by GATE where it has none.

    Raises
    ------
    SimulationError
        When GATE fails, or a material has an element that is not known.
    """
    folder = cache_folder() / "electron-steps"
    asked = sha256_of_json([settings.model_dump(mode="json"), [one.model_dump() for one in materials], str(folder)])
    if asked not in _ready:
        _ready.clear()  # one patient's at a time
        _ready[asked] = _read_or_made(settings, materials, folder)
    return _ready[asked]


def _read_or_made(settings: TransportConfig, materials: Sequence[Material], folder: Path) -> ElectronSteps:
    settings = recorded_with(settings)
    groups = group_materials([*materials, air()])
    paths = recording_files(settings, groups, folder)
    found = _extents(paths)
    if None in found.values():
        folder.mkdir(parents=True, exist_ok=True)
        # Plans of a batch that begin together ask for the same ones.
        with one_at_a_time(
            folder / ".lock", lambda: logger.info("another gatecheck records electron steps: waiting for it")
        ) as is_alone:
            if is_alone:
                remove_partial(folder)
            found = _extents(paths)
            _record(settings, groups, {key: path for key, path in paths.items() if found[key] is None}, len(paths))
    extents = [found[key] or RecordedTracks.load(path).extent for key, path in paths.items()]
    parts = [partial(RecordedTracks.load, path) for path in paths.values()]
    digest = sha256_of_json(in_threads(sha256_of_file, paths.values(), most=PARTS_AT_A_TIME))
    return ElectronSteps(joined(parts, extents), groups, HIGHEST_ENERGY, digest)


def recording_files(settings: TransportConfig, groups: MatterGroups, folder: Path) -> dict[tuple[str, int], Path]:
    """Where the tracks of each particle and reference are kept, in the order that `joined` asks for.

    Parameters
    ----------
    settings : TransportConfig
        As `recorded_with` gives them.
    """
    physics = _physics(settings)
    return {
        (particle, reference.label): folder / f"{_key(physics, particle, reference)}.npz"
        for particle in _STARTS
        for reference in groups.references
    }


def _extents(paths: Mapping[tuple[str, int], Path]) -> dict[tuple[str, int], Extent | None]:
    return dict(zip(paths, in_threads(_extent_in, paths.values(), most=PARTS_AT_A_TIME), strict=True))


def _record(
    settings: TransportConfig, groups: MatterGroups, missing: Mapping[tuple[str, int], Path], of_all: int
) -> None:
    """Record what is missing, for particles and references."""
    if not missing:
        return
    started = time.perf_counter()
    logger.info("recording electron steps for %d of %d materials and particles", len(missing), of_all)
    requests = [
        {
            "recording": _recording(particle, groups.references[label], path.stem),
            "material": groups.references[label],
            "path": path,
            "settings": settings,
        }
        for (particle, label), path in missing.items()
    ]
    run_in_processes(record_and_keep, requests, processes=_PROCESSES, longest_seconds=LONGEST_WITHOUT_PLAN)
    logger.info("electron steps recorded in %.0f s", time.perf_counter() - started)


def recorded_with(settings: TransportConfig) -> TransportConfig:
    """What steps are recorded with, and GATE's in a gas: a patient's settings, but for GATE's steps."""
    return settings.model_copy(update={"electron_step_function": recorded_step_function(settings)})


def _extent_in(path: Path) -> Extent | None:
    """None where there is no file, or one that cannot be read, which is made anew."""
    try:
        return RecordedTracks.load(path).extent
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        logger.warning("%s in the cache of electron steps cannot be read: it is recorded anew.", path.name)
        return None


def _recording(particle: str, material: Material, key: str) -> Recording:
    """Of one material alone, its seed by what it is: the same whatever else was missing."""
    is_gas = material.density < _GAS_BELOW
    starts = tuple((energy, tracks // (_SHARE_IN_GAS if is_gas else 1)) for energy, tracks in _STARTS[particle])
    return Recording(particle, starts, 1 + int(key[:7], 16), _LONGEST_STEP_IN_GAS if is_gas else None)


def record_and_keep(recording: Recording, material: Material, path: Path, settings: TransportConfig) -> None:
    """Record tracks in a material and write them where they are kept; takes this process."""
    describe_engine(settings)
    longest = 10.0 * _LONGEST_STEP / material.density
    if recording.longest_step is not None:
        longest = _JOINED_IN_GAS
    with _temporary_files_beside(path):
        parts = [
            merged(tracks, longest, share=_SHARE_OF_RANGE, density=material.density)
            for tracks in record_tracks(material.model_copy(update={"label": 0}), recording, settings)
        ]
    recorded = one_after_the_other(parts)
    wanted = sum(tracks for _, tracks in recording.starts)
    if (found := int(recorded.is_last.sum())) != wanted:
        raise SimulationError(f"Recording electron steps gave {found} tracks, {wanted} expected: it is not kept.")
    recorded.save(path)


@contextlib.contextmanager
def _temporary_files_beside(path: Path) -> Iterator[None]:
    """Have this process's temporary files where `remove_partial` finds them, should it be killed.

    Set from here, as `record`'s source is a part of the key: every site would have to record its steps anew.
    """
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}.partial-", dir=path.parent) as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before


def _physics(settings: TransportConfig) -> dict[str, object]:
    engine = describe_engine(settings)
    kept = ("opengate", "geant4", "physics_list", "data_set_sha256")
    settings_kept = ("electron_production_cut_mm", "photon_production_cut_mm", "geant4_commands")
    return {
        **{name: getattr(engine, name) for name in kept},
        **{name: engine.settings[name] for name in settings_kept},
        "starts": _STARTS,
        "longest_step": _LONGEST_STEP,
        "share_of_range": _SHARE_OF_RANGE,
        "in_gas": [_GAS_BELOW, _LONGEST_STEP_IN_GAS, _SHARE_IN_GAS],
        "code": str(digest_of_sources(record, merge)),
        "parts": digest_of_functions(turned_into, unit, longest_range, add_materials, new_simulation),
        "version": _VERSION,
    }


def _key(physics: dict[str, object], particle: str, material: Material) -> str:
    matter = {
        "density": material.density,
        "mass_fractions": material.mass_fractions,
        "mean_excitation_energy": mean_excitation_energy_in_geant4(material),
    }
    joined_in_gas = {"joined_in_gas": _JOINED_IN_GAS} if material.density < _GAS_BELOW else {}
    return sha256_of_json({**physics, "particle": particle, **matter, **joined_in_gas})[:32]
