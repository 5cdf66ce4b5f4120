"""The table against differentiation by other means: SymPy on textbook networks, complex steps on deep ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from gradparity.reference.bounds import Ball
from gradparity.reference.evaluation import problem_rows, reference
from gradparity.reference.problem import Array, Layer, Loss, Problem

SHARE = 1e-3
"""How much of its bound a value may be off."""
DIGITS = 40
STEP = 1e-40


def network(layers: tuple[Layer, ...], loss: Loss, inputs: int, samples: int, dtype: str) -> Problem:
    """Return a problem whose numbers are eighths and sixteenths: exact in binary and short in SymPy."""
    rng = np.random.default_rng(len(layers) + 10 * samples)
    sizes = (inputs, *(layer.units for layer in layers))

    def some(rows: int, columns: int) -> Array:
        return (rng.integers(1, 16, (rows, columns)) * rng.choice([-1, 1], (rows, columns)) / 8).astype(dtype)

    W = tuple(some(n, k) for k, n in pairwise(sizes))
    b = tuple(some(n, 1) for n in sizes[1:])
    Y = np.eye(sizes[-1])[np.arange(samples) % sizes[-1]].T if sizes[-1] > 1 else np.arange(samples)[None] % 2 * 1.0
    return Problem("net", dtype, layers, loss, 0.1, some(inputs, samples), Y.astype(dtype), W, b, ((0, samples),))


TEXTBOOK = {
    "sigmoid-bce": ((Layer(1, "sigmoid"),), Loss("bce")),
    "bce-logits": ((Layer(2, "tanh"), Layer(1, "linear")), Loss("bce_logits", "sum")),
    "relu-sigmoid-bce": ((Layer(2, "relu"), Layer(1, "sigmoid")), Loss("bce", "sum")),
    "softmax-ce": ((Layer(3, "softmax"),), Loss("cce")),
    "tanh-softmax-ce": ((Layer(2, "tanh"), Layer(2, "softmax")), Loss("cce", "mean", "mean")),
    "softmax-bce": ((Layer(2, "softmax"),), Loss("bce")),
    "ce-logits": ((Layer(2, "leaky_relu", 0.125), Layer(2, "linear")), Loss("cce_logits")),
    "linear-half-mse": ((Layer(1, "linear"),), Loss("half_squared_error")),
    "sigmoid-linear-half-mse": ((Layer(2, "sigmoid"), Layer(1, "linear")), Loss("half_squared_error")),
    "leaky-linear-mse": ((Layer(2, "leaky_relu", 0.125), Layer(2, "linear")), Loss("squared_error", "mean", "mean")),
    "sigmoid-sigmoid-half-mse": ((Layer(2, "sigmoid"), Layer(2, "sigmoid")), Loss("half_squared_error", "sum")),
    "softmax-mse": ((Layer(2, "softmax"),), Loss("squared_error", "sum", "mean")),
}


def leaky(sympy: Any, slope: Any, x: Any) -> Any:
    """Return the leaky ReLU of x."""
    return sympy.Piecewise((x, x > 0), (slope * x, True))


def symbolic_loss(sympy: Any, case: Problem, params: dict[str, Any]) -> Any:
    """Return the loss as an expression in the symbols `params`, from its definition."""
    X, Y = (sympy.Matrix(a.shape[0], a.shape[1], [sympy.Rational(float(v)) for v in a.flat]) for a in case.batch(0))
    exp, log = sympy.exp, sympy.log
    total = sympy.Integer(0)
    for j in range(X.shape[1]):
        a = X[:, j]
        for l, layer in enumerate(case.layers, start=1):
            z = params[f"W{l}"] * a + params[f"b{l}"]
            functions: dict[str, Callable[[Any], Any]] = {
                "linear": lambda x: x,
                "sigmoid": lambda x: 1 / (1 + exp(-x)),
                "tanh": sympy.tanh,
                "relu": lambda x: sympy.Piecewise((x, x > 0), (0, True)),
                "leaky_relu": partial(leaky, sympy, sympy.Rational(layer.slope)),
            }
            if layer.activation == "softmax":
                a = z.applyfunc(exp) / sum(z.applyfunc(exp))
            else:
                a = z.applyfunc(functions[layer.activation])
        if case.loss.name == "bce_logits":
            a = a.applyfunc(lambda x: 1 / (1 + exp(-x)))
        if case.loss.name == "cce_logits":
            a = a.applyfunc(exp) / sum(a.applyfunc(exp))
        for value, y in zip(a, Y[:, j], strict=True):
            total += {
                "bce": lambda v, y: -y * log(v) - (1 - y) * log(1 - v),
                "cce": lambda v, y: -y * log(v),
                "squared_error": lambda v, y: (v - y) ** 2,
                "half_squared_error": lambda v, y: (v - y) ** 2 / 2,
            }[case.loss.name.removesuffix("_logits")](value, y)
    return total / case.loss.divisor(*case.Y.shape)


def symbols(sympy: Any, case: Problem) -> tuple[dict[str, Any], dict[Any, Any]]:
    """Return a matrix of symbols for every parameter, and the number that each stands for."""
    params, numbers = {}, {}
    for l, (W, b) in enumerate(zip(case.W, case.b, strict=True), start=1):
        for name, values in ((f"W{l}", W), (f"b{l}", b)):
            params[name] = sympy.Matrix(*values.shape, lambda i, j, n=name: sympy.Symbol(f"{n}_{i}_{j}", real=True))
            for symbol, value in zip(params[name], values.flat, strict=True):
                numbers[symbol] = sympy.Rational(float(value))
    return params, numbers


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("name", TEXTBOOK)
def test_sympy(name: str, samples: int) -> None:
    """SymPy differentiates the loss of a textbook network and finds the gradient of the table."""
    sympy = pytest.importorskip("sympy", reason="SymPy differentiates the textbook networks: 'gradparity[test]'")
    layers, loss = TEXTBOOK[name]
    case = network(layers, loss, 2, samples, "float64")
    params, numbers = symbols(sympy, case)
    expression, evaluation = symbolic_loss(sympy, case, params), reference(case)
    compare(sympy, expression.subs(numbers), evaluation.ball("loss"), (0, 0), "loss")
    for parameter, matrix in params.items():
        for i in np.ndindex(*matrix.shape):
            derivative = sympy.diff(expression, matrix[i]).subs(numbers)
            compare(sympy, derivative, evaluation.ball(f"d{parameter}"), i, f"d{parameter}{list(i)}")


def compare(sympy: Any, expression: Any, ball: Ball, index: tuple[int, ...], what: str) -> None:
    """Assert that the reference's value is the expression's, to a share of its bound."""
    mid, rad = ball.mid[0][index], float(np.broadcast_to(ball.rad, ball.mid.shape)[0][index])
    high = float(mid)
    error = abs(expression.evalf(DIGITS) - sympy.Rational(high) - sympy.Rational(float(mid - high)))
    assert rad < np.inf
    assert error <= SHARE * rad, f"{what}: {mid}, and SymPy finds {expression.evalf(20)}; bound {rad}"


def complex_loss(case: Problem, params: dict[str, Array]) -> complex:
    """Return the loss in complex arithmetic: analytic wherever no pre-activation is 0."""
    A: Array = case.X.astype(np.complex128)
    Y = case.Y.astype(np.float64)
    for l, layer in enumerate(case.layers, start=1):
        Z = params[f"W{l}"] @ A + params[f"b{l}"]
        functions: dict[str, Callable[[Array, float], Array]] = {
            "linear": lambda z, _: z,
            "relu": lambda z, _: np.where(z.real > 0, z, 0),
            "leaky_relu": lambda z, slope: np.where(z.real > 0, z, slope * z),
            "sigmoid": lambda z, _: 1 / (1 + np.exp(-z)),
            "tanh": lambda z, _: np.tanh(z),
            "softmax": lambda z, _: np.exp(z) / np.exp(z).sum(axis=0),
        }
        A = functions[layer.activation](Z, layer.slope)
    if case.loss.name == "cce":
        terms = -Y * np.log(A)
    elif case.loss.name == "bce":
        terms = -Y * np.log(A) - (1 - Y) * np.log(1 - A)
    else:
        terms = (A - Y) ** 2 / 2
    return complex(terms.sum()) / case.loss.divisor(*Y.shape)


DEEP = {
    "tanh": (("tanh",) * 5, "linear", Loss("half_squared_error")),
    "sigmoid": (("sigmoid",) * 4, "sigmoid", Loss("bce", "sum")),
    "relu": (("relu",) * 6, "softmax", Loss("cce")),
    "leaky_relu": (("leaky_relu",) * 7, "linear", Loss("half_squared_error", "sum", "mean")),
    "mixed": (("tanh", "softmax", "leaky_relu", "sigmoid"), "softmax", Loss("cce", "mean", "mean")),
}


@pytest.mark.parametrize("name", DEEP)
def test_complex_step(name: str) -> None:
    """``Im loss(θ + ih)/h`` in double precision is the float32 reference's gradient, to a share of its bound."""
    hidden, output, loss = DEEP[name]
    layers = (*(Layer(4, f) for f in hidden), Layer(3, output))
    case = network(layers, loss, 3, 5, "float32")
    evaluation = reference(case)
    names = [row.name for row in problem_rows(case)]
    exactly = {f"{x}{l}": v.astype(np.complex128) for x in "Wb" for l, v in enumerate(getattr(case, x), start=1)}
    for parameter, value in exactly.items():
        assert f"d{parameter}" in names
        ball = evaluation.ball(f"d{parameter}")
        rad = np.broadcast_to(ball.rad, ball.mid.shape)
        assert (rad < np.inf).all()
        for i in np.ndindex(*value.shape):
            moved = value.copy()
            moved[i] += 1j * STEP
            derivative = complex_loss(case, {**exactly, parameter: moved}).imag / STEP
            assert abs(derivative - ball.mid[0][i]) <= SHARE * rad[0][i], f"d{parameter}{list(i)}"
