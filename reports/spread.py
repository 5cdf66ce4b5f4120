"""How close to the edge each engine comes: the distribution of error/bound over all that was judged."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from gradparity.reports.results import Results

LOWEST, HIGHEST, PER_DECADE = -8, 4, 4
"""Decades of error/bound that are told apart; what lies outside counts in the outermost bins."""


@dataclass(frozen=True)
class Spread:
    """Of one engine, over quantities: the largest error/bound of each, the updated weights left out (see `heat.SCALE`).

    `bins` counts them, `PER_DECADE` to a decade, from `LOWEST` on; those without any error are `zeros`.
    """

    engine: str
    bins: tuple[int, ...]
    zeros: int
    total: int
    median: float
    largest: float
    outside: int


def spreads(results: Results) -> Iterator[Spread]:
    """Yield the spread of each engine that was judged."""
    ratios: dict[str, list[float]] = {name: [] for name in results.engine_names}
    for cell in results.cells:
        for f in cell.findings:
            if f.worst is not None and not f.quantity.endswith("_next"):
                ratios[cell.engine].append(f.worst.ratio)
    for engine, found in ratios.items():
        if found:
            yield _spread(engine, found)


def _spread(engine: str, ratios: list[float]) -> Spread:
    bins = [0] * ((HIGHEST - LOWEST) * PER_DECADE)
    for ratio in filter(None, ratios):
        place = math.inf if math.isinf(ratio) else (math.log10(ratio) - LOWEST) * PER_DECADE
        # A ratio of exactly 1 is within: its bin ends there.
        bins[int(max(0, min(len(bins) - 1, math.ceil(place) - 1 if math.isfinite(place) else place)))] += 1
    return Spread(
        engine, tuple(bins), ratios.count(0.0), len(ratios), median(ratios), max(ratios), sum(r > 1.0 for r in ratios)
    )
