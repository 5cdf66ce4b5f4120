"""What a report says, in words: the same sentences in the terminal, in Markdown, in JUnit and on the page."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from gradparity.reference.verdict import Finding, Verdict, Worst
from gradparity.reports.cell import Cell, Figure
from gradparity.reports.results import Results

SCOPE = (
    "This certifies the scenarios below, on this machine and with these versions; it does not certify your own model,"
    " shapes or device."
)

BASES = {
    "row": "judged from the engine's own inputs",
    "same bits": "the same bits as the probed program's",
    "end to end": "judged from the initial weights of the step",
}


def headline(results: Results) -> str:
    """Return the verdict in one sentence."""
    failed, unfinished, not_run = results.failed, results.unfinished, results.not_run
    judged = [c for c in results.cells if c.verdict not in (Verdict.UNSUPPORTED, Verdict.NOT_GIVEN)]
    if failed:
        first = failed[0]
        more = f" and {plural(len(failed) - 1, 'more cell')}" if len(failed) > 1 else ""
        return f"{str(results.verdict).capitalize()}: {place(first)}{more}, of {plural(len(results.cells), 'cell')}."
    if unfinished or results.lost:
        parts = [
            f"{n} {verdict}"
            for verdict, n in results.counts().items()
            if verdict in (Verdict.CRASHED, Verdict.TIMED_OUT)
        ]
        parts += [f"{len(not_run)} not run"] if not_run else []
        others = len(judged) - len(unfinished)
        rest = f"nothing wrong in {plural(others, 'other cell')}" if others else "nothing was judged"
        return f"Incomplete: {', '.join(parts) or 'part of the results is lost'}; {rest}."
    if not judged:
        return "Nothing was judged."
    scope = [(len(judged), "cell"), (len({c.scenario for c in judged}), "scenario")]
    scope += [(len({c.engine for c in judged}), "engine")]
    shown = (Verdict.KNOWN, Verdict.DECLARED, Verdict.SUSPECT, Verdict.NOT_GIVEN)
    exceptions = [f"{n} {v}" for v, n in results.counts().items() if v in shown]
    some = sum(not _gives_every_gradient(cell) for cell in judged)
    exceptions += [f"{some} without every gradient"] if some else []
    but = f" ({', '.join(exceptions)}: see below)" if exceptions else ""
    what = "all that was given" if some else "every gradient"
    figures = sum(f.verdict is Verdict.WITHIN for cell in judged for f in cell.figures)
    met = f"; {plural(figures, 'printed figure')} met" if figures else ""
    return f"Right: {', '.join(plural(n, noun) for n, noun in scope)}, {what} within its bound{met}{but}."


def _gives_every_gradient(cell: Cell) -> bool:
    given: dict[str, bool] = {}
    for f in cell.findings:
        if f.quantity.startswith(("dW", "db")):
            given[f.quantity] = given.get(f.quantity, False) or f.verdict is not Verdict.NOT_GIVEN
    return bool(given) and all(given.values())


def counts(results: Results) -> str:
    """Return how many cells have each verdict."""
    found = ", ".join(f"{n} {verdict}" for verdict, n in results.counts().items())
    return f"{plural(len(results.cells), 'cell')} (scenario × dtype × engine): {found or 'none'}"


def environment(results: Results) -> str:
    """Return versions and machine in one line."""
    info = results.info
    packages = dict(
        part.rsplit(" ", 1) for text in results.versions.values() for part in text.split(", ") if " " in part
    )
    return ", ".join([
        *(f"{name} {version}" for name, version in packages.items()),
        f"gradparity {info.gradparity}",
        f"Python {info.python}",
        f"{info.platform}",
        f"{info.cpu or info.machine}, {plural(info.cores, 'core')}",
        f"{info.started}, {info.seconds:.1f} s",
    ])  # fmt: skip


def plural(n: int, noun: str) -> str:
    """Return ``3 cells`` or ``1 cell``."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def place(cell: Cell) -> str:
    """Return where a cell is: ``torch on xor-tape float32``."""
    return f"{cell.engine} on {cell.scenario} {cell.dtype}"


def blamed(cell: Cell) -> Finding | None:
    """Return the first wrong row in the order of computation, or else the first suspect one."""
    return cell.first_wrong or next((f for f in cell.findings if f.verdict is Verdict.SUSPECT), None)


def explain(cell: Cell) -> Iterator[tuple[str, str]]:
    """Yield what there is to say of a wrong or suspect cell, as (label, sentence)."""
    for fault in cell.faults:
        yield "fault", fault
    finding = blamed(cell)
    if finding is not None:
        yield from explain_finding(finding, cell.dtype)
        if follows := _follows(cell, finding):
            yield "follows", follows
    for figure in cell.figures:
        if figure.verdict is Verdict.WRONG:
            yield "printed", printed(figure, cell.dtype)
    if cell.message:
        yield "message", cell.message


def explain_finding(finding: Finding, dtype: str, is_first: bool = True) -> Iterator[tuple[str, str]]:
    """Yield formula, cause, worst element, error and extent of one quantity, as (label, sentence)."""
    basis = f", {BASES[finding.basis]}" if finding.basis in BASES else ""
    first = "first wrong row: " if finding.verdict is Verdict.WRONG and is_first else ""
    yield str(finding.verdict), f"{first}{finding.quantity} of the {finding.program} program{basis}"
    yield "formula", f"{finding.quantity} = {finding.formula}"
    if named := cause(finding):
        step = finding.first_wrong_step
        elsewhere = step and finding.worst and finding.worst.step != step
        yield "cause", f"in step {step}, {named}" if elsewhere else named
    if finding.worst is not None:
        yield "worst", worst(finding.quantity, finding.worst, dtype)
        yield "error", error(finding)
    count = finding.wrong or finding.suspect
    if count and finding.elements:
        since = f", first in step {finding.first_wrong_step} of {finding.steps}" if finding.first_wrong_step else ""
        yield "how many", f"{count} of {plural(finding.elements, 'element')}{since}"
    if finding.note:
        yield "note", finding.note


def cause(finding: Finding) -> str:
    """Return the mistake that reproduces the engine's numbers, or nothing."""
    return str(getattr(finding, "cause", ""))


def cell_lines(cell: Cell, findings: list[Finding]) -> list[str]:
    """Return what a failing test says: what is no quantity, the first wrong row, and each of `findings`."""
    lines = [f"{place(cell)}: {cell.verdict}", *cell.faults, *filter(None, [cell.message])]
    if cell.log:
        lines += ["the last lines it printed:", *("  " + line for line in cell.log.splitlines())]
    first = cell.first_wrong
    if first is not None and first not in findings:
        lines.append(f"first wrong row: {first.quantity} = {first.formula} of the {first.program} program")
    for finding in findings:
        explained = explain_finding(finding, cell.dtype, finding is first)
        lines += ["", *(f"{label}: {sentence}" for label, sentence in explained)]
    return lines


def worst(quantity: str, found: Worst, dtype: str) -> str:
    """Return the worst element with both values."""
    row, column = found.index
    value, exact = number(found.value, dtype), number(found.exact, dtype)
    return f"{quantity}[{row}, {column}] in step {found.step}: {value}, exact {exact}"


def error(finding: Finding) -> str:
    """Return error, bound, their ratio, and the error in ULP."""
    found = finding.worst
    if found is None:
        return ""
    if found.error == 0.0:
        return "none: the value is exact"
    if math.isinf(found.error):
        return "of another kind (finite, infinite or NaN) than the exact value: no rounding does that"
    ratio = f"{found.ratio:.3g} × the bound {found.bound:.2g}" if found.bound > 0 else "where none is allowed"
    # The last place of 0 is that of the smallest subnormal, and says nothing.
    ulp = f", {found.ulp:.3g} ULP" if math.isfinite(found.ulp) and found.exact else ""
    sigmas = f", {finding.sigmas:.1f} σ" if finding.verdict is Verdict.SUSPECT else ""
    return f"{found.error:.3g}, {ratio}{ulp}{sigmas}"


def _follows(cell: Cell, first: Finding) -> str:
    wrong = [f for f in cell.findings if f.verdict is first.verdict and f is not first]
    names = list(dict.fromkeys(f.quantity for f in wrong if f.quantity != first.quantity))
    also = "in both programs" if any(f.quantity == first.quantity for f in wrong) else ""
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return "; ".join(filter(None, (also, f"{first.verdict} as well: {shown}" if shown else "")))


def printed(figure: Figure, dtype: str) -> str:
    """Return a printed figure beside what the engine computed."""
    row, column = figure.index
    value = "not given" if figure.value is None else number(figure.value, dtype)
    return (
        f"{figure.quantity}[{row}, {column}] in step {figure.step} is printed as {figure.printed}, the engine has"
        f" {value}: {figure.error:.2g} apart, allowed {figure.allowed:.2g}"
    )


def number(x: float, dtype: str) -> str:
    """Return `x` with the digits that `dtype` needs to tell neighbours apart."""
    return f"{x:.9g}" if dtype == "float32" else repr(x)


@dataclass
class Listed:
    """A declared convention or a known defect, and where it was met: for each cell, the quantities."""

    kind: Verdict
    reason: str
    places: dict[str, list[str]]


def listed(results: Results) -> list[Listed]:
    """Return the entries of the registry that this run met; known defects first."""
    found: dict[tuple[Verdict, str], Listed] = {}
    for cell in results.cells:
        for f in cell.findings:
            reason = cell.reasons.get(f"{f.program} {f.quantity}")
            if reason is not None and f.verdict in (Verdict.KNOWN, Verdict.DECLARED):
                entry = found.setdefault((f.verdict, reason), Listed(f.verdict, reason, {}))
                names = entry.places.setdefault(place(cell), [])
                if f.quantity not in names:
                    names.append(f.quantity)
    return sorted(found.values(), key=lambda entry: entry.kind is not Verdict.KNOWN)


def unsupported(results: Results) -> dict[str, list[str]]:
    """Return the cells that could not run, by reason."""
    found: dict[str, list[str]] = {}
    for cell in results.cells:
        if cell.verdict is Verdict.UNSUPPORTED:
            found.setdefault(cell.message or "no reason given", []).append(place(cell))
    return found


@dataclass(frozen=True)
class Difference:
    """The largest ``|gradient − reference|`` of an engine in one dtype, at the initial weights, and where it is."""

    value: float
    quantity: str
    scenario: str


def differences(results: Results) -> dict[tuple[str, str], Difference]:
    """Return the largest difference by (engine, dtype), the loss left out; NaN counts as the largest."""
    found: dict[tuple[str, str], Difference] = {}
    for cell in results.cells:
        for f in cell.findings:
            if f.difference is None or f.quantity == "loss":
                continue
            new, key = Difference(f.difference, f.quantity, cell.scenario), (cell.engine, cell.dtype)
            if key not in found or _size(new) > _size(found[key]):
                found[key] = new
    return found


def _size(difference: Difference) -> tuple[bool, float]:
    nan = math.isnan(difference.value)
    return nan, 0.0 if nan else difference.value
