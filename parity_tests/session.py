"""Runs the cells that the collected parity tests need, in the background; each test waits for its own."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

import pytest

from gradparity.adapters import registry
from gradparity.adapters.pool import Pool
from gradparity.reference.problem import DTYPES
from gradparity.reports.cell import Cell
from gradparity.reports.plan import Plan, plan
from gradparity.reports.verify import execute


class Key(NamedTuple):
    """One cell; printed as in the names of the tests."""

    scenario: str
    dtype: str
    engine: str

    def __str__(self) -> str:
        return "-".join(self)


class Selection(NamedTuple):
    """The cells that the options choose, and the engines that cannot run, with the reason."""

    plan: Plan
    keys: tuple[Key, ...]
    unavailable: Mapping[str, str]


def select(scenarios: list[str], engines: list[str], full: bool) -> Selection:
    """Resolve the options. Raises InputError for an unknown name."""
    named = [engine for pattern in engines for engine in registry.resolve(pattern)]
    unavailable = {e.name: e.broken or f"not installed; {e.install}" for e in named if not e.installed}
    there = [e.name for e in named if e.installed]
    chosen = plan(scenarios or None, there if named else None, None, full) if there or not named else None
    if chosen is None:
        chosen = replace(plan(scenarios or None, ["numpy"]), engines=(), cells=())
    unavailable |= chosen.skipped
    keys = [Key(s.scenario.name, s.problem.dtype, engine) for s, engine in chosen.cells]
    keys += [Key(name, dtype, engine) for name, dtype in chosen.missing for engine in chosen.engines]
    subjects = [(s.scenario.name, s.problem.dtype) for s in chosen.subjects]
    keys += [Key(*subject, engine) for engine in unavailable for subject in subjects]
    order = {dtype: i for i, dtype in enumerate(DTYPES)}
    return Selection(chosen, tuple(sorted(keys, key=lambda k: (k.scenario, order[k.dtype], k.engine))), unavailable)


class Cells:
    """The finished cells, by key. The processes that they ran on stay, for other tests, until `pool` is closed."""

    def __init__(self, chosen: Plan, needed: Iterable[Key], timeout: float) -> None:
        self.pool = Pool(timeout=timeout)
        wanted = set(needed)
        cells = tuple(c for c in chosen.cells if Key(c[0].scenario.name, c[0].problem.dtype, c[1]) in wanted)
        self._plan = replace(chosen, cells=cells)
        self._done: dict[Key, Cell] = {}
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="parity cells", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            execute(self._plan, self._add, pool=self.pool)
        except BaseException as error:  # noqa: BLE001 - it is raised again in the test that waits
            self._error = error
        with self._changed:
            self._changed.notify_all()

    def wait(self) -> None:
        """Wait until no cell is running any more."""
        self._thread.join()

    def close(self) -> None:
        """End the processes."""
        with self.pool:
            pass

    def _add(self, cell: Cell) -> None:
        with self._changed:
            self._done[Key(cell.scenario, cell.dtype, cell.engine)] = cell
            self._changed.notify_all()

    def __getitem__(self, key: Key) -> Cell:
        """Wait for the cell. Raises what the run raised."""
        with self._changed:
            self._changed.wait_for(lambda: key in self._done or not self._thread.is_alive() or self._error is not None)
            if key in self._done:
                return self._done[key]
        if self._error is not None:
            raise self._error
        raise RuntimeError(f"the run ended without {key}")


CELLS = pytest.StashKey[Cells]()
