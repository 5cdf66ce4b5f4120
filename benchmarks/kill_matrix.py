"""What the suite detects: every fault of the catalogue, on networks of several sizes, in both dtypes.

Run: ``python benchmarks/kill_matrix.py [--size SIZE …]``. It writes ``docs/detection.md``, or prints some sizes.
"""

from __future__ import annotations

import argparse
import math
import platform
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from gradparity import __version__
from gradparity.parity_tests.fault_problems import SIZES, problems
from gradparity.parity_tests.faults import FAULTS
from gradparity.parity_tests.kill import Kill, Outcome, outcomes, smallest
from gradparity.reference import catalogue
from gradparity.reference.problem import DTYPES, Problem

PAGE = Path(__file__).parent.parent / "docs" / "detection.md"
Column = tuple[str, str]
Found = dict[Column, list[Outcome]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", action="append", choices=SIZES, help="only this size, and print (repeatable)")
    sizes = parser.parse_args().size
    started = time.perf_counter()
    found: Found = {}
    for size in sizes or SIZES:
        for dtype in DTYPES:
            begun = time.perf_counter()
            found[size, dtype] = list(outcomes(FAULTS, size, dtype))
            print(
                f"{size} {dtype}: {len(found[size, dtype])} faults in {time.perf_counter() - begun:.0f} s", flush=True
            )
    lines = [*page(found), *whole_gradient(), "", f"Measured in {time.perf_counter() - started:.0f} s."]
    text = "\n".join(lines) + "\n"
    if sizes:
        print(text)
    else:
        PAGE.write_text(text, encoding="utf-8")


def page(found: Found) -> Iterator[str]:
    yield "# What is detected, and what is not"
    yield ""
    yield (
        "Written by `python benchmarks/kill_matrix.py`; do not edit."
        " `pytest parity_tests/test_faults.py` tests the small sizes."
    )
    yield ""
    yield (
        f"{len(FAULTS)} realistic faults (`parity_tests/faults.py`) are made inside the computation, each at its"
        " natural size, and what comes after is computed from the wrong value. Both programs have the same fault."
        f" gradparity {__version__}, NumPy {np.__version__}, Python {platform.python_version()},"
        f" {platform.machine()}."
    )
    yield ""
    yield from sizes_table(found)
    yield ""
    yield from summary(found)
    yield ""
    yield from matrix(found)
    yield ""
    yield from misses(found)
    yield ""
    yield from diagnoses(found)
    yield ""


def sizes_table(found: Found) -> Iterator[str]:
    yield "| size | network | samples in a step |"
    yield "|---|---|---|"
    for size in dict.fromkeys(size for size, _ in found):
        nets = [(shape(p), p.batches[0][1] - p.batches[0][0]) for p in problems(size, "float32")]
        yield f"| {size} | {', '.join(net for net, _ in nets)} | {', '.join(str(m) for _, m in nets)} |"


def shape(p: Problem) -> str:
    return "-".join(str(n) for n in (p.X.shape[0], *(layer.units for layer in p.layers)))


def summary(found: Found) -> Iterator[str]:
    yield "## In short"
    yield ""
    yield (
        "Faults × rows that they strike. *Plain alone*: only loss, gradients and updated weights are given, and judged"
        " from end to end."
    )
    yield ""
    yield (
        "| size | dtype | struck | caught | statistically only | missed"
        " | plain alone: caught | statistically only | missed | cause named |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for (size, dtype), all_of_them in found.items():
        real = [o for o in all_of_them if o.kill is not Kill.NOTHING and not o.fault.harmless]
        probed = [sum(o.kill is kill for o in real) for kill in (Kill.WRONG, Kill.SUSPECT, Kill.MISSED)]
        plain = [sum(o.plain is kill for o in real) for kill in (Kill.WRONG, Kill.SUSPECT, Kill.MISSED)]
        counts = " | ".join(str(n) for n in (len(real), *probed, *plain))
        named = sum(o.named for o in real if o.kill is Kill.WRONG)
        yield f"| {size} | {dtype} | {counts} | {named} of {probed[0]} |"


def matrix(found: Found) -> Iterator[str]:
    yield "## The kill matrix"
    yield ""
    yield (
        "*W*: wrong, outside a rigorous bound, with the largest error/bound of the faulty rows (∞: infinite or NaN, or"
        " only one value is right); *S*: suspect, with its standard deviations; **missed**, with error/bound; ·: it"
        " changes no number here; empty: it cannot strike here. Rows are named as in the table of formulas; `_L` is the"
        " last layer."
    )
    yield ""
    columns = list(found)
    yield f"| fault | row | {' | '.join(f'{size}<br>{dtype}' for size, dtype in columns)} |"
    yield "|---|---|" + "---|" * len(columns)
    for fault in FAULTS:
        rows = dict.fromkeys(o.row for column in columns for o in found[column] if o.fault is fault)
        for i, row in enumerate(rows):
            cells = [next((cell(o) for o in found[c] if o.fault is fault and o.row == row), "") for c in columns]
            name = f"{fault.name}: {fault.description}" if i == 0 else ""
            yield f"| {name} | `{row}` | {' | '.join(cells)} |"


def cell(o: Outcome) -> str:
    if o.kill is Kill.WRONG:
        return f"W {short(o.ratio)}" + ("" if o.quantity and o.ratio > 1 else f" ({o.quantity})")
    if o.kill is Kill.SUSPECT:
        return f"S {short(o.sigmas)} σ"
    return "·" if o.kill is Kill.NOTHING else f"**missed** {short(o.ratio)}"


def short(x: float) -> str:
    return "∞" if math.isinf(x) else f"{x:.1e}" if x >= 1000 or x < 0.01 else f"{x:.2g}"


def misses(found: Found) -> Iterator[str]:
    yield "## What is missed, and how much it matters"
    yield ""
    yield (
        "*Change*: the largest change of an element, as a share of the row's largest element. *Of twice the bound*: the"
        " largest change of an element in relation to twice its bound. Where that is above 1, a fault is always caught,"
        " as the right and the faulty value cannot both be within one bound of the exact one."
    )
    yield ""
    yield "| fault | row | size | dtype | verdict | error/bound | σ | change | of twice the bound | why |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for (size, dtype), column in found.items():
        for o in column:
            if o.kill in (Kill.MISSED, Kill.SUSPECT):
                why = o.fault.harmless or ("below the statistical tier too" if o.kill is Kill.MISSED else "")
                yield (
                    f"| {o.fault.name} | `{o.row}` | {size} | {dtype} | {o.kill} | {short(o.ratio)} | {short(o.sigmas)}"
                    f" | {short(o.change)} | {short(o.share)} | {why} |"
                )
    unseen = [
        o for column in found.values() for o in column if o.kill in (Kill.MISSED, Kill.SUSPECT) and not o.share <= 1
    ]
    assert not unseen, unseen
    harmless = [fault for fault in FAULTS if fault.harmless]
    yield ""
    yield "The plain program alone, judged from end to end, misses:"
    yield ""
    for (size, dtype), column in found.items():
        rows: dict[str, list[str]] = {}
        for o in column:
            if o.plain is Kill.MISSED and not o.fault.harmless:
                rows.setdefault(o.fault.name, []).append(f"`{o.row}`")
        names = "; ".join(f"{name} ({', '.join(where)})" for name, where in rows.items())
        yield f"- {size}, {dtype}: {names or 'nothing'}."
    yield ""
    yield "No fault, by definition: " + "; ".join(f"{fault.name} ({fault.harmless})" for fault in harmless) + "."


def diagnoses(found: Found) -> Iterator[str]:
    caught = [o for column in found.values() for o in column if o.kill is Kill.WRONG]
    named = [o for o in caught if o.named]
    yield "## Diagnosis"
    yield ""
    share = len(named) / len(caught)
    yield f"The right cause is named for {len(named)} of {len(caught)} caught faults ({share:.1%}). The others:"
    yield ""
    yield "| fault | row | size | dtype | what it says |"
    yield "|---|---|---|---|---|"
    for (size, dtype), column in found.items():
        for o in column:
            if o.kill is Kill.WRONG and not o.named:
                yield f"| {o.fault.name} | `{o.row}` | {size} | {dtype} | {o.cause} |"


def whole_gradient() -> Iterable[str]:
    yield "## The smallest fault of a whole gradient"
    yield ""
    yield (
        "784-512-10, batch 512: every `dW` times 1 + ε. The smallest ε that is found, and the row that shows it first."
        " The plain program alone is judged from end to end, as if nothing else had been given."
    )
    yield ""
    yield "| dtype | program | rigorous | statistical |"
    yield "|---|---|---|---|"
    for dtype in DTYPES:
        for program, found in smallest(catalogue.load("wide").problem(dtype)).items():
            cells = zip((found.rigorous, found.statistical), found.rows, strict=True)
            yield f"| {dtype} | {program} | {' | '.join(f'{epsilon:.2g} (`{row}`)' for epsilon, row in cells)} |"


if __name__ == "__main__":
    main()
