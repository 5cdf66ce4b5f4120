"""The arrays that a probe is given: named kinds of numbers, the same bits on every machine.

Floats are representable in float32, so that both dtypes are given the same numbers and the float64 result tells what
the float32 result should be. An argument is written ``[keyword=][~]kind[@axes]``: passed by that keyword; with ``~``,
no gradient is taken with respect to it; with ``@1,-1``, its shape is those axes of the probe's shape. ``:text`` is
passed as it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import TypeAlias

import numpy as np

from gradparity.adapters.operations.case import STEPS, OperationCase, Shape
from gradparity.reference.errors import InputError
from gradparity.reference.initial import normals, uniforms
from gradparity.reference.problem import Array
from gradparity.reference.toml_io import unknown

Kind: TypeAlias = Callable[[int, Shape], Array]
"""``(stream, shape)`` to ordinary numbers."""

POINTS = (0.0, -0.0, 1.0, -1.0, 6.0, -6.0, 3.0, -3.0, 2.5, -2.5, 0.5, -0.5, 1e-3, -1e-3, 20.0, -20.0)
"""Where functions have their kinks, saturate, or are computed in another way. They come first in large arrays."""

EXTREME = (
    88.5, -88.5, 104.0, -104.0, 1e4, -1e4, 1e-30, -1e-30, 1e10, -1e10, 1e20, -1e20, 3e38, -3e38, 1e-38, -1e-38
)  # fmt: skip
"""Where float32 overflows or underflows, in functions of one element."""
STRETCHED = (100.0, -100.0, 1e4, -1e4, 1e-30, -1e-20, 1e7, -1e7)
"""The same for functions of many elements, whose squares still have to be numbers."""
NONFINITE = (float("inf"), float("-inf"), float("nan"))
NEAR_EDGES = (1e-5, 1 - 1e-5, 1e-7, 1 - 2.0**-24, 1e-30, 1e-12, 1e-3, 0.5)
"""Probabilities that are nearly 0 or 1."""


def _normal(stream: int, shape: Shape) -> Array:
    x = normals(0, stream, shape)  # type: ignore[arg-type]
    if x.size >= 2 * len(POINTS):
        x.reshape(-1)[: len(POINTS)] = POINTS
    return x


def _plain(stream: int, shape: Shape) -> Array:
    return normals(0, stream, shape)  # type: ignore[arg-type]


def _unit(stream: int, shape: Shape) -> Array:
    x = 0.01 + 0.98 * uniforms(0, stream, shape)  # type: ignore[arg-type]
    if x.size >= 4:
        x.reshape(-1)[:2] = (1e-5, 1 - 1e-5)
    return x


def _positive(stream: int, shape: Shape) -> Array:
    return 0.25 + 2 * uniforms(0, stream, shape)  # type: ignore[arg-type]


def _sum_to_one(stream: int, shape: Shape) -> Array:
    """Return multiples of 2⁻¹⁰ that add up to 1 over the last axis in any order."""
    u = 0.05 + uniforms(0, stream, shape)  # type: ignore[arg-type]
    p = np.floor(u / np.cumsum(u, axis=-1)[..., -1:] * 1024) / 1024
    p[..., -1] += 1 - p.sum(axis=-1)
    return p


def _below(stream: int, shape: Shape, limit: int) -> Array:
    return np.floor(limit * uniforms(0, stream, shape)).astype(np.int64)  # type: ignore[arg-type]


def _one_hot(stream: int, shape: Shape) -> Array:
    found: Array = (_below(stream, (*shape[:-1], 1), shape[-1]) == np.arange(shape[-1])).astype(np.float64)
    return found


def _definite(stream: int, shape: Shape) -> Array:
    """Return symmetric positive definite matrices in the last two axes, with every eigenvalue different."""
    x = np.tril(np.round(normals(0, stream, shape) * 8) / 8, -1)  # type: ignore[arg-type]
    found: Array = x + np.swapaxes(x, -1, -2) + np.diag(6.0 + 2.0 * np.arange(shape[-1]))
    return found


def _gradients(stream: int, shape: Shape) -> Array:
    """Return what an optimizer is given: ordinary, tiny, huge and exactly zero."""
    g = normals(0, stream, shape)  # type: ignore[arg-type]
    flat = g.reshape(-1)
    for i, scale in enumerate((0.0, 1e-10, 1e4, 1e-20)):
        flat[i :: max(5, g.size)] *= scale
    return g


KINDS: dict[str, Kind] = {
    "normal": _normal,
    "plain": _plain,
    "unit": _unit,
    "symmetric-unit": lambda stream, shape: 1.9 * uniforms(0, stream, shape) - 0.95,  # type: ignore[arg-type]
    "positive": _positive,
    "above-one": lambda stream, shape: 1 + _positive(stream, shape),
    "simplex": _sum_to_one,
    "one-hot": _one_hot,
    "binary": lambda stream, shape: _below(stream, shape, 2).astype(np.float64),
    "signs": lambda stream, shape: 2.0 * _below(stream, shape, 2) - 1.0,
    "definite": _definite,
    "gradients": _gradients,
    "mask": lambda stream, shape: uniforms(0, stream, shape) < 0.7,  # type: ignore[arg-type]
    "below-3": lambda stream, shape: _below(stream, shape, 3),
    "below-5": lambda stream, shape: _below(stream, shape, 5),
    "below-7": lambda stream, shape: _below(stream, shape, 7),
    "counts": lambda stream, shape: _below(stream, shape, 6).astype(np.float64),
}
"""``below-5`` are class numbers or indices from 0 to 4; ``counts`` are whole numbers, as floats."""

FIXED = ("binary", "one-hot", "signs", "counts")
"""Kinds that are no measurements: nothing near them would do instead."""
BELOW_ONE = ("unit", "simplex")

REPLACED: dict[str, tuple[float, ...]] = {"normal": EXTREME, "plain": STRETCHED, "unit": NEAR_EDGES}
"""By kind, what replaces every second number in the extreme case."""


@dataclass(frozen=True)
class Argument:
    """One argument, as its text in a catalogue describes it."""

    kind: str
    keyword: str = ""
    differentiated: bool = True
    literal: str | None = None

    @classmethod
    def parse(cls, text: str) -> Argument:
        """Read ``[keyword=][~]kind[@axes]`` or ``:literal``. Raises `InputError` for an unknown kind."""
        if text.startswith(":"):
            return cls("", differentiated=False, literal=text[1:])
        keyword, _, rest = text.rpartition("=")
        kind = rest.partition("@")[0]
        name = kind.removeprefix("~")
        if name not in KINDS:
            raise InputError(f"inputs: {unknown('kind of array', name, KINDS)}")
        return cls(name, keyword, not kind.startswith("~"))


def arguments(case: OperationCase) -> tuple[Argument, ...]:
    """Return the arguments of `case`, literal ones included."""
    return tuple(Argument.parse(text) for text in case.arguments)


def _filled(kind: str, values: str, stream: int, shape: Shape, elementwise: bool) -> Array:
    x = KINDS[kind](stream, shape)
    special: tuple[float, ...] = ()
    if values == "nonfinite":
        special = NONFINITE if kind in ("normal", "plain") else ()
    elif values == "extreme":
        special = STRETCHED if kind == "normal" and not elementwise else REPLACED.get(kind, ())
    flat = x.reshape(-1)
    places = range(0, min(flat.size, 2 * len(special)), 2)
    for i, value in zip(places, special, strict=False):
        flat[i] = value
    if x.dtype == np.float64:
        return x.astype(np.float32)
    return x.astype(np.int32) if x.dtype == np.int64 else x


def arrays(case: OperationCase) -> tuple[Array, ...]:
    """Return the arrays of `case`, in float32, int32 or bool; of an optimizer, weights, then gradients step by step."""
    if case.values not in ("ordinary", "extreme", "nonfinite"):
        raise InputError(f"values: {unknown('values', case.values, ('ordinary', 'extreme', 'nonfinite'))}")
    given = [(a, size) for a, size in zip(arguments(case), case.sizes, strict=True) if a.literal is None]
    found = [_filled(a.kind, case.values, 2 * i, s, case.elementwise) for i, (a, s) in enumerate(given)]
    if case.form == "optimizer":
        numbered = [(step, i, s) for step in range(STEPS) for i, (_, s) in enumerate(given)]
        found += [_filled("gradients", case.values, 101 + 16 * step + i, s, False) for step, i, s in numbered]
    return tuple(found)


def moved_arrays(case: OperationCase, arrays: Sequence[Array], moved: Callable[[Array], Array]) -> list[Array]:
    """Return `arrays` with every number that may be another one nearby moved, within the domain of its kind."""
    kinds = [a.kind for a in arguments(case) if a.literal is None]
    found = []
    for i, x in enumerate(arrays):
        kind = kinds[i] if i < len(kinds) else "gradients"
        if x.dtype.kind != "f" or kind in FIXED:
            found.append(x)
        else:
            # Halfway to 1 at most, where beyond 1 there is nothing.
            found.append(np.minimum(moved(x), (x + 1) / 2) if kind in BELOW_ONE else moved(x))
    return found


@lru_cache(maxsize=64)
def cotangent(place: int, shape: Shape) -> Array:
    """Return the fixed numbers that the output in place `place` is differentiated with: ±[½, 3/2), float32 numbers."""
    u = uniforms(1, place, (2, prod(shape)))
    found: Array = (np.where(u[0] < 0.5, -1.0, 1.0) * (0.5 + u[1])).astype(np.float32).reshape(shape)
    return found
