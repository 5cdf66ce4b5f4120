"""Where the initial weights come from, the same bits on every machine and with every version of NumPy.

Random numbers are the raw 64-bit words of Philox4x64-10 (Salmon et al., *Parallel random numbers: as easy as 1, 2, 3*,
SC 2011), a counter-based generator keyed by (seed, stream): each array has a stream of its own (``W_l``: 2l,
``b_l``: 2l + 1; ``X``: 0, ``Y``: 1), so that none depends on how many were drawn before. From the words on, only
operations that IEEE 754 rounds correctly are used (+ − × ÷ √ and frexp), one NumPy call each, so that nothing can be
fused and no mathematical library has a say.

Weights written out, or in a file, are ``W_l (n_l, n_{l-1})`` as in the textbook: one row per unit of the layer.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from gradparity.reference.data import FromFile, Rows, library, named, read_npz, rows, unreadable
from gradparity.reference.errors import InputError
from gradparity.reference.problem import Array
from gradparity.reference.toml_io import matrix, unknown

Shape: TypeAlias = tuple[int, int]
Shapes: TypeAlias = Mapping[str, Shape]
"""``W1`` or ``b1`` … to ``(n_l, n_{l-1})`` or ``(n_l, 1)``."""


def uniforms(seed: int, stream: int, shape: Shape) -> Array:
    """Return multiples of 2⁻⁵³ in [0, 1), exactly uniform."""
    return _uniform(_philox(seed, stream), math.prod(shape)).reshape(shape)


def normals(seed: int, stream: int, shape: Shape) -> Array:
    """Return standard normal numbers by the polar method (Marsaglia & Bray, SIAM Review 6, 1964)."""
    words, count = _philox(seed, stream), math.prod(shape)
    found = [np.empty(0)]
    while (missing := count - sum(map(len, found))) > 0:
        v = 2 * _uniform(words, 2 * missing).reshape(-1, 2) - 1
        s = v[:, 0] * v[:, 0] + v[:, 1] * v[:, 1]
        inside = (s > 0) & (s < 1)
        v, s = v[inside], s[inside]
        found.append((v * np.sqrt(-2 * log(s) / s)[:, None]).ravel())
    return np.concatenate(found)[:count].reshape(shape)


def log(x: Array) -> Array:
    """Return the natural logarithm of positive numbers from basic operations: a few ULP off, the same bits anywhere.

    ``x = m·2^e`` with m in [√½, √2), and ``ln m = 2 artanh f``, ``f = (m−1)/(m+1)``. As f² < 0.0295, the terms after
    ``f²³/23`` add up to less than 2⁻⁶⁴ of the sum.
    """
    m, e = np.frexp(x)
    low = m < math.sqrt(0.5)
    m, e = np.where(low, 2 * m, m), e - low
    f = (m - 1) / (m + 1)
    square, series = f * f, np.zeros_like(f)
    for k in range(23, 0, -2):
        series = series * square + 1 / k
    result: Array = e * 0.6931471805599453 + 2 * (f * series)
    return result


def _philox(seed: int, stream: int) -> np.random.Philox:
    return np.random.Philox(key=np.array([seed, stream], dtype=np.uint64))


def _uniform(words: np.random.Philox, count: int) -> Array:
    found: Array = (np.asarray(words.random_raw(count)) >> np.uint64(11)) * 2.0**-53
    return found


def _stream(name: str) -> int:
    return 2 * int(name[1:]) + (name[0] == "b")


@dataclass(frozen=True)
class Seeded(ABC):
    """Drawn from a seed in [0, 2⁶⁴), then multiplied by `scale`."""

    seed: int = 0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.seed, int) and not 0 <= self.seed < 2**64:
            raise InputError(f"seed: {self.seed} is outside [0, 2^64); give another")

    def draw(self, shapes: Shapes, folder: Path) -> dict[str, Array]:
        """Return an array for each of `shapes`, in float64."""
        return {name: self._draw(_stream(name), shape) * float(self.scale) for name, shape in shapes.items()}

    @abstractmethod
    def _draw(self, stream: int, shape: Shape) -> Array: ...


class StandardNormal(Seeded):
    """``N(0, 1)``."""

    def _draw(self, stream: int, shape: Shape) -> Array:
        return normals(self.seed, stream, shape)


class GlorotUniform(Seeded):
    """Uniform on ``±√(6/(n_in + n_out))`` (Glorot & Bengio, AISTATS 2010)."""

    def _draw(self, stream: int, shape: Shape) -> Array:
        return math.sqrt(6 / sum(shape)) * (2 * uniforms(self.seed, stream, shape) - 1)


class HeNormal(Seeded):
    """``N(0, 2/n_in)``, not truncated (He et al., ICCV 2015)."""

    def _draw(self, stream: int, shape: Shape) -> Array:
        return math.sqrt(2 / shape[1]) * normals(self.seed, stream, shape)


@dataclass(frozen=True)
class Constant:
    """Every entry is ``value · scale``."""

    value: float
    scale: float = 1.0

    def draw(self, shapes: Shapes, folder: Path) -> dict[str, Array]:
        """Return an array for each of `shapes`, in float64."""
        return {name: np.full(shape, float(self.value) * float(self.scale)) for name, shape in shapes.items()}


@dataclass(frozen=True)
class Zeros:
    """Every entry is 0."""

    def draw(self, shapes: Shapes, folder: Path) -> dict[str, Array]:
        """Return an array for each of `shapes`, in float64."""
        return {name: np.zeros(shape) for name, shape in shapes.items()}


@dataclass(frozen=True, init=False)
class Given:
    """Arrays written out: ``Given(W1=[[…]], W2=[[…]], b1=[…])``; `W_l` has one row per unit. Biases are optional."""

    arrays: tuple[tuple[str, Rows], ...]
    scale: float = 1.0

    def __init__(self, scale: float = 1.0, **arrays: Any) -> None:
        for name in arrays:
            if not re.fullmatch(r"[Wb][1-9][0-9]*", name):
                raise InputError(f"{name}: {unknown('key', name, ('scale', 'W1', 'b1', 'W2', 'b2'))}, …")
        object.__setattr__(self, "arrays", tuple((name, rows(value, name)) for name, value in arrays.items()))
        object.__setattr__(self, "scale", scale)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the arrays that it holds."""
        return tuple(name for name, _ in self.arrays)

    def draw(self, shapes: Shapes, folder: Path) -> dict[str, Array]:
        """Return those of `shapes` that it holds, in float64."""
        return {name: matrix(a, name) * float(self.scale) for name, a in self.arrays if name in shapes}


@dataclass(frozen=True)
class WeightsFile(FromFile):
    """A ``.npz`` or ``.safetensors`` file with ``W1 b1 W2 b2 …``; biases are optional.

    `keys` maps those names to the file's own where they differ, as in ``{"W1": "0.weight", "b1": "0.bias"}``.
    """

    scale: float = 1.0
    keys: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.path, str) and Path(self.path).suffix not in (".npz", ".safetensors"):
            raise InputError(f"path: {self.path!r} is neither .npz nor .safetensors; save the weights as one of them")

    def draw(self, shapes: Shapes, folder: Path) -> dict[str, Array]:
        """Return those of `shapes` that it holds, in float64. Raises `InputError`, `MissingLibrary`."""
        path = folder / self.path
        arrays = read_npz(path) if path.suffix == ".npz" else _read_safetensors(path)
        for own in self.keys.values():
            named(arrays, own, path)
        held = {name: self.keys.get(name, name) for name in shapes}
        return {name: matrix(arrays[own], name) * float(self.scale) for name, own in held.items() if own in arrays}


def _read_safetensors(path: Path) -> dict[str, Array]:
    safetensors = library("safetensors.numpy", "safetensors")
    try:
        found: dict[str, Array] = safetensors.load_file(path)
    except (OSError, ValueError, TypeError, KeyError, library("safetensors", "safetensors").SafetensorError) as error:
        raise unreadable(path, ".safetensors", error, "save it again") from error
    return found


def missing(shapes: Shapes, arrays: Iterable[str]) -> list[str]:
    """Return the names in `shapes` for which no array was found."""
    return [name for name in shapes if name not in set(arrays)]


Weights: TypeAlias = Given | WeightsFile | Constant | Zeros | Seeded
WEIGHTS: dict[str, type] = {
    "inline": Given,
    "file": WeightsFile,
    "constant": Constant,
    "standard_normal": StandardNormal,
    "glorot_uniform": GlorotUniform,
    "he_normal": HeNormal,
}
BIASES: dict[str, type] = {
    "zeros": Zeros,
    "inline": Given,
    "file": WeightsFile,
    "constant": Constant,
    "standard_normal": StandardNormal,
}
