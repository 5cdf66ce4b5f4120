"""One quantity of one cell, worked through: its formula with numbers in it, and its bound term by term.

Results hold no arrays. They are computed again from the scenario, with the reference in the working dtype: an engine's
own numbers differ from these by rounding, or by what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, fields, replace

import numpy as np

from gradparity.reference.bounds import Ball, Rounding, rounding
from gradparity.reference.evaluation import Evaluation, Working, problem_rows
from gradparity.reference.formulas import Row, rows_by_name
from gradparity.reference.problem import Array, Problem
from gradparity.reference.verdict import Finding
from gradparity.reports import story

SHOWN = 8
"""Terms of a sum, or elements of a column, that are shown."""


class _NoAllowance(Rounding):
    """A precision in which every transcendental is exact."""

    def tau(self, function: str) -> float:
        """Return 0."""
        return 0.0


@dataclass(frozen=True)
class Bound:
    """The parts of a bound at one element, which add up to `total`."""

    total: float
    rounding: float
    functions: float
    floor: float
    inherited: float


@dataclass(frozen=True)
class Recomputed:
    """One element of one row, computed again: its row, the values that go in, the exact value, and its bound."""

    row: Row
    problem: Problem
    values: dict[str, Array]
    index: tuple[int, int]
    exact: float
    bound: Bound


def recompute(problem: Problem, finding: Finding) -> Recomputed:
    """Compute the worst element of `finding` again. Raises KeyError for a quantity that the problem does not have."""
    worst = finding.worst
    assert worst is not None
    index = worst.index
    rows = problem_rows(problem)
    values = trained(problem, worst.step)
    given = {name: array[None] for name, array in values.items()}
    row = rows_by_name(rows)[finding.quantity]
    if finding.basis == "end to end":
        given = {name: array for name, array in given.items() if name in ("X", "Y") or re.fullmatch(r"[Wb]\d+", name)}
    given.pop(row.name, None)
    evaluation = Evaluation(rounding(problem.dtype), rows, given)
    with np.errstate(all="ignore"):
        formulas = [(way, bound_at(evaluation, *way, index)) for way in evaluation.ways(row.name)]
        # A correct engine may use any of these; the one that it was judged by is the one with that bound.
        (formula, replaced), bound = min(formulas, key=lambda pair: abs(pair[1].total - worst.bound))
        exact = float(evaluation.evaluate(formula, **replaced).mid[(0, *index)])
    return Recomputed(formula, problem, values, index, exact, bound)


def trained(problem: Problem, step: int) -> dict[str, Array]:
    """Return every quantity of `step` (from 1) in the working dtype, after the steps before it."""
    rows, on = problem_rows(problem), Working()
    pairs = enumerate(zip(problem.W, problem.b, strict=True), start=1)
    weights = {f"{name}{l}": a for l, pair in pairs for name, a in zip("Wb", pair, strict=True)}
    values: dict[str, Array] = {}
    with np.errstate(all="ignore"):
        for number in range(step):
            X, Y = problem.batch(number)
            values = {"X": X, "Y": Y, **weights}
            for row in rows:
                values[row.name] = row.compute(on, *(values[name] for name in row.inputs))
            weights = {name: values[f"{name}_next"] for name in weights}
    return values


def bound_at(evaluation: Evaluation, row: Row, replaced: dict[str, Ball], index: tuple[int, int]) -> Bound:
    """Return the bound of `row` at one element, taken apart by leaving out one kind of error at a time."""
    inputs = {name: replaced[name] if name in replaced else evaluation.ball(name) for name in row.inputs}
    r = evaluation.r
    exact_functions = _NoAllowance(**{f.name: getattr(r, f.name) for f in fields(r)})

    def at(precision: Rounding) -> float:
        twin = copy(evaluation)
        twin.r = precision
        ball = twin.evaluate(row, **inputs)
        return float(np.broadcast_to(ball.rad, ball.mid.shape)[(0, *index)])

    total, without = at(r), at(exact_functions)
    unrounded, inherited = at(replace(r, u=0.0)), at(replace(r, u=0.0, tiny=0.0))
    return Bound(total, without - unrounded, total - without, unrounded - inherited, inherited)


def formula_lines(found: Recomputed) -> Iterator[str]:
    """Yield the formula with the numbers of the element in it."""
    i, j = found.index
    dtype = found.problem.dtype
    name = f"{found.row.name}[{i}, {j}]"
    yield f"{name} = {found.row.formula}"
    if terms := products(found):
        for label, factors in terms[:SHOWN]:
            shown = " · ".join(story.number(x, dtype) for x in factors)
            yield f"+ {label} = {shown}" + (f" = {np.prod(factors):.6g}" if factors[1:] else "")
        if terms[SHOWN:]:
            rest = sum(float(np.prod(factors)) for _, factors in terms[SHOWN:])
            yield f"+ {len(terms) - SHOWN} more terms, together {rest:.6g}"
    elif found.row.name == "loss" or re.search("softmax|Σ|∂", found.row.formula):
        for name_in in found.row.inputs:
            array = found.values[name_in]
            column = array.ravel() if found.row.name == "loss" else array[:, j]
            where = "" if found.row.name == "loss" else f"[:, {j}]"
            more = f", and {column.size - SHOWN} more" if column.size > SHOWN else ""
            yield f"{name_in}{where} = {', '.join(story.number(float(x), dtype) for x in column[:SHOWN])}{more}"
    else:
        yield f"= {substituted(found)}"
    yield f"= {story.number(found.exact, dtype)}, evaluated exactly from these numbers"


def substituted(found: Recomputed) -> str:
    """Return the formula of an elementwise row with its inputs at the element in place of their names."""
    i, j = found.index
    text = found.row.formula
    m = found.values["X"].shape[1]
    # The slope of a leaky ReLU belongs to the row's own layer.
    number = re.search(r"\d+", found.row.name)
    layer = found.problem.layers[int(number.group()) - 1] if number else None
    numbers = {"m": str(m)} | ({"α": repr(layer.slope)} if layer else {})
    for name in found.row.inputs:
        shown = story.number(float(found.values[name][i, j]), found.problem.dtype)
        numbers[name] = f"({shown})" if shown.startswith("-") else shown
    text = re.sub(r"[A-Za-zα]\w*", lambda word: numbers.get(word.group(), word.group()), text, flags=re.ASCII)
    return re.sub(r"\((\(-[^()]*\))\)", r"\1", text)


def products(found: Recomputed) -> list[tuple[str, list[float]]]:
    """Return the terms (label, factors) of a row that is a product or a sum over samples; none for any other."""
    i, j = found.index
    v = found.values
    kind, l = _kind(found.row.name)
    below = f"A{l - 1}" if l > 1 else "X"
    if kind == "Z":
        W, A = v[f"W{l}"], v[below]
        terms = [(f"W{l}[{i}, {k}] {below}[{k}, {j}]", [W[i, k], A[k, j]]) for k in range(A.shape[0])]
        terms.append((f"b{l}[{i}]", [v[f"b{l}"][i, 0]]))
    elif kind == "dA" and f"W{l + 1}" in v:
        W, d = v[f"W{l + 1}"], v[f"delta{l + 1}"]
        terms = [(f"W{l + 1}[{k}, {i}] delta{l + 1}[{k}, {j}]", [W[k, i], d[k, j]]) for k in range(W.shape[0])]
    elif kind == "dW":
        d, A = v[f"delta{l}"], v[below]
        terms = [(f"delta{l}[{i}, {s}] {below}[{j}, {s}]", [d[i, s], A[j, s]]) for s in range(d.shape[1])]
    elif kind == "db":
        terms = [(f"delta{l}[{i}, {s}]", [v[f"delta{l}"][i, s]]) for s in range(v[f"delta{l}"].shape[1])]
    else:
        return []
    return [(label, [float(x) for x in factors]) for label, factors in terms]


def _kind(name: str) -> tuple[str, int]:
    matched = re.fullmatch(r"([A-Za-z]+)(\d+)", name)
    return (matched.group(1), int(matched.group(2))) if matched else (name, 0)


def bound_lines(found: Recomputed) -> Iterator[tuple[str, str]]:
    """Yield the parts of the bound, as (label, sentence)."""
    r, bound = rounding(found.problem.dtype), found.bound
    if not np.isfinite(bound.total):
        yield "bound", "none: a correct engine may overflow here, or meet a singularity; the element is not judged"
        return
    if terms := products(found):
        S = float(sum(abs(np.prod(factors)) for _, factors in terms))
        yield "S", f"the sum of the absolute values of {story.plural(len(terms), 'term')}: {S:.3g}"
        if S and np.isfinite(bound.rounding) and not bound.inherited:
            gamma = bound.rounding / S
            n = round(gamma / (r.u * (1 + gamma)))
            where = f"γ_n = nu/(1−nu) = {r.gamma(n):.3g} and u = {r.u:.3g}"
            yield "rounding", f"γ_{n} S = {bound.rounding:.3g}, with {where}"
        else:
            yield "rounding", f"{bound.rounding:.3g}, with u = {r.u:.3g}"
    else:
        share = f", {bound.rounding / abs(found.exact) / r.u:.3g} u of the value" if found.exact else ""
        yield "rounding", f"{bound.rounding:.3g}{share}, with u = {r.u:.3g}"
    if bound.functions:
        yield "functions", f"{bound.functions:.3g}: what a library's exp, log, tanh … may be off, in ULP as listed"
    smallest = f"results below the smallest normal number (ω = {r.omega:.3g}), and inputs read as 0"
    yield "underflow", f"{bound.floor:.3g}: {smallest}"
    if bound.inherited:
        yield "inherited", f"{bound.inherited:.3g}: what the inputs may be off, where they are not the engine's own"
    yield "bound", f"{bound.total:.3g}, their sum"


def lines(finding: Finding, dtype: str, problem: Problem | None) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield what there is to say, as (heading, [(label, sentence)]); without `problem`, what was saved."""
    if finding.worst is None:
        yield "", [("nothing", finding.note or f"the engine did not give {finding.quantity}")]
        return
    yield "the worst element", [*story.explain_finding(finding, dtype, is_first=False)]
    if problem is None:
        return
    found = recompute(problem, finding)
    yield (
        f"the formula, with the reference's own numbers of step {finding.worst.step}",
        [("", line) for line in formula_lines(found)],
    )
    parts = [*bound_lines(found), ("judged", f"with the engine's numbers the bound was {finding.worst.bound:.3g}")]
    yield "the bound, term by term", parts
    verdict = [("error", f"{finding.worst.error:.3g} = {finding.worst.ratio:.3g} × the bound")]
    if finding.sigmas:
        verdict.append(
            ("σ", f"at most {finding.sigmas:.3g} standard deviations of the rounding errors; suspect beyond 8")
        )
    yield f"{finding.verdict}", verdict
