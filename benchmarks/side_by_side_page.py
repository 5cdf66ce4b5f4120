"""Write what `side_by_side.py` measured: ``docs/side-by-side.md`` and its plot."""

from __future__ import annotations

import datetime
import math
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from peers import CHECKERS, COMPARATORS, ELEMENTWISE

DOCS = Path(__file__).parent.parent / "docs"
OURS = ("all rows, rigorous", "all rows, statistical", "plain alone, rigorous", "plain alone, statistical")
NAMES = {tool: f"gradparity: {tool}" for tool in OURS}
DISTRIBUTIONS = ("numpy", "torch", "jax", "tensorflow-cpu", "tensorflow", "gradparity", "matplotlib")
INTRODUCTION = """\
# Side by side with what people use

Written by `python benchmarks/side_by_side.py`; do not edit.

**They answer different questions.** A *comparator* (`numpy.allclose`, `torch.testing.assert_close`, Keras's 1e-6, the
RMSE rule of `torch._dynamo.utils.same`) asks whether two arrays are close enough for its tolerances; it needs someone
to supply the right array. Here it is given the best there is: the float64 reference at the engine's own weights, and
for `same`, as its second opinion, NumPy's result in the working precision. A *gradient checker* (`gradcheck`,
`check_grads`, `compute_gradient`) asks whether a function's backward pass is the derivative of its own forward pass. It
needs no reference and works for any function, but cannot see a wrong forward pass, a wrong loss or a wrong update.
gradparity asks whether each quantity of a training step of a dense network is what its formula gives, up to rounding:
*all rows* uses the probed quantities too, *plain alone* only what the comparators get (loss, gradients and updated
weights). It judges nothing but such networks. All tools are used with their default tolerances.

Where `gradcheck`'s fast mode fails, it goes on to run the slow one, only to word its message; that is switched off
here, which shortens its time on a failure and changes no verdict."""


def write(faults: Any, correct: Any, least: Any, taken: Any, seconds: float) -> None:
    plot(taken, DOCS / "images" / "side-by-side.svg")
    parts = (environment(), fault_table(faults), backward_table(faults), alarm_table(correct), least_table(least))
    lines = [INTRODUCTION, "", *(line for part in (*parts, time_table(taken)) for line in part)]
    text = "\n".join([*lines, f"Measured in {seconds:.0f} s."]) + "\n"
    (DOCS / "side-by-side.md").write_text(text, encoding="utf-8")


def environment() -> Iterator[str]:
    installed = {d.metadata["Name"].lower(): d.version for d in metadata.distributions()}
    found = [f"{name} {installed[name]}" for name in DISTRIBUTIONS if name in installed]
    load = os.getloadavg()[0]
    yield (
        f"{datetime.datetime.now(datetime.UTC).date()}, Python {platform.python_version()}, {', '.join(found)};"
        f" {platform.system()} {platform.machine()}, {os.cpu_count()} cores, load {load:.1f}."
    )
    yield ""


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    heads = list(heads)
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def count(records: Iterable[Any], tool: str, get: Callable[[Any], Any], wanted: bool) -> str:
    said = [get(r)[tool] for r in records if tool in get(r)]
    return f"{said.count(wanted)} of {len(said)}" if said else "not run"


def fault_table(faults: Any) -> Iterator[str]:
    yield "## Faults caught"
    yield ""
    yield (
        "The faults of `parity_tests/faults.py` at their natural size, in each kind of row that they strike; on the"
        " wide network (784-512-10, batch 512) in one row each. Caught: it fails with the fault and passes without."
    )
    yield ""
    columns = list(dict.fromkeys((s.size, s.dtype) for s in faults))
    rows = (
        [NAMES.get(tool, tool)]
        + [count((s for s in faults if (s.size, s.dtype) == c), tool, lambda s: s.caught, True) for c in columns]
        for tool in (*COMPARATORS, *OURS)
    )
    yield from table(["", *(f"{size}, {dtype}" for size, dtype in columns)], rows)


def backward_table(faults: Any) -> Iterator[str]:
    yield "## Faults of the backward pass alone, small networks, float64"
    yield ""
    yield (
        "Only faults in `dA`, `delta`, `dW` and `db` that change a gradient of the first step. The framework computes"
        " the right loss, and a custom backward pass gives the faulty engine's gradients. In float32, which `gradcheck`"
        " does not claim to support, see the false alarms."
    )
    yield ""
    apt = [s for s in faults if next(iter(CHECKERS)) in s.caught]
    tools = (*CHECKERS, *COMPARATORS, *OURS)
    missed = {t: dict.fromkeys(s.fault for s in apt if not s.caught[t]) for t in tools}
    rows = ([NAMES.get(t, t), count(apt, t, lambda s: s.caught, True), "; ".join(missed[t])] for t in tools)
    yield from table(["", "caught", "missed in some row"], rows)


def alarm_table(correct: Any) -> Iterator[str]:
    engines = ", ".join(f"`{e}`" for e in dict.fromkeys(a.engine for a in correct))
    yield "## False alarms on correct code"
    yield ""
    yield (
        f"Engine × scenario of the catalogue ({engines}; at most 3 steps), without those that the registry of"
        " conventions and known defects lists. A checker checks its own framework's gradients; those that move one"
        " parameter at a time, networks of at most 200 parameters; plain alone is judged up to 10,000 parameters."
        " The statistical tier only warns on structured data."
    )
    yield ""
    groups = [(d, s) for d in ("float32", "float64") for s in (False, True)]
    rows = (
        [NAMES.get(tool, tool)]
        + [count((a for a in correct if (a.dtype, a.structured) == g), tool, lambda a: a.passed, False) for g in groups]
        for tool in (*COMPARATORS, *CHECKERS, *OURS)
    )
    yield from table(["", *(f"{d}, {'structured' if s else 'unstructured'}" for d, s in groups)], rows)


def least_table(least: Any) -> Iterator[str]:
    yield "## The smallest fault of a whole gradient"
    yield ""
    yield (
        "`dW1` times 1 + ε, 784-512-10, batch 512 (¹: 6-5-5-3, batch 8, as each parameter is moved by itself): the"
        " smallest power of 2 that is caught."
    )
    yield ""
    rows = (
        [NAMES.get(t, t) + (" ¹" if t in ELEMENTWISE else ""), *(epsilon(least[d][t]) for d in least)]
        for t in (*COMPARATORS, *CHECKERS, *OURS)
    )
    yield from table(["", *least], rows)


def epsilon(e: float) -> str:
    if math.isnan(e):
        return "fails without a fault"
    return "none up to 1024" if math.isinf(e) else f"{e:.1e}"


def time_table(taken: Any) -> Iterator[str]:
    yield "## Time"
    yield ""
    yield (
        "One hidden layer, batch 32, float64, one thread where it can be set; the fastest of a few. Comparators compare"
        " the gradients only, with expected arrays at hand. gradparity judges both programs and all tiers, its"
        " reference computed anew. *(e)*: extrapolated from the largest network measured, in proportion to the time of"
        " a forward pass, and to the number of parameters where each is moved."
    )
    yield ""
    sizes = list(dict.fromkeys(t.parameters for t in taken))
    by = {(t.tool, t.parameters): t for t in taken}
    rows = (
        [tool, *(f"{by[tool, n].seconds:.2g} s{' *(e)*' * by[tool, n].extrapolated}" for n in sizes)]
        for tool in dict.fromkeys(t.tool for t in taken)
    )
    yield from table(["", *(f"{n:,}" for n in sizes)], rows)
    yield "![Time against the number of parameters](images/side-by-side.svg)"
    yield ""


def plot(taken: Any, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "gradparity"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    for tool in dict.fromkeys(t.tool for t in taken):
        mine = [t for t in taken if t.tool == tool]
        points = [t.parameters for t in mine], [t.seconds for t in mine]
        (line,) = axes.loglog(*points, linewidth=3 if tool == "gradparity" else 1.2, label=tool)
        for t in mine:
            face = "white" if t.extrapolated else line.get_color()
            axes.plot(t.parameters, t.seconds, "o", color=line.get_color(), markerfacecolor=face)
    axes.set(xlabel="parameters", ylabel="seconds (hollow: extrapolated)")
    axes.legend(fontsize=8)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
