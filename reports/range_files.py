"""A range of releases as Markdown and as JSON, and what its exit code is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gradparity.reports.codec import dumps
from gradparity.reports.drift import FAILING, Drift
from gradparity.reports.history import Row
from gradparity.reports.markdown import escape
from gradparity.reports.range_story import COLUMNS, cells

SCHEMA = 1
"""The version of the JSON. It grows when a field changes its meaning or goes, not when one is added."""


def as_markdown(package: str, rows: Sequence[Row]) -> str:
    """Return one table."""
    lines = [(package, *COLUMNS[1:]), ("---",) * len(COLUMNS), *(tuple(map(escape, cells(row))) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def as_json(package: str, rows: Sequence[Row]) -> str:
    """Return everything but the arrays: verdicts of each release, and the kinds of drift since the one before."""
    return (
        dumps(
            {
                "gradparity_history": SCHEMA,
                "package": package,
                "releases": [
                    {
                        "version": str(row.visit.release.version),
                        "date": row.visit.release.date.isoformat() if row.visit.release.date else None,
                        "skipped": row.visit.lacking,
                        "verdicts": row.verdicts,
                        "drift": _counts(row),
                        "bits_changed": len(row.change.bits_changed) if row.change else 0,
                    }
                    for row in rows
                ],
            }
        )
        + "\n"
    )


FORMS: Mapping[str, Callable[[str, Sequence[Row]], str]] = {"markdown": as_markdown, "json": as_json}


def exit_code(rows: Sequence[Row], bits: bool = False) -> int:
    """Return 1 if in one of the releases something became wrong or changed beyond rounding, or with `bits` any bit
    changed; else 3 if none of them could be run or a cell did not finish; else 0."""
    changes = [row.change for row in rows if row.change]
    if any(change.of(*FAILING) or (bits and change.bits_changed) for change in changes):
        return 1
    ran = any(row.visit.snapshot for row in rows)
    return 0 if ran and not any(change.of(Drift.INCOMPLETE) for change in changes) else 3


def _counts(row: Row) -> dict[str, int]:
    return {str(drift): n for drift, n in row.change.counts.items()} if row.change else {}
