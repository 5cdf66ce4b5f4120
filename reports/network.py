"""The drawing of a network: layers as columns of units, from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from gradparity.reference.activations import ACTIVATIONS
from gradparity.reference.problem import Layer

SHOWN = 5
"""Units drawn of one layer; of a larger one the first and the last, with a gap between."""
GAP, STEP, TOP, RADIUS = 92, 26, 18, 8


@dataclass(frozen=True)
class Column:
    """One layer: its place, its units (y of each), where units are left out, and what is written under it."""

    x: int
    ys: tuple[int, ...]
    dots: int | None
    size: str
    name: str
    kind: str


@dataclass(frozen=True)
class Network:
    """What is drawn, in pixels; `edges` is the path of all connections, `words` says the same in text."""

    width: int
    height: int
    columns: tuple[Column, ...]
    edges: str
    radius: int
    words: str


def network(inputs: int | None, layers: Sequence[Layer]) -> Network:
    """Return the drawing; without `inputs` the first column is drawn as one of unknown size."""
    sizes = [inputs, *(layer.units for layer in layers)]
    kinds = ["inputs", *(ACTIVATIONS[layer.activation].symbol for layer in layers)]
    middle = TOP + (SHOWN - 1) * STEP // 2
    columns = []
    for index, (size, kind) in enumerate(zip(sizes, kinds, strict=True)):
        many = size is None or size > SHOWN
        shown = SHOWN - 1 if many else size or 0
        slots = [0, 1, 3, 4] if many else [(2 * i - shown + 1) / 2 + (SHOWN - 1) / 2 for i in range(shown)]
        ys = tuple(round(TOP + slot * STEP) for slot in slots)
        name = f"A{index}" if index else "X"
        x = GAP // 2 + index * GAP
        columns.append(Column(x, ys, middle if many else None, "n" if size is None else str(size), name, kind))
    edges = "".join(f"M{a.x + RADIUS} {y}L{b.x - RADIUS} {z}" for a, b in pairwise(columns) for y in a.ys for z in b.ys)
    words = ", then ".join(f"{c.size} {'' if i == 0 else 'units with '}{c.kind}" for i, c in enumerate(columns))
    height = TOP + (SHOWN - 1) * STEP + 52
    return Network(GAP * len(columns), height, tuple(columns), edges, RADIUS, words)
