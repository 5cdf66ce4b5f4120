"""The bounds of the losses' terms and gradients. docs/mathematics.md derives each.

Each function takes the precision, the output activation as a ball, the targets, and the value that it bounds, and
returns what its own rounding adds and what it inherits from the output activation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gradparity.reference.bounds import Ball, Rounding, add, magnitude, mul, overflowing
from gradparity.reference.problem import Array
from gradparity.reference.softmax import Softmax, total, weighted, where_finite


class Terms(NamedTuple):
    """The error of each term: by its own rounding, and inherited (radius, variance). `open`: see `Ball`."""

    own: Array
    rad: Array | float
    var: Array | float
    open: Array | bool = False


def above_zero(r: Rounding, a: Ball) -> Ball:
    """Return `a`, a computed probability, about a number for which ``log a`` and ``1/a`` exist.

    What an engine has for a is a number of its precision in [0, 1], or NaN. For 0 and NaN the loss is open.
    """
    return _between(a, r.tiny, 1.0)


def below_one(r: Rounding, a: Ball) -> Ball:
    """Return the same where ``log(1 − a)`` and ``1/(1 − a)`` must exist, too: for 1 the loss is open as well."""
    return _between(a, r.tiny, 1.0 - r.u)


def _between(a: Ball, low: float, high: float) -> Ball:
    if a.exact:
        return a
    unknown = np.isnan(a.mid)
    mid = np.where(unknown, 0.5, np.clip(a.mid, low, high))
    return a._replace(mid=mid, rad=np.where(unknown, 1.0, a.rad + np.abs(mid - a.mid).astype(np.float64)))


def _to_zero(r: Rounding, a: Ball, x: Array) -> Array:
    """Return where x, which is a or 1 − a, may be 0, or subnormal, which some engines read as 0."""
    return (x < r.tiny) & (x > 0.0) if a.exact else x - a.rad < r.tiny


def _to_one(r: Rounding, a: Ball, x: Array) -> Array | bool:
    """Return where ``1 − x`` may be 0."""
    return False if a.exact else 1 - x - a.rad < r.u


def _log_spread(x: Array, rad: Array | float, least: float) -> Array:
    """Return the largest ``|log(x ± rad) − log x|`` over numbers from `least` to 1."""
    down = np.where(rad < x / 2, -np.log1p(-np.minimum(rad / x, 0.5)), np.log(x / np.maximum(x - rad, least)))
    return np.maximum(down, np.log1p(np.minimum(rad, 1 - x) / x))


def _inverse_spread(x: Array, rad: Array | float, least: float) -> Array:
    """Return the largest ``|1/(x ± rad) − 1/x|`` over numbers from `least` to 1."""
    down, up = np.minimum(rad, x - least) / x, np.minimum(rad, 1 - x)
    # One after the other, as a product of two such numbers may underflow.
    return np.maximum(down / np.maximum(x - rad, least), up / x / (x + up))


def _lost_targets(r: Rounding, y: Array, x: Array, inherited: Array | float) -> Array:
    """Return what is lost of ``y x``, itself inherited to within `inherited`, where a subnormal y is read as 0."""
    return np.where((y < r.tiny) & (y > 0.0), y * x + inherited, 0.0)


def _variance(open_: Array | bool, var: Array | float, inherited: Array | float) -> Array | float:
    """Return `var`; near a singularity, where errors are not spread as a linear function's, that of all they may be."""
    return np.where(open_, np.square(inherited), var) if np.any(open_) else var


def bce_term(r: Rounding, a: Ball, y: Array, value: Array) -> Terms:
    """``(τ + γ₄)ℓ + 2u(1−y)(1+τ) + 2ω``: the logarithms, and ``1 − a`` rounded before its logarithm."""
    A, B, tau = magnitude(a.mid), magnitude(1 - a.mid), r.tau("log")
    inherited: Array | float = 0.0
    if not a.exact:
        inherited = y * _log_spread(A, a.rad, r.least) + (1 - y) * _log_spread(B, a.rad, r.u / 2)
    own = (tau + r.gamma(4)) * (magnitude(value) + inherited) + 2 * r.u * (1 - y) * (1 + tau) + 2 * r.omega
    slope = 0.0 if a.exact else weighted(y, 1 / A) + weighted(1 - y, 1 / B)
    open_ = _to_zero(r, a, A) | _to_one(r, a, A)
    return Terms(own, inherited, _variance(open_, slope * slope * a.var, inherited), open_)


def bce_gradient(r: Rounding, a: Ball, y: Array, value: Array) -> Terms:
    """``γ₆(y/a + (1−y)/(1−a)) + sub(y)/a + ω``."""
    A, B = magnitude(a.mid), magnitude(1 - a.mid)
    S = weighted(y, 1 / A) + weighted(1 - y, 1 / B)
    inherited: Array | float = 0.0
    curvature: Array | float = 0.0
    if not a.exact:
        inherited = weighted(y, _inverse_spread(A, a.rad, r.least)) + (1 - y) * _inverse_spread(B, a.rad, r.u / 2)
        curvature = weighted(y, 1 / A**2) + weighted(1 - y, 1 / B**2)
    own = r.gamma(6) * (S + inherited) + _lost_targets(r, y, 1 / A, inherited) + r.omega
    open_ = _to_zero(r, a, A) | _to_one(r, a, A)
    return Terms(own, inherited, _variance(open_, curvature * curvature * a.var, inherited), open_)


def bce_logits_term(r: Rounding, z: Ball, y: Array, value: Array) -> Terms:
    """``γ₄(|z|(1+|y|) + t) + (2τ+τ²)t + 2ω``, ``t = log(1+e^−|z|)``: not relative to ℓ, engines lose ``e^−|z|``."""
    Z, tau = magnitude(z.mid), r.tau("softplus")
    t = np.log1p(np.exp(-np.maximum(Z - z.rad, 0.0)))
    D = np.maximum(1 - y, y)
    own = r.gamma(4) * ((Z + z.rad) * (1 + np.abs(y)) + t) + (2 * tau + tau * tau) * t + 2 * r.omega
    return Terms(where_finite(z.mid, own), D * z.rad, D * D * z.var)


def bce_logits_gradient(r: Rounding, z: Ball, y: Array, value: Array) -> Terms:
    """Bound ``(1−y)σ(z) − yσ(−z)``, also where an engine computes ``σ(z) − y``, or by way of ``log σ``.

    ``τ + 2u + ω + u|D| + M(τ + 2τ log(1+e^−|z|) + 2u + 1.01·min(u|z|, e^−|z|))``, ``M = (1−y)σ(z) + yσ(−z)``. Of the
    first terms, ``τσ(z)`` is for ``σ(z) − y``, and ``τσ(−z) + 2u`` for ``(1−y) − σ(−z)``, the derivative of
    ``(1−y)z − log σ(z)``: each cancels where the other does not.
    """
    Z, tau = magnitude(z.mid), r.tau("exp")
    e = np.exp(-Z)
    small, large = e / (1 + e), 1 / (1 + e)
    positive = z.mid >= 0
    up, down = np.where(positive, large, small), np.where(positive, small, large)
    nearest = np.exp(-np.maximum(Z - z.rad, 0.0))
    steepest = nearest / np.square(1 + nearest)
    inherited = np.asarray(steepest * z.rad)
    M = (1 - y) * up + y * down + inherited
    own = (
        tau + 2 * r.u + r.omega + r.u * (magnitude(value) + inherited)
        + M * (tau + 2 * tau * np.log1p(nearest) + 2 * r.u + 1.01 * np.minimum(r.u * (Z + z.rad), nearest))
    )  # fmt: skip
    return Terms(where_finite(z.mid, own), inherited, steepest * steepest * z.var)


def cce_term(r: Rounding, a: Ball, y: Array, value: Array) -> Terms:
    """``(τ + γ_{n+2}) Σ y|log a| + Σ sub(y)|log a| + (n+2)ω``."""
    A, n = magnitude(a.mid), a.mid.shape[-2]
    spread = np.zeros_like(A) if a.exact else y * _log_spread(A, a.rad, r.least)
    inherited, logarithm = total(spread), np.abs(np.log(A))
    size = total(weighted(y, logarithm)) + inherited
    lost = total(_lost_targets(r, y, logarithm, spread))
    own = (r.tau("log") + r.gamma(n + 2)) * size + lost + (n + 2) * r.omega
    open_ = np.any(_to_zero(r, a, A), axis=-2, keepdims=True)
    var = 0.0 if a.exact else total(np.asarray(np.square(weighted(y, 1 / A)) * a.var))
    return Terms(own, inherited, _variance(open_, var, inherited), open_)


def cce_gradient(r: Rounding, a: Ball, y: Array, value: Array) -> Terms:
    """``γ₄ y/a + sub(y)/a + ω``."""
    A = magnitude(a.mid)
    inherited = 0.0 if a.exact else weighted(y, _inverse_spread(A, a.rad, r.least))
    own = r.gamma(4) * (weighted(y, 1 / A) + inherited) + _lost_targets(r, y, 1 / A, inherited) + r.omega
    var = 0.0 if a.exact else np.square(weighted(y, 1 / A**2)) * a.var
    open_ = _to_zero(r, a, A)
    return Terms(own, inherited, _variance(open_, var, inherited), open_)


def cce_logits_term(r: Rounding, z: Ball, y: Array, value: Array) -> Terms:
    """Bound ``−Σ y log softmax(z)``, also where an engine computes ``logsumexp(z) − z_y``."""
    Z, n, tau = np.asarray(z.mid, dtype=np.float64), z.mid.shape[-2], max(r.tau("exp"), r.tau("log"))
    largest = Z.max(axis=-2, keepdims=True)
    s = largest - Z
    S = total(np.exp(-s))
    p, lS = np.exp(-s) / S, np.log(S)
    mean_s = total(weighted(p, s)) * (1 + 2 * r.u)
    # Twice s may overflow where s does not.
    each = (2 * r.u * s + r.u * (mean_s + lS)) * (1 + 4 * r.u) + 1.0001 * (tau + r.gamma(n)) + tau * lS
    own = total(y * each) + r.gamma(n + 2) * total(y * (s + lS)) + (n + 2) * r.omega
    logits = total(y * np.abs(Z))
    own = own + total(y) * r.u * lS + total(y) * (2 * r.u) * np.abs(largest) + (2 * r.u + r.gamma(n)) * logits
    spread = z.rad + (np.max(z.rad, axis=-2, keepdims=True) if isinstance(z.rad, np.ndarray) else z.rad)
    inherited = total(y * spread)
    var = total(np.square(p * total(y) - y) * z.var)
    own = own + (2 * tau + r.gamma(5 * n + 20)) * inherited
    own = where_finite(np.abs(Z).max(axis=-2, keepdims=True), own)
    return Terms(overflowing(r, s.max(axis=-2, keepdims=True), own), inherited, var)


def cce_logits_gradient(r: Rounding, z: Ball, y: Array, value: Array) -> Terms:
    """Bound ``softmax(z) Σy − y`` by the bound of softmax, ``γ_{n+2}`` of ``softmax Σy``, and ``u|D|``."""
    weight, n = total(y), y.shape[-2]
    p = (value + y) / weight
    own = Softmax().value_bound(r, Ball(z.mid), p, 0.0).around(p)
    full = own if z.exact else Softmax().value_bound(r, z, p, 0.0).around(p)
    inherited = np.where(np.isposinf(own.rad), 0.0, np.maximum(full.rad - own.rad, 0.0) * weight)
    difference = r.u * (magnitude(value) + inherited) + r.gamma(n + 2) * (magnitude(p) * weight + inherited)
    return Terms(
        np.where(np.isposinf(own.rad), np.inf, own.rad * weight + difference),
        inherited,
        np.maximum(full.var - own.var, 0.0) * weight * weight,
        full.open,
    )


def logsumexp_gradient(r: Rounding, z: Ball, y: Array, value: Array) -> Terms:
    """Bound the derivative of ``logsumexp(z) − z_y``, ``exp(z − logsumexp(z))``, likewise.

    The logarithm of the sum is rounded, and with it the largest logit: ``2u|max z|`` more in the exponent.
    """
    terms, weight = cce_logits_gradient(r, z, y, value), total(y)
    largest = np.max(np.abs(z.mid).astype(np.float64) + z.rad, axis=-2, keepdims=True)
    p = np.minimum((np.abs(value) + y) / weight + terms.rad, 1.0)
    return terms._replace(own=terms.own + p * weight * np.expm1(np.minimum(2.1 * r.u * largest, 50.0)))


def squared_term(r: Rounding, a: Ball, y: Array, value: Array, c: float) -> Terms:
    """``γ₃ℓ + ω``, for ``c (a − y)²``; nothing where the square may overflow."""
    distance = np.sqrt(magnitude(value) / c)
    inherited = c * (2 * distance * a.rad + np.square(a.rad))
    reach = magnitude(value) + inherited
    own = r.gamma(3) * reach + r.omega
    return Terms(overflowing(r, reach / c, own), inherited, np.square(2 * c * distance) * a.var)


def squared_gradient(r: Rounding, a: Ball, y: Array, value: Array, c: float) -> Terms:
    """``u|D|``, for ``c (a − y)``; nothing where ``2(a − y)`` may overflow, which some halve for c = 1."""
    reach = np.asarray(add(magnitude(value), mul(c, a.rad)))
    return Terms(overflowing(r, reach * (2 / c), r.u * reach), mul(c, a.rad), mul(c * c, a.var))


def matched_gradient(r: Rounding, a: Ball, y: Array, classes: bool) -> Terms:
    """Bound ``A ΣY − Y``, also where an engine computes ``∂L/∂A ⊙ f′`` from A.

    ``γ₈(y(1−a) + (1−y)a)`` for sigmoid, ``γ_{n+8}(y + aΣy)`` for softmax.
    """
    A = magnitude(a.mid) + a.rad
    if classes:
        weight = total(y)
        own = r.gamma(a.mid.shape[-2] + 8) * (y + A * weight)
        return Terms(own, mul(a.rad, weight), mul(a.var, weight * weight))
    own = r.gamma(8) * (y * (np.maximum(1 - magnitude(a.mid), 0.0) + a.rad) + (1 - y) * A)
    return Terms(own, a.rad, a.var)
