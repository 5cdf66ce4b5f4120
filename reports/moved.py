"""How far one array moved between two snapshots: where first, by how much, and whether rounding explains it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradparity.reference.problem import Array
from gradparity.reports.snapshot import Entry

MARGIN = 1.001
"""A number this factor below the largest of its dtype may overflow in one computation and not in another."""
SUMMED = 64
"""The error of NumPy's pairwise sum of up to 2⁴⁰ elements is at most so many u times the sum of their sizes."""


@dataclass(frozen=True)
class Moved:
    """An array whose bits changed. `step` counts from 1; 0 where there are none.

    `first` is the flat index of the first element that changed; where elements are kept as samples only, of the first
    block with a changed element. `index` is the kept element that changed most in that step, with its two values;
    `share` that change as a share of what rounding may do (None where that is not known), and `ulp` the largest change
    there in units in the last place of the larger of two values. Where elements that are not kept changed more, `share`
    is at most theirs, and there is no `index`. `changed` of `kept` kept elements changed, `outside` of them in that
    step by more than rounding may do, and `blocks` of the blocks of a larger array.
    """

    first: int
    changed: int
    kept: int
    blocks: int = 0
    step: int = 0
    index: int | None = None
    old: float | None = None
    new: float | None = None
    ulp: float | None = None
    share: float | None = None
    beyond: bool = False
    """Whether some element, kept or not, changed by more than rounding may do."""
    reshaped: bool = False
    outside: int = 0


def moved(old: Entry, new: Entry, allowed: Array, steps: Array | None = None, fine: Array | None = None) -> Moved:
    """Return how `new` differs from `old`; their digests differ.

    `allowed` holds, for each kept element, how much rounding may move it (empty where that is not known), and `steps`
    the flat index at which each step begins, and the end: what is measured is the first step that changed, since the
    later ones go on from it. `fine` are the kept elements computed more precisely, where that is known.
    """
    if old.shape != new.shape or len(old.kept) != len(new.kept) or not old.kept:
        return Moved(0, 0, 0, reshaped=old.shape != new.shape, beyond=old.shape != new.shape)
    bits = f"<u{old.values.itemsize}"
    differing = np.flatnonzero(old.values.view(bits) != new.values.view(bits))
    indices = np.arange(old.values.size) if old.whole else old.indices
    starts = _changed_blocks(old, new)
    first = int(min([*indices[differing][:1], *starts[:1]], default=0))
    step = 0 if steps is None else int(np.searchsorted(steps, first, "right"))
    here = (0, old.size) if steps is None or not step else (int(steps[step - 1]), int(steps[step]))
    hidden = _block_share(old, new, *here)
    about = Moved(first, differing.size, indices.size, len(starts), step, share=hidden, beyond=(hidden or 0.0) > 1.0)
    at = differing[slice(*np.searchsorted(indices[differing], here))]
    if not at.size:
        return about
    a, b = old.values[at], new.values[at]
    with np.errstate(all="ignore"):
        spacing = np.spacing(np.fmax(np.abs(a), np.abs(b))).astype(np.float64)
        a, b = a.astype(np.float64), b.astype(np.float64)
        change = changes(a, b)
        ulp = np.where(change == 0.0, 0.0, change / spacing)
        share = None
        if allowed.size:
            share = np.where((change == 0.0) | np.isposinf(allowed[at]), 0.0, change / allowed[at])
            if fine is not None:
                share = np.where(_may_overflow(fine[at], a, b, old.dtype), 0.0, share)
    most = int(np.argmax(_numbers(ulp if share is None else share)))
    largest = None if share is None else float(_numbers(share)[most])
    outside = 0 if share is None else int((_numbers(share) > 1.0).sum())
    about = replace(about, ulp=float(_numbers(ulp).max()), outside=outside)
    if largest is not None and largest < (hidden or 0.0):
        return about
    place: dict[str, Any] = {"index": int(indices[at[most]]), "old": float(a[most]), "new": float(b[most])}
    return replace(about, **place, share=largest, beyond=about.beyond or (largest or 0.0) > 1.0)


def _numbers(x: Array) -> Array:
    """Return `x` with infinity for what is not a number."""
    found: Array = np.where(np.isnan(x), np.inf, x)
    return found


def changes(a: Array, b: Array) -> Array:
    """Return ``|a − b|``: 0 between equal infinities or NaN, infinite between numbers of different classes."""
    with np.errstate(all="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        return np.where(same, 0.0, np.where(np.isfinite(a) & np.isfinite(b), np.abs(a - b), np.inf))


def _may_overflow(fine: Array, a: Array, b: Array, dtype: str) -> Array:
    """Return where one side overflowed and the other did not, and either is right to rounding."""
    overflowed = np.isfinite(a) != np.isfinite(b)
    near: Array = overflowed & (np.abs(fine) * MARGIN > float(np.finfo(dtype).max))
    return near


def _starts(blocks: Array) -> Array:
    starts: Array = np.concatenate([[0], blocks["stop"][:-1]]).astype(np.int64)
    return starts


def _changed_blocks(old: Entry, new: Entry) -> list[int]:
    """Return where the blocks begin in which something changed."""
    if not old.blocks:
        return []
    return [int(i) for i in _starts(old.block_table)[old.block_table["crc"] != new.block_table["crc"]]]


def _block_share(old: Entry, new: Entry, start: int, stop: int) -> float | None:
    """Return, of the blocks between two flat indices, the largest change of the least, the greatest or the sum, as a
    share of what the changes of its elements may make of it: no more than the largest share of an element. None where
    that is not known.
    """
    if not old.blocks:
        return None
    starts, stops = _starts(old.block_table), old.block_table["stop"]
    here = (starts >= start) & (stops <= stop)
    x, y, size = old.block_table[here], new.block_table[here], (stops - starts)[here]
    with np.errstate(all="ignore"):
        largest = np.maximum(np.abs(x["lowest"]), np.abs(x["highest"]))
        summed = size * (x["allowed"] + SUMMED * np.finfo(np.float64).eps * largest)
        shares = [changes(x[name], y[name]) / x["allowed"] for name in ("lowest", "highest")]
        shares.append(changes(x["total"], y["total"]) / summed)
        share = np.max([np.where(np.isnan(s), 0.0, s) for s in shares], axis=0)
    share = np.where((x["nonfinite"] == 0) & (y["nonfinite"] == 0), share, 0.0)
    share = np.where(y["nonfinite"] > x["nonfinite"], np.inf, share)
    known = np.isfinite(x["allowed"])
    return float(share[known].max()) if known.any() else None
