"""A training problem as frozen data: it holds specifications, and no array until `Scenario.problem` is asked for one.

Two orientations meet here, each where it is usual. **Data are tables with one row per sample**, in TOML and in
Python, as in a CSV file. **Weights are the textbook's** ``W_l (n_l, n_{l-1})``, one row per unit, and in a `Problem`
columns are samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gradparity.reference import expected as printed
from gradparity.reference import toml_io
from gradparity.reference.data import DATA, Data
from gradparity.reference.errors import InputError
from gradparity.reference.initial import BIASES, WEIGHTS, GlorotUniform, Weights
from gradparity.reference.problem import DTYPES, Array, Layer, Loss, Problem
from gradparity.reference.scenario_arrays import check_data, check_normal, initial, rounded
from gradparity.reference.scenario_checks import check
from gradparity.reference.toml_io import build, build_kind, located, unknown


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
