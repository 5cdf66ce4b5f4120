"""What a finding says, in plain words: for failing tests, the terminal and reports alike."""

from __future__ import annotations

from gradparity.reference.verdict import Finding, Verdict, Worst
from gradparity.reports.cell import Cell


def number(x: float) -> str:
    """Return `x` with all digits that float64 holds."""
    return format(x, ".17g")


def element(worst: Worst, quantity: str) -> str:
    """Return where the worst element is, with both values and what was allowed."""
    row, column = worst.index
    return (
        f"worst element {quantity}[{row},{column}], step {worst.step}: "
        f"{number(worst.value)}, exactly {number(worst.exact)}; "
        f"error {worst.error:.3g} = {worst.ulp:.3g} ULP, allowed {worst.bound:.3g} (error/bound {worst.ratio:.3g})"
    )


def finding_lines(finding: Finding) -> list[str]:
    """Return the formula, what was found, and the worst element."""
    lines = [f"{finding.program} {finding.quantity} = {finding.formula}: {finding.verdict}"]
    if finding.note:
        lines.append(finding.note)
    if finding.wrong:
        lines[0] += f", {finding.wrong} of {finding.elements} elements, judged {finding.basis or 'by shape and dtype'}"
    elif finding.verdict is Verdict.SUSPECT:
        lines[0] += f", {finding.suspect} of {finding.elements} elements, up to {finding.sigmas:.3g} standard deviations"
    if finding.worst is not None:
        lines.append(element(finding.worst, finding.quantity))
    return lines


def cell_lines(cell: Cell, findings: list[Finding]) -> list[str]:
    """Return what is wrong with `cell`: its first wrong row, then `findings`, then what is no quantity."""
    lines = [f"{cell.engine} on {cell.scenario} in {cell.dtype}: {cell.verdict}"]
    if cell.message:
        lines.append(cell.message)
    if cell.log:
        lines += ["the last lines it printed:", *("  " + line for line in cell.log.splitlines())]
    lines += list(cell.faults)
    first = cell.first_wrong
    if first is not None:
        lines.append(f"first wrong row: {first.program} {first.quantity} = {first.formula}, step {first.first_wrong_step}")
    for finding in findings:
        lines += finding_lines(finding)
    return lines
