"""Drift: what changed between two snapshots, cell by cell and quantity by quantity, in the order of computation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

import numpy as np

from gradparity.reference.problem import Array
from gradparity.reference.verdict import Verdict
from gradparity.reports.better import below_float32, repaired
from gradparity.reports.cell import FAILING as NOT_RIGHT
from gradparity.reports.known import GONE, GREW
from gradparity.reports.moved import Moved, moved
from gradparity.reports.snapshot import PRINTED, PROBE, ArrayKey, CellKey, CellRecord, Entry, Header, Snapshot


class Drift(StrEnum):
    """What became of a quantity, or of a cell; the worst first."""

    BECAME_WRONG = "became wrong"
    BEYOND = "changed beyond rounding"
    INCOMPLETE = "incomplete"
    STILL_WRONG = "still wrong"
    REPAIRED = "repaired"
    FINER = "changed below float32"
    CONVENTION = "convention changed"
    VANISHED = "vanished"
    APPEARED = "appeared"
    NOT_REPRODUCIBLE = "not reproducible"
    NOT_COMPARABLE = "not comparable"
    WITHIN = "changed within the bound"
    IDENTICAL = "identical"


WORST_FIRST = tuple(Drift)
FAILING = (Drift.BECAME_WRONG, Drift.BEYOND)
ENDED = (Verdict.CRASHED, Verdict.TIMED_OUT)
LISTED = (Verdict.DECLARED, Verdict.KNOWN)


@dataclass(frozen=True)
class Change:
    """One quantity that is not bit for bit what it was. `step` counts from 1; 0 of a probe, or where none is known.

    `index` is the place of the element that changed most, without the step.
    """

    program: str
    quantity: str
    order: int
    drift: Drift
    verdicts: tuple[str, str]
    notes: tuple[str, str]
    moved: Moved | None = None
    step: int = 0
    index: tuple[int, ...] = ()


@dataclass(frozen=True)
class CellDrift:
    """One cell of both snapshots. `verdicts` are the old and the new one, empty on the side where it is not there.

    `first` is the first quantity that changed, in the order of computation: its inputs had the same bits, so what
    moved it is that quantity itself. `blamed` is the first of those that make the cell what it is.
    """

    kind: str
    subject: str
    dtype: str
    engine: str
    drift: Drift
    verdicts: tuple[str, str]
    changes: tuple[Change, ...] = ()
    first: Change | None = None
    reason: str = ""
    logs: tuple[str, str] = ("", "")
    flags: Mapping[str, tuple[str, str]] | None = None
    """What else differs in the environment that the engine reported."""

    @property
    def blamed(self) -> Change | None:
        """Return the first quantity that makes the cell what it is, or the first that changed."""
        return next((c for c in self.changes if c.drift is self.drift), self.first)


@dataclass(frozen=True)
class Comparison:
    """Two snapshots side by side. `machine` says why bits are not comparable; `neither` counts the cells that neither
    side could run."""

    old: Header
    new: Header
    cells: tuple[CellDrift, ...]
    machine: tuple[str, ...] = ()
    neither: int = 0
    unrepeated: tuple[int, int] = (0, 0)
    """How many cells that changed have no second run, on the old and on the new side."""

    @cached_property
    def counts(self) -> dict[Drift, int]:
        """How many cells there are of each kind of drift, the worst first."""
        counter = Counter(cell.drift for cell in self.cells)
        return {drift: counter[drift] for drift in WORST_FIRST if counter[drift]}

    @property
    def failed(self) -> list[CellDrift]:
        """Return the cells that became wrong or changed beyond rounding, or did not finish."""
        return self.of(*FAILING, Drift.INCOMPLETE)

    def of(self, *drifts: Drift) -> list[CellDrift]:
        """Return the cells of some kinds of drift."""
        return [cell for cell in self.cells if cell.drift in drifts]

    @property
    def bits_changed(self) -> list[CellDrift]:
        """Return the cells in which a bit changed; those whose bits are not comparable are left out."""
        return [cell for cell in self.of(*_WITH_BITS) if any(change.moved for change in cell.changes)]

    def exit_code(self, bits: bool = False) -> int:
        """Return 1 if something became wrong or changed beyond rounding, or with `bits` any bit changed; else 3 if a
        cell did not finish, nothing was compared, or with `bits` bits are not comparable; else 0."""
        if self.of(*FAILING) or (bits and self.bits_changed):
            return 1
        if not self.cells:
            return 3
        return 3 if self.of(Drift.INCOMPLETE) or (bits and self.of(Drift.NOT_COMPARABLE)) else 0


_WITH_BITS = tuple(set(Drift) - {Drift.NOT_REPRODUCIBLE, Drift.NOT_COMPARABLE, Drift.INCOMPLETE})


def compare(old: Snapshot, new: Snapshot) -> Comparison:
    """Return what changed from `old` to `new`."""
    machine = tuple(machine_differences(old.header, new.header))
    keys = list(dict.fromkeys([*new.by_key, *old.by_key]))
    cells = []
    neither = 0
    for key in keys:
        sides = old.by_key.get(key), new.by_key.get(key)
        absent = all(side is None or side.verdict == Verdict.UNSUPPORTED for side in sides)
        if absent or all(_raised(side) for side in sides):
            neither += 1
        else:
            cells.append(_cell(key, *sides, (old, new), bool(machine)))
    changed = differing(old, new)
    unrepeated = [sum(once(cell) for cell in side.cells if cell.key in changed) for side in (old, new)]
    return Comparison(old.header, new.header, tuple(cells), machine, neither, (unrepeated[0], unrepeated[1]))


def _raised(cell: CellRecord | None) -> bool:
    """Return whether a probe ended with an exception: on both sides, that is what it does with such arrays."""
    return cell is not None and cell.kind == PROBE and cell.verdict == Verdict.CRASHED


def differing(old: Snapshot, new: Snapshot) -> set[CellKey]:
    """Return the cells of both snapshots whose bits are not the same."""

    def digests(cell: CellRecord) -> dict[ArrayKey, str]:
        return {entry.key: entry.digest for entry in cell.entries}

    there = old.by_key.keys() & new.by_key.keys()
    return {key for key in there if digests(old.by_key[key]) != digests(new.by_key[key])}


def machine_differences(old: Header, new: Header) -> Iterator[str]:
    """Yield why the bits of two snapshots may differ although no software does, a sentence each."""
    if old.cpu != new.cpu:
        yield f"another processor: {old.cpu or 'unknown'} → {new.cpu or 'unknown'}"
    gone, come = sorted({*old.features} - {*new.features}), sorted({*new.features} - {*old.features})
    if gone or come:
        yield f"other instruction sets: {' '.join([*(f'−{f}' for f in gone), *(f'+{f}' for f in come)])}"
    for name in sorted({*old.variables, *new.variables}):
        if "THREADS" in name or name == "NPROC":
            was, now = (side.variables.get(name, "unset") for side in (old, new))
            if was != now:
                yield f"another number of threads: {name} {was} → {now}"


def _cell(
    key: CellKey, old: CellRecord | None, new: CellRecord | None, sides: tuple[Snapshot, Snapshot], elsewhere: bool
) -> CellDrift:
    verdicts = (old.verdict if old else "", new.verdict if new else "")

    def as_(drift: Drift, reason: str = "") -> CellDrift:
        logs = (old.log if old else "", new.log if new else "")
        return CellDrift(*key, drift, verdicts, reason=reason, logs=logs)

    if old is None or old.verdict == Verdict.UNSUPPORTED:
        return as_(Drift.APPEARED, old.message if old else "")
    if new is None or new.verdict == Verdict.UNSUPPORTED:
        return as_(Drift.VANISHED, new.message if new else "")
    ended = [f"{name}: {c.verdict}: {c.message}" for name, c in (("old", old), ("new", new)) if c.verdict in ENDED]
    right = new.verdict not in NOT_RIGHT and not any(is_wrong(entry, new) for entry in new.entries)
    if old.verdict == Verdict.CRASHED and right:
        return as_(Drift.REPAIRED, ended[0])
    if ended:
        return as_(Drift.INCOMPLETE, "; ".join(ended))
    random = {name: _random(c) for name, c in (("old", old), ("new", new)) if _random(c)}
    if random:
        reasons = [f"two runs on the {name} side differ in {', '.join(found)}" for name, found in random.items()]
        return as_(Drift.NOT_REPRODUCIBLE, "; ".join(reasons))
    changes_ = tuple(_changes(old, new, sides))
    cell = replace(as_(Drift.IDENTICAL), changes=changes_, first=_first(changes_), flags=_flags(old, new))
    faults = [f for f in new.faults if f not in old.faults and GONE not in f]
    gone = [f for f in old.faults if f not in new.faults and GONE not in f]
    drifts = [c.drift for c in changes_]
    drifts += [Drift.BECAME_WRONG] * bool(faults) + [Drift.REPAIRED] * bool(gone)
    worst = min(drifts, key=WORST_FIRST.index, default=Drift.IDENTICAL)
    reasons = [*faults, *(f"no longer: {f}" for f in gone)]
    if old.inputs != new.inputs:
        reasons.append("the scenario or probe is not the same on both sides: other inputs")
    if cell.changes:
        reasons += [f"the {name} side did not run twice" for name, c in (("old", old), ("new", new)) if once(c)]
    if worst is Drift.WITHIN and (elsewhere or old.inputs != new.inputs):
        worst = Drift.NOT_COMPARABLE
    return replace(cell, drift=worst, reason="; ".join(reasons))


def _random(cell: CellRecord) -> list[str]:
    """Return the quantities that came out differently in a second process."""
    return list(dict.fromkeys(e.quantity for e in cell.entries if e.reproducible is False))


def once(cell: CellRecord) -> bool:
    """Return whether it is not known that a cell comes out the same in a second process."""
    return any(e.reproducible is None and e.program != PRINTED for e in cell.entries)


def _first(changes_: tuple[Change, ...]) -> Change | None:
    """Return what changed first: in the earliest step, and there in the order of computation."""
    with_bits = [c for c in changes_ if c.moved and c.program != PRINTED]
    return min(with_bits, key=lambda c: (c.step, c.order), default=None)


def _flags(old: CellRecord, new: CellRecord) -> dict[str, tuple[str, str]]:
    names = dict.fromkeys([*old.environment, *new.environment])
    pairs = {name: (old.environment.get(name, ""), new.environment.get(name, "")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _changes(old: CellRecord, new: CellRecord, sides: tuple[Snapshot, Snapshot]) -> Iterator[Change]:
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
