"""Scenario × engine: the worst of its cells over dtypes, for the tables and maps of every report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gradparity.reference.verdict import Finding, Verdict
from gradparity.reports.cell import Cell

WORST_FIRST = (
    Verdict.WRONG,
    Verdict.CRASHED,
    Verdict.TIMED_OUT,
    Verdict.SUSPECT,
    Verdict.KNOWN,
    Verdict.DECLARED,
    Verdict.WITHIN,
    Verdict.NOT_GIVEN,
    Verdict.UNSUPPORTED,
)

SCALE = "largest error as a share of its bound, without the updated weights (their bound is sharp: 0.999 is usual)"


@dataclass(frozen=True)
class Square:
    """One scenario on one engine, over dtypes. `ratio` is the largest error/bound; None where nothing was judged."""

    verdict: Verdict
    ratio: float | None


def squares(cells: Iterable[Cell]) -> dict[tuple[str, str], Square]:
    """Return the squares of the map by (scenario, engine)."""
    grouped: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        grouped.setdefault((cell.scenario, cell.engine), []).append(cell)
    return {key: _square(group) for key, group in grouped.items()}


def _square(cells: list[Cell]) -> Square:
    verdict = min((cell.verdict for cell in cells), key=WORST_FIRST.index)
    ratios = [ratio for cell in cells if (ratio := worst_ratio(cell)) is not None]
    return Square(verdict, max(ratios, default=None))


def worst_ratio(cell: Cell) -> float | None:
    """Return the largest error/bound of `cell`, the updated weights left out; see `SCALE`."""
    finding = closest(cell)
    return finding.worst.ratio if finding is not None and finding.worst is not None else None


def closest(cell: Cell) -> Finding | None:
    """Return the finding that is closest to its bound, or furthest outside, the updated weights left out."""
    judged = [f for f in cell.findings if f.worst is not None and not f.quantity.endswith("_next")]
    return max(judged, key=lambda f: f.worst.ratio if f.worst else 0.0, default=None)


def short(ratio: float) -> str:
    """Return a ratio in at most three characters; what is below 1 is never rounded up to it."""
    if ratio < 0.01:
        return "0"
    if ratio < 1.0:
        return f"{int(ratio * 100 + 1e-9) / 100:.2f}"[1:]
    if ratio < 999.5:
        return f"{ratio:.1f}" if ratio < 9.95 else f"{ratio:.0f}"
    if ratio < 9.5e9:
        mantissa, exponent = f"{ratio:.0e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return "inf" if ratio == float("inf") else ">e9"
