"""BLAS keeps to one thread while engines compute beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

_lock = threading.Lock()
_inside: list[threadpool_limits] = []


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let BLAS compute on one thread in this process, as long as any thread is in here.

    The engines' processes have the cores. A second thread of BLAS waits actively most of the time, and takes from them
    what it wastes: ``benchmarks/run_time.py``.
    """
    with _lock:
        _inside.append(threadpool_limits(1, user_api="blas"))
    try:
        yield
    finally:
        with _lock:
            # Whoever leaves undoes what the last comer did, so that what was before the first comes back last.
            _inside.pop().restore_original_limits()
