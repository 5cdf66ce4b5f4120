"""A correct engine, as a function: what tests change to make a faulty one."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradparity.adapters.function_engine import StepProblem
from gradparity.reference.evaluation import Working, problem_rows
from gradparity.reference.problem import Problem


def correct(p: StepProblem) -> dict[str, Any]:
    """Return the table, evaluated in the working precision."""
    problem = Problem("", p.dtype, p.layers, p.loss, p.learning_rate, p.X, p.Y, (), (), ((0, p.m),))
    values: dict[str, Any] = {"X": p.X, "Y": p.Y}
    for l, (W, b) in enumerate(zip(p.W, p.b, strict=True), 1):
        values |= {f"W{l}": W, f"b{l}": b}
    with np.errstate(all="ignore"):
        for row in problem_rows(problem):
            values[row.name] = row.compute(Working(), *(values[name] for name in row.inputs)).astype(p.dtype)
    return {row.name: values[row.name] for row in problem_rows(problem)}
