"""What engines differ in, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gradparity.adapters.operations.arrays import arrays
from gradparity.adapters.operations.case import OperationCase
from gradparity.reports.between import Difference, differences, together
from gradparity.reports.screen import Screen
from gradparity.reports.snapshot import CellRecord
from gradparity.reports.story import plural


def show_differences(records: Sequence[CellRecord], cases: Sequence[OperationCase], screen: Screen) -> None:
    """Print in what the engines of a probe do not agree, the cells of one function together: the farthest of them."""
    named = {case.name: case for case in cases}
    alike: dict[tuple[object, ...], list[Difference]] = {}
    for found in differences(records, named):
        function = named[found.subject].function
        alike.setdefault((found.coarse, function, found.quantity[0], frozenset(found.sides)), []).append(found)
    compared = len(together(records, named))
    screen.line()
    if not compared:
        screen.line("nothing to compare: no function ran on more than one engine (--engine and --full choose more)")
        return
    if not alike:
        screen.line(f"{plural(compared, 'result')} of more than one engine compared: all agree to rounding")
        return
    apart = [group for key, group in alike.items() if not key[0]]
    screen.line(
        f"{plural(compared, 'result')} of more than one engine compared; {sum(map(len, apart))} of them differ by more "
        "than rounding may do (which side is right, if any, is not known)"
    )
    for group in apart:
        screen.item("-", _said(max(group, key=lambda d: d.share), len(group), named), width=2)
    coarse = [found for key, group in alike.items() if key[0] for found in group]
    if coarse:
        functions = dict.fromkeys(named[found.subject].function for found in coarse)
        screen.line()
        screen.line(f"{len(coarse)} more agree in float64 only as closely as float32 can tell: {', '.join(functions)}")


def _said(found: Difference, count: int, named: Mapping[str, OperationCase]) -> str:
    case = named[found.subject]
    by, first = found.moved, arrays(case)[0]
    place = "in a part that is not kept" if by.index is None else f"element {by.index}"
    if case.elementwise and case.form != "optimizer" and by.index is not None and by.index < first.size:
        place = f"at {first.reshape(-1)[by.index]:.6g}"
    where = "shape" if by.reshaped else f"{by.outside} of {by.kept} elements, {place}"
    sides = ", ".join(
        f"{' and '.join(names)} {seen}".rstrip() for names, seen in zip(found.sides, found.seen, strict=True)
    )
    size = "" if by.reshaped else f" ({found.share:.2g} × what rounding may do)"
    more = f"; and {count - 1} more like it" if count > 1 else ""
    return f"{found.subject} {found.dtype}: {found.quantity}, {where}: {sides}{size}{more}"
