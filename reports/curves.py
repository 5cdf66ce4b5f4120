"""Training curves of scenarios with more than one step, and how far the engines drift apart."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from statistics import median

from gradparity.reports.cell import Cell
from gradparity.reports.results import Results

Points = tuple[tuple[int, float], ...]
"""(step from 1, value)."""


@dataclass(frozen=True)
class Curve:
    """Engines whose losses have the same bits: their loss, and how far it has been from the median engine's so far.

    `drift` is the largest ``|loss − median| / median`` up to each step: that of single steps jumps to 0
    and back.
    """

    engines: tuple[str, ...]
    loss: Points
    drift: Points


@dataclass(frozen=True)
class Training:
    """One scenario in one dtype, with a curve for each group of engines that computed the same losses."""

    scenario: str
    dtype: str
    curves: tuple[Curve, ...]


def trainings(results: Results) -> Iterator[Training]:
    """Yield the trainings of two or more steps."""
    grouped: dict[tuple[str, str], list[Cell]] = {}
    for cell in results.cells:
        if len(cell.losses) > 1:
            grouped.setdefault((cell.scenario, cell.dtype), []).append(cell)
    for (scenario, dtype), cells in grouped.items():
        yield Training(scenario, dtype, tuple(_curves(cells)))


def _curves(cells: list[Cell]) -> Iterator[Curve]:
    at: dict[int, list[float]] = {}
    same: dict[str, list[Cell]] = {}
    for cell in cells:
        # By their text, in which NaN equals NaN.
        same.setdefault(repr(cell.losses), []).append(cell)
        for step, loss in cell.losses:
            at.setdefault(step, []).append(loss)
    middle = {step: median([x for x in losses if math.isfinite(x)] or [math.nan]) for step, losses in at.items()}
    for group in same.values():
        losses = group[0].losses
        distances = [_relative(loss, middle[step]) for step, loss in losses]
        drift = zip((step for step, _ in losses), accumulate(distances, max), strict=True)
        yield Curve(tuple(cell.engine for cell in group), losses, tuple(drift))


def _relative(loss: float, middle: float) -> float:
    return abs(loss - middle) / abs(middle) if middle else abs(loss - middle)
