"""Figures as printed in a book or a paper, each with the precision of its last printed digit.

In TOML, under ``[expected]`` (or several ``[[expected]]``, each with a `step`)::

    step = 1                                  # the default; -1 is the last step
    loss = 0.298371109
    "W2_next[0,0]" = 0.35891648               # row and column, from 0
    W1_next = [[0.149780716, 0.19956143], [0.24975114, 0.29950229]]

Orientation is the textbook's: columns are samples, ``W_l (n_l, n_{l-1})``. A bare number is the element [0, 0]. The
text is kept, since ``0.10`` promises more than ``0.1``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from gradparity.reference.errors import InputError
from gradparity.reference.problem import Problem
from gradparity.reference.toml_io import Printed, fits, short, unknown

KEY = re.compile(r"(?P<quantity>\w+)(\[\s*(?P<row>\d+)\s*,\s*(?P<column>\d+)\s*\])?")


@dataclass(frozen=True, slots=True)
class Expected:
    """One printed figure: element `index` (row, column) of `quantity` in `step` (from 1; −1 is the last)."""

    step: int
    quantity: str
    index: tuple[int, int]
    printed: str

    def __post_init__(self) -> None:
        try:
            finite = Decimal(self.printed).is_finite()
        except (InvalidOperation, TypeError, ValueError):
            finite = False
        if not finite or math.isinf(self.value):
            raise InputError(f"expected.{self.quantity}: {self.printed!r} is not a number; give it as printed")

    @property
    def value(self) -> float:
        """Return the float64 nearest to the printed figure."""
        return float(self.printed)

    @property
    def half_unit(self) -> float:
        """Return half a unit of the last printed digit."""
        exponent = Decimal(self.printed).as_tuple().exponent
        return float(Decimal(5).scaleb(int(exponent) - 1))

    def __str__(self) -> str:
        row, column = self.index
        return f"{self.quantity}[{row},{column}] in step {self.step}"


def from_tables(tables: Any) -> tuple[Expected, ...]:
    """Return the figures of ``[expected]``, or of several ``[[expected]]``. Raises `InputError`."""
    listed = tables if isinstance(tables, list) else [tables]
    return tuple(figure for table in listed for figure in _from_table(table))


def _from_table(table: Any) -> Iterator[Expected]:
    if not isinstance(table, Mapping):
        raise InputError(f"expected: give a table of figures, not {short(table)}")
    step = table.get("step", 1)
    if not fits(step, int):
        raise InputError(f"expected.step: expected a whole number, got {short(step)}")
    for key, value in table.items():
        match = KEY.fullmatch(key)
        if match is None:
            raise InputError(f'expected.{key}: write a quantity, as in loss, or "W1_next[0,0]" with row and column')
        if key != "step":
            given = match["row"] is not None
            start = (int(match["row"]), int(match["column"])) if given else (0, 0)
            for index, text in _entries(value, key, start, given):
                yield Expected(step, match["quantity"], index, text)


def _entries(value: Any, key: str, start: tuple[int, int], single: bool) -> Iterator[tuple[tuple[int, int], str]]:
    """Yield the index and text of a figure; or, unless `single`, of each in a column or a matrix."""
    if not isinstance(value, list) or single:
        yield start, _text(value, key)
        return
    if not value or [] in value:
        raise InputError(f"expected.{key}: {short(value)} holds no figure; give one, or leave the key out")
    for i, row in enumerate(value):
        for j, entry in enumerate(row if isinstance(row, list) else [row]):
            yield (i, j), _text(entry, key)


def _text(value: Any, key: str) -> str:
    if isinstance(value, Printed):
        return value.text
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    raise InputError(f"expected.{key}: {short(value)} is not a number; give the figure as printed")


def to_tables(figures: Iterable[Expected]) -> list[dict[str, Any]]:
    """Return one table a step, in TOML's terms; the text itself is written, so that no digit is lost."""
    tables: dict[int, dict[str, Any]] = {}
    for f in figures:
        tables.setdefault(f.step, {"step": f.step})[f"{f.quantity}[{f.index[0]},{f.index[1]}]"] = f.printed
    return list(tables.values())


def check(figures: Iterable[Expected], problem: Problem) -> None:
    """Raise `InputError` for a figure of a step, quantity or element that the problem does not have."""
    steps = len(problem.batches)
    for f in figures:
        if not (1 <= f.step <= steps or -steps <= f.step <= -1):
            raise InputError(f"expected.step: {f.step}, but there are {steps}; give 1 to {steps}, or -1 for the last")
        start, stop = problem.batches[f.step - 1 if f.step > 0 else f.step]
        shapes = quantity_shapes(problem, stop - start)
        if f.quantity not in shapes:
            raise InputError(f"expected.{f.quantity}: {unknown('quantity', f.quantity, shapes)}")
        rows, columns = shapes[f.quantity]
        if not (0 <= f.index[0] < rows and 0 <= f.index[1] < columns):
            raise InputError(
                f"expected.{f.quantity}[{f.index[0]},{f.index[1]}]: there is no such element; "
                f"{f.quantity} has {rows} rows and {columns} columns, counted from 0"
            )


def quantity_shapes(problem: Problem, samples: int) -> dict[str, tuple[int, int]]:
    """Return the shape of every quantity of a trace with `samples` columns."""
    shapes = {"loss": (1, 1)}
    for l, W in enumerate(problem.W, start=1):
        rows = W.shape[0]
        shapes |= {f"{name}{l}": (rows, samples) for name in ("Z", "A", "dA", "delta")}
        shapes |= {f"dW{l}": W.shape, f"db{l}": (rows, 1), f"W{l}_next": W.shape, f"b{l}_next": (rows, 1)}
    return shapes
