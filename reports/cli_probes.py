"""``gradparity probes``: list the probes, or run them here and judge those whose formula the reference has."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from gradparity.adapters import registry
from gradparity.adapters.operations.case import OperationCase
from gradparity.adapters.pool import Pool
from gradparity.reference.errors import InputError
from gradparity.reference.verdict import Verdict
from gradparity.reports.between_terminal import show_differences
from gradparity.reports.known_probes import listed
from gradparity.reports.operation_cells import Jobs, OperationRun, jobs, known_engines, select
from gradparity.reports.output import draw
from gradparity.reports.recording import Digests, compared
from gradparity.reports.screen import Screen
from gradparity.reports.side import here
from gradparity.reports.snapshot import CellRecord, Header, Snapshot

WRONG, INCOMPLETE = 1, 3
SHOWN = 40
"""How many cells that are not right are listed."""


def probes_command(
    patterns: Sequence[str],
    run: bool,
    engines: Sequence[str],
    full: bool,
    across: bool,
    out: Path | None,
    timeout: float,
    jobs_wanted: int | None,
) -> int:
    """List the probes, or run them; return the exit code. Raises `InputError` before anything runs."""
    cases = select(patterns or ("*",))
    if not run:
        if engines or out or full or across:
            raise InputError("--engine, --full, --across and --out are about running probes: add --run")
        draw(lambda screen: show_probes(cases, screen))
        return 0
    chosen = jobs(cases, _engines(engines), full)
    if not chosen:
        raise InputError("none of these probes is for an engine that is installed: `gradparity engines` lists them")
    records = [listed(record) for record in _run(chosen, out, timeout, jobs_wanted)]
    draw(lambda screen: show_records(records, screen))
    if across:
        draw(lambda screen: show_differences(records, cases, screen))
    return exit_code(records)


def exit_code(records: Sequence[CellRecord]) -> int:
    """Return 1 if a probe is wrong, else 3 if one crashed or timed out, else 0."""
    if any(record.verdict == Verdict.WRONG for record in records):
        return WRONG
    return INCOMPLETE if any(r.verdict in (Verdict.CRASHED, Verdict.TIMED_OUT) for r in records) else 0


def _engines(wanted: Sequence[str]) -> list[str] | None:
    if not wanted:
        return None
    found = dict[str, None]()
    for pattern in wanted:
        named = registry.resolve(pattern)
        running = [engine for engine in named if engine.name in known_engines()]
        if not running:
            raise InputError(f"engine '{named[0].name}' runs no probes; those that do: {', '.join(known_engines())}")
        for engine in running:
            if not engine.installed:
                raise InputError(f"engine '{engine.name}' is not installed: {engine.install}")
            found[engine.name] = None
    return list(found)


def _run(chosen: Jobs, out: Path | None, timeout: float, jobs_wanted: int | None) -> list[CellRecord]:
    run, lock = OperationRun(chosen), threading.Lock()
    records: list[CellRecord] = []

    def finished(record: CellRecord) -> None:
        with lock:
            records.append(record)

    with Pool(jobs=jobs_wanted, timeout=timeout) as pool:
        run.run(pool, finished)
    if out:
        again: Digests = {}
        with Pool(jobs=jobs_wanted, timeout=timeout) as pool:
            run.digests(pool, lambda key, digests: again.update({key: dict(digests)}))
        records = [compared(record, again) for record in records]
        Snapshot(Header.now(here(), {}), tuple(records)).write(out)
    return records


def _table(screen: Screen, *columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(screen.text(column), overflow="fold")
    return table


def show_probes(cases: Sequence[OperationCase], screen: Screen) -> None:
    """Print the probes, and how each is judged."""
    table = _table(screen, "probe", "judged by", "values")
    shown: dict[str, tuple[OperationCase, list[str]]] = {}
    for case in cases:
        name = case.name.removesuffix(f" {case.values}")
        shown.setdefault(name, (case, []))[1].append(case.values)
    for name, (case, values) in shown.items():
        judged = f"the formula {case.formula}" if case.formula else "comparison"
        note = f"{', '.join(values)}{' (--full)' if case.slow else ''}"
        table.add_row(*map(screen.text, (name, judged, note)))
    screen.put(table)
    screen.line(f"{len(cases)} probes")


def show_records(records: Sequence[CellRecord], screen: Screen) -> None:
    """Print how many cells of each engine came out how, those that are listed, that ran nowhere, or are not right."""
    verdicts = list(dict.fromkeys(record.verdict for record in records))
    table = _table(screen, "engine", *verdicts, "of these judged")
    for engine in dict.fromkeys(record.engine for record in records):
        own = [record for record in records if record.engine == engine]
        counts = Counter(record.verdict for record in own)
        judged = sum(any(entry.verdict for entry in record.entries) for record in own)
        table.add_row(*map(screen.text, (engine, *(str(counts[v]) for v in verdicts), str(judged))))
    screen.put(table)
    for verdict in (Verdict.DECLARED, Verdict.KNOWN):
        named = [record for record in records if record.verdict == verdict and record.message]
        for reason in dict.fromkeys(record.message for record in named):
            where = (f"{r.subject} {r.dtype} on {r.engine}" for r in named if r.message == reason)
            screen.line(f"{verdict}: {reason}: {', '.join(where)}")
    ran = {record.subject for record in records if record.verdict != Verdict.UNSUPPORTED}
    nowhere = dict.fromkeys(f"{r.subject}: {r.message}" for r in records if r.subject not in ran)
    for said in list(nowhere)[:SHOWN]:
        screen.line(f"unsupported wherever it could run: {said}")
    bad = (Verdict.WRONG, Verdict.CRASHED, Verdict.TIMED_OUT)
    found = [record for record in records if record.verdict in bad]
    for record in found[:SHOWN]:
        what = ", ".join(entry.quantity for entry in record.entries if entry.verdict == Verdict.WRONG)
        screen.line(f"{record.verdict}: {record.subject} {record.dtype} on {record.engine}: {what or record.message}")
    if len(found) > SHOWN:
        screen.line(f"and {len(found) - SHOWN} more")
