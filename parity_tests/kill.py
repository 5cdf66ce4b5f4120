"""What becomes of a fault: the faulty engine is run and judged, and how far the fault moved its rows is measured."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from gradparity.adapters.outcome import Chunk
from gradparity.parity_tests.fault import Fault, Mutations, judged, run
from gradparity.reference.bounds import SIGMAS, Ball
from gradparity.reference.compare import best
from gradparity.reference.diagnosis import everything
from gradparity.reference.evaluation import Evaluation, Working
from gradparity.reference.judge import Oracle
from gradparity.reference.problem import Array, Problem
from gradparity.reference.verdict import Finding, Verdict


class Kill(StrEnum):
    """What becomes of a fault. `NOTHING`: it changes no number (or only the sign of a zero) where it strikes."""

    WRONG = "caught"
    SUSPECT = "caught statistically"
    MISSED = "missed"
    NOTHING = "changes nothing"


@dataclass(frozen=True)
class Outcome:
    """One fault in one place. `quantity` is the first row that was found wrong, or suspect.

    `ratio` and `sigmas` are the largest error/bound, and the most standard deviations, of the rows that the fault
    changes; `change` its largest change in relation to the row's largest element, and `share` its largest change of an
    element in relation to twice its bound.
    """

    fault: Fault
    problem: str
    dtype: str
    row: str
    kill: Kill
    plain: Kill
    quantity: str
    ratio: float
    sigmas: float
    change: float
    share: float
    cause: str

    @property
    def named(self) -> bool:
        """Return whether diagnosis gives the right cause."""
        return self.fault.named_in(self.cause)


def outcomes(faults: Iterable[Fault], size: str, dtype: str, everywhere: bool = False) -> Iterator[Outcome]:
    """Yield what becomes of each fault in the first problem in which it strikes each kind of row, or `everywhere`."""
    oracles: dict[str, Oracle] = {}
    for fault in faults:
        seen: dict[str, Outcome] = {}
        for problem, mutations in fault.places(size, dtype):
            row = label(next(iter(mutations)), len(problem.layers))
            if row in seen and seen[row].kill is not Kill.NOTHING and not everywhere:
                continue
            shared = oracles.setdefault(problem.name, Oracle(problem))
            seen[row] = outcome(fault, problem, mutations, shared)
            if everywhere:
                yield seen[row]
        if not everywhere:
            yield from seen.values()


def outcome(fault: Fault, problem: Problem, mutations: Mutations, shared: Oracle) -> Outcome:
    """Run and judge one fault in one place."""
    with np.errstate(all="ignore"):
        chunks = run(problem, mutations)
        measured = [
            measure(problem, chunk, at, name) for chunk in chunks for at in range(chunk.steps) for name in mutations
        ]
    findings = judged(shared, chunks)
    plain = judged(shared, chunks, plain_only=True)
    changed = [f for f in findings if f.quantity in mutations]
    struck = any(m.changed for m in measured)
    first = next((f for v in (Verdict.WRONG, Verdict.SUSPECT) for f in findings if f.verdict is v), None)
    return Outcome(
        fault, problem.name, problem.dtype, label(next(iter(mutations)), len(problem.layers)),
        kill=_kill(findings) if struck else Kill.NOTHING,
        plain=_kill(plain) if struck else Kill.NOTHING,
        quantity=first.quantity if first else "",
        ratio=max((f.worst.ratio for f in changed if f.worst), default=0.0),
        sigmas=max((f.sigmas for f in changed), default=0.0),
        change=max(m.relative for m in measured),
        share=max(m.share for m in measured),
        cause=first.cause if first else "",
    )  # fmt: skip


def label(name: str, layers: int) -> str:
    """Return ``dW_L`` for the last layer, ``dW`` for one before it, and ``loss``."""
    kind, l = re.sub(r"\d", "", name), re.sub(r"\D", "", name)
    return f"{kind}_L" if l and int(l) == layers else kind


def _kill(findings: Iterable[Finding]) -> Kill:
    verdicts = {f.verdict for f in findings}
    return Kill.WRONG if Verdict.WRONG in verdicts else Kill.SUSPECT if Verdict.SUSPECT in verdicts else Kill.MISSED


@dataclass(frozen=True)
class Measured:
    """How far a row was moved: at all; in relation to its largest element; in relation to twice its bound."""

    changed: bool
    relative: float
    share: float


def measure(problem: Problem, chunk: Chunk, at: int, name: str) -> Measured:
    """Compare row `name` of one step with what the right formula makes of the same inputs, in the working precision."""
    given = everything(problem, chunk, at)
    value = given.pop(name)
    shared = Oracle(problem)
    evaluation = Evaluation(shared.r, shared.rows, dict(given))
    row = evaluation.rows[name]
    right: Array = row.compute(Working(), *(given[i] for i in row.inputs))
    if np.array_equal(right, value, equal_nan=True):
        return Measured(False, 0.0, 0.0)
    moved = np.abs(value.astype(np.float64) - right.astype(np.float64))
    moved = np.where(np.isnan(moved), np.inf, moved) * (value != right)
    scale = float(np.max(np.abs(right), initial=0.0))
    bound = np.max([np.broadcast_to(ball.rad, value.shape) for ball in evaluation.candidates(name)], axis=0)
    share = np.where(moved == 0, 0.0, np.where(np.isinf(bound), 0.0, moved / (2 * bound)))
    return Measured(True, float(moved.max()) / scale if scale else np.inf, float(np.max(share)))


@dataclass(frozen=True)
class Smallest:
    """The smallest ε for which a gradient times ``1 + ε`` is found, and the row in which each is."""

    rigorous: float
    statistical: float
    rows: tuple[str, str]


def smallest(problem: Problem) -> dict[str, Smallest]:
    """Return the smallest fault ``dW_l ← (1 + ε) dW_l``, in all layers at once, that each program shows.

    The probed program is judged row by row; the plain one from end to end, as if nothing else had been given.
    """
    chunk = run(problem, {})[0]
    shared = Oracle(problem)
    given = everything(problem, chunk, 0)
    local = Evaluation(shared.r, shared.rows, dict(given))
    names = [row.name for row in shared.rows if row.name.startswith("dW")]
    found = {}
    with np.errstate(all="ignore"):
        for program, evaluation in (("probed", local), ("plain", shared.reference)):
            balls = {name: list(evaluation.candidates(name)) for name in names}
            thresholds = [
                min((_threshold(given[name], balls[name], tier), name) for name in names)
                for tier in ("outside", "suspect")
            ]
            (rigorous, first), (statistical, second) = thresholds
            found[program] = Smallest(rigorous, statistical, (first, second))
    return found


def _threshold(value: Array, balls: list[Ball], tier: str) -> float:
    """Return the smallest ε for which ``(1 + ε) value`` is outside the bound, or suspect, in some element."""
    ball = balls[0]
    sigma = np.sqrt(np.broadcast_to(np.asarray(ball.var), value.shape))
    allowed = np.minimum(ball.rad, SIGMAS * sigma) if tier == "suspect" else ball.rad
    error = (value - ball.mid).astype(np.float64) * np.sign(value)
    epsilon = float(np.min((allowed - error) / np.abs(value), where=value != 0, initial=np.inf))
    for factor, caught in ((1.01, True), (0.99, False)):
        faulty = (value * (1 + np.longdouble(epsilon * factor))).astype(value.dtype)
        assert bool(getattr(best(faulty, balls), tier).any()) is caught
    return epsilon
