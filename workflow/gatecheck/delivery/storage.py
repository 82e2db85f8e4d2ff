"""The delivery as a file: timeline.parquet, one row for each node of each beam."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from gatecheck.delivery.model import BeamTimeline, Delivery, FloatArray
from gatecheck.errors import ResultError
from gatecheck.files import write_atomically

SCHEMA_VERSION = 1
_METADATA_KEY = b"gatecheck.delivery"

_NUMBERS = ("meterset", "gantry", "collimator", "couch", "jaw_x1", "jaw_x2", "jaw_y1", "jaw_y2")
_ISOCENTRE = ("isocentre_x", "isocentre_y", "isocentre_z")
_LEAVES = ("leaf_x1", "leaf_x2")


class _BeamHeader(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    name: str
    nominal_energy_mv: float
    fluence_mode: str
    leaf_boundaries: tuple[float, ...] | None


class _Header(BaseModel):
    """What does not change along a timeline; kept in the file's schema metadata."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int
    patient_position: str
    fractions: int
    made_from_sha256: str
    beams: tuple[_BeamHeader, ...]


def write_delivery(delivery: Delivery, path: Path) -> None:
    """Write a delivery as Parquet, atomically; the same delivery gives the same bytes.

    Columns: `beam_number`, `meterset` (MU), `gantry`, `collimator`, `couch` (unwrapped degrees), `jaw_x1` to
    `jaw_y2`, `leaf_x1` and `leaf_x2` (lists from Y1 to Y2, null without an MLC; mm at the isocentre plane),
    `isocentre_x` to `isocentre_z` (LPS mm).

    Raises
    ------
    WriteError
        When the file cannot be written.
    """
    tables = [_table_of(beam) for beam in delivery.beams]
    table = pa.concat_tables(tables) if tables else _schema().empty_table()
    header = json.dumps(_header_of(delivery).model_dump(mode="json"), sort_keys=True).encode()
    table = table.replace_schema_metadata({_METADATA_KEY: header})
    with write_atomically(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_delivery(path: Path) -> Delivery:
    """Read back what `write_delivery` wrote.

    Raises
    ------
    ResultError
        When the file is missing, damaged or of another version of gatecheck.
    """
    if not path.exists():
        raise ResultError(f"{path.name}: not found in {path.parent.name}/. Run the step before it (deliver) first.")
    try:
        # read_table, to_numpy, filter: each would import pandas, half a second of every step.
        table = pq.ParquetFile(path).read()
        header = _Header.model_validate_json((table.schema.metadata or {})[_METADATA_KEY])
    except (pa.ArrowException, OSError, KeyError, ValidationError) as error:
        raise _damaged(path, type(error).__name__) from error
    if header.schema_version != SCHEMA_VERSION or not table.schema.equals(_schema(), check_metadata=False):
        raise _damaged(path, f"schema version {header.schema_version} found, {SCHEMA_VERSION} expected")
    numbers = _column(table, "beam_number")
    beams = []
    for beam in header.beams:
        nodes = np.flatnonzero(numbers == beam.number)
        if len(nodes) < 2:
            raise _damaged(path, f"beam {beam.number} has {len(nodes)} nodes")
        if nodes[-1] - nodes[0] >= len(nodes):
            raise _damaged(path, f"nodes of other beams among those of beam {beam.number}")
        beams.append(_timeline_of(table.slice(nodes[0], len(nodes)), beam, path))
        if np.any(np.diff(beams[-1].meterset) < 0):
            raise _damaged(path, f"the meterset of beam {beam.number} falls")
    return Delivery(tuple(beams), header.patient_position, header.fractions, header.made_from_sha256)


def _damaged(path: Path, why: str) -> ResultError:
    return ResultError(f"{path.name}: not a timeline of this version of gatecheck ({why}). Delete it and run again.")


def _schema() -> pa.Schema:
    columns = [pa.field("beam_number", pa.int32(), nullable=False)]
    columns += [pa.field(name, pa.float64(), nullable=False) for name in _NUMBERS]
    columns += [pa.field(name, pa.list_(pa.float64())) for name in _LEAVES]
    columns += [pa.field(name, pa.float64(), nullable=False) for name in _ISOCENTRE]
    return pa.schema(columns)


def _header_of(delivery: Delivery) -> _Header:
    return _Header(
        schema_version=SCHEMA_VERSION,
        patient_position=delivery.patient_position,
        fractions=delivery.fractions,
        made_from_sha256=delivery.made_from_sha256,
        beams=tuple(
            _BeamHeader(
                number=beam.number,
                name=beam.name,
                nominal_energy_mv=beam.nominal_energy_mv,
                fluence_mode=beam.fluence_mode,
                leaf_boundaries=None if beam.leaf_boundaries is None else tuple(map(float, beam.leaf_boundaries)),
            )
            for beam in delivery.beams
        ),
    )


def _table_of(beam: BeamTimeline) -> pa.Table:
    nodes = len(beam.meterset)
    columns: dict[str, Any] = {"beam_number": np.full(nodes, beam.number, dtype=np.int32)}
    values = (beam.meterset, beam.gantry, beam.collimator, beam.couch, *beam.jaw_x.T, *beam.jaw_y.T)
    columns.update(zip(_NUMBERS, values, strict=True))
    for bank, name in enumerate(_LEAVES):
        columns[name] = [None] * nodes if beam.leaf_positions is None else list(beam.leaf_positions[:, bank])
    columns.update(zip(_ISOCENTRE, beam.isocentre.T, strict=True))
    return pa.table(columns, schema=_schema())


def _column(table: pa.Table, name: str) -> FloatArray:
    return np.array(np.from_dlpack(table[name].combine_chunks()), dtype=float)


def _timeline_of(rows: pa.Table, header: _BeamHeader, path: Path) -> BeamTimeline:
    def column(name: str) -> FloatArray:
        return _column(rows, name)

    return BeamTimeline(
        number=header.number,
        name=header.name,
        nominal_energy_mv=header.nominal_energy_mv,
        fluence_mode=header.fluence_mode,
        meterset=column("meterset"),
        gantry=column("gantry"),
        collimator=column("collimator"),
        couch=column("couch"),
        jaw_x=np.stack([column("jaw_x1"), column("jaw_x2")], axis=1),
        jaw_y=np.stack([column("jaw_y1"), column("jaw_y2")], axis=1),
        leaf_positions=_leaves_of(rows, header, path),
        leaf_boundaries=None if header.leaf_boundaries is None else np.array(header.leaf_boundaries),
        isocentre=np.stack([column(name) for name in _ISOCENTRE], axis=1),
    )


def _leaves_of(rows: pa.Table, header: _BeamHeader, path: Path) -> FloatArray | None:
    if header.leaf_boundaries is None:
        return None
    pairs = len(header.leaf_boundaries) - 1
    banks = []
    for name in _LEAVES:
        bank = rows[name].to_pylist()
        if any(leaves is None or len(leaves) != pairs for leaves in bank):
            raise _damaged(path, f"beam {header.number} lacks leaf positions")
        banks.append(bank)
    return np.swapaxes(np.array(banks, dtype=float), 0, 1)
