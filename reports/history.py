"""A range of releases, each against the one before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from gradparity.reports.drift import Comparison
from gradparity.reports.visits import Visit, Visits


@dataclass(frozen=True)
class Row:
    """One release: what its cells are judged, and what changed since the last one before it that could be run."""

    visit: Visit
    change: Comparison | None = None

    @property
    def verdicts(self) -> dict[str, int]:
        """How many cells have each verdict; empty for a release that was skipped."""
        cells = self.visit.snapshot.cells if self.visit.snapshot else ()
        return dict(Counter(cell.verdict or "not judged" for cell in cells).most_common())


def history(visits: Visits, said: Callable[[Row], object] = lambda _: None) -> list[Row]:
    """Visit every release, the next one being built while one runs; `said` is told of each.

    Raises `Unbuildable` where the network or the disk is to blame.
    """
    rows: list[Row] = []
    last: Visit | None = None
    for index in range(len(visits)):
        visit = visits.visit(index, next_too=True)
        change = visits.compare(last, visit) if last else None
        rows.append(Row(visit, change))
        said(rows[-1])
        last = visit if visit.snapshot else last
    return rows
