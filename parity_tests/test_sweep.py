"""What the judge says in the common case, in blocks, is what it says where it looks at every element at once."""

from __future__ import annotations

from collections.abc import Iterator
from math import log10

import numpy as np
import pytest

from gradparity.adapters.loop import run
from gradparity.adapters.numpy_engine import adapter
from gradparity.adapters.outcome import Chunk
from gradparity.parity_tests.fault_problems import problems
from gradparity.reference import evaluation
from gradparity.reference.activations import ACTIVATIONS
from gradparity.reference.bounds import Ball, rounding
from gradparity.reference.catalogue import load
from gradparity.reference.compare import best, summed_up
from gradparity.reference.evaluation import Evaluation, problem_rows
from gradparity.reference.problem import Array, Problem
from gradparity.reference.sweep import swept
from gradparity.reference.verdict import Finding, Verdict

DTYPES = ("float32", "float64")
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def judged(problem: Problem) -> Iterator[tuple[Evaluation, str, Array]]:
    """Yield every quantity of a correct engine, with what its row is evaluated from."""
    rows = problem_rows(problem)
    for chunk in run(adapter(""), problem):
        if isinstance(chunk, Chunk):
            batches = [problem.batch(step) for step in range(chunk.first_step, chunk.first_step + chunk.steps)]
            X, Y = (np.stack(x) for x in zip(*batches, strict=True))
            arrays = {**chunk.probed, **chunk.plain}
            yield from (
                (Evaluation(rounding(problem.dtype), rows, {"X": X, "Y": Y, **chunk.weights, **arrays}), name, value)
                for name, value in arrays.items()
            )


def both(by: Evaluation, name: str, value: Array) -> tuple[Finding | None, Finding]:
    """Judge `value` in blocks and at once."""
    blank = Finding("probed", name, Verdict.WITHIN)
    at_once = summed_up(by.r, best(value, by.candidates(name)), blank, 0)
    return swept(by.r, value, by.pieces(name), blank, 0), at_once


def sigmas_in_a_bound(by: Evaluation, name: str) -> float:
    """Return how many standard deviations the bound of an element is at most."""
    ball = next(by.candidates(name))
    if ball.own_var is None:
        return 0.0
    with np.errstate(all="ignore"):
        sigmas = np.asarray(ball.rad / np.sqrt(ball.var))
    return float(np.max(sigmas, where=np.isfinite(sigmas), initial=0.0))


SHARE = 1e-3
"""See `test_certified.py`."""
SMALL = ("textbook-bce-one", "lpa-regression", "leaky-regression")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("scenario", "block"), [*((name, 7) for name in SMALL), ("odd-shapes", 2**15)])
def test_the_same_finding_in_blocks(scenario: str, block: int, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "BLOCK", block)
    for by, name, value in judged(load(scenario).problem(dtype)):
        quick, slow = both(by, name, value)
        assert quick is not None, name
        assert quick.worst
        assert slow.worst
        assert (quick.verdict, quick.elements, quick.steps) == (slow.verdict, slow.elements, slow.steps), name
        # Each comparison value is within a thousandth of its bound of the true one (`test_certified.py`); float32 is
        # evaluated alike in both ways.
        near = 2 * SHARE if dtype == "float64" else 0.0
        assert abs(quick.worst.ratio - slow.worst.ratio) <= near, name
        assert quick.sigmas >= slow.sigmas - near * sigmas_in_a_bound(by, name), name
        # The largest element is the engine's in one, and the exact one in the other.
        assert abs((quick.digits or 0.0) - (slow.digits or 0.0)) <= log10(1 + 10 ** -(slow.digits or 0.0)), name
        assert quick.worst.value == value[quick.worst.step - 1][quick.worst.index], name


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_clean_is_left_to_the_other(dtype: str) -> None:
    for by, name, value in judged(problems("small", dtype)[0]):
        for change in (np.nan, np.inf, 1e30, 1e-30):
            changed = value.copy()
            changed[-1, -1, -1] += np.asarray(change).astype(dtype)
            quick, slow = both(by, name, changed)
            assert (quick is None) == (slow.verdict is not Verdict.WITHIN or slow.not_judged > 0), (name, change)


def product(P: Array, Q: Array) -> Evaluation:
    """Return what judges ``dW1 = P Q``."""
    rows = [row for row in problem_rows(problems("small", P.dtype.name)[0]) if row.name == "dW1"]
    return Evaluation(rounding(P.dtype.name), tuple(rows), {"delta1": P, "X": np.swapaxes(Q, -1, -2)})


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_but_0_is_within_a_bound_of_0(dtype: str) -> None:
    P, Q = np.zeros((1, 3, 2), dtype), np.ones((1, 2, 4), dtype)
    P[:, 1:] = 1.0
    by, value = product(P, Q), np.matmul(P, Q)
    quick, slow = both(by, "dW1", value)
    assert quick is not None
    assert slow.verdict is Verdict.WITHIN
    value[0, 0, 0] = np.finfo(dtype).tiny
    assert both(by, "dW1", value)[0] is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_may_overflow_is_not_judged(dtype: str) -> None:
    P, Q = np.full((1, 1, 2), 0.8 * np.finfo(dtype).max, dtype), np.ones((1, 2, 1), dtype)
    P[0, 0, 1] *= -1
    quick, slow = both(product(P, Q), "dW1", np.matmul(P, Q))
    assert quick is None
    assert slow.not_judged == 1


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_a_radius_that_flushing_leaves_is_one_of_float64(activation: str) -> None:
    """Further on it is multiplied and squared, which float32 would flush itself."""
    g = np.full((1, 1, 1), np.finfo(np.float32).tiny / 4, np.float32)
    one = Ball(np.ones((1, 1, 1), np.float32))
    error = ACTIVATIONS[activation].pullback_bound(rounding("float32"), Ball(g), one, one, 0.0)
    assert np.asarray(error.rad).dtype == np.float64
    assert np.asarray(error.around(g).var).item() > 0.0
