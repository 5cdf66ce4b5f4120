"""What to run: scenarios × dtypes × engines, with everything checked before anything runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeAlias

from gradparity.adapters import registry
from gradparity.reference import catalogue
from gradparity.reference.data import MissingLibrary
from gradparity.reference.errors import InputError, nearest
from gradparity.reference.problem import DTYPES
from gradparity.reference.scenario import Scenario
from gradparity.reports.running import Subject

Function: TypeAlias = Callable[[Any], Any]
ScenarioLike: TypeAlias = Scenario | str | os.PathLike[str]
EngineLike: TypeAlias = str | Function

SLOW_SCENARIOS = ("textbook-bce", "xor-tape")
"""On which an engine that takes long to compile runs, unless it is named or everything is asked for."""


@dataclass(frozen=True)
class Plan:
    """The cells to run. `missing` holds the scenarios (name, dtype) that need a library that is not there, and why;
    `skipped` the engines that are not installed, and how to install them."""

    subjects: tuple[Subject, ...]
    engines: tuple[str, ...]
    functions: dict[str, Function]
    cells: tuple[tuple[Subject, str], ...]
    missing: dict[tuple[str, str], str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Return the number of cells, those that cannot run included."""
        return len(self.cells) + len(self.missing) * (len(self.engines) + len(self.functions))


def plan(
    scenarios: Iterable[ScenarioLike] | ScenarioLike | None = None,
    engines: Iterable[EngineLike] | EngineLike | None = None,
    dtypes: Sequence[str] | None = None,
    full: bool = False,
    there: Callable[[registry.Engine], bool] = attrgetter("installed"),
) -> Plan:
    """Resolve names, files and functions; `there` says which engines can run where the plan is carried out.

    `full` is the catalogue in every dtype, and engines that compile slowly on every scenario.

    Raises InputError for a scenario, engine or dtype that does not exist or is malformed, and for a named engine that
    is not installed.
    """
    if isinstance(scenarios, str | os.PathLike | Scenario):
        scenarios = [scenarios]
    if isinstance(engines, str) or callable(engines):
        engines = [engines]
    dtypes = [dtypes] if isinstance(dtypes, str) else dtypes
    for dtype in dtypes or ():
        if dtype not in DTYPES:
            raise InputError(f"unknown dtype '{dtype}'{nearest(dtype, DTYPES)}; known: {', '.join(DTYPES)}")
    names, functions, skipped, slow = _engines(engines, full, there)
    subjects, missing, shipped = [], {}, catalogue.names()
    for scenario in _scenarios(scenarios):
        for dtype in dtypes or (DTYPES if full and scenario.name in shipped else scenario.dtypes):
            try:
                subjects.append(Subject(scenario, scenario.problem(dtype)))
            except MissingLibrary as reason:
                missing[scenario.name, dtype] = str(reason)
    cells = tuple(
        (subject, engine)
        for subject in subjects
        for engine in (*names, *functions)
        if engine not in slow or subject.scenario.name in SLOW_SCENARIOS
    )
    return Plan(tuple(subjects), names, functions, cells, missing, skipped)


def sources(chosen: Plan) -> dict[str, dict[str, str]]:
    """Return the scenarios as they are saved with results."""
    scenarios = {subject.scenario.name: subject.scenario for subject in chosen.subjects}
    return {name: {"toml": s.to_toml(), "folder": str(s.folder.absolute())} for name, s in scenarios.items()}


def _scenarios(wanted: Iterable[ScenarioLike] | None) -> list[Scenario]:
    known = catalogue.names()
    chosen: dict[str, Scenario] = {}
    for item in known if wanted is None else wanted:
        for scenario in _resolved(item, known):
            if scenario.name in chosen and chosen[scenario.name] != scenario:
                raise InputError(f"two scenarios are called '{scenario.name}': rename one of them")
            chosen[scenario.name] = scenario
    if not chosen:
        raise InputError("no scenario was chosen: `gradparity scenarios` lists those that ship")
    return list(chosen.values())


def _resolved(item: ScenarioLike, known: Sequence[str]) -> list[Scenario]:
    if isinstance(item, Scenario):
        return [item]
    if not isinstance(item, str | os.PathLike):
        raise InputError(f"a scenario is a name, a file or a Scenario, not {type(item).__name__}")
    text = os.fspath(item)
    matching = [name for name in known if fnmatchcase(name, text)]
    if matching:
        return [catalogue.load(name) for name in matching]
    if text.endswith(".toml") or isinstance(item, os.PathLike):
        return [Scenario.from_toml(Path(text))]
    raise InputError(
        f"unknown scenario '{text}'{nearest(text, known)}: name one of `gradparity scenarios`, or a .toml file"
    )


def _engines(
    wanted: Iterable[EngineLike] | None, full: bool, is_there: Callable[[registry.Engine], bool]
) -> tuple[tuple[str, ...], dict[str, Function], dict[str, str], frozenset[str]]:
    if wanted is None:
        there = registry.engines()
        skipped = {e.name: e.broken or f"needs {', '.join(e.missing)}: {e.install}" for e in there if not is_there(e)}
        names = tuple(e.name for e in there if is_there(e))
        return names, {}, skipped, frozenset(e.name for e in there if e.slow and not full)
    names_wanted: dict[str, None] = {}
    functions: dict[str, Function] = {}
    for item in wanted:
        if isinstance(item, str):
            for engine in registry.resolve(item):
                if not is_there(engine):
                    reason = engine.broken or f"needs {', '.join(engine.missing)}; {engine.install}"
                    raise InputError(f"engine '{engine.name}' is not installed: {reason}")
                names_wanted[engine.name] = None
        elif callable(item):
            functions[getattr(item, "__name__", "function")] = item
        else:
            raise InputError(f"an engine is a name or a function, not {type(item).__name__}")
    if not names_wanted and not functions:
        raise InputError("no engine was chosen: `gradparity engines` lists them")
    return tuple(names_wanted), functions, {}, frozenset()
