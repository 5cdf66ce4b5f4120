"""What a known mistake is: a wrong formula for a row, with the sentence that says so."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np

from gradparity.reference.bounds import Ball, magnitude
from gradparity.reference.compare import Comparison, against
from gradparity.reference.evaluation import Evaluation, Working
from gradparity.reference.formulas import Row, rows_by_name, table
from gradparity.reference.problem import Array, Layer, Loss, Problem

Then: TypeAlias = Callable[[Ball], Ball]


@dataclass(frozen=True)
class Case:
    """One formula of one wrong row in one step, and all that the engine gave around it; arrays ``(1, rows, columns)``.

    `row` is evaluated by `evaluation`: from the engine's own inputs where it gave them. `others` holds everything that
    the engine gave in this step, its data and weights too; `before` the same of the step before, if that is known.
    `value` is what it gave for the row itself, or None where the mistake is sought in a row that it did not give.
    """

    problem: Problem
    evaluation: Evaluation
    row: Row
    others: Mapping[str, Array] = field(default_factory=dict)
    before: Mapping[str, Array] = field(default_factory=dict)
    value: Array | None = None

    @cached_property
    def right(self) -> Ball:
        """The row as it should be."""
        return self.evaluation.evaluate(self.row)

    @cached_property
    def compared(self) -> Comparison:
        """The engine's value against the row as it should be."""
        assert self.value is not None
        return against(self.value, self.right)

    @cached_property
    def lines(self) -> dict[int, Array]:
        """For each axis, some indices that tell mistakes apart: with the largest error/bound, and two others."""
        ratio = self.compared.ratio[0]
        found = {}
        for axis in (-1, -2):
            worst = int(np.argmax(ratio.max(axis=-2 if axis == -1 else -1, initial=0.0)))
            found[axis] = np.unique([worst, 0, ratio.shape[axis] - 1])
        return found

    @property
    def kind(self) -> str:
        """Return the row's name without the number of its layer."""
        return re.sub(r"\d", "", self.row.name)

    @property
    def layer(self) -> int:
        """Return the number of its layer; the last for the loss."""
        return int(re.sub(r"\D", "", self.row.name) or len(self.problem.layers))

    @property
    def samples(self) -> int:
        """Return m, the number of samples in this batch."""
        return int(self.evaluation.ball("X").mid.shape[-1])

    @property
    def outputs(self) -> int:
        """Return n_L."""
        return self.problem.layers[-1].units

    @cached_property
    def inputs(self) -> dict[str, Ball]:
        """What the row is computed from."""
        return {name: self.evaluation.ball(name) for name in self.row.inputs}

    @cached_property
    def elsewhere(self) -> dict[str, Array]:
        """All that the engine gave and that is not computed from this row."""
        after = {self.row.name}
        for row in self.evaluation.rows.values():
            if any(not after.isdisjoint(formula.inputs) for formula in (row, *row.alternatives)):
                after.add(row.name)
        return {name: array for name, array in self.others.items() if name not in after}

    def wide(self, x: Array) -> Array:
        """Return an engine's array as the evaluation holds it."""
        return x.astype(np.float64) if x.dtype == np.float32 else x

    def rows_with(
        self, layer: Layer | None = None, loss: Loss | None = None, learning_rate: float | None = None
    ) -> Iterator[Row]:
        """Yield the formulas of this quantity in a scenario with another layer in this place, loss or learning rate."""
        p = self.problem
        layers = list(p.layers)
        if layer is not None:
            layers[self.layer - 1] = layer
        rate = p.learning_rate if learning_rate is None else learning_rate
        row = rows_by_name(table(p.X.shape[0], tuple(layers), loss or p.loss, rate))[self.row.name]
        yield replace(row, alternatives=())
        yield from row.alternatives


def unchanged(ball: Ball) -> Ball:
    """Return `ball`."""
    return ball


@dataclass(frozen=True)
class Variant:
    """One way to get a row wrong: `row` evaluated with some `inputs` replaced, and what is `then` made of its value.

    `words` finish a sentence that begins with the quantity: "equals the sum over samples, …".
    """

    words: str
    row: Row
    inputs: Mapping[str, Ball] = field(default_factory=dict)
    then: Then = unchanged
    by_form: bool = False
    """Whether the form of the engine's numbers is the evidence (all are of a narrow format), and not their values."""

    def ball(self, evaluation: Evaluation) -> Ball:
        """Return what an otherwise correct engine computes that makes this mistake, with the bound that it demands."""
        return self.then(evaluation.evaluate(self.row, **self.inputs))

    def rough(self, case: Case) -> tuple[Array, int | None]:
        """Return the same value in float64, without a bound and at little cost.

        Of a product of other inputs only `Case.lines` are computed: columns or rows, along the axis that is returned.
        """
        if self.row is case.row and not self.inputs:
            return self.then(Ball(case.right.mid)).mid, None
        mids = [(self.inputs[n] if n in self.inputs else case.evaluation.ball(n)).mid for n in self.row.inputs]
        axis = None
        if self.row.products and self.then is unchanged:
            which, axis = (0, -2) if case.kind in ("dW", "db") else (1, -1)
            mids[which] = np.take(mids[which], case.lines[axis], axis)
        return self.then(Ball(self.row.compute(Working(), *(mid.astype(np.float64) for mid in mids)))).mid, axis


@dataclass(frozen=True)
class Mistake:
    """A known mistake by name; `variants` yields its forms that apply to a case."""

    name: str
    variants: Callable[[Case], Iterator[Variant]]


def scaled(c: float, u: float) -> Then:
    """Return what multiplies by c, one rounding of the engine and one of the constant included."""

    def then(ball: Ball) -> Ball:
        mid = c * ball.mid
        return Ball(mid, abs(c) * ball.rad + 4 * u * magnitude(mid), None)

    return then


def put(mask: Array, mid: Array | float, rad: Array | float = 0.0) -> Then:
    """Return what puts ``mid ± rad`` in the places of `mask`."""
    return lambda ball: Ball(np.where(mask, mid, ball.mid), np.where(mask, rad, ball.rad), None)


def given(ball: Ball) -> Then:
    """Return what takes `ball` instead."""
    return lambda _: ball


def plus(more: Array, u: float) -> Then:
    """Return what adds `more`, with the roundings of making and adding it."""

    def then(ball: Ball) -> Ball:
        mid = ball.mid + more
        return Ball(mid, ball.rad + u * (4 * magnitude(more) + magnitude(mid)), None)

    return then


def clip(low: float, high: float) -> Then:
    """Return what clips to ``[low, high]``."""
    return lambda ball: Ball(np.clip(ball.mid, low, high), ball.rad, None)
