"""Record a snapshot: every cell runs twice, in fresh processes; it is judged and kept the first time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from gradparity.adapters.loop import Item
from gradparity.adapters.outcome import Chunk, Status, Task
from gradparity.adapters.pool import Pool, cores
from gradparity.adapters.registry import find
from gradparity.reference.judge import PLAIN, PROBED
from gradparity.reports.cell import Cell
from gradparity.reports.cell_recording import CellRecording, recorded
from gradparity.reports.kept import Keeping
from gradparity.reports.plan import Plan, sources
from gradparity.reports.running import Subject
from gradparity.reports.side import Side
from gradparity.reports.snapshot import PRINTED, SCENARIO, ArrayKey, CellKey, CellRecord, Header, Snapshot
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
    opened: Callable[[Pool], object] = lambda _: None,
) -> Snapshot:
    """Run `chosen` and `operations` on `side`, twice unless told otherwise, and return what came of it.

    `on_cell` is called with each judged cell, `on_repeated` with each that has run the second time, `opened` with what
    has to be closed to end it from another thread.
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

    def first(workers: Pool) -> None:
        execute(chosen, finished, pool=workers, watching=watching)
        if operations:
            operations.run(workers, cells.append)

    def second(workers: Pool) -> Digests:
        return _again(workers, chosen, operations, on_repeated)

    families = {find(engine).family for engine in chosen.engines}
    with (
        _pool(side, timeout, jobs, opened) as workers,
        _pool(side, timeout, jobs, opened) as others,
        ThreadPoolExecutor(1) as thread,
    ):
        try:
            # Both at once where there are cores that the first run leaves idle.
            beside = thread.submit(second, others) if twice and 2 * len(families) <= (jobs or cores()) else None
            first(workers)
            again = beside.result() if beside else second(others) if twice else {}
        except BaseException:
            others.close()
            raise
    # Families finish as they please; a snapshot has the order of the plan, probes last.
    order = {(s.scenario.name, s.problem.dtype, engine): at for at, (s, engine) in enumerate(chosen.cells)}
    cells.sort(key=lambda cell: order.get(cell.key[1:], len(order)))
    return Snapshot(Header.now(side, sources(chosen)), tuple(compared(cell, again) for cell in cells))


def repeated(
    side: Side,
    chosen: Plan,
    operations: Operations,
    snapshot: Snapshot,
    *,
    timeout: float = 300.0,
    jobs: int | None = None,
    on_repeated: Callable[[Task], object] = lambda _: None,
    opened: Callable[[Pool], object] = lambda _: None,
) -> Snapshot:
    """Return `snapshot` with what comes of running those of its cells that are `chosen` once more, in new processes."""
    with _pool(side, timeout, jobs, opened) as workers:
        again = _again(workers, chosen, operations, on_repeated)
    return replace(snapshot, cells=tuple(compared(cell, again) for cell in snapshot.cells))


def _pool(side: Side, timeout: float, jobs: int | None, opened: Callable[[Pool], object]) -> Pool:
    pool = Pool(python=side.python, pythonpath=side.pythonpath, jobs=jobs, timeout=timeout)
    opened(pool)
    return pool


def _again(
    workers: Pool, chosen: Plan, operations: Operations | None, on_repeated: Callable[[Task], object]
) -> Digests:
    again: Digests = {}
    tasks = [Task(s.problem, engine) for s, engine in chosen.cells if engine not in chosen.functions]
    repeat(workers, tasks, again, on_repeated)
    if operations:
        operations.digests(workers, lambda key, digests: again.update({key: dict(digests)}))
    return again


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
