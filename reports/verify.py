"""``verify``: run scenarios on engines, judge every cell, and return the results."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext

from gradparity.adapters.function_engine import run_function
from gradparity.adapters.outcome import Chunk, Ended, Task
from gradparity.adapters.pool import Pool
from gradparity.reference.judge import Watch
from gradparity.reference.verdict import Verdict
from gradparity.reports.blas import one_blas_thread
from gradparity.reports.cell import Cell
from gradparity.reports.plan import EngineLike, Plan, ScenarioLike, plan
from gradparity.reports.results import Results, RunInfo
from gradparity.reports.running import RunningCell, Subject

OnCell = Callable[[Cell], None]


def verify(
    scenarios: Iterable[ScenarioLike] | ScenarioLike | None = None,
    engines: Iterable[EngineLike] | EngineLike | None = None,
    *,
    dtypes: Sequence[str] | None = None,
    strict: bool = False,
    full: bool = False,
    timeout: float = 300.0,
    jobs: int | None = None,
) -> Results:
    """Run `scenarios` (names, files, `Scenario` objects; default: all that ship) on `engines` (names, patterns,
    ``file.py:function``, functions; default: all that are installed) and judge them; one alone needs no list.

    `strict` makes a suspect quantity fail also on structured data; `full` runs the catalogue in both dtypes, on
    slow-compiling engines too; `timeout` is in seconds a cell. While engines compute in their processes, BLAS in this
    one keeps to one thread. Raises InputError before anything runs if an input is bad.
    """
    chosen = plan(scenarios, engines, dtypes, full)
    info = RunInfo.now(strict=strict)
    started = time.perf_counter()
    cells: list[Cell] = []
    execute(chosen, cells.append, timeout=timeout, jobs=jobs)
    return Results(cells, info.finished(time.perf_counter() - started), chosen.skipped)


def execute(
    chosen: Plan,
    on_cell: OnCell,
    *,
    timeout: float = 300.0,
    jobs: int | None = None,
    pool: Pool | None = None,
    watching: Callable[[Subject, str], Watch] | None = None,
) -> None:
    """Run every cell of a plan; `on_cell` is called with each as it is finished, from one thread at a time.

    A `pool` of the caller's is used, and left open; `timeout` and `jobs` are then its own. What `watching` returns for
    a subject and an engine sees all arrays of that cell.
    """
    lock = threading.Lock()

    def finished(cell: Cell) -> None:
        with lock:
            on_cell(cell)

    for (scenario, dtype), reason in chosen.missing.items():
        for engine in (*chosen.engines, *chosen.functions):
            finished(Cell(scenario, dtype, engine, Verdict.UNSUPPORTED, message=reason))

    def started(subject: Subject, engine: str) -> RunningCell:
        return RunningCell(subject, engine, watching(subject, engine) if watching else None)

    running: dict[tuple[str, str, str], RunningCell] = {}
    tasks = []
    for subject, engine in chosen.cells:
        if engine in chosen.functions:
            cell = started(subject, engine)
            for item in run_function(Task(subject.problem, engine), chosen.functions[engine]):
                _consume(cell, item, finished)
        else:
            running[subject.scenario.name, subject.problem.dtype, engine] = started(subject, engine)
            tasks.append(Task(subject.problem, engine))

    def consume(task: Task, item: Chunk | Ended) -> None:
        _consume(running[task.problem.name, task.problem.dtype, task.engine], item, finished)

    if tasks:
        with one_blas_thread(), nullcontext(pool) if pool else Pool(timeout=timeout, jobs=jobs) as workers:
            workers.run(tasks, consume)


def _consume(cell: RunningCell, item: Chunk | Ended, finished: OnCell) -> None:
    if isinstance(item, Ended):
        finished(cell.ended(item))
    else:
        cell.add(item)
