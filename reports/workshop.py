"""What the commands that compare environments have in common: resolve, build, run, with progress, until stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from gradparity.adapters.pool import Pool
from gradparity.adapters.registry import find
from gradparity.reference.verdict import Verdict
from gradparity.reports import interpreter
from gradparity.reports.comparison import differing
from gradparity.reports.environments import Environment, build
from gradparity.reports.interpreter import Interpreter
from gradparity.reports.lock import Lock, resolve
from gradparity.reports.measure import Measurement, fits
from gradparity.reports.selection import Selection
from gradparity.reports.snapshot import CellRecord, Snapshot
from gradparity.reports.steps import Steps
from gradparity.reports.unbuildable import Stage, Unbuildable
from gradparity.reports.uv import Uv
from gradparity.reports.wanted import Wanted


@dataclass
class Workshop:
    """A context manager: when it is left early, whatever it has started is ended. `python` is a version or a path.

    `timeout` is in seconds a cell; `jobs` is how many families run side by side; `fresh` does not use kept results;
    `twice` runs every cell a second time, also where nothing differs.
    """

    selection: Selection
    python: str | None = None
    timeout: float = 300.0
    jobs: int | None = None
    fresh: bool = False
    twice: bool = False
    uv: Uv = field(default_factory=Uv)
    steps: Steps = field(default_factory=Steps)
    pools: list[Pool] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.steps.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.steps.__exit__(kind, value, trace)

    def stop(self) -> None:
        """End whatever has been started, in any thread."""
        self.uv.stop()
        for pool in self.pools:
            pool.close()

    def _opened(self, pool: Pool) -> None:
        self.pools.append(pool)
        if self.uv.stopped.is_set():
            pool.close()

    def interpreter(self) -> Interpreter:
        """Return the Python that environments are built on."""
        return interpreter.find(self.python, self.uv)

    def resolve(self, side: Wanted, like: Mapping[str, str] | None = None, *, dated: bool = True) -> Lock:
        """Return the lock of `side`; see `gradparity.reports.lock.resolve`."""
        with self.steps.step(f"resolving {side.text}"):
            return resolve(side, self.uv, self.python, like, dated=dated)

    def build(self, side: Wanted, lock: Lock) -> Environment:
        """Return the environment of `lock`; see `gradparity.reports.environments.build`."""
        with self.steps.step(f"preparing {side.text}") as step:
            return build(lock, self.uv, step.now)

    def run(self, side: Wanted, environment: Environment, engines: Sequence[str], sharing: int = 1) -> Measurement:
        """Return what `engines` compute in `environment`; `sharing` is how many such run at once.

        Raises `Unbuildable` where the framework of none of them can be imported.
        """
        usable = [name for name in engines if environment.has(find(name))]
        if not usable:
            broken, log = next(iter(environment.failed.items()), ("what was named", ""))
            raise Unbuildable(Stage.IMPORT, f"{broken} cannot be imported in the environment of {side.text}", log)
        found = Measurement(
            environment,
            self.selection,
            usable,
            timeout=self.timeout,
            jobs=self.jobs,
            sharing=sharing,
            opened=self._opened,
        )
        found.run(lambda total: self.steps.step(f"running {side.text}", total), self.fresh)
        gone = unusable(found.snapshot)
        if len(gone) == len({cell.engine for cell in found.snapshot.cells}):
            raise Unbuildable(Stage.IMPORT, f"no engine can be used in the environment of {side.text}", log_of(gone))
        return found

    def settle(self, old: Measurement, new: Measurement) -> None:
        """Run once more, on either side, what differs: then it is known whether it can be had again.

        What has the same bits on both sides has run twice, in two processes.
        """
        keys = differing(old.snapshot, new.snapshot)
        if self.twice:
            keys = {*old.snapshot.by_key, *new.snapshot.by_key}

        def again(side: Measurement) -> None:
            side.repeat(keys, lambda total: self.steps.step("running again what differs", total))

        with ThreadPoolExecutor(2 if self.side_by_side(old.engines) else 1) as threads:
            try:
                list(threads.map(again, (old, new)))
            except BaseException:
                self.stop()
                raise

    def side_by_side(self, engines: Sequence[str]) -> bool:
        """Return whether both sides of a comparison may run at once."""
        return fits(engines, 2, self.jobs)


def log_of(gone: Mapping[str, str]) -> str:
    """Return the reasons, each once."""
    return "\n".join(dict.fromkeys(gone.values()))


def unusable(snapshot: Snapshot) -> dict[str, str]:
    """Return the engines that could not run anything, with the reason: most often that they cannot be imported."""
    cells: dict[str, list[CellRecord]] = {}
    for cell in snapshot.cells:
        cells.setdefault(cell.engine, []).append(cell)
    return {
        engine: found[0].message
        for engine, found in cells.items()
        if all(cell.verdict == Verdict.UNSUPPORTED for cell in found)
    }
