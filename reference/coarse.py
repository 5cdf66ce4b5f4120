"""Products of non-negative matrices from which bounds are made: a few digits suffice, but never too small."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from gradparity.reference.problem import Array

SMALL = 2**17
LARGEST_FACTOR, SMALLEST_RESULT = 1e10, 1e-20
"""Within these, no term of a float32 product that matters is lost by underflow, and none overflows."""


def excess(n: int) -> float:
    """Return how many times too large `product` may be for inner length n."""
    return 1.0 + (n + 4) * 2.0**-21


class Size(NamedTuple):
    """Sums of non-negative terms, each up to `excess` times too large: ``factor · terms``."""

    terms: Array
    """In float32 or float64."""
    smallest: float
    """No element is smaller."""
    largest: float
    """No element is larger."""
    factor: float = 1.0
    """At least 1. Whoever passes over all elements anyway, multiplies then."""

    @property
    def whole(self) -> Array:
        """Return the sums, in float64."""
        return np.multiply(self.terms, self.factor, dtype=np.float64)

    def plus(self, x: Array) -> Size:
        """Return the sizes with `x` added."""
        return Size(
            self.whole + x, self.smallest + float(x.min(initial=np.inf)), self.largest + float(x.max(initial=0.0))
        )


def product(p: Array, q: Array) -> Size:
    """Return at least ``p q``, and at most `excess` times it, for ``p, q ≥ 0``.

    Large products are formed in float32 and rounded up by ``γ_{n+4}`` of float32; others in float64.
    """
    n = p.shape[-1]
    if prod(p.shape) * q.shape[-1] > SMALL:
        largest = float(p.max()), float(q.max())
        if max(largest) < LARGEST_FACTOR:
            x = np.matmul(p.astype(np.float32, copy=False), q.astype(np.float32, copy=False))
            smallest = float(x.min())
            if smallest > SMALLEST_RESULT:
                return Size(x, smallest, excess(n) * n * largest[0] * largest[1], 1.0 + (n + 4) * 2.0**-22)
    x = np.matmul(p.astype(np.float64, copy=False), q.astype(np.float64, copy=False))
    return Size(x, float(x.min(initial=np.inf)), float(x.max(initial=0.0)))
