"""Snapshots as Parquet files: one row an array, the header in the file's metadata, a checksum over everything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gradparity.reference.errors import InputError
from gradparity.reports.codec import decode, dumps
from gradparity.reports.snapshot import SCHEMA, CellRecord, Entry, Header, Snapshot
from gradparity.reports.store import SNAPSHOT, replacing

HEADER, CHECKSUM = b"gradparity", b"gradparity_sha256"
"""The keys in the metadata: the header as JSON, and the SHA-256 over it and all rows."""

TYPES: Mapping[str, pa.DataType] = {
    "str": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "bool | None": pa.bool_(),
    "bytes": pa.binary(),
    "tuple[int, ...]": pa.list_(pa.int64()),
}
CELL = ("verdict", "message", "log", "environment", "seconds", "faults", "batches", "structured", "inputs")
"""Fields of a cell, in columns called ``cell_…``; they are the same in all rows of the cell."""
JSON = ("environment", "faults", "batches")
"""Those that are held as JSON text."""


def _columns() -> dict[str, pa.DataType]:
    columns = {field.name: TYPES[str(field.type)] for field in fields(Entry)}
    types = {field.name: str(field.type) for field in fields(CellRecord)}
    return columns | {f"cell_{name}": pa.string() if name in JSON else TYPES[types[name]] for name in CELL}


COLUMNS = _columns()


def write(snapshot: Snapshot, path: Path) -> None:
    """Write `snapshot`. Raises `InputError` where it cannot be written."""
    rows = [row for cell in snapshot.cells for row in _rows(cell)]
    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    header = dumps(snapshot.header).encode()
    metadata = {HEADER: header, CHECKSUM: _checksum(header, columns).encode()}
    arrays = [pa.array(column, COLUMNS[name]) for name, column in columns.items()]
    table = pa.Table.from_arrays(arrays, schema=pa.schema(list(COLUMNS.items()), metadata))
    try:
        with replacing(path) as temporary:
            # Engines often agree bit for bit: with a dictionary as large as it takes, equal arrays are stored once.
            pq.write_table(
                table,
                temporary,
                compression="zstd",
                compression_level=9,
                write_page_checksum=True,
                write_statistics=False,
                dictionary_pagesize_limit=2**30,
                row_group_size=max(1, len(rows)),
            )
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; choose another place") from None


def _rows(cell: CellRecord) -> Iterator[dict[str, Any]]:
    shared = {f"cell_{name}": dumps(v) if name in JSON else v for name in CELL for v in [getattr(cell, name)]}
    blank = Entry(cell.kind, cell.subject, cell.dtype, cell.engine, "", "", -1, "", "", (), "", None)
    for entry in cell.entries or (blank,):
        yield vars(entry) | shared


def read(path: Path) -> Snapshot:
    """Read a file, or the one in a folder of results. Raises `InputError` where it is none, or damaged."""
    file = path / SNAPSHOT if path.is_dir() else path
    try:
        table, metadata = _table(file)
        if HEADER not in metadata:
            raise InputError(f"{file} is not a snapshot: name a file that `gradparity run --out` wrote")
        header = _header(file, metadata[HEADER])
        columns = {name: table.column(name).to_pylist() for name in COLUMNS}
        if _checksum(metadata[HEADER], columns).encode() != metadata.get(CHECKSUM):
            raise ValueError("its checksum is not that of what it holds")
        return Snapshot(header, tuple(_cells(columns)))
    except InputError:
        raise
    except FileNotFoundError:
        if file.parent.is_dir() and file.name == SNAPSHOT:
            raise InputError(f"{file.parent} holds no {SNAPSHOT}, which a run with --out writes at its end") from None
        raise InputError(f"cannot read {file}: no such file; name one that `gradparity run --out` wrote") from None
    except (OSError, pa.ArrowException, ValueError, TypeError, KeyError, MemoryError) as error:
        raise InputError(f"{file} is damaged, and cannot be used: {_line(error)}; record it again") from None


def _table(file: Path) -> tuple[pa.Table, Mapping[bytes, bytes]]:
    with file.open("rb") as stream:
        if stream.read(4) != b"PAR1":
            raise InputError(f"{file} is not a snapshot: name a file that `gradparity run --out` wrote")
        stream.seek(0)
        table = pq.ParquetFile(stream, page_checksum_verification=True).read()
    return table, table.schema.metadata or {}


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _header(file: Path, raw: bytes) -> Header:
    found = json.loads(raw)
    if found["schema"] > SCHEMA:
        raise InputError(
            f"{file} was written by a newer gradparity (schema {found['schema']}, known: {SCHEMA}); upgrade it"
        )
    header: Header = decode(Header, found)
    return header


def _cells(columns: Mapping[str, Sequence[Any]]) -> Iterator[CellRecord]:
    names = tuple(columns)
    entry_fields = [field.name for field in fields(Entry)]
    hints = {"environment": Mapping[str, str], "faults": tuple[str, ...], "batches": tuple[tuple[int, int], ...]}
    rows = (dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True))
    for key, group in groupby(rows, key=lambda row: (row["kind"], row["subject"], row["dtype"], row["engine"])):
        own = list(group)
        about = {name: own[0][f"cell_{name}"] for name in CELL}
        about |= {name: decode(hint, json.loads(about[name])) for name, hint in hints.items()}
        entries = (Entry(**{name: row[name] for name in entry_fields}) for row in own if row["order"] >= 0)
        yield CellRecord(*key, entries=tuple(replace(e, shape=tuple(e.shape)) for e in entries), **about)


def _checksum(header: bytes, columns: Mapping[str, Iterable[Any]]) -> str:
    """Return the SHA-256 over the header and every column, each element with its length or as fixed-size bytes."""
    digest = hashlib.sha256(header)
    for name, column in columns.items():
        kind = COLUMNS[name]
        digest.update(f"\n{name} {kind}\n".encode())
        if kind == pa.binary():
            for value in column:
                digest.update(len(value).to_bytes(8, "little") + value)
        elif kind == pa.float64():
            digest.update(np.array(list(column), "<f8").tobytes())
        else:
            digest.update(json.dumps([list(v) if isinstance(v, tuple) else v for v in column]).encode())
    return digest.hexdigest()
