"""Engines side by side: which functions come out differently on two of them by more than rounding may do.

One function on several engines, as eager and compiled, and functions of one name of several frameworks.

The hypotheses are those for two versions of one implementation (`gradparity.reference.allowance`). As there, it is not
said which side is right: a majority may be wrong together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from gradparity.adapters.operations.case import OperationCase
from gradparity.reference.bounds import rounding
from gradparity.reference.problem import Array
from gradparity.reports.moved import changes
from gradparity.reports.snapshot import CellRecord, Entry

COARSER = rounding("float32").u / rounding("float64").u


@dataclass(frozen=True)
class Difference:
    """The first quantity, in the order of computation, of one function in one dtype that engines do not agree in.

    `sides` are the engines that agree with one another, with the function that they ran where there is more than one:
    each side with its value of the element at the flat `index` that is farthest apart. `share` is that distance as a
    share of what rounding may do, and `apart` of `kept` elements are farther apart than that. Where `coarse`, it is
    float64 that agrees as closely as float32 could tell. `subject` is one of the probes.
    """

    subject: str
    dtype: str
    quantity: str
    sides: tuple[tuple[tuple[str, ...], float], ...]
    index: int
    share: float
    apart: int
    kept: int
    coarse: bool

    @property
    def engines(self) -> tuple[tuple[str, ...], ...]:
        """Return the engines on each side."""
        return tuple(names for names, _ in self.sides)


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
    """Yield what engines do not agree in: of arrays of one shape, those of their elements that are kept."""
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
    for entry in (e for e in entries if e.shape == entries[0].shape):
        mine = next((side for side in sides if not (_shares(side[0], entry) > 1.0).any()), None)
        if mine is None:
            sides.append([entry])
        else:
            mine.append(entry)
    pairs = [(_shares(a[0], b[0]), a[0], b[0]) for i, a in enumerate(sides) for b in sides[:i]]
    if not pairs:
        return None
    shares, a, _ = max(pairs, key=lambda pair: float(pair[0].max()))
    at, apart = int(shares.argmax()), np.any([found > 1.0 for found, _, _ in pairs], axis=0)
    return Difference(
        a.subject,
        a.dtype,
        a.quantity,
        tuple((tuple(_label(e, functions) for e in side), float(side[0].values[at])) for side in sides),
        int(a.indices[at]),
        float(shares[at]),
        int(apart.sum()),
        apart.size,
        a.dtype == "float64" and all(bool((found <= COARSER).all()) for found, _, _ in pairs),
    )


def _label(entry: Entry, functions: Mapping[str, str]) -> str:
    several = len(set(functions.values())) > 1
    return f"{functions[entry.subject]} on {entry.engine}" if several else entry.engine


def _shares(a: Entry, b: Entry) -> Array:
    """Return how far two arrays are apart, as a share of what rounding may do; 0 where that is not known."""
    if not a.bounds.size or not b.bounds.size:
        return np.zeros(a.values.size)
    apart = changes(a.values.astype(np.float64), b.values.astype(np.float64))
    with np.errstate(all="ignore"):
        found: Array = np.where(apart == 0.0, 0.0, apart / np.fmax(a.bounds, b.bounds))
    return np.where(np.isnan(found), 0.0, found)
