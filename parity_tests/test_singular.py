"""Near singularities: what is infinite in a correct engine is not called wrong, and what is wrong is not excused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradparity.adapters.function_engine import StepProblem
from gradparity.parity_tests.correct import correct
from gradparity.reference.bounds import Ball, rounding
from gradparity.reference.compare import against
from gradparity.reference.data import Inline
from gradparity.reference.errors import InputError
from gradparity.reference.evaluation import Evaluation, problem_rows
from gradparity.reference.initial import Given
from gradparity.reference.problem import Array, Layer, Loss
from gradparity.reference.scenario import Scenario
from gradparity.reference.verdict import Verdict
from gradparity.reports.cell import Cell
from gradparity.reports.verify import verify

Engine = Callable[[StepProblem], dict[str, Any]]

GRADIENTS = ("dW", "db")
EVERYTHING = ("Z", "A", "loss", "d")
SATURATED = [
    ("sigmoid", "bce", 15.0, "float32"), ("sigmoid", "bce", 60.0, "float32"), ("sigmoid", "bce", 35.0, "float64"),
    ("sigmoid", "bce", 800.0, "float64"), ("softmax", "cce", -88.0, "float32"), ("softmax", "cce", -104.0, "float32"),
    ("softmax", "cce", -708.0, "float64"),
]  # fmt: skip


def inline(X: Any, Y: Any) -> Inline:
    """Return data from rows of numbers."""
    return Inline(tuple(tuple(map(float, x)) for x in X), tuple(tuple(map(float, y)) for y in Y))


def saturated(output: str, loss: str, logit: float, dtype: str) -> Scenario:
    """Return 1-1-n, of which the first of four samples has one logit of that size and all others are small."""
    W2 = [[logit]] if loss == "bce" else [[0.0], [logit]]
    Y = [[1.0], [0.0], [1.0], [0.0]] if loss == "bce" else [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]
    layers = [Layer(1, "relu"), Layer(len(W2), output)]
    data = inline([[1.0], [0.1], [0.05], [0.02]], Y)
    return Scenario("saturated", layers, Loss(loss), data, Given(W1=[[1.0]], W2=W2), dtypes=(dtype,))


def judged(scenario: Scenario, engine: Engine) -> Cell:
    (cell,) = verify([scenario], [engine]).cells
    return cell


def giving(names: tuple[str, ...], **changes: Callable[[Array], Any]) -> Engine:
    """Return an engine that is correct but for `changes`, and gives what begins with one of `names`."""

    def engine(p: StepProblem) -> dict[str, Any]:
        trace = correct(p)
        trace |= {name: np.asarray(change(trace[name]), p.dtype) for name, change in changes.items()}
        return {name: a for name, a in trace.items() if name.startswith(names)}

    return engine


@pytest.mark.parametrize("names", [GRADIENTS, ("loss", *GRADIENTS), ("Z", *GRADIENTS), EVERYTHING], ids=" ".join)
@pytest.mark.parametrize(("output", "loss", "logit", "dtype"), SATURATED)
def test_one_saturated_sample_excuses_no_gradient(
    output: str, loss: str, logit: float, dtype: str, names: tuple[str, ...]
) -> None:
    scenario = saturated(output, loss, logit, dtype)
    assert judged(scenario, giving(names)).verdict is Verdict.WITHIN
    assert judged(scenario, giving(names, dW1=lambda a: 1 - 7 * a)).verdict is Verdict.WRONG


@pytest.mark.parametrize("names", [("loss",), EVERYTHING], ids=" ".join)
@pytest.mark.parametrize(("output", "loss", "logit", "dtype"), SATURATED)
def test_nor_a_loss(output: str, loss: str, logit: float, dtype: str, names: tuple[str, ...]) -> None:
    scenario = saturated(output, loss, logit, dtype)
    assert judged(scenario, giving(names)).verdict is Verdict.WITHIN
    assert judged(scenario, giving(names, loss=lambda a: np.full_like(a, -42.0))).verdict is Verdict.WRONG


@pytest.mark.parametrize(("output", "loss", "logit", "dtype"), SATURATED)
def test_nor_its_own_cotangent(output: str, loss: str, logit: float, dtype: str) -> None:
    def moved(a: Array) -> Array:
        return np.where(np.arange(a.shape[1]) == 0, 1e6, a)

    assert judged(saturated(output, loss, logit, dtype), giving(EVERYTHING, dA2=moved)).verdict is Verdict.WRONG


def literal(p: StepProblem) -> dict[str, Any]:
    """As autograd goes, through dA: NaN where the sigmoid is 1."""
    trace = correct(p)
    with np.errstate(all="ignore"):
        A = trace["A2"]
        dA = ((1 - p.Y) / (1 - A) - p.Y / A) / np.asarray(p.N, p.dtype)
        delta = dA * A * (1 - A)
        trace |= {"dA2": dA, "delta2": delta, "dW2": delta @ trace["A1"].T, "db2": delta.sum(1, keepdims=True)}
        trace["dA1"] = p.W[1].T @ delta
        trace["delta1"] = np.where(trace["Z1"] > 0, trace["dA1"], 0)
        trace |= {"dW1": trace["delta1"] @ p.X.T, "db1": trace["delta1"].sum(1, keepdims=True)}
        trace["loss"] = np.mean(-p.Y * np.log(A) - (1 - p.Y) * np.log1p(-A), keepdims=True)
    return {name: a for name, a in trace.items() if not name.endswith("_next")}


@pytest.mark.parametrize("logit", [8.0, 15.0, 17.0, 20.0, 60.0, 200.0])
@pytest.mark.parametrize("names", [GRADIENTS, ("loss", *GRADIENTS), EVERYTHING], ids=" ".join)
def test_a_program_that_meets_the_singularity_is_not_wrong(logit: float, names: tuple[str, ...]) -> None:
    def engine(p: StepProblem) -> dict[str, Any]:
        return {name: a for name, a in literal(p).items() if name.startswith(names)}

    cell = judged(saturated("sigmoid", "bce", logit, "float32"), engine)
    assert cell.verdict is Verdict.WITHIN, cell.first_wrong


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("offset", [10.0, 1e3, 1e4])
def test_the_derivative_of_logsumexp_is_accepted(offset: float, dtype: str) -> None:
    def engine(p: StepProblem) -> dict[str, Any]:
        Z = p.W[0] @ p.X + p.b[0]
        largest = Z.max(axis=0)
        q = np.exp(Z - (largest + np.log(np.exp(Z - largest).sum(axis=0))))
        delta = (q - p.Y) / np.asarray(p.N, p.dtype)
        return {"Z1": Z, "A1": Z, "dA1": delta, "dW1": delta @ p.X.T, "db1": delta.sum(1, keepdims=True)}

    rng = np.random.default_rng(1)
    data = inline([[1.0, float(x)] for x in rng.standard_normal(8)], np.eye(3)[rng.integers(0, 3, 8)])
    weights = Given(W1=[[offset, 1.0], [offset, -2.0], [offset + 1, 0.5]])
    scenario = Scenario("offset", [Layer(3, "linear")], Loss("cce_logits"), data, weights, dtypes=(dtype,))
    cell = judged(scenario, engine)
    assert cell.verdict is Verdict.WITHIN, cell.first_wrong
    assert judged(scenario, lambda p: {"dW1": engine(p)["dW1"] * p.X.dtype.type(1.02)}).verdict is Verdict.WRONG


def test_a_probability_of_logits_that_cancel_may_be_anything() -> None:
    """The logits are rounded off by far more than 1: the probability, e^−100 in exact arithmetic, may be ½."""
    data = inline([[1e10, 100.0, -1e10]], [[1.0, 0.0]])
    weights = Given(W1=[[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    scenario = Scenario("cancelled", [Layer(2, "softmax")], Loss("cce"), data, weights, dtypes=("float32",))
    cell = judged(scenario, lambda p: {"A1": np.full((2, 1), 0.5, p.dtype)})
    assert cell.verdict is Verdict.WITHIN, cell.first_wrong
    assert judged(scenario, lambda p: {"A1": np.full((2, 1), 2.5, p.dtype)}).verdict is Verdict.WRONG


def test_softmax_of_logits_that_overflow_may_be_nan() -> None:
    data = inline([[3e38, 3e38]], [[1.0, 0.0]])
    weights = Given(W1=[[1.0, 1.0], [0.0, 0.0]])
    scenario = Scenario("overflow", [Layer(2, "linear")], Loss("cce_logits"), data, weights, dtypes=("float32",))

    def nan(p: StepProblem) -> dict[str, Any]:
        return {"dW1": np.full_like(p.W[0], np.nan), "db1": np.full_like(p.b[0], np.nan)}

    assert judged(scenario, nan).verdict is Verdict.WITHIN


@pytest.mark.parametrize("names", [("Z", "A", "d"), ("A", "d")], ids=" ".join)
def test_a_derivative_may_be_of_a_pre_activation_that_was_not_given(names: tuple[str, ...]) -> None:
    def engine(p: StepProblem) -> dict[str, Any]:
        Z = p.W[0] @ p.X + p.b[0]
        e = np.exp(Z)
        A = e / (1 + e)
        dA = 2 * (A - p.Y) / np.asarray(p.N, p.dtype)
        own = 1 / (1 + np.exp(-Z.astype(np.float64)))
        given = {"Z1": Z, "A1": A, "dA1": dA, "delta1": (dA * own * (1 - own)).astype(p.dtype)}
        return {name: a for name, a in given.items() if name.startswith(names)}

    X = -(10 ** np.random.default_rng(0).uniform(-2, 1.9, 60_000))[:, None]
    data = inline(X, np.full_like(X, 0.3))
    scenario = Scenario(
        "own", [Layer(1, "sigmoid")], Loss("squared_error"), data, Given(W1=[[1.0]]), dtypes=("float32",)
    )
    cell = judged(scenario, engine)
    assert cell.verdict is Verdict.WITHIN, cell.first_wrong


@pytest.mark.parametrize("name", ["A", "d"])
def test_a_slope_above_one_may_overflow(name: str) -> None:
    data, weights, loss = inline([[-3e38]], [[0.0]]), Given(W1=[[1.0]]), Loss("half_squared_error")
    scenario = Scenario("steep", [Layer(1, "leaky_relu", 4.0)], loss, data, weights, dtypes=("float32",))
    cell = judged(scenario, giving(("Z", name)))
    assert cell.verdict is Verdict.WITHIN, cell.first_wrong


@pytest.mark.parametrize("change", [{"learning_rate": 3e-43}, {"layers": [Layer(1, "leaky_relu", 1e-44)]}])
def test_a_factor_that_is_subnormal_is_bad_input(change: dict[str, Any]) -> None:
    given: dict[str, Any] = {"layers": [Layer(1, "linear")], "data": inline([[1.0]], [[1.0]])} | change
    scenario = Scenario("small", loss=Loss("squared_error"), **given)
    assert scenario.problem("float64")
    with pytest.raises(InputError, match="subnormal in float32"):
        scenario.problem("float32")


def probabilities(dtype: str, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Ball, Array]:
    """Return balls near 0 and near 1, of all sizes, and a number of `dtype` in each that an engine may have there."""
    info = np.finfo(dtype)
    smallest, nearest_to_one = float(info.smallest_subnormal), 1 - float(info.epsneg)
    distance = 10.0 ** rng.uniform(np.log10(smallest), 0, shape)
    mid = np.where(rng.random(shape) < 0.5, distance, 1 - distance)
    rad = mid * 10.0 ** rng.uniform(np.log10(info.eps), 0, shape) + rounding(dtype).omega
    lowest, highest = np.maximum(mid - rad, smallest), np.minimum(mid + rad, nearest_to_one)
    share = rng.choice([0.0, 1.0, *rng.random(4)], shape)
    between = np.where(
        rng.random(shape) < 0.5, lowest + share * (highest - lowest), lowest ** (1 - share) * highest**share
    )
    held = np.clip(between.astype(dtype), lowest.astype(dtype), nearest_to_one)
    return Ball(mid.astype(rounding(dtype).wide), rad, None), np.where(
        np.abs(held - mid) <= rad, held, mid.astype(dtype)
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("loss", "output"), [("bce", "sigmoid"), ("cce", "softmax")])
def test_what_is_finite_is_within_what_is_accepted(loss: str, output: str, dtype: str) -> None:
    rng = np.random.default_rng(11)
    shape = (20_000, 2, 3)
    A, a = probabilities(dtype, rng, shape)
    # A probability of 0 or 1, as rounding makes it, is met, and not near.
    y = np.where(rng.random(shape) < 0.5, rng.integers(0, 2, shape), 10.0 ** rng.uniform(-44, 0, shape)).astype(dtype)
    data = inline([[1.0]] * 3, [[0.0, 1.0]] * 3)
    problem = Scenario("one", [Layer(2, output)], Loss(loss), data).problem(dtype)
    rows = {row.name: row for row in problem_rows(problem)}
    evaluation, one, N = Evaluation(rounding(dtype), tuple(rows.values()), {}), a.dtype.type(1), a.dtype.type(3)
    with np.errstate(all="ignore"):
        if loss == "bce":
            gradients = [
                ((one - y) / (one - a) - y / a) / N,
                (a - y) / (a * (one - a)) / N,
                (one - y) / N / (one - a) - y / N / a,
            ]
            losses = [-(y * np.log(a)) - (one - y) * np.log1p(-a), -(y * np.log(a)) - (one - y) * np.log(one - a)]
        else:
            gradients, losses = [-(y / a) / N, -(y / N) / a], [-(y * np.log(a))]
        found = [("dA1", value) for value in gradients]
        found += [("loss", value.sum(axis=(1, 2), keepdims=True) / N) for value in losses]
        for name, value in found:
            ball = evaluation.evaluate(rows[name], A1=A, Y=Ball(y))
            compared = against(value, ball)
            assert not compared.outside.any(), (name, float(np.nanmax(compared.ratio)))
            assert compared.judged.mean() > 0.5
