"""How far rounding may move a value: the vocabulary that every bound of the table is written in.

Sources: N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., SIAM 2002, ch. 2-3 (the model of
arithmetic, ``gamma_n``); N. J. Higham and T. Mary, *A new approach to probabilistic rounding error analysis*, SIAM
J. Sci. Comput. 41(5), 2019 (the variances). `docs/mathematics.md` derives each bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

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
    var: Array | float = 0.0

    @property
    def exact(self) -> bool:
        """Return whether this is a given value, not a computed one."""
        return isinstance(self.rad, float) and self.rad == 0.0


class Error(NamedTuple):
    """What a bound returns: the radius and the variance of the error of a row."""

    rad: Array
    var: Array


@dataclass(frozen=True, slots=True)
class Rounding:
    """The working precision of an engine, widened by that of the comparison value.

    `u` is the unit roundoff of the engine, and four times that of the comparison value (`exact.product`). Every radius is superadditive in ``u``, so it covers the error of the engine
    and that of the value it is compared with (docs/mathematics.md, lemma 2).
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

    def gamma(self, n: float) -> float:
        """Return ``γ_n = nu/(1−nu)``: n roundings in any order, fused or not; infinite once ``nu ≥ 1``."""
        nu = n * self.u
        return nu / (1.0 - nu) if nu < 1.0 else float("inf")

    def tau(self, function: str) -> float:
        """Return ``τ = 2Ku``: the relative error that the allowance of K ULP of `function` amounts to."""
        return 2.0 * ULP_ALLOWANCE[function][self.dtype] * self.u

    def flushed(self, x: Array) -> Array:
        """Return ``sub(x)``: |x| where x is subnormal, else 0. Some engines read those elements as 0."""
        return np.where(x < self.tiny, x, 0.0)


@cache
def rounding(dtype: str) -> Rounding:
    """Return the precision of `dtype` (``float32`` is compared in float64, ``float64`` in the widest long double)."""
    wide = np.float64 if dtype == "float32" else np.longdouble
    info = np.finfo(dtype)
    u = float(info.eps) / 2.0 + 4.0 * float(np.finfo(wide).eps) / 2.0
    return Rounding(dtype, wide, u, float(info.tiny), float(info.max))


def magnitude(x: Array) -> Array:
    """Return |x| in float64, in which all bounds are computed."""
    return np.abs(x).astype(np.float64, copy=False)


def times(x: Array | float, y: Array | float) -> Array | float:
    """Return the matrix product ``x y``, where a radius or variance of 0 may stand for a matrix of zeros."""
    if isinstance(x, float) or isinstance(y, float):
        return 0.0
    return np.matmul(x, y)


def product_bound(r: Rounding, P: Ball, Q: Ball, extra: int, mid: Array, bias: Ball | None = None) -> Error:
    """Bound ``P Q (+ bias)`` for inner length n: ``γ_{n+extra} S + (n+1)ω + |P|·sub(Q) + sub(P)·|Q|``, 0 where S = 0.

    ``S`` is the sum of absolute terms. Source: Higham 2002, eq. (3.5), with underflow by eq. (2.8). The variance is
    ``u² n (mid² + (P∘P)(Q∘Q))`` (Higham and Mary 2019), and what the factors' own errors add.
    """
    p, q, n = magnitude(P.mid), magnitude(Q.mid), P.mid.shape[-1]
    beta: Array | float = 0.0 if bias is None else magnitude(bias.mid)
    inherited = np.asarray(times(p, Q.rad) + times(P.rad, q) + times(P.rad, Q.rad))
    inherited_var = np.asarray(times(p * p, Q.var) + times(P.var, q * q) + times(P.var, Q.var))
    if bias is not None:
        inherited, inherited_var = inherited + bias.rad, inherited_var + bias.var
    S = np.matmul(p, q) + beta + inherited
    floor = (n + 1) * r.omega + flushed_terms(r, p, q)
    rad = np.where(S == 0.0, 0.0, r.gamma(n + extra) * S + floor + inherited)
    value = magnitude(mid)
    squares = np.matmul(p * p, q * q) + beta * beta
    var = r.u**2 * (n + extra) * (value * value + squares) + floor * floor + inherited_var
    return Error(overflowing(r, S, rad), var)


def flushed_terms(r: Rounding, p: Array, q: Array) -> Array | float:
    """Return ``|P|·sub(Q) + sub(P)·|Q|``, which is 0 for all data without subnormals."""
    total: Array | float = 0.0
    for left, right, subnormal in ((p, r.flushed(q), "q"), (r.flushed(p), q, "p")):
        if (right if subnormal == "q" else left).any():
            total = total + np.matmul(left, right)
    return total


def sum_bound(r: Rounding, x: Ball, extra: int, mid: Array) -> Error:
    """Bound ``Σ x`` over the m columns: ``γ_{m+extra} Σ|x| + mω``, 0 where all terms are 0."""
    m, absolute = x.mid.shape[-1], magnitude(x.mid)
    inherited = np.sum(x.rad, axis=-1, keepdims=True) if isinstance(x.rad, np.ndarray) else np.float64(x.rad)
    inherited_var = np.sum(x.var, axis=-1, keepdims=True) if isinstance(x.var, np.ndarray) else np.float64(x.var)
    S = absolute.sum(-1, keepdims=True) + inherited
    rad = np.where(S == 0.0, 0.0, r.gamma(m + extra) * S + m * r.omega + inherited)
    value = magnitude(mid)
    squares = (absolute * absolute).sum(-1, keepdims=True)
    var = r.u**2 * (m + extra) * (value * value + squares) + (m * r.omega) ** 2 + inherited_var
    return Error(overflowing(r, S, rad), var)


def overflowing(r: Rounding, S: Array, rad: Array) -> Array:
    """Return `rad`, infinite where a partial sum may exceed the largest finite number."""
    return np.where(S * 1.001 > r.largest, np.inf, rad)


def rounded(r: Rounding, local: Array, inherited: Array | float, inherited_var: Array | float) -> Error:
    """Return the error of an elementwise row: its own, taken as 4 standard deviations, and what it inherits."""
    own = local / 4.0
    return Error(local + inherited, own * own + inherited_var)
