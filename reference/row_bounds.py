"""Bounds of whole rows that are not a plain product or an activation: losses, their gradients, the update."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradparity.reference.bounds import Ball, Error, Rounding, T, add, magnitude, mul, overflowing, rounded
from gradparity.reference.loss_bounds import Terms, matched_gradient
from gradparity.reference.problem import Array, Loss

if TYPE_CHECKING:
    from gradparity.reference.losses import LossFunction


def transposed(x: Ball) -> Ball:
    """Return the ball of the transpose."""
    var = x.own_var
    turned = (lambda: T(var())) if callable(var) else T(var)
    return x._replace(mid=T(x.mid), rad=T(x.rad), own_var=turned)


def _divisor(loss: Loss, Y: Ball) -> int:
    return loss.divisor(Y.mid.shape[-2], Y.mid.shape[-1])


def loss_bound(r: Rounding, J: LossFunction, loss: Loss, A: Ball, Y: Ball) -> Error:
    """Bound ``(1/N) Σ ℓ`` over M terms: ``(1/N)[Σe + γ_{M+6}(Σ|ℓ| + Σe)] + Mω/N + ω``."""
    N, y = _divisor(loss, Y), Y.mid.astype(np.float64)
    a = A._replace(mid=A.mid.astype(np.float64))
    value = (J.limit or J.term)(a.mid, y)
    own, inherited, var, open_ = J.term_error(r, a, y, value)
    size, M = magnitude(value), value.shape[-2] * value.shape[-1]

    def over(x: Array | float) -> Array:
        return np.sum(np.broadcast_to(x, value.shape), axis=(-2, -1), keepdims=True)

    errors, sizes = over(own) + over(inherited), over(size)
    total = np.where(np.isposinf(errors), np.inf, (errors + r.gamma(M + 6) * (sizes + errors)) / N)
    spread = (over(np.square(own / 4)) + over(var)) / N**2
    summed = r.u**2 * (M + 6) * (np.square(sizes) + over(size * size)) / N**2
    rad = overflowing(r, sizes, total + M * r.omega / N + r.omega)
    return Error(rad, spread + summed + r.omega**2, open=over(open_) > 0 if np.any(open_) else False)


def cotangent_bound(r: Rounding, J: LossFunction, loss: Loss, A: Ball, Y: Ball) -> Error:
    """Bound ``D/N``: ``(e_D + γ₆(|D| + e_D))/N + ω``."""
    y = Y.mid.astype(np.float64)
    D = J.gradient(A.mid, Y.mid).astype(np.float64)
    return _divided(r, D, J.gradient_error(r, A, y, D), _divisor(loss, Y))


def matched_bound(r: Rounding, J: LossFunction, loss: Loss, A: Ball, Y: Ball) -> Error:
    """Bound ``(A ΣY − Y)/N`` likewise."""
    y = Y.mid.astype(np.float64)
    weight = y.sum(axis=-2, keepdims=True) if J.classes else 1.0
    D = A.mid * weight - Y.mid
    return _divided(r, D, matched_gradient(r, A, y, J.classes), _divisor(loss, Y))


def _divided(r: Rounding, D: Array, terms: Terms, N: int) -> Error:
    size = magnitude(D)
    own = (terms.own + r.gamma(6) * (size + terms.own + terms.rad)) / N + r.omega
    own = np.where(np.isposinf(terms.own), np.inf, own)
    error = rounded(r, own, mul(1 / N, terms.rad), mul(1 / N**2, terms.var))
    return Error(overflowing(r, size, np.asarray(error.rad)), error.var, open=terms.open)


def update_bound(r: Rounding, learning_rate: float, value: Array, w: Ball, dw: Ball) -> Error:
    """Bound ``w − η dw``: ``3uη|dw| + u(|w_next| + 3uη|dw|) + η sub(dw) + ω``; η rounded or not, fused or not."""
    eta = abs(learning_rate)
    inherited = add(w.rad, mul(eta, dw.rad))
    change = magnitude(dw.mid)
    flushed = mul(eta, r.flushed(change))
    step = np.asarray(add(change, dw.rad))
    step *= (1 + r.u) * 3 * r.u * eta
    local = np.asarray(add(magnitude(value), inherited))
    local *= r.u
    local += step
    local += add(r.omega, flushed)
    error = rounded(r, local, inherited, add(w.var, mul(eta * eta, dw.var)))
    if local.max(initial=0.0) <= r.u * r.overflow:
        # |w| + η|dw| ≤ |w_next| + 2η|dw| ≤ local/u.
        return error
    return Error(overflowing(r, magnitude(w.mid) + eta * magnitude(dw.mid), np.asarray(error.rad)), error.var)
