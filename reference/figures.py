"""Figures as printed in a book or a paper: what they are judged against.

A figure is met where a value differs from it by at most half a unit of its last printed digit, and what rounding in
the working dtype may have moved that value by, from the initial weights on.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from gradparity.reference.bounds import Ball, rounding
from gradparity.reference.evaluation import Evaluation, problem_rows
from gradparity.reference.problem import Problem


def trajectory(problem: Problem, wanted: Iterable[tuple[int, str]]) -> dict[tuple[int, str], Ball]:
    """Return the balls of the wanted (step from 0, quantity), each carried through all steps before it."""
    names: dict[int, list[str]] = {}
    for step, quantity in wanted:
        names.setdefault(step, []).append(quantity)
    layers = range(1, len(problem.layers) + 1)
    weights = {
        f"{name}{l}": Ball(array[None])
        for name, arrays in (("W", problem.W), ("b", problem.b))
        for l, array in zip(layers, arrays, strict=True)
    }
    found: dict[tuple[int, str], Ball] = {}
    with np.errstate(all="ignore"):
        for step in range(max(names, default=-1) + 1):
            X, Y = problem.batch(step)
            data = {"X": Ball(X[None]), "Y": Ball(Y[None])}
            evaluation = Evaluation(rounding(problem.dtype), problem_rows(problem), data | weights)
            found |= {(step, name): evaluation.ball(name) for name in names.get(step, ())}
            weights = {name: evaluation.ball(f"{name}_next") for name in weights}
    return found
