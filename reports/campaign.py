"""A campaign: random scenarios on many engines, every one judged, what fails made small.

It proves that correct engines are never called wrong, on data that nobody tuned anything to; and what it does find is
handed over as a scenario and as a script that stands alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gradparity.adapters.pool import Pool
from gradparity.adapters.registry import BUILT_IN
from gradparity.reference.scenario import Scenario
from gradparity.reference.verdict import Verdict
from gradparity.reports.campaign_draw import DRAWING, TOGETHER, Drawn, drawn
from gradparity.reports.campaign_lines import Header, Journal, Line, line
from gradparity.reports.campaign_shrink import shrunk
from gradparity.reports.cell import FAILING, Cell
from gradparity.reports.plan import EngineLike, Plan, plan
from gradparity.reports.verify import execute

SHAPES = 4
"""The scenarios of so many shapes are drawn, run and forgotten at a time."""

BATCHES = 4
"""After so many times the engines' processes begin anew: what they compiled they keep, eager JAX 100 MB a shape."""

OnCell = Callable[[Cell], object]


@dataclass(frozen=True)
class Failure:
    """A failing cell made small: `scenario` is the smallest that fails in the same way. `cell` is what came of it; None
    where it did not fail again."""

    line: Line
    scenario: Scenario
    cell: Cell | None


class Campaign:
    """`count` scenarios of `seed` on `engines`, `together` of one shape each; finished cells are kept in `directory`,
    from which it resumes.

    Raises `InputError` for bad input before anything runs.
    """

    def __init__(
        self,
        count: int,
        seed: int,
        engines: Sequence[EngineLike] | None,
        directory: Path,
        *,
        together: int = TOGETHER,
        resume: bool = False,
        timeout: float = 300.0,
        jobs: int | None = None,
    ) -> None:
        self.count, self.seed, self.engines, self.directory = count, seed, engines, directory
        self.together, self.timeout, self.jobs = together, timeout, jobs
        chosen = self._plan([self._drawn(0)])
        self.names = tuple(engine for _, engine in chosen.cells)
        self.journal = Journal(directory, Header(DRAWING, seed, together), resume)

    @property
    def lines(self) -> list[Line]:
        """Return every finished cell, those of earlier sessions included."""
        return self.journal.lines

    @property
    def left(self) -> int:
        """Return how many cells are still to be run."""
        wanted = {(index, engine) for index in range(self.count) for engine in self.names}
        return len(wanted - self._done())

    def run(self, on_cell: OnCell) -> list[Failure]:
        """Run what is left; return the failures, each kind once, made small."""
        failures: list[Failure] = []
        batch = SHAPES * self.together
        starts = range(0, self.count, batch)
        for first in range(0, len(starts), BATCHES):
            with Pool(timeout=self.timeout, jobs=self.jobs) as pool:
                for start in starts[first : first + BATCHES]:
                    self._run_batch(pool, range(start, min(start + batch, self.count)), on_cell)
                    failures += self._made_small(pool)
        return failures

    def _drawn(self, index: int) -> Drawn:
        return drawn(self.seed, index, self.together)

    def _done(self) -> set[tuple[int, str]]:
        return {(line.index, line.engine) for line in self.lines}

    def _plan(self, batch: Iterable[Drawn]) -> Plan:
        return plan([d.scenario for d in batch], self.engines)

    def _run_batch(self, pool: Pool, indices: range, on_cell: OnCell) -> None:
        done = self._done()
        left = {i for i in indices for engine in self.names if (i, engine) not in done}
        if not left:
            return
        batch = {d.scenario.name: (i, d) for i in sorted(left) for d in [self._drawn(i)]}
        chosen = self._plan(d for _, d in batch.values())
        problems = {subject.scenario.name: subject.problem for subject in chosen.subjects}
        cells = tuple((s, e) for s, e in chosen.cells if (batch[s.scenario.name][0], e) not in done)

        def keep(cell: Cell) -> None:
            index, d = batch[cell.scenario]
            self.journal.add(line(d, index, cell, problems[cell.scenario]))
            on_cell(cell)

        execute(replace(chosen, cells=cells), keep, timeout=self.timeout, pool=pool)

    def _made_small(self, pool: Pool) -> Iterator[Failure]:
        first: dict[str, Line] = {}
        for failing in self.lines:
            if failing.verdict in FAILING:
                first.setdefault(failing.signature, failing)
        for signature, failing in first.items():
            file = self.directory / "failures" / re.sub(r"[^\w.]+", "-", signature).strip("-")
            if not file.with_name(f"{file.name}.toml").exists():
                yield self._shrink(pool, failing, file)

    def _shrink(self, pool: Pool, failing: Line, file: Path) -> Failure:
        """Write the failing scenario, the smallest that fails in the same way, and its script beside `file`."""
        functions = {getattr(e, "__name__", ""): e for e in self.engines or () if not isinstance(e, str)}
        engine = functions.get(failing.engine, failing.engine)
        found: list[Cell] = []

        def fails(scenario: Scenario) -> bool:
            cells: list[Cell] = []
            chosen = plan([scenario], [engine])
            execute(chosen, cells.append, timeout=self.timeout, pool=pool)
            again = line(Drawn(scenario, "", "", ""), 0, cells[0], chosen.subjects[0].problem)
            same = again.verdict is failing.verdict and again.wrong[:1] == failing.wrong[:1]
            found.extend(cells if same else ())
            return same

        small = whole = self._drawn(failing.index).scenario
        # What timed out would be waited for again and again.
        if failing.verdict is not Verdict.TIMED_OUT and fails(whole):
            small = shrunk(whole, failing.dtype, fails)
        cell = found[-1] if found else None
        file.parent.mkdir(exist_ok=True)
        _write(file.with_name(f"{file.name}.drawn.toml"), whole.to_toml())
        if cell and (finding := cell.first_wrong) and failing.engine in {e.name for e in BUILT_IN}:
            from gradparity.reports.repro import script

            text = script(small, failing.dtype, failing.engine, finding, failing.versions)
            _write(file.with_name(f"{file.name}.py"), text)
        # Last, for its being there says that the others are.
        _write(file.with_name(f"{file.name}.toml"), small.to_toml())
        return Failure(failing, small, cell)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
