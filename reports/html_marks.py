"""Signs, colours and short numbers: how the page shows one judgement."""

from __future__ import annotations

import re
from dataclasses import dataclass

from markupsafe import Markup

from gradparity.reference.verdict import Finding, Verdict, Worst
from gradparity.reports import heat
from gradparity.reports.agreement import FAR, Agreement
from gradparity.reports.cell import Cell

PROGRAMS = {
    "probed": "probed program: every row from the engine’s own inputs",
    "plain": "plain program: the step as users write it",
}


SYMBOLS = {
    Verdict.WRONG: "✗",
    Verdict.SUSPECT: "?",
    Verdict.KNOWN: "k",
    Verdict.DECLARED: "d",
    Verdict.CRASHED: "!",
    Verdict.TIMED_OUT: "T",
    Verdict.UNSUPPORTED: "–",
    Verdict.NOT_GIVEN: "·",
}


def slug(text: object) -> str:
    """Return `text` as part of an anchor: letters, digits and hyphens."""
    return re.sub(r"[^A-Za-z0-9]+", "-", str(text)).strip("-").lower() or "unnamed"


@dataclass(frozen=True)
class Mark:
    """One quantity of one cell in the table of rows."""

    kind: str
    text: str
    spoken: str = ""


def difference(cell: Cell) -> float | None:
    """Return the largest difference of a gradient from the reference's at the initial weights."""
    return max((f.difference for f in cell.findings if f.difference is not None and f.quantity != "loss"), default=None)


def ulp(found: Worst) -> float | None:
    """Return the error in ULP; that of an exact 0 says nothing."""
    return found.ulp if found.exact else None


def short(ratio: float | None) -> str:
    """Return a ratio in few characters; nothing where there is none."""
    return "" if ratio is None else "∞" if ratio == float("inf") else heat.short(ratio)


def square_text(square: heat.Square) -> Markup:
    """Return what stands in a square of the map; the verdict of one that is not within is said, and shown by a sign."""
    number = short(square.ratio)
    if square.verdict is Verdict.WITHIN:
        return Markup(number)
    sign = SYMBOLS[square.verdict]
    return Markup('<span aria-hidden="true">{}</span><span class="vh">{}</span> {}').format(
        sign, square.verdict, number
    )


def agreement_kind(found: Agreement) -> str:
    """Return the class that colours the agreement of two engines: by their usual distance."""
    distance = found.ulp or 0.0
    return "far" if distance > FAR else f"h{sum(distance > edge for edge in (0.0, 0.5, 1.0, 4.0))}"


def explained(cell: Cell) -> bool:
    """Return whether a cell has a card that explains it."""
    return cell.verdict in (Verdict.WRONG, Verdict.SUSPECT)


def kind(verdict: Verdict, ratio: float | None) -> str:
    """Return the class that colours a verdict; within its bound, by error/bound."""
    if verdict is not Verdict.WITHIN:
        return slug(verdict)
    return f"h{sum((ratio or 0.0) > edge for edge in (0.01, 0.1, 0.3, 0.6))}"


def mark(finding: Finding, first: bool) -> Mark:
    """Return the mark of one quantity."""
    ratio = finding.worst.ratio if finding.worst else None
    number = short(ratio)
    if finding.verdict is Verdict.WITHIN:
        return Mark(kind(finding.verdict, ratio), number)
    if finding.verdict is Verdict.NOT_GIVEN:
        return Mark("not-given", "·", "not given")
    spoken = f"{finding.verdict}{', first wrong row' if first else ''}: "
    return Mark(slug(finding.verdict) + (" first" if first else ""), number, spoken)
