"""The reference is certified by ball arithmetic, and its bounds are attacked.

`arb` (python-flint) encloses the true value of every row and of the end-to-end gradient. The value that engines are
compared with must lie within a thousandth of its own bound of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest

pytest.importorskip("flint", reason="python-flint is the independent oracle: pip install 'gradparity[test]'")

from gradparity.parity_tests import arb
from gradparity.reference.activations import ACTIVATIONS
from gradparity.reference.bounds import Ball, rounding
from gradparity.reference.evaluation import Evaluation, Working, problem_rows, reference
from gradparity.reference.formulas import Row
from gradparity.reference.losses import LOSSES
from gradparity.reference.problem import Array, Layer, Loss, Problem

SHARE = 1e-3
"""The comparison value's own error may be this share of the bound that it is used with."""
REDUCTIONS = [Loss("", samples, outputs) for samples, outputs in product(("mean", "sum"), repeat=2)]
FITTING = [(loss, activation) for loss, J in LOSSES.items() for activation in J.activations]
HIDDEN = sorted(ACTIVATIONS)
DEPTHS = (1, 2, 3, 4)
SCALES = (1.0, 0.01, 6.0)


def networks(depth: int) -> Iterator[tuple[str, str, Loss]]:
    """Yield hidden activation, output activation, loss: every one with every other, and with every reduction."""
    for (loss, output), hidden, reduction in product(FITTING, HIDDEN if depth > 1 else HIDDEN[:1], REDUCTIONS):
        yield hidden, output, Loss(loss, reduction.samples, reduction.outputs)


def problem(hidden: str, depth: int, output: str, loss: Loss, dtype: str, seed: int) -> Problem:
    """Return a small problem: awkward values, a sample of zeros (a kink where biases are 0), targets that fit."""
    rng = np.random.default_rng(seed)
    sizes = (2, *([3] * (depth - 1)), 2)
    layers = (*(Layer(n, hidden, 0.01) for n in sizes[1:-1]), Layer(sizes[-1], output, 0.01))
    m, scale = 2 + seed % 2, SCALES[seed % 3]
    X = rng.standard_normal((2, m)) * scale
    X[:, 0] = 0.0
    Y = rng.random((sizes[-1], m))
    if LOSSES[loss.name].targets == "simplex":
        Y /= Y.sum(axis=0)
    if LOSSES[loss.name].targets != "real":
        Y[:, -1] = np.eye(sizes[-1])[0]
    W = tuple(rng.standard_normal((n, k)).astype(dtype) for k, n in zip(sizes, sizes[1:], strict=False))
    b = tuple((rng.standard_normal((n, 1)) * (l > 0)).astype(dtype) for l, n in enumerate(sizes[1:]))
    return Problem("net", dtype, layers, loss, 0.1, X.astype(dtype), Y.astype(dtype), W, b, ((0, m),))


def engine_values(case: Problem) -> dict[str, Array]:
    """Return every quantity as an engine in the working precision may compute it, shapes ``(1, rows, columns)``."""
    X, Y = case.batch(0)
    values = {"X": X[None], "Y": Y[None]}
    for l, (W, b) in enumerate(zip(case.W, case.b, strict=True), start=1):
        values |= {f"W{l}": W[None], f"b{l}": b[None]}
    for row in problem_rows(case):
        values[row.name] = row.compute(Working(), *(values[name] for name in row.inputs))
    return values


def formulas(case: Problem) -> Iterator[tuple[Row, Row]]:
    """Yield each row with each of its formulas."""
    for row in problem_rows(case):
        for formula in (row, *row.alternatives):
            yield row, formula


def assert_fine(name: str, ball: Ball, exact: Array, where: Array | None = None) -> None:
    """Assert that the comparison value is exact to its share (`where`)."""
    shape = ball.mid.shape
    rad = np.broadcast_to(ball.rad, shape)
    judged = (rad < np.inf) & (np.broadcast_to(True, shape) if where is None else where)
    too_far = list(arb.beyond(ball.mid[0], exact, rad[0], judged[0], SHARE))
    assert not too_far, f"{name}: the comparison value is off by these shares of its bound: {too_far}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("depth", DEPTHS)
def test_rows(depth: int, dtype: str) -> None:
    """Each row, from an engine's own values: every formula for it is a thousand times finer than its bound."""
    for seed, (hidden, output, loss) in enumerate(networks(depth)):
        case = problem(hidden, depth, output, loss, dtype, seed)
        with np.errstate(all="ignore"):
            values = engine_values(case)
            evaluation = Evaluation(rounding(dtype), problem_rows(case), values)
            found = [(row, formula, evaluation.evaluate(formula)) for row, formula in formulas(case)]
        exactly = {name: arb.balls(value[0]) for name, value in values.items()}
        for row, formula, ball in found:
            if formula.inputs == (f"A{depth}", "Y") and row.name.startswith("delta"):
                exact = arb.matched(case, exactly[f"A{depth}"], exactly["Y"])
            else:
                exact = arb.row(case, row.name, exactly.__getitem__)
            # Where a saturated output makes the literal code meet 0/0 or log 0, there is no number to be near to.
            finite = np.isfinite(values[row.name])
            assert_fine(f"{loss} {hidden} {row.name} = {formula.formula}", ball, exact, finite)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("depth", DEPTHS)
def test_end_to_end(depth: int, dtype: str) -> None:
    """The reference's gradient is the derivative of the loss, found without backpropagation, to a thousandth."""
    judged = 0
    for seed, (hidden, output, loss) in list(enumerate(networks(depth)))[:: 1 if depth == 1 else 11]:
        case = problem(hidden, depth, output, loss, dtype, seed)
        exact = arb.EndToEnd(case)
        with np.errstate(all="ignore"):
            evaluation = reference(case)
            found = [(row.name, evaluation.ball(row.name)) for row in problem_rows(case)]
        for name, ball in found:
            judged += int(np.isfinite(np.broadcast_to(ball.rad, ball.mid.shape)).sum())
            assert_fine(f"{loss} {hidden} {name}", ball, exact(name))
            if name in {f"{d}{l}" for d in ("dW", "db") for l in range(1, depth + 1)}:
                assert_fine(f"{loss} {hidden} ∂loss/∂{name[1:]}", ball, exact.gradient(name[1:]))
    assert judged > 1000
