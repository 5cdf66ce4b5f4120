"""The ``numpy`` engine: the table of formulas, evaluated in the working precision."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from gradparity.adapters.protocol import Network, Pairs, PlainProgram
from gradparity.reference.evaluation import Working
from gradparity.reference.formulas import Row, table
from gradparity.reference.problem import Array


class NumPyAdapter:
    """Runs the rows of the table in order."""

    kernel: Literal["out,in"] = "out,in"

    def plain(self, network: Network, weights: Pairs) -> PlainProgram:
        """Build the plain program."""
        return _Plain(network, weights)

    def probe(self, network: Network) -> _Probe:
        """Build the probed program."""
        return _Probe(network)

    def environment(self) -> Mapping[str, str]:
        """Return the version of NumPy and its BLAS."""
        return {
            "numpy": np.__version__,
            "blas": _blas(),
            "device": f"cpu ({platform.machine()})",
        }


def _blas() -> str:
    """Return name and version; of NumPy before 1.25, the names of the libraries, for it records no version."""
    try:
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    except TypeError:
        info = np.__config__.get_info("blas_ilp64_opt")  # type: ignore[attr-defined]
        return " ".join(dict.fromkeys(info.get("libraries", ("unknown",))))
    return f"{blas.get('name')} {blas.get('version')}"


def adapter(variant: str) -> NumPyAdapter:
    """Return the adapter; there are no variants."""
    return NumPyAdapter()


def _rows(network: Network) -> tuple[Row, ...]:
    return table(network.inputs, network.layers, network.loss, network.learning_rate)


class _Plain(PlainProgram):
    def __init__(self, network: Network, weights: Pairs) -> None:
        self.rows = _rows(network)
        self.layers = range(1, len(network.layers) + 1)
        self.values = _named(weights)

    def weights(self) -> Pairs:
        return [(self.values[f"W{l}"].copy(), self.values[f"b{l}"][:, 0].copy()) for l in self.layers]

    def step(self, X: Array, Y: Array) -> tuple[Any, Pairs]:
        values = _evaluated(self.rows, self.values | {"X": X.T, "Y": Y.T})
        self.values = {f"{name}{l}": values[f"{name}{l}_next"] for l in self.layers for name in "Wb"}
        return values["loss"][0, 0], [(values[f"dW{l}"], values[f"db{l}"][:, 0]) for l in self.layers]


class _Probe:
    def __init__(self, network: Network) -> None:
        self.rows = tuple(row for row in _rows(network) if not row.name.endswith("_next"))

    def __call__(self, weights: Pairs, X: Array, Y: Array) -> Mapping[str, Any]:
        values = _evaluated(self.rows, _named(weights) | {"X": X.T, "Y": Y.T})
        return {row.name: _sample_major(row.name, values[row.name]) for row in self.rows}


def _named(weights: Pairs) -> dict[str, Array]:
    pairs = [(f"W{l}", W, f"b{l}", b[:, None]) for l, (W, b) in enumerate(weights, start=1)]
    return {name: array for W, w, b, bias in pairs for name, array in ((W, w), (b, bias))}


def _evaluated(rows: tuple[Row, ...], values: dict[str, Array]) -> dict[str, Array]:
    on = Working()
    with np.errstate(all="ignore"):
        for row in rows:
            values[row.name] = row.compute(on, *(values[name] for name in row.inputs))
    return values


def _sample_major(name: str, value: Array) -> Array:
    if name == "loss":
        scalar: Array = value[0, 0]
        return scalar
    if name.startswith("dW"):
        return value
    return value[:, 0] if name.startswith("db") else value.T
