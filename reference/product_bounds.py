"""Bounds of sums of products, and of plain sums.

Sources: N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., 2002, sections 2.2, 3.1 and 3.5; N. J.
Higham and T. Mary, *A new approach to probabilistic rounding error analysis*, SIAM J. Sci. Comput. 41(5), 2019 (the
variances). `docs/mathematics.md` derives each bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from math import sqrt
from typing import TypeVar

import numpy as np

from gradparity.reference import coarse
from gradparity.reference.bounds import SIGMAS, Ball, Error, Rounding, add, is_zero, magnitude, overflowing, times
from gradparity.reference.exact import Unevaluated
from gradparity.reference.problem import Array

X = TypeVar("X", Array, "Array | float")


@dataclass(frozen=True)
class Products:
    """``P (…, p, n)``, ``Q (…, n, q)``, ``bias (…, p, 1)``, and the value `mid` of ``P Q (+ bias)``, whose error it
    bounds: ``γ_{n+extra} S + (n+1)ω + |P|·sub(Q) + sub(P)·|Q|``, 0 where S = 0.

    ``S`` is the sum of absolute terms. The variance is ``u² n (mid² + (P∘P)(Q∘Q))``, and what the factors' own errors
    add. Of large arrays the radii need not all be in memory at once: `error` takes them in flat blocks, too.
    """

    r: Rounding
    P: Ball
    Q: Ball
    extra: int
    mid: Array | Unevaluated
    bias: Ball | None = None

    def error(self, block: slice | None = None) -> Error:
        """Return the error of the flat `block`, or of the whole array."""
        size = self.size
        rad = self._part(size.terms, block).astype(np.float64)
        rad *= self.r.gamma(self.roundings) * size.factor
        for term in (self.floor, self.inherited):
            if not is_zero(term):
                rad += self._part(term, block)
        if self.zero is not None:
            rad[self._part(self.zero, block)] = 0.0
        if self.unknown is not None:
            rad[self._part(self.unknown, block)] = np.inf
        return Error(rad, lambda: self._part(self.variance, block), self.screen)

    def _part(self, x: X, block: slice | None) -> X:
        if block is None or not isinstance(x, np.ndarray):
            return x
        return np.broadcast_to(x, self.size.terms.shape).reshape(-1)[block]

    @property
    def roundings(self) -> int:
        """Return n + extra."""
        return self.P.mid.shape[-1] + self.extra

    @cached_property
    def absolute(self) -> tuple[Array, Array]:
        """The factors' absolute values."""
        return _absolute(self.P.mid), _absolute(self.Q.mid)

    @cached_property
    def beta(self) -> Array | float:
        """The absolute bias."""
        return 0.0 if self.bias is None else magnitude(self.bias.mid)

    @cached_property
    def inherited(self) -> Array | float:
        """What the errors of the inputs make."""
        (p, q), P, Q = self.absolute, self.P.rad, self.Q.rad
        return add(times(p, Q), times(P, q), times(P, Q), 0.0 if self.bias is None else self.bias.rad)

    @cached_property
    def size(self) -> coarse.Size:
        """S."""
        known = self.mid.size if isinstance(self.mid, Unevaluated) else None
        size = known or coarse.product(*self.absolute)
        for term in (self.beta, self.inherited):
            if not is_zero(term):
                size = size.plus(np.asarray(term))
        return size

    @cached_property
    def floor(self) -> Array | float:
        """What underflow may lose."""
        p, q = self.absolute
        own = (p.shape[-1] + 1) * self.r.omega
        return add(own, times(p, self.r.flushed(q)), times(self.r.flushed(p), q))

    @cached_property
    def zero(self) -> Array | None:
        """Where there is nothing to be rounded; None if nowhere."""
        if self.size.smallest > 0.0:
            return None
        p, q = self.absolute
        return (self.size.terms == 0.0) & ~_underflowing(self.r, add(p, self.P.rad), add(q, self.Q.rad))

    @cached_property
    def unknown(self) -> Array | None:
        """Where a partial sum may overflow; None if nowhere."""
        return None if self.size.largest <= self.r.overflow else self.r.overflow < self.size.whole

    @cached_property
    def variance(self) -> Array:
        """The variance of the error."""
        P, Q = self.P, self.Q
        p2, q2 = np.square(magnitude(P.mid)), np.square(magnitude(Q.mid))
        bias_var = 0.0 if self.bias is None else self.bias.var
        inherited = add(times(p2, Q.var), times(P.var, q2), times(P.var, Q.var), bias_var)
        value = self.mid.hi if isinstance(self.mid, Unevaluated) else self.mid
        squares = add(np.square(magnitude(value)), coarse.product(p2, q2).whole, np.square(self.beta))
        floored = np.square(np.asarray(self.floor, dtype=np.float64))
        return np.asarray(add(self.r.u**2 * self.roundings * squares, floored, inherited))

    @cached_property
    def screen(self) -> float:
        """The screen of the error: see `Ball`."""
        terms = self.P.mid.shape[-1] + 1
        return (
            _screen(self.r, self.roundings, terms, self.floor, self.size.smallest) if is_zero(self.inherited) else 0.0
        )


def _absolute(x: Array) -> Array:
    """Return |x| in the precision in which an engine gave it, or in float64."""
    return np.abs(x) if x.dtype == np.float32 else magnitude(x)


def _screen(r: Rounding, roundings: int, terms: int, floor: Array | float, smallest: float) -> float:
    """Return the share of ``γS + floor`` up to which no error is beyond `SIGMAS` standard deviations, if that is known.

    A sum of squares of as many `terms` as S has is at least S²/terms, so that ``σ ≥ u √(roundings/terms) S``: no square
    is needed where that suffices. `smallest` is the smallest S.
    """
    gamma = r.gamma(roundings)
    relevant = isinstance(floor, float) and floor < 1e-3 * gamma * smallest
    return 0.999 * SIGMAS * r.u * sqrt(roundings / terms) / gamma if relevant else 0.0


def _underflowing(r: Rounding, p: Array | float, q: Array | float) -> Array:
    """Return where ``p q`` has a term other than 0, though float64, in which S is computed, may say that it is 0.

    The smallest product of two numbers of float32 is 2⁻²⁹⁸: there, what is 0 in float64 is 0.
    """
    if r.dtype == "float32":
        return np.asarray(False)
    return np.matmul((np.asarray(p) > 0.0).astype(np.float32), (np.asarray(q) > 0.0).astype(np.float32)) > 0.0


def sum_bound(r: Rounding, x: Ball, extra: int, mid: Array) -> Error:
    """Bound ``Σ x`` over the m columns: ``γ_{m+extra} Σ|x| + mω``, 0 where all terms are 0."""
    m, absolute = x.mid.shape[-1], _absolute(x.mid)
    inherited = np.sum(np.broadcast_to(x.rad, absolute.shape), axis=-1, keepdims=True) if not is_zero(x.rad) else 0.0
    S = np.asarray(np.sum(absolute, axis=-1, keepdims=True, dtype=np.float64) + inherited)
    rad = np.where(S == 0.0, 0.0, r.gamma(m + extra) * S + m * r.omega + inherited)

    @cache
    def variance() -> Array:
        inherited_var = (
            np.sum(np.broadcast_to(x.var, absolute.shape), axis=-1, keepdims=True) if not is_zero(x.var) else 0.0
        )
        squares = np.square(magnitude(mid)) + np.square(magnitude(x.mid)).sum(-1, keepdims=True)
        return np.asarray(r.u**2 * (m + extra) * squares + (m * r.omega) ** 2 + inherited_var)

    screen = _screen(r, m + extra, m, m * r.omega, float(S.min(initial=np.inf))) if is_zero(inherited) else 0.0
    return Error(overflowing(r, S, rad), variance, screen)
