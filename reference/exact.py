"""Matrix products far finer than the working precision: what an engine's products are compared with.

float32 factors are multiplied in float64. float64 factors are multiplied in long double; large ones are cut into
slices of β bits, such that BLAS forms the leading products without any rounding (K. Ozaki, T. Ogita, S. Oishi, S. M.
Rump, *Error-free transformations of matrix multiplication by using fast routines of matrix multiplication and its
applications*, Numer. Algorithms 59, 2012), and a certificate decides whether that was fine enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2, prod
from typing import Any

import numpy as np

from gradparity.reference import coarse
from gradparity.reference.problem import Array

WIDE = np.longdouble
SMALL = 2**17
"""Up to so many multiplications, long double arithmetic without BLAS is the faster way."""
MAX_SLICES = 3


@dataclass(frozen=True)
class Unevaluated:
    """A sum ``hi + lo`` of float64 arrays that is not rounded to one: ``(x − hi) − lo`` is fast and accurate."""

    hi: Array
    lo: Array

    def __add__(self, x: Array) -> Unevaluated:
        """Add x without rounding what matters (TwoSum: Higham 2002, section 4.3)."""
        total = self.hi + x
        part = total - self.hi
        return Unevaluated(total, self.lo + ((self.hi - (total - part)) + (x - part)))

    def rounded(self, wide: Any) -> Array:
        """Return the sum in the type `wide`."""
        return self.hi.astype(wide) + self.lo


def product(A: Array, B: Array, wide: Any) -> Array:
    """Return ``A B`` for ``A (…, p, n)``, ``B (…, n, q)``, in the type `wide`: float64, or long double.

    The error is at most ``(n+9)·u_wide·|A||B|`` (``5·u_wide`` for n = 1), componentwise, but for underflow.
    Infinities and NaN come out as in a plain product.
    """
    if wide is np.float64:
        return np.matmul(A.astype(wide, copy=False), B.astype(wide, copy=False))
    head_A, head_B = A.astype(np.float64, copy=False), B.astype(np.float64, copy=False)
    sliced = _sliced(head_A, head_B)
    if sliced is None:
        return np.matmul(A.astype(wide), B.astype(wide))
    result = sliced.rounded(wide)
    if A.dtype != np.float64:
        result += np.matmul((A - head_A).astype(np.float64), head_B)
    if B.dtype != np.float64:
        result += np.matmul(head_A, (B - head_B).astype(np.float64))
    return result


def unevaluated_product(A: Array, B: Array) -> Unevaluated:
    """Return ``A B`` of float64 factors as accurately as `product`, and faster for what follows."""
    return _sliced(A, B) or unevaluated(np.matmul(A.astype(WIDE), B.astype(WIDE)))


def unevaluated(x: Array) -> Unevaluated:
    """Return a long double array as a sum of two of float64."""
    hi = x.astype(np.float64)
    return Unevaluated(hi, (x - hi).astype(np.float64))


def _sliced(A: Array, B: Array) -> Unevaluated | None:
    """Return the product of float64 factors by slices, or None for small ones, and where no slicing is certified."""
    n = A.shape[-1]
    if prod(A.shape) * B.shape[-1] <= SMALL or not (np.isfinite(A).all() and np.isfinite(B).all()):
        return None
    A, B = _balance(A, B)
    a, b = np.abs(A), np.abs(B)
    S = 0.99 * coarse.product(a, b)
    row_max, column_max = a.max(axis=-1, keepdims=True), b.max(axis=-2, keepdims=True)
    row_sum, column_sum = a.sum(axis=-1, keepdims=True), b.sum(axis=-2, keepdims=True)
    beta = (53 - ceil(log2(n)) - 1) // 2 if n > 1 else 26
    for count in range(2, MAX_SLICES + 1):
        unit = (n + 2) * 2.0**-53 * 2.0 ** (1 - beta * (count - 1))

        def error(rows: Array, columns: Array, sums: tuple[Array, Array], unit: float = unit, s: int = count) -> Array:
            edges = rows * sums[1] + columns * sums[0]
            return unit * (edges + (s - 2) * n * rows * columns) + 2.0**-1074 * (sums[0] + sums[1])

        highest = error(row_max.max(), column_max.max(), (row_sum.max(), column_sum.max()))
        fine = bool(highest <= (n + 1) * 2.0**-64 * S.min())
        if fine or _certified(n, S, error(row_max, column_max, (row_sum, column_sum))):
            return _combine(*_slices(A, beta, count, axis=-1), *_slices(B, beta, count, axis=-2))
    return None


def _certified(n: int, S: Array, error: Array) -> bool:
    """Return whether the slices' error is small beside ``S``, element by element.

    Where S = 0 nothing is rounded. The constants are a share of the floor nω, and the balance's own underflow.
    """
    allowed = np.where(S == 0.0, np.inf, (n + 1) * 2.0**-64 * S + n * 2.0**-1033)
    return bool((error <= allowed).all())


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


def _combine(A: list[Array], A_rests: list[Array], B: list[Array], B_rests: list[Array]) -> Unevaluated:
    """Add the slices' products: those with ``i + j ≤ last − 1`` are exact, and the rest is small."""
    last = len(A) - 1
    rest = sum((np.matmul(A[i], B_rests[last - i]) for i in range(last)), np.matmul(A[last], B_rests[0]))
    result = Unevaluated(np.matmul(A[0], B[0]), rest)
    for degree in range(1, last):
        for i in range(degree + 1):
            result += np.matmul(A[i], B[degree - i])
    return result
