"""Which Python an environment is built on."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from gradparity.adapters.process import elsewhere
from gradparity.reference.errors import InputError
from gradparity.reports.unbuildable import Stage, Unbuildable
from gradparity.reports.uv import Uv

OLDEST = (3, 11)
"""The oldest Python that a worker runs on."""

UNKNOWN = ("No download found", "not a valid Python download request")
"""What uv says of a Python that does not exist."""

ASK = (
    "import platform, sys, sysconfig;"
    "print(platform.python_version(), sys.implementation.cache_tag, sysconfig.get_platform(), sep='\\n')"
)


@dataclass(frozen=True)
class Interpreter:
    """A Python. Packages that were installed for one of the same `version` and `abi` can be used by it."""

    path: str
    version: str
    abi: str


def here() -> Interpreter:
    """Return the Python that gradparity runs on."""
    abi = f"{sys.implementation.cache_tag} {sysconfig.get_platform()}"
    return Interpreter(sys.executable, platform.python_version(), abi)


def find(wanted: str | None, uv: Uv) -> Interpreter:
    """Return the Python of that version or at that path, fetched by uv where the machine has none; default: this one.

    Raises `InputError` where there is none or it is too old.
    """
    if wanted is None:
        return here()
    if "/" in wanted and not Path(wanted).is_file():
        raise InputError(f"--python {wanted}: no such file")
    path = wanted if Path(wanted).is_file() else _found(wanted, uv)
    try:
        answer = subprocess.run(
            [path, "-c", ASK], env=elsewhere("-", {}), capture_output=True, text=True, check=True, timeout=60
        )
        version, *abi = answer.stdout.split("\n")[:3]
    except (OSError, subprocess.SubprocessError, ValueError):
        raise InputError(f"--python {wanted}: {path} is no Python that runs") from None
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise InputError(f"--python {wanted}: Python {version} is too old; a worker needs 3.11 or newer")
    return Interpreter(str(Path(path).absolute()), version, " ".join(abi))


def _found(wanted: str, uv: Uv) -> str:
    numbers = re.fullmatch(r"(\d+)\.(\d+)(\.\d+)?", wanted)
    if numbers and (int(numbers[1]), int(numbers[2])) < OLDEST:
        raise InputError(f"--python {wanted} is too old; a worker needs 3.11 or newer")
    find_it = ("python", "find", "--system", "--no-project", wanted)
    try:
        return uv(Stage.LOOK_UP, f"finding Python {wanted}", *find_it).strip()
    except Unbuildable:
        try:
            uv(Stage.INSTALL, f"installing Python {wanted}", "python", "install", "--no-bin", wanted)
        except Unbuildable as failure:
            if any(said in failure.log for said in UNKNOWN):
                raise InputError(f"--python {wanted}: there is no such Python; write a version such as 3.12") from None
            raise
        return uv(Stage.LOOK_UP, f"finding Python {wanted}", *find_it, "--managed-python").strip()
