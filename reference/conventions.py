"""What frameworks compute instead of some of the table's rows: conventions, and defects whose formula is known.

A difference is listed only where one of these gives the engine's numbers within its own bound, row by row and from
end to end; so a convention hides no fault. Which engines may use which is listed in ``reports/known.toml``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from gradparity.reference.activations import ACTIVATIONS, Elementwise
from gradparity.reference.bounds import Ball, Error, Rounding, magnitude, rounding
from gradparity.reference.evaluation import Evaluation, problem_rows
from gradparity.reference.formulas import Row, cotangent_row, loss_row, pullback_row, table
from gradparity.reference.loss_bounds import Terms
from gradparity.reference.losses import LOSSES, LossFunction
from gradparity.reference.problem import Array, Problem
from gradparity.reference.softmax import total

Variant = Callable[[LossFunction, str], LossFunction]
Convention = Callable[[Problem], tuple[Row, ...]]
"""From a problem to the rows that are computed otherwise; none where it is not about the problem."""


def _keras_probabilities(J: LossFunction, dtype: str) -> LossFunction:
    """Divide probabilities by their sum over classes, and clip them to ``[ε, 1 − ε]``, ε = 1e-7.

    Source: Keras, ``binary_crossentropy`` and ``categorical_crossentropy`` of each backend. The clipped logarithm has
    the derivative 0 outside; that of the quotient ``q = a/Σa`` adds ``Σy`` over the unclipped classes. On an end of the
    interval, the derivative of the clip is 0, ½ (JAX) or 1, and within its error of one, q may be on either side. That
    of a NaN is 0 (TensorFlow, torch) or NaN (JAX).
    """
    low, high = (float(np.dtype(dtype).type(bound)) for bound in (1e-7, 1.0 - 1e-7))

    def quotient(a: Array) -> Array:
        return a / total(a) if J.classes else a

    def clipped(a: Array) -> Array:
        return np.clip(quotient(a), low, high)

    def inside(a: Array) -> Array:
        q = quotient(a)
        return (q >= low) & (q <= high)

    def relative(a: Ball) -> Array | float:
        """Return what the sum inherits, relative to it."""
        if a.exact or not J.classes:
            return 0.0
        rad = total(np.broadcast_to(a.rad, a.mid.shape))
        return rad / np.maximum(total(a.mid) - rad, 0.0)

    def ball(a: Ball) -> Ball:
        if a.exact:
            return Ball(clipped(a.mid))
        # |a′/s′ − a/s| ≤ (rad + q·Σrad)/(s − Σrad)
        rad = a.rad * (1 + relative(a)) / total(a.mid) + quotient(a.mid) * relative(a) if J.classes else a.rad
        return Ball(clipped(a.mid), rad, None)

    def either(r: Rounding, a: Ball) -> Array:
        q, n = quotient(a.mid), a.mid.shape[-2]
        reach = ball(a).rad + q * (r.gamma(n + 4) if J.classes else 0.0 if a.exact else r.gamma(2))
        return (np.abs(q - low) <= reach) | (np.abs(q - high) <= reach)

    def gradient(a: Array, y: Array) -> Array:
        g = np.where(inside(a), J.gradient(clipped(a), y), 0)
        return (g + total(np.where(inside(a), y, 0))) / total(a) if J.classes else g

    def gradient_error(r: Rounding, a: Ball, y: Array, value: Array) -> Terms:
        terms, open_, n = J.gradient_error(r, ball(a), y, value), either(r, a), a.mid.shape[-2]
        own = np.where(inside(a.mid) | open_, terms.own, 0.0)
        own = own + np.where(open_, np.abs(J.gradient(clipped(a.mid), y)), 0.0)
        rad = np.where(inside(a.mid) | open_, terms.rad, 0.0)
        if J.classes:
            s = total(a.mid)
            rad = rad / s + relative(a) * (np.abs(value) + rad / s)
            size = np.abs(value) + 2 * total(y) / s
            own = (own + total(np.where(open_, y, 0.0))) / s + r.gamma(4 * n + 8) * size
        return Terms(own, rad, np.where(np.isposinf(a.var), np.inf, np.square(rad)), np.isnan(a.mid))

    def term_error(r: Rounding, a: Ball, y: Array, value: Array) -> Terms:
        terms = J.term_error(r, ball(a), y, value)
        return terms._replace(own=terms.own + (r.gamma(a.mid.shape[-2] + 4) * total(y) if J.classes else 0.0))

    return replace(
        J, term=lambda a, y: J.term(clipped(a), y), limit=None, regular=None, gradient=gradient,
        term_error=term_error, gradient_error=gradient_error,
    )  # fmt: skip


def _torch_bceloss(J: LossFunction, dtype: str, smallest: float) -> LossFunction:
    """Clamp the logarithms at −100; the gradient is ``(a − y)/max(a(1−a), smallest)``.

    Source: PyTorch's documentation of ``BCELoss``; ``aten/src/ATen/native/Loss.cpp``, where 1e-12 is a float32, and
    ``torch/_decomp/decompositions.py``, which ``torch.compile`` uses, where it is not.
    """

    def term(a: Array, y: Array) -> Array:
        return -(y * np.maximum(np.log(a), -100)) - (1 - y) * np.maximum(np.log1p(-a), -100)

    def gradient(a: Array, y: Array) -> Array:
        return (a - y) / np.maximum(a * (1 - a), smallest)

    def term_error(r: Rounding, a: Ball, y: Array, value: Array) -> Terms:
        return Terms((r.tau("log") + r.gamma(4)) * np.abs(value) + 2 * r.u * (1 - y) + 2 * r.omega, 0.0, 0.0)

    def gradient_error(r: Rounding, a: Ball, y: Array, value: Array) -> Terms:
        # What underflows in (a − y)/N is divided by the same small number.
        return Terms(r.gamma(6) * np.abs(value) + r.omega / np.maximum(a.mid * (1 - a.mid), 1e-12), 0.0, 0.0)

    return replace(
        J, term=term, limit=None, regular=None, gradient=gradient,
        term_error=term_error, gradient_error=gradient_error,
    )  # fmt: skip


def _of_loss(names: tuple[str, ...], variant: Variant) -> Convention:
    """Return the convention that computes the losses `names` as `variant` does."""

    def rows(problem: Problem) -> tuple[Row, ...]:
        layers, loss = problem.layers, problem.loss
        if loss.name not in names:
            return ()
        J = variant(LOSSES[loss.name], problem.dtype)
        return loss_row(J, layers, loss), cotangent_row(J, layers, loss)

    return rows


def _jax_leaky_relu(problem: Problem) -> tuple[Row, ...]:
    """Take the derivative at 0 to be 1. Source: JAX, ``leaky_relu``: ``where(x >= 0, x, negative_slope * x)``."""
    f = ACTIVATIONS["leaky_relu"]
    assert isinstance(f, Elementwise)
    f = replace(f, derivative=lambda z, a, slope: np.where(z >= 0, z.dtype.type(1), z.dtype.type(slope)))
    layers = enumerate(problem.layers, 1)
    return tuple(pullback_row(f, l, layer) for l, layer in layers if layer.activation == "leaky_relu")


def _tensorflow_fused_relu(problem: Problem) -> tuple[Row, ...]:
    """Take ReLU of NaN to be 0. Source: TensorFlow in a ``tf.function``, by oneDNN's kernel for ``relu(X W + b)``."""

    def hiding(row: Row) -> Row:
        def compute(on: Any, Z: Array) -> Array:
            return np.where(np.isnan(Z), 0, row.compute(on, Z)).astype(Z.dtype)

        def bounded(r: Rounding, value: Array, Z: Ball) -> Error:
            error = row.bound(r, value, Z)
            return error._replace(rad=np.where(np.isnan(Z.mid), 0.0, error.rad), var=None)

        return replace(row, compute=compute, bound=bounded)

    names = {f"A{l}" for l, layer in enumerate(problem.layers, 1) if layer.activation == "relu"}
    return tuple(hiding(row) for row in problem_rows(problem) if row.name in names)


def _tensorflow_leaky_relu(problem: Problem) -> tuple[Row, ...]:
    """Round the slope to float32. Source: TensorFlow, the attribute ``alpha`` of the op ``LeakyRelu``."""
    layers = tuple(replace(layer, slope=float(np.float32(layer.slope))) for layer in problem.layers)
    rows = table(len(problem.X), layers, problem.loss, problem.learning_rate)
    names = {f"{q}{l}" for l, layer in enumerate(layers, 1) if layer.activation == "leaky_relu" for q in ("A", "delta")}
    return tuple(row for row in rows if row.name in names)


def _keras_tensorflow_logits(problem: Problem) -> tuple[Row, ...]:
    """Take the input of any softmax or sigmoid for the logits of the loss's own activation.

    Source: Keras, ``backend/tensorflow/nn.py``, ``_get_logits``.
    """
    layers, loss, L = problem.layers, problem.loss, len(problem.layers)
    if (loss.name, layers[-1].activation) not in (("bce", "softmax"), ("cce", "sigmoid")):
        return ()
    J, inputs = LOSSES[f"{loss.name}_logits"], (f"Z{L}", "Y")
    delta = replace(cotangent_row(J, layers, loss), name=f"delta{L}", inputs=inputs, alternatives=())
    return replace(loss_row(J, layers, loss), inputs=inputs, alternatives=()), delta


def _keras_loss_metric(problem: Problem) -> tuple[Row, ...]:
    """Multiply the loss by the batch size, and divide the sum of all batches by all samples: ∞ where that overflows.

    Source: Keras, the ``Mean`` behind the loss that ``fit`` and ``train_on_batch`` return.
    """
    limit = float(np.finfo(problem.dtype).max)

    def reported(row: Row) -> Row:
        def compute(on: Any, A: Array, Y: Array) -> Array:
            value = row.compute(on, A, Y)
            sum_ = np.abs(value, dtype=np.longdouble) * Y.shape[-1]
            return np.where(sum_ > 1.001 * limit, np.copysign(np.inf, value), value).astype(value.dtype)

        def bounded(r: Rounding, value: Array, A: Ball, Y: Ball) -> Error:
            error = row.bound(r, value, A, Y)
            near = np.isfinite(value) & (np.abs(value, dtype=np.longdouble) * Y.mid.shape[-1] > limit / 1.001)
            return error._replace(rad=np.where(near, np.inf, error.rad))

        return replace(row, compute=compute, bound=bounded, alternatives=tuple(map(reported, row.alternatives)))

    return (reported(loss_row(LOSSES[problem.loss.name], problem.layers, problem.loss)),)


LOSS_VARIANTS: dict[str, tuple[tuple[str, ...], Variant]] = {
    "keras-probabilities": (("bce", "cce"), _keras_probabilities),
    "torch-bceloss": (("bce",), partial(_torch_bceloss, smallest=float(np.float32(1e-12)))),
    "torch-compile-bceloss": (("bce",), partial(_torch_bceloss, smallest=1e-12)),
}
"""What takes the place of some losses."""

CONVENTIONS: dict[str, Convention] = {
    **{name: _of_loss(losses, variant) for name, (losses, variant) in LOSS_VARIANTS.items()},
    "jax-leaky-relu": _jax_leaky_relu,
    "tensorflow-leaky-relu": _tensorflow_leaky_relu,
    "tensorflow-fused-relu": _tensorflow_fused_relu,
    "keras-tensorflow-logits": _keras_tensorflow_logits,
    "keras-loss-metric": _keras_loss_metric,
}


FLOAT32 = "float32"
"""The convention that any operation of a float64 program may be one of float32."""


def conventional(problem: Problem, by: Evaluation, names: Iterable[str]) -> Iterator[tuple[str, Evaluation]]:
    """Yield those of `names` that are about `problem`, evaluated from what is given to `by`.

    Conventions that hold at once are joined: ``float32+keras-probabilities``. Raises KeyError for an unknown one.
    """
    for name in names:
        parts = name.split("+")
        replaced = [CONVENTIONS[part](problem) for part in parts if part != FLOAT32]
        if all(replaced):
            rows = {row.name: row for row in (*problem_rows(problem), *chain.from_iterable(replaced))}
            r, given = by.r, by.given
            if FLOAT32 in parts:
                r = rounding(FLOAT32)
                given = {quantity: _narrowed(r, x) for quantity, x in given.items()}
            yield name, Evaluation(r, tuple(rows.values()), given)


def _narrowed(r: Rounding, x: Ball) -> Ball:
    """Return `x` as it may be once rounded to the precision of `r`: beyond its range, anything.

    Of its variance nothing is known, for elements that are alike are rounded alike.
    """
    size = magnitude(x.mid)
    return Ball(x.mid, np.where(size > r.largest, np.inf, r.u * size + r.omega), np.full(size.shape, np.inf))
