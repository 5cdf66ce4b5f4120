"""Record a snapshot: every cell runs twice, in fresh processes; it is judged and kept the first time."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from math import prod
from typing import Protocol

import numpy as np

from gradparity.adapters.loop import Item
from gradparity.adapters.outcome import Chunk, Status, Task
from gradparity.adapters.pool import Pool, cores
from gradparity.adapters.registry import find
from gradparity.reference.expected import quantity_shapes
from gradparity.reference.judge import PLAIN, PROBED
from gradparity.reference.problem import Array, Problem
from gradparity.reference.verdict import Finding
from gradparity.reports.cell import Cell, Figure
from gradparity.reports.kept import Keeping
from gradparity.reports.plan import Plan, sources
from gradparity.reports.running import Subject
from gradparity.reports.side import Side
from gradparity.reports.snapshot import PRINTED, SCENARIO, ArrayKey, CellKey, CellRecord, Entry, Header, Snapshot
from gradparity.reports.verify import OnCell, execute

Digests = dict[CellKey, dict[ArrayKey, str]]


class Operations(Protocol):
    """The probes that are to be recorded beside the scenarios."""

    def run(self, pool: Pool, finished: Callable[[CellRecord], None]) -> None:
        """Run and judge every probe, calling `finished` with each cell."""
        ...

    def digests(self, pool: Pool, seen: Callable[[CellKey, Mapping[ArrayKey, str]], None]) -> None:
        """Run every probe, calling `seen` with the digests of each cell's arrays."""
        ...


def record(
    side: Side,
    chosen: Plan,
    operations: Operations | None = None,
    *,
    timeout: float = 300.0,
    jobs: int | None = None,
    twice: bool = True,
    on_cell: OnCell = lambda _: None,
    on_repeated: Callable[[Task], object] = lambda _: None,
) -> Snapshot:
    """Run `chosen` and `operations` on `side`, twice unless told otherwise, and return what came of it.

    `on_cell` is called with each judged cell, `on_repeated` with each that has run the second time.
    """
    recordings: dict[CellKey, CellRecording] = {}
    cells: list[CellRecord] = []

    def watching(subject: Subject, engine: str) -> CellRecording:
        recording = CellRecording(subject.problem)
        recordings[SCENARIO, subject.scenario.name, subject.problem.dtype, engine] = recording
        return recording

    def finished(cell: Cell) -> None:
        recording = recordings.pop((SCENARIO, cell.scenario, cell.dtype, cell.engine), None)
        cells.append(recorded(cell, recording))
        on_cell(cell)

    def pool() -> Pool:
        return Pool(python=side.python, pythonpath=side.pythonpath, jobs=jobs, timeout=timeout)

    again: Digests = {}

    def first(workers: Pool) -> None:
        execute(chosen, finished, pool=workers, watching=watching)
        if operations:
            operations.run(workers, cells.append)

    def second(workers: Pool) -> None:
        tasks = [Task(s.problem, engine) for s, engine in chosen.cells if engine not in chosen.functions]
        repeat(workers, tasks, again, on_repeated)
        if operations:
            operations.digests(workers, lambda key, digests: again.update({key: dict(digests)}))

    families = {find(engine).family for engine in chosen.engines}
    with pool() as workers, pool() as others, ThreadPoolExecutor(1) as thread:
        try:
            # Both at once where there are cores that the first run leaves idle.
            beside = thread.submit(second, others) if twice and 2 * len(families) <= (jobs or cores()) else None
            first(workers)
            if beside:
                beside.result()
            elif twice:
                second(others)
        except BaseException:
            others.close()
            raise
    # Families finish as they please; a snapshot has the order of the plan, probes last.
    order = {(s.scenario.name, s.problem.dtype, engine): at for at, (s, engine) in enumerate(chosen.cells)}
    cells.sort(key=lambda cell: order.get(cell.key[1:], len(order)))
    return Snapshot(Header.now(side, sources(chosen)), tuple(compared(cell, again) for cell in cells))


class CellRecording:
    """The arrays of one cell while they come; it is a `gradparity.reference.judge.Watch`."""

    def __init__(self, problem: Problem) -> None:
        samples = [stop - start for start, stop in problem.batches]
        self.batches = tuple((m, len(list(steps))) for m, steps in groupby(samples))
        shapes = {m: quantity_shapes(problem, m) for m in set(samples)}
        self.sizes = {name: [prod(shapes[m][name]) for m in samples] for name in shapes[samples[0]]}
        self.arrays: dict[ArrayKey, Keeping] = {}
        self.shapes: dict[ArrayKey, tuple[int, ...]] = {}

    def __call__(self, program: str, name: str, value: Array, bounds: Array | None) -> None:
        """Take the values of some steps."""
        key = (program, name)
        keeping = self.arrays.setdefault(key, Keeping(self.sizes.get(name, ())))
        before = self.shapes.get(key)
        if bounds is None:
            keeping.skip(value)
        else:
            keeping.add(value, bounds.reshape(value.shape))
        if before is None:
            self.shapes[key] = value.shape
        elif len(before) == 3 and before[1:] == value.shape[1:]:
            self.shapes[key] = (before[0] + len(value), *before[1:])
        else:
            self.shapes[key] = (prod(before) + value.size,)

    def entries(self, cell: Cell) -> Iterator[Entry]:
        """Yield what is known of every quantity in the order of computation, and of the printed figures."""
        findings = [f for f in cell.findings if (f.program, f.quantity) in self.arrays]
        yield from (self._entry(cell, f, order) for order, f in enumerate(findings))
        for order, figure in enumerate(cell.figures, len(findings)):
            if figure.value is not None:
                yield Entry.of(
                    np.full((1, 1, 1), figure.value, cell.dtype), np.asarray(figure.allowed), kind=SCENARIO,
                    subject=cell.scenario, dtype=cell.dtype, engine=cell.engine, program=PRINTED,
                    quantity=printed_name(figure), order=order,
                    verdict=str(figure.verdict), note=f"printed as {figure.printed}", reproducible=None,
                )  # fmt: skip

    def _entry(self, cell: Cell, finding: Finding, order: int) -> Entry:
        """Return what is known of one quantity."""
        key = (finding.program, finding.quantity)
        about = vars(self.arrays[key].summary())
        return Entry(
            SCENARIO, cell.scenario, cell.dtype, cell.engine, *key, order, str(finding.verdict), note(cell, finding),
            self.shapes[key], reproducible=None, **about,
        )  # fmt: skip


def printed_name(figure: Figure) -> str:
    """Return what the quantity of a printed figure is called in a snapshot."""
    row, column = figure.index
    return f"{figure.quantity}[{row},{column}] in step {figure.step}"


def note(cell: Cell, finding: Finding) -> str:
    """Return the registry's entry that a quantity is listed under, or else what is known of why it is wrong."""
    listed = cell.reasons.get(f"{finding.program} {finding.quantity}")
    return listed.partition(": ")[0] if listed else "; ".join(filter(None, (finding.note, finding.cause)))


def recorded(cell: Cell, recording: CellRecording | None) -> CellRecord:
    """Return the record of a judged cell."""
    return CellRecord(
        SCENARIO,
        cell.scenario,
        cell.dtype,
        cell.engine,
        str(cell.verdict),
        cell.message,
        cell.log,
        cell.environment,
        cell.seconds,
        tuple(recording.entries(cell)) if recording else (),
        cell.faults,
        recording.batches if recording else (),
        cell.structured,
        hashlib.sha256(f"{cell.weights_sha256} {cell.data_sha256}".encode()).hexdigest(),
    )


def repeat(pool: Pool, tasks: Iterable[Task], again: Digests, on_repeated: Callable[[Task], object]) -> None:
    """Run `tasks` once more, and put the digests of all arrays into `again`."""
    running: defaultdict[CellKey, defaultdict[ArrayKey, Keeping]] = defaultdict(
        lambda: defaultdict(lambda: Keeping(()))
    )

    def consume(task: Task, item: Item) -> None:
        key = (SCENARIO, task.problem.name, task.problem.dtype, task.engine)
        arrays = running[key]
        if isinstance(item, Chunk):
            for program, values in ((PROBED, item.probed), (PLAIN, item.plain)):
                for name, value in values.items():
                    arrays[program, name].skip(value)
        else:
            # A second run that did not come to its end says nothing of whether the first can be had again.
            if item.status is Status.DONE:
                again[key] = {name: keeping.summary().digest for name, keeping in arrays.items()}
            del running[key]
            on_repeated(task)

    pool.run(tasks, consume)


def compared(cell: CellRecord, again: Digests) -> CellRecord:
    """Return `cell` with what came out the same the second time, if there was one."""
    digests = again.get(cell.key)
    if not digests:
        return cell
    entries = (
        e if e.program == PRINTED else replace(e, reproducible=digests.get(e.key) == e.digest) for e in cell.entries
    )
    return replace(cell, entries=tuple(entries))
