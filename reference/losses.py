"""The losses: term, gradient and bound of each, side by side.

To add one: an entry in `LOSSES`, and one line in each adapter. ``a`` is the output activation (for the ``_logits``
losses the last layer is linear, so that it is the logit), ``y`` the target; shapes ``(…, n_L, m)``. A loss is
``(1/N) Σ ℓ`` and its gradient ``D/N``, with N from the scenario's reductions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gradparity.reference import loss_bounds as lb
from gradparity.reference.bounds import Ball, Rounding
from gradparity.reference.problem import Array
from gradparity.reference.softmax import total

ANY = ("linear", "relu", "leaky_relu", "sigmoid", "tanh", "softmax")


@dataclass(frozen=True)
class LossFunction:
    """A loss, elementwise or over classes. Bounds: `loss_bounds`, which derives them."""

    formula: str
    gradient_formula: str
    targets: Literal["unit", "simplex", "real"]
    """Targets lie in [0, 1]; are non-negative and sum to 1 in each sample; or are any finite numbers."""
    activations: tuple[str, ...]
    """The output activations whose range fits."""
    term: Callable[[Array, Array], Array]
    gradient: Callable[[Array, Array], Array]
    term_error: Callable[[Rounding, Ball, Array, Array], lb.Terms]
    gradient_error: Callable[[Rounding, Ball, Array, Array], lb.Terms]
    limit: Callable[[Array, Array], Array] | None = None
    """The term with ``0 log 0 = 0``, where the literal one is NaN."""
    regular: Callable[[Rounding, Ball], Ball] | None = None
    """Brings a computed activation to where the term and its derivative have no singularity, if they have one."""
    matched: str | None = None
    """The activation for which ``δ_L = (A·ΣY − Y)/N``, or ``(A − Y)/N``, holds."""
    by_logsumexp: Callable[[Rounding, Ball, Array, Array], lb.Terms] | None = None
    """The bound of the gradient where the term is ``logsumexp(z) − z_y``."""
    classes: bool = False
    """Whether the term is a sum over classes, one a sample (shape ``(…, 1, m)``)."""


def _log_softmax(z: Array) -> Array:
    s = z - z.max(axis=-2, keepdims=True)
    return s - np.log(total(np.exp(s)))


def _sigmoid(z: Array) -> Array:
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)


def _xlogy(x: Array, y: Array) -> Array:
    return np.where(x == 0, 0, x * np.log(np.where(x == 0, 1, y)))


LOSSES: dict[str, LossFunction] = {
    "bce": LossFunction(
        "−Y log A − (1−Y) log(1−A)", "(1−Y)/(1−A) − Y/A", "unit", ("sigmoid", "softmax"),
        term=lambda a, y: -(y * np.log(a)) - (1 - y) * np.log1p(-a),
        limit=lambda a, y: -_xlogy(y, a) - _xlogy(1 - y, 1 - a),
        gradient=lambda a, y: (1 - y) / (1 - a) - y / a,
        term_error=lb.bce_term, gradient_error=lb.bce_gradient, regular=lb.below_one, matched="sigmoid",
    ),
    "bce_logits": LossFunction(
        "max(Z,0) − ZY + log(1+e^−|Z|)", "σ(Z) − Y", "unit", ("linear",),
        term=lambda z, y: np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))),
        gradient=lambda z, y: (1 - y) * _sigmoid(z) - y * _sigmoid(-z),
        term_error=lb.bce_logits_term, gradient_error=lb.bce_logits_gradient,
    ),
    "cce": LossFunction(
        "−Σ Y log A", "−Y/A", "simplex", ("softmax", "sigmoid"),
        term=lambda a, y: -total(y * np.log(a)),
        limit=lambda a, y: -total(_xlogy(y, a)),
        gradient=lambda a, y: -(y / a),
        term_error=lb.cce_term, gradient_error=lb.cce_gradient, regular=lb.above_zero, matched="softmax",
        classes=True,
    ),
    "cce_logits": LossFunction(
        "−Σ Y log softmax(Z)", "softmax(Z)·ΣY − Y", "simplex", ("linear",),
        term=lambda z, y: -total(y * _log_softmax(z)),
        gradient=lambda z, y: np.exp(_log_softmax(z)) * total(y) - y,
        term_error=lb.cce_logits_term, gradient_error=lb.cce_logits_gradient, by_logsumexp=lb.logsumexp_gradient,
        classes=True,
    ),
    "squared_error": LossFunction(
        "(A − Y)²", "2(A − Y)", "real", ANY,
        term=lambda a, y: np.square(a - y),
        gradient=lambda a, y: 2 * (a - y),
        term_error=lambda r, a, y, v: lb.squared_term(r, a, y, v, 1.0),
        gradient_error=lambda r, a, y, v: lb.squared_gradient(r, a, y, v, 2.0),
    ),
    "half_squared_error": LossFunction(
        "½(A − Y)²", "A − Y", "real", ANY,
        term=lambda a, y: np.square(a - y) / 2,
        gradient=lambda a, y: a - y,
        term_error=lambda r, a, y, v: lb.squared_term(r, a, y, v, 0.5),
        gradient_error=lambda r, a, y, v: lb.squared_gradient(r, a, y, v, 1.0),
    ),
}  # fmt: skip
