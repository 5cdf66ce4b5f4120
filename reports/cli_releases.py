"""``gradparity bisect`` and ``gradparity history``: the releases of one package."""

from __future__ import annotations

from pathlib import Path

from gradparity.reference.errors import InputError
from gradparity.reports import drift_terminal, range_files, range_terminal
from gradparity.reports.bisect import Criterion, Found, bisect
from gradparity.reports.cli_upgrade import outcomes, workshop
from gradparity.reports.history import history
from gradparity.reports.output import check_writable, draw, write_to
from gradparity.reports.releases import Release, between
from gradparity.reports.screen import Screen
from gradparity.reports.visits import Visits
from gradparity.reports.wanted import spelled
from gradparity.reports.workshop import Workshop


def _releases(package: str, first: str, last: str, shop: Workshop) -> list[Release]:
    with shop.steps.step(f"looking up the releases of {package}"):
        return between(spelled(package), first, last, shop.interpreter().version)


def bisect_command(
    package: str, good: str, bad: str, bits: bool, quantity: str, form: str, output: Path | None, **options: object
) -> int:
    """Search and report; return the exit code. Raises `InputError` for bad input."""
    check_writable(output)
    with outcomes(), workshop(**options) as shop:  # type: ignore[arg-type]
        releases = _releases(package, good, bad, shop)
        with Visits(spelled(package), releases, shop) as visits:
            found = bisect(visits, Criterion(bits, quantity), lambda visit: shop.steps.say(range_terminal.said(visit)))
    if form != "terminal":
        write_to(output, range_files.SEARCH_FORMS[form](package, found))
    elif output is not None:
        write_to(output, range_terminal.rendered(lambda screen: _show(package, found, screen, bits)))
    else:
        draw(lambda screen: _show(package, found, screen, bits))
    return 0


def _show(package: str, found: Found, screen: Screen, bits: bool) -> None:
    range_terminal.show_search(package, found, screen)
    if found.change is not None:
        drift_terminal.show(found.change, screen, bits)


def history_command(package: str, range_: str, bits: bool, form: str, output: Path | None, **options: object) -> int:
    """Visit every release and show the table; return the exit code. Raises `InputError` for bad input."""
    first, dots, last = range_.partition("..")
    if not (first and dots and last) or last.startswith("."):
        raise InputError(f"{range_!r} is no range of releases: write it as 3.5.0..3.15.1")
    check_writable(output)
    with outcomes(), workshop(**options) as shop:  # type: ignore[arg-type]
        releases = _releases(package, first, last, shop)
        with Visits(spelled(package), releases, shop) as visits:
            rows = history(visits, lambda row: shop.steps.say(range_terminal.said(row.visit)))
    if form != "terminal":
        write_to(output, range_files.FORMS[form](package, rows))
    elif output is not None:
        write_to(output, range_terminal.rendered(lambda screen: range_terminal.show_history(package, rows, screen)))
    else:
        draw(lambda screen: range_terminal.show_history(package, rows, screen))
    return range_files.exit_code(rows, bits)
