"""``gradparity run``: check, run, keep each cell as it is finished, and report."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from gradparity.reference.errors import InputError
from gradparity.reports import cli_probes, github, junit, markdown, operation_cells, terminal
from gradparity.reports.cell import Cell
from gradparity.reports.cli_ends import INTERRUPTED
from gradparity.reports.known_probes import listed
from gradparity.reports.operation_cells import Jobs, OperationRun
from gradparity.reports.output import draw, emit, write_to
from gradparity.reports.plan import Plan, plan, sources
from gradparity.reports.progress import LiveProgress
from gradparity.reports.recording import record
from gradparity.reports.results import Key, Results, RunInfo
from gradparity.reports.side import here
from gradparity.reports.snapshot import PROBE, Snapshot
from gradparity.reports.store import SNAPSHOT, Journal, save_derived
from gradparity.reports.verify import execute


class Keeper:
    """Keeps the cells of a run, in memory and in the journal, until it is closed."""

    def __init__(self, journal: Journal | None, progress: LiveProgress) -> None:
        self.cells: list[Cell] = []
        self._journal, self._progress = journal, progress
        self._lock, self._closed = threading.Lock(), False

    def add(self, cell: Cell) -> None:
        """Keep a finished cell. After Ctrl-C a worker may still bring one: too late."""
        with self._lock:
            if self._closed:
                return
            self.cells.append(cell)
            if self._journal:
                self._journal.add(cell)
        self._progress.add(cell)

    def close(self) -> list[Cell]:
        """Take no more cells; return those that were kept."""
        with self._lock:
            self._closed = True
        return self.cells


def run_command(
    scenarios: Sequence[str],
    engines: Sequence[str],
    dtypes: Sequence[str],
    probes: Sequence[str],
    out: Path | None,
    junit: Path | None,
    strict: bool,
    full: bool,
    timeout: float,
    jobs: int | None,
) -> int:
    """Run and report; return the exit code. Raises `InputError` before anything runs."""
    chosen = plan(scenarios or None, engines or None, dtypes or None, full)
    probed = _probes(chosen, probes, named=bool(engines), full=full) if probes else []
    if probed and not out:
        raise InputError("probes go into the snapshot: add --out DIR, or run them with `gradparity probes --run`")
    if junit and not os.access(junit.parent, os.W_OK):
        raise InputError(f"cannot write {junit}: {junit.parent} is not a folder that can be written to")
    info = RunInfo.now(strict=strict)
    blank = Results([], info, chosen.skipped, sources(chosen), planned(chosen))
    journal = Journal(out, blank) if out else None
    started, interrupted = time.perf_counter(), False
    progress = LiveProgress(chosen.total + (len(chosen.cells) + 2 * len(probed) if out else 0))
    keeper = Keeper(journal, progress)
    snapshot = None
    try:
        with progress:
            if out:
                snapshot = record(
                    here(),
                    chosen,
                    OperationRun(probed, on_task=progress.probe),
                    timeout=timeout,
                    jobs=jobs,
                    on_cell=keeper.add,
                    on_repeated=progress.again,
                )
            else:
                execute(chosen, keeper.add, timeout=timeout, jobs=jobs)
    except KeyboardInterrupt:
        interrupted = True
    info = info.finished(time.perf_counter() - started)
    results = replace(blank, cells=keeper.close(), info=info)
    if journal:
        journal.end(info)
    saved = _report(results, snapshot, out, junit)
    if interrupted:
        kept = f"they are in {out}" if out else "they are shown above (--out DIR would have kept them)"
        click.echo(
            f"Interrupted: {len(results.cells)} of {len(results.planned)} cells were finished; {kept}.", err=True
        )
        return INTERRUPTED
    records = [listed(cell) for cell in snapshot.cells if cell.kind == PROBE] if snapshot else []
    if records:
        draw(lambda screen: cli_probes.show_records(records, screen))
    codes = (results.exit_code, cli_probes.exit_code(records), 0 if saved else cli_probes.INCOMPLETE)
    return min((code for code in codes if code), default=0)


def _probes(chosen: Plan, patterns: Sequence[str], *, named: bool, full: bool) -> Jobs:
    """Return the probes on the engines of the plan. Raises `InputError` where there are none."""
    engines = [engine for engine in chosen.engines if engine in operation_cells.known_engines()]
    cases = operation_cells.select(patterns)
    found = [(c, e) for c, e in operation_cells.jobs(cases, engines if named else None, full) if e in engines]
    if not found:
        raise InputError(f"none of these probes runs on {', '.join(chosen.engines)}: `gradparity probes` lists them")
    return found


def planned(chosen: Plan) -> tuple[Key, ...]:
    """Return every cell that the plan is to have."""
    engines = (*chosen.engines, *chosen.functions)
    runnable = [(subject.scenario.name, subject.problem.dtype, engine) for subject, engine in chosen.cells]
    return (*runnable, *((scenario, dtype, engine) for scenario, dtype in chosen.missing for engine in engines))


def _report(results: Results, snapshot: Snapshot | None, out: Path | None, junit_file: Path | None) -> bool:
    """Save and show; return whether all that was to be saved is."""
    saved = True
    if out:
        try:
            save_derived(results, out)
            if snapshot:
                snapshot.write(out / SNAPSHOT)
        except OSError as error:
            saved = False
            click.echo(f"Not all reports are in {out}: {error.strerror}; results.jsonl has every cell", err=True)
    if junit_file:
        write_to(junit_file, junit.render(results))
    draw(lambda screen: terminal.show(results, screen))
    if out and saved:
        emit(f"\nSaved in {out}\n")
    github.publish(lambda limit: markdown.render(results, limit), github.failures(results))
    return saved
