"""Phase spaces in IAEA format (INDC(NDS)-0484), written byte by byte for the tests of their reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

QUANTITIES = ("x", "y", "z", "u", "v", "w", "weight")
NAMES = {1: "PHOTONS", 2: "ELECTRONS", 3: "POSITRONS", 4: "NEUTRONS", 5: "PROTONS"}


@dataclass
class Particles:
    """As the format holds them: cm, MeV, type 1 to 5; `new` marks the first particle of a history."""

    kind: Integers
    energy: Array
    x: Array
    y: Array
    z: Array
    u: Array
    v: Array
    w: Array
    weight: Array
    new: npt.NDArray[np.bool_]
    increment: Integers = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.kind)


def particles(count: int, **columns: Any) -> Particles:
    """Photons of 1 MeV on the axis, 26.7 cm below the target, each a history, with what a test wants changed."""
    values: dict[str, Any] = {
        "kind": 1,
        "energy": 1.0,
        "x": 0.0,
        "y": 0.0,
        "z": 26.7,
        "u": 0.0,
        "v": 0.0,
        "weight": 1.0,
        "new": True,
        **columns,
    }
    arrays = {name: np.broadcast_to(np.asarray(value), (count,)).copy() for name, value in values.items()}
    arrays["kind"] = arrays["kind"].astype(np.int64)
    arrays["new"] = arrays["new"].astype(bool)
    if "w" not in arrays:
        arrays["w"] = np.sqrt(np.maximum(1 - arrays["u"] ** 2.0 - arrays["v"] ** 2.0, 0.0))
    return Particles(**arrays)


def write_phase_space(
    stem: Path,
    content: Particles,
    *,
    stored: Sequence[str] = ("x", "y", "u", "v", "w"),
    order: str = "<",
    extra_floats: Sequence[int] = (),
    extra_longs: Sequence[int] = (),
    mark_by_energy: bool = True,
    original_histories: int | None = None,
    blocks: dict[str, str | None] | None = None,
) -> Path:
    """Write stem.IAEAheader and stem.IAEAphsp; the path of the header.

    `blocks` replaces what the header says under a keyword, or (None) leaves the keyword out.
    """
    columns = [_bytes(np.where(content.w < 0, -content.kind, content.kind), "i1")]
    columns.append(_bytes(np.where(content.new & mark_by_energy, -content.energy, content.energy), f"{order}f4"))
    columns += [_bytes(getattr(content, name), f"{order}f4") for name in QUANTITIES if name in stored and name != "w"]
    columns += [_bytes(np.full(len(content), 0.5 + kind), f"{order}f4") for kind in extra_floats]
    for kind in extra_longs:
        columns.append(_bytes(content.increment if kind == 1 else np.full(len(content), 7 + kind), f"{order}i4"))
    records = np.concatenate(columns, axis=1)
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_name(stem.name + ".IAEAphsp").write_bytes(records.tobytes())
    header = stem.with_name(stem.name + ".IAEAheader")
    said = _header(
        content,
        stored=stored,
        order=order,
        extras=(tuple(extra_floats), tuple(extra_longs)),
        length=records.shape[1],
        original_histories=original_histories,
    )
    for keyword, text in (blocks or {}).items():
        if text is None:
            del said[keyword]
        else:
            said[keyword] = text
    header.write_text("".join(f"${keyword}:\n{text}\n\n" for keyword, text in said.items()), encoding="ascii")
    return header


def _bytes(values: npt.NDArray[Any], kind: str) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(values.astype(kind)).view(np.uint8).reshape(len(values), -1)


def _header(
    content: Particles,
    *,
    stored: Sequence[str],
    order: str,
    extras: tuple[tuple[int, ...], tuple[int, ...]],
    length: int,
    original_histories: int | None,
) -> dict[str, str]:
    contents = [f"    {int(name in stored)}     // {name.upper()} is stored ?" for name in QUANTITIES]
    contents += [f"    {len(kinds)}     // Extra floats or longs stored ?" for kinds in extras]
    contents += [f"    {kind}     // an extra" for kinds in extras for kind in kinds]
    constants = [
        f"    {getattr(content, name)[0]:.7f}     // Constant {name}" for name in QUANTITIES if name not in stored
    ]
    histories = max(int(content.new.sum()), 1) if original_histories is None else original_histories
    return {
        "IAEA_INDEX": "0   // a test",
        "TITLE": "Written for a test",
        "FILE_TYPE": "0",
        "CHECKSUM": str(length * len(content)),
        "RECORD_CONTENTS": "\n".join(contents),
        "RECORD_CONSTANT": "\n".join(constants),
        "RECORD_LENGTH": str(length),
        "BYTE_ORDER": {"<": "1234", ">": "4321"}[order],
        "ORIG_HISTORIES": str(histories),
        "PARTICLES": str(len(content)),
        **{
            name: str(int((content.kind == kind).sum())) for kind, name in NAMES.items() if (content.kind == kind).any()
        },
        "COORDINATE_SYSTEM_DESCRIPTION": "",
        "STATISTICAL_INFORMATION_GEOMETRY": " -1  1\n -1  1",
    }
