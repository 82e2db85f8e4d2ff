"""Beam data of one machine from any number of files, each CSV or W2CAD."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gatecheck.commissioning.beam_data import NOT_STATED, BeamData
from gatecheck.commissioning.csv_format import read_csv
from gatecheck.commissioning.w2cad import read_w2cad
from gatecheck.commissioning.w2cad_scans import is_w2cad
from gatecheck.errors import InputError
from gatecheck.files import sha256_of_json


def read_beam_data(paths: Sequence[Path], *, detector_diameter: float | None = None, centre: bool = False) -> BeamData:
    """Read files and join what they hold, in the order given.

    Parameters
    ----------
    paths : sequence of Path
        A file that begins with `$`, `%` or `<` is W2CAD, any other CSV, whatever its name.
    detector_diameter : float, optional
        mm, for W2CAD scans that do not state it.
    centre : bool
        Centre the profiles of W2CAD files; see `read_w2cad`.

    Raises
    ------
    InputError
        For a file that cannot be used, for one that is given twice, and for files that name different machines or
        beams.
    """
    if not paths:
        raise InputError("beam data: no file given, expected one or more (CSV or W2CAD).")
    parts = [
        read_w2cad(path, detector_diameter=detector_diameter, centre=centre) if is_w2cad(path) else read_csv(path)
        for path in paths
    ]
    _check_are_different(paths, parts)
    if len(parts) == 1:
        return parts[0]
    return BeamData(
        machine=_same(paths, parts, "machine"),
        beam=_same(paths, parts, "beam"),
        detector=_joined(parts, "detector"),
        source=_joined(parts, "source"),
        sha256=sha256_of_json([part.sha256 for part in parts]),
        depth_doses=tuple(curve for part in parts for curve in part.depth_doses),
        profiles=tuple(curve for part in parts for curve in part.profiles),
        widths=tuple(width for part in parts for width in part.widths),
        output_factors=tuple(factor for part in parts for factor in part.output_factors),
        leaf_transmissions=tuple(one for part in parts for one in part.leaf_transmissions),
        leaf_gaps=tuple(one for part in parts for one in part.leaf_gaps),
        notes=tuple(note for part in parts for note in part.notes),
    )


def _check_are_different(paths: Sequence[Path], parts: Sequence[BeamData]) -> None:
    seen: dict[str, Path] = {}
    for path, part in zip(paths, parts, strict=True):
        if part.sha256 in seen:
            raise InputError(
                f"{path.name}: the same content as {seen[part.sha256].name} found, expected each file once."
            )
        seen[part.sha256] = path


def _same(paths: Sequence[Path], parts: Sequence[BeamData], name: str) -> str:
    stated = [(path, getattr(part, name)) for path, part in zip(paths, parts, strict=True)]
    stated = [(path, text) for path, text in stated if text != NOT_STATED]
    for path, text in stated[1:]:
        if text != stated[0][1]:
            raise InputError(
                f"{path.name}: {name} {text!r} found, expected {stated[0][1]!r} as in {stated[0][0].name}. "
                "Commission one machine and beam at a time."
            )
    return stated[0][1] if stated else NOT_STATED


def _joined(parts: Sequence[BeamData], name: str) -> str:
    texts = dict.fromkeys(text for part in parts if (text := getattr(part, name)) != NOT_STATED)
    return "; ".join(texts) or NOT_STATED
