"""Ways in which a correct engine may compute products, activations, their derivatives and the update."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradparity.parity_tests.legal_program import (
    ETA,
    ONE,
    SLOPE,
    Binary,
    Gene,
    Genes,
    Program,
    Run,
    log_softmax,
    of,
    plain_softmax,
    rows,
    sigmoid,
    softmax_of,
)
from gradparity.reference.problem import Array


def products() -> Iterator[Program]:
    for n in (1, 6):
        net = rows(n=n)
        genes = {"W1": Gene("any", 1, n), "X": Gene("any", n), "b1": Gene("any")}
        yield Program(f"bias last, n={n}", "Z1", net, genes, lambda m, g: m.fl(m.product(g["W1"], g["X"]) + g["b1"]))
        yield Program(f"bias first, n={n}", "Z1", net, genes, lambda m, g: m.product(g["W1"], g["X"], g["b1"]))
        yield Program(f"fused, n={n}", "Z1", net, genes, lambda m, g: m.product(g["W1"], g["X"], g["b1"], fused=True))
        genes = {"W2": Gene("any", n, 1), "delta2": Gene("any", n)}
        back = lambda m, g: m.product(np.swapaxes(g["W2"], -1, -2), g["delta2"])  # noqa: E731
        yield Program(f"n={n}", "dA1", net, genes, back)
        genes = {"delta1": Gene("any", 1, n), "X": Gene("any", 1, n)}
        yield Program(f"m={n}", "dW1", net, genes, lambda m, g: m.product(g["delta1"], np.swapaxes(g["X"], -1, -2)))
        yield Program(f"mean of samples, m={n}", "dW1", net, genes, _mean_of_samples)
        yield Program(f"m={n}", "db1", net, {"delta1": Gene("any", 1, n)}, lambda m, g: m.sum(g["delta1"], -1))


def _mean_of_samples(m: Any, g: Genes) -> Array:
    """Return the gradient as the mean over samples of each sample's own, scaled there and back."""
    n = g["delta1"].shape[-1]
    return m.fl(m.product(m.fl(g["delta1"] * n), np.swapaxes(g["X"], -1, -2)) * m.fl(ONE / n))


def activations() -> Iterator[Program]:
    z, z3 = {"Z2": Gene("any")}, {"Z2": Gene("real", 3)}
    yield Program("as is", "A2 linear", rows("linear"), z, lambda m, g: g["Z2"])
    yield Program("max", "A2 relu", rows("relu"), z, lambda m, g: np.maximum(g["Z2"], 0))
    leaky = lambda m, g: np.where(g["Z2"] > 0, g["Z2"], m.fl(m.fl(np.full((1, 1, 1), SLOPE)) * g["Z2"]))  # noqa: E731
    yield Program("slope rounded", "A2 leaky_relu", rows("leaky_relu"), z, leaky)
    yield Program("library", "A2 sigmoid", rows("sigmoid"), z, lambda m, g: m.f("sigmoid", sigmoid(g["Z2"])))
    yield Program("library", "A2 tanh", rows("tanh"), z, lambda m, g: m.f("tanh", np.tanh(g["Z2"])))
    net = rows("softmax", n=3)
    yield Program("exp over sum", "A2 softmax", net, z3, lambda m, g: plain_softmax(m, g["Z2"]))
    yield Program("exp of log-softmax", "A2 softmax", net, z3, lambda m, g: m.f("exp", np.exp(log_softmax(m, g["Z2"]))))


def _on(run: Binary, *names: str) -> Run:
    return lambda m, g: run(m, *(g[name] for name in names))


def _from_Z(run: Binary, function: str, f: Callable[[Array], Array]) -> Run:
    return lambda m, g: run(m, g["dA2"], m.f(function, f(g["Z2"])))


def _softmax_from_Z(run: Binary) -> Run:
    return lambda m, g: run(m, g["dA2"], plain_softmax(m, g["Z2"]))


def pullbacks() -> Iterator[Program]:
    def genes(a: Gene, n: int = 1) -> dict[str, Gene]:
        return {"dA2": Gene("any", n), "Z2": Gene("real", n), "A2": a}

    def named(activation: str, run: Run, name: str, f: Callable[[Array], Array], from_Z: str = "") -> Program:
        kind = "real" if activation in {"sigmoid", "tanh"} else "any"
        inputs = {"dA2": Gene("any"), "Z2": Gene(kind), "A2": Gene("real")}
        row = f"delta2 {activation}" + (" from Z" if from_Z else "")
        return Program(name, row, rows(activation, "squared_error"), inputs, run, derived=of(f, "A2"), from_Z=from_Z)

    G, Z, A = "dA2", "Z2", "A2"
    zero = np.zeros_like
    yield named("linear", lambda m, g: g[G], "as is", zero)
    yield named("relu", lambda m, g: np.where(g[Z] > 0, g[G], 0), "where", zero)
    slope = lambda m, g: np.where(g[Z] > 0, g[G], m.fl(m.fl(np.full((1, 1, 1), SLOPE)) * g[G]))  # noqa: E731
    yield named("leaky_relu", slope, "where", zero)
    sigmoids: dict[str, Binary] = {
        "g(a(1−a))": lambda m, x, a: m.fl(x * m.fl(a * m.fl(1 - a))),
        "(ga)(1−a)": lambda m, x, a: m.fl(m.fl(x * a) * m.fl(1 - a)),
        "(g(1−a))a": lambda m, x, a: m.fl(m.fl(x * m.fl(1 - a)) * a),
    }
    tanhs: dict[str, Binary] = {
        "g(1−a²)": lambda m, x, a: m.fl(x * m.fl(1 - m.fl(a * a))),
        "g·fma(1−a²)": lambda m, x, a: m.fl(x * m.fl(1 - a * a)),
        "g(1−a)(1+a)": lambda m, x, a: m.fl(m.fl(x * m.fl(1 - a)) * m.fl(1 + a)),
        "g−ga²": lambda m, x, a: m.fl(x - m.fl(x * m.fl(a * a))),
    }
    for activation, f, runs in (("sigmoid", sigmoid, sigmoids), ("tanh", np.tanh, tanhs)):
        for name, run in runs.items():
            yield named(activation, _on(run, G, A), name, f)
        run = next(iter(runs.values()))
        yield named(activation, _from_Z(run, activation, f), "from Z", f, from_Z=A)
    far = {"dA2": Gene("any"), "Z2": Gene("real"), "A2": Gene("far")}
    for name, run in sigmoids.items():
        yield Program(
            f"{name}, saturated", "delta2 sigmoid", rows("sigmoid", "squared_error"), far,
            _on(run, G, A), derived=of(sigmoid, A),
        )  # fmt: skip
    net = rows("softmax", "squared_error", 3)
    softmax: dict[str, Binary] = {
        "p(g−Σpg)": lambda m, x, p: m.fl(p * m.fl(x - m.sum(m.fl(p * x), -2))),
        "pg−pΣpg": lambda m, x, p: m.fl(m.fl(p * x) - m.fl(p * m.sum(m.fl(p * x), -2))),
    }
    for name, run in softmax.items():
        yield Program(
            name, "delta2 softmax", net, genes(Gene("real", 3), 3),
            _on(run, G, A), derived=softmax_of(A),
        )  # fmt: skip
        yield Program(
            f"{name}, from Z", "delta2 softmax from Z", net, genes(Gene("real", 3), 3),
            _softmax_from_Z(run), derived=softmax_of(A), from_Z=A,
        )  # fmt: skip


def _eta(m: Any) -> Array:
    rounded: Array = m.fl(np.full((1, 1, 1), ETA))
    return rounded


def updates() -> Iterator[Program]:
    genes, net = {"W1": Gene("any"), "dW1": Gene("any")}, rows()
    yield Program("two roundings", "W1_next", net, genes, lambda m, g: m.fl(g["W1"] - m.fl(_eta(m) * g["dW1"])))
    yield Program("fused", "W1_next", net, genes, lambda m, g: m.fl(g["W1"] - _eta(m) * g["dW1"]))
