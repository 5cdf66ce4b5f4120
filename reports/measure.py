"""What an environment computes, kept: the same lock, the same cells and the same gradparity are run once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from gradparity.adapters.pool import Pool, cores
from gradparity.adapters.process import may_pass
from gradparity.adapters.registry import find
from gradparity.reference.errors import InputError
from gradparity.reference.verdict import Verdict
from gradparity.reports.cache import digest, folder, locked, own_digest
from gradparity.reports.comparison import once
from gradparity.reports.environments import Environment
from gradparity.reports.operation_cells import Jobs, OperationRun
from gradparity.reports.recording import record, repeated
from gradparity.reports.running import Subject
from gradparity.reports.selection import Selection
from gradparity.reports.side import variables
from gradparity.reports.snapshot import PROBE, SCENARIO, CellKey, CellRecord, Snapshot
from gradparity.reports.steps import Step

Counting = Callable[[int], Step]
"""From a number of runs to the step that shows them."""


class Measurement:
    """What is chosen by `selection`, on `engines` in `environment`. `timeout` is in seconds a cell, `jobs` how many
    families run side by side, `sharing` how many measurements share the machine. `opened` is called with what ends it.

    Raises `InputError` where nothing that was chosen runs on them.
    """

    snapshot: Snapshot
    """What came of it, once it has been run."""

    def __init__(
        self,
        environment: Environment,
        selection: Selection,
        engines: Sequence[str],
        *,
        timeout: float,
        jobs: int | None,
        sharing: int = 1,
        opened: Callable[[Pool], object] = lambda _: None,
    ) -> None:
        self.side, self.engines, self.timeout, self.jobs = environment.side, engines, timeout, jobs
        self.chosen, self.operations = selection.plan(engines), selection.operations(engines, self.side.distributions)
        if not self.chosen.total and not self.operations:
            raise InputError(f"nothing that was chosen runs on {', '.join(engines)}: check --scenario and --probe")
        self.opened = opened
        self.twice = fits(engines, 2 * sharing, jobs)
        self.file: Path | None = None
        # In the user's own environment, what is installed may change.
        if environment.key:
            machine = (self.side.cpu, self.side.features, sorted(variables().items()))
            key = digest(environment.key, machine, own_digest(), selection.key(self.chosen, self.operations))
            self.file = folder() / "results" / f"{key}.parquet"
            self.file.parent.mkdir(exist_ok=True)

    def run(self, step: Counting, fresh: bool = False) -> None:
        """Take the snapshot that is kept, unless `fresh`; else run every cell, twice at once if there are cores for it.

        Nothing is kept where a cell ran out of time, or its process was killed from outside.
        """
        if self.file is None:
            self.snapshot = self._recorded(step)
            return
        with locked(self.file):
            kept = None if fresh else _read(self.file)
            self.snapshot = kept or self._recorded(step)
            if not kept:
                self._keep()

    def repeat(self, wanted: Collection[CellKey], step: Counting) -> None:
        """Run the cells `wanted` once more, in new processes, where they have not been run twice."""
        keys = {cell.key for cell in self.snapshot.cells if cell.key in wanted and once(cell)}
        if not keys:
            return
        cells = tuple(c for c in self.chosen.cells if _key(*c) in keys)
        probes = {(subject, engine) for kind, subject, _, engine in keys if kind == PROBE}
        operations = [(case, engine) for case, engine in self.operations if (case.name, engine) in probes]
        with step(len(cells) + len(operations)) as running:
            self.snapshot = repeated(
                self.side,
                replace(self.chosen, cells=cells),
                _operations(operations, running),
                self.snapshot,
                timeout=self.timeout,
                jobs=self.jobs,
                opened=self.opened,
                on_repeated=lambda task: running.advance(f"{task.engine} on {task.problem.name}"),
            )
        if self.file is not None:
            with locked(self.file):
                self._keep()

    def _recorded(self, step: Counting) -> Snapshot:
        with step((1 + self.twice) * (self.chosen.total + len(self.operations))) as running:
            return record(
                self.side,
                self.chosen,
                _operations(self.operations, running),
                timeout=self.timeout,
                jobs=self.jobs,
                opened=self.opened,
                twice=self.twice,
                on_cell=lambda cell: running.advance(f"{cell.engine} on {cell.scenario}"),
                on_repeated=lambda task: running.advance(f"{task.engine} on {task.problem.name}, again"),
            )

    def _keep(self) -> None:
        if self.file and not any(_passing(cell) for cell in self.snapshot.cells):
            self.snapshot.write(self.file)


def _passing(cell: CellRecord) -> bool:
    """Return whether a cell did not finish for a reason that may be gone another time."""
    return cell.verdict == Verdict.TIMED_OUT or (cell.verdict == Verdict.CRASHED and may_pass(cell.message))


def fits(engines: Sequence[str], times: int, jobs: int | None) -> bool:
    """Return whether the processes of `engines` can run as many `times` at once without waiting for one another."""
    return times * len({find(engine).family for engine in engines}) <= (jobs or cores())


def _key(subject: Subject, engine: str) -> CellKey:
    return SCENARIO, subject.scenario.name, subject.problem.dtype, engine


def _operations(chosen: Jobs, running: Step) -> OperationRun:
    return OperationRun(chosen, on_task=lambda task: running.advance(f"{task.engine}: {task.case.name}"))


def _read(file: Path) -> Snapshot | None:
    if not file.is_file():
        return None
    try:
        return Snapshot.read(file)
    except InputError:
        # Damaged: it is made again.
        return None
