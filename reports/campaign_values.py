"""The kinds of numbers that a campaign fills arrays with: ordinary ones, and the structure on which statistics break.

Each is the same bits on every machine: multiples of 2⁻⁵³ from a counter-based generator, and operations that IEEE 754
rounds correctly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from gradparity.reference.initial import Shape, normals, uniforms
from gradparity.reference.problem import Array

Values: TypeAlias = Callable[[int, Shape, str], Array]
"""``(seed, shape, dtype)`` to a float64 array; the rows are samples, or the units of a layer."""

ORDINARY = ("ordinary", "uniform")
"""The kinds without structure, on which the statistical tier claims to hold."""

EXTREME = ("near_overflow", "subnormal", "wide")
"""The kinds that have a scale of their own, at an end of the dtype's range."""


def _signs(seed: int, shape: Shape) -> Array:
    return np.where(uniforms(seed, 7, shape) < 0.5, -1.0, 1.0)


def _sorted(seed: int, shape: Shape, dtype: str) -> Array:
    found: Array = np.sort(normals(seed, 0, shape), axis=None).reshape(shape)
    return found


def _repeated(seed: int, shape: Shape, dtype: str) -> Array:
    few = normals(seed, 0, (3, shape[1]))
    found: Array = few[np.floor(3 * uniforms(seed, 1, (shape[0], 1))).astype(int)[:, 0]]
    return found


def _one_hot(seed: int, shape: Shape, dtype: str) -> Array:
    column = np.floor(shape[1] * uniforms(seed, 0, (shape[0], 1)))
    found: Array = (column == np.arange(shape[1])).astype(np.float64)
    return found


def _cancelling(seed: int, shape: Shape, dtype: str) -> Array:
    x = normals(seed, 0, shape)
    pairs = shape[1] // 2
    # The second half of the columns is minus the first, to within a few units in the last place.
    x[:, pairs : 2 * pairs] = -x[:, :pairs] * (1 + np.floor(3 * uniforms(seed, 1, (shape[0], pairs))) * _eps(dtype))
    return x


def _near_copies(seed: int, shape: Shape, dtype: str) -> Array:
    near = 1 + np.floor(7 * uniforms(seed, 1, shape) - 3) * _eps(dtype)
    found: Array = normals(seed, 0, (1, shape[1])) * near
    return found


def _near_overflow(seed: int, shape: Shape, dtype: str) -> Array:
    found: Array = np.ldexp(float(np.finfo(dtype).max), -np.floor(8 * uniforms(seed, 0, shape)).astype(int))
    return _signs(seed, shape) * found


def _wide(seed: int, shape: Shape, dtype: str) -> Array:
    binades = 180 if dtype == "float32" else 1600
    exponents = np.floor(binades * (uniforms(seed, 1, shape) - 0.5)).astype(int)
    found: Array = np.ldexp(_signs(seed, shape) * (1 + uniforms(seed, 0, shape)), exponents)
    return found


def _eps(dtype: str) -> float:
    return float(np.finfo(dtype).eps)


VALUES: dict[str, Values] = {
    "ordinary": lambda seed, shape, dtype: normals(seed, 0, shape),
    "uniform": lambda seed, shape, dtype: 2 * uniforms(seed, 0, shape) - 1,
    "constant": lambda seed, shape, dtype: np.full(shape, 2 * float(uniforms(seed, 0, (1, 1))[0, 0]) - 1),
    "sorted": _sorted,
    "repeated": _repeated,
    "zeros": lambda seed, shape, dtype: np.zeros(shape),
    "sparse": lambda seed, shape, dtype: normals(seed, 0, shape) * (uniforms(seed, 1, shape) < 0.1),
    "signed_zeros": lambda seed, shape, dtype: np.where(uniforms(seed, 1, shape) < 0.5, -0.0, normals(seed, 0, shape)),
    "one_hot": _one_hot,
    "powers_of_two": lambda seed, shape, dtype: np.ldexp(
        _signs(seed, shape), np.floor(20 * uniforms(seed, 0, shape) - 10).astype(int)
    ),
    "integers": lambda seed, shape, dtype: np.floor(9 * uniforms(seed, 0, shape)) - 4,
    "cancelling": _cancelling,
    "near_kink": _near_copies,
    "saturated": lambda seed, shape, dtype: np.ldexp(
        _signs(seed, shape) * (1 + uniforms(seed, 0, shape)), np.floor(3 + 8 * uniforms(seed, 1, shape)).astype(int)
    ),
    "near_overflow": _near_overflow,
    "subnormal": lambda seed, shape, dtype: (2 * uniforms(seed, 0, shape) - 1) * 2 * float(np.finfo(dtype).tiny),
    "wide": _wide,
}


def _labels(seed: int, shape: Shape, dtype: str) -> Array:
    return _one_hot(seed, shape, dtype)


def _soft(seed: int, shape: Shape, dtype: str) -> Array:
    """Return multiples of 2⁻²⁰, which add up to exactly 1 in any order."""
    u = uniforms(seed, 0, shape)
    p = np.floor(u / (np.cumsum(u, axis=1)[:, -1:] + 2.0**-30) * 2**20) / 2**20
    p[:, -1] += 1 - p.sum(axis=1)
    return p


UNIT: dict[str, Values] = {
    "binary": lambda seed, shape, dtype: np.floor(2 * uniforms(seed, 0, shape)),
    "uniform": lambda seed, shape, dtype: uniforms(seed, 0, shape),
    "zeros": lambda seed, shape, dtype: np.zeros(shape),
    "ones": lambda seed, shape, dtype: np.ones(shape),
    "half": lambda seed, shape, dtype: np.full(shape, 0.5),
    "smoothed": lambda seed, shape, dtype: 0.1 + 0.8 * np.floor(2 * uniforms(seed, 0, shape)),
    "edges": lambda seed, shape, dtype: np.abs(np.floor(2 * uniforms(seed, 0, shape)) - _eps(dtype) / 2),
}
SIMPLEX: dict[str, Values] = {
    "labels": _labels,
    "one_class": lambda seed, shape, dtype: np.eye(1, shape[1]).repeat(shape[0], axis=0),
    "soft": _soft,
}
UNSTRUCTURED_TARGETS = (*ORDINARY, "binary", "labels", "soft")
