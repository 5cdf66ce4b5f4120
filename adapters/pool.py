"""One warm process per framework family, side by side; every task ends in a typed outcome."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any, Self, TypeAlias

from gradparity.adapters.operations.case import OperationTask
from gradparity.adapters.outcome import Ended, Status, Task
from gradparity.adapters.process import Answer, Worker
from gradparity.adapters.registry import find
from gradparity.reference.errors import InputError

AnyTask: TypeAlias = Task | OperationTask
Consume: TypeAlias = Callable[[Any, Any], object]

LONGEST_FIRST = ("jax", "tensorflow", "keras:jax", "torch")
"""The order in which families start, after those with an engine that compiles slowly; then others, and NumPy last."""

READ_AHEAD = 2
"""How many items of a family wait to be consumed at most, so that memory stays bounded by as many chunks."""

STARTS = 2
"""How often a process is started that dies before it says hello."""


class PoolClosedError(RuntimeError):
    """The pool was closed while work was left, or is asked for more afterwards."""


def cores() -> int:
    """Return the number of cores that this process may use."""
    if sys.version_info >= (3, 13):
        return os.process_cpu_count() or 1
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Pool:
    """Context manager over the workers. `timeout` is in seconds a task, and once more for a process to start.

    `python` is the interpreter that they run on, and `pythonpath` the folder that it imports gradparity from, where
    that is not the caller's own. Raises `InputError` for a timeout that is none.
    """

    def __init__(
        self, python: str = sys.executable, jobs: int | None = None, timeout: float = 300.0, pythonpath: str = ""
    ) -> None:
        if not timeout > 0:
            raise InputError(f"timeout: {timeout}; give a number of seconds above 0")
        self.python, self.jobs, self.timeout, self.pythonpath = python, jobs or cores(), timeout, pythonpath
        self._workers: dict[str, Worker] = {}
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        for worker in self._workers.values():
            worker.kill()

    def run(self, tasks: Iterable[AnyTask], consume: Consume) -> None:
        """Run `tasks`, calling ``consume(task, item)`` for each chunk of a task in order, then for its `Ended`.

        Families run side by side, at most `jobs` of them, and go on while an item is consumed: each calls
        `consume` in a thread of its own, one item at a time. What `consume` raises, and Ctrl-C, ends every process,
        and reaches the caller. Raises `InputError` for an unknown engine before anything runs.
        """
        families: dict[str, list[AnyTask]] = {}
        for task in tasks:
            families.setdefault(find(task.engine).family, []).append(task)
        with ThreadPoolExecutor(self.jobs) as threads:
            try:
                served = [
                    threads.submit(self._serve, family, families[family], consume)
                    for family in sorted(families, key=lambda family: _start_order(family, families[family]))
                ]
                for future in as_completed(served):
                    future.result()
            except BaseException:
                self.close()
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    def _serve(self, family: str, tasks: Sequence[AnyTask], consume: Consume) -> None:
        waiting: deque[Future[object]] = deque()
        with ThreadPoolExecutor(1) as consumer:
            for task, item in self._items(family, tasks):
                waiting.append(consumer.submit(consume, task, item))
                if len(waiting) > READ_AHEAD:
                    waiting.popleft().result()
            for future in waiting:
                future.result()

    def _items(self, family: str, tasks: Sequence[AnyTask]) -> Iterator[tuple[AnyTask, Answer]]:
        """Run the tasks of one family in order, on a new process after each one that died."""
        for number, task in enumerate(tasks):
            failure = self._ready(family)
            if failure:
                yield from ((unserved, failure) for unserved in tasks[number:])
                return
            for item in self._workers[family].run(task, self.timeout):
                # The death of a process that was ended from here is nobody's outcome.
                if self._closed:
                    raise PoolClosedError
                yield task, item

    def _ready(self, family: str) -> Ended | None:
        """See to it that the family has a live process; return how starting one ended where it cannot be had."""
        worker, failure = self._workers.get(family), None
        if worker and worker.process.returncode is None:
            return None
        for _ in range(STARTS):
            failure = self._start(family).hello(self.timeout)
            if failure is None or failure.status is Status.TIMED_OUT:
                break
        return failure

    def _start(self, family: str) -> Worker:
        with self._lock:
            if self._closed:
                raise PoolClosedError
            worker = self._workers[family] = Worker(family, self.python, self.pythonpath)
            return worker

    def close(self) -> None:
        """End every process, and start none any more. It may be called in any thread."""
        with self._lock:
            self._closed = True
            for worker in self._workers.values():
                worker.stop()


def _start_order(family: str, tasks: Iterable[AnyTask]) -> tuple[bool, int, str]:
    quick = not any(find(engine).slow for engine in {task.engine for task in tasks})
    if family == "numpy":
        return quick, len(LONGEST_FIRST) + 1, family
    return quick, (LONGEST_FIRST.index(family) if family in LONGEST_FIRST else len(LONGEST_FIRST)), family
