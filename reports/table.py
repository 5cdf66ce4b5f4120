"""The tidy table: one row for each quantity of each cell, its columns documented as data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradparity.adapters.outcome import printable
from gradparity.reference.verdict import Finding, Worst
from gradparity.reports.cell import Cell, Figure

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
"""The version of these columns and of the JSON lines. It grows when a column changes or goes, not when one is added."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table: its pandas dtype, its unit (empty for none), and what it means."""

    name: str
    dtype: str
    unit: str
    description: str


COLUMNS = (
    Column("scenario", "string", "", "the training problem"),
    Column("dtype", "string", "", "float32 or float64"),
    Column("engine", "string", "", "framework, or framework:variant, or file.py:function"),
    Column(
        "record", "string", "",
        "what the row is about: 'quantity' (over all steps), 'step' (one step outside its bound), 'figure' (one printed"
        " figure), or 'cell' (an engine that ended early, or did what it must not)",
    ),
    Column("program", "string", "", "plain (the step as users write it) or probed (the same, with Z, A, delta)"),
    Column("quantity", "string", "", "Z1, A1, loss, dA1, delta1, dW1, db1, W1_next, …; empty for a 'cell'"),
    Column("formula", "string", "", "the formula that the quantity is judged against"),
    Column(
        "verdict", "string", "",
        "within, suspect, wrong, declared, known or not given; of a 'cell' also unsupported, crashed, timed out",
    ),
    Column("cell_verdict", "string", "", "the verdict of the whole cell"),
    Column("steps", "Int64", "steps", "number of steps judged"),
    Column("step", "Int64", "", "the step of the worst element, from 1"),
    Column("first_wrong_step", "Int64", "", "the first step with an element outside its bound, from 1"),
    Column("elements", "Int64", "scalars", "number of scalars judged, over all steps"),
    Column("not_judged", "Int64", "scalars", "number of scalars that overflow for a correct engine too"),
    Column("wrong", "Int64", "scalars", "number of scalars outside their rigorous bound"),
    Column("suspect", "Int64", "scalars", "number of scalars outside the statistical bound only"),
    Column("index_row", "Int64", "", "row of the worst element, from 0"),
    Column("index_column", "Int64", "", "column of the worst element (the sample, in Z, A, dA, delta), from 0"),
    Column("value", "float64", "", "the engine's value there; NaN although `step` is there: the engine computed NaN"),
    Column("exact", "float64", "", "the exact value there (of a figure: the printed one)"),
    Column("error", "float64", "", "|value − exact|; infinite where one is finite and the other is not"),
    Column("bound", "float64", "", "the largest error that a correct engine can make there"),
    Column("ratio", "float64", "", "error / bound"),
    Column("ulp", "float64", "ULP", "error in units of the last place of the exact value"),
    Column("sigmas", "float64", "σ", "largest error in standard deviations of the statistical tier"),
    Column("digits", "float64", "decimal digits", "digits that the bound certifies, of the largest element"),
    Column("difference", "float64", "", "largest |value − reference| at the initial weights, evaluated end to end"),
    Column("basis", "string", "", "row (from the engine's own inputs), same bits, end to end, or printed"),
    Column("note", "string", "", "what else is to be said of the quantity"),
    Column("cause", "string", "", "the known mistake that reproduces a program's first wrong quantity"),
    Column("reason", "string", "", "why the difference is declared or known, or why the cell ended as it did"),
    Column("digest", "string", "", "first 16 digits of the SHA-256 over the values of all steps"),
    Column("versions", "string", "", "the framework's version, and what it stands on"),
    Column("seconds", "float64", "s", "wall time of the cell"),
    Column("weights_sha256", "string", "", "fingerprint of the initial weights"),
    Column("data_sha256", "string", "", "fingerprint of the samples and targets"),
    Column("device", "string", "", "where the engine ran"),
)  # fmt: skip


def table(cells: Iterable[Cell]) -> pd.DataFrame:
    """Return the table of `cells`. Strings hold no control characters; a value that is not there is missing."""
    import pandas as pd

    rows = [row for cell in cells for row in _rows(cell)]
    frame = pd.DataFrame({c.name: pd.Series([row.get(c.name) for row in rows], dtype=c.dtype) for c in COLUMNS})
    frame.attrs["gradparity_schema"] = SCHEMA
    return frame


def _rows(cell: Cell) -> Iterator[dict[str, Any]]:
    from gradparity.reports.results import versions

    shared = {
        "scenario": cell.scenario,
        "dtype": cell.dtype,
        "engine": cell.engine,
        "cell_verdict": str(cell.verdict),
        "versions": versions(cell),
        "seconds": cell.seconds,
        "weights_sha256": cell.weights_sha256,
        "data_sha256": cell.data_sha256,
        "device": cell.environment.get("device", ""),
    }
    rows: list[dict[str, Any]] = []
    for finding in cell.findings:
        rows += _finding_rows(finding, cell.reasons.get(f"{finding.program} {finding.quantity}"))
    rows += [_figure_row(figure) for figure in cell.figures]
    why = "; ".join(filter(None, (*cell.faults, cell.message)))
    if why or not rows:
        rows.append(
            {"record": "cell", "quantity": "", "verdict": str(cell.verdict), "steps": cell.steps, "reason": why}
        )
    for row in rows:
        yield {
            name: printable(value, 1000) if isinstance(value, str) else value for name, value in (shared | row).items()
        }


def _finding_rows(finding: Finding, reason: str | None) -> Iterator[dict[str, Any]]:
    counted = (
        "steps",
        "first_wrong_step",
        "elements",
        "not_judged",
        "wrong",
        "suspect",
        "sigmas",
        "digits",
        "difference",
    )
    texts = ("program", "quantity", "formula", "basis", "note", "cause", "digest")
    named = {name: getattr(finding, name) for name in texts}
    named |= {"verdict": str(finding.verdict), "reason": reason}
    yield named | {"record": "quantity"} | {name: getattr(finding, name) for name in counted} | _worst(finding.worst)
    for worst in finding.details:
        yield named | {"record": "step"} | _worst(worst)


def _worst(worst: Worst | None) -> dict[str, Any]:
    if worst is None:
        return {}
    row, column = worst.index
    measured = {name: getattr(worst, name) for name in ("step", "value", "exact", "error", "bound", "ratio", "ulp")}
    return measured | {"index_row": row, "index_column": column}


def _figure_row(figure: Figure) -> dict[str, Any]:
    worst = Worst(
        figure.step,
        figure.index,
        float("nan") if figure.value is None else figure.value,
        float(figure.printed),
        figure.error,
        figure.allowed,
        float("nan"),
    )
    return _worst(worst) | {
        "record": "figure",
        "program": "plain",
        "quantity": figure.quantity,
        "verdict": str(figure.verdict),
        "basis": "printed",
        "note": f"printed as {figure.printed}",
    }
