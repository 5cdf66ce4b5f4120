"""The results of a run: its cells, what they were run on, and what follows from them."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from gradparity import __version__
from gradparity.adapters import registry
from gradparity.reference.errors import InputError
from gradparity.reference.verdict import Verdict
from gradparity.reports.cell import FAILING, Cell

if TYPE_CHECKING:
    import pandas as pd

    from gradparity.reference.scenario import Scenario

Key = tuple[str, str, str]
"""Scenario, dtype, engine."""


@dataclass(frozen=True)
class RunInfo:
    """When, where and how a run was made. `times` splits its seconds: wall and CPU, of the engines and of the judge."""

    started: str
    seconds: float = 0.0
    gradparity: str = ""
    python: str = ""
    numpy: str = ""
    platform: str = ""
    machine: str = ""
    cpu: str = ""
    cores: int = 0
    strict: bool = False
    times: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def now(cls, *, strict: bool = False) -> RunInfo:
        """Describe this machine and this moment."""
        affinity = getattr(os, "sched_getaffinity", None)
        return cls(
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            gradparity=__version__,
            python=platform.python_version(),
            numpy=metadata.version("numpy"),
            platform=platform.platform(),
            machine=platform.machine(),
            cpu=cpu_model(),
            cores=len(affinity(0)) if affinity else os.cpu_count() or 1,
            strict=strict,
        )

    def finished(self, seconds: float, times: Mapping[str, float] | None = None) -> RunInfo:
        """Return the same with how long the run took."""
        return replace(self, seconds=seconds, times=dict(times or {}))


def cpu_model() -> str:
    """Return the model of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


@dataclass(frozen=True, repr=False)
class Results:
    """Every cell of a run, sorted by scenario, dtype and engine.

    `skipped` holds the engines that are not installed, and why; `scenarios` what was run, as TOML text and the folder
    that its relative paths start from; `planned` the cells that the run was to have; `damage` what could not be read
    back from a file.
    """

    cells: list[Cell]
    info: RunInfo
    skipped: Mapping[str, str] = field(default_factory=dict)
    scenarios: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    planned: tuple[Key, ...] = ()
    damage: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        scenarios = list(self.scenarios)
        engines = [engine.name for engine in registry.engines()]

        def rank(word: str, order: list[str]) -> tuple[int, str]:
            return (order.index(word) if word in order else len(order), word)

        ordered = sorted(self.cells, key=lambda c: (rank(c.scenario, scenarios), c.dtype, rank(c.engine, engines)))
        object.__setattr__(self, "cells", ordered)

    @cached_property
    def table(self) -> pd.DataFrame:
        """The tidy table; `gradparity.reports.table.COLUMNS` documents its columns."""
        from gradparity.reports.table import table

        return table(self.cells)

    @property
    def scenario_names(self) -> list[str]:
        """Return the scenarios that have cells, in order."""
        return list(dict.fromkeys(cell.scenario for cell in self.cells))

    @cached_property
    def engine_names(self) -> list[str]:
        """Return the engines that have cells, in the order of the registry, others after."""
        order = {engine.name: index for index, engine in enumerate(registry.engines())}
        names = dict.fromkeys(cell.engine for cell in self.cells)
        return sorted(names, key=lambda name: order.get(name, len(order)))

    @cached_property
    def versions(self) -> dict[str, str]:
        """Return, for each engine that ran, the versions of its packages, as ``torch 2.13.0``."""
        return {cell.engine: versions(cell) for cell in self.cells if cell.environment}

    def counts(self) -> dict[Verdict, int]:
        """Return how many cells have each verdict."""
        counter = Counter(cell.verdict for cell in self.cells)
        return {verdict: counter[verdict] for verdict in Verdict if counter[verdict]}

    def fails(self, cell: Cell) -> bool:
        """Return whether `cell` is wrong, or suspect where that counts: on unstructured data, or in a strict run."""
        suspect = cell.verdict is Verdict.SUSPECT
        return cell.verdict is Verdict.WRONG or (suspect and (self.info.strict or not cell.structured))

    @property
    def failed(self) -> list[Cell]:
        """Return the cells that make the run fail."""
        return [cell for cell in self.cells if self.fails(cell)]

    @property
    def unfinished(self) -> list[Cell]:
        """Return the cells that crashed or timed out."""
        return [cell for cell in self.cells if cell.verdict in (Verdict.CRASHED, Verdict.TIMED_OUT)]

    @cached_property
    def not_run(self) -> list[Key]:
        """Return the planned cells that are not there: after Ctrl-C, a kill, or in a file that was cut off."""
        there = {(cell.scenario, cell.dtype, cell.engine) for cell in self.cells}
        return [key for key in self.planned if key not in there]

    @property
    def lost(self) -> list[str]:
        """Return what is missing, a sentence each; empty for a whole run."""
        if not self.not_run:
            return list(self.damage)
        some = ", ".join(f"{scenario} {dtype} on {engine}" for scenario, dtype, engine in self.not_run[:3])
        more = f" and {len(self.not_run) - 3} more" if len(self.not_run) > 3 else ""
        return [*self.damage, f"{len(self.not_run)} of {len(self.planned)} cells are missing: {some}{more}"]

    @property
    def verdict(self) -> Verdict:
        """Return the run's verdict: wrong, suspect, crashed or timed out if a cell is; else within.

        Declared and known differences do not count. Not given, if no cell could be judged at all.
        """
        there = {cell.verdict for cell in self.cells}
        if self.failed:
            return Verdict.WRONG if Verdict.WRONG in there else Verdict.SUSPECT
        for verdict in (*FAILING, Verdict.SUSPECT):
            if verdict in there:
                return verdict
        return Verdict.WITHIN if there - {Verdict.NOT_GIVEN, Verdict.UNSUPPORTED} else Verdict.NOT_GIVEN

    @property
    def exit_code(self) -> int:
        """Return 1 if something is wrong, else 3 if something crashed, timed out, is missing, or nothing was judged."""
        if self.failed:
            return 1
        return 3 if self.unfinished or self.lost or self.verdict is Verdict.NOT_GIVEN else 0

    def scenario(self, name: str) -> Scenario:
        """Return the scenario called `name` as it was run. Raises `InputError` for one that is not in the results."""
        from gradparity.reference import catalogue
        from gradparity.reference.scenario import Scenario

        if name in self.scenarios:
            saved = self.scenarios[name]
            return Scenario.from_toml(saved["toml"], Path(saved["folder"]))
        if name in catalogue.names():
            return catalogue.load(name)
        raise InputError(f"scenario '{name}' was not saved with these results, and is none of those that ship")

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write JSON lines, Parquet, CSV, Markdown and JUnit XML; see `gradparity.reports.store`."""
        from gradparity.reports.store import save

        save(self, Path(directory))

    def __repr__(self) -> str:
        from gradparity.reports.story import headline

        return f"<Results: {headline(self)}>"

    def _repr_html_(self) -> str:
        from gradparity.reports.notebook import summary

        return summary(self)


def versions(cell: Cell) -> str:
    """Return the versions of the packages that `cell` ran on, as ``keras 3.15.1, torch 2.13.0``."""
    packages = ("numpy", "tensorflow", "keras", "torch", "jax", "jaxlib")
    named = [p for p in packages if p in cell.engine.replace(":", " ").split()] or [p for p in packages if p != "numpy"]
    return ", ".join(f"{p} {cell.environment[p]}" for p in named if p in cell.environment)
