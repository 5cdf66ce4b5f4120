"""The first of a range of releases that computes something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from gradparity.reference.errors import InputError, nearest
from gradparity.reference.verdict import Verdict
from gradparity.reports.drift import CellDrift, Change, Comparison, Drift
from gradparity.reports.snapshot import Snapshot
from gradparity.reports.visits import Visit, Visits

CHANGED = (Drift.BECAME_WRONG, Drift.BEYOND, Drift.REPAIRED, Drift.CONVENTION)
INCOMPARABLE = (Drift.NOT_REPRODUCIBLE, Drift.NOT_COMPARABLE)


@dataclass(frozen=True)
class Criterion:
    """What counts as a change: of a verdict, or beyond rounding; with `bits` of any bit. `quantity` narrows it."""

    bits: bool = False
    quantity: str = ""

    def check(self, snapshot: Snapshot) -> None:
        """Raise `InputError` where nothing in `snapshot` is called `quantity`."""
        known = sorted({entry.quantity for entry in snapshot.entries()})
        if self.quantity and self.quantity not in known:
            raise InputError(
                f"no quantity is called {self.quantity!r}{nearest(self.quantity, known)}; there are: {', '.join(known)}"
            )

    def narrowed(self, comparison: Comparison) -> Comparison:
        """Return what counts of a comparison: its cells with only those changes."""
        return replace(comparison, cells=tuple(self._cells(comparison)))

    def _cells(self, comparison: Comparison) -> Iterator[CellDrift]:
        for cell in comparison.cells:
            changes = tuple(change for change in cell.changes if self._counts(cell, change))
            crashed = cell.verdicts[1] == Verdict.CRASHED != cell.verdicts[0]
            fault = cell.drift in CHANGED and not cell.changes
            if changes or ((crashed or fault) and not self.quantity):
                first = next((c for c in changes if c.moved), None)
                yield replace(cell, changes=changes, first=first or cell.first)

    def _counts(self, cell: CellDrift, change: Change) -> bool:
        if self.quantity and change.quantity != self.quantity:
            return False
        return change.drift in CHANGED or (self.bits and bool(change.moved) and cell.drift not in INCOMPARABLE)


@dataclass(frozen=True)
class Found:
    """How a search ended. `last` is the last release that is as the first one, and `change` what the next one that can
    be run, `first`, does otherwise; both are None where no release does. `between` could not be run."""

    path: tuple[Visit, ...]
    last: Visit | None = None
    first: Visit | None = None
    change: Comparison | None = None
    between: tuple[Visit, ...] = ()
    transient: bool = False
    """Whether the ends of the range agree, and it is a release between them that differs."""


def bisect(visits: Visits, criterion: Criterion, said: Callable[[Visit], object] = lambda _: None) -> Found:
    """Search the releases of `visits`, the first of which is how it was; `said` is told of each as it is visited.

    Raises `Unbuildable` where one of the ends cannot be run, or the network or the disk is to blame for another.
    """
    path: list[Visit] = []
    seen: dict[int, Visit] = {}

    def visit(index: int) -> Visit:
        if index not in seen:
            found = visits.visit(index, ends=index in (0, len(visits) - 1))
            if index and (against := visits.compare(origin, found)):
                found = replace(found, changed=bool(criterion.narrowed(against).cells))
            seen[index] = found
            path.append(found)
            said(found)
        return seen[index]

    origin = visit(0)
    assert origin.snapshot
    criterion.check(origin.snapshot)
    low, high, transient = search(len(visits), lambda index: visit(index).changed if index else False)
    if high is None:
        return Found(tuple(path))
    last, first = seen[low], seen[high]
    change = visits.compare(last, first)
    between = tuple(seen[i] for i in range(low + 1, high))
    return Found(tuple(path), last, first, change and criterion.narrowed(change), between, transient)


def search(count: int, changed: Callable[[int], bool | None]) -> tuple[int, int | None, bool]:
    """Return the places, of `count`, of the last that has not changed and of the first after it that has, and whether
    the last of all has not; None where nothing has.

    ``changed(place)`` is asked as seldom as can be; None means that it cannot be told there. Place 0 has not changed.
    """
    low, high, skipped, transient = 0, count - 1, set[int](), False
    if not changed(high):
        transient = True
        same = {0, high}
        for place in halving(count):
            answer = changed(place)
            if answer:
                low, high = max(p for p in same if p < place), place
                break
            (skipped if answer is None else same).add(place)
        else:
            return low, None, True
    while left := [p for p in range(low + 1, high) if p not in skipped]:
        place = min(left, key=lambda p: abs(2 * p - low - high))
        answer = changed(place)
        if answer is None:
            skipped.add(place)
        elif answer:
            high = place
        else:
            low = place
    return low, high, transient


def halving(count: int) -> Iterator[int]:
    """Yield the places between the first and the last of `count`, each in the middle of what is widest open."""
    gaps = [(0, count - 1)]
    while gaps:
        gaps.sort(key=lambda gap: gap[0] - gap[1])
        low, high = gaps.pop(0)
        if high - low > 1:
            middle = (low + high) // 2
            yield middle
            gaps += [(low, middle), (middle, high)]
