"""What was wrong already in the snapshot of ``--parity-baseline``: the tests fail on what became wrong since."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from gradparity.reference.errors import InputError
from gradparity.reference.verdict import Finding
from gradparity.reports.cell import Cell, Figure
from gradparity.reports.cell_recording import printed_name
from gradparity.reports.changes import is_wrong
from gradparity.reports.drift import ENDED
from gradparity.reports.snapshot import PRINTED, SCENARIO, ArrayKey, CellRecord, Snapshot

BASELINE = pytest.StashKey[Snapshot | None]()


def baseline(config: pytest.Config) -> Snapshot | None:
    """Return the snapshot that the option names, read once. Raises `pytest.UsageError` where it cannot be read."""
    if BASELINE not in config.stash:
        path = config.getoption("--parity-baseline")
        try:
            config.stash[BASELINE] = Snapshot.read(Path(path)) if path else None
        except InputError as error:
            raise pytest.UsageError(str(error)) from None
    return config.stash[BASELINE]


def fail(config: pytest.Config, cell: Cell, text: str, bad: Iterable[Finding | Figure], faults: Iterable[str]) -> None:
    """Fail with `text`, or expect the failure where the baseline has all of it already."""
    snapshot = baseline(config)
    if snapshot is None:
        pytest.fail(text, pytrace=False)
    record = snapshot.by_key.get((SCENARIO, cell.scenario, cell.dtype, cell.engine))
    if record is None:
        pytest.fail(f"{text}\nThe baseline does not have this cell.", pytrace=False)
    news = [*_news(record, bad), *(fault for fault in faults if fault not in record.faults)]
    if news:
        pytest.fail(f"{text}\nNot so in the baseline: {', '.join(news)}.", pytrace=False)
    pytest.xfail("wrong in the baseline too")


def fail_ended(config: pytest.Config, cell: Cell, text: str) -> None:
    """Fail for a cell that gave nothing, or expect that where it gave nothing in the baseline."""
    snapshot = baseline(config)
    record = snapshot.by_key.get((SCENARIO, cell.scenario, cell.dtype, cell.engine)) if snapshot else None
    if record and record.verdict in ENDED and not record.entries:
        pytest.xfail(f"{record.verdict} in the baseline too")
    pytest.fail(text, pytrace=False)


def _news(record: CellRecord, bad: Iterable[Finding | Figure]) -> Iterator[str]:
    for item in bad:
        entry = record.by_key.get(_key(item))
        if entry is None or not is_wrong(entry, record):
            yield item.quantity


def _key(item: Finding | Figure) -> ArrayKey:
    return (PRINTED, printed_name(item)) if isinstance(item, Figure) else (item.program, item.quantity)
