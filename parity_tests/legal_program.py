"""What the programs are made of that `adversary` drives to their worst: inputs, and one way to compute a row.

Arrays are ``(population, rows, columns)``. A program reads inputs in the machine's arithmetic, ``m.fl`` being one
rounding, ``m.f`` one transcendental.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from gradparity.reference.bounds import Ball
from gradparity.reference.evaluation import Evaluation
from gradparity.reference.formulas import Row, table
from gradparity.reference.problem import Array, Layer, Loss

Genes: TypeAlias = dict[str, Array]
Run: TypeAlias = Callable[[Any, Genes], Array]
Binary: TypeAlias = Callable[[Any, Array, Array], Array]
SLOPE, ETA = 0.01, 0.1
ONE = np.ones((1, 1, 1), dtype=np.longdouble)


@dataclass(frozen=True)
class Gene:
    """The shape of an input, without the population, and where its values come from.

    ``unit``: between 0 and 1, and 0 and 1 themselves. ``real``: from a thousandth to hundreds. ``any``: likewise, or
    among the subnormal numbers where those are asked for. ``far``: where a sigmoid is among them.
    """

    kind: str
    rows: int = 1
    columns: int = 1

    def fresh(self, rng: np.random.Generator, population: int, dtype: str, subnormal: bool) -> Array:
        """Return random values."""
        shape, info = (population, self.rows, self.columns), np.finfo(dtype)
        if self.kind == "unit":
            x = rng.random(shape)
            return np.where(rng.random(shape) < 0.3, np.round(x), x)
        if self.kind == "far":
            return np.log(float(info.tiny)) * rng.uniform(0.98, 1.02, shape)
        x = rng.standard_normal(shape) * 10.0 ** rng.uniform(-3, 2, (population, 1, 1))
        rare = (rng.random((population, 1, 1)) < 0.5) & subnormal & (self.kind == "any")
        return np.where(rare, info.tiny * rng.uniform(-2, 2, shape), x)


def given(genes: Genes) -> Genes:
    """Return genes that are inputs as they are."""
    return genes


@dataclass(frozen=True)
class Program:
    """One legal way to compute `row` of `rows` (its alternative `other`, if not 0) from `genes`."""

    name: str
    row: str
    rows: tuple[Row, ...]
    genes: Mapping[str, Gene]
    run: Run
    other: int = 0
    derived: Callable[[Genes], Genes] = given
    """From genes to the row's inputs."""
    from_Z: str = ""
    """The activation that is taken from Z, and not as it is given."""

    @property
    def formula(self) -> Row:
        """Return the row that bounds it."""
        row = next(row for row in self.rows if row.name == self.row.split()[0])
        return (row, *row.alternatives)[self.other]

    def fresh(self, rng: np.random.Generator, population: int, dtype: str, subnormal: bool) -> Genes:
        """Return random genes."""
        return {name: gene.fresh(rng, population, dtype, subnormal) for name, gene in self.genes.items()}

    def given(self, genes: Genes) -> Genes:
        """Return the row's inputs."""
        return self.derived(genes)

    def replaced(self, evaluation: Evaluation) -> dict[str, Ball]:
        """Return the inputs that are balls, not given values."""
        return {self.from_Z: evaluation.evaluate(evaluation.rows[self.from_Z])} if self.from_Z else {}


def rows(activation: str = "linear", loss: str = "half_squared_error", n: int = 1) -> tuple[Row, ...]:
    """Return the table of a network of two layers, of which the last has `n` units of that activation."""
    return table(n, (Layer(n, "linear"), Layer(n, activation, SLOPE)), Loss(loss, "mean", "mean"), ETA)


def log_softmax(m: Any, z: Array) -> Array:
    s = m.fl(z - z.max(axis=-2, keepdims=True))
    return m.fl(s - m.f("log", np.log(m.sum(m.f("exp", np.exp(s)), -2))))


def plain_softmax(m: Any, z: Array) -> Array:
    e = m.f("exp", np.exp(m.fl(z - z.max(axis=-2, keepdims=True))))
    return m.fl(e / m.sum(e, -2))


def sigmoid(z: Array) -> Array:
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)


def softplus(m: Any, z: Array) -> Array:
    t = m.f("softplus", np.log1p(m.f("exp", np.exp(-np.abs(z)))))
    return m.fl(np.maximum(z, 0) + t, near=np.maximum(z, 0))


def softmax_of(name: str) -> Callable[[Genes], Genes]:
    def derived(genes: Genes) -> Genes:
        e = np.exp(genes[name] - genes[name].max(axis=-2, keepdims=True))
        return {**genes, name: e / e.sum(axis=-2, keepdims=True)}

    return derived


def of(f: Callable[[Array], Array], name: str) -> Callable[[Genes], Genes]:
    return lambda genes: {**genes, name: f(genes[name])}


def simplex(name: str = "Y") -> Callable[[Genes], Genes]:
    def derived(genes: Genes) -> Genes:
        y = genes[name] + 1e-9
        return {**genes, name: y / y.sum(axis=-2, keepdims=True)}

    return derived


def both(*parts: Callable[[Genes], Genes]) -> Callable[[Genes], Genes]:
    def derived(genes: Genes) -> Genes:
        for part in parts:
            genes = part(genes)
        return genes

    return derived


def clipped(genes: Genes) -> Genes:
    return {**genes, "Y": np.clip(genes["Y"], 0.0, 1.0)}


def divided(m: Any, D: Array, N: int) -> Array:
    return m.fl(D * m.fl(ONE / N))
