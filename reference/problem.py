"""A training problem as plain arrays: what every engine and the reference are given."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Reduction = Literal["mean", "sum"]
DTYPES = ("float32", "float64")
SLOPE = 0.01
"""Of the leaky ReLU, where none is given."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A dense layer ``A_l = f_l(W_l A_{l-1} + b_l)``; `slope` is the leaky ReLU's, and no other's."""

    units: int
    activation: str = "linear"
    slope: float = SLOPE


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss by name, with its reduction over samples and over outputs each explicit."""

    name: str
    samples: Reduction = "mean"
    outputs: Reduction = "sum"

    def divisor(self, outputs: int, samples: int) -> int:
        """Return N, by which the sum of all terms is divided."""
        return (samples if self.samples == "mean" else 1) * (outputs if self.outputs == "mean" else 1)


@dataclass(frozen=True)
class Problem:
    """A scenario resolved to arrays of one dtype. Columns are samples.

    Shapes: ``X (n0, M)``, ``Y (n_L, M)``, ``W[l] (n_l, n_{l-1})``, ``b[l] (n_l, 1)``. `batches` holds, for each
    step, the half-open range of columns that the step trains on.
    """

    name: str
    dtype: str
    layers: tuple[Layer, ...]
    loss: Loss
    learning_rate: float
    X: Array
    Y: Array
    W: tuple[Array, ...]
    b: tuple[Array, ...]
    batches: tuple[tuple[int, int], ...]

    def batch(self, step: int) -> tuple[Array, Array]:
        """Return the columns of ``X`` and ``Y`` that `step` (from 0) trains on."""
        start, stop = self.batches[step]
        return self.X[:, start:stop], self.Y[:, start:stop]

    @property
    def weights_sha256(self) -> str:
        """SHA-256 over the initial ``W1 b1 W2 b2 …``; see `sha256`."""
        return sha256(*(a for pair in zip(self.W, self.b, strict=True) for a in pair))

    @property
    def data_sha256(self) -> str:
        """SHA-256 over ``X Y``; see `sha256`."""
        return sha256(self.X, self.Y)


def sha256(*arrays: Array) -> str:
    """Return the SHA-256 over dtype, shape and bytes (row-major, little-endian) of `arrays`."""
    digest = hashlib.sha256()
    for a in arrays:
        digest.update(f"{a.dtype.name}{a.shape}".encode())
        digest.update(np.ascontiguousarray(a, dtype=a.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()
