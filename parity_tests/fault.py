"""An engine with a mistake in it: the table in the working precision, one row or more computed wrongly.

What comes after a wrong row is computed from the wrong value, as with a real bug. A function engine gives the same
arrays for the plain and for the probed program, so both are faulty alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

from gradparity.adapters.function_engine import Function, StepProblem, run_function
from gradparity.adapters.outcome import Chunk, Ended, Status, Task
from gradparity.parity_tests.fault_problems import SPECIAL, problems
from gradparity.reference.evaluation import Working, problem_rows
from gradparity.reference.formulas import Row
from gradparity.reference.judge import Judge, Oracle
from gradparity.reference.problem import Array, Problem
from gradparity.reference.verdict import Finding


@dataclass(frozen=True)
class At:
    """The place where a fault strikes: a row, in one step, with all that was computed before it."""

    problem: Problem
    row: Row
    values: Mapping[str, Array]
    before: Mapping[str, Array]

    @cached_property
    def right(self) -> Array:
        """The row as it should be, in the working precision. It may be changed in place."""
        return self.compute()

    def compute(self, **replaced: Array) -> Array:
        """Evaluate the row with some inputs replaced."""
        inputs = [replaced.get(name, self.values[name]) for name in self.row.inputs]
        return self.row.compute(Working(), *inputs)

    @property
    def inputs(self) -> list[Array]:
        """Return the row's inputs."""
        return [self.values[name] for name in self.row.inputs]

    @property
    def m(self) -> int:
        """Return the number of samples."""
        return int(self.values["X"].shape[1])

    @property
    def number(self) -> type[Any]:
        """Return the scalar type of the working precision."""
        return self.right.dtype.type


Mutation: TypeAlias = Callable[[At], Array]
Mutations: TypeAlias = Mapping[str, Mutation]


@dataclass(frozen=True)
class Fault:
    """One realistic mistake. `inject` yields the ways in which it can strike a problem: by the rows that it changes.

    `cause` is a part of the sentence that diagnosis must give, or several by ``|``; empty where no known mistake can
    reproduce it. `on` names the special problem that it needs. `harmless` says why it is no fault, where it is none.
    """

    name: str
    description: str
    inject: Callable[[Problem], Iterator[Mutations]]
    cause: str
    harmless: str = ""
    on: str = ""

    def places(self, size: str, dtype: str) -> Iterator[tuple[Problem, Mutations]]:
        """Yield every problem of a size in which it can strike, and the rows that it changes there."""
        for problem in problems(size, dtype):
            if problem.name == self.on or (problem.name not in SPECIAL and not self.on):
                for mutations in self.inject(problem):
                    yield problem, mutations

    def named_in(self, sentence: str) -> bool:
        """Return whether `sentence` gives the right cause."""
        return bool(self.cause) and any(part in sentence for part in self.cause.split("|"))


def engine(problem: Problem, mutations: Mutations) -> Function:
    """Return the engine that computes every row in the working precision, those in `mutations` wrongly."""
    rows = problem_rows(problem)
    before: dict[str, Array] = {}

    def step(p: StepProblem) -> dict[str, Array]:
        values = {"X": p.X, "Y": p.Y}
        for l, (W, b) in enumerate(zip(p.W, p.b, strict=True), start=1):
            values |= {f"W{l}": W, f"b{l}": b}
        for row in rows:
            # Where a formula passes a wrong value by, as δ_L = (A − Y)/N does a wrong dA_L, another one does not.
            struck = (f for f in (row, *row.alternatives) if not mutations.keys().isdisjoint(f.inputs))
            at = At(problem, next(struck, row), values, dict(before))
            value = mutations[row.name](at) if row.name in mutations else at.right
            values[row.name] = value.astype(problem.dtype)
        before.update(values)
        return {row.name: values[row.name] for row in rows}

    return step


def run(problem: Problem, mutations: Mutations) -> list[Chunk]:
    """Train the problem on the faulty engine; return its chunks."""
    items = list(run_function(Task(problem, "faulty"), engine(problem, mutations)))
    end = items[-1]
    assert isinstance(end, Ended)
    assert end.status is Status.DONE, end.log
    return [item for item in items if isinstance(item, Chunk)]


def judged(oracle: Oracle, chunks: list[Chunk], plain_only: bool = False) -> tuple[Finding, ...]:
    """Judge the chunks, with all rows given, or, without looking for causes, only those of the plain program."""
    judge = Judge(oracle, explain=not plain_only)
    for chunk in chunks:
        judge.add(replace(chunk, probed={}) if plain_only else chunk)
    return judge.findings()
