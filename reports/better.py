"""Probes that changed by more than rounding may do, and are none the worse for it."""

from __future__ import annotations

import numpy as np

from gradparity.reference.problem import Array
from gradparity.reports.moved import changes
from gradparity.reports.snapshot import NARROW, Entry


def repaired(old: Entry, new: Entry, twins: tuple[Entry, Entry] | None) -> bool:
    """Return whether `new` is right where `old` was not, as far as can be told; arrays that are kept whole.

    What was no number and is one is repaired. Else float64 tells (`twins`, the same in the other dtype): it did not
    move, the old float32 value was away from it, and the new one is not.
    """
    a, b = (entry.values.astype(np.float64) for entry in (old, new))
    found = ~np.isfinite(a) & np.isfinite(b)
    away = ~found & (changes(a, b) > old.bounds) if old.bounds.size else ~found
    if not away.any():
        return True
    return twins is not None and old.dtype == "float32" and _nearer(old, new, *twins)


def _nearer(old: Entry, new: Entry, fine_old: Entry, fine_new: Entry) -> bool:
    fine = [entry.values.astype(np.float64) for entry in (fine_old, fine_new)]
    allowed = fine_old.bounds
    steady = fine_old.digest == fine_new.digest or bool(allowed.size and (changes(*fine) <= allowed).all())
    was = _off(old, fine[0]) <= old.bounds
    now = _off(new, fine[1]) <= (new.bounds if new.bounds.size else old.bounds)
    return steady and bool(now.all()) and not bool(was.all())


def _off(entry: Entry, fine: Array) -> Array:
    return changes(entry.values.astype(np.float64), fine)


def below_float32(old: Entry, new: Entry, coarse_old: Entry, coarse_new: Entry) -> bool:
    """Return whether two float64 values agree as closely as float32 could tell, and so do those of float32 (`coarse`),
    and the new one is not computed in a narrower format than the old one; arrays that are kept whole.

    A constant that is held in another precision, or a step that is: which of the two is right is not to be seen.
    """
    if old.dtype != "float64" or not coarse_old.bounds.size or (new.note == NARROW != old.note):
        return False
    allowed = coarse_old.bounds
    steady = changes(coarse_old.values.astype(np.float64), coarse_new.values.astype(np.float64)) <= allowed
    near = changes(old.values, new.values) <= allowed
    return bool(steady.all() and near.all())
