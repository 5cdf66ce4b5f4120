"""Sums of absolute terms, from which bounds are made: never too small, and hardly too large."""

from __future__ import annotations

import numpy as np
import pytest

from gradparity.reference import coarse
from gradparity.reference.coarse import SMALL, Size, excess

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
    assert (size.terms * own >= exact).all()
    assert (size.terms <= exact * excess(n) * own).all()
    check_extremes(size)
    added = GENERATOR.random((rows, 1))
    check_extremes(size.plus(added))
    assert (size.plus(added).terms == size.terms.astype(np.float64) + added).all()


def check_extremes(size: Size) -> None:
    assert size.smallest <= size.terms.min()
    assert size.largest >= size.terms.max()
