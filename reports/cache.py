"""The folder of what can be made again: environments, the staged worker, results of releases.

Everything in it appears whole, by a rename, and by one process at a time; it may be deleted at any moment.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

import gradparity
from gradparity.reference.errors import InputError
from gradparity.reports.unbuildable import Stopped

VARIABLE = "GRADPARITY_CACHE_DIR"
"""The environment variable that names another folder."""

STAGED = ("__init__.py", "reference", "adapters")
"""What a worker needs of gradparity."""

POLL = 0.2
"""Seconds between two looks at whether a wait is to end."""


def folder() -> Path:
    """Return the cache's folder, made if it is not there. Raises `InputError` where it cannot be."""
    path = Path(os.environ.get(VARIABLE) or platformdirs.user_cache_path("gradparity", appauthor=False)).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the cache {path}: {error.strerror}; name another folder in {VARIABLE}") from None
    return path


def digest(*parts: object) -> str:
    """Return a key: 32 hexadecimal digits that depend on every part's text and place."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]


@contextmanager
def locked(
    path: Path, stop: threading.Event | None = None, waiting: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Hold the lock of `path`; `waiting` is called once if another process has it.

    Raises `Stopped` where `stop` is set before the lock is free.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock, said = FileLock(path.with_name(f"{path.name}.lock")), False
    while True:
        try:
            lock.acquire(timeout=POLL)
            break
        except Timeout:
            if stop is not None and stop.is_set():
                raise Stopped from None
            if not said:
                waiting()
            said = True
    try:
        yield
    finally:
        lock.release()


def made(
    path: Path,
    make: Callable[[Path], object],
    *,
    whole: Callable[[Path], bool] = Path.is_dir,
    stop: threading.Event | None = None,
    waiting: Callable[[], object] = lambda: None,
) -> Path:
    """Return the folder `path`, made by ``make(temporary folder)`` if it is not there and `whole`.

    The temporary folder becomes `path` when `make` has returned; what is left of a process that was killed is cleared
    away by the next one. Raises what `make` raises.
    """
    if whole(path):
        return path
    with locked(path, stop, waiting):
        if whole(path):
            return path
        for left in (*path.parent.glob(f"{path.name}.*.part"), path):
            shutil.rmtree(left, ignore_errors=True)
        # A name of its own each time: what a killed process has started may still be writing.
        temporary = Path(tempfile.mkdtemp(".part", f"{path.name}.", path.parent))
        try:
            make(temporary)
            temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return path


def sources() -> list[Path]:
    """Return every file of gradparity that numbers or verdicts can depend on, relative to its package, sorted."""
    package = Path(gradparity.__file__).parent
    found = (file for part in ("reference", "adapters", "reports") for file in (package / part).rglob("*"))
    return sorted(file.relative_to(package) for file in found if file.suffix in (".py", ".toml"))


@cache
def own_digest() -> str:
    """Return the key of gradparity's own source, as it was when it was first asked for."""
    package = Path(gradparity.__file__).parent
    return digest(*(part for file in sources() for part in (file.as_posix(), (package / file).read_bytes())))


def staged() -> Path:
    """Return a folder that holds of gradparity what a worker needs, to be put on its ``PYTHONPATH``."""
    package = Path(gradparity.__file__).parent

    def copy(target: Path) -> None:
        for name in STAGED:
            here, there = package / name, target / "gradparity" / name
            if here.is_dir():
                shutil.copytree(here, there, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                there.parent.mkdir(exist_ok=True)
                shutil.copyfile(here, there)

    return made(folder() / "workers" / own_digest(), copy)
