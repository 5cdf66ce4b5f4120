"""The reference is certified by ball arithmetic, and its bounds are attacked.

`arb` (python-flint) encloses the true value of every row and of the end-to-end gradient. The value that engines are
compared with must lie within a thousandth of its own bound of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

pytest.importorskip("flint", reason="python-flint is the independent oracle: pip install 'gradparity[test]'")

from gradparity.parity_tests import arb
from gradparity.parity_tests.adversary import POPULATION, PROGRAMS, attacks, climb, driven, nearest
from gradparity.parity_tests.legal_program import rows
from gradparity.reference import exact
from gradparity.reference.activations import ACTIVATIONS
from gradparity.reference.bounds import Ball, rounding
from gradparity.reference.compare import against
from gradparity.reference.evaluation import Evaluation, Working, problem_rows, reference
from gradparity.reference.formulas import Row
from gradparity.reference.losses import LOSSES
from gradparity.reference.problem import Array, Layer, Loss, Problem, Reduction

SHARE = 1e-3
"""The comparison value's own error may be this share of the bound that it is used with."""
KINDS: tuple[Reduction, Reduction] = ("mean", "sum")
REDUCTIONS = [Loss("", samples, outputs) for samples, outputs in product(KINDS, repeat=2)]
FITTING = [(loss, activation) for loss, J in LOSSES.items() for activation in J.activations]
HIDDEN = sorted(ACTIVATIONS)
DEPTHS = (1, 2, 3, 4)
NO_EXTENDED = float(np.finfo(np.longdouble).eps) > 2.0**-63
EXTENDED = pytest.mark.skipif(
    NO_EXTENDED, reason="here a long double is no finer than float64: bounds are 5 times wider"
)
DTYPES = ("float32", pytest.param("float64", marks=EXTENDED))
SCALES = (1.0, 0.01, 6.0)
"""Of the samples: the last saturates most activations."""


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
    X, Y = X.astype(dtype), Y.astype(dtype)
    W = tuple(rng.standard_normal((n, k)).astype(dtype) for k, n in pairwise(sizes))
    b = [(rng.standard_normal((n, 1)) * (l > 0)).astype(dtype) for l, n in enumerate(sizes[1:])]
    if seed % 5 == 0:
        # Nearly on the kink: the last sample's pre-activations are what rounding leaves.
        b[0] = -(W[0] @ X[:, -1:])
    return Problem("net", dtype, layers, loss, 0.1, X, Y, W, tuple(b), ((0, m),))


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


def formulas_of(name: str, table: tuple[Row, ...]) -> tuple[Row, ...]:
    """Return the formulas of one quantity."""
    row = next(row for row in table if row.name == name)
    return (row, *row.alternatives)


def assert_fine(name: str, ball: Ball, true: Array, where: Array | None = None) -> None:
    """Assert that the comparison value is exact to its share (`where`)."""
    shape = ball.mid.shape
    rad = np.broadcast_to(ball.rad, shape)
    judged = (rad < np.inf) & (np.broadcast_to(True, shape) if where is None else where)
    too_far = list(arb.beyond(ball.mid[0], true, rad[0], judged[0], SHARE))
    assert not too_far, f"{name}: the comparison value is off by these shares of its bound: {too_far}"


@pytest.mark.parametrize("dtype", DTYPES)
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
                true = arb.matched(case, exactly[f"A{depth}"], exactly["Y"])
            else:
                true = arb.row(case, row.name, exactly.__getitem__)
            # Where a saturated output makes the literal code meet 0/0 or log 0, there is no number to be near to.
            finite = np.isfinite(values[row.name]) & np.isfinite(ball.mid)
            assert_fine(f"{loss} {hidden} {row.name} = {formula.formula}", ball, true, finite)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_end_to_end(depth: int, dtype: str) -> None:
    """The reference's gradient is the derivative of the loss, found without backpropagation, to a thousandth."""
    judged = 0
    for seed, (hidden, output, loss) in list(enumerate(networks(depth)))[:: 1 if depth == 1 else 11]:
        case = problem(hidden, depth, output, loss, dtype, seed)
        oracle = arb.EndToEnd(case)
        with np.errstate(all="ignore"):
            evaluation = reference(case)
            found = [(row.name, evaluation.ball(row.name)) for row in problem_rows(case)]
        for name, ball in found:
            # Where a singularity is within reach, the ball is what engines can have, which the true value may not be.
            closed = np.broadcast_to(~np.asarray(ball.open), ball.mid.shape)
            judged += int(np.isfinite(np.broadcast_to(ball.rad, ball.mid.shape)[closed]).sum())
            assert_fine(f"{loss} {hidden} {name}", ball, oracle(name), closed[0])
            if name in {f"{d}{l}" for d in ("dW", "db") for l in range(1, depth + 1)}:
                assert_fine(f"{loss} {hidden} ∂loss/∂{name[1:]}", ball, oracle.gradient(name[1:]), closed[0])
    assert judged > 1000


SPREADS = {"ordinary": (0.0, 0.0), "crossing scales": (10.0, 0.0), "checkered": (0.0, 8.0)}
"""Decades by which columns of A and rows of B differ, crosswise; and every other element, so that large meets small."""


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize(("p", "n", "q"), [(400, 1, 400), (300, 2, 300), (60, 70, 50), (3, 20_000, 3)])
@pytest.mark.parametrize("extended", [False, True], ids=["float64", "long double"])
def test_products(p: int, n: int, q: int, spread: str, extended: bool) -> None:
    """Large float64 products, by slices where these are certified, are within ``(n+9)·2⁻⁶⁴`` of ``|A||B|``."""
    rng = np.random.default_rng(n)
    crossing, checkered = SPREADS[spread]
    small, inner = 10.0**-checkered, np.arange(n)
    scale = 10.0 ** rng.uniform(-crossing, crossing, n)
    A = rng.standard_normal((p, n)) * scale * np.where(np.add.outer(np.arange(p), inner) % 2, small, 1.0)
    B = rng.standard_normal((n, q)) / scale[:, None] * np.where(np.add.outer(inner, np.arange(q)) % 2, 1.0, small)
    A[:, 2::7] = 0.0
    if extended:
        A = A * (1 + rng.random((p, n)).astype(np.longdouble) * 2.0**-53)
    found = exact.product(A, B, np.longdouble)
    u_wide = (rounding("float64").u - 2.0**-53) / 4.0
    for i, j in rng.integers(0, (p, q), (6, 2)):
        a, b = arb.balls(A[i]), arb.balls(B[:, j])
        S = sum(abs(x) * abs(y) for x, y in zip(a, b, strict=True))
        error = abs(arb.balls(found[i : i + 1, j])[0] - a @ b)
        assert error <= S * (n + 9) * u_wide, f"element {i}, {j}: off by {error}, S = {S}"


def test_limits() -> None:
    """``0 log 0`` is 0 in the alternative formula of a loss from probabilities, and NaN in the literal one."""
    A, Y = np.array([[[1.0, 0.0]]]), np.array([[[1.0, 0.0]]])
    with np.errstate(all="ignore"):
        evaluation = Evaluation(rounding("float64"), rows("sigmoid", "bce"), {"A2": A, "Y": Y})
        literal, limit = (evaluation.evaluate(formula).mid for formula in formulas_of("loss", rows("sigmoid", "bce")))
    assert np.isnan(literal).all()
    assert limit == 0.0


EXACT = {f"{quantity} {f}" for quantity in ("A2", "delta2") for f in ("linear", "relu")}
"""Rows without rounding: their bound is 0 but for subnormal numbers."""
LEAST = {"dA2 cce": 0.35, "dA2 half_squared_error": 0.4, "delta2 cce": 0.4, "delta2 softmax from Z": 0.4}
"""What the search finds at least of the bound, where that is less than half."""


def test_attacked() -> None:
    """No legal program can be driven beyond its bound, and every bound is nearly reached: none is too loose."""
    outcomes = list(attacks(generations=20))
    assert not [outcome for outcome in outcomes if not outcome.ratio <= 1.0]
    ordinary = [outcome for outcome in nearest(outcomes).values() if not outcome.subnormal]
    assert not [o for o in ordinary if o.row not in EXACT and o.ratio < LEAST.get(o.row, 0.5)]
    attacked = {outcome.row for outcome in ordinary}
    kinds = {("A2", f) for f in ACTIVATIONS} | {("delta2", f) for f in ACTIVATIONS}
    kinds |= {(quantity, loss) for quantity in ("loss", "dA2") for loss in LOSSES}
    assert {" ".join(kind) for kind in kinds} <= attacked


def test_attack_sees_a_bound_that_is_too_small() -> None:
    """The attack is no formality: it breaks a program that rounds more often than its bound allows."""
    program = next(p for p in PROGRAMS if p.row == "A2 leaky_relu")
    sloppy = replace(program, run=lambda m, g: m.fl(m.fl(m.fl(program.run(m, g)))))
    assert climb(sloppy, "float32", False, 10, 0).ratio > 1.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_attacked_end_to_end(dtype: str) -> None:
    """Rows that each err by their whole own bound stay within the reference's end-to-end bound."""
    highest = 0.0
    for seed, (hidden, output, loss) in list(enumerate(networks(3)))[::7]:
        case = problem(hidden, 3, output, loss, dtype, seed)
        with np.errstate(all="ignore"):
            values, evaluation = driven(case, np.random.default_rng(seed)), reference(case)
            for row in problem_rows(case):
                ball = evaluation.ball(row.name)
                ratio = float(against(values[row.name], repeated(ball)).ratio.max())
                assert ratio <= 1.0, f"{loss} {hidden} {row.name} reaches {ratio} of its end-to-end bound"
                highest = max(highest, ratio if row.name.startswith("dW") else 0.0)
    assert highest > 0.9


def repeated(ball: Ball) -> Ball:
    """Return the ball for each of a population."""
    return Ball(np.repeat(ball.mid, POPULATION, axis=0), np.broadcast_to(ball.rad, ball.mid.shape))
