"""A comparison of two snapshots in a terminal: outcome, the two sides, then cell by cell and engine by engine."""

from __future__ import annotations

import io

from rich.console import Console

from gradparity.reports import drift_story as story
from gradparity.reports.drift import FAILING, Comparison, Drift
from gradparity.reports.screen import Screen

STYLES = {
    Drift.BECAME_WRONG: "bold white on red",
    Drift.BEYOND: "bold white on red",
    Drift.INCOMPLETE: "bold red",
    Drift.STILL_WRONG: "bold magenta",
    Drift.REPAIRED: "bold green",
    Drift.FINER: "yellow",
    Drift.CONVENTION: "cyan",
}
EXPLAINED = 6
"""How many groups of cells are explained of each kind of drift; the others are named."""
LOG_LINES = 6


def render(comparison: Comparison, bits: bool = False, width: int = 80, unicode: bool = True) -> str:
    """Return the report as plain text."""
    console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        show(comparison, Screen(console, unicode), bits)
    return captured.get()


def show(comparison: Comparison, screen: Screen, bits: bool = False) -> None:
    """Print the report."""
    code = comparison.exit_code(bits)
    screen.line(story.headline(comparison, bits), "bold white on red" if code == 1 else "bold red" if code else "green")
    screen.line(story.counts(comparison))
    for label, sentence in story.sides(comparison):
        screen.item(label, sentence, "bold" if label == "machine" else "")
    for drift in story.LOUD:
        _kind(comparison, drift, screen)
    _rounding(comparison, screen)
    if bits and comparison.bits_changed and not comparison.of(*FAILING):
        screen.heading("bits changed")
        screen.line(story.listed(comparison.bits_changed, 24))


def _kind(comparison: Comparison, drift: Drift, screen: Screen) -> None:
    found = story.groups(comparison, drift)
    quiet = drift in (Drift.APPEARED, Drift.VANISHED)
    for group in found[: 0 if quiet else EXPLAINED]:
        screen.heading(f"{drift}: {group.title}")
        cell = group.cells[0]
        for label, sentence in story.explain(cell):
            screen.item(label, sentence)
        if group.cells[1:]:
            screen.item("alike", story.listed(list(group.cells[1:]), 12))
        if drift is Drift.INCOMPLETE:
            for log in cell.logs:
                for line in log.splitlines()[-LOG_LINES:]:
                    screen.item("  |", line, width=4)
    rest = found[0 if quiet else EXPLAINED :]
    if rest:
        screen.heading(str(drift) if quiet else f"{drift}, as well")
        screen.line(story.listed([cell for group in rest for cell in group.cells], 24))


def _rounding(comparison: Comparison, screen: Screen) -> None:
    found = [r for r in story.roundings(comparison) if r.cells]
    if found:
        screen.heading(story.quiet_heading(comparison))
    for rounding in found:
        width = min(max(len(r.engine) for r in found) + 2, 30)
        screen.item(rounding.engine, story.rounding(rounding), width=width)
