"""How far rounding may move a value: the vocabulary that every bound of the table is written in.

Sources: N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., SIAM 2002, ch. 2-3 (the model of
arithmetic, ``gamma_n``); N. J. Higham and T. Mary, *A new approach to probabilistic rounding error analysis*, SIAM
J. Sci. Comput. 41(5), 2019 (the variances). `docs/mathematics.md` derives each bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import sqrt
from typing import Any, NamedTuple

import numpy as np

from gradparity.reference import coarse
from gradparity.reference.exact import Unevaluated
from gradparity.reference.problem import Array

ULP_ALLOWANCE: dict[str, dict[str, float]] = {
    "exp": {"float32": 8, "float64": 8},
    "log": {"float32": 8, "float64": 8},
    "sigmoid": {"float32": 8, "float64": 8},
    "softplus": {"float32": 8, "float64": 8},
    "tanh": {"float32": 8, "float64": 12},
}
"""K: the error in units in the last place (ULP) that a library's transcendental may have. Measured maxima:
docs/mathematics.md, hypothesis H3."""

SIGMAS = 8.0
"""The statistical tier: an error beyond this many standard deviations is ``suspect``."""


class Ball(NamedTuple):
    """A value with the error it may carry: `mid` ± `rad`, componentwise, and the variance `var` of that error.

    An engine's own value is taken as exact: radius and variance 0. An infinite radius means that nothing can be
    said about that element (it may overflow, or a singularity is within reach).
    """

    mid: Array
    rad: Array | float = 0.0
    own_var: Array | float | Callable[[], Array] | None = 0.0
    """The variance, or how to compute it; None stands for that of 4 standard deviations in `rad`, where nothing
    sharper is known."""
    screen: float = 0.0
    """No error of at most `screen` times its radius is beyond `SIGMAS` standard deviations; 0 where that is not
    known.
    """

    low: Array | float = 0.0
    """What `mid` lacks of a value that is held as a sum of two."""
    open: Array | bool = False
    """Where a correct engine may meet a singularity that is within reach: besides the numbers of the ball, infinities
    and NaN are possible there."""

    @property
    def var(self) -> Array | float:
        """Return the variance of the error."""
        if self.own_var is None:
            return np.square(self.rad / 4.0)
        return self.own_var() if callable(self.own_var) else self.own_var

    @property
    def exact(self) -> bool:
        """Return whether this is a given value, not a computed one."""
        return isinstance(self.rad, float) and self.rad == 0.0


class Error(NamedTuple):
    """What a bound returns of the error of a row: see `Ball`."""

    rad: Array | float
    var: Array | float | Callable[[], Array] | None
    screen: float = 0.0
    open: Array | bool = False

    def around(self, mid: Array) -> Ball:
        """Return the ball with this error."""
        return Ball(mid, self.rad, self.var, self.screen, open=self.open)


@dataclass(frozen=True, slots=True)
class Rounding:
    """The working precision of an engine, widened by that of the comparison value.

    `u` is the unit roundoff of the engine, and four times that of the comparison value (`exact.product`). Every radius
    is superadditive in ``u``, so it covers the error of the engine and that of the value it is compared with
    (docs/mathematics.md, lemma 2).
    """

    dtype: str
    wide: Any
    u: float
    tiny: float
    largest: float

    @property
    def omega(self) -> float:
        """Return the floor ω = 4·tiny for results that are subnormal, or flushed to zero."""
        return 4.0 * self.tiny

    @property
    def least(self) -> float:
        """Return the smallest number above 0, a subnormal one."""
        return float(np.finfo(self.dtype).smallest_subnormal)

    @property
    def overflow(self) -> float:
        """Return the size of terms above which their sum may overflow in some order."""
        return self.largest / 1.001

    def gamma(self, n: float) -> float:
        """Return ``γ_n = nu/(1−nu)``: n roundings in any order, fused or not; infinite once ``nu ≥ 1``."""
        nu = n * self.u
        return nu / (1.0 - nu) if nu < 1.0 else float("inf")

    def tau(self, function: str) -> float:
        """Return ``τ = 2Ku``: the relative error that the allowance of K ULP of `function` amounts to."""
        return 2.0 * ULP_ALLOWANCE[function][self.dtype] * self.u

    def subnormal(self, x: Array) -> Array | None:
        """Return where ``x ≥ 0`` is subnormal; None if nowhere."""
        if x.min(initial=np.inf) >= self.tiny:
            return None
        subnormal = x < self.tiny
        subnormal &= x > 0.0
        return subnormal if subnormal.any() else None

    def flushed(self, x: Array) -> Array | float:
        """Return ``sub(x)`` for ``x ≥ 0``: x where it is subnormal, else 0. Some engines read those elements as 0."""
        subnormal = self.subnormal(x)
        return 0.0 if subnormal is None else np.where(subnormal, x, 0.0)


@cache
def rounding(dtype: str) -> Rounding:
    """Return the precision of `dtype` (``float32`` is compared in float64, ``float64`` in the widest long double)."""
    wide = np.float64 if dtype == "float32" else np.longdouble
    info = np.finfo(dtype)
    # Sliced products are certified to 2⁻⁶⁴, also where a long double is finer than that.
    u_wide = max(float(np.finfo(wide).eps) / 2.0, 2.0**-64)
    u = float(info.eps) / 2.0 + 4.0 * u_wide
    return Rounding(dtype, wide, u, float(info.tiny), float(info.max))


def magnitude(x: Array) -> Array:
    """Return |x| in float64, in which all bounds are computed."""
    own = x.astype(np.float64, copy=False)
    return np.abs(own, out=None if own is x else own)


def _absolute(x: Array) -> Array:
    """Return |x| in the precision in which an engine gave it, or in float64."""
    return np.abs(x) if x.dtype == np.float32 else magnitude(x)


def T(x: Any) -> Any:
    """Return the transpose of the last two axes; a scalar as it is."""
    return np.swapaxes(x, -1, -2) if isinstance(x, np.ndarray) else x


def is_zero(x: Array | float | None) -> bool:
    """Return whether x is the scalar 0 that stands for an array of zeros."""
    return isinstance(x, float) and bool(x == 0.0)


def add(*terms: Array | float) -> Array | float:
    """Return the sum, passing over arrays only for terms that are not the scalar 0."""
    present = [term for term in terms if not is_zero(term)]
    return sum(present[1:], present[0]) if present else 0.0


def mul(x: Array | float, y: Array | float) -> Array | float:
    """Return the elementwise product, without a pass over arrays where a factor is the scalar 0."""
    return 0.0 if is_zero(x) or is_zero(y) else x * y


def times(x: Array | float, y: Array | float) -> Array | float:
    """Return the matrix product ``x y``, where a radius or variance of 0 may stand for a matrix of zeros."""
    if is_zero(x) or is_zero(y):
        return 0.0
    return np.matmul(x, y)


def product_bound(
    r: Rounding, P: Ball, Q: Ball, extra: int, mid: Array | Unevaluated, bias: Ball | None = None
) -> Error:
    """Bound ``P Q (+ bias)`` for inner length n: ``γ_{n+extra} S + (n+1)ω + |P|·sub(Q) + sub(P)·|Q|``, 0 where S = 0.

    ``S`` is the sum of absolute terms. Source: Higham 2002, section 3.5, with underflow by section 2.2. The variance is
    ``u² n (mid² + (P∘P)(Q∘Q))`` (Higham and Mary 2019), and what the factors' own errors add.
    """
    p, q, n = _absolute(P.mid), _absolute(Q.mid), P.mid.shape[-1]
    beta = 0.0 if bias is None else magnitude(bias.mid)
    inherited = add(times(p, Q.rad), times(P.rad, q), times(P.rad, Q.rad), 0.0 if bias is None else bias.rad)
    S = mid.size if isinstance(mid, Unevaluated) and mid.size is not None else coarse.product(p, q)
    for term in (beta, inherited):
        if not is_zero(term):
            S += term
    smallest, largest = S.min(initial=np.inf), S.max(initial=0.0)
    zero = None if smallest > 0.0 else (S == 0.0) & ~_underflowing(r, add(p, P.rad), add(q, Q.rad))
    unknown = None if largest <= r.overflow else r.overflow < S
    floor = add((n + 1) * r.omega, times(p, r.flushed(q)), times(r.flushed(p), q))
    rad = S
    rad *= r.gamma(n + extra)
    for term in (floor, inherited):
        if not is_zero(term):
            rad += term
    if zero is not None:
        rad[zero] = 0.0
    if unknown is not None:
        rad[unknown] = np.inf

    @cache
    def variance() -> Array:
        p2, q2 = np.square(magnitude(P.mid)), np.square(magnitude(Q.mid))
        inherited_var = add(times(p2, Q.var), times(P.var, q2), times(P.var, Q.var), 0.0 if bias is None else bias.var)
        value = mid.hi if isinstance(mid, Unevaluated) else mid
        squares = add(np.square(magnitude(value)), coarse.product(p2, q2), np.square(beta))
        floored = np.square(np.asarray(floor, dtype=np.float64))
        return np.asarray(add(r.u**2 * (n + extra) * squares, floored, inherited_var))

    screen = _screen(r, n + extra, n + 1, floor, smallest) if is_zero(inherited) else 0.0
    return Error(rad, variance, screen)


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


def sum_bound(r: Rounding, x: Ball, extra: int, mid: Array | Unevaluated) -> Error:
    """Bound ``Σ x`` over the m columns: ``γ_{m+extra} Σ|x| + mω``, 0 where all terms are 0."""
    m, absolute = x.mid.shape[-1], magnitude(x.mid)
    inherited = np.sum(np.broadcast_to(x.rad, absolute.shape), axis=-1, keepdims=True) if not is_zero(x.rad) else 0.0
    S = absolute.sum(-1, keepdims=True) + inherited
    rad = np.where(S == 0.0, 0.0, r.gamma(m + extra) * S + m * r.omega + inherited)

    @cache
    def variance() -> Array:
        inherited_var = (
            np.sum(np.broadcast_to(x.var, absolute.shape), axis=-1, keepdims=True) if not is_zero(x.var) else 0.0
        )
        value = mid.hi if isinstance(mid, Unevaluated) else mid
        squares = np.square(magnitude(value)) + np.square(absolute).sum(-1, keepdims=True)
        return np.asarray(r.u**2 * (m + extra) * squares + (m * r.omega) ** 2 + inherited_var)

    screen = _screen(r, m + extra, m, m * r.omega, float(S.min(initial=np.inf))) if is_zero(inherited) else 0.0
    return Error(overflowing(r, S, rad), variance, screen)


def overflowing(r: Rounding, S: Array, rad: Array) -> Array:
    """Return `rad`, infinite where a partial sum may exceed the largest finite number."""
    return rad if S.max(initial=0.0) <= r.overflow else np.where(r.overflow < S, np.inf, rad)


def rounded(r: Rounding, local: Array | float, inherited: Array | float, inherited_var: Array | float) -> Error:
    """Return the error of an elementwise row: its own, taken as 4 standard deviations, and what it inherits."""
    if is_zero(inherited) and is_zero(inherited_var):
        return Error(local, None)
    return Error(add(local, inherited), add(np.square(local / 4.0), inherited_var))
