"""One worker process as its parent sees it: started, fed tasks, and ended with a reason whatever it does."""

from __future__ import annotations

import getpass
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from gradparity.adapters.loop import Item, Stopwatch
from gradparity.adapters.operations.case import OperationTask, Outputs
from gradparity.adapters.outcome import Chunk, Ended, Status, Task, printable
from gradparity.adapters.wire import HELLO, receive, send

Answer: TypeAlias = Item | Outputs

LOG_BYTES = 16_384

FIXED = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "HIP_VISIBLE_DEVICES": "-1",
    "ROCR_VISIBLE_DEVICES": "-1",
    "JAX_PLATFORMS": "cpu",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    # XLA sizes its thread pool from NPROC, and cuts sums up accordingly.
    "NPROC": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "PYTHONSAFEPATH": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONUNBUFFERED": "1",
    "PYTHONFAULTHANDLER": "1",
}
"""Every engine runs on the CPU with one thread, so that a result depends on the machine as little as it can."""

KERAS_BACKENDS = ("tensorflow", "torch", "jax")

LEAKING = ("PYTHONHOME", "PYTHONPATH", "PYTHONPLATLIBDIR", "PYTHONUSERBASE", "PYTHONSTARTUP", "VIRTUAL_ENV")
"""Variables that belong to one Python and mislead another."""


def elsewhere(pythonpath: str, base: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for another interpreter, which is to import gradparity from `pythonpath`.

    What points to packages of the caller's own Python does not reach it. An empty `pythonpath` changes nothing.
    """
    if not pythonpath:
        return dict(base)
    return {k: v for k, v in base.items() if k not in LEAKING} | {"PYTHONPATH": pythonpath, "PYTHONNOUSERSITE": "1"}


def environment(family: str, base: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that the worker of `family` runs under, on top of those of `base`."""
    flags = f"{base.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
    backend = family.removeprefix("keras:")
    keras = {"KERAS_BACKEND": backend} if backend in KERAS_BACKENDS else {}
    defaults = {"TF_CPP_MIN_LOG_LEVEL": "2", "TORCHINDUCTOR_CACHE_DIR": _inductor_cache()}
    return {**defaults, **base, **FIXED, **keras, "XLA_FLAGS": flags}


def _inductor_cache() -> str:
    """Return where torch keeps what it compiled unless told otherwise, as seen from outside a worker."""
    try:
        user = getpass.getuser()
    except (KeyError, ImportError, OSError):
        user = "unnamed"
    return str(Path(tempfile.gettempdir()) / f"torchinductor_{user}")


class Worker:
    """The warm process of one family. What it prints goes to an unnamed file, read only when it is needed."""

    def __init__(self, family: str, python: str, pythonpath: str = "") -> None:
        # Frameworks clear away their temporary files when they end in peace; a worker is killed.
        self.folder = tempfile.TemporaryDirectory(prefix="gradparity-", ignore_cleanup_errors=True)
        self.log = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - `kill` closes it
        self.timed_out = False
        # A session of its own: Ctrl-C reaches the parent alone, and what an engine starts dies with it.
        self.process = subprocess.Popen(
            [python, "-m", "gradparity.adapters.worker", family],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=environment(family, elsewhere(pythonpath, os.environ))
            | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), self.folder.name),
            start_new_session=True,
        )
        assert self.process.stdin
        assert self.process.stdout
        self.tasks, self.results = self.process.stdin, self.process.stdout

    def hello(self, timeout: float) -> Ended | None:
        """Wait at most `timeout` seconds until the process is ready; return how it ended where it never was."""
        try:
            with self._limit(timeout):
                if (greeting := receive(self.results)) != HELLO:
                    raise ValueError(f"{greeting!r} is no greeting")
        except (OSError, EOFError, ValueError) as error:
            return self._dead(error, timeout)
        return None

    def run(self, task: Task | OperationTask, timeout: float) -> Iterator[Answer]:
        """Send `task` and yield what comes back: chunks, then one `Ended`, also where the process dies.

        `timeout` is in seconds of waiting: what the consumer takes between two items does not count.
        """
        clock = Stopwatch()
        try:
            self.log.seek(0)
            self.log.truncate()
            with clock, self._limit(timeout):
                send(self.tasks, task)
            while True:
                with clock, self._limit(timeout - clock.seconds):
                    item = receive(self.results)
                if isinstance(item, Chunk | Outputs):
                    yield item
                elif isinstance(item, Ended):
                    yield item if item.status is Status.DONE else replace(item, log=self._printed() or item.log)
                    return
                else:
                    raise ValueError(f"{item!r} is no answer")
        except (OSError, EOFError, ValueError) as error:
            yield replace(self._dead(error, timeout), seconds=clock.seconds)

    @contextmanager
    def _limit(self, seconds: float) -> Iterator[None]:
        timer = threading.Timer(max(seconds, 0.0), self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _expire(self) -> None:
        self.timed_out = True
        self.stop()

    def _printed(self) -> str:
        # The process writes where this descriptor stands, so it is left at the end.
        self.log.seek(max(0, self.log.seek(0, os.SEEK_END) - LOG_BYTES))
        return printable(self.log.read().decode("utf-8", "replace"))

    def _dead(self, error: Exception, timeout: float) -> Ended:
        """End the process for good, and say how it had ended already."""
        self.stop()
        code, log = self.process.wait(), self._printed()
        self.kill()
        if self.timed_out:
            return Ended(Status.TIMED_OUT, f"no answer within {timeout:g} s", log)
        if isinstance(error, ValueError):
            return Ended(Status.CRASHED, f"the answer could not be read: {error}", log)
        return Ended(Status.CRASHED, _exit(code), log)

    def stop(self) -> None:
        """Make the process and all that it started end, without waiting for it."""
        if self.process.returncode is not None:
            return
        # A process that has ended and was not waited for keeps its exit code, and its number to itself.
        with suppress(ProcessLookupError, PermissionError):
            if os.name == "posix":
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()

    def kill(self) -> None:
        """End the process, wait for it, and close everything. It may be called again."""
        self.stop()
        self.process.wait()
        for stream in (self.tasks, self.results, self.log):
            with suppress(OSError):
                stream.close()
        self.folder.cleanup()


LEFT = "the process ended with exit status"


def _exit(code: int) -> str:
    """Say in words what an exit code means."""
    if code >= 0:
        return f"{LEFT} {code}"
    name = {int(s): s.name for s in signal.Signals}.get(-code, "unnamed")
    hint = "; the system may have run out of memory" if name == "SIGKILL" else ""
    return f"the process was killed by signal {-code} ({name}){hint}"


def may_pass(message: str) -> bool:
    """Return whether a process that ended as `message` says may do better another time: it left, or was made to.

    A crash in native code will come again.
    """
    return message.startswith(LEFT) or message == _exit(-9)
