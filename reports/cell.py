"""What is known of one scenario × dtype on one engine, after it ran and was judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gradparity.reference.verdict import Finding, Verdict

FAILING = (Verdict.WRONG, Verdict.CRASHED, Verdict.TIMED_OUT)


@dataclass(frozen=True)
class Figure:
    """A figure printed in a book or a paper, beside what the engine computed. `allowed` is half a unit of its last
    printed digit and the bound of the quantity in the working dtype, from end to end."""

    step: int
    quantity: str
    index: tuple[int, int]
    printed: str
    value: float | None
    error: float
    allowed: float
    verdict: Verdict


@dataclass(frozen=True)
class Cell:
    """One scenario × dtype × engine: how it ended, and every finding in the order of computation.

    `verdict` is the worst of its findings, after the registry of conventions and known defects was applied; `reasons`
    holds, for each finding that the registry names (program, quantity), the entry's reason and source. `faults` are
    defects that are no quantity (changed inputs, initial weights that were not those of the scenario). `losses` holds
    (step from 1, loss) at evenly spaced steps; `samples`, by quantity, evenly spaced elements of the gradients at the
    initial weights, where all engines can be compared with each other.
    """

    scenario: str
    dtype: str
    engine: str
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    figures: tuple[Figure, ...] = ()
    faults: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    message: str = ""
    log: str = ""
    seconds: float = 0.0
    steps: int = 0
    structured: bool = True
    functions: tuple[str, ...] = ()
    """The names of the activations and of the loss."""
    environment: Mapping[str, str] = field(default_factory=dict)
    weights_sha256: str = ""
    data_sha256: str = ""
    losses: tuple[tuple[int, float], ...] = ()
    samples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def first_wrong(self) -> Finding | None:
        """Return the first wrong row in the order of computation: where the engine went wrong."""
        return next((f for f in self.findings if f.verdict is Verdict.WRONG), None)
