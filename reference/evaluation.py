"""Evaluate the table: exactly, with a bound for every value, from whatever values are given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from gradparity.reference import exact
from gradparity.reference.bounds import Ball, Rounding, is_zero, rounding
from gradparity.reference.formulas import Row, rows_by_name, table
from gradparity.reference.problem import Array, Problem

BLOCK = 2**15
"""So many elements at a time stay in the cache while their bounds are formed and compared with."""


class Working:
    """The arithmetic of the working precision: what the ``numpy`` engine runs."""

    def product(self, P: Array, Q: Array) -> Array:
        """Return ``P Q``."""
        return np.matmul(P, Q)

    def sum(self, x: Array) -> Array:
        """Return the sum over the samples."""
        return np.sum(x, axis=-1, keepdims=True)


class Exact:
    """Arithmetic far finer than the working precision."""

    def __init__(self, r: Rounding) -> None:
        self.wide = r.wide

    def product(self, P: Array, Q: Array) -> Array:
        """Return ``P Q`` in the wide type."""
        return exact.product(P, Q, self.wide)

    def sum(self, x: Array) -> Array:
        """Return the sum over the samples in the wide type."""
        return np.sum(x, axis=-1, keepdims=True, dtype=self.wide)


class ExactPairs:
    """Products of float64, as unevaluated sums: only to compare with, not to compute on."""

    def product(self, P: Array, Q: Array) -> Any:
        """Return ``P Q``."""
        return exact.unevaluated_product(P, Q)


class Evaluation:
    """Every quantity as a ball: exact where it is given, else computed from its row's inputs, recursively.

    With an engine's own values given, each row is judged on its own. With only data and weights given, the balls
    are the reference from end to end, and their radii bound what a whole correct program may differ by.
    """

    def __init__(
        self, r: Rounding, rows: tuple[Row, ...], given: Mapping[str, Array | Ball], like: Evaluation | None = None
    ) -> None:
        """`like` is an evaluation that shares some of the balls in `given`, and with them the rows from those alone."""
        self.r, self.rows, self.like = r, rows_by_name(rows), like
        self.on = Exact(r)
        self.given = {name: x if isinstance(x, Ball) else Ball(x) for name, x in given.items()}
        self.computed: dict[str, Ball] = {}
        self.values: dict[str, Array] = {}
        self.kept: dict[str, tuple[tuple[slice, Ball], ...]] = {}

    def ball(self, name: str) -> Ball:
        """Return the given value of `name`, or compute it. Raises KeyError for a name that no row has."""
        if name in self.given:
            return self.given[name]
        if name not in self.computed:
            self.computed[name] = self.evaluate(self.rows[name])
        return self.computed[name]

    def mid(self, name: str) -> Array:
        """Return the value alone, for which no bound need be computed."""
        if name in self.given or name in self.computed:
            return self.ball(name).mid
        if name not in self.values:
            row = self.rows[name]
            self.values[name] = row.compute(self.on, *self._inputs(row, [self.mid(i) for i in row.inputs]))
        return self.values[name]

    def _inputs(self, row: Row, mids: list[Array]) -> list[Array]:
        return mids if row.products or row.unrounded else [mid.astype(self.r.wide, copy=False) for mid in mids]

    def evaluate(self, row: Row, **replaced: Ball) -> Ball:
        """Compute `row` from its inputs, of which some may be `replaced`."""
        inputs = [replaced[name] if name in replaced else self.ball(name) for name in row.inputs]
        if row.regular:
            A, Y = inputs
            inputs = [row.regular(self.r, A), Y]
        mid, rad, var, screen, _, open_ = self._computed(row, inputs)
        given = all(x.exact for x in inputs)
        if given and not row.products and not is_zero(rad) and not np.isfinite(np.sum(mid)):
            # A singularity that is met, not merely near: infinity and NaN are judged by their class. Where an input is
            # infinite itself, a bound may say that nothing can be said.
            known = all(np.isfinite(np.sum(x.mid)) for x in inputs)
            rad = np.where(np.isfinite(mid) | (np.isposinf(rad) & (not known)), rad, 0.0)
        if any(isinstance(x.rad, np.ndarray) and np.isposinf(x.rad).any() for x in inputs):
            # Where an input may be anything, 0·∞ in the radius means that so may the result.
            rad = np.where(np.isnan(rad), np.inf, rad)
        if open_ is not False or any(x.open is not False for x in inputs):
            open_ = open_ | _reached(row, inputs, mid)
            open_ = open_ if np.any(open_) else False
        return Ball(mid, rad, var, screen, open=open_)

    def _computed(self, row: Row, inputs: list[Ball]) -> Ball:
        mids = self._inputs(row, [x.mid for x in inputs])
        mid = row.compute(self.on, *mids)
        if self.r.wide is np.float64:
            inputs = [x._replace(mid=own) for x, own in zip(inputs, mids, strict=True)]
        return row.bound(self.r, mid, *inputs).around(mid)

    def from_given(self, name: str) -> bool:
        """Return whether some formula for `name` has all its inputs given, so that the row is judged on its own."""
        row = self.rows[name]
        return any(self.given.keys() >= set(formula.inputs) for formula in (row, *row.alternatives))

    def pieces(self, name: str) -> Iterator[tuple[slice, Ball]]:
        """Yield the first candidate of `name` in flat slices, which are blocks where all its inputs are given.

        Where it meets a singularity, only `candidates` says what is right.
        """
        row = self.rows[name]
        like = self.like
        if row.products and like and all(i in like.given and self.given.get(i) is like.given[i] for i in row.inputs):
            if name not in like.kept:
                like.kept[name] = tuple(like.pieces(name))
            yield from like.kept[name]
            return
        given = all(i in self.given and self.given[i].exact for i in row.inputs)
        if given and row.sums:
            yield from self._sums(row)
        elif given and row.elementwise:
            flat = [self.given[i].mid.reshape(-1) for i in row.inputs]
            for block in blocks(flat[0].size):
                yield block, self._computed(row, [Ball(x[block]) for x in flat])
        else:
            yield slice(None), self.evaluate(row)

    def _sums(self, row: Row) -> Iterator[tuple[slice, Ball]]:
        assert row.sums
        balls = [self.given[i] for i in row.inputs]
        value = row.compute(ExactPairs() if self.r.dtype == "float64" else self.on, *(x.mid for x in balls))
        sums = row.sums(self.r, value, *balls)
        parts = (value.hi, value.lo) if isinstance(value, exact.Unevaluated) else (value,)
        mid, *low = (x.reshape(-1) for x in parts)
        for block in blocks(mid.size):
            ball = sums.error(block).around(mid[block])
            yield block, ball._replace(low=low[0][block]) if low else ball

    def ways(self, name: str) -> Iterator[tuple[Row, dict[str, Ball]]]:
        """Yield every formula that a correct engine may use for `name`, and the inputs that are not taken as given.

        An engine that gives ``A_l`` may take a derivative, or the loss, from its ``Z_l``, given or not.
        """
        row = self.rows[name]
        formulas = (row, *row.alternatives)
        for formula in (*formulas, *filter(None, [row.fused])):
            yield formula, {}
        for formula in formulas:
            for A in formula.inputs:
                if not formula.products and A[0] == "A" and A in self.given:
                    yield formula, {A: self.evaluate(self.rows[A])}

    def candidates(self, name: str) -> Iterator[Ball]:
        """Yield the balls of `ways`, from the given values, and of whole programs that go another way."""
        row = self.rows[name]
        for formula, replaced in self.ways(name):
            ball = self.evaluate(formula, **replaced)
            yield _other_way(ball) if formula in row.alternatives and formula.inputs != row.inputs else ball
        if self.otherwise and not self.from_given(name):
            yield from map(_other_way, self.otherwise.candidates(name))

    @cached_property
    def otherwise(self) -> Evaluation | None:
        """The same from other inputs, where a correct engine may compute a quantity on the way from those."""
        rows = [next((a for a in row.alternatives if a.inputs != row.inputs), row) for row in self.rows.values()]
        if rows == list(self.rows.values()):
            return None
        return Evaluation(self.r, tuple(rows), self.given)


def blocks(elements: int) -> Iterator[slice]:
    """Return slices that cut so many elements into blocks."""
    return (slice(start, start + BLOCK) for start in range(0, elements, BLOCK))


def _reached(row: Row, inputs: list[Ball], mid: Array) -> Array | bool:
    """Return where the value depends on an element of an input that is open."""
    poisoned = [np.where(x.open, np.nan, x.mid.astype(np.float64)) for x in inputs]
    return np.isnan(row.compute(Working(), *poisoned)) & ~np.isnan(mid)


def _other_way(ball: Ball) -> Ball:
    """Return the ball of a program that comes to a value by a longer way, for elements about which it says nothing.

    Such a program meets the singularity that is within its reach, and has an infinity or NaN; or it does not, and then
    a/a is 1 to within rounding, and the bound of the row itself is for this way, too.
    """
    hidden = ball.open | np.isposinf(ball.rad)
    return ball._replace(rad=np.where(hidden, 0.0, ball.rad), open=hidden) if np.any(hidden) else ball


def problem_rows(problem: Problem) -> tuple[Row, ...]:
    """Return the table of `problem`."""
    return table(problem.X.shape[0], problem.layers, problem.loss, problem.learning_rate)


def reference(problem: Problem) -> Evaluation:
    """Return the reference from end to end at the initial weights, on the first batch: arrays ``(1, rows,
    columns)``.
    """
    X, Y = problem.batch(0)
    given: dict[str, Array | Ball] = {"X": X[None], "Y": Y[None]}
    for l, (W, b) in enumerate(zip(problem.W, problem.b, strict=True), start=1):
        given |= {f"W{l}": W[None], f"b{l}": b[None]}
    return Evaluation(rounding(problem.dtype), problem_rows(problem), given)
