"""How far rounding may move a value: the vocabulary that every bound of the table is written in.

Sources: N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., SIAM 2002, ch. 2-3 (the model of
arithmetic, ``gamma_n``); N. J. Higham and T. Mary, *A new approach to probabilistic rounding error analysis*, SIAM
J. Sci. Comput. 41(5), 2019 (the variances). `docs/mathematics.md` derives each bound.
"""

from __future__ import annotations

from collections.abc import Callable
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


def overflowing(r: Rounding, S: Array, rad: Array) -> Array:
    """Return `rad`, infinite where a partial sum may exceed the largest finite number."""
    return rad if S.max(initial=0.0) <= r.overflow else np.where(r.overflow < S, np.inf, rad)


def rounded(r: Rounding, local: Array | float, inherited: Array | float, inherited_var: Array | float) -> Error:
    """Return the error of an elementwise row: its own, taken as 4 standard deviations, and what it inherits."""
    if is_zero(inherited) and is_zero(inherited_var):
        return Error(local, None)
    return Error(add(local, inherited), add(np.square(local / 4.0), inherited_var))
