"""What a comparison of two snapshots says, in words: the same in the terminal, in Markdown and on the page."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from gradparity.reports.drift import FAILING, WORST_FIRST, CellDrift, Change, Comparison, Drift
from gradparity.reports.moved import Moved
from gradparity.reports.snapshot import PROBE
from gradparity.reports.story import number, plural

SCOPE = (
    "A cell is one scenario or probe, in one dtype, on one engine. Nothing is compared with a chosen tolerance: a"
    " verdict is what the derived bounds say on each side, and rounding alone explains what changed within them."
)
LOUD = (
    Drift.BECAME_WRONG, Drift.BEYOND, Drift.INCOMPLETE, Drift.STILL_WRONG, Drift.REPAIRED, Drift.FINER,
    Drift.CONVENTION, Drift.NOT_REPRODUCIBLE, Drift.VANISHED, Drift.APPEARED,
)  # fmt: skip
"""What is told cell by cell; the others are summed up by engine."""


def headline(comparison: Comparison, bits: bool = False) -> str:
    """Return the outcome in one sentence."""
    failed, unfinished = comparison.of(*FAILING), comparison.of(Drift.INCOMPLETE)
    if failed:
        # The kind of drift that comes first is the worst.
        first = min(failed, key=lambda cell: FAILING.index(cell.drift))
        more = f" and {plural(len(failed) - 1, 'more cell')}" if len(failed) > 1 else ""
        return f"{str(first.drift).capitalize()}: {place(first)}{more}, of {plural(len(comparison.cells), 'cell')}."
    if not comparison.cells:
        return "Nothing was compared: the snapshots have no cell that ran on either side."
    if bits and comparison.exit_code(bits) == 1:
        changed = comparison.bits_changed
        return f"Bits changed in {len(changed)} of {plural(len(comparison.cells), 'cell')}; nothing became wrong."
    if unfinished:
        others = len(comparison.cells) - len(unfinished)
        return f"Incomplete: {plural(len(unfinished), 'cell')} did not finish; nothing became wrong in {others} others."
    if bits and comparison.exit_code(bits) == 3:
        return "Bits cannot be compared: the snapshots come from different machines. Nothing became wrong."
    same = comparison.counts.get(Drift.IDENTICAL, 0)
    if same == len(comparison.cells):
        return f"Identical: {plural(same, 'cell')}, bit for bit."
    return f"Nothing became wrong: {plural(len(comparison.cells), 'cell')}, {same} of them identical bit for bit."


def counts(comparison: Comparison) -> str:
    """Return how many cells there are of each kind of drift."""
    found = ", ".join(f"{n} {drift}" for drift, n in comparison.counts.items())
    return f"{plural(len(comparison.cells), 'cell')} (scenario or probe × dtype × engine): {found or 'none'}"


def sides(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """Yield what the two sides are and what differs between them, as (label, sentence)."""
    old, new = comparison.old, comparison.new
    names = sorted({*old.distributions, *new.distributions})
    changed = [
        f"{name} {old.distributions.get(name, 'none')} → {new.distributions.get(name, 'none')}"
        for name in names
        if old.distributions.get(name) != new.distributions.get(name)
    ]
    for name in ("python", "gradparity", "platform"):
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            changed.append(f"{name.capitalize() if name == 'python' else name} {was} → {now}")
    yield "changed", "; ".join(changed) or "no version of anything that touches the numbers"
    same = [
        f"{name} {old.distributions[name]}"
        for name in names
        if old.distributions.get(name) == new.distributions.get(name)
    ]
    yield "the same", ", ".join(same) or "nothing"
    variables = sorted({*old.variables, *new.variables})
    set_ = [
        f"{name}: {old.variables.get(name, 'unset')} → {new.variables.get(name, 'unset')}"
        for name in variables
        if old.variables.get(name) != new.variables.get(name)
    ]
    if set_:
        yield "variables", "; ".join(set_)
    for engine, sentence in flags(comparison).items():
        yield "flags", f"{engine}: {sentence}"
    for sentence in comparison.machine:
        yield "machine", f"{sentence}: bits that differ are not comparable; verdicts are"
    yield "recorded", f"old {old.started}, new {new.started}"
    for name, count in zip(("old", "new"), comparison.unrepeated, strict=True):
        if count:
            said = f"{plural(count, 'cell')} of the {name} side did not finish a second run"
            yield "not twice", f"{said}: what changed there may be chance"
    if comparison.neither:
        yield "not run", f"{plural(comparison.neither, 'cell')} on neither side"


def place(cell: CellDrift) -> str:
    """Return where a cell is."""
    return f"{cell.engine} on {cell.subject} {cell.dtype}"


@dataclass(frozen=True)
class Group:
    """Cells of one engine that changed alike, the first of them in full."""

    drift: Drift
    engine: str
    cells: tuple[CellDrift, ...]

    @property
    def title(self) -> str:
        """Return the first cell's place, and how many there are."""
        more = f" and {len(self.cells) - 1} more" if len(self.cells) > 1 else ""
        return f"{place(self.cells[0])}{more}"


def groups(comparison: Comparison, *drifts: Drift) -> list[Group]:
    """Return the cells of `drifts` (default: all that is told cell by cell), grouped by engine and first quantity."""
    found: dict[tuple[str, ...], list[CellDrift]] = {}
    wanted = drifts or LOUD
    for cell in sorted(comparison.of(*wanted), key=lambda c: wanted.index(c.drift)):
        blamed = cell.blamed
        quantity = re.sub(r"\d+", "", blamed.quantity) if blamed else re.sub(r"\d+", "", cell.reason)
        note = blamed.notes[1] if blamed else ""
        function = cell.subject.rpartition(" ")[0] if cell.kind == PROBE else ""
        found.setdefault((cell.drift, cell.engine, function, quantity, note), []).append(cell)
    return [Group(cells[0].drift, cells[0].engine, tuple(cells)) for cells in found.values()]


def explain(cell: CellDrift) -> Iterator[tuple[str, str]]:
    """Yield what there is to say of one cell, as (label, sentence)."""
    if cell.verdicts[0] != cell.verdicts[1] and all(cell.verdicts):
        yield "verdict", f"{cell.verdicts[0]} → {cell.verdicts[1]}"
    if cell.reason:
        yield "reason", cell.reason
    first, blamed = cell.first, cell.blamed
    if first is not None:
        yield from explain_change("first", first, cell)
    if blamed is not None and blamed is not first:
        yield from explain_change("where", blamed, cell)
    shown = {c.quantity for c in (first, blamed) if c}
    others = list(dict.fromkeys(c.quantity for c in cell.changes if c.drift is cell.drift and c.quantity not in shown))
    if others:
        more = f" and {len(others) - 8} more" if len(others) > 8 else ""
        yield "also", f"{cell.drift}: {', '.join(others[:8])}{more}"


def flags(comparison: Comparison) -> dict[str, str]:
    """Return, for each engine, what else than versions differs in the environment that it reported."""
    found: dict[str, dict[str, str]] = {}
    for cell in comparison.cells:
        for name, (was, now) in (cell.flags or {}).items():
            if not _is_version((was, now)):
                found.setdefault(cell.engine, {})[name] = f"{name} {was or 'unset'} → {now or 'unset'}"
    return {engine: "; ".join(named.values()) for engine, named in found.items()}


def _is_version(pair: tuple[str, str]) -> bool:
    return all(re.fullmatch(r"\d+\.\d+[\w.+-]*|", value) for value in pair)


def explain_change(label: str, change: Change, cell: CellDrift) -> Iterator[tuple[str, str]]:
    """Yield what there is to say of one quantity."""
    program = f" of the {change.program} program" if change.program else ""
    step = f" in step {change.step}" if change.step else ""
    said = {
        "first": f"the first quantity that changed: {change.quantity}{program}{step}, {change.drift}",
        "where": f"{change.quantity}{program}{step}: {change.drift}",
    }
    yield label, said[label]
    if change.verdicts[0] != change.verdicts[1]:
        yield "", f"{change.verdicts[0] or 'not given'} → {change.verdicts[1] or 'not given'}"
    for note in dict.fromkeys(filter(None, change.notes)):
        yield "", note
    if change.moved:
        yield "by", amount(change, change.moved, cell)


def amount(change: Change, moved: Moved, cell: CellDrift) -> str:
    """Return by how much a quantity changed."""
    if moved.reshaped:
        return "its shape changed"
    parts = []
    if moved.old is not None and moved.new is not None:
        where = f"[{', '.join(map(str, change.index))}]" if change.index else ""
        parts.append(f"{change.quantity}{where}: {number(moved.old, cell.dtype)} → {number(moved.new, cell.dtype)}")
    if moved.ulp is not None:
        parts.append(f"{'at most ' if moved.changed > 1 else ''}{figure(moved.ulp)} ULP")
    if moved.share is not None and share_counts(change, cell):
        parts.append(("" if moved.index is not None else "in elements that are not kept, ") + shared(moved.share))
    kept = f"{moved.changed} of {moved.kept} {'samples' if moved.blocks else 'elements'} changed"
    blocks = f", in {plural(moved.blocks, 'block')}" if moved.blocks else ""
    parts.append(f"{kept}{blocks}" if moved.kept else "it is not kept element by element")
    return "; ".join(parts)


def share_counts(change: Change, cell: CellDrift) -> bool:
    """Return whether the change of a quantity can be held against its bound: its inputs are the same on both sides."""
    return cell.kind == PROBE or change is cell.first or change.drift in FAILING


def shared(share: float) -> str:
    """Return a change as a share of what rounding may do."""
    return f"{figure(share)} {'times' if share > 1.0 else 'of'} what rounding may do"


def figure(x: float | None) -> str:
    """Return a number in few characters."""
    if x is None:
        return ""
    return "∞" if math.isinf(x) else f"{x:.3g}" if x < 1e5 else f"{x:.1e}"


@dataclass(frozen=True)
class EngineRounding:
    """What rounding did on one engine: cells that changed within the bound, and the largest change of a quantity whose
    inputs had not changed, in ULP and as a share of what rounding may do (with the cell in which that is)."""

    engine: str
    cells: int
    identical: int
    ulp: tuple[float, CellDrift, Change] | None
    share: tuple[float, CellDrift, Change] | None


def roundings(comparison: Comparison) -> list[EngineRounding]:
    """Return what rounding did, engine by engine."""
    quiet = (Drift.WITHIN, Drift.NOT_COMPARABLE)
    found = []
    for engine in dict.fromkeys(cell.engine for cell in comparison.cells):
        cells = [c for c in comparison.of(*quiet) if c.engine == engine]
        same = sum(c.engine == engine for c in comparison.of(Drift.IDENTICAL))
        changes = [(c, change, change.moved) for c in cells for change in c.changes if share_counts(change, c)]
        ulps = [(m.ulp, c, change) for c, change, m in changes if m and m.ulp is not None]
        shares = [(m.share, c, change) for c, change, m in changes if m and m.share is not None]
        found.append(
            EngineRounding(
                engine, len(cells), same, max(ulps, key=_first, default=None), max(shares, key=_first, default=None)
            )
        )
    return found


def _first(pair: tuple[float, CellDrift, Change]) -> float:
    return pair[0]


def quiet_heading(comparison: Comparison) -> str:
    """Return the heading over what rounding did."""
    if comparison.of(Drift.NOT_COMPARABLE):
        return "bits differ, on another machine or of other inputs; no verdict changed"
    return "changed within the bound: what rounding did"


def rounding(found: EngineRounding) -> str:
    """Return what rounding did on one engine, in a sentence."""
    parts = [f"{plural(found.cells, 'cell')} changed, {found.identical} identical"]
    if found.ulp:
        ulp, cell, change = found.ulp
        parts.append(f"at most {figure(ulp)} ULP ({change.quantity} in {cell.subject} {cell.dtype})")
    if found.share:
        share, cell, change = found.share
        parts.append(f"{shared(share)} ({change.quantity} in {cell.subject} {cell.dtype})")
    return "; ".join(parts)


def listed(cells: list[CellDrift], limit: int) -> str:
    """Return the places of `cells`, at most `limit` of them."""
    more = f" and {len(cells) - limit} more" if len(cells) > limit else ""
    return ", ".join(map(place, cells[:limit])) + more


def summed_up(comparison: Comparison) -> dict[tuple[str, str], Drift]:
    """Return the worst drift of each scenario, or probed function, on each engine, over dtypes and shapes."""
    found: dict[tuple[str, str], Drift] = {}
    for cell in comparison.cells:
        key = (subject(cell), cell.engine)
        found[key] = min(cell.drift, found.get(key, Drift.IDENTICAL), key=WORST_FIRST.index)
    return found


def subject(cell: CellDrift) -> str:
    """Return the scenario, or the function that a probe calls, without its case."""
    return cell.subject.partition(" ")[0] if cell.kind == PROBE else cell.subject
