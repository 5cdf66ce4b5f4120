"""Judge one engine on one problem: every quantity of both programs, in the order of computation.

Each row of the *probed* program is judged on its own, from the engine's own inputs. The *plain* program's loss and
gradients, where their bits are the probed program's, have been judged thereby; otherwise they are judged from end to
end. Its updated weights are judged from its own gradients.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Protocol, TypeAlias

import numpy as np

from gradparity.reference.bounds import rounding
from gradparity.reference.compare import best, judged, merged
from gradparity.reference.conventions import conventional
from gradparity.reference.diagnosis import with_causes
from gradparity.reference.evaluation import Evaluation, blocks, problem_rows, reference
from gradparity.reference.formulas import Row
from gradparity.reference.problem import DTYPES, Array, Problem
from gradparity.reference.sweep import difference
from gradparity.reference.verdict import Finding, Verdict

PLAIN, PROBED = "plain", "probed"

Watch: TypeAlias = Callable[[str, str, Array, Array | None], None]
"""Sees program, quantity, value (steps, rows, columns) and the bound of each element, flat; None where the value is
of a wrong shape or dtype."""


class Steps(Protocol):
    """Consecutive steps with the same batch size; see `gradparity.adapters.outcome.Chunk`."""

    @property
    def first_step(self) -> int:
        """Return the first step, from 0."""
        ...

    @property
    def steps(self) -> int:
        """Return the number of steps."""
        ...

    @property
    def weights(self) -> Mapping[str, Array]:
        """Return the weights before each step."""
        ...

    @property
    def plain(self) -> Mapping[str, Array]:
        """Return what the plain program computed."""
        ...

    @property
    def probed(self) -> Mapping[str, Array]:
        """Return what the probed program computed."""
        ...


class Oracle:
    """What all engines that run one problem are compared with; computed once, when it is first asked for."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.rows = problem_rows(problem)
        self.r = rounding(problem.dtype)
        self.lock = threading.RLock()
        self._rounded: dict[str, Array] = {}

    @cached_property
    def reference(self) -> Evaluation:
        """The reference from end to end at the initial weights."""
        return reference(self.problem)

    def rounded_reference(self, quantity: str) -> Array:
        """Return the reference's value of `quantity` at the initial weights, in float64."""
        with self.lock:
            if quantity not in self._rounded:
                with np.errstate(all="ignore"):
                    self._rounded[quantity] = self.reference.mid(quantity).astype(np.float64)
            return self._rounded[quantity]

    def expected_names(self, program: str) -> tuple[str, ...]:
        """Return the quantities of `program`, in the order of computation."""
        names = [row.name for row in self.rows]
        if program == PROBED:
            return tuple(name for name in names if not name.endswith("_next"))
        return tuple(
            name for name in names if name == "loss" or name.startswith(("dW", "db")) or name.endswith("_next")
        )


class Judge:
    """Collects the chunks of one cell; `findings` sums them up, the first wrong one with its cause unless `explain`
    is off, and whatever is amiss with those of `conventions` that give the same numbers. `watch` sees all that is
    judged.
    """

    def __init__(
        self, oracle: Oracle, explain: bool = True, conventions: Iterable[str] = (), watch: Watch | None = None
    ) -> None:
        self.oracle, self.explain, self.conventions, self.watch = oracle, explain, tuple(conventions), watch
        self.found: dict[tuple[str, str], Finding] = {}

    def add(self, chunk: Steps) -> None:
        """Judge the steps of `chunk`; chunks come in order."""
        with np.errstate(all="ignore"):
            findings = _chunk_findings(self.oracle, chunk, self.conventions, self.watch)
            if self.explain:
                known = {key for key, finding in self.found.items() if finding.cause}
                findings = with_causes(self.oracle.problem, chunk, findings, known)
            for finding in findings:
                key = (finding.program, finding.quantity)
                self.found[key] = merged(self.found[key], finding) if key in self.found else finding

    def findings(self) -> tuple[Finding, ...]:
        """Return one finding for each quantity of each program, in the order of computation."""
        programs = [p for p in (PROBED, PLAIN) if any(key[0] == p for key in self.found)] or [PLAIN]
        rows = {row.name: row for row in self.oracle.rows}
        blanks = (
            Finding(program, name, Verdict.NOT_GIVEN, rows[name].formula)
            for program in programs
            for name in self.oracle.expected_names(program)
        )
        return tuple(self.found.get((blank.program, blank.quantity), blank) for blank in blanks)


def _chunk_findings(oracle: Oracle, chunk: Steps, conventions: tuple[str, ...], watch: Watch | None) -> list[Finding]:
    problem = oracle.problem
    batches = [problem.batch(step) for step in range(chunk.first_step, chunk.first_step + chunk.steps)]
    m = batches[0][0].shape[1]
    X, Y = (x[0][None] if len(x) == 1 else np.stack(x) for x in zip(*batches, strict=True))
    given = {"X": X, "Y": Y, **chunk.weights}
    probed, bad = _well_formed(oracle, chunk.probed, m, PROBED)
    plain, bad_plain = _well_formed(oracle, chunk.plain, m, PLAIN)
    # At the initial weights, what comes from them and the data alone is the same for all engines.
    whole = oracle.reference if _starts(oracle, chunk) else Evaluation(oracle.r, oracle.rows, given)
    local = Evaluation(oracle.r, oracle.rows, {**whole.given, **probed}, whole)
    rows, ends, updates = (
        _Against(oracle, by, conventions) for by in (local, whole, Evaluation(oracle.r, oracle.rows, given | plain))
    )
    by_name = {}
    bounds = _Bounds(watch)
    for name, value in probed.items():
        finding = _blank(local.rows[name], PROBED, "row" if local.from_given(name) else "end to end")
        by_name[name] = rows.judged(value, finding, chunk.first_step, bounds.of(PROBED, name, value))
    found = [*by_name.values(), *bad, *bad_plain]
    for name, value in plain.items():
        if name.endswith("_next"):
            gradient = "d" + name.removesuffix("_next")
            against, basis = (updates, "row") if gradient in plain else (ends, "end to end")
            finding = _blank(local.rows[name], PLAIN, basis)
            finding = against.judged(value, finding, chunk.first_step, bounds.of(PLAIN, name, value))
        elif name in by_name and _same_bits(value, probed[name]):
            finding = replace(by_name[name], program=PLAIN, basis="same bits")
            bounds.same(name)
        else:
            finding = _blank(local.rows[name], PLAIN, "end to end")
            finding = ends.judged(value, finding, chunk.first_step, bounds.of(PLAIN, name, value))
        found.append(_with_difference(oracle, chunk, finding, value))
    bounds.show(chunk)
    return found


class _Bounds:
    """The bounds of one chunk's elements, kept only where somebody watches."""

    def __init__(self, watch: Watch | None) -> None:
        self.watch = watch
        self.flat: dict[tuple[str, str], Array] = {}

    def of(self, program: str, name: str, value: Array) -> Array | None:
        """Return the place for the bounds of `value`."""
        return None if self.watch is None else self.flat.setdefault((program, name), np.empty(value.size))

    def same(self, name: str) -> None:
        """Note that the plain program's bounds are the probed one's."""
        if self.watch is not None:
            self.flat[PLAIN, name] = self.flat[PROBED, name]

    def show(self, chunk: Steps) -> None:
        """Show every array with its bounds."""
        if self.watch is None:
            return
        for program, arrays in ((PROBED, chunk.probed), (PLAIN, chunk.plain)):
            for name, value in arrays.items():
                self.watch(program, name, value, self.flat.get((program, name)))


class _Against:
    """An evaluation of the table, and those of the conventions from the same given values."""

    def __init__(self, oracle: Oracle, by: Evaluation, conventions: tuple[str, ...]) -> None:
        self.oracle, self.by, self.conventions = oracle, by, conventions

    @cached_property
    def conventional(self) -> tuple[tuple[str, Evaluation], ...]:
        return tuple(conventional(self.oracle.problem, self.by, self.conventions))

    def judged(self, value: Array, blank: Finding, first_step: int, bounds: Array | None) -> Finding:
        """Return `blank` filled in, and where something is amiss, with the conventions whose bounds hold the value.

        `bounds` takes the bound of each element.
        """
        finding = judged(self.oracle.r, value, self.by, blank, first_step, bounds)
        if finding.verdict is Verdict.WITHIN:
            return finding
        names = [name for name, e in self.conventional if best(value, e.candidates(finding.quantity)).clean]
        return replace(finding, convention=" ".join(names))


def _starts(oracle: Oracle, chunk: Steps) -> bool:
    """Return whether `chunk` is one step, at the initial weights."""
    if (chunk.first_step, chunk.steps) != (0, 1):
        return False
    initial = oracle.reference.given
    return all(_same_bits(initial[name].mid, value) for name, value in chunk.weights.items())


def _blank(row: Row, program: str, basis: str) -> Finding:
    return Finding(program, row.name, Verdict.WITHIN, row.formula, basis=basis)


def _same_bits(a: Array, b: Array) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.name not in DTYPES:
        return a.tobytes() == b.tobytes()
    bits = np.dtype(f"u{a.itemsize}")
    return bool(np.array_equal(a.view(bits), b.view(bits)))


def _well_formed(
    oracle: Oracle, arrays: Mapping[str, Array], m: int, program: str
) -> tuple[dict[str, Array], list[Finding]]:
    """Split `arrays` into those of the right shape and dtype, in the order of the table, and findings on the others."""
    good, bad = {}, []
    for row in oracle.rows:
        if row.name not in arrays:
            continue
        value = arrays[row.name]
        shape = tuple(m if size == "m" else size for size in row.shape)
        if value.shape[1:] != shape:
            note = f"shape {value.shape[1:]}, expected {shape}"
        elif value.dtype != oracle.problem.dtype:
            note = f"dtype {value.dtype}, expected {oracle.problem.dtype}"
        else:
            good[row.name] = value
            continue
        bad.append(
            Finding(program, row.name, Verdict.WRONG, row.formula, steps=1, first_wrong_step=1, wrong=1, note=note)
        )
    return good, bad


def _with_difference(oracle: Oracle, chunk: Steps, finding: Finding, value: Array) -> Finding:
    """Add how far a gradient is from the reference's at the initial weights: the comparison that people ask for
    first.
    """
    if chunk.first_step != 0 or not finding.quantity.startswith(("dW", "db", "loss")):
        return finding
    own, mid = value[0].reshape(-1), oracle.rounded_reference(finding.quantity).reshape(-1)
    largest = 0.0
    for block in blocks(own.size):
        error = difference(own[block], mid[block])
        largest = np.maximum(largest, np.abs(error, out=error).max())
    return replace(finding, difference=float(largest))
