"""Matrix products far finer than the working precision: what an engine's products are compared with.

float32 factors are multiplied in float64. float64 factors are multiplied in long double; large ones are cut into
slices of β bits, such that BLAS forms the leading products without any rounding (K. Ozaki, T. Ogita, S. Oishi, S. M.
Rump, *Error-free transformations of matrix multiplication by using fast routines of matrix multiplication and its
applications*, Numer. Algorithms 59, 2012), and a certificate decides whether that was fine enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil, log2, prod
from typing import Any

import numpy as np

from gradparity.reference import coarse
from gradparity.reference.problem import Array

WIDE = np.longdouble
SMALL = 2**17
"""Up to so many multiplications, long double arithmetic without BLAS is the faster way."""
MAX_SLICES = 3
LARGEST_SLICED = 2.0**960
"""Above this, an anchor could overflow."""


@dataclass(frozen=True)
class Unevaluated:
    """A sum ``hi + lo`` of float64 arrays that is not rounded to one: ``(x − hi) − lo`` is fast and accurate."""

    hi: Array
    lo: Array
    size: coarse.Size | None = None
    """At least ``|A||B|``, from `coarse.product`, where that was needed."""

    def __add__(self, x: Array) -> Unevaluated:
        """Add x without rounding what matters (TwoSum: Higham 2002, section 4.3)."""
        total = self.hi + x
        part = total - self.hi
        lost = total - part
        np.subtract(self.hi, lost, out=lost)
        np.subtract(x, part, out=part)
        lost += part
        lost += self.lo
        return Unevaluated(total, lost, self.size)

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


@dataclass(frozen=True)
class _Factors:
    """Factors ``A (…, p, n)`` and ``B (…, n, q)`` with what the certificate needs of their absolute values."""

    A: Array
    B: Array
    a: Array
    b: Array

    @cached_property
    def row_max(self) -> Array:
        return self.a.max(axis=-1, keepdims=True)

    @cached_property
    def column_max(self) -> Array:
        return self.b.max(axis=-2, keepdims=True)

    @cached_property
    def sums(self) -> tuple[Array, Array]:
        return self.a.sum(axis=-1, keepdims=True), self.b.sum(axis=-2, keepdims=True)

    @cached_property
    def balanced(self) -> _Factors:
        """The same product, columns of A and rows of B scaled by opposite powers of two to largest elements alike."""
        _, e_A = np.frexp(self.a.max(axis=-2, keepdims=True))
        _, e_B = np.frexp(self.b.max(axis=-1, keepdims=True))
        k = np.clip((np.swapaxes(e_B, -1, -2) - e_A) // 2, -1000, 1000)
        up, down = np.ldexp(1.0, k), np.ldexp(1.0, -np.swapaxes(k, -1, -2))
        return _Factors(self.A * up, self.B * down, self.a * up, self.b * down)


def _sliced(A: Array, B: Array) -> Unevaluated | None:
    """Return the product of float64 factors by slices, or None for small ones, and where no slicing is certified."""
    n = A.shape[-1]
    if prod(A.shape) * B.shape[-1] <= SMALL:
        return None
    given = _Factors(A, B, np.abs(A), np.abs(B))
    if not (np.isfinite(given.row_max).all() and np.isfinite(given.column_max).all()):
        return None
    size = coarse.product(given.a, given.b)
    beta = (53 - ceil(log2(n)) - 1) // 2 if n > 1 else 26
    for count in range(2, MAX_SLICES + 1):
        for scaled in (False, True):
            x = given.balanced if scaled else given
            if _certified(x, count, beta, size):
                sliced = (*_slices(x.A, x.row_max, beta, count), *_slices(x.B, x.column_max, beta, count))
                return _combine(*sliced, size)
    return None


def _certified(x: _Factors, count: int, beta: int, size: coarse.Size) -> bool:
    """Return whether the error of `count` slices is small beside ``S = |A||B|``, element by element.

    Where S = 0 nothing is rounded. The constants are a share of the floor nω, and the balance's own underflow.
    """
    n = x.A.shape[-1]
    unit = (n + 2) * 2.0**-53 * 2.0 ** (1 - beta * (count - 1))

    def error(rows: Array, columns: Array, row_sums: Array, column_sums: Array) -> Array:
        edges = rows * column_sums + columns * row_sums
        return unit * (edges + (count - 2) * n * rows * columns) + 2.0**-1074 * (row_sums + column_sums)

    row_max, column_max, sums = x.row_max, x.column_max, x.sums
    if max(row_max.max(), column_max.max()) > LARGEST_SLICED:
        return False
    share = (n + 1) * 2.0**-64 / coarse.excess(n)
    if error(row_max.max(), column_max.max(), *(s.max() for s in sums)) <= share * size.smallest:
        return True
    S = size.whole
    allowed = np.where(S == 0.0, np.inf, share * S + n * 2.0**-1033)
    return bool((error(row_max, column_max, *sums) <= allowed).all())


def _slices(x: Array, largest: Array, beta: int, count: int) -> tuple[list[Array], list[Array]]:
    """Cut x into parts of β bits below the `largest` of its row or column; return them and what is left before each.

    The last part is all that is left. Adding and subtracting an anchor rounds to a multiple of its last place.
    """
    _, exponent = np.frexp(largest)
    parts, rests = [], [x]
    for index in range(1, count):
        anchor = np.ldexp(1.5, exponent + 52 - beta * index)
        part = rests[-1] + anchor
        part -= anchor
        parts.append(part)
        rests.append(rests[-1] - part)
    return [*parts, rests[-1]], rests


def _combine(
    A: list[Array], A_rests: list[Array], B: list[Array], B_rests: list[Array], size: coarse.Size
) -> Unevaluated:
    """Add the slices' products: those with ``i + j ≤ last − 1`` are exact, and the rest is small."""
    last = len(A) - 1
    rest = np.matmul(A[last], B_rests[0])
    for i in range(last):
        rest += np.matmul(A[i], B_rests[last - i])
    result = Unevaluated(np.matmul(A[0], B[0]), rest, size)
    for degree in range(1, last):
        for i in range(degree + 1):
            result += np.matmul(A[i], B[degree - i])
    return result
