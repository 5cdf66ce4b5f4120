"""What an environment computes, kept: the same lock, the same cells and the same gradparity are run once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from gradparity.reference.errors import InputError
from gradparity.reference.verdict import Verdict
from gradparity.reports.cache import digest, folder, locked, own_digest
from gradparity.reports.environments import Environment
from gradparity.reports.operation_cells import OperationRun
from gradparity.reports.recording import record
from gradparity.reports.selection import Selection
from gradparity.reports.side import variables
from gradparity.reports.snapshot import Snapshot
from gradparity.reports.steps import Step


def measured(
    environment: Environment,
    selection: Selection,
    engines: Sequence[str],
    *,
    timeout: float,
    jobs: int | None,
    fresh: bool,
    step: Callable[[int], Step],
) -> Snapshot:
    """Return the snapshot of `selection` on `engines` in `environment`: the one that is kept unless `fresh`, else a new
    one.

    ``step(number of runs)`` is asked for where something has to be run. Nothing is kept of the user's own
    environment, where what is installed may change, nor where a cell ran out of time.
    """
    side = environment.side
    chosen, operations = selection.plan(engines), selection.operations(engines, side.distributions)
    if not chosen.total and not operations:
        raise InputError(f"nothing that was chosen runs on {', '.join(engines)}: check --scenario and --probe")
    machine = (side.cpu, side.features, sorted(variables().items()))
    key = digest(environment.key, machine, own_digest(), selection.key(chosen, operations))
    home = folder() / "results"
    home.mkdir(exist_ok=True)
    file = home / f"{key}.parquet"

    def recorded() -> Snapshot:
        with step(2 * (chosen.total + len(operations))) as running:
            return record(
                side,
                chosen,
                OperationRun(operations, on_task=lambda task: running.advance(f"{task.engine}: {task.case.name}")),
                timeout=timeout,
                jobs=jobs,
                on_cell=lambda cell: running.advance(f"{cell.engine} on {cell.scenario}"),
                on_repeated=lambda task: running.advance(f"{task.engine} on {task.problem.name}, again"),
            )

    if not environment.key:
        return recorded()
    with locked(file):
        if not fresh and (kept := _read(file)) is not None:
            return kept
        snapshot = recorded()
        if not any(cell.verdict == Verdict.TIMED_OUT for cell in snapshot.cells):
            snapshot.write(file)
    return snapshot


def _read(file: Path) -> Snapshot | None:
    if not file.is_file():
        return None
    try:
        return Snapshot.read(file)
    except InputError:
        # Damaged: it is made again.
        return None
