"""What the suite itself takes beside the frameworks, on small random scenarios through all eager engines.

Run: ``python benchmarks/own_time.py [scenarios]`` (default 1000). CPU time, which other work on the machine hardly
changes: of this process, which draws, judges and records; and of the frameworks' processes, without their starts (each
as long as a run of one scenario).
"""

from __future__ import annotations

import math
import resource
import sys
import tempfile
import time
from pathlib import Path

from gradparity.adapters.registry import find
from gradparity.reports.campaign import BATCHES, SHAPES, Campaign
from gradparity.reports.campaign_draw import TOGETHER

EAGER = ("numpy", "tensorflow", "torch", "torch:func", "jax")
SEED = 7


def cpu(count: int) -> tuple[float, float]:
    """Return the CPU seconds of this process and of the frameworks' for a campaign of `count` scenarios."""
    own, before = time.process_time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        engines = [name for name in EAGER if find(name).installed]
        Campaign(count, SEED, engines, Path(folder), timeout=3000).run(lambda cell: None)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    theirs = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.process_time() - own, theirs


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    (_, once), (own, theirs) = cpu(1), cpu(count)
    start = once * math.ceil(count / (SHAPES * BATCHES * TOGETHER))
    print(
        f"{count} scenarios: our own CPU {own:.1f} s; frameworks' {theirs:.1f} s, of which their starts {start:.1f} s"
    )
    print(f"own / frameworks' without their starts = {own / (theirs - start):.2f} (limit 1)")
