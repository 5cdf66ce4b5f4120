"""What came of running one scenario on one engine: a typed outcome, never an exception."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gradparity.reference.problem import Array, Problem


class Status(StrEnum):
    """How a run of an engine ended."""

    DONE = "done"
    UNSUPPORTED = "unsupported"
    CRASHED = "crashed"
    TIMED_OUT = "timed out"


@dataclass(frozen=True)
class Task:
    """One cell to run: a problem (scenario × dtype) on one engine."""

    problem: Problem
    engine: str


@dataclass(frozen=True)
class Chunk:
    """Consecutive steps with the same batch size, stacked: every array is ``(steps, rows, columns)``.

    `first_step` counts from 0. Textbook orientation: columns are samples, ``W (n_l, n_{l-1})``, ``b (n_l, 1)``,
    loss ``(1, 1)``. `plain` holds ``loss dW1 db1 W1_next b1_next …``; `probed` holds ``Z1 A1 … loss dA2 delta2 …``;
    `weights` holds ``W1 b1 W2 b2 …`` as they were before each step. The run loop asserts nothing about shapes or
    dtypes of what an engine returns: the judge does. A step whose batch size, names, shapes or dtypes differ from
    those of the step before it begins a chunk of its own, so stacking changes nothing.
    """

    first_step: int
    steps: int
    weights: Mapping[str, Array]
    plain: Mapping[str, Array]
    probed: Mapping[str, Array]


@dataclass(frozen=True)
class Ended:
    """The end of a cell. `message` says why when `status` is not done; `log` holds the last lines printed."""

    status: Status
    message: str = ""
    log: str = ""
    seconds: float = 0.0
    environment: Mapping[str, str] = field(default_factory=dict)
    weights_sha256: str = ""
    """SHA-256 of the initial weights as read back from the framework (`Problem.weights_sha256` must equal it)."""
    faults: tuple[str, ...] = ()
    """What the engine must not do and did, although it finished: a sentence each. Any of them makes the cell wrong."""


_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


def printable(text: str, lines: int = 20) -> str:
    """Return the last `lines` lines of `text` without escape sequences and control characters.

    What an engine prints ends up in terminals and reports; of a line that a progress bar overwrote, the last
    state is kept.
    """
    shown = [line.rstrip("\r").rpartition("\r")[2] for line in _ESCAPE.sub("", text).rstrip().split("\n")]
    return "\n".join("".join(c for c in line if c.isprintable() or c == "\t") for line in shown[-lines:])
