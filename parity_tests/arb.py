"""The table of formulas in ball arithmetic: an oracle that shares no code with the reference.

Arb (through python-flint) encloses the true value of every operation. Arrays are NumPy object arrays of balls, so that
one formula here is one line of the textbook, evaluated literally: at 400 bits nothing needs to be stable.

`gradient` uses no backpropagation at all: it evaluates the loss on power series ``θ + t`` modulo ``t²`` and reads off
the coefficient of t, which is the derivative by its definition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from flint import arb, arb_series, ctx

from gradparity.reference.problem import Array, Layer, Problem

ctx.prec = 400
ctx.cap = 2
ONE = arb(1)


def balls(x: Array) -> Array:
    """Return `x` as exact balls; a long double is the exact sum of two doubles."""
    high = x.astype(np.float64)
    out = _exact(high)
    if x.dtype == np.longdouble:
        finite = np.isfinite(high)
        out = out + _exact(np.where(finite, x - np.where(finite, high, 0.0), 0.0).astype(np.float64))
    return out


def _exact(x: Array) -> Array:
    out = np.empty(x.size, dtype=object)
    out[:] = [arb(value) for value in x.ravel().tolist()]
    return out.reshape(x.shape)


def each(f: Callable[[Any], Any], x: Array) -> Array:
    """Return ``f`` of every element."""
    out = np.empty(x.shape, dtype=object)
    for i in np.ndindex(x.shape):
        out[i] = f(x[i])
    return out


def positive(x: Any) -> bool:
    """Return whether x > 0. Raises ValueError where the ball, or the constant term of the series, cannot tell."""
    constant = x[0] if isinstance(x, arb_series) else x
    if constant > 0:
        return True
    if constant <= 0:
        return False
    raise ValueError(f"the sign of {constant} is not decided at {ctx.prec} bits")


def sigmoid(x: Any) -> Any:
    """Return ``1/(1+e^−x)``."""
    return 1 / (1 + (-x).exp())


def tanh(x: Any) -> Any:
    """Return ``(e^2x − 1)/(e^2x + 1)``."""
    e = (2 * x).exp()
    return (e - 1) / (e + 1)


def activation(layer: Layer, Z: Array) -> Array:
    """Return ``f(Z)`` for ``Z (n, m)``."""
    if layer.activation == "softmax":
        e = each(lambda z: z.exp(), Z)
        return e / e.sum(axis=0)
    slope = arb(layer.slope)
    functions: dict[str, Callable[[Any], Any]] = {
        "linear": lambda z: z,
        "relu": lambda z: z if positive(z) else 0 * z,
        "leaky_relu": lambda z: z if positive(z) else slope * z,
        "sigmoid": sigmoid,
        "tanh": tanh,
    }
    return each(functions[layer.activation], Z)


def pullback(layer: Layer, G: Array, Z: Array, A: Array) -> Array:
    """Return δ from ``G = dA``, from A where the derivative is a function of A; softmax by its whole Jacobian."""
    if layer.activation == "softmax":
        n, m = A.shape
        out = np.empty((n, m), dtype=object)
        for j in range(m):
            for i in range(n):
                out[i, j] = sum(A[k, j] * ((i == k) - A[i, j]) * G[k, j] for k in range(n))
        return out
    slope = arb(layer.slope)
    derivatives: dict[str, Callable[[Any, Any], Any]] = {
        "linear": lambda z, a: ONE,
        "relu": lambda z, a: ONE if positive(z) else arb(0),
        "leaky_relu": lambda z, a: ONE if positive(z) else slope,
        "sigmoid": lambda z, a: a - a * a,
        "tanh": lambda z, a: ONE - a * a,
    }
    derivative = derivatives[layer.activation]
    return G * np.frompyfunc(derivative, 2, 1)(Z, A)


def _xlogy(x: Any, y: Any) -> Any:
    return 0 * y if x == 0 else x * y.log()


def divisor(problem: Problem, m: int) -> int:
    """Return N."""
    loss = problem.loss
    return (m if loss.samples == "mean" else 1) * (problem.layers[-1].units if loss.outputs == "mean" else 1)


def loss(problem: Problem, A: Array, Y: Array) -> Any:
    """Return the loss, from its definition, with ``0 log 0 = 0``."""
    name, m = problem.loss.name, A.shape[1]
    if name == "cce_logits":
        e = each(lambda z: z.exp(), A)
        A, name = e / e.sum(axis=0), "cce"
    if name == "bce_logits":
        A, name = each(sigmoid, A), "bce"
    terms: dict[str, Callable[[Any, Any], Any]] = {
        "bce": lambda a, y: -_xlogy(y, a) - _xlogy(1 - y, 1 - a),
        "cce": lambda a, y: -_xlogy(y, a),
        "squared_error": lambda a, y: (a - y) * (a - y),
        "half_squared_error": lambda a, y: (a - y) * (a - y) / 2,
    }
    term = terms[name]
    total = sum((term(a, y) for a, y in zip(A.flat, Y.flat, strict=True)), arb(0))
    return total / divisor(problem, m)


def cotangent(problem: Problem, A: Array, Y: Array) -> Array:
    """Return ``∂L/∂A_L`` by series: one perturbed element at a time."""
    out = np.empty(A.shape, dtype=object)
    for i in np.ndindex(A.shape):
        moved = A.copy()
        moved[i] = arb_series([A[i], 1])
        out[i] = loss(problem, moved, Y)[1]
    return out


def matched(problem: Problem, A: Array, Y: Array) -> Array:
    """Return ``(A ΣY − Y)/N`` for softmax, ``(A − Y)/N`` for sigmoid."""
    weight = Y.sum(axis=0) if problem.layers[-1].activation == "softmax" else ONE
    return (A * weight - Y) / divisor(problem, A.shape[1])


def row(problem: Problem, name: str, value: Callable[[str], Array]) -> Array:
    """Return the quantity `name` from its inputs, which `value` gives by name as ``(rows, columns)`` of balls."""
    L = len(problem.layers)
    if name == "loss":
        return np.array([[loss(problem, value(f"A{L}"), value("Y"))]], dtype=object)
    if name.endswith("_next"):
        w = name.removesuffix("_next")
        return value(w) - arb(problem.learning_rate) * value(f"d{w}")
    kind, l = name.rstrip("0123456789"), int(name[len(name.rstrip("0123456789")) :])
    before = f"A{l - 1}" if l > 1 else "X"
    layer = problem.layers[l - 1]
    if kind == "Z":
        return value(f"W{l}") @ value(before) + value(f"b{l}")
    if kind == "A":
        return activation(layer, value(f"Z{l}"))
    if kind == "dA":
        return (
            cotangent(problem, value(f"A{l}"), value("Y")) if l == L else value(f"W{l + 1}").T @ value(f"delta{l + 1}")
        )
    if kind == "delta":
        return pullback(layer, value(f"dA{l}"), value(f"Z{l}"), value(f"A{l}"))
    if kind == "dW":
        return value(f"delta{l}") @ value(before).T
    if kind == "db":
        return value(f"delta{l}").sum(axis=1, keepdims=True)
    raise KeyError(name)


class EndToEnd:
    """Every quantity of the first step from data and initial weights alone, as balls."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        X, Y = problem.batch(0)
        self.values = {"X": balls(X), "Y": balls(Y)}
        for l, (W, b) in enumerate(zip(problem.W, problem.b, strict=True), start=1):
            self.values |= {f"W{l}": balls(W), f"b{l}": balls(b)}

    def __call__(self, name: str) -> Array:
        """Return the balls of `name`."""
        if name not in self.values:
            self.values[name] = row(self.problem, name, self)
        return self.values[name]

    def gradient(self, name: str) -> Array:
        """Return ``∂loss/∂name`` for a weight matrix or bias, by series, without backpropagation."""
        parameters = self.values[name]
        l = int(name[1:])
        out = np.empty(parameters.shape, dtype=object)
        for i in np.ndindex(parameters.shape):
            moved = parameters.copy()
            moved[i] = arb_series([parameters[i], 1])
            out[i] = self._loss_with(l, name, moved)[1]
        return out

    def _loss_with(self, changed: int, name: str, parameters: Array) -> Any:
        A = self(f"A{changed - 1}") if changed > 1 else self.values["X"]
        for l, layer in enumerate(self.problem.layers[changed - 1 :], start=changed):
            W, b = (parameters if f"{x}{l}" == name else self.values[f"{x}{l}"] for x in "Wb")
            A = activation(layer, W @ A + b)
        return loss(self.problem, A, self.values["Y"])


def beyond(mid: Array, exact: Array, rad: Array, judged: Array, share: float) -> Iterator[tuple[Any, float]]:
    """Yield the index and |mid − exact|/rad where it may exceed `share`, among the `judged` elements."""
    found = zip(np.argwhere(judged), balls(mid[judged]), exact[judged], rad[judged].tolist(), strict=True)
    for index, middle, true, allowed in found:
        error = abs(middle - true)
        if not error <= arb(allowed) * share:
            yield tuple(index), float(error.mid()) / allowed if allowed > 0 else np.inf
