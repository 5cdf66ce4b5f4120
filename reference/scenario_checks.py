"""What is wrong with a scenario that can be told without reading any data."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gradparity.reference import toml_io
from gradparity.reference.activations import ACTIVATIONS
from gradparity.reference.data import DATA
from gradparity.reference.errors import InputError
from gradparity.reference.initial import BIASES, WEIGHTS, Given
from gradparity.reference.losses import LOSSES
from gradparity.reference.problem import DTYPES, SLOPE, Layer
from gradparity.reference.toml_io import check_fields, unknown

if TYPE_CHECKING:
    from gradparity.reference.scenario import Scenario


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
