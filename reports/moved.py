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
    """An array whose bits changed.

    `first` is the flat index of the first element that changed; where elements are kept as samples only, of the first
    block with a changed element. `index` is the kept element that changed most, with its two values; `ulp` that change
    in units in the last place of the old value, `share` as a share of what rounding may do there (None where that is
    not known). Where elements that are not kept changed more, `share` is at most theirs, and there is no `index`.
    `changed` of `kept` kept elements changed, and `blocks` of the blocks of a larger array.
    """

    first: int
    changed: int
    kept: int
    blocks: int = 0
    index: int | None = None
    old: float | None = None
    new: float | None = None
    ulp: float | None = None
    share: float | None = None
    beyond: bool = False
    """Whether some element, kept or not, changed by more than rounding may do."""
    reshaped: bool = False


def moved(old: Entry, new: Entry, allowed: Array, within: slice = slice(None), fine: Array | None = None) -> Moved:
    """Return how `new` differs from `old`; their digests differ.

    `allowed` holds, for each kept element, how much rounding may move it (empty where that is not known); elements
    are looked at whose flat index is in `within`. `fine` are the same elements computed more precisely, where known.
    """
    if old.shape != new.shape or len(old.kept) != len(new.kept) or not old.kept:
        return Moved(0, 0, 0, reshaped=old.shape != new.shape, beyond=old.shape != new.shape)
    bits = f"<u{old.values.itemsize}"
    differs = old.values.view(bits) != new.values.view(bits)
    starts = _changed_blocks(old, new)
    first = min([*old.indices[differs][:1], *starts[:1]], default=0)
    seen = differs & _in(old.indices, within)
    hidden = _block_share(old, new)
    about = Moved(int(first), int(differs.sum()), differs.size, len(starts), share=hidden, beyond=(hidden or 0.0) > 1.0)
    if not seen.any():
        return about
    a, b = old.values.astype(np.float64), new.values.astype(np.float64)
    with np.errstate(all="ignore"):
        change = changes(a, b)
        ulp = np.where(change == 0.0, 0.0, change / np.spacing(np.abs(old.values)).astype(np.float64))
        free = (change == 0.0) | np.isposinf(allowed) if allowed.size else None
        share = None if free is None else np.where(free, 0.0, change / allowed)
    if share is not None and fine is not None:
        share = np.where(_may_overflow(fine, a, b, old.dtype), 0.0, share)
    measure = np.where(seen, ulp if share is None else share, -1.0)
    at = int(np.nanargmax(np.where(np.isnan(measure), np.inf, measure)))
    largest = None if share is None else _number(share[at])
    if largest is not None and largest < (hidden or 0.0):
        return about
    place: dict[str, Any] = {
        "index": int(old.indices[at]),
        "old": float(a[at]),
        "new": float(b[at]),
        "ulp": _number(ulp[at]),
    }
    return replace(about, **place, share=largest, beyond=about.beyond or (largest or 0.0) > 1.0)


def _number(x: float) -> float:
    return float("inf") if np.isnan(x) else float(x)


def _in(indices: Array, within: slice) -> Array:
    return (indices >= (within.start or 0)) & (indices < (np.inf if within.stop is None else within.stop))


def changes(a: Array, b: Array) -> Array:
    """Return ``|a − b|``: 0 between equal infinities or NaN, infinite between numbers of different classes."""
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


def _block_share(old: Entry, new: Entry) -> float | None:
    """Return the largest change of the least, the greatest or the sum of a block, as a share of what the changes of
    its elements may make of it: no more than the largest share of an element. None where that is not known."""
    if not old.blocks:
        return None
    x, y = old.block_table, new.block_table
    size = x["stop"] - _starts(x)
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
