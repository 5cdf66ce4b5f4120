"""What a snapshot keeps of one array: all of it where it is small; else samples, and a summary block by block.

An array comes in pieces (the steps of a training), and is never held as a whole where it is large.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gradparity.reference.problem import Array

KEPT = 2**14
"""An array of at most so many elements, over all steps, is kept bit for bit."""
SAMPLES, BLOCKS = 256, 256
"""Of a larger one: so many evenly spaced elements, and a summary of about so many blocks of consecutive elements."""
SMALLEST = 64
"""A block has at least so many elements on average: where there are more than `BLOCKS` steps, steps share one."""

BLOCK = np.dtype([
    ("stop", "<i8"), ("lowest", "<f8"), ("highest", "<f8"), ("total", "<f8"),
    ("nonfinite", "<u4"), ("crc", "<u4"), ("allowed", "<f4"),
])  # fmt: skip
"""One block: the flat index after its last element; least, greatest and sum of its finite elements (+∞, −∞ and 0 of
none), how many are not finite, the CRC-32 of its bytes, and the largest of its bounds (NaN where they are not known).
A block begins where the one before it stops, and none reaches over the end of a step unless steps share one."""


@dataclass(frozen=True)
class Summary:
    """One array as a snapshot keeps it; the fields are those of `gradparity.reports.snapshot.Entry`."""

    digest: str
    kept: bytes
    whole: bool
    allowed: bytes
    lowest: float
    highest: float
    total: float
    nonfinite: int
    blocks: bytes


def places(size: int, count: int) -> Array:
    """Return the flat indices of at most `count` evenly spaced elements of `size`, the first and the last included."""
    return np.unique(np.linspace(0, max(size - 1, 0), min(size, count)).round().astype(np.int64))


def stops(steps: Sequence[int]) -> Array:
    """Return where the blocks of an array end whose steps have so many elements each."""
    ends = np.cumsum(steps, dtype=np.int64)
    each = BLOCKS // len(steps)
    if each:
        parts = np.arange(each - 1, -1, -1)
        inner: Array = ends[:, None] - np.asarray(steps, np.int64)[:, None] * parts // each
        return inner.reshape(-1)
    return ends if ends[-1] >= SMALLEST * len(steps) else np.arange(1, BLOCKS + 1) * ends[-1] // BLOCKS


def upward(bounds: Array) -> Array:
    """Return `bounds` (non-negative) in float32 with 8 significant bits, rounded up: that packs in half the space."""
    with np.errstate(all="ignore"):
        near = bounds.astype(np.float32)
        near = np.where(near < bounds, np.nextafter(near, np.float32(np.inf)), near)
    up = ((near.view(np.uint32).astype(np.uint64) + 0xFFFF) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    return np.where(np.isnan(near), near, up).astype("<f4")


class Keeping:
    """Takes an array piece by piece, whose `steps` have so many elements each, and sums it up."""

    def __init__(self, steps: Sequence[int]) -> None:
        self.steps, self.size, self.count = steps, sum(steps), 0
        self._digest = hashlib.sha256()
        self._kept: list[Array] = []
        self._allowed: list[Array] = []
        self._bounded = self._known = True

    @cached_property
    def _blocks(self) -> Array:
        ends = stops(self.steps)
        blocks = np.zeros(ends.size, BLOCK)
        blocks["stop"] = ends
        blocks["lowest"], blocks["highest"] = np.inf, -np.inf
        return blocks

    @property
    def whole(self) -> bool:
        """Return whether the array is kept as it is."""
        return self.size <= KEPT

    def add(self, piece: Array, allowed: Array | None = None) -> None:
        """Take the next elements, in C order, and the bound of each (of any shape that broadcasts), where known."""
        a = np.ascontiguousarray(piece, piece.dtype.newbyteorder("<")).reshape(-1)
        self._digest.update(a.data)
        bounds = None if allowed is None else np.broadcast_to(allowed, piece.shape).reshape(-1)
        self._bounded &= bounds is not None
        if self.whole:
            taken: slice | Array = slice(None)
        else:
            wanted = places(self.size, SAMPLES) - self.count
            taken = wanted[(wanted >= 0) & (wanted < a.size)]
            self._add_blocks(a, bounds)
        # A copy, or a view would keep all steps of a chunk in memory.
        self._kept.append(a[taken].copy())
        if bounds is not None:
            self._allowed.append(upward(bounds[taken]))
        self.count += a.size

    def skip(self, piece: Array) -> None:
        """Take elements that are no numbers of the cell's dtype and shape: they are digested, and nothing is kept."""
        self._digest.update(np.ascontiguousarray(piece, piece.dtype.newbyteorder("<")).tobytes())
        self._known = False

    def _add_blocks(self, a: Array, bounds: Array | None) -> None:
        if not a.size:
            return
        blocks, ends = self._blocks, self._blocks["stop"] - self.count
        here = slice(int(np.searchsorted(ends, 0, "right")), int(np.searchsorted(ends, a.size, "left")) + 1)
        starts = np.concatenate([[0], ends[here][:-1]])
        finite = np.isfinite(a)
        every = bool(finite.all())

        def reduced(function: np.ufunc, neutral: float) -> Array:
            found: Array = function.reduceat(a if every else np.where(finite, a, neutral), starts, dtype=np.float64)
            return found

        blocks["lowest"][here] = np.minimum(blocks["lowest"][here], reduced(np.minimum, np.inf))
        blocks["highest"][here] = np.maximum(blocks["highest"][here], reduced(np.maximum, -np.inf))
        blocks["total"][here] += reduced(np.add, 0.0)
        if not every:
            blocks["nonfinite"][here] += np.add.reduceat(~finite, starts, dtype=np.uint32)
        largest = np.nan if bounds is None else upward(np.maximum.reduceat(bounds, starts))
        blocks["allowed"][here] = np.maximum(blocks["allowed"][here], largest)
        for block, start, stop in zip(blocks[here], starts, ends[here], strict=True):
            block["crc"] = zlib.crc32(a[start:stop].data, int(block["crc"]))

    def summary(self) -> Summary:
        """Return what is kept."""
        if not self._known:
            return Summary(self._digest.hexdigest(), b"", False, b"", np.inf, -np.inf, 0.0, 0, b"")
        kept = np.concatenate(self._kept) if self._kept else np.empty(0)
        allowed = b"".join(bounds.tobytes() for bounds in self._allowed) if self._bounded else b""
        if self.whole:
            finite = kept[np.isfinite(kept)]
            lowest, highest = float(finite.min(initial=np.inf)), float(finite.max(initial=-np.inf))
            total, nonfinite = float(finite.sum(dtype=np.float64)), kept.size - finite.size
            blocks = b""
        else:
            b = self._blocks
            lowest, highest, total = float(b["lowest"].min()), float(b["highest"].max()), float(b["total"].sum())
            nonfinite, blocks = int(b["nonfinite"].sum()), b.tobytes()
        digest = self._digest.hexdigest()
        return Summary(digest, kept.tobytes(), self.whole, allowed, lowest, highest, total, nonfinite, blocks)


def summary(array: Array, allowed: Array | None = None) -> Summary:
    """Return what is kept of one array, with the bound of each element (any shape that broadcasts), where known."""
    keeping = Keeping((array.size,))
    keeping.add(array, allowed)
    return keeping.summary()
