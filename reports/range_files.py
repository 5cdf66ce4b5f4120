"""A range of releases, and a search in it, as Markdown and as JSON; and the exit code of a range."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from gradparity.reports import drift_files
from gradparity.reports.bisect import Found
from gradparity.reports.codec import dumps
from gradparity.reports.drift import FAILING, Drift
from gradparity.reports.history import Row
from gradparity.reports.markdown import escape
from gradparity.reports.range_story import COLUMNS, PATH, cells, ending, outcome, stop
from gradparity.reports.visits import Visit

SCHEMA = 1
"""The version of the JSON. It grows when a field changes its meaning or goes, not when one is added."""


def as_markdown(package: str, rows: Sequence[Row]) -> str:
    """Return one table."""
    return _table((package, *COLUMNS[1:]), map(cells, rows))


def as_json(package: str, rows: Sequence[Row]) -> str:
    """Return everything but the arrays: verdicts of each release, and the kinds of drift since the one before."""
    return (
        dumps(
            {
                "gradparity_history": SCHEMA,
                "package": package,
                "releases": [
                    {
                        **_release(row.visit),
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


def search_as_markdown(package: str, found: Found) -> str:
    """Return how the search ended, its path, and what changed."""
    change = f"\n{drift_files.as_markdown(found.change)}" if found.change else ""
    return f"{ending(package, found)}\n\n{_table((package, *PATH), map(stop, found.path))}{change}"


def search_as_json(package: str, found: Found) -> str:
    """Return how the search ended, its path, and what changed but for the arrays."""
    first, last = (str(visit.release.version) if visit else None for visit in (found.first, found.last))
    about = {
        "gradparity_bisect": SCHEMA,
        "package": package,
        "first": first,
        "last": last,
        "between": [str(visit.release.version) for visit in found.between],
        "transient": found.transient,
        "path": [{**_release(v), "outcome": outcome(v)} for v in found.path],
        "change": [
            {"subject": c.subject, "dtype": c.dtype, "engine": c.engine, "drift": c.drift,
             "quantity": c.blamed.quantity if c.blamed else None}
            for c in (found.change.cells if found.change else ())
        ],
    }  # fmt: skip
    return dumps(about) + "\n"


SEARCH_FORMS: Mapping[str, Callable[[str, Found], str]] = {"markdown": search_as_markdown, "json": search_as_json}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (head, ("---",) * len(head), *(map(escape, row) for row in rows))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _release(visit: Visit) -> dict[str, str | None]:
    date = visit.release.date
    return {"version": str(visit.release.version), "date": date.isoformat() if date else None}


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
