"""What the page shows, section by section, as the templates read it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from gradparity.reference.data import MissingLibrary
from gradparity.reference.errors import InputError
from gradparity.reference.evaluation import problem_rows
from gradparity.reference.problem import Problem
from gradparity.reference.scenario import Scenario
from gradparity.reference.verdict import Verdict
from gradparity.reports import heat, story
from gradparity.reports.cell import Cell
from gradparity.reports.html_marks import Mark, explained, mark, slug
from gradparity.reports.network import Network, network
from gradparity.reports.results import Results

PACKAGES = ("tensorflow", "keras", "torch", "jax", "jaxlib", "numpy")


@dataclass(frozen=True)
class Line:
    """One row of the table of formulas, with a mark for each engine (None where it did not run)."""

    quantity: str
    formula: str
    shape: str
    marks: tuple[Mark | None, ...]


@dataclass(frozen=True)
class Block:
    """One scenario in one dtype: its cells in the order of engines, and the rows of each program."""

    dtype: str
    anchor: str
    cells: tuple[Cell, ...]
    programs: tuple[tuple[str, tuple[Line, ...]], ...]


@dataclass(frozen=True)
class Section:
    """One scenario: what it is, as far as that was saved, and its blocks. `facts` are (label, sentence)."""

    name: str
    anchor: str
    description: str
    facts: tuple[tuple[str, str], ...]
    network: Network | None
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Environment:
    """What an engine ran on; `flags` are ``name=value``."""

    versions: str
    device: str
    flags: tuple[str, ...]


@dataclass
class Blame:
    """Cells of one engine that fail alike, the first of them in full."""

    engine: str
    verdict: Verdict
    quantity: str
    formula: str
    cause: str
    cells: list[Cell] = field(default_factory=list)


class View:
    """Anchors and numbers of everything on the page, and its sections."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.engines = {name: index for index, name in enumerate(results.engine_names)}
        self.scenarios = {name: index for index, name in enumerate(results.scenario_names)}
        self.dtypes = {name: index for index, name in enumerate(dict.fromkeys(c.dtype for c in results.cells))}
        self.verdicts = [verdict for verdict in heat.WORST_FIRST if verdict in results.counts()]
        self.anchors = dict(zip(self.scenarios, _distinct(slug(name) for name in self.scenarios), strict=True))
        self.engine_anchors = dict(zip(self.engines, _distinct(slug(name) for name in self.engines), strict=True))

    def anchor(self, cell: Cell) -> str:
        """Return the anchor of a cell."""
        return f"{self.anchors[cell.scenario]}.{slug(cell.dtype)}.{self.engine_anchors[cell.engine]}"

    def target(self, scenario: str, engine: str) -> str:
        """Return where a square of the map leads: to what the page says of the worst cell there."""
        here = [c for c in self.results.cells if (c.scenario, c.engine) == (scenario, engine)]
        return self.place(min(here, key=lambda c: heat.WORST_FIRST.index(c.verdict)))

    def place(self, cell: Cell) -> str:
        """Return the anchor of what the page says of a cell: its card, or else its block."""
        carded = explained(cell) or cell in self.results.unfinished
        return self.anchor(cell) if carded else f"{self.anchors[cell.scenario]}.{slug(cell.dtype)}"

    @cached_property
    def squares(self) -> dict[tuple[str, str], heat.Square]:
        """The squares of the map."""
        return heat.squares(self.results.cells)

    @cached_property
    def blames(self) -> list[Blame]:
        """What is wrong or suspect, grouped by engine and cause."""
        found: dict[tuple[str, ...], Blame] = {}
        for cell in self.results.cells:
            if cell.verdict in (Verdict.WRONG, Verdict.SUSPECT):
                f = story.blamed(cell)
                quantity, formula, cause = (f.quantity, f.formula, story.cause(f)) if f else ("", "", "")
                what = cause or re.sub(r"\d+", "", quantity) or "; ".join(cell.faults)
                key = (cell.engine, cell.verdict, what)
                found.setdefault(key, Blame(cell.engine, cell.verdict, quantity, formula, cause)).cells.append(cell)
        return sorted(found.values(), key=lambda blame: blame.verdict is Verdict.SUSPECT)

    @staticmethod
    def verdicts_in(block: Block) -> str:
        """Return the verdicts of the cells of a block, as the filter reads them."""
        return " ".join(dict.fromkeys(slug(cell.verdict) for cell in block.cells))

    @staticmethod
    def height_of(block: Block) -> int:
        """Return about how high a block is, in rem: what a browser reserves for it before it draws it."""
        rows = sum(len(lines) for _, lines in block.programs)
        return 8 + 2 * rows + 14 * sum(map(explained, block.cells))

    def verdicts_of(self, section: Section) -> str:
        """Return the verdicts of a section likewise."""
        return " ".join(dict.fromkeys(" ".join(map(self.verdicts_in, section.blocks)).split()))

    @cached_property
    def fingerprints(self) -> list[tuple[str, str, str, str]]:
        """Scenario, dtype, and the fingerprints of weights and data."""
        cells = [cell for cell in self.results.cells if cell.data_sha256]
        return list(dict.fromkeys((c.scenario, c.dtype, c.weights_sha256, c.data_sha256) for c in cells))

    def environment(self, engine: str) -> Environment:
        """Return what `engine` ran on; what differs between its cells is given with all its values."""
        merged: dict[str, dict[str, None]] = {}
        for cell in self.results.cells:
            if cell.engine == engine:
                for name, value in cell.environment.items():
                    merged.setdefault(name, {})[value] = None
        flags = {name: " or ".join(values) for name, values in merged.items()}
        device = flags.pop("device", "")
        packages = [f"{name} {flags.pop(name)}" for name in PACKAGES if name in flags]
        return Environment(", ".join(packages), device, tuple(f"{name}={value}" for name, value in flags.items()))

    @cached_property
    def sections(self) -> list[Section]:
        """One section a scenario."""
        return [self._section(name) for name in self.scenarios]

    def _section(self, name: str) -> Section:
        cells = [cell for cell in self.results.cells if cell.scenario == name]
        scenario, problem = _resolved(self.results, name, cells[0].dtype)
        shapes = {row.name: "×".join(map(str, row.shape)) for row in problem_rows(problem)} if problem else {}
        drawing = network(problem.X.shape[0] if problem else None, scenario.layers) if scenario else None
        blocks = [
            self._block(dtype, [cell for cell in cells if cell.dtype == dtype], shapes)
            for dtype in dict.fromkeys(cell.dtype for cell in cells)
        ]
        description = scenario.description if scenario else "The scenario was not saved with these results."
        return Section(name, self.anchors[name], description, _facts(scenario, problem), drawing, tuple(blocks))

    def _block(self, dtype: str, cells: list[Cell], shapes: dict[str, str]) -> Block:
        ordered = sorted(cells, key=lambda cell: self.engines[cell.engine])
        found = [{(f.program, f.quantity): f for f in cell.findings} for cell in ordered]
        names = dict.fromkeys(key for findings in found for key in findings)
        programs = []
        for program in dict.fromkeys(program for program, _ in names):
            lines = []
            for quantity in (quantity for p, quantity in names if p == program):
                here = [findings.get((program, quantity)) for findings in found]
                formula = next(f.formula for f in here if f is not None)
                marks = tuple(
                    mark(f, f is cell.first_wrong) if f is not None else None
                    for f, cell in zip(here, ordered, strict=True)
                )
                lines.append(Line(quantity, formula, shapes.get(quantity, ""), marks))
            programs.append((program, tuple(lines)))
        anchor = f"{self.anchors[cells[0].scenario]}.{slug(dtype)}"
        return Block(dtype, anchor, tuple(ordered), tuple(programs))


def _distinct(slugs: Iterable[str]) -> Iterator[str]:
    seen: dict[str, int] = {}
    for text in slugs:
        seen[text] = seen.get(text, 0) + 1
        yield text if seen[text] == 1 else f"{text}--{seen[text]}"


def _resolved(results: Results, name: str, dtype: str) -> tuple[Scenario | None, Problem | None]:
    """Return a scenario and its arrays, as far as they can be had again: its files may be on another machine."""
    try:
        scenario = results.scenario(name)
    except (InputError, KeyError):
        return None, None
    try:
        return scenario, scenario.problem(dtype)
    except (InputError, MissingLibrary):
        return scenario, None


def _facts(scenario: Scenario | None, problem: Problem | None) -> tuple[tuple[str, str], ...]:
    if scenario is None:
        return ()
    loss = scenario.loss
    facts = [("loss", f"{loss.name}, {loss.samples} over samples, {loss.outputs} over outputs")]
    if problem is not None:
        sizes = {stop - start for start, stop in problem.batches}
        batches = f" in batches of {' and '.join(map(str, sorted(sizes)))}" if sizes != {problem.X.shape[1]} else ""
        facts += [
            ("samples", f"{problem.X.shape[1]}{batches}"),
            ("steps", f"{len(problem.batches)} of SGD, learning rate {problem.learning_rate!r}"),
        ]
    facts.append(("weights", type(scenario.weights).__name__))
    structured = (
        "structured: a suspect quantity only warns" if scenario.structured else "unstructured: a suspect one fails"
    )
    return (*facts, ("data", structured))
