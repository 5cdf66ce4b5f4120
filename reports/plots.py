"""Marks of the page's plots: numbers to the path data of inline SVG. The templates draw axes, names and colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradparity.reports.curves import Points, Training
from gradparity.reports.spread import HIGHEST, LOWEST, PER_DECADE, Spread

WIDTH, HEIGHT = 480, 200
"""Of the area of a line plot, without its axes."""
BIN, BAR = 6, 30
"""Width of a bin and height of the tallest bar of a histogram."""


@dataclass(frozen=True)
class Tick:
    """A place on an axis, in pixels, and what is written there."""

    at: float
    text: str


@dataclass(frozen=True)
class Bars:
    """A histogram: the bars inside the bound and those outside, and where the bound is, in pixels."""

    width: int
    height: int
    inside: str
    outside: str
    bound: int
    ticks: tuple[Tick, ...]


def bars(spread: Spread) -> Bars:
    """Return the histogram of `spread`. Square roots, so that a single outlier is visible among thousands."""
    tallest = math.sqrt(max(spread.bins, default=0) or 1)
    bound = -LOWEST * PER_DECADE
    inside = outside = ""
    for index, count in enumerate(spread.bins):
        if count:
            height = max(2.0, BAR * math.sqrt(count) / tallest)
            bar = f"M{index * BIN} {BAR}v{-height:.3g}h{BIN - 1}V{BAR}z"
            inside, outside = (inside + bar, outside) if index < bound else (inside, outside + bar)
    ticks = tuple(Tick((d - LOWEST) * PER_DECADE * BIN, f"1e{d}" if d else "1") for d in range(LOWEST, HIGHEST + 1, 4))
    return Bars(len(spread.bins) * BIN, BAR, inside, outside, bound * BIN, ticks)


@dataclass(frozen=True)
class Lines:
    """A line plot: one path a curve, and both axes."""

    paths: tuple[str, ...]
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT


def losses(training: Training) -> Lines:
    """Return the plot of the losses over the steps."""
    points = [curve.loss for curve in training.curves]
    values = [v for curve in points for _, v in curve if math.isfinite(v)] or [0.0]
    low, high = min(0.0, *values), max(values)
    return _lines(points, low, high if high > low else low + 1.0, linear_ticks)


def drifts(training: Training) -> Lines:
    """Return the plot of the distance from the median engine, in decades; what is less than the lowest is on it."""
    points = [curve.drift for curve in training.curves]
    values = [v for curve in points for _, v in curve if math.isfinite(v) and v > 0.0]
    smallest = -17.0 if training.dtype == "float64" else -9.0
    low = min(smallest, -1.0)
    high = max(low + 2.0, math.ceil(math.log10(max(values, default=10**smallest))))
    logs = [tuple((step, math.log10(v) if v > 0.0 else low) for step, v in curve) for curve in points]
    return _lines(logs, low, high, decade_ticks)


def _lines(
    curves: Sequence[Points], low: float, high: float, y_ticks: Callable[[float, float], list[tuple[float, str]]]
) -> Lines:
    last = max((step for curve in curves for step, _ in curve), default=2)

    def x(step: float) -> float:
        return WIDTH * (step - 1) / (last - 1)

    def y(value: float) -> float:
        return HEIGHT * (1 - (max(low, min(high, value)) - low) / (high - low))

    paths = []
    for curve in curves:
        shown = [f"{x(step):.1f} {y(value):.1f}" for step, value in curve if math.isfinite(value)]
        paths.append("M" + "L".join(shown) if shown else "")
    steps = dict.fromkeys((1, *range(last // 4, last, max(1, last // 4)), last)) if last > 4 else range(1, last + 1)
    return Lines(
        tuple(paths),
        tuple(Tick(x(step), str(step)) for step in steps if step >= 1),
        tuple(Tick(y(value), text) for value, text in y_ticks(low, high)),
    )


def linear_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return round numbers between `low` and `high`."""
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough)
    first = math.ceil(low / step)
    return [(k * step, f"{k * step:.3g}") for k in range(first, math.floor(high / step + 1e-9) + 1)]


def decade_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return about five powers of ten between ``10**low`` and ``10**high``."""
    every = max(1, math.ceil((high - low) / 5))
    return [(float(d), f"1e{d}" if d else "1") for d in range(math.ceil(low), math.floor(high) + 1, every)]
