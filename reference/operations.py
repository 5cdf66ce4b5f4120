"""Judge a probe whose formula the reference has: arrays of any rank, any axis, a cotangent of any numbers.

The formulas and their bounds are those of the table (`activations`, `losses`, `bounds`, `row_bounds`); here axes are
moved into the reference's ``(steps, rows, columns)``, and back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from gradparity.reference import row_bounds
from gradparity.reference.activations import ACTIVATIONS, Elementwise
from gradparity.reference.attention import attention
from gradparity.reference.bounds import Ball, Error, Rounding, T, magnitude, rounding
from gradparity.reference.compare import best
from gradparity.reference.conventions import LOSS_VARIANTS
from gradparity.reference.evaluation import Exact
from gradparity.reference.losses import LOSSES, LossFunction
from gradparity.reference.problem import Array, Loss
from gradparity.reference.product_bounds import Products, sum_bound
from gradparity.reference.verdict import Verdict

Weight: TypeAlias = Callable[[int, tuple[int, ...]], Array]
Formula: TypeAlias = Callable[["Given"], Mapping[str, list[Ball]]]
"""To each output that it has a formula for, the balls of the formulas that a correct implementation may use."""


@dataclass(frozen=True)
class Judged:
    """The verdict on one output; `allowed` is the bound of each element, infinite where nothing can be said."""

    verdict: Verdict
    allowed: Array
    note: str = ""


@dataclass(frozen=True)
class Given:
    """A probe's arrays, keywords and outputs, in the dtype of `r`."""

    r: Rounding
    inputs: Sequence[Array]
    keywords: Mapping[str, Any]
    outputs: Mapping[str, Array]
    weight: Weight

    def wide(self, x: Array) -> Array:
        """Return `x` in the precision in which formulas are evaluated."""
        return x.astype(self.r.wide)

    @property
    def cotangent(self) -> Array:
        """Return what ``value`` was differentiated with."""
        shape = self.outputs["value"].shape
        return self.weight(0, shape).astype(self.r.dtype)


def judge(
    formula: str,
    keywords: Mapping[str, Any],
    inputs: Sequence[Array],
    outputs: Mapping[str, Array],
    dtype: str,
    weight: Weight,
) -> dict[str, Judged]:
    """Judge `outputs` by `formula`, each output on its own. Raises `KeyError` for a formula that is not in `FORMULAS`.

    `weight` gives the cotangent of an output by its place and shape.
    """
    given = Given(rounding(dtype), inputs, keywords, outputs, weight)
    found = {}
    for name, balls in _with_again(FORMULAS[formula](given)).items():
        if name in outputs:
            found[name] = _judged(outputs[name], balls)
    wrong = [name for name, judged in found.items() if judged.verdict is Verdict.WRONG]
    for convention, variant in _conventions(formula, dtype).items() if wrong else ():
        declared = _with_again(variant(given))
        for name in wrong:
            again = _judged(outputs[name], declared[name])
            if again.verdict is not Verdict.WRONG:
                found[name] = Judged(Verdict.DECLARED, again.allowed, convention)
    return found


def _with_again(balls: Mapping[str, list[Ball]]) -> dict[str, list[Ball]]:
    """Return `balls`, with those of ``value`` for the value that came with the gradient, too."""
    return {**balls, **({"value_in_vjp": balls["value"]} if "value" in balls else {})}


def _conventions(formula: str, dtype: str) -> dict[str, Formula]:
    """Return what frameworks are known to compute instead of `formula`, by the name of the convention."""
    found = {
        name: _loss(variant(LOSSES[formula], dtype))
        for name, (losses, variant) in LOSS_VARIANTS.items()
        if formula in losses
    }
    if formula == "sgd":
        # TensorFlow's optimizers of version 1 make a float32 tensor of the rate before they cast it.
        found["float32-learning-rate"] = lambda given: _sgd(given, single=True)
    return found


def _judged(value: Array, balls: Sequence[Ball]) -> Judged:
    shape = balls[0].mid.shape
    if value.size != balls[0].mid.size:
        return Judged(Verdict.WRONG, np.zeros(value.shape), f"{value.size} elements, expected {balls[0].mid.size}")
    compared = best(value.reshape(shape), balls)
    verdict = Verdict.WRONG if bool(compared.outside.any()) else Verdict.WITHIN
    allowed = np.broadcast_to(compared.rad, shape).reshape(value.shape)
    return Judged(verdict, np.asarray(allowed, dtype=np.float64))


def _ball(mid: Array, error: Error, shape: tuple[int, ...] | None = None) -> Ball:
    rad = np.broadcast_to(np.asarray(error.rad, dtype=np.float64), mid.shape)
    # A singularity that is met is judged by its class, as in the table.
    rad = np.where(np.isfinite(mid) | np.isposinf(rad), rad, 0.0)
    return Ball(mid, rad, None) if shape is None else Ball(mid.reshape(shape), rad.reshape(shape), None)


def _axis(keywords: Mapping[str, Any]) -> int:
    return int(keywords.get("axis", keywords.get("dim", -1)))


def _columns(x: Array, axis: int) -> Array:
    """Return `x` with `axis` as the rows, and all others as columns: ``(1, n, columns)``."""
    moved = np.moveaxis(x, axis, 0)
    return moved.reshape(1, moved.shape[0], -1)


def _back(ball: Ball, shape: tuple[int, ...], axis: int) -> Ball:
    """Undo `_columns`."""
    moved = np.moveaxis(np.empty(shape, bool), axis, 0).shape

    def turned(x: Array) -> Array:
        return np.moveaxis(x.reshape(moved), 0, axis)

    return Ball(turned(ball.mid), turned(np.broadcast_to(ball.rad, ball.mid.shape)), None)


def _activation(name: str) -> Formula:
    f = ACTIVATIONS[name]

    def formula(given: Given) -> Mapping[str, list[Ball]]:
        r, x = given.r, given.inputs[0]
        slope = float(given.keywords.get("negative_slope", given.keywords.get("alpha", 0.01)))
        axis = 0 if isinstance(f, Elementwise) else _axis(given.keywords)
        flat = (lambda a: a.reshape(1, 1, -1)) if isinstance(f, Elementwise) else (lambda a: _columns(a, axis))
        z = given.wide(flat(x))
        a = f.value(z, slope)
        value = _ball(a, f.value_bound(r, Ball(z), a, slope))
        g, own = given.wide(flat(given.cotangent)), given.wide(flat(given.outputs["value"]))
        pulled = []
        for A in (Ball(own), value):
            pulled.append(_ball(f.pullback(g, z, A.mid, slope), f.pullback_bound(r, Ball(g), Ball(z), A, slope)))
        if isinstance(f, Elementwise):
            pulled.append(_ball(f.selected(g, z, own, slope), f.pullback_bound(r, Ball(g), Ball(z), Ball(own), slope)))
            return {"value": [value], "d0": pulled}
        return {"value": [_back(value, x.shape, axis)], "d0": [_back(ball, x.shape, axis) for ball in pulled]}

    return formula


def _loss(J: LossFunction) -> Formula:
    """Return the formula of a loss: its terms, or their mean or sum; classes are in axis 1, of a matrix."""

    def formula(given: Given) -> Mapping[str, list[Ball]]:
        r, reduction = given.r, given.keywords.get("reduction", "mean")
        # Columns are samples; where each element is a term of its own, so is each a sample.
        a, y = (x.T[None] if J.classes else x.reshape(1, 1, -1) for x in given.inputs[:2])
        loss = Loss("", "mean" if reduction == "mean" else "sum", "sum")
        N = loss.divisor(1, a.shape[-1])
        A, Y = Ball(a), Ball(y)
        wide_a, wide_y = given.wide(a), given.wide(y)
        values = []
        for term in (J.term, J.limit) if J.limit else (J.term,):
            terms = term(wide_a, wide_y)
            if reduction == "none":
                plain = y.astype(np.float64)
                found = J.term_error(r, Ball(a.astype(np.float64)), plain, terms.astype(np.float64))
                rad = found.own + r.gamma(6) * magnitude(terms) + r.omega
                values.append(_ball(terms, Error(rad, None)))
            else:
                mid = np.sum(terms, axis=(-2, -1), keepdims=True) / N
                values.append(_ball(mid, row_bounds.loss_bound(r, J, loss, A, Y)))
        D = J.gradient(wide_a, wide_y) / N
        inherited = row_bounds.cotangent_bound(r, J, loss, A, Y)
        g = given.wide(given.cotangent).reshape(1, 1, -1)
        size = magnitude(g)
        rad = size * inherited.rad + r.gamma(4) * size * (magnitude(D) + inherited.rad) + r.omega
        gradient = _ball(g * D, Error(rad, None))
        shape = given.inputs[0].shape
        turned = Ball(T(gradient.mid), T(gradient.rad), None) if J.classes else gradient
        return {"value": values, "d0": [Ball(turned.mid.reshape(shape), np.reshape(turned.rad, shape), None)]}

    return formula


def _matmul(given: Given) -> Mapping[str, list[Ball]]:
    r, exact = given.r, Exact(given.r)
    P, Q = given.inputs
    g = given.cotangent

    def product(A: Array, B: Array) -> list[Ball]:
        mid = exact.product(A, B)
        return [_ball(mid, Products(r, Ball(A), Ball(B), 1, mid).error())]

    return {"value": product(P, Q), "d0": product(g, T(Q)), "d1": product(T(P), g)}


def _sum(given: Given) -> Mapping[str, list[Ball]]:
    r, x, axis = given.r, given.inputs[0], _axis(given.keywords)
    columns = np.swapaxes(_columns(x, axis), -1, -2)
    mid = np.sum(columns, axis=-1, keepdims=True, dtype=r.wide)
    value = _ball(mid, sum_bound(r, Ball(columns), 0, mid))
    spread = np.broadcast_to(np.expand_dims(given.wide(given.cotangent), axis), x.shape)
    return {"value": [value], "d0": [Ball(spread, 0.0, None)]}


def _sgd(given: Given, single: bool = False) -> Mapping[str, list[Ball]]:
    """Return ``w − η g``, each step from the weights that the engine had itself; η rounded to float32 if `single`."""
    r = given.r
    rate = float(next(given.keywords[key] for key in ("lr", "learning_rate", "step_size") if key in given.keywords))
    rate = float(np.float32(rate)) if single else rate
    count = sum(name.endswith("_step1") for name in given.outputs)
    found = {}
    for step in range(len(given.outputs) // count):
        for i in range(count):
            w = given.outputs[f"w{i}_step{step}"] if step else given.inputs[i]
            dw = given.inputs[count * (step + 1) + i]
            mid = given.wide(w) - r.wide(rate) * given.wide(dw)
            error = row_bounds.update_bound(r, rate, mid, Ball(w), Ball(dw))
            found[f"w{i}_step{step + 1}"] = [_ball(mid, error)]
    return found


def _attention(heads: int) -> Formula:
    """Return the formula of attention for arrays of four axes, of which `heads` is that of the heads."""

    def formula(given: Given) -> Mapping[str, list[Ball]]:
        Q, K, V, g = (np.swapaxes(given.wide(a), heads, 1) for a in (*given.inputs, given.cotangent))
        rows = attention(given.r, Q, K, V, g, bool(given.keywords.get("is_causal", False)))

        def turned(row: Ball) -> list[Ball]:
            return [Ball(np.swapaxes(row.mid, heads, 1), np.swapaxes(row.rad, heads, 1), None)]

        return {"value": turned(rows.O), "d0": turned(rows.dQ), "d1": turned(rows.dK), "d2": turned(rows.dV)}

    return formula


FORMULAS: dict[str, Formula] = {
    **{name: _activation(name) for name in ACTIVATIONS},
    **{name: _loss(J) for name, J in LOSSES.items()},
    "matmul": _matmul,
    "sum": _sum,
    "sgd": _sgd,
    "attention": _attention(1),
    "attention_heads_third": _attention(2),
}
"""What an entry's key ``formula`` may name."""
