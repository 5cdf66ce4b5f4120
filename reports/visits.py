"""A range of releases of one package, each of which is built and run at most once, and only where it is asked for."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from gradparity.reference.errors import InputError
from gradparity.reports.comparison import compare
from gradparity.reports.drift import Comparison
from gradparity.reports.environments import Environment
from gradparity.reports.lock import Lock
from gradparity.reports.measure import Measurement
from gradparity.reports.releases import Release
from gradparity.reports.snapshot import Snapshot
from gradparity.reports.unbuildable import Unbuildable
from gradparity.reports.wanted import Wanted, concerned, wanted
from gradparity.reports.workshop import Workshop

REASON = 160
"""How many characters are kept of why a release was skipped."""


@dataclass(frozen=True)
class Visit:
    """One release. `measured` is what it computed, or `lacking` why it was skipped; `changed` whether it differs from
    the first of a search."""

    release: Release
    measured: Measurement | None = None
    lacking: str = ""
    changed: bool | None = None

    @property
    def snapshot(self) -> Snapshot | None:
        """What it computed."""
        return self.measured.snapshot if self.measured else None


class Visits:
    """The releases of `package` in order. What the first one was built with is preferred for all others.

    A context manager: what is being built in the background ends with it.
    """

    def __init__(self, package: str, releases: Sequence[Release], shop: Workshop) -> None:
        self.package, self.releases, self._shop = package, releases, shop
        self._first: Lock | None = None
        self._background = ThreadPoolExecutor(1)
        self._building: dict[int, Future[tuple[Lock, Environment]]] = {}

    def __len__(self) -> int:
        return len(self.releases)

    def __enter__(self) -> Visits:
        return self

    def __exit__(self, *_: object) -> None:
        self._shop.uv.stop()
        self._background.shutdown(cancel_futures=True)

    def _prepare(self, index: int) -> None:
        if index < len(self) and not self.releases[index].lacking:
            self._building[index] = self._background.submit(self._built, index)

    def visit(self, index: int, *, ends: bool = False, next_too: bool = False) -> Visit:
        """Build and run one release; with `next_too` the one after it is built while this one runs.

        Raises `Unbuildable` where it cannot be had and is one of the `ends`, or the network or the disk is to blame.
        """
        release = self.releases[index]
        if release.lacking:
            if ends:
                raise InputError(f"{self._side(index).text} cannot be run: {release.lacking}; name another release")
            return Visit(release, lacking=release.lacking)
        try:
            future = self._building.pop(index, None)
            lock, environment = future.result() if future else self._built(index)
            if next_too:
                self._prepare(index + 1)
            assert self._first
            side = self._side(index)
            engines = self._shop.selection.shared(concerned([side]), self._first.pins, lock.pins)
            return Visit(release, self._shop.run(side, environment, engines))
        except Unbuildable as failure:
            if ends or failure.passing:
                raise
            said = " ".join(failure.log.split())
            why = said.partition("cause: ")[2] or said or failure.message
            return Visit(release, lacking=f"cannot {failure.stage}: {textwrap.shorten(why, REASON, placeholder=' …')}")

    def compare(self, old: Visit, new: Visit) -> Comparison | None:
        """Return what changed from one release to another; None where one of them was skipped."""
        if not old.measured or not new.measured:
            return None
        self._shop.settle(old.measured, new.measured)
        return compare(old.measured.snapshot, new.measured.snapshot)

    def _side(self, index: int) -> Wanted:
        return wanted(f"{self.package}=={self.releases[index].version}")

    def _built(self, index: int) -> tuple[Lock, Environment]:
        side = self._side(index)
        lock = self._shop.resolve(side, self._first.pins if self._first else None)
        self._first = self._first or lock
        return lock, self._shop.build(side, lock)
