"""A scenario's arrays: samples that fit, initial weights that fit, and numbers that the dtype holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradparity.reference.errors import InputError
from gradparity.reference.initial import Given, Shapes, WeightsFile, missing
from gradparity.reference.losses import LOSSES
from gradparity.reference.problem import Array
from gradparity.reference.toml_io import located

if TYPE_CHECKING:
    from gradparity.reference.scenario import Scenario


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
