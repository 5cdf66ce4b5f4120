"""What is said of one release in a range, the same everywhere."""

from __future__ import annotations

from gradparity.reports import drift_story
from gradparity.reports.bisect import Found
from gradparity.reports.drift import Comparison, Drift
from gradparity.reports.history import Row
from gradparity.reports.releases import Release
from gradparity.reports.visits import Visit

COLUMNS = ("release", "date", "verdicts", "since the one before", "largest change")
PATH = ("date", "outcome")
QUIET = (Drift.IDENTICAL, Drift.WITHIN, Drift.NOT_REPRODUCIBLE)


def day(release: Release) -> str:
    """Return the date of a release, or nothing where the index does not say."""
    return release.date.date().isoformat() if release.date else ""


def ending(package: str, found: Found) -> str:
    """Return how a search ended, in a sentence or two."""
    if found.first is None or found.last is None:
        ran = sum(visit.snapshot is not None for visit in found.path)
        return f"No release of {package} differs from {found.path[0].release.version}: {ran} were run."
    first, last = found.first.release.version, found.last.release.version
    between = ", ".join(str(visit.release.version) for visit in found.between)
    said = (
        f"{package} {first} differs and {last} does not; between them, {between} cannot be run."
        if between
        else f"{package} {first} is the first that differs; {last} does not."
    )
    again = " The last of the range is as the first again: it differs only for a while."
    return said + again * found.transient


def stop(visit: Visit) -> tuple[str, ...]:
    """Return a release on the path of a search: its version, its date, and what came of visiting it."""
    return str(visit.release.version), day(visit.release), outcome(visit)


def outcome(visit: Visit) -> str:
    """Return what came of visiting a release."""
    if visit.snapshot is None:
        return f"skipped: {visit.lacking}"
    return {None: "ran", True: "changed", False: "as the first"}[visit.changed]


def cells(row: Row) -> tuple[str, ...]:
    """Return the cells of a release's row, in the order of `COLUMNS`."""
    release = row.visit.release
    if row.visit.snapshot is None:
        return (str(release.version), day(release), f"skipped: {row.visit.lacking}", "", "")
    verdicts = ", ".join(f"{n} {verdict}" for verdict, n in row.verdicts.items())
    return (str(release.version), day(release), verdicts, since(row.change), largest(row.change))


def since(change: Comparison | None) -> str:
    """Return the kinds of drift, counted, the worst first."""
    if change is None:
        return ""
    loud = [f"{n} {drift}" for drift, n in change.counts.items() if drift not in QUIET]
    rounding = change.counts.get(Drift.WITHIN, 0)
    rest = f"{rounding} within the bound" if rounding else "no bit" if not loud else ""
    return ", ".join([*loud, *([rest] if rest else [])])


def largest(change: Comparison | None) -> str:
    """Return the largest change of the worst kind of drift: the cell, the quantity, and by how much."""
    moved = [(cell, c, c.moved) for cell in change.cells for c in cell.changes if c.moved] if change else []
    if not moved:
        return ""
    order = list(Drift)
    cell, c, by = min(moved, key=lambda found: (order.index(found[1].drift), -(found[2].ulp or 0.0)))
    ulp = f", {drift_story.figure(by.ulp)} ULP" if by.ulp is not None else ""
    return f"{c.quantity}, {drift_story.place(cell)}{ulp}"
