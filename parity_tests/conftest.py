"""The parity tests wait for processes in the background. Tests that need a framework use these again afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gradparity.adapters.pool import Pool
from gradparity.parity_tests.session import CELLS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let those tests come first that wait for nobody, then the parity tests, then those that use `warm`."""
    items.sort(key=lambda item: [name in getattr(item, "fixturenames", ()) for name in ("warm", "key")])


@pytest.fixture(scope="session")
def warm(pytestconfig: pytest.Config) -> Iterator[Pool]:
    """The warm processes of the parity tests, or new ones where none of these runs."""
    if cells := pytestconfig.stash.get(CELLS, None):
        cells.wait()
        yield cells.pool
    else:
        with Pool() as pool:
            yield pool
