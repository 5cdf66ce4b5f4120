"""Running uv: found, started, stopped, and its failures as typed outcomes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from gradparity.adapters.outcome import printable
from gradparity.adapters.process import elsewhere
from gradparity.reference.errors import InputError
from gradparity.reports.unbuildable import Stage, Stopped, Unbuildable

LIKE_PIP = {
    "PIP_INDEX_URL": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "PIP_EXTRA_INDEX_URL": ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
    "PIP_FIND_LINKS": ("UV_FIND_LINKS",),
    "PIP_NO_INDEX": ("UV_NO_INDEX",),
}
"""Settings of pip that uv is given, under the first of these names, where it has none of its own."""

MISLEADING = ("UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_BREAK_SYSTEM_PACKAGES", "UV_PROJECT_ENVIRONMENT", "CONDA_PREFIX")
"""Variables that would point uv to an environment that is not ours."""

REFUSED = ("No solution found", "Couldn't parse")
"""What uv says where a request can never be met."""

PASSING = (
    "Failed to fetch",
    "Request failed",
    "error sending request",
    "network was disabled",
    "No space left",
    "Permission denied",
)
"""What uv says where the network or the disk is to blame."""


def settings(base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return every variable that decides where uv takes packages from and which it takes."""
    chosen = {k: v for k, v in base.items() if k.startswith("UV_") and k not in MISLEADING}
    for theirs, ours in LIKE_PIP.items():
        if base.get(theirs) and not any(name in base for name in ours):
            # uv separates find-links by commas, pip by blanks.
            chosen[ours[0]] = ",".join(base[theirs].split()) if theirs == "PIP_FIND_LINKS" else base[theirs]
    return chosen


def find_uv() -> str:
    """Return the path of uv. Raises `InputError` where there is none."""
    found = shutil.which("uv")
    if found:
        return found
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        raise InputError("uv is not there: pip install 'gradparity[upgrade]'") from None


class Uv:
    """Runs uv, in any thread, until `stop` is called; what runs then is ended."""

    def __init__(self) -> None:
        self.path = find_uv()
        self.stopped = threading.Event()
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()

    def __call__(self, stage: Stage, doing: str, *arguments: str | Path, cwd: Path | None = None) -> str:
        """Run uv and return what it printed to standard output.

        Raises `Unbuildable` with its last lines where it fails (`doing` names what it was at), `Stopped` after `stop`.
        """
        own = elsewhere("-", {k: v for k, v in os.environ.items() if k not in MISLEADING})
        del own["PYTHONPATH"]
        quiet = {"NO_COLOR": "1", "UV_NO_PROGRESS": "1"}
        code, out, err = self.run([self.path, *map(str, arguments)], own | settings() | quiet, cwd)
        if code:
            refused, passing = (any(said in err for said in sayings) for sayings in (REFUSED, PASSING))
            # Offline, what is not in the cache is said not to exist.
            passing = passing or os.environ.get("UV_OFFLINE", "0").lower() not in ("", "0", "false")
            refused = refused and not passing
            raise Unbuildable(stage, f"{doing} failed", printable(err), refused=refused, passing=passing)
        return out

    def run(
        self, command: list[str], env: Mapping[str, str], cwd: Path | None = None, timeout: float | None = None
    ) -> tuple[int, str, str]:
        """Run any command; return its exit status and what it printed to standard output and standard error.

        Raises `Stopped` after `stop`, `subprocess.TimeoutExpired` where it takes longer than `timeout` seconds.
        """
        with self._lock:
            if self.stopped.is_set():
                raise Stopped
            # A session of its own, so that Ctrl-C reaches this process alone and nothing is half done.
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            self._running.add(process)
        try:
            out, err = process.communicate(timeout=timeout)
        finally:
            _end(process)
            with self._lock:
                self._running.discard(process)
        if self.stopped.is_set():
            raise Stopped
        return process.returncode, out, err

    def stop(self) -> None:
        """End whatever runs, and start nothing more."""
        with self._lock:
            self.stopped.set()
            for process in self._running:
                _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
