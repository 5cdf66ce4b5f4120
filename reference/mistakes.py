"""The known mistakes, as data. Diagnosis re-evaluates a wrong row with each, and names the first that reproduces it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradparity.reference import mistaken_inputs as of_inputs
from gradparity.reference import mistaken_values as of_values
from gradparity.reference.activations import ACTIVATIONS
from gradparity.reference.bounds import Ball
from gradparity.reference.losses import LOSSES
from gradparity.reference.mistake import Case, Mistake, Then, Variant, scaled
from gradparity.reference.problem import Array, Layer, Loss

SLOPES = (0.01, 0.1, 0.2, 0.3)
"""The default slopes of leaky ReLU in the wild."""
CLIPS = (1e-7, 1e-12, 1e-15, 1e-8, 1e-10, 1e-6, 1e-5, 1e-4, 1e-3)
"""Where libraries and users clip probabilities, beside the machine epsilon; the most common first."""


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
    yield 1 / n, f"equals the mean over outputs, {asks} sum" if p.loss.outputs == "sum" else f"is divided by n_L = {n} twice"
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
        float(m): f"was updated with m {gradient}: multiplied by m = {m}",
        1 / eta if eta else 1.0: f"was updated with {gradient} itself: the learning rate {eta!r} is missing",
        0.5: "was updated by half of the learning rate",
    }
    for c, words in known.items():
        yield _with_rate(case, c * eta, words)


def another_rate(case: Case) -> Iterator[Variant]:
    """Yield the update with the learning rate that fits best."""
    if case.kind.endswith("_next"):
        for rate in of_values.fitted_rates(case):
            words = f"was updated with a learning rate of {rate:.6g}; the scenario's is {case.problem.learning_rate!r}"
            yield _with_rate(case, rate, words)


def reduction(case: Case) -> Iterator[Variant]:
    """Yield the row with the loss reduced otherwise, and with the other losses."""
    own = case.problem.loss
    if not (case.kind == "loss" or (case.kind in ("dA", "delta") and case.layer == len(case.problem.layers))):
        return
    for samples, outputs in (("sum", "sum"), ("mean", "sum"), ("sum", "mean"), ("mean", "mean")):
        loss = Loss(own.name, samples, outputs)  # type: ignore[arg-type]
        words = [f"the {now} over {what}" for what, now, asked in
                 (("samples", samples, own.samples), ("outputs", outputs, own.outputs)) if now != asked]  # fmt: skip
        asked = [asked for now, asked in ((samples, own.samples), (outputs, own.outputs)) if now != asked]
        if words:
            for row in case.rows_with(loss=loss):
                yield Variant(f"equals {' and '.join(words)}, the scenario asks for the {' and the '.join(asked)}", row)
    for name in LOSSES:
        if name != own.name:
            for row in case.rows_with(loss=Loss(name, own.samples, own.outputs)):
                yield Variant(f"is that of the loss '{name}', the scenario's is '{own.name}'", row)


def activation(case: Case) -> Iterator[Variant]:
    """Yield the row with every other activation."""
    if case.kind not in ("A", "delta"):
        return
    own = case.problem.layers[case.layer - 1]
    others = [Layer(own.units, name, own.slope) for name in ACTIVATIONS if name not in (own.activation, "leaky_relu")]
    others += [Layer(own.units, "leaky_relu", s) for s in SLOPES if (own.activation, own.slope) != ("leaky_relu", s)]
    for layer in others:
        called = layer.activation + (f" with slope {layer.slope}" if layer.activation == "leaky_relu" else "")
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
            f"takes the derivative to be {words} where Z{l} is exactly 0, at the kink", case.row,
            then=lambda ball, share=share: Ball(
                np.where(Z == 0, share * g.mid, ball.mid), np.where(Z == 0, share * g.rad, ball.rad), None
            ),
        )  # fmt: skip


def clipped(case: Case) -> Iterator[Variant]:
    """Yield the row from clipped probabilities, with and without the gradient of the clipped ones."""
    L = len(case.problem.layers)
    if case.layer != L or case.kind not in ("A", "loss", "dA", "delta"):
        return
    dtype = np.dtype(case.problem.dtype).type
    A = case.evaluation.ball(f"A{L}")
    for eps in (*CLIPS, float(np.finfo(dtype).eps)):
        low, high = dtype(eps), dtype(1) - dtype(eps)
        words = f"clips the probabilities to [{eps:.3g}, 1 − {eps:.3g}]"
        if case.kind == "A":
            yield Variant(words, case.row, then=lambda x, a=low, b=high: x._replace(mid=np.clip(x.mid, a, b), own_var=None))
        elif f"A{L}" in case.row.inputs:
            inputs = {f"A{L}": A._replace(mid=np.clip(A.mid, low, high))}
            beyond = (A.mid < low) | (A.mid > high)
            yield Variant(words, case.row, inputs)
            if case.kind != "loss":
                yield Variant(f"{words}, with gradient 0 beyond", case.row, inputs, _zero_where(beyond))
            yield Variant(f"adds {eps:.3g} to the probabilities", case.row, {f"A{L}": A._replace(mid=A.mid + low)})


def _zero_where(mask: Array) -> Then:
    return lambda x: Ball(np.where(mask, 0, x.mid), np.where(mask, 0.0, x.rad), None)


def mixed(case: Case) -> Iterator[Variant]:
    """Yield the loss from probabilities where it asks for logits."""
    L = len(case.problem.layers)
    if case.kind not in ("loss", "dA", "delta") or f"A{L}" not in case.row.inputs or case.layer != L:
        return
    A, last = case.evaluation.ball(f"A{L}"), case.problem.layers[-1]
    for name in ("softmax", "sigmoid"):
        again = _activated(case, Layer(last.units, name), A)
        yield Variant(f"mixes up logits and probabilities: it applies {name} to A{L} once more", case.row, {f"A{L}": again})


def _activated(case: Case, layer: Layer, z: Ball) -> Ball:
    f = ACTIVATIONS[layer.activation]
    mid = f.value(z.mid.astype(case.evaluation.r.wide), layer.slope)
    return Ball(mid, *f.value_bound(case.evaluation.r, z, mid, layer.slope))


def overflow(case: Case) -> Iterator[Variant]:
    """Yield softmax, sigmoid and the losses from logits as the textbook writes them, where that overflows."""
    value, naive = case.value, _naive(case)
    if value is None or naive is None:
        return
    lost = ~np.isfinite(np.broadcast_to(naive, value.shape)) & ~np.isfinite(value)
    yield Variant(
        "overflows: the exponential is taken of the logits as they are, the largest not subtracted", case.row,
        then=lambda x: Ball(np.where(lost, value, x.mid), np.where(lost, 0.0, x.rad), None),
    )  # fmt: skip


def _naive(case: Case) -> Array | None:
    """Return the row by the formula that overflows, in the working precision; None where there is none."""
    name = case.problem.layers[case.layer - 1].activation if case.kind == "A" else case.problem.loss.name
    if case.kind not in ("A", "loss", "dA") or (case.kind == "dA" and case.layer < len(case.problem.layers)):
        return None
    e = np.exp(case.inputs[case.row.inputs[0]].mid.astype(case.problem.dtype))
    classes = e.sum(axis=-2, keepdims=True)
    if case.kind == "loss":
        each = {"bce_logits": np.log1p(e), "cce_logits": np.log(classes)}.get(name)
        return None if each is None else np.asarray(each.sum(axis=(-2, -1), keepdims=True))
    return {"softmax": e / classes, "cce_logits": e / classes, "sigmoid": e / (1 + e), "bce_logits": e / (1 + e)}.get(name)


OF_NOT_FINITE = ("overflow",)
"""The mistakes that are looked at where a row's wrong values are all infinite or NaN: those tell others apart badly."""

MISTAKES: tuple[Mistake, ...] = (
    Mistake("reduction", reduction),
    Mistake("factor", factor),
    Mistake("learning rate", learning_rate),
    Mistake("equal to another quantity", of_values.equal),
    Mistake("activation", activation),
    Mistake("derivative", derivative),
    Mistake("transposed", of_inputs.transposed),
    Mistake("left out", of_inputs.left_out),
    Mistake("shifted", of_inputs.shifted),
    Mistake("stale", of_inputs.stale),
    Mistake("accumulated", of_inputs.accumulated),
    Mistake("clipped", clipped),
    Mistake("logits and probabilities", mixed),
    Mistake("overflow", overflow),
    Mistake("zeroed", of_values.zeroed),
    Mistake("sample dropped", of_inputs.dropped),
    Mistake("last or first sample", of_inputs.edge_sample),
    Mistake("flushed", of_values.flushed),
    Mistake("columns mixed up", of_values.misplaced),
    Mistake("shuffled", of_values.shuffled),
    Mistake("narrow operands", of_inputs.narrow),
    Mistake("narrow arithmetic", of_values.narrow),
    Mistake("another input", of_inputs.replaced),
    Mistake("weight decay", of_values.decayed),
    Mistake("another learning rate", another_rate),
    Mistake("unknown factor", of_values.any_factor),
)
