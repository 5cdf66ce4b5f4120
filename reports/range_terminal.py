"""A search among releases, and a range of them, in a terminal."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from gradparity.reports.bisect import Found
from gradparity.reports.history import Row
from gradparity.reports.range_story import COLUMNS, PATH, cells, day, ending, outcome, stop
from gradparity.reports.screen import Screen
from gradparity.reports.visits import Visit


def said(visit: Visit) -> str:
    """Return the line that is printed when a release has been visited."""
    return f"{visit.release.version} {day(visit.release)}: {outcome(visit)}"


def show_search(package: str, found: Found, screen: Screen) -> None:
    """Print how a search ended, and the path that it took, in its order."""
    screen.line(ending(package, found), "green" if found.first is None else "bold")
    _put(screen, (package, *PATH), [stop(visit) for visit in found.path])
    screen.line()


def show_history(package: str, rows: Sequence[Row], screen: Screen) -> None:
    """Print the table."""
    _put(screen, (package, *COLUMNS[1:]), [cells(row) for row in rows])


def rendered(show: Callable[[Screen], object], width: int = 120) -> str:
    """Return what `show` prints, as plain text."""
    console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        show(Screen(console))
    return captured.get()


def _put(screen: Screen, columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(screen.text(column), overflow="fold")
    for line in lines:
        table.add_row(*map(screen.text, line))
    screen.put(table)
