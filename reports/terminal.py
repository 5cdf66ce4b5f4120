"""The report in a terminal: verdict, what is listed, the heat table, and the first wrong row of whatever is wrong."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import groupby

from rich.cells import set_cell_size
from rich.console import Console
from rich.text import Text

from gradparity.reference.verdict import Verdict
from gradparity.reports import heat, story
from gradparity.reports.cell import Cell
from gradparity.reports.heat import Square
from gradparity.reports.results import Results
from gradparity.reports.screen import Screen

STYLES = {
    Verdict.WITHIN: "green",
    Verdict.SUSPECT: "bold magenta",
    Verdict.WRONG: "bold white on red",
    Verdict.DECLARED: "cyan",
    Verdict.KNOWN: "bold cyan",
    Verdict.NOT_GIVEN: "dim",
    Verdict.UNSUPPORTED: "dim",
    Verdict.CRASHED: "bold red",
    Verdict.TIMED_OUT: "bold red",
}
SYMBOLS = {
    Verdict.SUSPECT: "?",
    Verdict.WRONG: "XX",
    Verdict.DECLARED: "d",
    Verdict.KNOWN: "k",
    Verdict.NOT_GIVEN: ".",
    Verdict.UNSUPPORTED: "-",
    Verdict.CRASHED: "!!",
    Verdict.TIMED_OUT: "T",
}
COLUMN, FRAMEWORK, NAME = 4, 12, 24
"""Widths: of an engine's column, and at most of a framework's head and of a scenario's name."""
EXPLAINED = 12
"""How many wrong cells are explained; the others are named."""


def render(results: Results, width: int = 80, unicode: bool = True) -> str:
    """Return the report as plain text."""
    console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        show(results, Screen(console, unicode))
    return captured.get()


def show(results: Results, screen: Screen) -> None:
    """Print the report."""
    screen.line(story.headline(results), STYLES[results.verdict])
    screen.line(story.counts(results))
    screen.line(story.environment(results), "dim")
    for sentence in results.lost:
        screen.item("lost", sentence, "bold red")
    _listed(results, screen)
    for engine, reason in results.skipped.items():
        screen.item("skipped", f"{engine}: {reason}", "dim")
    if results.cells:
        screen.heading("error / bound")
        for line in heat_table(results, screen):
            screen.put(line)
    _wrong(results, screen)
    _ended_early(results, screen)
    _differences(results, screen)


def _listed(results: Results, screen: Screen) -> None:
    for entry in story.listed(results):
        screen.item(str(entry.kind), entry.reason, STYLES[entry.kind])
        places = [f"{place} ({', '.join(names)})" for place, names in entry.places.items()]
        more = f" and {len(places) - 4} more" if len(places) > 4 else ""
        screen.item("", ", ".join(places[:4]) + more)


def heat_table(results: Results, screen: Screen) -> Iterator[Text]:
    """Yield the lines of the map scenario × engine, in blocks of columns that fit the width."""
    squares = heat.squares(results.cells)
    longest = max(len(screen.say(name)) for name in results.scenario_names)
    name_width = min(longest, NAME) + 1
    for block in _blocks(results.engine_names, screen.console.width - name_width):
        yield from _heads(block, name_width, screen)
        for scenario in results.scenario_names:
            line = Text(set_cell_size(screen.say(scenario), name_width - 1) + " ")
            for engines, width in block:
                column = _column(engines)
                for engine in engines:
                    line += _square(squares.get((scenario, engine)))
                    line.append(" " * (column - COLUMN))
                line.append(" " * (width - column * len(engines)))
            yield line
    present = {square.verdict for square in squares.values()}
    symbols = [f"{symbol} {verdict}" for verdict, symbol in SYMBOLS.items() if verdict in present]
    legend = screen.text("; ".join([f"numbers: {heat.SCALE}", *symbols]), "dim")
    yield from legend.wrap(screen.console, screen.console.width)


Block = list[tuple[list[str], int]]
"""Engines of one framework, and the width of their columns; side by side."""


def _blocks(engines: list[str], room: int) -> Iterator[Block]:
    block: Block = []
    for framework, names in groupby(engines, key=_framework):
        rest = list(names)
        while rest:
            most = max(1, room // _column(rest))
            group, rest = rest[:most], rest[most:]
            width = max(_column(group) * len(group), min(len(framework), FRAMEWORK) + 1)
            if block and sum(w for _, w in block) + width > room:
                yield block
                block = []
            block.append((group, width))
    if block:
        yield block


def _column(engines: list[str]) -> int:
    """Return the width of a column of these: names of variants are known by their beginning, those of functions not."""
    functions = [engine.rpartition(":")[2] for engine in engines if ".py:" in engine]
    return max([COLUMN, *(min(len(name), FRAMEWORK) + 1 for name in functions)])


def _framework(engine: str) -> str:
    return engine.rpartition(":")[0].replace("\\", "/").rpartition("/")[2] or engine


def _heads(block: Block, name_width: int, screen: Screen) -> Iterator[Text]:
    frameworks, variants = Text(" " * name_width), Text(" " * name_width)
    for engines, width in block:
        column = _column(engines)
        frameworks += Text(set_cell_size(screen.say(_framework(engines[0])), width - 1) + " ", style="bold")
        heads = [
            set_cell_size(screen.say(engine.rpartition(":")[2]) if ":" in engine else "", column - 1)
            for engine in engines
        ]
        variants += Text(set_cell_size(" ".join(heads), width), style="bold")
    yield frameworks
    if variants.plain.strip():
        yield variants


def _square(square: Square | None) -> Text:
    if square is None:
        return Text(" " * COLUMN)
    ratio = square.ratio or 0.0
    shown = SYMBOLS.get(square.verdict) or heat.short(ratio)
    close = square.verdict is Verdict.WITHIN and ratio >= 0.5
    return Text(f"{shown:<{COLUMN - 1}}", style="yellow" if close else STYLES[square.verdict]) + Text(" ")


def _wrong(results: Results, screen: Screen) -> None:
    """Explain the first wrong cell of each engine on each scenario; the other dtypes are named beside it."""
    shown: dict[tuple[str, str], list[Cell]] = {}
    for cell in results.cells:
        if cell.verdict in (Verdict.WRONG, Verdict.SUSPECT):
            shown.setdefault((cell.scenario, cell.engine), []).append(cell)
    groups = sorted(shown.values(), key=lambda group: group[0].verdict is Verdict.SUSPECT)
    for cells in groups[:EXPLAINED]:
        also = f" (and {', '.join(c.dtype for c in cells[1:])})" if cells[1:] else ""
        screen.heading(f"{story.place(cells[0])}{also}: {cells[0].verdict}")
        for label, sentence in story.explain(cells[0]):
            screen.item(label, sentence)
    if groups[EXPLAINED:]:
        screen.heading("and")
        for cells in groups[EXPLAINED:]:
            screen.line(f"{story.place(cells[0])}: {cells[0].verdict}")


def _ended_early(results: Results, screen: Screen) -> None:
    for cell in results.unfinished:
        screen.heading(f"{story.place(cell)}: {cell.verdict}")
        screen.item("", cell.message)
        for line in cell.log.splitlines()[-6:]:
            screen.item("  |", line, width=4)
    for reason, places in story.unsupported(results).items():
        more = f" and {len(places) - 3} more" if len(places) > 3 else ""
        screen.heading(f"unsupported: {', '.join(places[:3])}{more}")
        screen.item("", reason)


def _differences(results: Results, screen: Screen) -> None:
    found = story.differences(results)
    if not found:
        return
    screen.heading("largest difference from the reference's gradient at the initial weights")
    width = min(max(len(engine) for engine, _ in found) + 2, 30)
    for engine in results.engine_names:
        ours = [(dtype, difference) for (name, dtype), difference in found.items() if name == engine]
        shown = [f"{dtype} {d.value:.1e} ({d.quantity} in {d.scenario})" for dtype, d in ours]
        if shown:
            screen.item(engine, ", ".join(shown), width=width)
