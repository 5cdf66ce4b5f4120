"""Diagnosis names what reproduces the engine's numbers, in plain words, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from gradparity import verify
from gradparity.adapters.function_engine import StepProblem
from gradparity.parity_tests.fault import At, Mutations, engine, judged, run
from gradparity.parity_tests.fault_problems import problems
from gradparity.reference import catalogue
from gradparity.reference.diagnosis import diagnose, everything
from gradparity.reference.evaluation import problem_rows
from gradparity.reference.formats import BFLOAT16, FLOAT16, FLOAT32
from gradparity.reference.judge import Oracle
from gradparity.reference.place import UNKNOWN
from gradparity.reference.problem import Array, Layer, Loss, Problem
from gradparity.reference.verdict import Finding, Verdict
from gradparity.reports import story

DTYPES = ("float32", "float64")
RELU, TANH = (problems("small", "float32")[i] for i in (0, 1))


def causes(problem: Problem, mutations: Mutations) -> dict[str, str]:
    found = judged(Oracle(problem), run(problem, mutations))
    return {f"{f.program} {f.quantity}": f.cause for f in found if f.cause}


def gives_only(*names: str) -> Callable[[Mapping[str, Array]], Mapping[str, Array]]:
    """Leave out all other quantities, as a user's own engine does."""
    return lambda trace: {name: a for name, a in trace.items() if name in names}


def first_cause(problem: Problem, mutations: Mutations, names: tuple[str, ...]) -> Finding:
    """Return the first wrong finding of an engine that gives only the quantities `names`."""
    chunks = [
        replace(c, plain=gives_only(*names)(c.plain), probed=gives_only(*names)(c.probed))
        for c in run(problem, mutations)
    ]
    return next(f for f in judged(Oracle(problem), chunks) if f.verdict is Verdict.WRONG)


def test_a_missing_mean_is_named_in_plain_words() -> None:
    found = causes(TANH, {"dW3": lambda at: at.right * at.m})
    sentence = "dW3 equals the sum over samples, the scenario asks for the mean"
    assert found["probed dW3"] == found["plain dW3"] == sentence


@pytest.mark.parametrize(
    ("names", "mutations", "sentence"),
    [
        (("dW1", "db1", "dW2", "db2"), {"delta1": lambda at: at.values["dA1"]}, "derivative of the activation"),
        (("dW1", "db1"), {"dA1": lambda at: at.compute(W2=at.values["W2"].T)}, "uses W2 transposed"),
        (("dW1", "dW2", "dW3"), {"Z1": lambda at: at.compute(b1=0 * at.values["b1"])}, "leaves out b1"),
        (("dW1", "dW2", "dW3"), {"dA3": lambda at: at.compute(Y=np.roll(at.values["Y"], 1, 1))}, "columns shifted"),
        (("W1_next", "b1_next"), {"dA3": lambda at: at.right * at.m}, "sum over samples"),
    ],
)  # fmt: skip
def test_a_mistake_in_what_was_not_given_is_named_too(
    names: tuple[str, ...], mutations: Mutations, sentence: str
) -> None:
    for dtype in DTYPES:
        found = first_cause(problems("small", dtype)[1], mutations, names)
        assert sentence in found.cause, found.cause


def test_only_the_first_wrong_quantity_of_a_program_has_a_cause() -> None:
    found = judged(Oracle(TANH), run(TANH, {"dA3": lambda at: 2 * at.right, "dW1": lambda at: -at.right}))
    wrong = [f for f in found if f.verdict is Verdict.WRONG]
    assert [f.quantity for f in wrong if f.cause and f.program == "probed"] == ["dA3"]
    assert [f.quantity for f in wrong if f.cause and f.program == "plain"] == ["dW1"]
    assert len([f for f in wrong if f.program == "probed"]) > 1


def test_a_mistake_is_named_only_if_it_reproduces_every_element() -> None:
    def almost(at: At) -> Array:
        value = at.right * at.m
        value[0, 0] *= value.dtype.type(1 + 1e-4)
        return value

    found = causes(TANH, {"dW2": almost})["probed dW2"]
    assert found == UNKNOWN
    assert "sum over samples" in causes(TANH, {"dW2": lambda at: at.right * at.m})["probed dW2"]


def coinciding(dtype: str) -> Problem:
    """Return a problem in which a great many mistakes change nothing: one sample, unit weights, no bias, linear
    layers.
    """
    one, two = np.ones((2, 1), dtype), np.array([[1.0], [2.0]], dtype)
    layers = (Layer(2, "linear"), Layer(2, "linear"))
    W, b = np.ones((2, 2), dtype), np.zeros((2, 1), dtype)
    return Problem("coinciding", dtype, layers, Loss("half_squared_error"), 0.1, one, two, (W, W), (b, b), ((0, 1),))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_mistake_that_changes_nothing_is_not_named(dtype: str) -> None:
    problem = coinciding(dtype)
    for row in problem_rows(problem):

        def off(at: At) -> Array:
            at.right[-1, -1] += at.number(0.37)
            return at.right

        found = judged(Oracle(problem), run(problem, {row.name: off}))
        cause = next(f for f in found if f.verdict is Verdict.WRONG).cause
        assert "wrong in element" in cause or row.name == "loss", f"{row.name}: {cause}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_mistake_with_a_wider_bound_does_not_explain_a_small_error(dtype: str) -> None:
    """The numbers of a row, sorted, are bounded by its largest bound: without the look at whether that mistake would
    change anything, a small error in a small element were called a shuffled row.
    """
    problem = problems("small", dtype)[0]
    scales = np.ones((problem.X.shape[0], 1), dtype)
    scales[0] = 2.0**-14
    mixed = replace(problem, X=problem.X * scales)

    def off(at: At) -> Array:
        at.right[0, 0] *= at.number(1 + 2.0**10 * np.finfo(dtype).eps)
        return at.right

    assert "wrong in element [0, 0] only" in causes(mixed, {"dW1": off})["probed dW1"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_right_value_has_no_cause(dtype: str) -> None:
    for problem in problems("small", dtype):
        for chunk in run(problem, {}):
            for at in range(chunk.steps):
                now = everything(problem, chunk, at)
                for row in problem_rows(problem):
                    given = {name: a for name, a in now.items() if name != row.name}
                    assert diagnose(problem, row.name, now[row.name], given, now) == UNKNOWN


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["noise", "large", "nan", "infinite", "mixed"])
def test_nonsense_is_not_explained(kind: str, dtype: str) -> None:
    rng = np.random.default_rng(5)
    problem = problems("small", dtype)[0]
    for row in problem_rows(problem):

        def nonsense(at: At) -> Array:
            noise = rng.standard_normal(at.right.shape)
            if kind == "large":
                noise *= np.finfo(dtype).max / 100
            if kind in ("nan", "mixed"):
                noise[(noise > 0) | (kind == "nan")] = np.nan
            if kind in ("infinite", "mixed"):
                noise[noise < 0] = -np.inf
            return noise.astype(dtype)

        chunk = run(problem, {})[0]
        now = everything(problem, chunk, 0)
        at = At(problem, row, {name: a[0] for name, a in now.items()}, {})
        given = {name: a for name, a in now.items() if name != row.name}
        cause = diagnose(problem, row.name, nonsense(at)[None], given, now)
        assert UNKNOWN in cause or "formula gives" in cause, f"{row.name}: {cause}"


def test_the_element_is_named_with_what_it_is() -> None:
    def nan(at: At) -> Array:
        at.right[1, 2] = np.nan
        return at.right

    assert "dW1 is wrong in element [1, 2] only: it is nan" in causes(RELU, {"dW1": nan})["probed dW1"]


def test_a_stale_value_is_named_in_the_step_where_it_first_is_wrong() -> None:
    def stale(at: At) -> Array:
        return at.before["dW1"] if at.before else at.right

    found = judged(Oracle(TANH), run(TANH, {"dW1": stale}))
    first = next(f for f in found if f.verdict is Verdict.WRONG)
    assert (first.first_wrong_step, first.cause) == (2, "dW1 equals dW1 of the step before: it is stale")


def test_the_cause_is_in_the_table_and_in_what_is_told() -> None:
    scenario = catalogue.load("xor-tape")
    problem = scenario.problem("float64")
    wrong = engine(problem, {"dW2": lambda at: at.right * at.m})

    def summed(p: StepProblem) -> Mapping[str, Array]:
        return wrong(p)

    results = verify([scenario], [summed], dtypes=["float64"])
    sentence = "dW2 equals the sum over samples, the scenario asks for the mean"
    assert sentence in set(results.table["cause"])
    assert ("cause", sentence) in list(story.explain(results.cells[0]))


def test_narrow_formats_round_as_the_hardware_does() -> None:
    x = np.array([1.0, 1 + 2**-9, 1 + 3 * 2**-9, 65519.0, 65520.0, 2**-25, 2**-24, -0.0, np.inf, np.nan])
    y = FLOAT16.nearest(x)
    with np.errstate(over="ignore"):
        assert np.array_equal(y, x.astype(np.float16).astype(np.float64), equal_nan=True)
        assert np.array_equal(FLOAT32.nearest(x), x.astype(np.float32).astype(np.float64), equal_nan=True)
    assert BFLOAT16.nearest(x)[1:3].tolist() == [1.0, 1 + 2**-7]
    assert BFLOAT16.truncated(x)[2] == 1.0
