"""The words a judgement is given in, and one judged quantity with its worst element."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """Every outcome that a quantity, or a whole cell of the report, can have."""

    WITHIN = "within"
    SUSPECT = "suspect"
    WRONG = "wrong"
    DECLARED = "declared"
    KNOWN = "known"
    NOT_GIVEN = "not given"
    UNSUPPORTED = "unsupported"
    CRASHED = "crashed"
    TIMED_OUT = "timed out"


@dataclass(frozen=True, slots=True)
class Worst:
    """The element with the largest error/bound. `step` counts from 1; `index` is (row, column), both from 0."""

    step: int
    index: tuple[int, int]
    value: float
    exact: float
    error: float
    bound: float
    ulp: float

    @property
    def ratio(self) -> float:
        """Return error/bound; infinite where the classes (finite, infinity, NaN) differ or the bound is 0, and 0 where
        nothing can be said."""
        if self.error == 0.0 or self.bound == float("inf"):
            return 0.0
        return self.error / self.bound if self.bound > 0.0 and self.error < float("inf") else float("inf")


@dataclass(frozen=True, slots=True)
class Finding:
    """The judgement of one quantity of one program (``plain`` or ``probed``), over all steps."""

    program: str
    quantity: str
    verdict: Verdict
    formula: str = ""
    steps: int = 0
    first_wrong_step: int | None = None
    elements: int = 0
    not_judged: int = 0
    wrong: int = 0
    suspect: int = 0
    sigmas: float = 0.0
    digits: float | None = None
    worst: Worst | None = None
    difference: float | None = None
    """The largest ``|value − reference|`` at the initial weights, the reference evaluated end to end."""
    basis: str = ""
    """How it was judged: ``row`` (from the engine's own inputs), ``same bits`` (as the probed program's), or
    ``end to end``."""
    note: str = ""
    convention: str = ""
    """The conventions (`gradparity.reference.conventions`, separated by spaces) whose formulas give what the engine
    has, where the table's own does not."""
    cause: str = ""
    """Why it is wrong, in a sentence (`gradparity.reference.diagnosis`); for the first wrong quantity of a program."""
    details: tuple[Worst, ...] = field(default=())
    """The worst element of each step outside its bound (the first ten such steps)."""
    digest: str = ""
    """The first 16 hexadecimal digits of the SHA-256 over all values, step by step: equal where all bits are."""
