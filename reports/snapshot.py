"""A snapshot: everything that is needed to compare two environments later, without running anything again.

`docs/snapshots.md` documents the file, which is one Parquet file: a row for each array of each cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gradparity import __version__
from gradparity.reference.problem import DTYPES, Array
from gradparity.reports.kept import BLOCK, SAMPLES, places, summary
from gradparity.reports.side import Side, variables

SCHEMA = 1
"""The version of the file. It grows when a column changes its meaning or goes, not when one is added."""

SCENARIO, PROBE = "scenario", "probe"
"""The kinds of cells."""
PRINTED = "printed"
"""Stands for the program where an entry is a figure of a book, beside what the engine computed."""

NARROW = "float64 as if in float32"
"""The note of an output of a probe that is computed in a narrower format than its dtype."""

CellKey = tuple[str, str, str, str]
"""Kind, subject, dtype, engine."""
ArrayKey = tuple[str, str]
"""Program, quantity."""


@dataclass(frozen=True)
class Entry:
    """One array of one cell: a quantity of a scenario's program over all steps, or an output of a probe.

    `kept` holds the elements in C order, little-endian: all of them if `whole`, else those at the flat indices
    `gradparity.reports.kept.places`; `allowed` the bound of each of these, in float32, or nothing where none is known.
    `order` counts in the order of computation within the cell. A wrong shape or dtype is digested, and not kept.
    """

    kind: str
    subject: str
    """The scenario's name, or the probe's, such as ``jax.nn.softmax(axis=0) single[3,1,1]``."""
    dtype: str
    engine: str
    program: str
    """``plain`` or ``probed``, or `PRINTED`; empty for a probe."""
    quantity: str
    order: int
    verdict: str
    """A `gradparity.reference.verdict.Verdict`; empty where nothing judged it."""
    note: str
    """The convention or the registry's entry that it is declared or known by, or the cause of what is wrong."""
    shape: tuple[int, ...]
    """``(steps, rows, columns)``, or ``(elements,)`` where not all steps have the same number of samples."""
    digest: str
    """SHA-256 (hexadecimal) of all elements in C order, little-endian."""
    reproducible: bool | None
    """Whether a second, fresh process gave the same digest; None where it was not run twice."""
    kept: bytes = b""
    whole: bool = False
    allowed: bytes = b""
    lowest: float = float("inf")
    """The least finite element, +∞ where there is none."""
    highest: float = float("-inf")
    total: float = 0.0
    """The sum of the finite elements."""
    nonfinite: int = 0
    blocks: bytes = b""
    """Of an array that is not `whole`, its blocks: `gradparity.reports.kept.BLOCK`."""

    @classmethod
    def of(cls, array: Array, allowed: Array | None = None, **fields: Any) -> Entry:
        """Return the entry of `array`, with the bound of each element where that is known."""
        return cls(shape=array.shape, **vars(summary(array, allowed)), **fields)

    @property
    def key(self) -> ArrayKey:
        """Return what tells this entry from the others of its cell."""
        return self.program, self.quantity

    @property
    def size(self) -> int:
        """Return the number of elements, kept or not."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def values(self) -> Array:
        """Return the kept elements, flat."""
        if self.dtype not in DTYPES:
            raise ValueError(f"{self.dtype} is no dtype of a cell")
        return np.frombuffer(self.kept, np.dtype(self.dtype).newbyteorder("<"))

    @property
    def bounds(self) -> Array:
        """Return the bounds of the kept elements, flat; empty where they are not known."""
        return np.frombuffer(self.allowed, "<f4")

    @property
    def indices(self) -> Array:
        """Return the flat indices of the kept elements."""
        return np.arange(self.size) if self.whole else places(self.size, SAMPLES)

    @property
    def block_table(self) -> Array:
        """Return the blocks as a structured array."""
        return np.frombuffer(self.blocks, BLOCK)


@dataclass(frozen=True)
class CellRecord:
    """One scenario or probe, in one dtype, on one engine; `entries` are in the order of computation.

    `batches` holds runs of steps with equally many samples, as (samples, steps); empty for a probe. `faults` are what
    the engine must not do and did. On data that is not `structured`, a suspect quantity fails.
    """

    kind: str
    subject: str
    dtype: str
    engine: str
    verdict: str
    message: str = ""
    log: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    entries: tuple[Entry, ...] = ()
    faults: tuple[str, ...] = ()
    batches: tuple[tuple[int, int], ...] = ()
    structured: bool = True
    inputs: str = ""
    """SHA-256 over all that the engine was given."""

    @property
    def key(self) -> CellKey:
        """Return what tells this cell from all others."""
        return self.kind, self.subject, self.dtype, self.engine

    @cached_property
    def by_key(self) -> dict[ArrayKey, Entry]:
        """The entries by program and quantity."""
        return {entry.key: entry for entry in self.entries}


@dataclass(frozen=True)
class Header:
    """When, where and on what a snapshot was made. `scenarios` holds TOML text and folder of what was run."""

    schema: int
    gradparity: str
    started: str
    python: str
    platform: str
    distributions: Mapping[str, str]
    """Name → version of those that touch the numbers."""
    cpu: str
    features: tuple[str, ...]
    """The processor's instruction sets."""
    variables: Mapping[str, str]
    """Environment variables that touch the numbers or the number of threads."""
    scenarios: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def now(cls, side: Side, scenarios: Mapping[str, Mapping[str, str]]) -> Header:
        """Return the header of a snapshot of `side` that is made now."""
        return cls(
            SCHEMA,
            __version__,
            datetime.now(UTC).isoformat(timespec="seconds"),
            side.version,
            side.platform,
            side.numeric,
            side.cpu,
            side.features,
            variables(),
            scenarios,
        )


@dataclass(frozen=True)
class Snapshot:
    """What one environment computed."""

    header: Header
    cells: tuple[CellRecord, ...]

    @cached_property
    def by_key(self) -> dict[CellKey, CellRecord]:
        """The cells by kind, subject, dtype and engine."""
        return {cell.key: cell for cell in self.cells}

    def entries(self) -> Iterator[Entry]:
        """Yield every entry."""
        for cell in self.cells:
            yield from cell.entries

    def write(self, path: Path) -> None:
        """Write the file: whole, or not at all. Raises `InputError` where it cannot be written."""
        from gradparity.reports.snapshot_file import write

        write(self, path)

    @staticmethod
    def read(path: Path) -> Snapshot:
        """Read a file, or the snapshot in a folder that ``gradparity run --out`` wrote.

        Raises `InputError` where it cannot be read, is damaged, or is something else.
        """
        from gradparity.reports.snapshot_file import read

        return read(path)
