"""Backpropagation as a table of formulas, for any number of layers.

One row a quantity, in the order of computation: what it is called, its formula, what it is computed from, how, and
how far rounding may move it. The reference evaluates the rows, the judge compares an engine with them one by one, and
the printed table is this table. Columns are samples; arrays are ``(steps, rows, columns)`` or ``(rows, columns)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol

import numpy as np

from gradparity.reference import row_bounds as bound
from gradparity.reference.activations import ACTIVATIONS, Activation, Elementwise
from gradparity.reference.bounds import Ball, Error, Rounding, T
from gradparity.reference.losses import LOSSES, LossFunction
from gradparity.reference.problem import Array, Layer, Loss
from gradparity.reference.product_bounds import Products, sum_bound


class Arithmetic(Protocol):
    """The two operations in which the working precision and the exact evaluation differ."""

    def product(self, P: Array, Q: Array) -> Array:
        """Return ``P Q``."""
        ...

    def sum(self, x: Array) -> Array:
        """Return the sum over the samples, kept as one column."""
        ...


@dataclass(frozen=True)
class Row:
    """One quantity: ``compute(arithmetic, *inputs)`` and ``bound(rounding, value, *input_balls)``."""

    name: str
    formula: str
    inputs: tuple[str, ...]
    shape: tuple[str | int, str | int]
    compute: Callable[..., Array]
    bound: Callable[..., Error]
    products: bool = False
    """Whether the inputs go into products only, and may stay in the precision in which they were given."""
    sums: Callable[..., Products] | None = None
    """``sums(rounding, value, *input_balls)``, whose error `bound` is: it may be taken in blocks."""
    elementwise: bool = False
    """Whether each element depends on the same element of each input alone, so that the row may be taken in blocks."""
    unrounded: bool = False
    """Whether the value is exact in the precision of the inputs."""
    alternatives: tuple[Row, ...] = ()
    """Other formulas for the same quantity that a correct engine may use."""
    fused: Row | None = None
    """The formula of an engine that puts this row and the one before it into one, which needs no singularity."""
    regular: Callable[[Rounding, Ball], Ball] | None = None
    """Brings a computed A to where a row of A and Y has no singularity, if it has one; see `LossFunction`."""


@cache
def table(inputs: int, layers: tuple[Layer, ...], loss: Loss, learning_rate: float) -> tuple[Row, ...]:
    """Return the rows of a network with `inputs` = n0 inputs, in the order of computation."""
    sizes = (inputs, *(layer.units for layer in layers))
    L = len(layers)
    rows: list[Row] = []
    for l, layer in enumerate(layers, start=1):
        rows += [_pre_activation(l, sizes), _activation(l, layer)]
    J = LOSSES[loss.name]
    rows += [_fused(loss_row(J, layers, loss), layers, loss), cotangent_row(J, layers, loss)]
    for l in range(L, 0, -1):
        if l < L:
            rows.append(_propagated(l, sizes))
        rows += [_delta(l, layers, loss), _weight_gradient(l, sizes), _bias_gradient(l, sizes)]
    for l in range(1, L + 1):
        shapes = ((sizes[l], sizes[l - 1]), (sizes[l], 1))
        rows += [_update(name, l, shape, learning_rate) for name, shape in zip("Wb", shapes, strict=True)]
    return tuple(rows)


def _sample(l: int) -> str:
    return f"A{l}" if l else "X"


def _product(
    name: str, formula: str, inputs: tuple[str, ...], shape: tuple[str | int, str | int],
    compute: Callable[..., Array], sums: Callable[..., Products],
) -> Row:  # fmt: skip
    def error(r: Rounding, value: Array, *balls: Ball) -> Error:
        return sums(r, value, *balls).error()

    return Row(name, formula, inputs, shape, compute, error, products=True, sums=sums)


def _pre_activation(l: int, sizes: tuple[int, ...]) -> Row:
    return _product(
        f"Z{l}", f"W{l} {_sample(l - 1)} + b{l}", (f"W{l}", _sample(l - 1), f"b{l}"), (sizes[l], "m"),
        compute=lambda on, W, A, b: on.product(W, A) + b,
        sums=lambda r, Z, W, A, b: Products(r, W, A, 1, Z, bias=b),
    )  # fmt: skip


def _activation(l: int, layer: Layer) -> Row:
    f = ACTIVATIONS[layer.activation]
    return Row(
        f"A{l}", f"{f.symbol}(Z{l})", (f"Z{l}",), (layer.units, "m"),
        compute=lambda on, Z: f.value(Z, layer.slope),
        bound=lambda r, A, Z: f.value_bound(r, Z, A, layer.slope),
        elementwise=isinstance(f, Elementwise), unrounded=f.unrounded,
    )  # fmt: skip


def loss_row(J: LossFunction, layers: tuple[Layer, ...], loss: Loss) -> Row:
    """Return the row of the loss, with the terms of `J`."""
    L, n = len(layers), layers[-1].units
    term = J.formula.replace("A", f"A{L}").replace("Z", f"Z{L}")

    def row(term_of: Callable[[Array, Array], Array], alternatives: tuple[Row, ...] = ()) -> Row:
        return Row(
            "loss", f"(1/{_divisor_formula(loss, n)}) Σ [{term}]", (f"A{L}", "Y"), (1, 1),
            compute=lambda on, A, Y: (
                np.sum(term_of(A, Y), axis=(-2, -1), keepdims=True) / loss.divisor(n, Y.shape[-1])
            ),
            bound=lambda r, value, A, Y: bound.loss_bound(r, J, loss, A, Y),
            alternatives=alternatives, regular=J.regular,
        )  # fmt: skip

    return row(J.term, (row(J.limit),) if J.limit else ())


def _fused(row: Row, layers: tuple[Layer, ...], loss: Loss) -> Row:
    """Return the row of the loss with the formula from the logits, where the output activation matches the loss."""
    if LOSSES[loss.name].matched != layers[-1].activation:
        return row
    from_logits = loss_row(LOSSES[f"{loss.name}_logits"], layers, loss)
    return replace(row, fused=replace(from_logits, inputs=(f"Z{len(layers)}", "Y")))


def _divisor_formula(loss: Loss, outputs: int) -> str:
    parts = ["m"] * (loss.samples == "mean") + [str(outputs)] * (loss.outputs == "mean")
    return "·".join(parts) or "1"


def cotangent_row(J: LossFunction, layers: tuple[Layer, ...], loss: Loss) -> Row:
    """Return the row of ``dA_L``, with the gradient of `J`."""
    L, n = len(layers), layers[-1].units
    D = J.gradient_formula.replace("A", f"A{L}").replace("Z", f"Z{L}")
    alternatives: tuple[Row, ...] = ()
    if J.by_logsumexp:
        alternatives = (cotangent_row(replace(J, gradient_error=J.by_logsumexp, by_logsumexp=None), layers, loss),)
    return Row(
        f"dA{L}", f"(1/{_divisor_formula(loss, n)}) [{D}]", (f"A{L}", "Y"), (n, "m"),
        compute=lambda on, A, Y: J.gradient(A, Y) / loss.divisor(n, Y.shape[-1]),
        bound=lambda r, dA, A, Y: bound.cotangent_bound(r, J, loss, A, Y),
        alternatives=alternatives, regular=J.regular,
    )  # fmt: skip


def pullback_row(f: Activation, l: int, layer: Layer) -> Row:
    """Return the row of ``delta_l = dA_l ⊙ f′``."""
    general = Row(
        f"delta{l}", f"dA{l} ⊙ {f.derivative_formula.replace('A', f'A{l}').replace('Z', f'Z{l}')}",
        (f"dA{l}", f"Z{l}", f"A{l}"), (layer.units, "m"),
        compute=lambda on, g, Z, A: f.pullback(g, Z, A, layer.slope),
        bound=lambda r, delta, g, Z, A: f.pullback_bound(r, g, Z, A, layer.slope),
        elementwise=isinstance(f, Elementwise), unrounded=f.unrounded,
    )  # fmt: skip
    if isinstance(f, Elementwise):
        selected = replace(general, compute=lambda on, g, Z, A: f.selected(g, Z, A, layer.slope))
        general = replace(general, alternatives=(selected,))
    return general


def _delta(l: int, layers: tuple[Layer, ...], loss: Loss) -> Row:
    layer, J = layers[l - 1], LOSSES[loss.name]
    general = pullback_row(ACTIVATIONS[layer.activation], l, layer)
    if l < len(layers) or J.matched != layer.activation:
        return general
    return _matched_delta(l, layer, loss, general)


def _matched_delta(l: int, layer: Layer, loss: Loss, general: Row) -> Row:
    """Return ``δ_L = (A − Y)/N``, to which ``∂L/∂A ⊙ f′`` simplifies for sigmoid+BCE and softmax+CE."""
    J, n = LOSSES[loss.name], layer.units
    weight = (lambda Y: Y.sum(axis=-2, keepdims=True)) if J.classes else (lambda Y: 1)
    return Row(
        f"delta{l}", f"(1/{_divisor_formula(loss, n)}) [A{l}{'·ΣY' if J.classes else ''} − Y]",
        (f"A{l}", "Y"), (n, "m"),
        compute=lambda on, A, Y: (A * weight(Y) - Y) / loss.divisor(n, Y.shape[-1]),
        bound=lambda r, delta, A, Y: bound.matched_bound(r, J, loss, A, Y),
        alternatives=(general, *general.alternatives),
    )  # fmt: skip


def _propagated(l: int, sizes: tuple[int, ...]) -> Row:
    return _product(
        f"dA{l}", f"W{l + 1}ᵀ delta{l + 1}", (f"W{l + 1}", f"delta{l + 1}"), (sizes[l], "m"),
        compute=lambda on, W, delta: on.product(T(W), delta),
        sums=lambda r, dA, W, delta: Products(r, bound.transposed(W), delta, 1, dA),
    )  # fmt: skip


def _weight_gradient(l: int, sizes: tuple[int, ...]) -> Row:
    return _product(
        f"dW{l}", f"delta{l} {_sample(l - 1)}ᵀ", (f"delta{l}", _sample(l - 1)), (sizes[l], sizes[l - 1]),
        compute=lambda on, delta, A: on.product(delta, T(A)),
        sums=lambda r, dW, delta, A: Products(r, delta, bound.transposed(A), 3, dW),
    )  # fmt: skip


def _bias_gradient(l: int, sizes: tuple[int, ...]) -> Row:
    return Row(
        f"db{l}", f"Σ delta{l} over samples", (f"delta{l}",), (sizes[l], 1),
        compute=lambda on, delta: on.sum(delta),
        bound=lambda r, db, delta: sum_bound(r, delta, 3, db),
        products=True,
    )  # fmt: skip


def _update(name: str, l: int, shape: tuple[int, int], learning_rate: float) -> Row:
    return Row(
        f"{name}{l}_next", f"{name}{l} − {learning_rate!r}·d{name}{l}", (f"{name}{l}", f"d{name}{l}"), shape,
        compute=lambda on, w, dw: w - w.dtype.type(learning_rate) * dw,
        bound=lambda r, value, w, dw: bound.update_bound(r, learning_rate, value, w, dw),
        elementwise=True,
    )  # fmt: skip


def rows_by_name(rows: tuple[Row, ...]) -> dict[str, Any]:
    """Return the rows by the name of their quantity."""
    return {row.name: row for row in rows}
