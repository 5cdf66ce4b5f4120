"""What is run in each of the environments that are compared: scenarios, probes, engines."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gradparity.adapters import registry
from gradparity.adapters.registry import Engine
from gradparity.reference.errors import InputError
from gradparity.reports.cache import digest
from gradparity.reports.environments import has
from gradparity.reports.plan import Plan, plan

QUICK = (
    "deep", "digits-softmax", "kink", "leaky-regression", "odd-shapes", "one-sample", "saturated",
    "saturated-probabilities", "tanh-regression", "textbook-bce", "textbook-half-mse",
)  # fmt: skip
"""The scenarios that run by default: every activation, loss and kind of shape, and nothing that takes long."""


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
        """Raise `InputError` for an engine or a scenario that does not exist or is malformed."""
        self.candidates(None)
        if self.scenarios:
            plan(self.scenarios, ["numpy"])

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
        if not names:
            needed = sorted({package for engine in found for package in engine.distributions})
            of = f" of {', '.join(sorted(concerned))}" if concerned else ""
            missing = f"they need {' or '.join(needed)}" if needed else "no engine belongs to what was named"
            raise InputError(f"both sides have no engine{of} in common: {missing}; name the packages on both sides")
        return names

    def plan(self, engines: Collection[str]) -> Plan:
        """Return the cells to run on `engines`, wherever they are installed. Raises `InputError` for bad scenarios."""
        wanted = self.scenarios or (() if self.probes else None if self.full else QUICK)
        if wanted == ():
            return Plan((), tuple(engines), {}, ())
        named = set(engines) if not self.engines else set()
        return plan(wanted, None if named else tuple(engines), None, self.full, lambda e: not named or e.name in named)

    def key(self, chosen: Plan) -> str:
        """Return the key of what `chosen` computes, apart from gradparity itself and from the environment."""
        cells = [
            (s.scenario.to_toml(), s.problem.dtype, s.problem.data_sha256, s.problem.weights_sha256, engine)
            for s, engine in chosen.cells
        ]
        return digest(cells, chosen.engines, sorted(chosen.missing), self.probes, bool(self.scenarios), self.full)
