"""Known mistakes at the loss: its reduction, its probabilities and logits, and how it overflows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradparity.reference.activations import ACTIVATIONS
from gradparity.reference.bounds import Ball
from gradparity.reference.losses import LOSSES
from gradparity.reference.mistake import Case, Variant, clip, put
from gradparity.reference.problem import Array, Layer, Loss

CLIPS = (1e-7, 1e-12, 1e-15, 1e-8, 1e-10, 1e-6, 1e-5, 1e-4, 1e-3)
"""Where libraries and users clip probabilities, beside the machine epsilon; the most common first."""


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
            yield Variant(words, case.row, then=clip(low, high))
        elif f"A{L}" in case.row.inputs:
            inputs = {f"A{L}": A._replace(mid=np.clip(A.mid, low, high))}
            beyond = (A.mid < low) | (A.mid > high)
            yield Variant(words, case.row, inputs)
            if case.kind != "loss":
                yield Variant(f"{words}, with gradient 0 beyond", case.row, inputs, put(beyond, 0.0))
            yield Variant(f"adds {eps:.3g} to the probabilities", case.row, {f"A{L}": A._replace(mid=A.mid + low)})


def mixed(case: Case) -> Iterator[Variant]:
    """Yield the loss from probabilities where it asks for logits."""
    L = len(case.problem.layers)
    if case.kind not in ("loss", "dA", "delta") or f"A{L}" not in case.row.inputs or case.layer != L:
        return
    A, last = case.evaluation.ball(f"A{L}"), case.problem.layers[-1]
    for name in ("softmax", "sigmoid"):
        again = _activated(case, Layer(last.units, name), A)
        yield Variant(
            f"mixes up logits and probabilities: it applies {name} to A{L} once more", case.row, {f"A{L}": again}
        )


def _activated(case: Case, layer: Layer, z: Ball) -> Ball:
    f = ACTIVATIONS[layer.activation]
    mid = f.value(z.mid.astype(case.evaluation.r.wide), layer.slope)
    return f.value_bound(case.evaluation.r, z, mid, layer.slope).around(mid)


def overflow(case: Case) -> Iterator[Variant]:
    """Yield softmax, sigmoid and the losses from logits as the textbook writes them, where that overflows."""
    value, naive = case.value, _naive(case)
    if value is None or naive is None:
        return
    lost = ~np.isfinite(np.broadcast_to(naive, value.shape)) & ~np.isfinite(value)
    yield Variant(
        "overflows: the exponential is taken of the logits as they are, the largest not subtracted",
        case.row,
        then=put(lost, value),
    )


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
    return {"softmax": e / classes, "cce_logits": e / classes, "sigmoid": e / (1 + e), "bce_logits": e / (1 + e)}.get(
        name
    )
