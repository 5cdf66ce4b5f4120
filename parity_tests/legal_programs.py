"""Ways in which a correct engine may compute each row, for `adversary` to drive to their worst.

Arrays are ``(population, rows, columns)``. A program reads inputs in the machine's arithmetic, ``m.fl`` being one
rounding. Every formulation here was met in a framework or is one that a reader may write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from gradparity.reference.bounds import Ball
from gradparity.reference.evaluation import Evaluation
from gradparity.reference.formulas import Row, table
from gradparity.reference.problem import Array, Layer, Loss

Genes: TypeAlias = dict[str, Array]
Run: TypeAlias = Callable[[Any, Genes], Array]
SLOPE, ETA = 0.01, 0.1
ONE = np.ones((1, 1, 1), dtype=np.longdouble)


@dataclass(frozen=True)
class Gene:
    """The shape of an input, without the population, and where its values come from."""

    kind: str
    rows: int = 1
    columns: int = 1

    def fresh(self, rng: np.random.Generator, population: int, dtype: str) -> Array:
        """Return random values: ordinary and large ones, some very near 0 or among the subnormal numbers."""
        shape = (population, self.rows, self.columns)
        if self.kind == "unit":
            x = rng.random(shape)
            return np.where(rng.random(shape) < 0.3, np.round(x), x)
        scale = 10.0 ** rng.uniform(-3, 2, (population, 1, 1))
        x = rng.standard_normal(shape) * scale
        tiny = np.finfo(dtype).tiny
        if self.kind == "any":
            rare = rng.random((population, 1, 1)) < 0.3
            return np.where(rare, tiny * rng.uniform(-2, 2, shape), x)
        return x


@dataclass(frozen=True)
class Program:
    """One legal way to compute `row` of `rows` (its alternative `other`, if not 0) from `genes`."""

    name: str
    row: str
    rows: tuple[Row, ...]
    genes: Mapping[str, Gene]
    run: Run
    other: int = 0
    derived: Callable[[Genes], Genes] = dict
    """From genes to the row's inputs."""
    from_Z: str = ""
    """The activation that is taken from Z, and not as it is given."""

    @property
    def formula(self) -> Row:
        """Return the row that bounds it."""
        row = next(row for row in self.rows if row.name == self.row.split()[0])
        return (row, *row.alternatives)[self.other]

    def fresh(self, rng: np.random.Generator, population: int, dtype: str) -> Genes:
        """Return random genes."""
        return {name: gene.fresh(rng, population, dtype) for name, gene in self.genes.items()}

    def given(self, genes: Genes) -> Genes:
        """Return the row's inputs."""
        return self.derived(genes)

    def replaced(self, evaluation: Evaluation) -> dict[str, Ball]:
        """Return the inputs that are balls, not given values."""
        return {self.from_Z: evaluation.evaluate(evaluation.rows[self.from_Z])} if self.from_Z else {}


def rows(activation: str = "linear", loss: str = "half_squared_error", n: int = 1) -> tuple[Row, ...]:
    """Return the table of a network of two layers, of which the last has `n` units of that activation."""
    return table(n, (Layer(n, "linear"), Layer(n, activation, SLOPE)), Loss(loss, "mean", "mean"), ETA)


def _products() -> Iterator[Program]:
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


def _log_softmax(m: Any, z: Array) -> Array:
    s = m.fl(z - z.max(axis=-2, keepdims=True))
    return m.fl(s - m.f("log", np.log(m.sum(m.f("exp", np.exp(s)), -2))))


def _plain_softmax(m: Any, z: Array) -> Array:
    e = m.f("exp", np.exp(m.fl(z - z.max(axis=-2, keepdims=True))))
    return m.fl(e / m.sum(e, -2))


def _sigmoid(z: Array) -> Array:
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)


def _softplus(m: Any, z: Array) -> Array:
    t = m.f("softplus", np.log1p(m.f("exp", np.exp(-np.abs(z)))))
    return m.fl(np.maximum(z, 0) + t, near=np.maximum(z, 0))


def _activations() -> Iterator[Program]:
    z, z3 = {"Z2": Gene("any")}, {"Z2": Gene("real", 3)}
    yield Program("as is", "A2 linear", rows("linear"), z, lambda m, g: g["Z2"])
    yield Program("max", "A2 relu", rows("relu"), z, lambda m, g: np.maximum(g["Z2"], 0))
    leaky = lambda m, g: np.where(g["Z2"] > 0, g["Z2"], m.fl(m.fl(np.full((1, 1, 1), SLOPE)) * g["Z2"]))  # noqa: E731
    yield Program("slope rounded", "A2 leaky_relu", rows("leaky_relu"), z, leaky)
    yield Program("library", "A2 sigmoid", rows("sigmoid"), z, lambda m, g: m.f("sigmoid", _sigmoid(g["Z2"])))
    yield Program("library", "A2 tanh", rows("tanh"), z, lambda m, g: m.f("tanh", np.tanh(g["Z2"])))
    net = rows("softmax", n=3)
    yield Program("exp over sum", "A2 softmax", net, z3, lambda m, g: _plain_softmax(m, g["Z2"]))
    yield Program(
        "exp of log-softmax", "A2 softmax", net, z3, lambda m, g: m.f("exp", np.exp(_log_softmax(m, g["Z2"])))
    )


def _softmax_of(name: str) -> Callable[[Genes], Genes]:
    def derived(genes: Genes) -> Genes:
        e = np.exp(genes[name] - genes[name].max(axis=-2, keepdims=True))
        return {**genes, name: e / e.sum(axis=-2, keepdims=True)}

    return derived


def _of(f: Callable[[Array], Array], name: str) -> Callable[[Genes], Genes]:
    return lambda genes: {**genes, name: f(genes[name])}


def _pullbacks() -> Iterator[Program]:
    def genes(a: Gene, n: int = 1) -> dict[str, Gene]:
        return {"dA2": Gene("any", n), "Z2": Gene("real", n), "A2": a}

    def named(activation: str, run: Run, name: str, f: Callable[[Array], Array], from_Z: str = "") -> Program:
        kind = "real" if activation in {"sigmoid", "tanh"} else "any"
        inputs = {"dA2": Gene("any"), "Z2": Gene(kind), "A2": Gene("real")}
        row = f"delta2 {activation}" + (" from Z" if from_Z else "")
        return Program(name, row, rows(activation, "squared_error"), inputs, run, derived=_of(f, "A2"), from_Z=from_Z)

    G, Z, A = "dA2", "Z2", "A2"
    zero = np.zeros_like
    yield named("linear", lambda m, g: g[G], "as is", zero)
    yield named("relu", lambda m, g: np.where(g[Z] > 0, g[G], 0), "where", zero)
    slope = lambda m, g: np.where(g[Z] > 0, g[G], m.fl(m.fl(np.full((1, 1, 1), SLOPE)) * g[G]))  # noqa: E731
    yield named("leaky_relu", slope, "where", zero)
    sigmoid: dict[str, Callable[[Any, Array, Array], Array]] = {
        "g(a(1−a))": lambda m, x, a: m.fl(x * m.fl(a * m.fl(1 - a))),
        "(ga)(1−a)": lambda m, x, a: m.fl(m.fl(x * a) * m.fl(1 - a)),
        "(g(1−a))a": lambda m, x, a: m.fl(m.fl(x * m.fl(1 - a)) * a),
    }
    tanh: dict[str, Callable[[Any, Array, Array], Array]] = {
        "g(1−a²)": lambda m, x, a: m.fl(x * m.fl(1 - m.fl(a * a))),
        "g·fma(1−a²)": lambda m, x, a: m.fl(x * m.fl(1 - a * a)),
        "g(1−a)(1+a)": lambda m, x, a: m.fl(m.fl(x * m.fl(1 - a)) * m.fl(1 + a)),
        "g−ga²": lambda m, x, a: m.fl(x - m.fl(x * m.fl(a * a))),
    }
    for activation, f, runs in (("sigmoid", _sigmoid, sigmoid), ("tanh", np.tanh, tanh)):
        for name, run in runs.items():
            yield named(activation, lambda m, g, run=run: run(m, g[G], g[A]), name, f)
        run = next(iter(runs.values()))
        yield named(
            activation, lambda m, g, run=run, f=f, h=activation: run(m, g[G], m.f(h, f(g[Z]))), "from Z", f, from_Z=A
        )
    net = rows("softmax", "squared_error", 3)
    softmax: dict[str, Callable[[Any, Array, Array], Array]] = {
        "p(g−Σpg)": lambda m, x, p: m.fl(p * m.fl(x - m.sum(m.fl(p * x), -2))),
        "pg−pΣpg": lambda m, x, p: m.fl(m.fl(p * x) - m.fl(p * m.sum(m.fl(p * x), -2))),
    }
    for name, run in softmax.items():
        yield Program(
            name, "delta2 softmax", net, genes(Gene("real", 3), 3),
            lambda m, g, run=run: run(m, g[G], g[A]), derived=_softmax_of(A),
        )  # fmt: skip


def _simplex(name: str = "Y") -> Callable[[Genes], Genes]:
    def derived(genes: Genes) -> Genes:
        y = genes[name] + 1e-9
        return {**genes, name: y / y.sum(axis=-2, keepdims=True)}

    return derived


def _both(*parts: Callable[[Genes], Genes]) -> Callable[[Genes], Genes]:
    def derived(genes: Genes) -> Genes:
        for part in parts:
            genes = part(genes)
        return genes

    return derived


def _clipped(genes: Genes) -> Genes:
    return {**genes, "Y": np.clip(genes["Y"], 0.0, 1.0)}


def _divided(m: Any, D: Array, N: int) -> Array:
    return m.fl(D * m.fl(ONE / N))


def _cotangents() -> Iterator[Program]:
    """``dA2`` of one unit and two samples, or of three classes, with N = m n."""
    A, Y = "A2", "Y"
    pair = {A: Gene("real", 1, 2), Y: Gene("unit", 1, 2)}
    two = _both(_of(_sigmoid, A), _clipped)
    bce: dict[str, Callable[[Any, Array, Array], Array]] = {
        "two quotients": lambda m, a, y: m.fl(m.fl(m.fl(1 - y) / m.fl(1 - a)) - m.fl(y / a)),
        "one quotient": lambda m, a, y: m.fl(m.fl(a - y) / m.fl(m.fl(1 - a) * a)),
        "reciprocals": lambda m, a, y: m.fl(m.fl(m.fl(1 - y) * m.fl(1 / m.fl(1 - a))) - m.fl(y * m.fl(1 / a))),
    }
    for name, run in bce.items():
        yield Program(
            name, "dA2 bce", rows("sigmoid", "bce"), pair, lambda m, g, run=run: _divided(m, run(m, g[A], g[Y]), 2),
            derived=two,
        )  # fmt: skip
    logits: dict[str, Callable[[Any, Array, Array], Array]] = {
        "σ(z)−y": lambda m, z, y: m.fl(m.f("sigmoid", _sigmoid(z)) - y),
        "of max(z,0)−zy+log1p(e^−|z|)": _stable_gradient,
        "of log-sigmoid": _log_sigmoid_gradient,
    }
    for name, run in logits.items():
        yield Program(
            name, "dA2 bce_logits", rows("linear", "bce_logits"), pair,
            lambda m, g, run=run: _divided(m, run(m, g[A], g[Y]), 2), derived=_clipped,
        )  # fmt: skip
    classes = {A: Gene("real", 3, 2), Y: Gene("unit", 3, 2)}
    both = _both(_clipped, _simplex())
    yield Program(
        "−y/a", "dA2 cce", rows("softmax", "cce", 3), classes,
        lambda m, g: _divided(m, m.fl(-g[Y] * m.fl(1 / g[A])), 6), derived=_both(both, _softmax_of(A)),
    )  # fmt: skip
    soft: dict[str, Callable[[Any, Array, Array], Array]] = {
        "pΣy−y": lambda m, z, y: m.fl(m.fl(_plain_softmax(m, z) * m.sum(y, -2)) - y),
        "exp(log p)Σy−y": lambda m, z, y: m.fl(m.fl(m.f("exp", np.exp(_log_softmax(m, z))) * m.sum(y, -2)) - y),
        "p−y": lambda m, z, y: m.fl(_plain_softmax(m, z) - y),
    }
    for name, run in soft.items():
        yield Program(
            name, "dA2 cce_logits", rows("linear", "cce_logits", 3), classes,
            lambda m, g, run=run: _divided(m, run(m, g[A], g[Y]), 6), derived=both,
        )  # fmt: skip
    real = {A: Gene("any", 1, 2), Y: Gene("any", 1, 2)}
    squared = lambda m, g: m.fl(m.fl(2 * m.fl(ONE / 2)) * m.fl(g[A] - g[Y]))  # noqa: E731
    yield Program("(2/N)(a−y)", "dA2 squared_error", rows("linear", "squared_error"), real, squared)
    half = lambda m, g: _divided(m, m.fl(g[A] - g[Y]), 2)  # noqa: E731
    yield Program("(a−y)/N", "dA2 half_squared_error", rows("linear", "half_squared_error"), real, half)


def _stable_gradient(m: Any, z: Array, y: Array) -> Array:
    """Differentiate ``max(z,0) − zy + log1p(e^−|z|)`` term by term, as TensorFlow does."""
    e = m.f("exp", np.exp(-np.abs(z)))
    q = m.fl(e / m.fl(1 + e))
    return np.where(z >= 0, m.fl(m.fl(1 - q) - y), m.fl(q - y))


def _log_sigmoid_gradient(m: Any, z: Array, y: Array) -> Array:
    """Differentiate ``y softplus(−z) + (1−y) softplus(z)`` by way of ``σ(x) = exp(x − softplus(x))``, as JAX does."""
    up, down = (m.f("exp", np.exp(m.fl(x - _softplus(m, x), near=x))) for x in (z, -z))
    return m.fl(m.fl(m.fl(1 - y) * up) - m.fl(y * down))


def _matched() -> Iterator[Program]:
    A, Y = "A2", "Y"
    pair = {A: Gene("real", 1, 2), Y: Gene("unit", 1, 2)}
    classes = {A: Gene("real", 3, 2), Y: Gene("unit", 3, 2)}
    # Where a saturates to 0 or 1 the literal chain is 0/0; engines that give it are judged by ∂L/∂A ⊙ f′ from their dA.
    inside = _of(lambda a: np.clip(a, 1e-30, 1 - 1e-7), A)
    one, many = _both(_of(_sigmoid, A), inside, _clipped), _both(_clipped, _simplex(), _softmax_of(A), inside)
    sigmoid, softmax = rows("sigmoid", "bce"), rows("softmax", "cce", 3)
    yield Program("a−y", "delta2 bce", sigmoid, pair, lambda m, g: _divided(m, m.fl(g[A] - g[Y]), 2), derived=one)

    def chain(m: Any, g: Genes) -> Array:
        a, y = g[A], g[Y]
        d = _divided(m, m.fl(m.fl(m.fl(1 - y) / m.fl(1 - a)) - m.fl(y / a)), 2)
        return m.fl(m.fl(d * a) * m.fl(1 - a))

    yield Program("∂L/∂A ⊙ a(1−a)", "delta2 bce", sigmoid, pair, chain, derived=one)
    yield Program("p−y", "delta2 cce", softmax, classes, lambda m, g: _divided(m, m.fl(g[A] - g[Y]), 6), derived=many)

    def jacobian(m: Any, g: Genes) -> Array:
        p = g[A]
        d = _divided(m, m.fl(-g[Y] / p), 6)
        return m.fl(p * m.fl(d - m.sum(m.fl(p * d), -2)))

    yield Program("Jᵀ ∂L/∂A", "delta2 cce", softmax, classes, jacobian, derived=many)


def _mean(m: Any, terms: Array, N: int) -> Array:
    flat = terms.reshape(terms.shape[0], 1, -1)
    return _divided(m, m.sum(flat, -1), N)


def _losses() -> Iterator[Program]:
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

    yield program("log(1−a)", "bce", "sigmoid", pair, bce, _both(_of(_sigmoid, A), _clipped))

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
        return m.fl(m.fl(y * _softplus(m, -z)) + m.fl(m.fl(1 - y) * _softplus(m, z)))

    for name, term in {"max(z,0)−zy+t": stable, "(1−y)z−(min(z,0)−t)": torch, "softplus": jax}.items():
        yield program(name, "bce_logits", "linear", pair, term, _clipped)

    simplex = _both(_clipped, _simplex())

    def cce(m: Any, g: Genes) -> Array:
        return -m.sum(m.fl(g[Y] * m.f("log", np.log(g[A]))), -2)

    yield program("Σ y log a", "cce", "softmax", classes, cce, _both(simplex, _softmax_of(A)))

    def log_softmax(m: Any, g: Genes) -> Array:
        return -m.sum(m.fl(g[Y] * _log_softmax(m, g[A])), -2)

    def logsumexp(m: Any, g: Genes) -> Array:
        z = g[A]
        largest = z.max(axis=-2, keepdims=True)
        S = m.sum(m.f("exp", np.exp(m.fl(z - largest))), -2)
        return m.fl(m.fl(largest + m.f("log", np.log(S))) - m.sum(m.fl(g[Y] * z), -2))

    yield program("Σ y log-softmax", "cce_logits", "linear", classes, log_softmax, simplex)
    hot = _both(_clipped, lambda genes: {**genes, Y: np.eye(3)[genes[Y].argmax(-2)].swapaxes(-1, -2)})
    yield program("logsumexp − z_y", "cce_logits", "linear", classes, logsumexp, hot)
    real = {A: Gene("any", 1, 2), Y: Gene("any", 1, 2)}

    def square(m: Any, g: Genes) -> Array:
        d = m.fl(g[A] - g[Y])
        return m.fl(d * d)

    yield program("(a−y)²", "squared_error", "linear", real, square, dict)
    yield program("½(a−y)²", "half_squared_error", "linear", real, lambda m, g: square(m, g) / 2, dict)


def _updates() -> Iterator[Program]:
    genes, net = {"W1": Gene("any"), "dW1": Gene("any")}, rows()
    eta = lambda m: m.fl(np.full((1, 1, 1), ETA))  # noqa: E731
    yield Program("two roundings", "W1_next", net, genes, lambda m, g: m.fl(g["W1"] - m.fl(eta(m) * g["dW1"])))
    yield Program("fused", "W1_next", net, genes, lambda m, g: m.fl(g["W1"] - eta(m) * g["dW1"]))


PROGRAMS: tuple[Program, ...] = (
    *_products(), *_activations(), *_pullbacks(), *_cotangents(), *_matched(), *_losses(), *_updates(),
)  # fmt: skip
