"""The problems that faults are injected into: small ones, which have every feature between them, and large ones."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np

from gradparity.reference import catalogue
from gradparity.reference.problem import Array, Layer, Loss, Problem

SPECIAL = ("kink", "overflow", "saturated", "probabilities", "subnormal")
"""Problems for the faults that name them: on others, what they are made for hides what is injected."""

SIZES = ("small", "deep", "wide", "large-batch")


@cache
def problems(size: str, dtype: str) -> tuple[Problem, ...]:
    """Return the problems of a size: one of the catalogue, or all of the small ones."""
    if size != "small":
        return (catalogue.load(size).problem(dtype),)
    mean = Loss("squared_error", "mean", "mean")
    return (
        _net("relu", dtype, (6, 5, 5, 3), ("relu", "relu", "linear"), Loss("cce_logits"), batches=(8, 8, 8, 5)),
        _net("tanh", dtype, (5, 4, 4, 1), ("tanh", "sigmoid", "sigmoid"), Loss("bce"), batches=(12, 12)),
        _net("summed", dtype, (4, 3, 2), ("leaky_relu", "tanh"), Loss("half_squared_error", "sum"), batches=(9,)),
        _net("means", dtype, (4, 6, 2), ("sigmoid", "linear"), mean, batches=(10, 10)),
        _kink(dtype),
        _net("overflow", dtype, (3, 4, 3), ("linear", "linear"), Loss("cce_logits"), batches=(6,), scale=60.0),
        _net("saturated", dtype, (3, 4, 3), ("linear", "softmax"), Loss("squared_error"), batches=(6,), scale=60.0),
        _subnormal(_net("subnormal", dtype, (3, 4, 2), ("tanh", "linear"), Loss("half_squared_error"), batches=(6,))),
        _net("probabilities", dtype, (3, 4, 1), ("linear", "sigmoid"), Loss("bce"), batches=(8,), scale=1.9),
    )


def _net(
    name: str, dtype: str, sizes: tuple[int, ...], activations: tuple[str, ...], loss: Loss,
    batches: tuple[int, ...], scale: float = 1.0,
) -> Problem:  # fmt: skip
    rng = np.random.default_rng(len(name) + 7)
    M, n = sum(batches), sizes[-1]
    X, labels = rng.standard_normal((sizes[0], M)) * scale, rng.integers(max(n, 2), size=M)
    Y: Array = np.eye(n)[labels].T if n > 1 else labels[None].astype(float)
    if "squared" in loss.name:
        Y = rng.standard_normal((n, M))
    pairs = list(pairwise(sizes))
    W = [rng.standard_normal((k, n0)) * np.sqrt(1.5 / n0) * np.sqrt(scale) for n0, k in pairs]
    b = [rng.standard_normal((k, 1)) / 4 for _, k in pairs]
    edges = np.cumsum((0, *batches)).tolist()
    return Problem(
        name, dtype, tuple(Layer(k, f) for k, f in zip(sizes[1:], activations, strict=True)), loss, 0.1,
        X.astype(dtype), Y.astype(dtype), tuple(w.astype(dtype) for w in W), tuple(x.astype(dtype) for x in b),
        tuple(pairwise(edges)),
    )  # fmt: skip


def _subnormal(p: Problem) -> Problem:
    """Return `p` with inputs so small that activations and gradients of the first layer are subnormal."""
    tiny = p.X.dtype.type(np.finfo(p.dtype).tiny) / 4
    return replace(p, X=p.X * tiny, b=(0 * p.b[0], *p.b[1:]))


def _kink(dtype: str) -> Problem:
    """Return a ReLU network of small integers, with pre-activations that are exactly 0."""
    rng = np.random.default_rng(3)
    X, Y = rng.integers(-2, 3, (3, 7)), rng.integers(-3, 4, (2, 7))
    W1, W2 = rng.integers(-1, 2, (4, 3)), rng.integers(1, 4, (2, 4))
    arrays = [a.astype(dtype) for a in (X, Y, W1, W2, np.zeros((4, 1)), np.zeros((2, 1)))]
    X, Y, W1, W2, b1, b2 = arrays
    layers = (Layer(4, "relu"), Layer(2, "linear"))
    return Problem("kink", dtype, layers, Loss("half_squared_error"), 0.1, X, Y, (W1, W2), (b1, b2), ((0, 7),))
