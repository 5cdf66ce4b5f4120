"""What is run in each of the environments that are compared: scenarios, probes, engines."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from gradparity.adapters import registry
from gradparity.adapters.operations.case import OperationCase
from gradparity.adapters.registry import Engine
from gradparity.reference.errors import InputError
from gradparity.reports.cache import digest
from gradparity.reports.environments import has
from gradparity.reports.operation_cells import select
from gradparity.reports.plan import Plan, plan
from gradparity.reports.wanted import provided

PACKAGES = {"tf": "tensorflow"}
"""Packages that are imported under another name."""

QUICK = {
    "odd-shapes": "float32",
    "saturated-probabilities": "float64",
    "one-sample": "float32",
    "digits-softmax": "float32",
}
"""The scenarios that run by default, each in one dtype: whole training steps with every kind of loss. What the single
functions do is for the probes."""


@dataclass(frozen=True)
class Selection:
    """Patterns and files as the user gave them. Without any scenario or probe named: `QUICK`, and every probe.

    Where scenarios are named and probes are not, only those scenarios run; and the other way round.
    """

    scenarios: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    full: bool = False

    def check(self) -> None:
        """Raise `InputError` for an engine, a scenario or a probe that does not exist or is malformed."""
        self.candidates(None)
        if self.scenarios:
            plan(self.scenarios, ["numpy"])
        select(self.probes or ("*",))

    def candidates(self, concerned: Collection[str] | None) -> list[Engine]:
        """Return the engines named; else those of the packages `concerned` (None: all).

        Raises `InputError` for an engine that does not exist.
        """
        if self.engines:
            return [engine for pattern in self.engines for engine in registry.resolve(pattern)]
        known = [engine for engine in registry.engines() if not engine.broken]
        return [e for e in known if concerned is None or not set(e.distributions).isdisjoint(concerned)]

    def shared(self, concerned: Collection[str] | None, *sides: Mapping[str, str]) -> tuple[str, ...]:
        """Return the engines that every one of `sides` (the distributions of each) can run.

        Raises `InputError` where there is none.
        """
        found = self.candidates(concerned)
        names = tuple(engine.name for engine in found if all(has(side, engine) for side in sides))
        # The reference in NumPy alone says nothing about frameworks, unless NumPy itself is what changes.
        wanted = self.engines or (concerned is not None and "numpy" in concerned)
        if not names or (names == ("numpy",) and not wanted):
            needed = sorted({package for engine in found for package in engine.distributions} - {"numpy"})
            of = f" of {', '.join(sorted(concerned))}" if concerned and not self.engines else ""
            missing = f"they need {' or '.join(needed)}" if needed else "no engine belongs to what was named"
            raise InputError(
                f"no engine{of} can run on both sides: {missing}; name the packages on both sides, or another --engine"
            )
        return names

    def plan(self, engines: Collection[str]) -> Plan:
        """Return the scenarios to run on `engines`, wherever they are installed. Raises `InputError` for a bad one."""
        if self.probes and not self.scenarios:
            return Plan((), tuple(engines), {}, ())
        quick = not self.scenarios and not self.full
        wanted = self.scenarios or (tuple(QUICK) if quick else None)
        # An engine that is not named takes part where its slowness allows.
        chosen = plan(wanted, self.engines or None, None, self.full, lambda e: self.engines != () or e.name in engines)
        cells = tuple((s, engine) for s, engine in chosen.cells if engine in engines)
        if quick:
            cells = tuple(cell for cell in cells if QUICK[cell[0].scenario.name] == cell[0].problem.dtype)
        return replace(chosen, engines=tuple(engines), cells=cells, skipped={})

    def operations(self, engines: Collection[str], distributions: Mapping[str, str]) -> list[tuple[OperationCase, str]]:
        """Return the probes to run, each with one of `engines`, of the packages that `distributions` has.

        Raises `InputError` for a pattern that names none.
        """
        if self.scenarios and not self.probes:
            return []
        named = self.full or bool(self.engines) or (self.probes not in ((), ("*",)))
        there = {provided(name) for name in distributions}
        return [
            (case, engine)
            for engine in engines
            for case in select(self.probes or ("*",))
            if case.runs_on(engine, named and (self.full or bool(self.engines) or not registry.find(engine).slow))
            and PACKAGES.get(case.framework, case.framework) in there
        ]

    def key(self, chosen: Plan, operations: Sequence[tuple[OperationCase, str]]) -> str:
        """Return the key of what is computed, apart from gradparity itself and from the environment."""
        cells = [
            (s.scenario.to_toml(), s.problem.dtype, s.problem.data_sha256, s.problem.weights_sha256, engine)
            for s, engine in chosen.cells
        ]
        return digest(cells, sorted(chosen.missing), [(repr(case), engine) for case, engine in operations])
