"""Conventions of frameworks that have formulas of their own: what they compute instead of the table's rows.

A difference is *declared* only where one of these gives the engine's numbers within its own bound; so a convention
hides no fault. Which engines may use which is listed in ``reports/known.toml``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np

from gradparity.reference.activations import ACTIVATIONS, Activation, Elementwise
from gradparity.reference.bounds import Ball, Rounding
from gradparity.reference.formulas import Row, cotangent_row, loss_row, pullback_row
from gradparity.reference.loss_bounds import Terms
from gradparity.reference.losses import LOSSES, LossFunction
from gradparity.reference.problem import Array, Layer, Loss, Problem
from gradparity.reference.softmax import total

Variant = Callable[[LossFunction, str], LossFunction]


def _keras_probabilities(J: LossFunction, dtype: str) -> LossFunction:
    """Divide probabilities by their sum over classes, and clip them to ``[ε, 1 − ε]``, ε = 1e-7.

    Source: Keras, ``binary_crossentropy`` and ``categorical_crossentropy`` of each backend. The clipped logarithm has
    the derivative 0 outside; that of the quotient ``a/Σa`` adds ``Σy`` over the unclipped classes.
    """
    low, high = (float(np.dtype(dtype).type(bound)) for bound in (1e-7, 1.0 - 1e-7))

    def clipped(a: Array) -> Array:
        return np.clip(a / total(a) if J.classes else a, low, high)

    def open_(a: Array) -> Array:
        quotient = a / total(a) if J.classes else a
        return (quotient >= low) & (quotient <= high)

    def gradient(a: Array, y: Array) -> Array:
        inside = np.where(open_(a), J.gradient(clipped(a), y), 0)
        return (inside + total(np.where(open_(a), y, 0))) / total(a) if J.classes else inside

    def gradient_error(r: Rounding, a: Ball, y: Array, value: Array) -> Terms:
        terms = J.gradient_error(r, Ball(clipped(a.mid)), y, value)
        quotient = r.gamma(2 * a.mid.shape[-2] + 4) * (np.abs(value) + total(y)) if J.classes else 0.0
        return terms._replace(own=np.where(open_(a.mid), terms.own, 0.0) + quotient)

    def term_error(r: Rounding, a: Ball, y: Array, value: Array) -> Terms:
        terms = J.term_error(r, Ball(clipped(a.mid)), y, value)
        return terms._replace(own=terms.own + (r.gamma(a.mid.shape[-2] + 4) * total(y) if J.classes else 0.0))

    return replace(
        J, term=lambda a, y: J.term(clipped(a), y), limit=None, gradient=gradient,
        term_error=term_error, gradient_error=gradient_error,
    )  # fmt: skip


def _torch_bceloss(J: LossFunction, dtype: str) -> LossFunction:
    """Clamp the logarithms at −100; the gradient is ``(a − y)/max(a(1−a), 1e-12)``, with 1e-12 rounded to float32.

    Source: PyTorch's documentation of ``BCELoss``, and ``aten/src/ATen/native/Loss.cpp``.
    """

    def term(a: Array, y: Array) -> Array:
        return -(y * np.maximum(np.log(a), -100)) - (1 - y) * np.maximum(np.log1p(-a), -100)

    def gradient(a: Array, y: Array) -> Array:
        return (a - y) / np.maximum(a * (1 - a), np.float32(1e-12))

    def term_error(r: Rounding, a: Ball, y: Array, value: Array) -> Terms:
        return Terms((r.tau("log") + r.gamma(4)) * np.abs(value) + 2 * r.u * (1 - y) + 2 * r.omega, 0.0, 0.0)

    def gradient_error(r: Rounding, a: Ball, y: Array, value: Array) -> Terms:
        # What underflows in (a − y)/N is divided by the same small number.
        return Terms(r.gamma(6) * np.abs(value) + r.omega / np.maximum(a.mid * (1 - a.mid), 1e-12), 0.0, 0.0)

    return replace(J, term=term, limit=None, gradient=gradient, term_error=term_error, gradient_error=gradient_error)


def _jax_leaky_relu() -> Activation:
    """Take the derivative at 0 to be 1. Source: JAX, ``leaky_relu``: ``where(x >= 0, x, negative_slope * x)``."""
    f = ACTIVATIONS["leaky_relu"]
    assert isinstance(f, Elementwise)
    return replace(f, derivative=lambda z, a, slope: np.where(z >= 0, z.dtype.type(1), z.dtype.type(slope)))


ACTIVATION_CONVENTIONS: dict[str, tuple[str, Callable[[], Activation]]] = {
    "jax-leaky-relu": ("leaky_relu", _jax_leaky_relu),
}
"""By name: the activation that it is about, and the activation as the framework computes it."""

CONVENTIONS: dict[str, tuple[tuple[str, ...], Variant]] = {
    "keras-probabilities": (("bce", "cce"), _keras_probabilities),
    "torch-bceloss": (("bce",), _torch_bceloss),
}
"""By name: the losses that it is about, and the loss as the framework computes it."""


def conventional_rows(problem: Problem) -> dict[str, dict[str, Row]]:
    """Return, for each convention about `problem`, its rows by the name of the quantity."""
    return _rows(problem.layers, problem.loss, problem.dtype)


@cache
def _rows(layers: tuple[Layer, ...], loss: Loss, dtype: str) -> dict[str, dict[str, Row]]:
    found = {}
    for name, (losses, variant) in CONVENTIONS.items():
        if loss.name in losses:
            J = variant(LOSSES[loss.name], dtype)
            rows = (loss_row(J, layers, loss), cotangent_row(J, layers, loss))
            found[name] = {row.name: row for row in rows}
    for name, (activation, f) in ACTIVATION_CONVENTIONS.items():
        at = [l for l, layer in enumerate(layers, 1) if layer.activation == activation]
        if at:
            found[name] = {f"delta{l}": pullback_row(f(), l, layers[l - 1]) for l in at}
    return found
