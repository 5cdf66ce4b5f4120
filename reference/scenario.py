"""A training problem as frozen data: it holds specifications, and no array until `Scenario.problem` is asked for one.

Two orientations meet here, each where it is usual. **Data are tables with one row per sample**, in TOML and in
Python, as in a CSV file. **Weights are the textbook's** ``W_l (n_l, n_{l-1})``, one row per unit, and in a `Problem`
columns are samples.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gradparity.reference import expected as printed
from gradparity.reference import toml_io
from gradparity.reference.activations import ACTIVATIONS
from gradparity.reference.data import DATA, Data
from gradparity.reference.errors import InputError
from gradparity.reference.initial import BIASES, WEIGHTS, Given, GlorotUniform, Shapes, Weights, WeightsFile, missing
from gradparity.reference.losses import LOSSES
from gradparity.reference.problem import DTYPES, Array, Layer, Loss, Problem
from gradparity.reference.toml_io import build, build_kind, check_fields, located, unknown

SLOPE = Layer(1).slope


class Arrays(NamedTuple):
    """A scenario's arrays in float64: ``X (M, n0)``, ``Y (M, n_L)``, and ``W1 … W_L b1 … b_L`` by name."""

    X: Array
    Y: Array
    initial: dict[str, Array]


@dataclass(frozen=True)
class Scenario:
    """Layers, loss, samples, initial weights and the training that is judged.

    `batch_size`: None is the full batch, 1 an update per sample; the last mini-batch of an epoch may be smaller.
    Either `epochs` (default 1) or `steps`, the total number of updates. `structured` data (the default) makes the
    statistical tier of the bounds a mere warning. `biases`: None takes those that the weights' source holds, or else
    zeros. Construction raises `InputError` for whatever is wrong without reading any data.
    """

    name: str
    layers: Sequence[Layer]
    loss: Loss
    data: Data
    weights: Weights = field(default_factory=GlorotUniform)
    biases: Weights | None = None
    learning_rate: float = 0.1
    batch_size: int | None = None
    epochs: int | None = None
    steps: int | None = None
    inputs: int | None = None
    optimizer: str = "sgd"
    dtypes: tuple[str, ...] = DTYPES
    structured: bool = True
    expected: tuple[printed.Expected, ...] = ()
    description: str = ""
    folder: Path = field(default=Path(), compare=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.loss, str):
            object.__setattr__(self, "loss", Loss(self.loss))
        for key in ("layers", "dtypes", "expected"):
            if isinstance(getattr(self, key), list):
                object.__setattr__(self, key, tuple(getattr(self, key)))
        with located(f"scenario {self.name!r}: "):
            check(self)

    @cached_property
    def _arrays(self) -> Arrays:
        try:
            with located("data."):
                X, Y = self.data.read(self.layers[-1].units, self.folder)
                check_data(self, X, Y)
            return Arrays(X, Y, initial(self, X.shape[1]))
        except MemoryError as error:
            raise InputError(f"its arrays do not fit into memory ({error}); make it smaller") from error

    def problem(self, dtype: str) -> Problem:
        """Resolve to arrays of `dtype`: read or drawn in float64, rounded once.

        Raises `InputError` (data or weights that do not fit), `MissingLibrary` (an optional library is needed).
        """
        with located(f"scenario {self.name!r}: "):
            if dtype not in DTYPES:
                raise InputError(f"dtypes: {unknown('dtype', dtype, DTYPES)}")
            X, Y, initial = self._arrays
            L = range(1, len(self.layers) + 1)
            rounded(np.array([[self.learning_rate]], dtype=np.float64), dtype, "learning_rate")
            check_normal(self.learning_rate, dtype, "learning_rate")
            for i, layer in enumerate(self.layers):
                check_normal(layer.slope, dtype, f"layers[{i}].slope")
            problem = Problem(
                name=self.name,
                dtype=dtype,
                layers=tuple(self.layers),
                loss=self.loss,
                learning_rate=float(self.learning_rate),
                X=np.ascontiguousarray(rounded(X, dtype, "data.X").T),
                Y=np.ascontiguousarray(rounded(Y, dtype, "data.Y").T),
                W=tuple(rounded(initial[f"W{l}"], dtype, f"weights.W{l}") for l in L),
                b=tuple(rounded(initial[f"b{l}"], dtype, f"biases.b{l}") for l in L),
                batches=self._batches(len(X)),
            )
            printed.check(self.expected, problem)
        return problem

    def _batches(self, samples: int) -> tuple[tuple[int, int], ...]:
        size = self.batch_size or samples
        epoch = tuple((i, min(i + size, samples)) for i in range(0, samples, size))
        if self.steps is not None:
            return tuple(islice(cycle(epoch), self.steps))
        return epoch * (self.epochs or 1)

    @classmethod
    def from_toml(cls, source: str | Path, folder: Path | None = None) -> Scenario:
        """Read a TOML file, or the TOML text itself (a string with a line break or an ``=``).

        Relative paths inside are resolved against the file's folder, or `folder`. Raises `InputError`.
        """
        if isinstance(source, str) and ("\n" in source or "=" in source):
            return from_table(toml_io.parse(source), folder or Path())
        path = Path(source)
        with located(f"{path}: "):
            return from_table({"name": path.stem} | toml_io.read(path), folder or path.parent)

    def to_toml(self) -> str:
        """Write as TOML text, which reads back to an equal scenario, bit for bit; relative paths stay relative."""
        table = toml_io.to_table(self)
        for key, kinds in {"data": DATA, "weights": WEIGHTS, "biases": BIASES}.items():
            if key in table:
                table[key] = _source_table(table[key], kinds)
        table["layers"] = [toml_io.to_table(layer) for layer in self.layers]
        table["loss"] = toml_io.to_table(self.loss)
        if self.expected:
            table["expected"] = printed.to_tables(self.expected)
        table.pop("folder", None)
        return toml_io.dump(table)


def _source_table(source: Any, kinds: dict[str, type]) -> dict[str, Any]:
    table = toml_io.to_table(source, kinds)
    return table | dict(table.pop("arrays", ()))


def from_table(table: dict[str, Any], folder: Path) -> Scenario:
    """Build a scenario from parsed TOML. Raises `InputError`."""
    known = [f.name for f in fields(Scenario) if f.name != "folder"]
    toml_io.known_keys(table, known)
    for key in ("name", "layers", "loss", "data"):
        if key not in table:
            raise InputError(f"{key}: missing; add it")
    layers = table["layers"]
    if not isinstance(layers, list):
        raise InputError(f"layers: expected a list of tables, as in [[layers]], got {toml_io.short(layers)}")
    readers: dict[str, Callable[[Any], Any]] = {
        "layers": lambda v: tuple(build(Layer, layer, f"layers[{i}]") for i, layer in enumerate(v)),
        "loss": lambda v: Loss(v) if isinstance(v, str) else build(Loss, v, "loss"),
        "data": lambda v: build_kind(DATA, v, "data"),
        "weights": lambda v: build_kind(WEIGHTS, v, "weights"),
        "biases": lambda v: build_kind(BIASES, v, "biases"),
        "expected": printed.from_tables,
    }
    with located(f"scenario {table['name']!r}: "):
        values = {key: readers.get(key, toml_io.frozen)(value) for key, value in table.items()}
    return Scenario(**values, folder=folder)


def check(s: Scenario) -> None:
    """Raise `InputError` for whatever is wrong without reading data: types, names, sizes, combinations."""
    check_fields(s)
    if not re.fullmatch(r"\w[\w.+-]*", s.name):
        raise InputError(f"name: {s.name!r} will name files and tests; use letters, digits, '-', '_' and '.'")
    for key in ("batch_size", "epochs", "steps", "inputs"):
        number = getattr(s, key)
        if number is not None and number < 1:
            raise InputError(f"{key}: {number}; give 1 or more")
    if s.epochs is not None and s.steps is not None:
        raise InputError("steps: both epochs and steps are given; keep one of them")
    if s.optimizer != "sgd":
        raise InputError(f"optimizer: {unknown('optimizer', s.optimizer, ['sgd'])}")
    for dtype in s.dtypes:
        if dtype not in DTYPES:
            raise InputError(f"dtypes: {unknown('dtype', dtype, DTYPES)}")
    if len(set(s.dtypes)) != len(s.dtypes) or not s.dtypes:
        raise InputError(f"dtypes: {list(s.dtypes)}; name each dtype once, and at least one")
    check_network(s)
    check_fields(s.data, "data.")
    check_fields(s.weights, "weights.")
    if s.biases is not None:
        check_fields(s.biases, "biases.")
    check_sources(s)


def check_network(s: Scenario) -> None:
    """Raise `InputError` for layers or a loss that are unknown or do not go together."""
    if not isinstance(s.layers, tuple) or not s.layers:
        raise InputError("layers: give a list of at least one layer")
    for i, layer in enumerate(s.layers):
        if not isinstance(layer, Layer):
            raise InputError(f"layers[{i}]: expected a Layer, got {toml_io.short(layer)}")
        check_fields(layer, f"layers[{i}].")
        if not 1 <= layer.units < 2**31:
            raise InputError(f"layers[{i}].units: {layer.units}; give 1 or more, and less than 2^31")
        if layer.activation not in ACTIVATIONS:
            raise InputError(f"layers[{i}].activation: {unknown('activation', layer.activation, ACTIVATIONS)}")
        if layer.activation != "leaky_relu" and layer.slope != SLOPE:
            raise InputError(f"layers[{i}].slope: {layer.activation} has no slope; leave it out, or use leaky_relu")
    check_fields(s.loss, "loss.")
    if s.loss.name not in LOSSES:
        raise InputError(f"loss.name: {unknown('loss', s.loss.name, LOSSES)}")
    if LOSSES[s.loss.name].classes and s.loss.outputs == "mean":
        raise InputError(f"loss.outputs: {s.loss.name!r} is one term a sample, summed over the classes; leave it out")
    last, allowed = s.layers[-1].activation, LOSSES[s.loss.name].activations
    if last not in allowed:
        raise InputError(
            f"layers[{len(s.layers) - 1}].activation: {last!r} does not fit loss {s.loss.name!r}, "
            f"which needs {' or '.join(map(repr, allowed))}; change one of the two"
        )


def check_sources(s: Scenario) -> None:
    """Raise `InputError` for a source that is none, or arrays written out for layers that are not there."""
    for key, kinds in {"data": DATA, "weights": WEIGHTS, "biases": BIASES}.items():
        source = getattr(s, key)
        if type(source) not in kinds.values() and not (key == "biases" and source is None):
            known = ", ".join(cls.__name__ for cls in kinds.values())
            raise InputError(f"{key}: {toml_io.short(source)} is not a source of {key}; use one of {known}")
        names = [f"b{l}" for l in range(1, len(s.layers) + 1)]
        if key == "weights":
            names = [f"W{l}" for l in range(1, len(s.layers) + 1)] + (names if s.biases is None else [])
        for name in source.names if isinstance(source, Given) else ():
            if name not in names:
                raise InputError(
                    f"{key}.{name}: {unknown('array', name, names)} (one per layer; biases stand in one place only)"
                )


def check_data(s: Scenario, X: Array, Y: Array) -> None:
    """Raise `InputError` for samples that do not fit the network or the loss. ``X (M, n0)``, ``Y (M, n_L)``."""
    if not X.size or not Y.size:
        raise InputError(f"X: no data (X has shape {X.shape}, Y {Y.shape}); give at least one sample")
    if len(X) != len(Y):
        raise InputError(f"Y: {len(Y)} rows, but X has {len(X)}; give one row per sample in both")
    if s.inputs is not None and X.shape[1] != s.inputs:
        raise InputError(f"X: {X.shape[1]} columns, but inputs = {s.inputs}; give one column per input")
    units = s.layers[-1].units
    if Y.shape[1] != units:
        raise InputError(
            f"Y: {Y.shape[1]} columns, but the last layer has {units} units; expected shape {(len(X), units)}"
        )
    check_finite(X, "X")
    check_finite(Y, "Y")
    check_targets(s.loss.name, Y)


def check_finite(a: Array, where: str) -> None:
    """Raise `InputError` for the first NaN or infinity."""
    bad = np.argwhere(~np.isfinite(a))
    if len(bad):
        i, j = bad[0].tolist()
        raise InputError(f"{where}[{i}, {j}] is {a[i, j]} (row and column from 0); only finite numbers can be judged")


def check_targets(loss: str, Y: Array) -> None:
    """Raise `InputError` for targets outside the domain of `loss`. ``Y (M, n_L)``, float64.

    A row that sums to 1 in exact arithmetic is off by at most u Σ|y| = u from rounding its n entries, and by
    γ_{n−1} from adding them: n·u in all.
    """
    if LOSSES[loss].targets == "real":
        return
    outside = np.argwhere((Y < 0) | (Y > 1))
    if len(outside):
        i, j = outside[0].tolist()
        raise InputError(f"Y[{i}, {j}] = {Y[i, j]} lies outside [0, 1], where loss {loss!r} needs its targets")
    if LOSSES[loss].targets == "simplex":
        off = np.flatnonzero(np.abs(Y.sum(axis=1) - 1) > Y.shape[1] * 2.0**-53)
        if len(off):
            i = int(off[0])
            raise InputError(
                f"Y: row {i} sums to {float(Y[i].sum())!r}, and loss {loss!r} needs 1;"
                " give one-hot rows or probabilities (in float64)"
            )


def initial(s: Scenario, n0: int) -> dict[str, Array]:
    """Return ``W1 … W_L b1 … b_L`` in float64. Raises `InputError` for arrays that are missing or do not fit."""
    sizes = [n0, *(layer.units for layer in s.layers)]
    W = {f"W{l}": (sizes[l], sizes[l - 1]) for l in range(1, len(sizes))}
    b = {f"b{l}": (sizes[l], 1) for l in range(1, len(sizes))}
    with located("weights."):
        weights = fitted(s.weights.draw(W, s.folder), W)
        if absent := missing(W, weights):
            raise InputError(f"{absent[0]}: missing; give one array per layer, {absent[0]} of shape {W[absent[0]]}")
    zeros = {name: np.zeros(shape) for name, shape in b.items()}
    source = s.biases or (s.weights if isinstance(s.weights, Given | WeightsFile) else None)
    if source is None:
        return weights | zeros
    with located("weights." if s.biases is None else "biases."):
        return weights | zeros | fitted(source.draw(b, s.folder), b)


def fitted(arrays: dict[str, Array], shapes: Shapes) -> dict[str, Array]:
    """Return `arrays` if each is finite and of its shape. Raises `InputError`."""
    for name, a in arrays.items():
        if a.shape != shapes[name]:
            hint = "; it looks transposed" if a.shape == shapes[name][::-1] else ""
            raise InputError(
                f"{name}: shape {a.shape} does not fit; expected {shapes[name]}, one row per unit of the layer{hint}"
            )
        check_finite(a, name)
    return arrays


def check_normal(number: float, dtype: str, where: str) -> None:
    """Raise `InputError` for a factor that is subnormal in `dtype`: some engines read it as 0."""
    if 0 < abs(number) < np.finfo(dtype).tiny:
        raise InputError(
            f"{where}: {number!r} is subnormal in {dtype}, and 0 to some frameworks; give a normal number, or 0"
        )


def rounded(a: Array, dtype: str, where: str) -> Array:
    """Return a copy of `a` rounded to `dtype`. Raises `InputError` where a number overflows."""
    with np.errstate(over="ignore", under="ignore"):
        result = a.astype(dtype)
    bad = np.argwhere(~np.isfinite(result))
    if len(bad):
        i, j = bad[0].tolist()
        raise InputError(
            f'{where}[{i}, {j}] = {a[i, j]} overflows in {dtype}; scale it down, or set dtypes = ["float64"]'
        )
    return result
