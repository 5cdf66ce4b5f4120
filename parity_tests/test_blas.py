"""BLAS computes on one thread while engines do, and on as many as before when the last run has ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json
from contextlib import ExitStack
import numpy
from threadpoolctl import threadpool_info
from gradparity.reports.blas import one_blas_thread
from gradparity.reports.plan import plan
from gradparity.reports.verify import execute

def threads():
    return sorted({library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"})

seen = [threads()]
execute(plan("mazur", "numpy"), lambda cell: seen.append(threads()))
seen.append(threads())
first, second = ExitStack(), ExitStack()
first.enter_context(one_blas_thread())
second.enter_context(one_blas_thread())
first.close()
seen.append(threads())
second.close()
seen.append(threads())
print(json.dumps(seen))
"""


def test_blas_gets_its_threads_back() -> None:
    """Also where two runs overlap, and the one that came first ends first."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"), "2"),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    before, *after = json.loads(done.stdout)
    if before != [2]:
        pytest.skip(f"NumPy's BLAS takes its number of threads from elsewhere: {before}")
    assert after == [[1], [2], [1], [2]]
