"""Two environments, built, run and compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from gradparity.adapters.registry import find
from gradparity.reference.errors import InputError
from gradparity.reports.comparison import compare
from gradparity.reports.drift import Comparison
from gradparity.reports.environments import Environment, current
from gradparity.reports.lock import Lock
from gradparity.reports.measure import Measurement
from gradparity.reports.snapshot import Snapshot
from gradparity.reports.wanted import FRAMEWORKS, Wanted, concerned, provided
from gradparity.reports.workshop import Workshop, unusable


@dataclass(frozen=True)
class Upgrade:
    """What changed from one environment to the other. `packages` says which versions differ; `notes` what was decided.

    `broken` holds what cannot be imported or used on one side, with the last lines of the attempt.
    """

    old: Snapshot
    new: Snapshot
    comparison: Comparison
    packages: tuple[str, ...]
    notes: tuple[str, ...] = ()
    broken: Mapping[str, str] = field(default_factory=dict)

    def exit_code(self, bits: bool = False) -> int:
        """Return that of the comparison, or 3 where nothing is wrong but engines are broken on one side."""
        return self.comparison.exit_code(bits) or (3 if self.broken else 0)


def upgrade(old: Wanted, new: Wanted, shop: Workshop) -> Upgrade:
    """Compare two sides. The new one is installed, and where there are cores for both also run, while the old one runs.

    Raises `InputError` for sides that cannot be compared, `Unbuildable` where one cannot be had.
    """
    if old.current and new.current:
        raise InputError("both sides are this environment: name what it is to be compared with")
    here = current()
    first = None if old.current else shop.resolve(old, here.side.distributions if new.current else None)
    pins = first.pins if first else dict(here.side.distributions)
    # What is installed here may be newer than anything that is named.
    second = None if new.current else shop.resolve(new, pins, dated=not old.current)
    later_pins = second.pins if second else dict(here.side.distributions)
    engines = shop.selection.shared(concerned((old, new)), pins, later_pins)
    shop.selection.plan(engines)

    sharing = 2 if shop.side_by_side(engines) else 1

    def built(side: Wanted, lock: Lock | None) -> Environment:
        return shop.build(side, lock) if lock else here

    def built_and_run() -> tuple[Environment, Measurement | None]:
        after = built(new, second)
        return after, shop.run(new, after, engines, sharing) if sharing == 2 else None

    with ThreadPoolExecutor(1) as background:
        try:
            before = built(old, first)
            building = background.submit(built_and_run)
            measured = shop.run(old, before, engines, sharing)
            after, measured_too = building.result()
            measured_too = measured_too or shop.run(new, after, engines)
            shop.settle(measured, measured_too)
        except BaseException:
            shop.stop()
            raise
    ran, ran_too = measured.snapshot, measured_too.snapshot
    # What nothing runs on is nobody's concern: TensorFlow 2.12 brings a jax without jaxlib.
    needed = {name for engine in engines for name in find(engine).distributions}
    broken = {
        f"{name} in {side.text}": log
        for side, e in ((old, before), (new, after))
        for name, log in e.failed.items()
        if name in needed
    }
    lost, lost_too = unusable(ran), unusable(ran_too)
    for side, mine, other in ((old, lost, lost_too), (new, lost_too, lost)):
        broken |= {f"{engine} in {side.text}": said for engine, said in mine.items() if engine not in other}
    notes = [f"{side.text}: {note}" for side, lock in ((old, first), (new, second)) if lock for note in lock.notes]
    if concerned((old, new)) is None:
        notes += [f"{name} is on one side only: nothing of it was compared" for name in _one_sided(pins, later_pins)]
    ran, ran_too = _common(ran, ran_too), _common(ran_too, ran)
    return Upgrade(ran, ran_too, compare(ran, ran_too), tuple(differences(pins, later_pins)), tuple(notes), broken)


def _common(snapshot: Snapshot, other: Snapshot) -> Snapshot:
    """Return the part of `snapshot` on engines that ran in both."""
    there = {cell.engine for cell in other.cells}
    return replace(snapshot, cells=tuple(cell for cell in snapshot.cells if cell.engine in there))


def _one_sided(*sides: Mapping[str, str]) -> list[str]:
    """Return the frameworks that one of two sides has."""
    there, too = ({provided(name) for name in side} for side in sides)
    return [name for name in (*FRAMEWORKS, "keras") if (name in there) != (name in too)]


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    """Yield the packages that `new` has at another version, or that only one of them has."""
    for name in sorted({*old, *new}):
        was, now = old.get(name, "none"), new.get(name, "none")
        if was != now:
            yield f"{name} {was} → {now}"
