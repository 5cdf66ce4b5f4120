"""How far engines agree with each other: identical bits, and their distance at the initial weights."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from statistics import median

import numpy as np

from gradparity.reports.cell import Cell
from gradparity.reports.results import Results

FAR = 1000.0
"""ULP of a gradient's largest element, from which on two engines do not compute the same."""


@dataclass(frozen=True)
class Agreement:
    """Two engines on all cells that both ran.

    `same` of `compared` quantities of the plain program have the same bits in all steps. At the initial weights, the
    distance of two gradients is the largest of the elements that were kept, in units in the last place (ULP) of the
    gradient's largest element: `ulp` is the median over `gradients` of them (None for none), and `far` of them are
    farther than `FAR` apart.
    """

    same: int
    compared: int
    ulp: float | None
    far: int
    gradients: int

    @property
    def share(self) -> float:
        """Return the share of quantities with identical bits."""
        return self.same / self.compared if self.compared else 0.0


def agreements(results: Results) -> dict[tuple[str, str], Agreement]:
    """Return the agreement of every pair of engines that have a digest in common, by both orders of their names."""
    by_engine: dict[str, dict[tuple[str, str], Cell]] = {}
    for cell in results.cells:
        by_engine.setdefault(cell.engine, {})[cell.scenario, cell.dtype] = cell
    found: dict[tuple[str, str], Agreement] = {}
    for a, b in combinations(results.engine_names, 2):
        shared = by_engine[a].keys() & by_engine[b].keys()
        agreement = _agreement([(by_engine[a][key], by_engine[b][key]) for key in sorted(shared)])
        if agreement.compared:
            found[a, b] = found[b, a] = agreement
    return found


def _agreement(pairs: list[tuple[Cell, Cell]]) -> Agreement:
    same = compared = 0
    distances = []
    for a, b in pairs:
        ours, theirs = _digests(a), _digests(b)
        common = ours.keys() & theirs.keys()
        compared += len(common)
        same += sum(ours[name] == theirs[name] for name in common)
        shared = a.samples.keys() & b.samples.keys()
        distances += [_ulp(a.samples[name], b.samples[name], a.dtype) for name in shared]
    middle = median(distances) if distances else None
    return Agreement(same, compared, middle, sum(d > FAR for d in distances), len(distances))


def _digests(cell: Cell) -> dict[str, str]:
    return {f.quantity: f.digest for f in cell.findings if f.program == "plain" and f.digest}


def _ulp(a: tuple[float, ...], b: tuple[float, ...], dtype: str) -> float:
    """Return the largest distance in ULP of the largest element; infinite where one is NaN and the other is not."""
    if len(a) != len(b):
        return float("inf")
    x, y = np.array(a), np.array(b)
    with np.errstate(invalid="ignore"):
        distance = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, np.abs(x - y)).max(initial=0.0)
    scale = max(np.abs(v[np.isfinite(v)]).max(initial=0.0) for v in (x, y))
    ulp = float(np.spacing(np.asarray(scale, dtype=dtype)))
    return float(distance / ulp) if np.isfinite(distance) else float("inf")
