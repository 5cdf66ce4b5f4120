"""Softmax over the outputs (rows), which is not elementwise: value, pullback and bound side by side."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np

from gradparity.reference.bounds import Ball, Error, Rounding, is_zero, magnitude, overflowing
from gradparity.reference.problem import Array

FAR = 50.0
"""An error of an exponent beyond which that of the exponential is bounded by its largest value."""


def total(x: Array) -> Array:
    """Return the sum over the outputs, kept as one row."""
    return np.sum(x, axis=-2, keepdims=True)


def weighted(y: Array, x: Array) -> Array:
    """Return ``y x`` with ``0·∞ = 0``: a term with weight 0 adds nothing, as ``e^−s s`` for infinite s."""
    return np.where(y == 0, 0.0, y * x)


def where_finite(z: Array, rad: Array) -> Array:
    """Return `rad`, infinite where a logit is not finite: there, forms that are otherwise equal meet ``∞ − ∞`` or do
    not, and a largest element that is NaN is passed over or is not.
    """
    return np.where(np.isfinite(z), rad, np.inf)


@dataclass(frozen=True)
class Softmax:
    """``p_i = exp(z_i − max z) / Σ_k exp(z_k − max z)`` in each column."""

    symbol: str = "softmax"
    derivative_formula: str = "(∂A/∂Z)ᵀ"
    unrounded: bool = False

    def value(self, z: Array, slope: float) -> Array:
        """Return ``p``."""
        e = np.exp(z - z.max(axis=-2, keepdims=True))
        return e / total(e)

    def pullback(self, g: Array, z: Array, a: Array, slope: float) -> Array:
        """Return ``δ_i = p_i (g_i − Σ_k p_k g_k)``, the Jacobian's transpose times g."""
        return a * (g - total(a * g))

    def value_bound(self, r: Rounding, z: Ball, a: Array, slope: float) -> Error:
        """Bound ``p`` by the relative error of each exponential and of the sum; at most all of it."""
        p, n = magnitude(a), a.shape[-2]
        s = magnitude(z.mid - z.mid.max(axis=-2, keepdims=True))
        own = r.u * (2 * s + 2 * total(weighted(p, s)) + 2 * log(n)) + 2 * r.tau("exp") * (1 + log(n)) + r.gamma(n + 4)
        spread = z.rad + (np.max(z.rad, axis=-2, keepdims=True) if isinstance(z.rad, np.ndarray) else z.rad)
        # The engine's own z, at most `spread` away, enters its rounding errors too.
        exponent, all_of_it = own + (1 + 4 * r.u) * spread, 1 + r.gamma(n + 4)
        # Beyond, p e^x overflows where p ≤ e^−s is 0 to float64, and need not be small.
        large = exponent > FAR
        far = np.exp(np.minimum(exponent - s, 0.0))
        rad = np.minimum(np.where(large, far, p * np.expm1(np.minimum(exponent, FAR))), all_of_it) + r.omega
        rad = where_finite(np.abs(z.mid).max(axis=-2, keepdims=True), rad)
        local = p * np.expm1(np.minimum(own, FAR)) / 4 + r.omega
        inherited = p * p * (z.var + (total(p * p * z.var) if isinstance(z.var, np.ndarray) else 0.0))
        # A logit that may be infinite makes NaN of it.
        unbounded = np.isposinf(np.broadcast_to(spread, p.shape)) if np.any(np.isposinf(spread)) else False
        return Error(rad, np.where(large, np.square(rad / 4), local * local + inherited), open=unbounded)

    def pullback_bound(self, r: Rounding, g: Ball, z: Ball, a: Ball, slope: float) -> Error:
        """Bound `pullback`: ``γ_{n+4} p(|g| + Σp|g|) + (n+1)ω``, and what g and p inherit, term by term.

        Reading a subnormal p as 0 loses ``sub(p)(|g| + Σp|g|) + p Σ sub(p)|g|``.
        """
        p, G, n = magnitude(a.mid), magnitude(g.mid), a.mid.shape[-2]
        high_p, high_G = p + a.rad, G + g.rad
        inherited = (
            p * (g.rad + total(p * g.rad)) + a.rad * (high_G + total(high_p * high_G)) + p * total(a.rad * high_G)
        )
        size = high_G + total(high_p * high_G)
        lost = r.flushed(p)
        flushed = 0.0 if is_zero(lost) else lost * size + p * total(lost * high_G)
        local = r.gamma(n + 4) * high_p * size + flushed + (n + 1) * r.omega
        centred = g.mid - total(a.mid * g.mid)
        inherited_var = (
            p * p * (g.var + total(p * p * g.var))
            + a.var * np.square(magnitude(centred))
            + p * p * total(a.var * G * G)
        )
        rad = overflowing(r, size, local + inherited)
        return Error(rad, np.square(local / 4) + inherited_var)
