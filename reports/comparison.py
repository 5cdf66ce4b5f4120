"""Two snapshots compared, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gradparity.reference.verdict import Verdict
from gradparity.reports.cell import FAILING as NOT_RIGHT
from gradparity.reports.changes import changed, is_wrong
from gradparity.reports.drift import ENDED, WORST_FIRST, CellDrift, Change, Comparison, Drift
from gradparity.reports.known import GONE
from gradparity.reports.snapshot import PRINTED, PROBE, ArrayKey, CellKey, CellRecord, Header, Snapshot


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
    changes_ = tuple(changed(old, new, sides))
    cell = replace(as_(Drift.IDENTICAL), changes=changes_, first=_first(changes_), flags=_flags(old, new))
    faults = [f for f in new.faults if f not in old.faults and GONE not in f]
    gone = [f for f in old.faults if f not in new.faults and GONE not in f]
    drifts = [c.drift for c in changes_]
    drifts += [Drift.BECAME_WRONG] * bool(faults) + [Drift.REPAIRED] * bool(gone)
    worst = min(drifts, key=WORST_FIRST.index, default=Drift.IDENTICAL)
    reasons = [*faults, *(f"no longer: {f}" for f in gone)]
    if old.inputs != new.inputs:
        reasons.append("the scenario or probe is not the same on both sides: other inputs")
    if any(change.moved for change in changes_):
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
