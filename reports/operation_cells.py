"""Probes run and judged: what they computed as cells of a snapshot, with verdicts and with what rounding allows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np

from gradparity.adapters import registry
from gradparity.adapters.operations.arrays import arrays, cotangent
from gradparity.adapters.operations.case import ENGINES, OperationCase, OperationTask, Outputs, load, shipped
from gradparity.adapters.outcome import Ended, Status
from gradparity.adapters.pool import Pool
from gradparity.reference.errors import InputError, nearest
from gradparity.reference.operations import Judged, judge
from gradparity.reference.problem import DTYPES, Array
from gradparity.reference.verdict import Verdict
from gradparity.reports.snapshot import NARROW, PROBE, ArrayKey, CellKey, CellRecord, Entry

Jobs: TypeAlias = Sequence[tuple[OperationCase, str]]
"""Probes, each with an engine."""

_STATUS = {
    Status.DONE: Verdict.WITHIN,
    Status.UNSUPPORTED: Verdict.UNSUPPORTED,
    Status.CRASHED: Verdict.CRASHED,
    Status.TIMED_OUT: Verdict.TIMED_OUT,
}


def select(patterns: Iterable[str] = ("*",)) -> list[OperationCase]:
    """Return the probes that `patterns` name: parts of names, patterns with ``*``, or TOML files.

    Raises `InputError` for a pattern that names none, or a file that is malformed.
    """
    chosen: dict[str, OperationCase] = {}
    for pattern in patterns:
        if pattern.endswith(".toml"):
            found: Sequence[OperationCase] = load(Path(pattern))
        else:
            found = [case for case in shipped() if matches(case, pattern)]
        if not found:
            calls = sorted({case.call for case in shipped()})
            raise InputError(f"no probe matches {pattern!r}{nearest(pattern, calls)}: `gradparity probes` lists them")
        for case in found:
            if chosen.setdefault(case.name, case) != case:
                raise InputError(f"two probes are called {case.name!r}: give one of them a label")
    return list(chosen.values())


def matches(case: OperationCase, pattern: str) -> bool:
    """Return whether `pattern` is the probe's name, a part of it, or a pattern for it. ``[`` has no meaning there."""
    if "*" not in pattern and "?" not in pattern:
        return pattern in case.name
    return fnmatchcase(case.name, pattern.replace("[", "[[]"))


def jobs(
    cases: Iterable[OperationCase],
    engines: Iterable[str] | None = None,
    full: bool = False,
    there: Callable[[str], bool] | None = None,
) -> list[tuple[OperationCase, str]]:
    """Return each of `cases` with each of the engines that it is for, of those named or else of those installed.

    A slow engine takes part where it is named, where the probe asks for it, or where everything is asked for. `there`
    says whether a package can be imported where the probes run; by default, whether it can be here.
    """
    names = [e.name for e in registry.BUILT_IN if e.installed] if engines is None else list(engines)
    exists = there or _importable
    packages = {"tf": "tensorflow"}
    return [
        (case, engine)
        for engine in names
        for case in cases
        if case.runs_on(engine, full or engines is not None) and exists(packages.get(case.framework, case.framework))
    ]


@lru_cache
def _importable(package: str) -> bool:
    return registry.importable(package)


class OperationRun:
    """Runs probes in a pool of workers; `gradparity.reports.recording` records what comes of it."""

    def __init__(
        self,
        chosen: Jobs,
        dtypes: Sequence[str] = DTYPES,
        on_task: Callable[[OperationTask], object] = lambda _: None,
    ) -> None:
        self.chosen, self.dtypes, self.on_task = chosen, dtypes, on_task

    def run(self, pool: Pool, finished: Callable[[CellRecord], None]) -> None:
        """Run and judge every probe, calling `finished` with each cell."""
        for task, outputs, end in self._results(pool, allowances=True):
            for record in records(task, outputs, end):
                if record.dtype in self.dtypes:
                    finished(record)

    def digests(self, pool: Pool, seen: Callable[[CellKey, Mapping[ArrayKey, str]], None]) -> None:
        """Run every probe, calling `seen` with the digests of each cell's arrays."""
        for task, outputs, _ in self._results(pool, allowances=False):
            for out in outputs:
                named = {("", name): digest(a) for name, a in out.values.items()}
                seen((PROBE, task.case.name, out.dtype, task.engine), named)

    def _results(self, pool: Pool, allowances: bool) -> Iterator[tuple[OperationTask, list[Outputs], Ended]]:
        tasks = [OperationTask(engine, case, arrays(case), allowances) for case, engine in self.chosen]
        done: list[tuple[OperationTask, list[Outputs], Ended]] = []
        running: dict[int, list[Outputs]] = {}

        def consume(task: OperationTask, item: Outputs | Ended) -> None:
            if isinstance(item, Outputs):
                running.setdefault(id(task), []).append(item)
            else:
                done.append((task, running.pop(id(task), []), item))
                self.on_task(task)

        pool.run(tasks, consume)
        yield from done


def digest(a: Array) -> str:
    """Return the SHA-256 of the elements in C order, little-endian."""
    return hashlib.sha256(np.ascontiguousarray(a, a.dtype.newbyteorder("<")).tobytes()).hexdigest()


def records(task: OperationTask, outputs: Sequence[Outputs], end: Ended) -> Iterator[CellRecord]:
    """Yield the cells of one task: one a dtype."""
    by_dtype = {out.dtype: out for out in outputs}
    for dtype in DTYPES:
        lost = Outputs(dtype, end.status if end.status is not Status.DONE else Status.CRASHED, end.message, end.log)
        yield _record(task, by_dtype.get(dtype, lost), end)


def _record(task: OperationTask, out: Outputs, end: Ended) -> CellRecord:
    judged = _judged(task, out)
    entries = tuple(_entry(task, out, order, name, judged.get(name)) for order, name in enumerate(out.values))
    verdict = _STATUS[out.status]
    wrong = any(entry.verdict == Verdict.WRONG for entry in entries)
    declared = any(entry.verdict == Verdict.DECLARED for entry in entries)
    if out.status is Status.DONE:
        verdict = Verdict.WRONG if wrong else Verdict.DECLARED if declared else Verdict.WITHIN
    return CellRecord(
        kind=PROBE,
        subject=task.case.name,
        dtype=out.dtype,
        engine=task.engine,
        verdict=str(verdict),
        message=out.message,
        log=out.log,
        environment=end.environment,
        seconds=end.seconds / 2,
        entries=entries,
    )


def _judged(task: OperationTask, out: Outputs) -> Mapping[str, Judged]:
    # The formulas are about numbers: what comes of infinity and NaN is compared between versions.
    if not task.case.formula or task.case.values == "nonfinite" or out.status is not Status.DONE:
        return {}
    case = task.case
    inputs = [a.astype(out.dtype) if a.dtype.kind == "f" else a for a in task.arrays]
    with np.errstate(all="ignore"):
        return judge(case.formula, {**case.keywords, **case.given}, inputs, out.values, out.dtype, cotangent)


def _entry(task: OperationTask, out: Outputs, order: int, name: str, judged: Judged | None) -> Entry:
    value = out.values[name]
    allowed = judged.allowed if judged else out.allowed.get(name)
    return Entry.of(
        value,
        allowed,
        kind=PROBE,
        subject=task.case.name,
        dtype=out.dtype,
        engine=task.engine,
        program="",
        quantity=name,
        order=order,
        verdict=str(judged.verdict) if judged else "",
        note=judged.note if judged else NARROW if name in out.narrow else "",
        reproducible=None,
    )


def known_engines() -> list[str]:
    """Return the engines that probes run on."""
    return sorted({engine for engines in ENGINES.values() for engine in engines})
