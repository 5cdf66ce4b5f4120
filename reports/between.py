"""Engines side by side: which functions come out differently on two of them by more than rounding may do.

One function on several engines, as eager and compiled, and functions of one name of several frameworks.

The hypotheses are those for two versions of one implementation (`gradparity.reference.allowance`). As there, it is not
said which side is right: a majority may be wrong together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from gradparity.adapters.operations.case import OperationCase
from gradparity.reference.bounds import rounding
from gradparity.reports.moved import Moved, moved
from gradparity.reports.snapshot import CellRecord, Entry

COARSER = rounding("float32").u / rounding("float64").u


@dataclass(frozen=True)
class Difference:
    """The first quantity, in the order of computation, of one function in one dtype that engines do not agree in.

    `sides` are the engines that agree with one another, with the function that they ran where there is more than one.
    `moved` is how the two sides differ that are farthest apart, and `seen` each side's value of that element, or its
    shape where these differ; empty where it is an element that is not kept. Where `coarse`, it is float64 that agrees
    as closely as float32 could tell. `subject` is one of the probes.
    """

    subject: str
    dtype: str
    quantity: str
    sides: tuple[tuple[str, ...], ...]
    seen: tuple[str, ...]
    moved: Moved
    coarse: bool

    @property
    def share(self) -> float:
        """Return how far apart the sides are, as a share of what rounding may do; infinite between shapes."""
        return float("inf") if self.moved.share is None else self.moved.share


def together(records: Iterable[CellRecord], named: Mapping[str, OperationCase]) -> list[list[CellRecord]]:
    """Return the cells that should come out alike; `named` holds the probes by name.

    What a formula has judged needs no comparison.
    """
    cells: dict[tuple[object, ...], list[CellRecord]] = {}
    for record in records:
        if any(not entry.verdict for entry in record.entries):
            cells.setdefault((named[record.subject].mathematics, record.dtype), []).append(record)
    return [alike for alike in cells.values() if len(alike) > 1]


def differences(records: Iterable[CellRecord], named: Mapping[str, OperationCase]) -> Iterator[Difference]:
    """Yield what engines do not agree in."""
    for alike in together(records, named):
        entries = sorted((e for record in alike for e in record.entries), key=lambda e: (e.order, e.engine))
        functions = {record.subject: named[record.subject].call for record in alike}
        for quantity in dict.fromkeys(e.quantity for e in entries):
            found = _difference([e for e in entries if e.quantity == quantity and e.kept and not e.verdict], functions)
            if found:
                yield found
                break


def _difference(entries: list[Entry], functions: Mapping[str, str]) -> Difference | None:
    sides: list[list[Entry]] = []
    for entry in entries:
        mine = next((side for side in sides if not _apart(side[0], entry)), None)
        if mine is None:
            sides.append([entry])
        else:
            mine.append(entry)
    found = [
        Difference(
            a.subject,
            a.dtype,
            a.quantity,
            tuple(tuple(_label(e, functions) for e in side) for side in sides),
            tuple(_seen(side[0], by) for side in sides),
            by,
            a.dtype == "float64" and by.share is not None and by.share <= COARSER,
        )
        for (a, *_), (b, *_) in combinations(sides, 2)
        if (by := _apart(a, b))
    ]
    return max(found, key=lambda difference: difference.share, default=None)


def _apart(a: Entry, b: Entry) -> Moved | None:
    """Return how two results differ, if by more than rounding may do on either side."""
    if a.digest == b.digest and a.shape == b.shape:
        return None
    by = moved(a, b, np.fmax(a.bounds, b.bounds) if a.bounds.size == b.bounds.size else np.empty(0))
    return by if by.beyond else None


def _seen(entry: Entry, by: Moved) -> str:
    if by.reshaped:
        return str(list(entry.shape))
    return "" if by.index is None else f"{entry.values[np.searchsorted(entry.indices, by.index)]:.7g}"


def _label(entry: Entry, functions: Mapping[str, str]) -> str:
    several = len(set(functions.values())) > 1
    return f"{functions[entry.subject]} on {entry.engine}" if several else entry.engine
