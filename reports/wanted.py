"""What one side of a comparison is to be, as the user wrote it: packages, a file of them, or this environment."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from gradparity.adapters.registry import PROVIDERS
from gradparity.reference.errors import InputError

CURRENT = "."
FILES = (".txt", ".in", ".toml", ".lock")
FRAMEWORKS = ("tensorflow", "jax", "torch")

SMALL = sys.platform == "linux" and platform.machine() == "x86_64"
"""Whether there is a TensorFlow without CUDA under a name of its own: the same code for the CPU, and a fraction of the
download."""


def provided(name: str) -> str:
    """Return the package that the distribution called `name` provides: ``tensorflow`` for ``tensorflow-cpu``."""
    canonical = canonicalize_name(name)
    return next((package for package, names in PROVIDERS.items() if canonical in names), str(canonical))


@dataclass(frozen=True)
class Wanted:
    """One side. Of packages, `requirements` holds a line each; of a file, `file` its path; else it is `current`.

    `named` maps the packages that the user named to the exact version, or to "" where it is not given; of a file, and
    of the current environment, nothing is named. `wheels` are local files among the requirements.
    """

    text: str
    requirements: tuple[str, ...] = ()
    file: Path | None = None
    named: Mapping[str, str] = field(default_factory=dict)
    wheels: tuple[Path, ...] = ()

    @property
    def current(self) -> bool:
        """Return whether this is the environment that gradparity runs in."""
        return self.text == CURRENT

    @property
    def exact(self) -> bool:
        """Return whether every package named has its version, so that the date of the day does not matter."""
        return bool(self.named) and all(self.named.values())


def wanted(text: str) -> Wanted:
    """Read one side. Raises `InputError` for what is neither a requirement, a file of them, a wheel nor ``.``."""
    text = text.strip()
    if text == CURRENT:
        return Wanted(CURRENT)
    path = Path(text).expanduser()
    if text.endswith(FILES) and " " not in text:
        if not path.is_file():
            raise InputError(f"cannot read {path}: no such file; name a requirements or lock file")
        return Wanted(text, file=path.absolute())
    if path.is_file() and path.suffix != ".whl":
        raise InputError(f"{text} is no requirements or lock file: its name has to end in {', '.join(FILES)}")
    if "/" in text and path.is_dir():
        raise InputError(f"{text} is a folder: name a requirements or lock file in it")
    parsed = [_requirement(word, text) for word in _words(text)]
    if not parsed:
        raise InputError("nothing is named: write packages such as 'jax==0.9.2', a requirements file, or '.'")
    named = {provided(requirement.name): version for requirement, version, _ in parsed}
    if len(named) < len(parsed):
        raise InputError(f"{text!r} names a package twice")
    own = all(name in (*FRAMEWORKS, "keras", "jaxlib", "numpy", "ml-dtypes", "scipy") for name in named)
    lines = tuple(_line(requirement, named, small=SMALL and own) for requirement, _, _ in parsed)
    return Wanted(text, lines + _partners(named), None, named, tuple(wheel for _, _, wheel in parsed if wheel))


def spelled(package: str) -> str:
    """Return the name under which `package` is installed here."""
    return "tensorflow-cpu" if SMALL and canonicalize_name(package) == "tensorflow" else package


def _words(text: str) -> list[str]:
    try:
        Requirement(text)
    except InvalidRequirement:
        # Blanks around an operator belong to their requirement; any other stands between two.
        return [word for word in re.split(r",?\s+", re.sub(r"\s*([<>=!~]=?=?)\s*", r"\1", text)) if word]
    return [text]


def _requirement(word: str, text: str) -> tuple[Requirement, str, Path | None]:
    if word.endswith(".whl") and "@" not in word:
        wheel = Path(word).expanduser().absolute()
        try:
            name, version, _, _ = parse_wheel_filename(wheel.name)
        except InvalidWheelFilename as error:
            raise InputError(f"{word}: {error}") from None
        if not wheel.is_file():
            raise InputError(f"cannot read {word}: no such file")
        return Requirement(f"{name} @ {wheel.as_uri()}"), str(version), wheel
    try:
        requirement = Requirement(word)
    except InvalidRequirement as error:
        where = "" if word == text else f" in {text!r}"
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{word!r}{where} is no requirement: {reason}; write 'name==version', with a blank between two"
        ) from None
    pins = [s.version for s in requirement.specifier if s.operator in ("==", "===") and not s.version.endswith(".*")]
    if pins and _parsed(pins[0]) is None:
        raise InputError(f"{word!r}: {pins[0]!r} is no version; write 'name==version'")
    return requirement, pins[0] if pins else "", None


def _line(requirement: Requirement, named: Mapping[str, str], *, small: bool) -> str:
    if small and not requirement.url:
        requirement.name = spelled(requirement.name)
    if requirement.name == "jax" and "jaxlib" not in named:
        # Early releases say which jaxlib they need in this extra alone.
        requirement.extras |= {"cpu"}
    return str(requirement)


def _partners(named: Mapping[str, str]) -> tuple[str, ...]:
    """Return what a package that was named does nothing without."""
    if "jaxlib" in named and "jax" not in named:
        return (f"jax<={named['jaxlib']}" if named["jaxlib"] else "jax",)
    return ()


def backends(side: Wanted, there: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Return what Keras is to run on where it was named alone, as lists of requirements to be tried in order.

    Keras 2 is part of a TensorFlow. Keras 3 gets the frameworks that are `there` at their versions; else without
    torch, which no index of packages has in the build for the CPU; else at versions that go with it.
    """
    if "keras" not in side.named or any(name in side.named for name in FRAMEWORKS):
        return [()]
    tensorflow = spelled("tensorflow")
    version = _parsed(side.named["keras"])
    if version is not None and version.major < 3:
        return [(f"{tensorflow}=={version.major}.{version.minor}.*",)]
    pins = {provided(name): pin for name, pin in there.items()}
    found = [name for name in FRAMEWORKS if name in pins]
    if not found:
        return [("jax[cpu]",)]
    lines = {"tensorflow": tensorflow, "jax": "jax[cpu]", "torch": "torch"}
    exact = [f"{lines[name]}=={pins[name]}" for name in found]
    without = [line for line in exact if not line.startswith("torch")]
    free = [lines[name] for name in found if name != "torch"] or ["jax[cpu]"]
    return list(dict.fromkeys(tuple(tried) for tried in (exact, without, free) if tried))


def _parsed(version: str) -> Version | None:
    try:
        return Version(version)
    except InvalidVersion:
        return None


def concerned(sides: Sequence[Wanted]) -> frozenset[str] | None:
    """Return the packages whose engines are to run: those named on any side; None for all."""
    named = {name for side in sides for name in side.named}
    if any(side.file for side in sides) or not named & {*FRAMEWORKS, "keras", "jaxlib", "numpy"}:
        return None
    return frozenset(named)
