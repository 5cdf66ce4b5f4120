"""The parity tests wait for processes in the background. Tests that need a framework use these again afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from gradparity.adapters.pool import Pool

# For what the tests start, and here, where nothing has imported NumPy yet: the matrices are small, and a second thread
# of BLAS, which waits actively, would take time from the engines of the parity tests.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let those tests come first that wait for nobody, then the parity tests.

    Only when these leave the cores come those that wait for processes of their own (`ran`), and those that use `warm`.
    """
    items.sort(key=lambda item: [name in getattr(item, "fixturenames", ()) for name in ("warm", "ran", "key")])


@pytest.fixture(scope="session")
def warm(pytestconfig: pytest.Config) -> Iterator[Pool]:
    """The warm processes of the parity tests, or new ones where none of these runs."""
    from gradparity.adapters.pool import Pool
    from gradparity.parity_tests.session import CELLS

    if cells := pytestconfig.stash.get(CELLS, None):
        cells.wait()
        yield cells.pool
    else:
        with Pool() as pool:
            yield pool
