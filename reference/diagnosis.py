"""Why is a row wrong? Known mistakes are re-evaluated, and the first that reproduces the engine's numbers is named.

A mistake reproduces them if they lie within the bound that the mistaken formula itself demands, and the mistaken formula
does not coincide with the right one: nothing is chosen, as in judging. Only the first wrong row of a program is looked
at, in the first step in which it is wrong: what comes after it may be wrong only because of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gradparity.reference.bounds import Ball, rounding
from gradparity.reference.compare import Comparison, against, best
from gradparity.reference.evaluation import Evaluation, problem_rows
from gradparity.reference.mistake import Case, Variant
from gradparity.reference.mistakes import MISTAKES, OF_NOT_FINITE
from gradparity.reference.problem import Array, Problem
from gradparity.reference.verdict import Finding, Verdict

if TYPE_CHECKING:
    from gradparity.reference.judge import Steps

UNKNOWN = "no known mistake reproduces it"
LARGE = 2**20
"""Above this many parameters × samples, mistakes are sought in the wrong row only, not in those that were not given."""
SHOWN = 3


def with_causes(problem: Problem, chunk: Steps, findings: list[Finding], known: Collection[tuple[str, str]]) -> list[Finding]:
    """Return `findings`, the first wrong one of each program with its cause; `known` (program, quantity) have theirs."""
    found = list(findings)
    for program in dict.fromkeys(f.program for f in findings):
        first = next((i for i, f in enumerate(found) if f.program == program and f.verdict is Verdict.WRONG), None)
        if first is None or found[first].worst is None or (program, found[first].quantity) in known:
            continue
        same = [f.cause for f in found[:first] if f.quantity == found[first].quantity and f.cause]
        shared = found[first].basis == "same bits" and same
        found[first] = replace(found[first], cause=same[0] if shared else _cause(problem, chunk, found[first]))
    return found


def _cause(problem: Problem, chunk: Steps, finding: Finding) -> str:
    at = (finding.first_wrong_step or 1) - 1 - chunk.first_step
    now, before = _everything(problem, chunk, at), _everything(problem, chunk, at - 1) if at else {}
    own = chunk.probed if finding.program == "probed" else chunk.plain
    names = set(chunk.weights) | {"X", "Y"} | (set(own) if finding.basis != "end to end" or own is chunk.probed else set())
    given = {name: array for name, array in now.items() if name in names and name != finding.quantity}
    value = own[finding.quantity][at : at + 1]
    return diagnose(problem, finding.quantity, value, given, now, before)


def _everything(problem: Problem, chunk: Steps, at: int) -> dict[str, Array]:
    """Return data, weights and all well-formed quantities of one step."""
    X, Y = problem.batch(chunk.first_step + at)
    m = X.shape[1]
    shapes = {row.name: tuple(m if size == "m" else size for size in row.shape) for row in problem_rows(problem)}
    arrays = {name: a[at : at + 1] for name, a in {**chunk.weights, **chunk.plain, **chunk.probed}.items()}
    kept = {
        name: a for name, a in arrays.items()
        if name in chunk.weights or (name in shapes and a.shape[1:] == shapes[name] and a.dtype == problem.dtype)
    }  # fmt: skip
    return {"X": X[None], "Y": Y[None]} | kept


def diagnose(
    problem: Problem,
    quantity: str,
    value: Array,
    given: Mapping[str, Array],
    others: Mapping[str, Array] | None = None,
    before: Mapping[str, Array] | None = None,
) -> str:
    """Return why `value`, which is wrong, is so, in a sentence.

    `given` are data, weights and the quantities that the row is judged from; `others` all that the engine gave in this
    step, `before` in the step before it. Arrays are ``(1, rows, columns)``. For a value that is right, the sentence is
    that no known mistake reproduces it.
    """
    with np.errstate(all="ignore"):
        evaluation = Evaluation(rounding(problem.dtype), problem_rows(problem), dict(given))
        compared = best(value, evaluation.candidates(quantity))
        if not compared.outside.any():
            return UNKNOWN
        for words in _reproducing(problem, quantity, value, evaluation, others or given, before or {}, compared):
            return words
        return _place(quantity, compared)


def _reproducing(
    problem: Problem,
    quantity: str,
    value: Array,
    evaluation: Evaluation,
    others: Mapping[str, Array],
    before: Mapping[str, Array],
    compared: Comparison,
) -> Iterator[str]:
    row = evaluation.rows[quantity]
    finite = bool(np.isfinite(value[compared.outside]).any())
    for formula in (row, *row.alternatives):
        case = Case(problem, evaluation, formula, others, before, value)
        for variant in _variants(case, finite):
            if (not variant.screened or _promising(value, variant.rough(evaluation), compared)) and _reproduces(variant.ball(evaluation), value, compared):
                yield f"{quantity} {variant.words}"
    if problem.X.shape[1] * sum(W.size for W in problem.W) > LARGE:
        return
    for name in _not_given(evaluation, quantity):
        upstream = evaluation.rows[name]
        for formula in (upstream, *upstream.alternatives):
            for variant in _variants(Case(problem, evaluation, formula, others, before), finite):
                mistaken = Evaluation(evaluation.r, tuple(evaluation.rows.values()), evaluation.given | {name: variant.ball(evaluation)})
                if _promising(value, mistaken.mid(quantity), compared) and _reproduces(mistaken.ball(quantity), value, compared):
                    yield f"{quantity} is as it would be if {name} were wrong: {name} {variant.words}"


def _variants(case: Case, finite: bool) -> Iterator[Variant]:
    for mistake in MISTAKES:
        if finite or mistake.name in OF_NOT_FINITE:
            yield from mistake.variants(case)


def _not_given(evaluation: Evaluation, quantity: str) -> list[str]:
    """Return the rows, not given, that `quantity` is computed from, the nearest first."""
    found: dict[str, None] = {}
    queue = [quantity]
    while queue:
        for name in evaluation.rows[queue.pop(0)].inputs:
            if name not in evaluation.given and name not in found:
                found[name] = None
                queue.append(name)
    return list(found)


def _promising(value: Array, rough: Array, compared: Comparison) -> bool:
    """Return whether a mistaken value fits about as well as the right one, or better, in units of the right bound.

    It is within two bounds where it reproduces the value: evaluated in float64, it is a bound away from exact itself.
    """
    if rough.shape != value.shape:
        return False
    ratio = against(value, Ball(rough, compared.rad)).ratio
    infinite = np.isposinf(ratio)
    if infinite.sum() > np.isposinf(compared.ratio).sum():
        return False
    limit = np.max(compared.ratio, where=np.isfinite(compared.ratio), initial=2.0)
    return bool(np.max(ratio, where=~infinite, initial=0.0) <= limit)


def _reproduces(ball: Ball, value: Array, compared: Comparison) -> bool:
    """Return whether `value` lies in `ball`, which is not where the right formula would put it."""
    if ball.mid.shape != value.shape or against(value, ball).outside.any():
        return False
    anything = np.isposinf(np.broadcast_to(ball.rad, value.shape))
    differs = against(ball.mid, Ball(compared.mid, compared.rad)).outside
    return not (anything & compared.outside).any() and bool(differs.any())


def _place(quantity: str, compared: Comparison) -> str:
    """Return where a value is wrong, if that is in one place only; else that the mistake is not known."""
    outside = compared.outside[0]
    where, values, exact = np.argwhere(outside), compared.value[0][outside], compared.mid[0][outside]
    finite = np.isfinite(values)
    what = ""
    if not finite.any():
        what = f"is {' or '.join(sorted({str(float(x)) for x in values}))}, where the formula gives {_number(exact[0])}"
    elif len(where) == 1:
        what = _relation(float(values[0]), float(exact[0]))
    if outside.size == 1:
        return f"{quantity} {what}"
    if len(where) <= SHOWN < outside.size or (what and len(where) < outside.size):
        shown = " and ".join(f"[{i}, {j}]" for i, j in where[:SHOWN])
        more = f" and {len(where) - SHOWN} more" if len(where) > SHOWN else ""
        place = f"{'element' if len(where) == 1 else 'elements'} {shown}{more}"
        return f"{quantity} is wrong in {place} only" + (f": it {what}" if what else f"; {UNKNOWN}")
    if what:
        return f"{quantity} {what}"
    for axis, name in ((1, "column"), (0, "row")):
        lines = np.unique(where[:, axis])
        if len(lines) == 1 < outside.shape[axis]:
            return f"{quantity} is wrong in {name} {lines[0]} only; {UNKNOWN}"
    return UNKNOWN


def _number(x: float) -> str:
    return f"{float(x):.6g}" if np.isfinite(x) else str(float(x))


def _relation(value: float, exact: float) -> str:
    if exact == 0.0 or not np.isfinite(exact):
        return f"is {_number(value)}, not {_number(exact)}"
    ratio = value / exact
    return f"is {ratio:.6g} times what its formula gives" if abs(ratio - 1) > 1e-3 else f"is off by {ratio - 1:.3g} of its value"
