"""Isolated environments: built by uv from a lock, whole or not at all, and kept by the key of that lock."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradparity.adapters import facts
from gradparity.adapters.outcome import printable
from gradparity.adapters.process import elsewhere, environment
from gradparity.adapters.registry import PROVIDERS, Engine
from gradparity.reports.cache import folder, made, staged
from gradparity.reports.lock import Lock
from gradparity.reports.side import Side, here, there
from gradparity.reports.unbuildable import Stage, Unbuildable
from gradparity.reports.uv import Uv
from gradparity.reports.wanted import FRAMEWORKS

IMPORT_SECONDS = 600.0

Say = Callable[[str], object]


@dataclass(frozen=True)
class Environment:
    """A side that can be run. `key` is empty where what is installed may change: in the user's own environment.

    `failed` holds the frameworks that are installed and cannot be imported, with the last lines of the attempt.
    """

    side: Side
    key: str = ""
    failed: Mapping[str, str] = field(default_factory=dict)

    def has(self, engine: Engine) -> bool:
        """Return whether everything that `engine` needs is installed here, and can be imported."""
        return has(self.side.distributions, engine) and not any(name in self.failed for name in engine.distributions)


def has(distributions: Mapping[str, str], engine: Engine) -> bool:
    """Return whether `distributions` (normalized names) have everything that `engine` needs."""
    return all(any(d in distributions for d in PROVIDERS.get(p, (p,))) for p in engine.distributions)


def current() -> Environment:
    """Return the environment that gradparity runs in."""
    return Environment(here())


def build(lock: Lock, uv: Uv, say: Say = lambda _: None) -> Environment:
    """Return the environment of `lock`, built if it is not kept; `say` is told what is done.

    Raises `Unbuildable` where something does not install, or NumPy cannot be imported.
    """
    home = folder() / "environments"
    home.mkdir(exist_ok=True)
    worker = staged()

    def make(target: Path) -> None:
        venv = target / "venv"
        say("making an environment")
        uv(Stage.INSTALL, "making it", "venv", "--no-project", "--python", lock.interpreter.path, venv)
        text = target / "lock.txt"
        text.write_text(lock.text, encoding="utf-8")
        say(f"installing {len(lock.pins)} packages")
        uv(
            Stage.INSTALL, f"installing {len(lock.pins)} packages",
            "pip", "install", "--python", _python(venv), "--no-deps", "-r", text, *lock.options, cwd=target,
        )  # fmt: skip
        found = _asked(uv, _python(venv), worker)
        for framework in FRAMEWORKS:
            if any(name in found["distributions"] for name in PROVIDERS.get(framework, (framework,))):
                # A first import compiles what it reads, which all later ones find done.
                say(f"importing {framework}")
                found["failed"] |= _imported(uv, framework, _python(venv), worker)
        (target / "facts.json").write_text(json.dumps(found), encoding="utf-8")

    path = made(
        home / lock.key, make, whole=_whole, stop=uv.stopped, waiting=lambda: say("waiting for another gradparity")
    )
    found: dict[str, Any] = json.loads((path / "facts.json").read_text(encoding="utf-8"))
    failed = found.pop("failed")
    # The machine is this one, whichever built the environment.
    machine = {"platform": platform.platform(), "cpu": facts.cpu_model(), "features": facts.features()}
    return Environment(there(str(_python(path / "venv")), str(worker), found | machine), lock.key, failed)


def _python(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _whole(path: Path) -> bool:
    return (path / "facts.json").is_file() and _python(path / "venv").exists()


def _run(uv: Uv, python: Path, worker: Path, *arguments: str) -> tuple[int, str, str]:
    variables = environment("", elsewhere(str(worker), os.environ))
    return uv.run([str(python), *arguments], variables, timeout=IMPORT_SECONDS)


def _asked(uv: Uv, python: Path, worker: Path) -> dict[str, Any]:
    code, out, err = _run(uv, python, worker, "-m", "gradparity.adapters.facts")
    if code:
        raise Unbuildable(Stage.IMPORT, "NumPy cannot be imported in the new environment", printable(err))
    return {**json.loads(out.splitlines()[-1]), "failed": {}}


def _imported(uv: Uv, framework: str, python: Path, worker: Path) -> dict[str, str]:
    try:
        code, _, err = _run(uv, python, worker, "-c", f"import {framework}")
    except subprocess.TimeoutExpired:
        return {framework: f"no end within {IMPORT_SECONDS:g} s"}
    return {framework: printable(err) or f"the process ended with exit status {code}"} if code else {}
