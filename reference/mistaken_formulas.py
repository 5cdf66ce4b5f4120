"""Known mistakes in a row's formula: a wrong factor, learning rate, activation or derivative."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradparity.reference import mistaken_values as of_values
from gradparity.reference.activations import ACTIVATIONS
from gradparity.reference.mistake import Case, Variant, put, scaled
from gradparity.reference.problem import Layer

SLOPES = (0.01, 0.1, 0.2, 0.3)
"""The default slopes of leaky ReLU in the wild."""


def _divisors(case: Case) -> Iterator[tuple[float, str]]:
    """Yield the factors that come of a wrong divisor, each with its words."""
    p, m, n = case.problem, case.samples, case.outputs
    mean, asks = p.loss.samples == "mean", "the scenario asks for the"
    summed = f"equals the sum over samples, {asks} mean"
    yield m, summed if mean else f"is multiplied by the number of samples, {m}"
    averaged = f"equals the mean over samples, {asks} sum"
    yield 1 / m, f"is averaged over the samples twice: divided by m = {m} once too often" if mean else averaged
    if m > 1:
        yield m / (m - 1), f"is divided by m − 1 = {m - 1} in place of m = {m}"
    yield m / (m + 1), f"is divided by m + 1 = {m + 1} in place of m = {m}"
    yield n, f"equals the sum over outputs, {asks} mean" if p.loss.outputs == "mean" else f"is multiplied by n_L = {n}"
    yield (
        1 / n,
        f"equals the mean over outputs, {asks} sum" if p.loss.outputs == "sum" else f"is divided by n_L = {n} twice",
    )
    yield 1 / (m * n), f"is divided by m n_L = {m * n} once too often"
    for other in sorted({stop - start for start, stop in p.batches} | {p.X.shape[1]} - {m}):
        yield m / other, f"is divided by {other}, the size of another batch: this one has m = {m} samples"


def _factors(case: Case) -> Iterator[tuple[float, str]]:
    yield 0.0, "is 0 everywhere"
    yield -1.0, "has the opposite sign"
    yield from _divisors(case)
    yield 2.0, "is twice what its formula gives"
    yield 0.5, "is half of what its formula gives"
    rate = case.problem.learning_rate
    yield rate, f"is multiplied by the learning rate, {rate!r}"
    yield -rate, f"is multiplied by minus the learning rate, {rate!r}"


def factor(case: Case) -> Iterator[Variant]:
    """Yield the formula times each known factor."""
    if case.kind.endswith("_next"):
        return
    found: dict[float, list[str]] = {}
    for c, words in _factors(case):
        found.setdefault(c, []).append(words)
    for c, sentences in found.items():
        yield Variant(", or ".join(sentences), case.row, then=scaled(c, case.evaluation.r.u))


def _with_rate(case: Case, rate: float, words: str) -> Variant:
    return Variant(words, next(case.rows_with(learning_rate=rate)))


def learning_rate(case: Case) -> Iterator[Variant]:
    """Yield the update with the learning rate times each known factor."""
    if not case.kind.endswith("_next"):
        return
    eta, m = case.problem.learning_rate, case.samples
    name, gradient = case.row.inputs
    known = {
        0.0: f"equals {name}: it was not updated",
        -1.0: "went up the gradient, not down: the sign of the update is wrong",
        2.0: "was updated twice",
        1 / m: f"was updated with {gradient}/m: divided by m = {m} once too often",
        float(m): f"was updated with {gradient} times m = {m}: with the sum over samples",
        1 / eta if eta else 1.0: f"was updated with {gradient} itself: the learning rate {eta!r} is missing",
        0.5: "was updated by half of the learning rate",
    }
    for c, words in known.items():
        yield _with_rate(case, c * eta, words)


def another_rate(case: Case) -> Iterator[Variant]:
    """Yield the update with the learning rate that fits best."""
    if case.kind.endswith("_next"):
        for rate in of_values.fitted_rates(case):
            own = case.problem.learning_rate
            shown = f"{rate:.6g}" if float(f"{rate:.6g}") != own else f"{rate:.12g}"
            in_float32 = ", which float32 makes of it" if shown == f"{float(np.float32(own)):.12g}" else ""
            words = f"was updated with a learning rate of {shown}{in_float32}; the scenario's is {own!r}"
            yield _with_rate(case, rate, words)


def activation(case: Case) -> Iterator[Variant]:
    """Yield the row with every other activation."""
    if case.kind not in ("A", "delta"):
        return
    own = case.problem.layers[case.layer - 1]
    others = [Layer(own.units, name, own.slope) for name in ACTIVATIONS if name not in (own.activation, "leaky_relu")]
    slopes = (*SLOPES, float(np.float32(own.slope)))
    others += [Layer(own.units, "leaky_relu", s) for s in slopes if (own.activation, own.slope) != ("leaky_relu", s)]
    for layer in others:
        called = layer.activation + (f" with slope {layer.slope!r}" if layer.activation == "leaky_relu" else "")
        what = f"applies {called}" if case.kind == "A" else f"uses the derivative of {called}"
        if layer.activation == "linear":
            what = "leaves out the activation" if case.kind == "A" else "leaves out the derivative of the activation"
        for row in case.rows_with(layer=layer):
            yield Variant(f"{what}; layer {case.layer} has {own.activation}", row)


def derivative(case: Case) -> Iterator[Variant]:
    """Yield ``δ = dA ⊙ f′`` with the derivative twice, at A in place of Z, and with another branch at a kink."""
    l = case.layer
    if case.kind != "delta" or f"dA{l}" not in case.row.inputs:
        return
    yield Variant("applies the derivative of the activation twice", case.row, {f"dA{l}": case.right})
    A = next(row for row in case.evaluation.rows.values() if row.name == f"A{l}")
    again = case.evaluation.evaluate(A, **{f"Z{l}": case.evaluation.ball(f"A{l}")})
    swapped = {f"A{l}": again, f"Z{l}": case.evaluation.ball(f"A{l}")}
    yield Variant(f"takes the derivative at A{l} as if that were Z{l}", case.row, swapped)
    Z, g = case.evaluation.ball(f"Z{l}").mid, case.evaluation.ball(f"dA{l}")
    for share, words in ((1.0, "1"), (0.5, "½"), (0.0, "0")):
        yield Variant(
            f"takes the derivative to be {words} where Z{l} is exactly 0, at the kink",
            case.row,
            then=put(Z == 0, share * g.mid, share * g.rad),
        )
