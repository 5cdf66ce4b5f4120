"""Every engine on every scenario: forward pass, gradients, weights after SGD, printed figures."""

from __future__ import annotations

from typing import cast

import pytest

from gradparity.parity_tests.baseline import fail, fail_ended
from gradparity.parity_tests.plugin import NOTES, START
from gradparity.parity_tests.session import CELLS, Cells, Key, Selection, select
from gradparity.reference.errors import InputError
from gradparity.reference.verdict import Finding, Verdict
from gradparity.reports.cell import FAILING, Cell
from gradparity.reports.story import cell_lines

SELECTION = pytest.StashKey[Selection]()


def _selection(config: pytest.Config) -> Selection:
    if SELECTION not in config.stash:
        option = config.getoption
        try:
            config.stash[SELECTION] = select(
                option("--parity-scenario"), option("--parity-engine"), option("--parity-full")
            )
        except InputError as error:
            raise pytest.UsageError(str(error)) from None
    return config.stash[SELECTION]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "key" not in metafunc.fixturenames:
        return
    selection = _selection(metafunc.config)
    metafunc.config.stash[START] = _start
    keys = selection.keys
    if metafunc.function is test_printed_figures:
        with_figures = {s.scenario.name for s in selection.plan.subjects if s.figures}
        keys = tuple(key for key in keys if key.scenario in with_figures)
    metafunc.parametrize("key", keys, ids=str)


def _start(session: pytest.Session) -> None:
    items = [item for item in session.items if isinstance(item, pytest.Function)]
    needed = [cast("Key", item.callspec.params["key"]) for item in items if "key" in item.fixturenames]
    if needed:
        plan, timeout = _selection(session.config).plan, session.config.getoption("--parity-timeout")
        session.config.stash[CELLS] = cells = Cells(plan, needed, timeout)
        session.config.add_cleanup(cells.close)


@pytest.fixture
def cell(request: pytest.FixtureRequest, key: Key) -> Cell:
    reason = _selection(request.config).unavailable.get(key.engine)
    if reason is not None:
        _missing(request, f"{key.engine}: {reason}")
    found = request.config.stash[CELLS][key]
    if found.verdict is Verdict.UNSUPPORTED:
        _missing(request, f"{key.engine} on {key.scenario}: {found.message}")
    if found.verdict in FAILING and not found.findings:
        fail_ended(request.config, found, "\n".join(cell_lines(found, [])))
    for quantity, sentence in found.reasons.items():
        kind = next(f.verdict for f in found.findings if f"{f.program} {f.quantity}" == quantity)
        request.config.stash[NOTES][f"{kind}: {found.engine}: {sentence}"] = None
    return found


def _missing(request: pytest.FixtureRequest, reason: str) -> None:
    if request.config.getoption("--parity-require"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _check(config: pytest.Config, cell: Cell, *prefixes: str, suffix: str = "") -> None:
    """Fail for a wrong finding; on unstructured data for a suspect one; and where nothing at all was given."""
    chosen = [f for f in cell.findings if f.quantity.startswith(prefixes) and f.quantity.endswith(suffix)]
    given = [f for f in chosen if f.verdict is not Verdict.NOT_GIVEN]
    if not given:
        pytest.skip(f"{cell.engine} gives no {' or '.join(prefixes)}")
    bad = [f for f in given if _fails(f, cell)]
    if bad or cell.faults:
        fail(config, cell, "\n".join(cell_lines(cell, bad)), bad, cell.faults)


def _fails(finding: Finding, cell: Cell) -> bool:
    return finding.verdict is Verdict.WRONG or (finding.verdict is Verdict.SUSPECT and not cell.structured)


def test_forward(cell: Cell, pytestconfig: pytest.Config) -> None:
    _check(pytestconfig, cell, "Z", "A", "loss")


def test_gradients(cell: Cell, pytestconfig: pytest.Config) -> None:
    _check(pytestconfig, cell, "dA", "delta", "dW", "db")


def test_weights_after_sgd(cell: Cell, pytestconfig: pytest.Config) -> None:
    _check(pytestconfig, cell, "W", "b", suffix="_next")


def test_printed_figures(cell: Cell, pytestconfig: pytest.Config) -> None:
    wrong = [f for f in cell.figures if f.verdict is Verdict.WRONG]
    if wrong:
        lines = (
            f"{f.quantity}[{f.index[0]},{f.index[1]}], step {f.step}: printed {f.printed}, computed {f.value!r}; "
            f"they differ by {f.error:.3g}, allowed {f.allowed:.3g}"
            for f in wrong
        )
        fail(pytestconfig, cell, "\n".join(lines), wrong, ())
    assert cell.figures
