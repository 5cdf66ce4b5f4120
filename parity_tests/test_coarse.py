"""Sums of absolute terms, from which bounds are made: never too small, and hardly too large."""

from __future__ import annotations

import numpy as np
import pytest

from gradparity.reference import coarse
from gradparity.reference.bounds import Ball, rounding
from gradparity.reference.coarse import SMALL, Size, excess
from gradparity.reference.product_bounds import Products

GENERATOR = np.random.default_rng(20261128)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(40, 3, 2000), (90, 90, 90), (7, 5000, 7), (3, 4, 5)])
@pytest.mark.parametrize("decades", [0.0, 12.0, 24.0])
def test_never_too_small(shape: tuple[int, int, int], decades: float, dtype: str) -> None:
    rows, n, columns = shape
    p, q = (
        (GENERATOR.random(size) * 10.0 ** (decades * (GENERATOR.random(size) - 0.5))).astype(dtype)
        for size in ((rows, n), (n, columns))
    )
    size = coarse.product(p, q)
    exact = np.matmul(p.astype(np.longdouble), q.astype(np.longdouble))
    # Long double, and float64 for what is small, have a rounding error of their own.
    own = 1 + (n + 4) * 2.0**-52
    assert (size.terms.dtype == np.float32) == (rows * n * columns > SMALL and decades < 24.0)
    assert (size.whole * own >= exact).all()
    assert (size.whole <= exact * excess(n) * own).all()
    check_extremes(size)
    added = GENERATOR.random((rows, 1))
    check_extremes(size.plus(added))
    assert (size.plus(added).whole == size.whole + added).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_radius_of_a_large_product_is_no_smaller_than_its_formula(dtype: str) -> None:
    P, Q = (GENERATOR.standard_normal(size).astype(dtype) for size in ((1, 60, 100), (1, 100, 50)))
    r = rounding(dtype)
    sums = Products(r, Ball(P), Ball(Q), 3, np.matmul(P, Q))
    rad = np.asarray(sums.error().rad)
    S = np.matmul(np.abs(P).astype(np.longdouble), np.abs(Q).astype(np.longdouble))
    # The radius itself is rounded to float64.
    assert (rad * (1 + 2.0**-50) >= r.gamma(100 + 3) * S).all()
    assert (rad <= r.gamma(100 + 3) * S * excess(100) + 1e-30).all()
    for block in (slice(0, 7), slice(7, 2000), slice(2000, 3000)):
        assert (np.asarray(sums.error(block).rad) == rad.reshape(-1)[block]).all()


def check_extremes(size: Size) -> None:
    assert size.smallest <= size.whole.min()
    assert size.largest >= size.whole.max()
