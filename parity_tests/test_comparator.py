"""The comparator against everything that fools others: each of these has passed some well-known tool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from gradparity.adapters.function_engine import StepProblem, run_function
from gradparity.adapters.outcome import Chunk, Ended, Status, Task
from gradparity.parity_tests.fault import engine, judged, run
from gradparity.parity_tests.fault_problems import problems
from gradparity.reference.bounds import Ball, rounding
from gradparity.reference.catalogue import load
from gradparity.reference.compare import against, best, summed_up
from gradparity.reference.judge import Judge, Oracle
from gradparity.reference.problem import Array, Problem
from gradparity.reference.verdict import Finding, Verdict

NAN, INF = float("nan"), float("inf")
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
PROBLEMS = {dtype: problems("small", dtype)[0] for dtype in ("float32", "float64")}
ORACLES = {dtype: Oracle(p) for dtype, p in PROBLEMS.items()}


def verdict(value: Array, ball: Ball) -> Verdict:
    r = rounding(value.dtype.name)
    return summed_up(r, best(value, [ball]), Finding("probed", "Z1", Verdict.WITHIN), 0).verdict


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("value", "exact", "bound", "expected"),
    [
        (1.0, 1.0, 0.0, Verdict.WITHIN),
        (1.0, 1.5, 0.5, Verdict.WITHIN),
        (1.0, 1.5, 0.25, Verdict.WRONG),
        (1.0, 1.0000001, 0.0, Verdict.WRONG),
        (NAN, 1.0, 0.5, Verdict.WRONG),
        (1.0, NAN, 0.5, Verdict.WRONG),
        (NAN, 1.0, 1e300, Verdict.WRONG),
        (NAN, NAN, 0.5, Verdict.WITHIN),
        (NAN, INF, 0.5, Verdict.WRONG),
        (INF, 1.0, 1e300, Verdict.WRONG),
        (1.0, INF, 1e300, Verdict.WRONG),
        (INF, INF, 0.5, Verdict.WITHIN),
        (INF, -INF, 0.5, Verdict.WRONG),
        (-0.0, 0.0, 0.0, Verdict.WITHIN),
        (0.0, -0.0, 0.0, Verdict.WITHIN),
        (5e-324, 0.0, 0.0, Verdict.WRONG),
        (1.0, 1.5, NAN, Verdict.WRONG),
        (NAN, 1.0, NAN, Verdict.WRONG),
        (1.0, 1e9, INF, Verdict.WITHIN),
    ],
)
def test_one_element(value: float, exact: float, bound: float, expected: Verdict, dtype: str) -> None:
    given, mid, rad = np.zeros((1, 2, 3), dtype), np.zeros((1, 2, 3)), np.zeros((1, 2, 3))
    # The smallest number above 0 of either precision; 5e-324 is 0 in float32.
    given[0, 1, 1] = np.nextafter(given.dtype.type(0), given.dtype.type(1)) if value == 5e-324 else value
    mid[0, 1, 1], rad[0, 1, 1] = exact, bound
    assert verdict(given, Ball(mid, rad)) is expected


def test_an_element_that_cannot_be_judged_is_counted_as_such() -> None:
    ball = Ball(np.array([[[1.0, 2.0]]]), np.array([[[INF, 0.5]]]))
    found = summed_up(
        rounding("float64"), best(np.array([[[9.0, 2.0]]]), [ball]), Finding("probed", "Z1", Verdict.WITHIN), 0
    )
    assert (found.verdict, found.elements, found.not_judged) == (Verdict.WITHIN, 1, 1)


def test_a_nan_bound_never_passes_beside_others_that_do() -> None:
    nan = Ball(np.array([[[1.0]]]), np.array([[[NAN]]]), np.array([[[NAN]]]))
    good = Ball(np.array([[[1.0]]]), np.array([[[0.5]]]))
    value = np.array([[[1.25]]])
    assert against(value, nan).outside.all()
    assert best(value, [nan]).outside.all()
    assert not best(value, [nan, good]).outside.any()


def test_each_element_has_its_own_bound() -> None:
    """A mean, a norm, or a bound taken from the largest element would pass this."""
    mid = np.array([[[1e6, 1e-3]]])
    ball = Ball(mid, np.array([[[1.0, 1e-9]]]))
    assert verdict(mid + np.array([0.5, 5e-10]), ball) is Verdict.WITHIN
    assert verdict(mid + np.array([0.5, 5e-4]), ball) is Verdict.WRONG


def findings(dtype: str, change: Callable[[dict[str, Array]], None]) -> dict[str, Finding]:
    """Judge the engine whose probed and plain quantities of each step are changed afterwards."""
    found = Judge(ORACLES[dtype])
    for chunk in run(PROBLEMS[dtype], {}):
        arrays = {**chunk.probed, **chunk.plain}
        change(arrays)
        plain = {name: a for name, a in arrays.items() if name in chunk.plain}
        probed = {name: a for name, a in arrays.items() if not name.endswith("_next")}
        found.add(replace(chunk, plain=plain, probed=probed))
    return {f"{f.program} {f.quantity}": f for f in found.findings()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_correct_code_is_within(dtype: str) -> None:
    assert {f.verdict for f in findings(dtype, lambda arrays: None).values()} == {Verdict.WITHIN}


def transposed(arrays: dict[str, Array]) -> None:
    arrays["dW2"] = np.ascontiguousarray(np.swapaxes(arrays["dW2"], -1, -2))


def shuffled(arrays: dict[str, Array]) -> None:
    arrays["dW1"] = np.random.default_rng(0).permuted(arrays["dW1"].reshape(-1)).reshape(arrays["dW1"].shape)


def compensating(arrays: dict[str, Array]) -> None:
    arrays["dW1"] = arrays["dW1"].copy()
    arrays["dW1"][:, 0, 0] += 0.01
    arrays["dW1"][:, 1, 1] -= 0.01


def one_nan(arrays: dict[str, Array]) -> None:
    arrays["dW1"] = arrays["dW1"].copy()
    arrays["dW1"][0, 0, 0] = NAN


def all_nan(arrays: dict[str, Array]) -> None:
    arrays["dW1"] = np.full_like(arrays["dW1"], NAN)


def infinite(arrays: dict[str, Array]) -> None:
    arrays["dW1"] = arrays["dW1"].copy()
    arrays["dW1"][0, 0, 0] = -INF


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("change", [transposed, shuffled, compensating, one_nan, all_nan, infinite])
def test_a_changed_gradient_is_wrong_in_both_programs(change: Callable[[dict[str, Array]], None], dtype: str) -> None:
    found = findings(dtype, change)
    quantity = "dW2" if change is transposed else "dW1"
    assert found[f"probed {quantity}"].verdict is Verdict.WRONG
    assert found[f"plain {quantity}"].verdict is Verdict.WRONG
    assert found["probed Z1"].verdict is Verdict.WITHIN


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "update",
    [lambda w: np.full_like(w, NAN), lambda w: w + w.dtype.type(1e-3), lambda w: -w, lambda w: w[..., ::-1].copy()],
)
def test_updated_weights_are_judged_too(update: Callable[[Array], Array], dtype: str) -> None:
    def change(arrays: dict[str, Array]) -> None:
        arrays["W1_next"] = update(arrays["W1_next"])

    found = findings(dtype, change)
    assert [name for name, f in found.items() if f.verdict is Verdict.WRONG] == ["plain W1_next"]


def reshaped(arrays: dict[str, Array]) -> None:
    arrays["db1"] = np.swapaxes(arrays["db1"], -1, -2)


def broadcastable(arrays: dict[str, Array]) -> None:
    arrays["db1"] = np.repeat(arrays["db1"], 2, axis=-1)


def one_row(arrays: dict[str, Array]) -> None:
    arrays["Z1"] = arrays["Z1"][:, :1]


def scalar(arrays: dict[str, Array]) -> None:
    arrays["dW1"] = arrays["dW1"][:, :1, :1]


def nothing(arrays: dict[str, Array]) -> None:
    arrays["dW1"] = arrays["dW1"][:, :, :0]


def other_precision(arrays: dict[str, Array]) -> None:
    arrays["dW1"] = arrays["dW1"].astype({"float32": "float64", "float64": "float32"}[arrays["dW1"].dtype.name])


def integers(arrays: dict[str, Array]) -> None:
    arrays["dW1"] = arrays["dW1"].astype(np.int64)


def imaginary(arrays: dict[str, Array]) -> None:
    arrays["dW1"] = arrays["dW1"].astype(np.complex128)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("change", "quantity"),
    [
        (reshaped, "db1"), (broadcastable, "db1"), (one_row, "Z1"), (scalar, "dW1"), (nothing, "dW1"),
        (other_precision, "dW1"), (integers, "dW1"), (imaginary, "dW1"),
    ],
)  # fmt: skip
def test_shape_and_dtype_come_first(change: Callable[[dict[str, Array]], None], quantity: str, dtype: str) -> None:
    found = findings(dtype, change)[f"probed {quantity}"]
    assert found.verdict is Verdict.WRONG
    assert "expected" in found.note
    assert found.elements == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_missing_quantity_is_not_given_and_nothing_passes_for_it(dtype: str) -> None:
    def change(arrays: dict[str, Array]) -> None:
        del arrays["dW1"], arrays["delta1"]

    found = findings(dtype, change)
    missing = {name for name, f in found.items() if f.verdict is Verdict.NOT_GIVEN}
    assert missing == {"probed dW1", "probed delta1", "plain dW1"}
    # The update is judged all the same: from end to end.
    assert found["plain W1_next"].basis == "end to end"


def test_an_unknown_quantity_ends_the_engine_with_its_name() -> None:
    problem = PROBLEMS["float32"]

    def extra(p: StepProblem) -> Mapping[str, Array]:
        return {**engine(problem, {})(p), "dW9": p.W[0]}

    end = list(run_function(Task(problem, "extra"), extra))[-1]
    assert isinstance(end, Ended)
    assert end.status is Status.CRASHED
    assert "'dW9'" in end.message


@pytest.mark.parametrize("rows", [0, 1])
def test_an_empty_array_is_within_and_says_so(rows: int) -> None:
    empty = np.zeros((1, rows, 0))
    found = summed_up(rounding("float64"), against(empty, Ball(empty)), Finding("probed", "Z1", Verdict.WITHIN), 0)
    assert (found.verdict, found.note, found.elements) == (Verdict.WITHIN, "empty", 0)


def test_errors_that_cancel_between_rows_are_both_seen() -> None:
    """The gradient is twice too large and the learning rate half: the weights are right, and both rows are wrong."""

    def gradient(problem: Problem) -> list[Chunk]:
        return run(problem, {"dW1": lambda at: 2 * at.right, "W1_next": lambda at: at.inputs[0] - 0.05 * at.inputs[1]})

    found = {f.quantity: f for f in judged(ORACLES["float64"], gradient(PROBLEMS["float64"])) if f.program == "plain"}
    assert found["dW1"].verdict is Verdict.WRONG
    assert found["W1_next"].verdict is Verdict.WRONG


def test_a_fault_in_one_step_of_many_is_found_in_that_step() -> None:
    def once(arrays: dict[str, Array]) -> None:
        if arrays["dW1"].shape[0] > 1:
            arrays["dW1"] = arrays["dW1"].copy()
            arrays["dW1"][2, 0, 0] *= 1.001

    found = findings("float64", once)["probed dW1"]
    assert (found.verdict, found.first_wrong_step, found.wrong, found.steps) == (Verdict.WRONG, 3, 1, 4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_engines_share_is_of_the_same_weights_alone(dtype: str) -> None:
    """What the initial weights give is computed once; an engine that starts elsewhere is judged from there."""
    problem = load("xor-tape").problem(dtype)
    oracle, (chunk,) = Oracle(problem), run(problem, {})

    def of_Z1(chunk: Chunk) -> Verdict:
        return next(f for f in judged(oracle, [chunk]) if (f.program, f.quantity) == ("probed", "Z1")).verdict

    assert of_Z1(chunk) is Verdict.WITHIN
    moved = chunk.weights["W1"] + chunk.weights["W1"].dtype.type(0.25)
    Z1 = moved @ problem.batch(0)[0] + chunk.weights["b1"]
    elsewhere = replace(chunk, probed={**chunk.probed, "Z1": Z1})
    assert of_Z1(elsewhere) is Verdict.WRONG
    assert of_Z1(replace(elsewhere, weights={**chunk.weights, "W1": moved})) is Verdict.WITHIN
