"""Programs that a correct engine may run for each row, in an arithmetic that errs as far as the hypotheses allow.

`Machine` rounds every operation up or down by a whole unit roundoff, lets every transcendental err by its whole
allowance in ULP, and reads or writes subnormal numbers as 0, each as a list of signs says. `climb` searches inputs and
signs together for the largest error/bound. The model contains IEEE arithmetic, so that no engine that keeps to the
hypotheses of docs/mathematics.md can do worse than what a perfect search would find.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from gradparity.parity_tests import legal_losses, legal_rows
from gradparity.parity_tests.legal_program import Genes, Program
from gradparity.reference.bounds import ULP_ALLOWANCE, rounding
from gradparity.reference.compare import against
from gradparity.reference.evaluation import Evaluation, problem_rows
from gradparity.reference.problem import Array, Problem

POPULATION, KEPT = 192, 24
WIDE = np.longdouble
PROGRAMS: tuple[Program, ...] = (
    *legal_rows.products(), *legal_rows.activations(), *legal_rows.pullbacks(), *legal_rows.updates(),
    *legal_losses.cotangents(), *legal_losses.matched(), *legal_losses.losses(),
)  # fmt: skip


class Machine:
    """Arithmetic on arrays ``(population, rows, columns)``, with one sign for every rounding."""

    def __init__(self, dtype: str, signs: dict[int, Array], rng: np.random.Generator) -> None:
        info = np.finfo(dtype)
        self.dtype, self.u, self.tiny = dtype, WIDE(info.eps) / 2, WIDE(info.tiny)
        self.signs, self.rng, self.count = signs, rng, 0

    def _sign(self, shape: tuple[int, ...]) -> Array:
        self.count += 1
        shape = (POPULATION, *shape[1:])
        if self.count not in self.signs:
            self.signs[self.count] = self.rng.choice(np.array([-1, 1], dtype=np.int8), size=shape)
        return self.signs[self.count]

    def _flushed(self, x: Array, sign: Array) -> Array:
        return np.where((np.abs(x) < self.tiny) & (sign > 0), 0, x)

    def read(self, x: Array) -> Array:
        """Return an input, subnormal ones perhaps as 0."""
        x = x.astype(WIDE)
        return self._flushed(x, self._sign(x.shape))

    def fl(self, x: Array, near: Array | None = None) -> Array:
        """Round the result of one operation; no farther than to `near`, a number of the working precision."""
        sign, error = self._sign(x.shape), np.where(np.isfinite(x), self.u * np.abs(x), 0)
        if near is not None:
            error = np.minimum(error, np.abs(x - near))
        return self._flushed(x + sign * error, sign)

    def f(self, function: str, x: Array) -> Array:
        """Round the value of a transcendental."""
        sign = self._sign(x.shape)
        ulp = np.where((x == 0) | ~np.isfinite(x), 0, np.ldexp(2 * self.u, np.frexp(x)[1] - 1))
        return self._flushed(x + sign * ULP_ALLOWANCE[function][self.dtype] * ulp, sign)

    def sum(self, x: Array, axis: int) -> Array:
        """Add terms one by one."""
        first, *others = np.split(x, x.shape[axis], axis)
        for term in others:
            first = self.fl(first + term)
        return first

    def product(self, P: Array, Q: Array, start: Array | None = None, fused: bool = False) -> Array:
        """Return ``P Q``, added up one by one to `start`."""
        total = start
        for k in range(P.shape[-1]):
            exact = P[..., :, k : k + 1] * Q[..., k : k + 1, :]
            term = exact if fused else self.fl(exact)
            total = term if total is None else self.fl(total + term)
        assert total is not None
        return total


@dataclass(frozen=True)
class Outcome:
    """How near to its bound a program was driven."""

    program: str
    row: str
    dtype: str
    subnormal: bool
    ratio: float


def climb(program: Program, dtype: str, subnormal: bool, generations: int, seed: int) -> Outcome:
    """Drive `program` to the largest error/bound that the search finds, with inputs among the subnormals or without."""
    rng = np.random.default_rng(seed)
    genes = program.fresh(rng, POPULATION, dtype, subnormal)
    signs: dict[int, Array] = {}
    best = 0.0
    for _ in range(generations):
        ratio = _ratio(program, dtype, genes, signs, rng)
        best = max(best, float(ratio.max()))
        if not best <= 1.0:
            break
        kept = np.argsort(ratio)[-KEPT:]
        fresh = program.fresh(rng, POPULATION, dtype, subnormal)
        genes, signs = _bred(genes, signs, fresh, kept, rng)
    return Outcome(program.name, program.row, dtype, subnormal, best)


def _ratio(program: Program, dtype: str, genes: Genes, signs: dict[int, Array], rng: np.random.Generator) -> Array:
    given = {name: x.astype(dtype) for name, x in program.given(genes).items()}
    r = rounding(dtype)
    with np.errstate(all="ignore"):
        evaluation = Evaluation(r, program.rows, given)
        ball = evaluation.evaluate(program.formula, **program.replaced(evaluation))
        machine = Machine(dtype, signs, rng)
        value = program.run(machine, {name: machine.read(x) for name, x in given.items()})
        return against(value, ball).ratio.max(axis=(-2, -1))


def _bred(
    genes: Genes, signs: dict[int, Array], fresh: Genes, kept: Array, rng: np.random.Generator
) -> tuple[Genes, dict[int, Array]]:
    parents = np.concatenate([kept, rng.choice(kept, POPULATION - KEPT)])
    child = np.arange(POPULATION)[:, None, None] >= KEPT
    new = {}
    for name, gene in genes.items():
        x = gene[parents]
        moved = np.where(rng.random(x.shape) < 0.3, x * (1 + 0.1 * rng.standard_normal(x.shape)), x)
        moved = np.where(rng.random(x.shape) < 0.05, fresh[name], moved)
        new[name] = np.where(child, moved, x)
    rate = rng.choice([0.02, 0.1, 0.3])
    flipped = {k: np.where(child & (rng.random(s.shape) < rate), -s[parents], s[parents]) for k, s in signs.items()}
    return new, flipped


def attacks(generations: int, seed: int = 0) -> Iterator[Outcome]:
    """Attack every program in both dtypes, with ordinary inputs, and with some among the subnormals."""
    for dtype, subnormal, program in product(("float32", "float64"), (False, True), PROGRAMS):
        yield climb(program, dtype, subnormal, generations, seed)


def nearest(outcomes: list[Outcome]) -> dict[tuple[str, str, bool], Outcome]:
    """Return the worst outcome of each row, dtype and kind of input."""
    found: dict[tuple[str, str, bool], Outcome] = {}
    for outcome in outcomes:
        key = (outcome.row, outcome.dtype, outcome.subnormal)
        if key not in found or outcome.ratio > found[key].ratio:
            found[key] = outcome
    return found


def driven(problem: Problem, rng: np.random.Generator) -> dict[str, Array]:
    """Return what a population of programs computes that all err, in each element of each row, by its own bound.

    Whole but for 1e-12, for the radii are computed in float64. Arrays are ``(population, rows, columns)``. Where
    nothing bounds a row, it is taken as exact.
    """
    r = rounding(problem.dtype)
    engine = replace(r, u=float(np.finfo(problem.dtype).eps) / 2.0)
    X, Y = problem.batch(0)
    values: dict[str, Array] = {"X": X[None], "Y": Y[None]}
    for l, (W, b) in enumerate(zip(problem.W, problem.b, strict=True), start=1):
        values |= {f"W{l}": W[None], f"b{l}": b[None]}
    values = {name: np.repeat(x, POPULATION, axis=0).astype(r.wide) for name, x in values.items()}
    for row in problem_rows(problem):
        ball = Evaluation(engine, problem_rows(problem), values).evaluate(row)
        signs = rng.choice([-1.0, 1.0], ball.mid.shape) * (1 - 1e-12)
        values[row.name] = ball.mid + np.where(np.isfinite(ball.rad), signs * ball.rad, 0.0)
    return values
