"""A convention names a difference only where its own formula gives the numbers, row by row and from end to end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from gradparity.adapters.outcome import Chunk
from gradparity.reference.bounds import rounding
from gradparity.reference.compare import best
from gradparity.reference.conventions import FLOAT32, conventional
from gradparity.reference.data import Inline
from gradparity.reference.evaluation import Evaluation, Working, problem_rows, reference
from gradparity.reference.formulas import Row
from gradparity.reference.initial import Given, GlorotUniform
from gradparity.reference.judge import Judge, Oracle
from gradparity.reference.problem import Array, Layer, Loss, Problem
from gradparity.reference.scenario import Scenario
from gradparity.reference.verdict import Finding, Verdict
from gradparity.reports.known import conventions, entries

RNG = np.random.default_rng(3)
X, LABELS = RNG.standard_normal((6, 4)), np.eye(3)[[0, 1, 2, 0, 1, 2]]


def problem(hidden: str, output: str, loss: str, dtype: str = "float64", scale: float = 1.0) -> Problem:
    layers = [Layer(5, hidden), Layer(3, output)]
    data = Inline((X * scale).tolist(), LABELS.tolist())
    return Scenario("s", layers, Loss(loss), data, GlorotUniform(1)).problem(dtype)


def computed(p: Problem, rows: tuple[Row, ...], working: Any = None) -> dict[str, Array]:
    """Every row in the working precision, or in that of `working`, each from the results before it."""
    given = reference(p).given
    values = {name: ball.mid for name, ball in given.items()}
    with np.errstate(all="ignore"):
        for row in rows:
            inputs = [values[name].astype(working or p.dtype) for name in row.inputs]
            values[row.name] = row.compute(Working(), *inputs).astype(p.dtype)
    return {row.name: values[row.name] for row in rows}


def judged(p: Problem, values: Mapping[str, Array], names: tuple[str, ...], end_to_end: bool) -> dict[str, Finding]:
    weights = {f"{n}{l}": a[None] for n, of in (("W", p.W), ("b", p.b)) for l, a in enumerate(of, 1)}
    plain = {name: a for name, a in values.items() if name == "loss" or name.startswith(("dW", "db"))}
    probed = {name: a for name, a in values.items() if not name.endswith("_next")}
    judge = Judge(Oracle(p), explain=False, conventions=names)
    judge.add(Chunk(0, 1, weights, plain if end_to_end else {}, {} if end_to_end else probed))
    return {f.quantity: f for f in judge.findings() if f.verdict is not Verdict.NOT_GIVEN}


def conventional_table(p: Problem, name: str) -> tuple[Row, ...]:
    ((_, evaluation),) = conventional(p, reference(p), [name])
    return tuple(evaluation.rows.values())


LISTED = [
    ("tensorflow-leaky-relu", problem("leaky_relu", "linear", "squared_error"), "dW1"),
    ("keras-tensorflow-logits", problem("tanh", "softmax", "bce", "float32"), "dW1"),
    ("keras-tensorflow-logits", problem("tanh", "sigmoid", "cce"), "loss"),
    ("keras-tensorflow-logits+tensorflow-leaky-relu", problem("leaky_relu", "softmax", "bce"), "dW1"),
]


@pytest.mark.parametrize("end_to_end", [False, True], ids=["rows", "end to end"])
@pytest.mark.parametrize(("name", "p", "quantity"), LISTED, ids=[name for name, _, _ in LISTED])
def test_what_the_convention_computes_is_named(name: str, p: Problem, quantity: str, end_to_end: bool) -> None:
    values = computed(p, conventional_table(p, name))
    found = judged(p, values, (name,), end_to_end)
    wrong = [f for f in found.values() if f.verdict is Verdict.WRONG]
    assert wrong
    assert not end_to_end or found[quantity] in wrong
    assert {f.convention for f in wrong} == {name}
    # The same numbers with one element a thousandth off, and the same numbers where nothing is listed.
    faulty = values | {f.quantity: _spoilt(values[f.quantity]) for f in wrong}
    again = judged(p, faulty, (name,), end_to_end)
    assert all(again[f.quantity].convention == "" for f in wrong)
    assert all(f.convention == "" for f in judged(p, values, (), end_to_end).values())


def _spoilt(a: Array) -> Array:
    a = a.copy()
    a.flat[np.argmax(np.abs(a))] *= a.dtype.type(1.001)
    return a


@pytest.mark.parametrize("end_to_end", [False, True], ids=["rows", "end to end"])
def test_float32_is_named_in_float64_and_nothing_coarser(end_to_end: bool) -> None:
    p = problem("tanh", "linear", "squared_error")
    for working, named in ((np.float32, FLOAT32), (np.float16, "")):
        found = judged(p, computed(p, problem_rows(p), working), (FLOAT32,), end_to_end)
        wrong = [f for f in found.values() if f.verdict is Verdict.WRONG]
        assert {"dW1", "dW2", "loss"} <= {f.quantity for f in wrong}
        assert {f.convention for f in wrong} == {named} if named else "" in {f.convention for f in wrong}


def test_what_float32_makes_of_the_inputs_counts() -> None:
    unit = 2.0**-23
    w, x = 1 + 2047.499 * unit, 1 + 2048.499 * unit
    data, weights = Inline(((x,),), ((0.0,),)), Given(W1=[[w]])
    p = Scenario("s", [Layer(1, "linear")], Loss("squared_error"), data, weights).problem("float64")
    values = computed(p, problem_rows(p), np.float32)
    # Three roundings of almost 2⁻²⁴ each, where the bound of the product alone has two.
    assert abs(values["Z1"].item() / (w * x) - 1) > 2.9 * 2.0**-24
    assert judged(p, values, (FLOAT32,), end_to_end=False)["Z1"].convention == FLOAT32


def test_float32_overflows_where_float64_does_not() -> None:
    p = problem("linear", "linear", "squared_error", scale=1e40)
    found = judged(p, computed(p, problem_rows(p), np.float32), (FLOAT32,), end_to_end=False)
    assert found["Z1"].verdict is Verdict.WRONG
    assert found["Z1"].convention == FLOAT32


@pytest.mark.parametrize("end_to_end", [False, True], ids=["rows", "end to end"])
@pytest.mark.parametrize(("times", "verdict", "named"), [
    (0.5, Verdict.WRONG, ""), (2.0, Verdict.WRONG, "keras-loss-metric"), (12.0, Verdict.WITHIN, ""),
], ids=["no overflow", "an overflow", "the loss itself overflows"])  # fmt: skip
def test_keras_multiplies_the_loss_by_the_batch_size(
    times: float, verdict: Verdict, named: str, end_to_end: bool
) -> None:
    """Six samples, and a loss whose product with that number is `times` what float32 holds."""
    z = np.sqrt(2 * times / 36) * np.sqrt(float(np.finfo(np.float32).max))
    data, weights = Inline(((z,),) * 6, ((0.0,),) * 6), Given(W1=[[1.0]])
    loss = Loss("half_squared_error", samples="sum")
    p = Scenario("s", [Layer(1, "linear")], loss, data, weights).problem("float32")
    values = computed(p, problem_rows(p))
    assert judged(p, values, ("keras-loss-metric",), end_to_end)["loss"].verdict is Verdict.WITHIN
    infinite = values | {"loss": np.full_like(values["loss"], np.inf)}
    found = judged(p, infinite, ("keras-loss-metric",), end_to_end)["loss"]
    assert (found.verdict, found.convention) == (verdict, named)


@pytest.mark.parametrize("derivative", [0.0, 0.5, 1.0])
def test_on_an_end_of_the_interval_the_clip_has_any_derivative_from_0_to_1(derivative: float) -> None:
    p = problem("tanh", "sigmoid", "bce", "float32")
    A = np.full((1, 3, 6), 0.25, np.float32)
    A[0, 0, 0] = low = np.float32(1e-7)
    Y = p.Y.astype(np.float32)[None]
    Y[0, 0, 0] = 1
    rows = {row.name: row for row in conventional_table(p, "keras-probabilities")}
    dA = rows["dA2"].compute(Working(), A, Y).astype(np.float32)
    dA[0, 0, 0] = np.float32(derivative) * (-1 / low) / np.float32(18 if p.loss.outputs == "mean" else 6)
    by = Evaluation(Oracle(p).r, problem_rows(p), {"A2": A, "Y": Y})
    ((_, evaluation),) = conventional(p, by, ["keras-probabilities"])
    ball = evaluation.ball("dA2")
    assert (np.abs(dA - ball.mid) <= ball.rad).all()
    # Nowhere else is there such a freedom.
    assert (np.broadcast_to(ball.rad, dA.shape).ravel()[1:] < 1e-6).all()


@pytest.mark.parametrize("derivative", [0.0, np.nan, 1.0])
def test_the_clip_of_a_nan_has_the_derivative_0_or_nan(derivative: float) -> None:
    p = problem("tanh", "sigmoid", "bce", "float32")
    A, Y = np.full((1, 3, 6), 0.25, np.float32), p.Y.astype(np.float32)[None]
    A[0, 0, 0] = np.nan
    rows = {row.name: row for row in conventional_table(p, "keras-probabilities")}
    dA = rows["dA2"].compute(Working(), A, Y).astype(np.float32)
    dA[0, 0, 0] = derivative
    by = Evaluation(Oracle(p).r, problem_rows(p), {"A2": A, "Y": Y})
    with np.errstate(all="ignore"):
        ((_, evaluation),) = conventional(p, by, ["keras-probabilities"])
        ball = evaluation.ball("dA2")
        assert best(dA, [ball]).clean is (derivative != 1.0)
        dA[0, 0, :2] = 0.0, np.nan
        assert not best(dA, [ball]).clean


def test_every_listed_convention_exists() -> None:
    p = problem("leaky_relu", "softmax", "bce")
    names = {name for entry in entries() for name in entry.conventions}
    assert names == {n for e in entries() for engine in e.engines for d in ("float32", "float64")
                     for n in conventions(engine, d)}  # fmt: skip
    found = [name for name, _ in conventional(p, reference(p), sorted(names))]
    assert {"float32", "keras-tensorflow-logits", "tensorflow-leaky-relu"} <= set(found)


def test_a_relu_that_hides_nan_is_named_and_hides_nothing_else() -> None:
    data = Inline(((1.0, 2.0),), ((0.0, 0.0),))
    p = Scenario("nan", [Layer(2, "relu")], Loss("squared_error"), data).problem("float32")
    W = np.array([[[np.nan, 1.0], [1.0, 1.0]]], np.float32)
    given = {"X": p.X[None], "W1": W, "b1": np.zeros((1, 2, 1), np.float32)}
    table = Evaluation(rounding("float32"), problem_rows(p), given)
    ((_, hiding),) = conventional(p, table, ["tensorflow-fused-relu"])
    with np.errstate(all="ignore"):
        for value, clean in ((0.0, True), (1.0, False), (np.nan, False)):
            A = np.array([[[value], [3.0]]], np.float32)
            assert best(A, hiding.candidates("A1")).clean is clean
            assert best(A, table.candidates("A1")).clean is bool(np.isnan(value))
