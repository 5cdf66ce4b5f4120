"""How long judging one engine takes, beside a plain NumPy forward and backward pass of the same network.

Run: ``python benchmarks/judging.py``. 784-512-10, ReLU, softmax cross-entropy, batch 512, one step; ratios of the
fastest of several runs taken in turns, in one process for each number of BLAS threads. What all engines share (the
reference at the initial weights, and the comparison value and bound of Z1, which come from these and the data alone) is
shown apart. Beside engines that compute, judging has one thread (``gradparity.reports.blas``).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from gradparity.adapters.loop import run
from gradparity.adapters.numpy_engine import adapter
from gradparity.adapters.outcome import Chunk
from gradparity.reference import catalogue
from gradparity.reference.judge import Judge, Oracle
from gradparity.reference.problem import Problem

REPEATS = 15
THREADS = ("1", "2")
SETTINGS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
LIMITS = {"float32": 5.0, "float64": 12.0}


def plain_pass(p: Problem) -> None:
    """A forward and backward pass and an update, as one writes it by hand."""
    (W1, W2), (b1, b2), m = p.W, p.b, p.X.shape[1]
    Z1 = W1 @ p.X + b1
    A1 = np.maximum(Z1, 0)
    Z2 = W2 @ A1 + b2
    e = np.exp(Z2 - Z2.max(0))
    delta2 = (e / e.sum(0) - p.Y) / m
    dW2, db2 = delta2 @ A1.T, delta2.sum(1, keepdims=True)
    delta1 = (W2.T @ delta2) * (Z1 > 0)
    dW1, db1 = delta1 @ p.X.T, delta1.sum(1, keepdims=True)
    for w, dw in ((W1, dW1), (b1, db1), (W2, dW2), (b2, db2)):
        w - 0.1 * dw


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compare(threads: str) -> None:
    """Print the ratios of this process, whose BLAS runs on as many `threads`."""
    for dtype, limit in LIMITS.items():
        problem = catalogue.load("wide").problem(dtype)
        chunks = [item for item in run(adapter(""), problem) if isinstance(item, Chunk)]
        oracle = Oracle(problem)

        def judge(oracle: Oracle = oracle, chunks: list[Chunk] = chunks) -> None:
            verdict = Judge(oracle)
            for chunk in chunks:
                verdict.add(chunk)

        shared = seconds(judge)
        taken = [(seconds(lambda: plain_pass(problem)), seconds(judge)) for _ in range(REPEATS)]  # noqa: B023
        plain, judged = (min(column) for column in zip(*taken, strict=True))
        print(
            f"{dtype}, {threads} BLAS thread{'s' * (threads != '1')}: "
            f"plain pass {plain * 1e3:.1f} ms, judging {judged * 1e3:.1f} ms = {judged / plain:.1f} × "
            f"(limit {limit:g} ×); the first time, with the shared reference, {shared / plain:.1f} ×"
        )


def main() -> None:
    for threads in THREADS:
        settings = os.environ | dict.fromkeys(SETTINGS, threads)
        subprocess.run([sys.executable, __file__, threads], env=settings, check=True)


if __name__ == "__main__":
    compare(sys.argv[1]) if sys.argv[1:] else main()
