"""One cell while it is recorded: its arrays as a snapshot keeps them, beside what they are judged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import groupby
from math import prod

import numpy as np

from gradparity.reference.expected import quantity_shapes
from gradparity.reference.problem import Array, Problem
from gradparity.reference.verdict import Finding
from gradparity.reports.cell import Cell, Figure
from gradparity.reports.kept import Keeping
from gradparity.reports.snapshot import PRINTED, SCENARIO, ArrayKey, CellRecord, Entry


class CellRecording:
    """The arrays of one cell while they come; it is a `gradparity.reference.judge.Watch`."""

    def __init__(self, problem: Problem) -> None:
        samples = [stop - start for start, stop in problem.batches]
        self.batches = tuple((m, len(list(steps))) for m, steps in groupby(samples))
        shapes = {m: quantity_shapes(problem, m) for m in set(samples)}
        self.sizes = {name: [prod(shapes[m][name]) for m in samples] for name in shapes[samples[0]]}
        self.arrays: dict[ArrayKey, Keeping] = {}
        self.shapes: dict[ArrayKey, tuple[int, ...]] = {}

    def __call__(self, program: str, name: str, value: Array, bounds: Array | None) -> None:
        """Take the values of some steps."""
        key = (program, name)
        keeping = self.arrays.setdefault(key, Keeping(self.sizes.get(name, ())))
        before = self.shapes.get(key)
        if bounds is None:
            keeping.skip(value)
        else:
            keeping.add(value, bounds.reshape(value.shape))
        if before is None:
            self.shapes[key] = value.shape
        elif len(before) == 3 and before[1:] == value.shape[1:]:
            self.shapes[key] = (before[0] + len(value), *before[1:])
        else:
            self.shapes[key] = (prod(before) + value.size,)

    def entries(self, cell: Cell) -> Iterator[Entry]:
        """Yield what is known of every quantity in the order of computation, and of the printed figures."""
        findings = [f for f in cell.findings if (f.program, f.quantity) in self.arrays]
        yield from (self._entry(cell, f, order) for order, f in enumerate(findings))
        for order, figure in enumerate(cell.figures, len(findings)):
            if figure.value is not None:
                yield Entry.of(
                    np.full((1, 1, 1), figure.value, cell.dtype), np.asarray(figure.allowed), kind=SCENARIO,
                    subject=cell.scenario, dtype=cell.dtype, engine=cell.engine, program=PRINTED,
                    quantity=printed_name(figure), order=order,
                    verdict=str(figure.verdict), note=f"printed as {figure.printed}", reproducible=None,
                )  # fmt: skip

    def _entry(self, cell: Cell, finding: Finding, order: int) -> Entry:
        """Return what is known of one quantity."""
        key = (finding.program, finding.quantity)
        about = vars(self.arrays[key].summary())
        return Entry(
            SCENARIO, cell.scenario, cell.dtype, cell.engine, *key, order, str(finding.verdict), note(cell, finding),
            self.shapes[key], reproducible=None, **about,
        )  # fmt: skip


def printed_name(figure: Figure) -> str:
    """Return what the quantity of a printed figure is called in a snapshot."""
    row, column = figure.index
    return f"{figure.quantity}[{row},{column}] in step {figure.step}"


def note(cell: Cell, finding: Finding) -> str:
    """Return the registry's entry that a quantity is listed under, or else what is known of why it is wrong."""
    listed = cell.reasons.get(f"{finding.program} {finding.quantity}")
    return listed.partition(": ")[0] if listed else "; ".join(filter(None, (finding.note, finding.cause)))


def recorded(cell: Cell, recording: CellRecording | None) -> CellRecord:
    """Return the record of a judged cell."""
    return CellRecord(
        SCENARIO,
        cell.scenario,
        cell.dtype,
        cell.engine,
        str(cell.verdict),
        cell.message,
        cell.log,
        cell.environment,
        cell.seconds,
        tuple(recording.entries(cell)) if recording else (),
        cell.faults,
        recording.batches if recording else (),
        cell.structured,
        hashlib.sha256(f"{cell.weights_sha256} {cell.data_sha256}".encode()).hexdigest(),
    )
