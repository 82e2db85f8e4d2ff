"""What each step's result depends on, as one small file per room that changes when, and only when, that does.

Snakemake compares times of files and, where it still has its own notes, parameters; it knows nothing of a
machine model edited, Geant4 data installed or code updated, and its notes stay behind when results
are moved. So each room's configuration, the content of what it names and the code that computes are
written to results/<case>/inputs/<room>.json, which the rules name as input.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import gatecheck
from gatecheck.config import Config, resolve_models_folder
from gatecheck.errors import InputError
from gatecheck.files import sha256_of_file, sha256_of_json, write_atomically

# The library's folders that each step's code lies in; files at the top (units, storage) belong to all.
_CODE_OF = {
    "case": ("case", "phantoms"),
    "delivery": ("case", "delivery", "linac"),
    "patient": ("case", "patient"),
    "calibration": ("delivery", "linac", "transport"),
    "transport": ("delivery", "linac", "patient", "transport"),
    "dose": ("delivery", "dose"),
    "compare": ("case", "delivery", "dose", "compare"),
    "logs": ("delivery",),
    "recalculated": ("case", "delivery", "linac", "patient", "transport", "dose", "compare"),
    "report": ("delivery", "linac", "compare", "report"),
}
# Drawing what the beam's eye sees does not touch a dose, nor does who accepted the machine model.
_ONLY_DRAWN = ("aperture.py", "projection.py", "acceptance.py")
ROOMS = tuple(_CODE_OF)

# Keys of the transport section that the calibration's dose depends on.
_OF_CALIBRATION = (
    "physics_list",
    "geant4_data",
    "electron_production_cut",
    "photon_production_cut",
    "electron_step_function",
    "multiple_scattering_model",
    "multiple_scattering_step_limit",
    "photon_transport",
    "electron_transport",
    "photon_splitting",
    "far_electron_survival",
    "far_photon_survival",
    "air_electron_survival",
    "seed",
)
_TOP_LEVEL = ("files.py", "layout.py", "errors.py", "compiled.py")


def write_inputs(folder: Path, config: Config, source_signature: str) -> dict[str, str]:
    """Write <room>.json for every room where it differs from what is there; the SHA-256 of each.

    Raises
    ------
    GatecheckError
        When the machine models or the Geant4 data cannot be used.
    """
    contents = inputs_of(config, source_signature)
    for room, content in contents.items():
        text = json.dumps(content, indent=1, sort_keys=True) + "\n"
        path = folder / f"{room}.json"
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        with write_atomically(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return hashes_of(contents)


def read_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each room's inputs, as `write_inputs` left them."""
    return hashes_of({room: json.loads((folder / f"{room}.json").read_text(encoding="utf-8")) for room in ROOMS})


def hashes_of(contents: dict[str, dict[str, Any]]) -> dict[str, str]:
    """SHA-256 of each room's inputs."""
    return {room: sha256_of_json(content) for room, content in contents.items()}


def inputs_of(config: Config, source_signature: str) -> dict[str, dict[str, Any]]:
    """What each room depends on besides the rooms before it; no path and no name of the site."""
    from gatecheck.transport.geant4_data import resolve  # noqa: PLC0415 - only the front door asks

    section = config.model_dump(mode="json")
    machine = {"beam": config.machine.beam, "model": config.machine.model, "files": _models_sha256(config)}
    source = _source_of(config)
    transport = {key: value for key, value in section["transport"].items() if key != "geant4_data"}
    data_set = resolve(config.transport.geant4_data).content_sha256
    patient = {key: value for key, value in section["patient"].items() if key != "ct_calibration"}
    curve = config.patient.ct_calibration
    own: dict[str, dict[str, Any]] = {
        "case": {"source": source_signature, "show_identity": config.case.show_identity},
        "delivery": {"machine": machine},
        "patient": {"patient": patient, "ct_calibration": None if curve is None else sha256_of_file(curve)},
        "calibration": {
            "machine": machine,
            "head": config.machine.head,
            "source": source,
            "transport": {key: transport[key] for key in _OF_CALIBRATION if key in transport},
            "geant4_data": data_set,
            "calibration": section["calibration"],
        },
        "transport": {
            "machine": machine,
            "head": config.machine.head,
            "source": source,
            "transport": transport,
            "geant4_data": data_set,
            "dose": section["dose"],
        },
        "dose": {"prescription_gy": section["comparison"]["prescription_gy"]},
        "compare": {
            "comparison": section["comparison"],
            "biology": section["biology"] | {"earlier_courses": _earlier_courses_of(config)},
            "setup": section["setup"],
        },
        "logs": {
            "logs": [
                _sha256_of_given(path, f"case.trajectory_logs.{number}")
                for number, path in enumerate(config.case.trajectory_logs)
            ]
        },
        "recalculated": {
            "recalculation": section["recalculation"],
            "changes": config.changes,
            "comparison": section["comparison"],
            "setup": section["setup"],
        },
        "report": {"report": section["report"], "accepted_machines": _acceptances_sha256(config)},
    }
    return {room: {**content, "code": code_sha256(room)} for room, content in own.items()}


def _earlier_courses_of(config: Config) -> list[dict[str, Any]]:
    """Earlier courses with the content of their doses in place of where they lie."""
    return [
        course.model_dump(mode="json")
        | {
            "dose_file": None
            if course.dose_file is None
            else _sha256_of_given(course.dose_file, f"biology.earlier_courses.{number}.dose_file")
        }
        for number, course in enumerate(config.biology.earlier_courses)
    ]


def _sha256_of_given(path: Path, key: str) -> str:
    """Of a file that lies with a patient's, whose name no message may hold."""
    try:
        return sha256_of_file(path)
    except OSError as error:
        raise InputError(f"{key}: the file cannot be read ({error.strerror}). Check the permissions.") from error


def _source_of(config: Config) -> dict[str, Any]:
    """What photons come from. A phase space may hold gigabytes: headers by content, records by size and time."""
    if config.machine.source == "model":
        return {"kind": "model"}
    settings = config.machine.phase_space.model_dump(mode="json", exclude={"files"})
    files = []
    for header in config.machine.phase_space.files:
        records = header.with_suffix(".IAEAphsp").stat()
        files.append([sha256_of_file(header), records.st_size, records.st_mtime_ns])
    return {"kind": "phase_space", "settings": settings, "files": files}


def _models_sha256(config: Config) -> str:
    folder = resolve_models_folder(config)
    files = sorted(folder.glob("*/*.yaml"))
    return sha256_of_json({path.relative_to(folder).as_posix(): sha256_of_file(path) for path in files})


def _acceptances_sha256(config: Config) -> str:
    """Who took which model for which machine: of no dose, but of what the report warns of."""
    folder = resolve_models_folder(config)
    files = sorted(folder.glob("*/accepted_*.json"))
    return sha256_of_json({path.relative_to(folder).as_posix(): sha256_of_file(path) for path in files})


@functools.cache
def code_sha256(room: str) -> str:
    """Hash over the source files of a step."""
    root = Path(gatecheck.__file__).parent
    return sha256_of_json({path.relative_to(root).as_posix(): sha256_of_file(path) for path in code_files(root, room)})


def code_files(root: Path, room: str) -> list[Path]:
    """The source files of a step under the library's folder, and no cache: numba writes its own when it first runs."""
    files = [root / name for name in _TOP_LEVEL]
    for part in _CODE_OF[room]:
        files += [
            path
            for path in (root / part).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts and (room == "report" or path.name not in _ONLY_DRAWN)
        ]
    return sorted(files)
