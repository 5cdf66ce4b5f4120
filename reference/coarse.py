"""Products of non-negative matrices from which bounds are made: a few digits suffice, but never too small."""

from __future__ import annotations

from math import prod

import numpy as np

from gradparity.reference.problem import Array

SMALL = 2**17
LARGEST_FACTOR, SMALLEST_RESULT = 1e10, 1e-20
"""Within these, no term of a float32 product that matters is lost by underflow, and none overflows."""


def excess(n: int) -> float:
    """Return how many times too large `product` may be for inner length n."""
    return 1.0 + (n + 4) * 2.0**-21


def product(p: Array, q: Array) -> Array:
    """Return at least ``p q``, and at most `excess` times it, for ``p, q ≥ 0``, in float64.

    Large products are formed in float32 and rounded up by ``γ_{n+4}`` of float32.
    """
    n = p.shape[-1]
    if prod(p.shape) * q.shape[-1] > SMALL and max(p.max(), q.max()) < LARGEST_FACTOR:
        x = np.matmul(p.astype(np.float32, copy=False), q.astype(np.float32, copy=False))
        if x.min() > SMALLEST_RESULT:
            return np.multiply(x, 1.0 + (n + 4) * 2.0**-22, dtype=np.float64)
    return np.matmul(p.astype(np.float64, copy=False), q.astype(np.float64, copy=False))
