"""Why is a row wrong? Known mistakes are re-evaluated, and the first that reproduces the engine's numbers is named.

A mistake reproduces them if they lie within the bound that the mistaken formula itself demands, and that formula does
not coincide with the right one: nothing is chosen, as in judging. Only the first wrong row of a program is looked at,
in the first step in which it is wrong: what comes after it may be wrong only because of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gradparity.reference.bounds import Ball, rounding
from gradparity.reference.compare import Comparison, against, best
from gradparity.reference.evaluation import Evaluation, problem_rows
from gradparity.reference.mistake import Case, Mistake, Variant
from gradparity.reference.mistakes import MISTAKES, OF_NOT_FINITE
from gradparity.reference.place import UNKNOWN, place
from gradparity.reference.problem import Array, Problem
from gradparity.reference.verdict import Finding, Verdict

if TYPE_CHECKING:
    from gradparity.reference.judge import Steps

LARGE = 2**20
"""Above this many parameters × samples, mistakes are sought in the wrong row only, not in those that were not given."""


def with_causes(
    problem: Problem, chunk: Steps, findings: list[Finding], known: Collection[tuple[str, str]]
) -> list[Finding]:
    """Return `findings`, the first wrong one of each program with its cause, unless it is `known` already."""
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
    now, before = everything(problem, chunk, at), everything(problem, chunk, at - 1) if at else {}
    own = chunk.probed if finding.program == "probed" else chunk.plain
    names = (
        set(chunk.weights) | {"X", "Y"} | (set(own) if finding.basis != "end to end" or own is chunk.probed else set())
    )
    given = {name: array for name, array in now.items() if name in names and name != finding.quantity}
    value = own[finding.quantity][at : at + 1]
    return diagnose(problem, finding.quantity, value, given, now, before)


def everything(problem: Problem, chunk: Steps, at: int) -> dict[str, Array]:
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
        case = Case(problem, evaluation, evaluation.rows[quantity], others or given, before or {}, value)
        return _named(case, compared) or _named_upstream(case, compared) or place(quantity, compared)


def _mistakes(value: Array, compared: Comparison) -> Iterator[Mistake]:
    finite = bool(np.isfinite(value[compared.outside]).any())
    yield from (mistake for mistake in MISTAKES if finite or mistake.name in OF_NOT_FINITE)


def _named(case: Case, compared: Comparison) -> str:
    """Return the first mistake that reproduces the value, in the form that fits best; empty if none does."""
    value, evaluation = compared.value, case.evaluation
    cases = [replace(case, row=row) for row in (case.row, *case.row.alternatives)]
    for mistake in _mistakes(value, compared):
        found: list[tuple[float, int, str]] = []
        for formula in cases:
            for variant in mistake.variants(formula):
                if variant.by_form or _promising(variant, formula, compared):
                    ball = variant.ball(evaluation)
                    if variant.by_form and _reproduces(ball, compared):
                        return f"{case.row.name} {variant.words}"
                    if _reproduces(ball, compared) and _differs(ball, compared):
                        found.append((float(np.square(against(value, ball).ratio).sum()), len(found), variant.words))
        if found:
            return f"{case.row.name} {min(found)[2]}"
    return ""


def _named_upstream(case: Case, compared: Comparison) -> str:
    """Return the first mistake that reproduces the value, made in a row that was not given and that it comes from."""
    evaluation, quantity = case.evaluation, case.row.name
    p = case.problem
    if p.X.shape[1] * sum(W.size for W in p.W) > LARGE:
        return ""
    rows = tuple(evaluation.rows.values())
    for name in _not_given(evaluation, quantity):
        for row in (evaluation.rows[name], *evaluation.rows[name].alternatives):
            for mistake in _mistakes(compared.value, compared):
                for variant in mistake.variants(replace(case, row=row, value=None)):
                    given = evaluation.given | {name: variant.ball(evaluation)}
                    mistaken = Evaluation(evaluation.r, rows, given)
                    fits = _fits(mistaken.mid(quantity), compared.rad, compared.value, compared.ratio)
                    if (
                        fits
                        and _reproduces(mistaken.ball(quantity), compared)
                        and _differs(mistaken.ball(quantity), compared)
                    ):
                        return f"{quantity} is wrong as if {name} were: {name} {variant.words}"
    return ""


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


def _promising(variant: Variant, case: Case, compared: Comparison) -> bool:
    """Return whether the mistaken value, computed roughly, fits about as well as the right one, or better."""
    rough, axis = variant.rough(case)
    if axis is None:
        return rough.shape == compared.value.shape and _fits(rough, compared.rad, compared.value, compared.ratio)
    part = [np.take(x, case.lines[axis], axis) for x in (compared.rad, compared.value, compared.ratio)]
    return rough.shape == part[1].shape and _fits(rough, part[0], part[1], part[2])


def _fits(rough: Array, rad: Array, value: Array, right: Array) -> bool:
    """Compare error/bound with that of the `right` formula. A value that the mistake reproduces is within two bounds:
    evaluated roughly, it is about a bound away from the mistake's exact value itself."""
    ratio = against(value, Ball(rough, rad)).ratio
    infinite = np.isposinf(ratio)
    limit = np.max(right, where=np.isfinite(right), initial=2.0)
    return bool(infinite.sum() <= np.isposinf(right).sum() and np.max(ratio, where=~infinite, initial=0.0) <= limit)


def _reproduces(ball: Ball, compared: Comparison) -> bool:
    """Return whether the value lies in `ball`, and `ball` says something where the value is wrong."""
    value = compared.value
    if ball.mid.shape != value.shape or against(value, ball).outside.any():
        return False
    anything = np.isposinf(np.broadcast_to(ball.rad, value.shape))
    return not bool((anything & compared.outside).any())


def _differs(ball: Ball, compared: Comparison) -> bool:
    """Return whether `ball` is not where the right formula would put the value anyway."""
    return bool(against(ball.mid, Ball(compared.mid, compared.rad)).outside.any())
