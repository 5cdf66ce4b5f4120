"""``gradparity explain``: one quantity of one saved cell, worked through."""

from __future__ import annotations

from pathlib import Path

from gradparity.reference.data import MissingLibrary
from gradparity.reference.errors import InputError, nearest
from gradparity.reference.problem import Problem
from gradparity.reference.verdict import Finding
from gradparity.reports import explain, heat, story
from gradparity.reports.cell import Cell
from gradparity.reports.output import draw
from gradparity.reports.results import Results
from gradparity.reports.screen import Screen
from gradparity.reports.store import load


def explain_command(path: Path, scenario: str, engine: str, quantity: str, dtype: str | None) -> None:
    """Explain `quantity` in the worst cell of `scenario` on `engine`. Raises `InputError` where there is none."""
    results = load(path)
    cell, finding = chosen(cells_of(results, scenario, engine, dtype), quantity)
    problem, missing = _problem(results, cell)
    try:
        sections = list(explain.lines(finding, cell.dtype, problem))
    except (KeyError, IndexError):
        sections = list(explain.lines(finding, cell.dtype, None))
        missing = "it is not the scenario that was run: another version, or another file of that name"

    def paint(screen: Screen) -> None:
        screen.line(f"{story.place(cell)}: {quantity} of the {finding.program} program is {finding.verdict}", "bold")
        for heading, items in sections:
            if heading:
                screen.heading(heading)
            for label, sentence in items:
                screen.item(label, sentence, width=11 if label else 2)
        if missing:
            screen.heading("no numbers")
            screen.line(f"The scenario cannot be computed again: {missing}.")

    draw(paint)


def cells_of(results: Results, scenario: str, engine: str, dtype: str | None) -> list[Cell]:
    """Return the cells of `scenario` on `engine`, the worst first. Raises `InputError` where there is none."""
    cells = [c for c in results.cells if (c.scenario, c.engine) == (scenario, engine) and dtype in (None, c.dtype)]
    if not cells:
        hint = nearest(scenario, results.scenario_names) if scenario not in results.scenario_names else ""
        hint = hint or (nearest(engine, results.engine_names) if engine not in results.engine_names else "")
        raise InputError(f"these results have no cell of {scenario} on {engine}{f' in {dtype}' if dtype else ''}{hint}")
    return sorted(cells, key=lambda c: heat.WORST_FIRST.index(c.verdict))


def chosen(cells: list[Cell], quantity: str) -> tuple[Cell, Finding]:
    """Return the worst finding on `quantity`, and its cell. Raises `InputError` where there is none."""
    found = [(cell, f) for cell in cells for f in cell.findings if f.quantity == quantity]
    if not found:
        known = list(dict.fromkeys(f.quantity for cell in cells for f in cell.findings))
        message = cells[0].message or str(cells[0].verdict)
        there = f"there are {', '.join(known)}" if known else f"the cell has none: {message}"
        raise InputError(f"no quantity '{quantity}' in {story.place(cells[0])}{nearest(quantity, known)}; {there}")

    def badness(pair: tuple[Cell, Finding]) -> tuple[int, float]:
        return heat.WORST_FIRST.index(pair[1].verdict), -(pair[1].worst.ratio if pair[1].worst else 0.0)

    return min(found, key=badness)


def _problem(results: Results, cell: Cell) -> tuple[Problem | None, str]:
    """Return the cell's problem, or why it cannot be had again."""
    try:
        problem = results.scenario(cell.scenario).problem(cell.dtype)
    except (InputError, MissingLibrary) as reason:
        return None, str(reason)
    if cell.data_sha256 and (problem.weights_sha256, problem.data_sha256) != (cell.weights_sha256, cell.data_sha256):
        return None, "its weights or data are not those that were run"
    return problem, ""
