"""Drift: what became of a quantity, of a cell, and of a whole snapshot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from gradparity.reference.verdict import Verdict
from gradparity.reports.moved import Moved
from gradparity.reports.snapshot import Header


class Drift(StrEnum):
    """What became of a quantity, or of a cell; the worst first."""

    BECAME_WRONG = "became wrong"
    BEYOND = "changed beyond rounding"
    INCOMPLETE = "incomplete"
    STILL_WRONG = "still wrong"
    REPAIRED = "repaired"
    FINER = "changed below float32"
    CONVENTION = "convention changed"
    VANISHED = "vanished"
    APPEARED = "appeared"
    NOT_REPRODUCIBLE = "not reproducible"
    NOT_COMPARABLE = "not comparable"
    WITHIN = "changed within the bound"
    IDENTICAL = "identical"


WORST_FIRST = tuple(Drift)
FAILING = (Drift.BECAME_WRONG, Drift.BEYOND)
ENDED = (Verdict.CRASHED, Verdict.TIMED_OUT)
LISTED = (Verdict.DECLARED, Verdict.KNOWN)


@dataclass(frozen=True)
class Change:
    """One quantity that is not bit for bit what it was. `step` counts from 1; 0 of a probe, or where none is known.

    `index` is the place of the element that changed most, without the step.
    """

    program: str
    quantity: str
    order: int
    drift: Drift
    verdicts: tuple[str, str]
    notes: tuple[str, str]
    moved: Moved | None = None
    step: int = 0
    index: tuple[int, ...] = ()


@dataclass(frozen=True)
class CellDrift:
    """One cell of both snapshots. `verdicts` are the old and the new one, empty on the side where it is not there.

    `first` is the first quantity that changed, in the order of computation: its inputs had the same bits, so what
    moved it is that quantity itself. `blamed` is the first of those that make the cell what it is.
    """

    kind: str
    subject: str
    dtype: str
    engine: str
    drift: Drift
    verdicts: tuple[str, str]
    changes: tuple[Change, ...] = ()
    first: Change | None = None
    reason: str = ""
    logs: tuple[str, str] = ("", "")
    flags: Mapping[str, tuple[str, str]] | None = None
    """What else differs in the environment that the engine reported."""

    @property
    def blamed(self) -> Change | None:
        """Return the first quantity that makes the cell what it is, or the first that changed."""
        return next((c for c in self.changes if c.drift is self.drift), self.first)


@dataclass(frozen=True)
class Comparison:
    """Two snapshots side by side. `machine` says why bits are not comparable; `neither` counts the cells that neither
    side could run."""

    old: Header
    new: Header
    cells: tuple[CellDrift, ...]
    machine: tuple[str, ...] = ()
    neither: int = 0
    unrepeated: tuple[int, int] = (0, 0)
    """How many cells that changed have no second run, on the old and on the new side."""

    @cached_property
    def counts(self) -> dict[Drift, int]:
        """How many cells there are of each kind of drift, the worst first."""
        counter = Counter(cell.drift for cell in self.cells)
        return {drift: counter[drift] for drift in WORST_FIRST if counter[drift]}

    @property
    def failed(self) -> list[CellDrift]:
        """Return the cells that became wrong or changed beyond rounding, or did not finish."""
        return self.of(*FAILING, Drift.INCOMPLETE)

    def of(self, *drifts: Drift) -> list[CellDrift]:
        """Return the cells of some kinds of drift."""
        return [cell for cell in self.cells if cell.drift in drifts]

    @property
    def bits_changed(self) -> list[CellDrift]:
        """Return the cells in which a bit changed; those whose bits are not comparable are left out."""
        return [cell for cell in self.of(*_WITH_BITS) if any(change.moved for change in cell.changes)]

    def exit_code(self, bits: bool = False) -> int:
        """Return 1 if something became wrong or changed beyond rounding, or with `bits` any bit changed; else 3 if a
        cell did not finish, nothing was compared, or with `bits` bits are not comparable; else 0."""
        if self.of(*FAILING) or (bits and self.bits_changed):
            return 1
        if not self.cells:
            return 3
        return 3 if self.of(Drift.INCOMPLETE) or (bits and self.of(Drift.NOT_COMPARABLE)) else 0


_WITH_BITS = tuple(set(Drift) - {Drift.NOT_REPRODUCIBLE, Drift.NOT_COMPARABLE, Drift.INCOMPLETE})
