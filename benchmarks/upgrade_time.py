"""Where the time of ``gradparity upgrade`` goes: resolving, installing, importing, and everything beyond.

Run: ``python benchmarks/upgrade_time.py [OLD NEW]`` (default: jax==0.9.2 jax==0.10.2), with a network. Once with an
empty cache (uv keeps its own), once with results that are kept, and once with environments that are kept. What the
processes of a run need to import is timed apart: each side imports twice, as many processes at once as there are
cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import AbstractContextManager
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import Any

from gradparity.adapters.pool import cores
from gradparity.adapters.registry import find
from gradparity.reports.cache import VARIABLE
from gradparity.reports.selection import Selection
from gradparity.reports.steps import Steps
from gradparity.reports.upgrade import Upgrade, upgrade
from gradparity.reports.wanted import wanted
from gradparity.reports.workshop import Workshop

LIMIT = 0.2
SIDES = ("jax==0.9.2", "jax==0.10.2")


class Timed(Steps):
    """Adds up the seconds of each kind of step; `first` is when the first cell was finished."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = defaultdict(float)
        self.first = 0.0

    def step(self, text: str, total: int | None = None) -> Any:
        return Span(self, text)


class Span(AbstractContextManager["Span"]):
    """One step."""

    def __init__(self, steps: Timed, kind: str) -> None:
        self.steps, self.kind = steps, kind

    def __enter__(self) -> Span:
        self.started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.steps.seconds[self.kind] += time.perf_counter() - self.started

    def advance(self, at: str = "", by: int = 1) -> None:
        self.steps.first = self.steps.first or time.perf_counter()

    def now(self, at: str) -> None:
        """Nothing is shown."""


def timed(sides: tuple[str, str], fresh: bool = False) -> tuple[float, float, Timed, Upgrade]:
    """Return the seconds of an upgrade in all, those until its first cell, and where they went."""
    steps, started = Timed(), time.perf_counter()
    with Workshop(Selection(), fresh=fresh, steps=steps) as shop:
        found = upgrade(wanted(sides[0]), wanted(sides[1]), shop)
    return time.perf_counter() - started, steps.first - started, steps, found


def imports(found: Upgrade, pythons: list[Path]) -> float:
    """Return the wall time in which the processes of both sides, `pythons`, import what they run, two runs each."""
    families = {find(cell.engine).family for cell in (*found.old.cells, *found.new.cells)}
    total = 0.0
    for python, family in product(pythons, families):
        started = time.perf_counter()
        subprocess.run([python, "-c", f"import {family.partition(':')[0]}"], check=True, capture_output=True)
        total += 2 * (time.perf_counter() - started)
    return total / min(cores(), 2 * len(families))


def main() -> None:
    sides = tuple(sys.argv[1:3]) if len(sys.argv) > 2 else SIDES
    with tempfile.TemporaryDirectory() as folder:
        os.environ[VARIABLE] = folder
        whole, _, steps, found = timed(sides)
        importing = imports(found, list(Path(folder).glob("environments/*/venv/bin/python")))
        kept, _, _, _ = timed(sides)
        again, first, _, _ = timed(sides, fresh=True)
    s = steps.seconds
    # The new side is installed while the old one runs.
    installing = sum(s[f"resolving {side}"] for side in sides) + s[f"preparing {sides[0]}"]
    print(f"{' → '.join(sides)}: {whole:.0f} s with an empty cache")
    print(f"installing {installing:.1f} s, importing {importing:.1f} s")
    print(f"beyond installing and importing: {1 - (installing + importing) / whole:.2f} of the whole (limit {LIMIT})")
    print(f"a second call, results kept: {kept:.1f} s")
    print(f"environments kept, run again: {again:.0f} s, the first cell after {first:.1f} s")


if __name__ == "__main__":
    main()
