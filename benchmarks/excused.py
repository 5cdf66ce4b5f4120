"""What bounds let pass: how many gradient elements of random scenarios are not judged, or to no digit at all.

Run: ``python benchmarks/excused.py [scenarios]`` (default 1000). A campaign looks for false alarms, and does not see a
bound that is too wide; this does. Elements of all weight and bias gradients are counted by what their bound allows:

- not judged: it is infinite, as where a sum may overflow;
- no digit: it is at least as large as the element, as where a gradient cancels or is subnormal, a sample saturates, or
  a kink or a singularity is within reach;
- digits: what it certifies of the other elements, in the median.

Once the engine gives every quantity, and each row is judged from its own inputs; once it gives gradients alone, which
are judged from data and weights, through the whole network. The values are those of the NumPy engine.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from gradparity.adapters.loop import run
from gradparity.adapters.numpy_engine import adapter
from gradparity.adapters.outcome import Chunk
from gradparity.reference.judge import Judge, Oracle
from gradparity.reference.problem import Array, Problem
from gradparity.reports.campaign_draw import drawn

SEED = 20261128
GIVEN = ("everything", "gradients alone")


class Count:
    """The elements of one kind of numbers, judged in one way."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.digits: list[Array] = []

    def add(self, value: Array, bound: Array) -> None:
        """Count the elements of `value`; those that are 0, as of a dead unit, and not finite are left out."""
        size = np.abs(value.reshape(-1).astype(np.float64))
        counted = (size > 0.0) & np.isfinite(size)
        bound, size = bound[counted], size[counted]
        judged = bound < np.inf
        digits = np.log10(size[judged]) - np.log10(np.maximum(bound[judged], np.finfo(np.float64).tiny))
        self.seen.update(elements=size.size, unjudged=int((~judged).sum()), undecided=int((digits <= 0.0).sum()))
        self.digits.append(digits[digits > 0.0])

    @property
    def cells(self) -> tuple[str, ...]:
        """Return what the table shows."""
        digits = np.concatenate(self.digits)
        shares = [
            f"{100 * self.seen[name] / max(1, self.seen['elements']):.2f} %" for name in ("unjudged", "undecided")
        ]
        return (*shares, f"{np.median(digits):.1f}" if digits.size else "–")


def counted(problem: Problem, given: str, count: Count) -> None:
    """Count the gradients of `problem`."""

    def watch(program: str, quantity: str, value: Array, bound: Array | None) -> None:
        if program == "plain" and quantity.startswith(("dW", "db")) and bound is not None:
            count.add(value, bound)

    judge = Judge(Oracle(problem), explain=False, watch=watch)
    for item in run(adapter(""), problem):
        if isinstance(item, Chunk):
            judge.add(item if given == GIVEN[0] else replace(item, probed={}))


def measured(scenarios: int) -> dict[tuple[str, str, str], Count]:
    """Return the counts by kind of numbers, dtype, and what is given."""
    found: dict[tuple[str, str, str], Count] = {}
    for index in range(scenarios):
        draw = drawn(SEED, index)
        for dtype in draw.scenario.dtypes:
            problem = draw.scenario.problem(dtype)
            for given in GIVEN:
                counted(problem, given, found.setdefault((draw.kind, dtype, given), Count()))
    return found


def lines(found: dict[tuple[str, str, str], Count]) -> Iterator[str]:
    """Yield the table: one row for each kind of numbers in each dtype."""
    head = ["numbers", "dtype", "elements"]
    head += [f"{given}: {what}" for given in GIVEN for what in ("not judged", "no digit", "digits")]
    yield from map(line, (head, ["---"] * len(head)))
    for kind, dtype in sorted({key[:2] for key in found}):
        both = [found[kind, dtype, given] for given in GIVEN]
        yield line([kind, dtype, both[0].seen["elements"], *both[0].cells, *both[1].cells])


def line(cells: Iterable[object]) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    scenarios = int(sys.argv[1]) if sys.argv[1:] else 1000
    print("\n".join(lines(measured(scenarios))))


if __name__ == "__main__":
    main()
