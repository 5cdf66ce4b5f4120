"""Matrix products far finer than the working precision: what an engine's products are compared with.

float32 factors are multiplied in float64. float64 factors are multiplied in long double; large ones are cut into
slices of β bits, such that BLAS forms the leading products without any rounding (K. Ozaki, T. Ogita, S. Oishi, S. M.
Rump, *Error-free transformations of matrix multiplication by using fast routines of matrix multiplication and its
applications*, Numer. Algorithms 59, 2012), and a certificate decides whether that was fine enough.
"""

from __future__ import annotations

from math import ceil, log2, prod
from typing import Any

import numpy as np

from gradparity.reference import coarse
from gradparity.reference.problem import Array

WIDE = np.longdouble
SMALL = 2**17
"""Up to so many multiplications, long double arithmetic without BLAS is the faster way."""
MAX_SLICES = 3


def product(A: Array, B: Array, wide: Any) -> Array:
    """Return ``A B`` for ``A (…, p, n)``, ``B (…, n, q)``, in the type `wide`: float64, or long double.

    The error is at most ``(n+9)·u_wide·|A||B|`` (``5·u_wide`` for n = 1), componentwise, but for underflow.
    Infinities and NaN come out as in a plain product.
    """
    if wide is np.float64:
        return np.matmul(A.astype(wide, copy=False), B.astype(wide, copy=False))
    if prod(A.shape) * B.shape[-1] > SMALL and np.isfinite(A).all() and np.isfinite(B).all():
        head_A, head_B = A.astype(np.float64, copy=False), B.astype(np.float64, copy=False)
        sliced = _sliced(head_A, head_B)
        if sliced is not None:
            if A.dtype != np.float64:
                sliced += np.matmul((A - head_A).astype(np.float64), head_B)
            if B.dtype != np.float64:
                sliced += np.matmul(head_A, (B - head_B).astype(np.float64))
            return sliced
    return np.matmul(A.astype(wide), B.astype(wide))


def _sliced(A: Array, B: Array) -> Array | None:
    """Return the product of finite float64 factors by slices, or None where no number of slices is certified."""
    n = A.shape[-1]
    A, B = _balance(A, B)
    a, b = np.abs(A), np.abs(B)
    S = np.matmul(a, b)
    # Where S = 0 nothing is rounded. The constants are a share of the floor nω, and the balance's own underflow.
    allowed = np.where(S == 0.0, np.inf, (n + 1) * 2.0**-64 * S + n * 2.0**-1033)
    row_max, column_max = a.max(axis=-1, keepdims=True), b.max(axis=-2, keepdims=True)
    row_sum, column_sum = a.sum(axis=-1, keepdims=True), b.sum(axis=-2, keepdims=True)
    edges = row_max * column_sum + column_max * row_sum
    lost = 2.0**-1074 * (row_sum + column_sum)
    beta = (53 - ceil(log2(n)) - 1) // 2 if n > 1 else 26
    for count in range(2, MAX_SLICES + 1):
        middle = (count - 2) * n * row_max * column_max
        error = (n + 2) * 2.0**-53 * 2.0 ** (1 - beta * (count - 1)) * (edges + middle)
        if (error + lost <= allowed).all():
            return _combine(*_slices(A, beta, count, axis=-1), *_slices(B, beta, count, axis=-2))
    return None


def _balance(A: Array, B: Array) -> tuple[Array, Array]:
    """Scale columns of A and rows of B by opposite powers of two, so that their largest elements are alike."""
    _, e_A = np.frexp(np.max(np.abs(A), axis=-2, keepdims=True))
    _, e_B = np.frexp(np.max(np.abs(B), axis=-1, keepdims=True))
    k = (np.swapaxes(e_B, -1, -2) - e_A) // 2
    return np.ldexp(A, k), np.ldexp(B, -np.swapaxes(k, -1, -2))


def _slices(x: Array, beta: int, count: int, axis: int) -> tuple[list[Array], list[Array]]:
    """Cut x into parts of β bits below its largest element on `axis`; return them and what is left before each.

    The last part is all that is left. Adding and subtracting an anchor rounds to a multiple of its last place.
    """
    _, exponent = np.frexp(np.max(np.abs(x), axis=axis, keepdims=True))
    parts, rests = [], [x]
    for index in range(1, count):
        anchor = np.ldexp(1.5, exponent + 52 - beta * index)
        part = (rests[-1] + anchor) - anchor
        parts.append(part)
        rests.append(rests[-1] - part)
    return [*parts, rests[-1]], rests


def _combine(A: list[Array], A_rests: list[Array], B: list[Array], B_rests: list[Array]) -> Array:
    """Add the slices' products, the smallest first: those with ``i + j ≤ last − 1`` are exact, the rest is small."""
    last = len(A) - 1
    result: Array = np.matmul(A[last], B_rests[0]).astype(WIDE)
    for i in range(last):
        result += np.matmul(A[i], B_rests[last - i])
    for degree in range(last - 1, -1, -1):
        for i in range(degree + 1):
            result += np.matmul(A[i], B[degree - i])
    return result
