"""An engine with one fault in it: `gradparity run textbook-half-mse --engine docs/faulty_engine.py:step`.

Everything is as it should be, but one thing that is easily forgotten.
"""

from __future__ import annotations

import numpy as np

from gradparity.adapters.function_engine import StepProblem
from gradparity.reference.problem import Array

FORWARD = {
    "relu": lambda Z: np.maximum(Z, 0),
    "tanh": np.tanh,
    "sigmoid": lambda Z: 1 / (1 + np.exp(-Z)),
    "linear": lambda Z: Z,
}


def step(p: StepProblem) -> dict[str, Array]:
    """Return the trace of one step, for sigmoid with cross-entropy and for a linear output with ½ squared error."""
    trace: dict[str, Array] = {}
    A = [p.X]
    for l, (W, b, activation) in enumerate(zip(p.W, p.b, p.activations, strict=True), start=1):
        trace[f"Z{l}"] = W @ A[-1] + b
        trace[f"A{l}"] = FORWARD[activation](trace[f"Z{l}"])
        A.append(trace[f"A{l}"])
    trace["loss"] = _loss(p, A[-1])
    delta = (A[-1] - p.Y) / np.asarray(p.N, p.dtype)
    for l in range(len(p.layers), 0, -1):
        if l < len(p.layers):
            trace[f"dA{l}"] = p.W[l].T @ delta
            delta = trace[f"dA{l}"]  # Here is the fault: it should be multiplied by the derivative of the activation.
        trace[f"delta{l}"] = delta
        trace[f"dW{l}"] = delta @ A[l - 1].T
        trace[f"db{l}"] = delta.sum(axis=1, keepdims=True)
    for l, (W, b) in enumerate(zip(p.W, p.b, strict=True), start=1):
        rate = np.asarray(p.learning_rate, p.dtype)
        trace[f"W{l}_next"] = W - rate * trace[f"dW{l}"]
        trace[f"b{l}_next"] = b - rate * trace[f"db{l}"]
    return trace


def _loss(p: StepProblem, A: Array) -> Array:
    terms = np.square(A - p.Y) / 2
    if p.loss.name == "bce":
        terms = -p.Y * np.log(A) - (1 - p.Y) * np.log1p(-A)
    return np.array([[terms.sum(dtype=p.dtype) / np.asarray(p.N, p.dtype)]])
