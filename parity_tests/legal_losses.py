"""Ways in which a correct engine may compute losses and their gradients: each was met in a framework."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from gradparity.parity_tests.legal_program import (
    ONE,
    Binary,
    Gene,
    Genes,
    Program,
    Run,
    both,
    clipped,
    divided,
    given,
    log_softmax,
    of,
    plain_softmax,
    rows,
    sigmoid,
    simplex,
    softmax_of,
    softplus,
)
from gradparity.reference.problem import Array


def _over(N: int, run: Binary) -> Run:
    return lambda m, g: divided(m, run(m, g["A2"], g["Y"]), N)


def cotangents() -> Iterator[Program]:
    """``dA2`` of one unit and two samples, or of three classes, with N = m n."""
    A, Y = "A2", "Y"
    pair = {A: Gene("real", 1, 2), Y: Gene("unit", 1, 2)}
    two = both(of(sigmoid, A), clipped)
    bce: dict[str, Binary] = {
        "two quotients": lambda m, a, y: m.fl(m.fl(m.fl(1 - y) / m.fl(1 - a)) - m.fl(y / a)),
        "one quotient": lambda m, a, y: m.fl(m.fl(a - y) / m.fl(m.fl(1 - a) * a)),
        "reciprocals": lambda m, a, y: m.fl(m.fl(m.fl(1 - y) * m.fl(1 / m.fl(1 - a))) - m.fl(y * m.fl(1 / a))),
    }
    for name, run in bce.items():
        yield Program(
            name, "dA2 bce", rows("sigmoid", "bce"), pair, _over(2, run),
            derived=two,
        )  # fmt: skip
    logits: dict[str, Binary] = {
        "σ(z)−y": lambda m, z, y: m.fl(m.f("sigmoid", sigmoid(z)) - y),
        "of max(z,0)−zy+log1p(e^−|z|)": _stable_gradient,
        "of log-sigmoid": _log_sigmoid_gradient,
    }
    for name, run in logits.items():
        yield Program(
            name, "dA2 bce_logits", rows("linear", "bce_logits"), pair,
            _over(2, run), derived=clipped,
        )  # fmt: skip
    classes = {A: Gene("real", 3, 2), Y: Gene("unit", 3, 2)}
    targets = both(clipped, simplex())
    yield Program(
        "−y/a", "dA2 cce", rows("softmax", "cce", 3), classes,
        lambda m, g: divided(m, m.fl(-g[Y] * m.fl(1 / g[A])), 6), derived=both(targets, softmax_of(A)),
    )  # fmt: skip
    soft: dict[str, Binary] = {
        "pΣy−y": lambda m, z, y: m.fl(m.fl(plain_softmax(m, z) * m.sum(y, -2)) - y),
        "exp(log p)Σy−y": lambda m, z, y: m.fl(m.fl(m.f("exp", np.exp(log_softmax(m, z))) * m.sum(y, -2)) - y),
        "p−y": lambda m, z, y: m.fl(plain_softmax(m, z) - y),
    }
    for name, run in soft.items():
        yield Program(
            name, "dA2 cce_logits", rows("linear", "cce_logits", 3), classes,
            _over(6, run), derived=targets,
        )  # fmt: skip
    real = {A: Gene("any", 1, 2), Y: Gene("any", 1, 2)}
    squared = lambda m, g: m.fl(m.fl(2 * m.fl(ONE / 2)) * m.fl(g[A] - g[Y]))  # noqa: E731
    yield Program("(2/N)(a−y)", "dA2 squared_error", rows("linear", "squared_error"), real, squared)
    half = lambda m, g: divided(m, m.fl(g[A] - g[Y]), 2)  # noqa: E731
    yield Program("(a−y)/N", "dA2 half_squared_error", rows("linear", "half_squared_error"), real, half)


def _stable_gradient(m: Any, z: Array, y: Array) -> Array:
    """Differentiate ``max(z,0) − zy + log1p(e^−|z|)`` term by term, as TensorFlow does."""
    e = m.f("exp", np.exp(-np.abs(z)))
    q = m.fl(e / m.fl(1 + e))
    return np.where(z >= 0, m.fl(m.fl(1 - q) - y), m.fl(q - y))


def _log_sigmoid_gradient(m: Any, z: Array, y: Array) -> Array:
    """Differentiate ``y softplus(−z) + (1−y) softplus(z)`` by way of ``σ(x) = exp(x − softplus(x))``, as JAX does."""
    up, down = (m.f("exp", np.exp(m.fl(x - softplus(m, x), near=x))) for x in (z, -z))
    return m.fl(m.fl(m.fl(1 - y) * up) - m.fl(y * down))


def matched() -> Iterator[Program]:
    A, Y = "A2", "Y"
    pair = {A: Gene("real", 1, 2), Y: Gene("unit", 1, 2)}
    classes = {A: Gene("real", 3, 2), Y: Gene("unit", 3, 2)}
    # Where a saturates to 0 or 1 the literal chain is 0/0; engines that give it are judged by ∂L/∂A ⊙ f′ from their dA.
    inside = of(lambda a: np.clip(a, 1e-30, 1 - 1e-7), A)
    one, many = both(of(sigmoid, A), inside, clipped), both(clipped, simplex(), softmax_of(A), inside)
    binary, classified = rows("sigmoid", "bce"), rows("softmax", "cce", 3)
    yield Program("a−y", "delta2 bce", binary, pair, lambda m, g: divided(m, m.fl(g[A] - g[Y]), 2), derived=one)

    def chain(m: Any, g: Genes) -> Array:
        a, y = g[A], g[Y]
        d = divided(m, m.fl(m.fl(m.fl(1 - y) / m.fl(1 - a)) - m.fl(y / a)), 2)
        return m.fl(m.fl(d * a) * m.fl(1 - a))

    yield Program("∂L/∂A ⊙ a(1−a)", "delta2 bce", binary, pair, chain, derived=one)
    yield Program("p−y", "delta2 cce", classified, classes, lambda m, g: divided(m, m.fl(g[A] - g[Y]), 6), derived=many)

    def jacobian(m: Any, g: Genes) -> Array:
        p = g[A]
        d = divided(m, m.fl(-g[Y] / p), 6)
        return m.fl(p * m.fl(d - m.sum(m.fl(p * d), -2)))

    yield Program("Jᵀ ∂L/∂A", "delta2 cce", classified, classes, jacobian, derived=many)


def _mean(m: Any, terms: Array, N: int) -> Array:
    flat = terms.reshape(terms.shape[0], 1, -1)
    return divided(m, m.sum(flat, -1), N)


def losses() -> Iterator[Program]:
    A, Y = "A2", "Y"
    pair, classes = {A: Gene("real", 1, 2), Y: Gene("unit", 1, 2)}, {A: Gene("real", 3, 2), Y: Gene("unit", 3, 2)}

    def program(
        name: str, loss: str, activation: str, genes: Mapping[str, Gene], term: Run, derived: Callable[[Genes], Genes]
    ) -> Program:
        n = genes[A].rows
        return Program(
            name, f"loss {loss}", rows(activation, loss, n), genes, lambda m, g: _mean(m, term(m, g), 2 * n),
            derived=derived,
        )  # fmt: skip

    def bce(m: Any, g: Genes) -> Array:
        a, y = g[A], g[Y]
        high, low = m.f("log", np.log(a)), m.f("log", np.log(m.fl(1 - a)))
        return -m.fl(m.fl(y * high) + m.fl(m.fl(1 - y) * low))

    yield program("log(1−a)", "bce", "sigmoid", pair, bce, both(of(sigmoid, A), clipped))

    def stable(m: Any, g: Genes) -> Array:
        z, y = g[A], g[Y]
        t = m.f("softplus", np.log1p(m.f("exp", np.exp(-np.abs(z)))))
        return m.fl(m.fl(np.maximum(z, 0) - m.fl(z * y)) + t)

    def torch(m: Any, g: Genes) -> Array:
        z, y = g[A], g[Y]
        t = m.f("softplus", np.log1p(m.f("exp", np.exp(-np.abs(z)))))
        return m.fl(m.fl(m.fl(1 - y) * z) - m.fl(np.minimum(z, 0) - t))

    def jax(m: Any, g: Genes) -> Array:
        z, y = g[A], g[Y]
        return m.fl(m.fl(y * softplus(m, -z)) + m.fl(m.fl(1 - y) * softplus(m, z)))

    for name, term in {"max(z,0)−zy+t": stable, "(1−y)z−(min(z,0)−t)": torch, "softplus": jax}.items():
        yield program(name, "bce_logits", "linear", pair, term, clipped)

    targets = both(clipped, simplex())

    def cce(m: Any, g: Genes) -> Array:
        return -m.sum(m.fl(g[Y] * m.f("log", np.log(g[A]))), -2)

    yield program("Σ y log a", "cce", "softmax", classes, cce, both(targets, softmax_of(A)))

    def _log_softmax_term(m: Any, g: Genes) -> Array:
        return -m.sum(m.fl(g[Y] * log_softmax(m, g[A])), -2)

    def logsumexp(m: Any, g: Genes) -> Array:
        z = g[A]
        largest = z.max(axis=-2, keepdims=True)
        S = m.sum(m.f("exp", np.exp(m.fl(z - largest))), -2)
        return m.fl(m.fl(largest + m.f("log", np.log(S))) - m.sum(m.fl(g[Y] * z), -2))

    yield program("Σ y log-softmax", "cce_logits", "linear", classes, _log_softmax_term, targets)
    hot = both(clipped, lambda genes: {**genes, Y: np.eye(3)[genes[Y].argmax(-2)].swapaxes(-1, -2)})
    yield program("logsumexp − z_y", "cce_logits", "linear", classes, logsumexp, hot)
    real = {A: Gene("any", 1, 2), Y: Gene("any", 1, 2)}

    def square(m: Any, g: Genes) -> Array:
        d = m.fl(g[A] - g[Y])
        return m.fl(d * d)

    yield program("(a−y)²", "squared_error", "linear", real, square, given)
    yield program("½(a−y)²", "half_squared_error", "linear", real, lambda m, g: square(m, g) / 2, given)
