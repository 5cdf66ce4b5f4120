"""Options and summary for the parity tests. Every pytest of the environment loads this: it imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

NOTES = pytest.StashKey[dict[str, None]]()
"""What the registry of conventions and known defects named in this run, in order, each once."""
START = pytest.StashKey[Callable[[pytest.Session], None]]()
"""What the parity tests, once collected, have to start before any test runs."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ``--parity-…`` options."""
    group = parser.getgroup("gradparity", "parity of gradients between frameworks")
    group.addoption(
        "--parity-engine", action="append", default=[], metavar="ENGINE",
        help="run only this engine: a name, a pattern such as 'keras:*', or file.py:function (repeatable)",
    )  # fmt: skip
    group.addoption(
        "--parity-scenario", action="append", default=[], metavar="SCENARIO",
        help="run only this scenario: a name, a pattern, or a .toml file (repeatable)",
    )  # fmt: skip
    group.addoption(
        "--parity-require", action="store_true", help="fail, instead of skip, where an engine is not installed"
    )
    group.addoption(
        "--parity-full", action="store_true", help="run the catalogue in both dtypes, on slow-compiling engines too"
    )
    group.addoption(
        "--parity-baseline", metavar="FILE",
        help="a snapshot, or the folder that `gradparity run --out` wrote: fail only on what became wrong since",
    )  # fmt: skip
    group.addoption(
        "--parity-timeout", type=float, default=300.0, metavar="SECONDS", help="for one scenario on one engine"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make room for the notes of the summary; a baseline that cannot be read is told before anything runs."""
    config.stash[NOTES] = {}
    if config.getoption("--parity-baseline"):
        from gradparity.parity_tests.baseline import baseline

        baseline(config)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the engines of the parity tests in the background: the tests before those need other cores."""
    if START in session.config.stash and not session.config.getoption("collectonly"):
        session.config.stash[START](session)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """List every convention and known defect that the run met: they do not fail it, and are never hidden."""
    if config.stash[NOTES]:
        terminalreporter.section("declared conventions and known defects")
        for note in config.stash[NOTES]:
            terminalreporter.line(note)
