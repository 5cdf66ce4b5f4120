"""The scenarios that ship, one TOML file each. Their names are those of the files, so that listing parses nothing."""

from __future__ import annotations

from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING

from gradparity.reference.errors import InputError, nearest

if TYPE_CHECKING:
    from gradparity.reference.scenario import Scenario


def catalogue() -> dict[str, Traversable]:
    """Return the TOML file of every scenario by name, in alphabetical order."""
    found = {f.name.removesuffix(".toml"): f for f in files(__name__).iterdir() if f.name.endswith(".toml")}
    return dict(sorted(found.items()))


def names() -> tuple[str, ...]:
    """Return the names of all scenarios, in alphabetical order."""
    return tuple(catalogue())


def load(name: str) -> Scenario:
    """Read one scenario of the catalogue. Raises `InputError` for an unknown name."""
    from gradparity.reference.scenario import Scenario

    known = catalogue()
    if name not in known:
        raise InputError(f"unknown scenario {name!r}{nearest(name, known)}; the catalogue has {', '.join(known)}")
    with as_file(known[name]) as path:
        return Scenario.from_toml(path)
