"""How long a whole run takes, beside what the frameworks' own processes need.

Run: ``python benchmarks/run_time.py [ENGINE ...]``, by default what ``gradparity run`` does, without torch:compile. One
run; the wall time as a ratio to the larger of its slowest framework process and the frameworks' CPU time divided by the
cores (limit 1.25), and our own CPU time beside it.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections import defaultdict
from dataclasses import replace

from gradparity.adapters.pool import cores
from gradparity.adapters.registry import find
from gradparity.reports.cell import Cell
from gradparity.reports.plan import plan
from gradparity.reports.verify import execute

LIMIT = 1.25


def main() -> None:
    started = time.perf_counter()
    chosen = plan(None, sys.argv[1:] or None)
    if not sys.argv[1:]:
        chosen = replace(chosen, cells=tuple(cell for cell in chosen.cells if not find(cell[1]).slow))
    first: dict[str, float] = {}
    last: dict[str, float] = defaultdict(float)
    lock = threading.Lock()

    def finished(cell: Cell) -> None:
        family, now = find(cell.engine).family, time.perf_counter()
        with lock:
            first.setdefault(family, now - cell.seconds)
            last[family] = max(last[family], now)

    execute(chosen, finished)
    wall = time.perf_counter() - started
    own = time.process_time()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    theirs = used.ru_utime + used.ru_stime
    slowest = max(last[family] - first[family] for family in last)
    needed = max(slowest, theirs / cores())
    print(f"{chosen.total} cells, {cores()} cores, load {os.getloadavg()[0]:.1f}: wall {wall:.1f} s")
    print(f"slowest framework process {slowest:.1f} s; frameworks' CPU {theirs:.1f} s; our own CPU {own:.1f} s")
    print(f"wall / max(slowest process, CPU / cores) = {wall / needed:.2f} (limit {LIMIT})")


if __name__ == "__main__":
    main()
