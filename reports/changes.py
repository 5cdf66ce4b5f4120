"""Two cells compared, quantity by quantity, in the order of computation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from gradparity.reference.problem import Array
from gradparity.reference.verdict import Verdict
from gradparity.reports.better import below_float32, repaired
from gradparity.reports.drift import LISTED, Change, Drift
from gradparity.reports.known import GREW
from gradparity.reports.moved import moved
from gradparity.reports.snapshot import PROBE, CellRecord, Entry, Snapshot


def changed(old: CellRecord, new: CellRecord, sides: tuple[Snapshot, Snapshot]) -> Iterator[Change]:
    """Yield what is not the same, in the order of computation."""
    keys = sorted({*old.by_key, *new.by_key}, key=lambda k: (new.by_key.get(k) or old.by_key[k]).order)
    for key in keys:
        a, b = old.by_key.get(key), new.by_key.get(key)
        if a is None or b is None:
            there = b or a
            assert there
            drift = Drift.APPEARED if a is None else Drift.VANISHED
            verdicts = ("" if a is None else a.verdict, "" if b is None else b.verdict)
            yield Change(*key, there.order, drift, verdicts, ("", there.note))
            continue
        change = _change(a, b, old, new, _twins(a, sides))
        if change.moved or change.drift is not Drift.IDENTICAL:
            yield change


def _twins(entry: Entry, sides: tuple[Snapshot, Snapshot]) -> tuple[Entry, Entry] | None:
    """Return the same quantity of a probe in the other dtype, on both sides, where it is there and kept alike."""
    if entry.kind != PROBE:
        return None
    other = "float64" if entry.dtype == "float32" else "float32"
    cells = [side.by_key.get((PROBE, entry.subject, other, entry.engine)) for side in sides]
    found = [cell.by_key.get(entry.key) for cell in cells if cell]
    a, b = found if len(found) == 2 else (None, None)
    return (a, b) if a and b and a.shape == b.shape == entry.shape and a.kept and b.kept else None


def _change(a: Entry, b: Entry, old: CellRecord, new: CellRecord, twins: tuple[Entry, Entry] | None) -> Change:
    drift = _judged(a, b, old, new)
    about = Change(*a.key, a.order, drift or Drift.IDENTICAL, (a.verdict, b.verdict), (a.note, b.note))
    if a.digest == b.digest and a.shape == b.shape:
        return about
    allowed = a.bounds
    if a.verdict and a.bounds.size == b.bounds.size:
        # Both are within their bounds of the same exact value: together they bound how far they are apart.
        allowed = a.bounds + b.bounds
    fine = twins[0].values if twins and a.dtype == "float32" else None
    steps = _steps(a, old)
    move = moved(a, b, allowed, steps, fine)
    index = () if move.index is None else tuple(int(i) for i in np.unravel_index(move.index, a.shape))
    index = index[1:] if len(a.shape) == 3 and steps is not None else index
    about = replace(about, moved=move, step=move.step, index=index)
    if drift is not None:
        return about
    if not (a.verdict or b.verdict) and move.beyond:
        if a.whole and b.whole and a.shape == b.shape:
            if repaired(a, b, twins):
                return replace(about, drift=Drift.REPAIRED)
            if twins and below_float32(a, b, *twins):
                return replace(about, drift=Drift.FINER)
        return replace(about, drift=Drift.BEYOND)
    return replace(about, drift=Drift.WITHIN)


def _judged(a: Entry, b: Entry, old: CellRecord, new: CellRecord) -> Drift | None:
    """Return what the two verdicts say; None where they say that nothing happened."""
    was, now = is_wrong(a, old), is_wrong(b, new)
    if now and a.verdict == Verdict.KNOWN:
        # Listed for the old release, and not yet for the new one.
        return Drift.BECAME_WRONG if GREW in b.note else Drift.STILL_WRONG
    if was and b.verdict == Verdict.KNOWN:
        return Drift.STILL_WRONG
    if was or now:
        return Drift.STILL_WRONG if was and now else Drift.BECAME_WRONG if now else Drift.REPAIRED
    listed = [(e.verdict, e.note) if e.verdict in LISTED else None for e in (a, b)]
    if listed[0] == listed[1]:
        return None
    if b.verdict == Verdict.KNOWN != a.verdict:
        # That a defect is listed makes it no better for who had it not.
        return Drift.BECAME_WRONG
    return Drift.REPAIRED if a.verdict == Verdict.KNOWN and listed[1] is None else Drift.CONVENTION


def is_wrong(entry: Entry, cell: CellRecord) -> bool:
    """Return whether a quantity makes its cell fail."""
    return entry.verdict == Verdict.WRONG or (entry.verdict == Verdict.SUSPECT and not cell.structured)


def _steps(entry: Entry, cell: CellRecord) -> Array | None:
    """Return the flat index at which each step begins, and the end; None of a probe."""
    if not cell.batches:
        return None
    if len(entry.shape) == 3:
        return np.arange(entry.shape[0] + 1) * (entry.size // max(1, entry.shape[0]))
    samples = np.repeat(*np.array(cell.batches, dtype=np.int64).T)
    rows = entry.size // int(samples.sum())
    return np.concatenate([[0], np.cumsum(samples) * rows])
