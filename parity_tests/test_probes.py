"""With ``--parity-baseline``: every probe of the snapshot again, one test a function and engine."""

from __future__ import annotations

import threading
from collections import defaultdict

import pytest

from gradparity.adapters import registry
from gradparity.adapters.pool import Pool
from gradparity.parity_tests.baseline import baseline
from gradparity.reports.comparison import compare
from gradparity.reports.drift import FAILING, CellDrift, Drift
from gradparity.reports.drift_story import explain, place
from gradparity.reports.operation_cells import OperationRun, select
from gradparity.reports.side import here
from gradparity.reports.snapshot import PROBE, CellRecord, Header, Snapshot

Group = tuple[str, str]
"""Engine, function."""


def _groups(config: pytest.Config) -> list[Group]:
    snapshot = baseline(config)
    cells = [cell for cell in snapshot.cells if cell.kind == PROBE] if snapshot else []
    return sorted({_group(cell) for cell in cells})


def _group(cell: CellRecord | CellDrift) -> Group:
    return cell.engine, cell.subject.partition("(")[0]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "probed" in metafunc.fixturenames:
        metafunc.parametrize("probed", _groups(metafunc.config), ids="-".join)


@pytest.fixture(scope="session")
def drifts(request: pytest.FixtureRequest) -> dict[Group, list[CellDrift]]:
    """Run what the selected tests are about, and compare it with the baseline."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    wanted = {item.callspec.params["probed"] for item in items if "probed" in item.fixturenames}
    old = baseline(request.config)
    assert old is not None
    cells = tuple(c for c in old.cells if c.kind == PROBE and _group(c) in wanted and registry.find(c.engine).installed)
    cases = {case.name: case for case in select()}
    chosen = dict.fromkeys((c.subject, c.engine) for c in cells if c.subject in cases)
    records: list[CellRecord] = []
    lock = threading.Lock()

    def finished(record: CellRecord) -> None:
        with lock:
            records.append(record)

    with Pool(timeout=request.config.getoption("--parity-timeout")) as pool:
        OperationRun([(cases[name], engine) for name, engine in chosen]).run(pool, finished)
    new = Snapshot(Header.now(here(), {}), tuple(records))
    found = defaultdict[Group, list[CellDrift]](list)
    for drift in compare(Snapshot(old.header, cells), new).cells:
        found[_group(drift)].append(drift)
    return found


def test_probe(probed: Group, drifts: dict[Group, list[CellDrift]]) -> None:
    """Fail for a probe that became wrong, or changed by more than rounding may do, or does not end any more."""
    engine = registry.find(probed[0])
    if not engine.installed:
        pytest.skip(f"{engine.name}: not installed; {engine.install}")
    bad = [d for d in drifts[probed] if d.drift in (*FAILING, Drift.INCOMPLETE)]
    if bad:
        pytest.fail("\n\n".join(_said(d) for d in bad), pytrace=False)


def _said(cell: CellDrift) -> str:
    lines = (f"  {label}: {sentence}" for label, sentence in explain(cell))
    return "\n".join([f"{place(cell)}: {cell.drift}", *lines])
