"""A script that shows one wrong cell with nothing but the framework and NumPy: something to attach to an issue."""

from __future__ import annotations

import base64
import re
import textwrap
import zlib
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np

from gradparity.adapters import registry
from gradparity.reference.data import MissingLibrary
from gradparity.reference.errors import InputError
from gradparity.reference.evaluation import problem_rows
from gradparity.reference.formulas import Row, rows_by_name
from gradparity.reference.problem import Array, Problem
from gradparity.reference.scenario import Scenario
from gradparity.reference.verdict import Finding, Verdict, Worst
from gradparity.reports import repro_formulas as formulas

SMALL = 64
"""Arrays of at most so many numbers are written out."""
WIDTH = 100
"""Of the lines of a packed array."""
_UNSAFE = re.compile(r"[^\w.,+ -]")
"""What has no place in the script's docstring: it comes from a file."""
_BLANK_LINES = re.compile(r"\n{4,}")


class Framework(NamedTuple):
    """How a script speaks of a framework."""

    title: str
    kernel: Literal["in,out", "out,in"]


FRAMEWORKS = {
    "numpy": Framework("NumPy", "out,in"),
    "torch": Framework("PyTorch", "out,in"),
    "tensorflow": Framework("TensorFlow", "in,out"),
    "keras": Framework("Keras", "in,out"),
    "jax": Framework("JAX", "in,out"),
}


def script(scenario: Scenario, dtype: str, engine: str, finding: Finding | None, versions: str = "") -> str:
    """Return a script that runs `scenario` on `engine` up to the first wrong step and judges that element again.

    `versions` are those that the finding was made with; without them the script names those that are installed.
    Raises `InputError` where nothing is wrong, or the engine is no framework's.
    """
    if engine not in {known.name for known in registry.BUILT_IN}:
        raise InputError(f"engine {engine!r}: a repro script needs a framework's engine; this one is in your own file")
    if finding is None or finding.verdict in (Verdict.WITHIN, Verdict.NOT_GIVEN):
        where = f"{scenario.name} in {dtype} on {engine}"
        raise InputError(f"no quantity is wrong in {where} (a printed figure that is off needs no script)")
    if finding.verdict is Verdict.SUSPECT:
        raise InputError(
            f"{scenario.name} in {dtype} on {engine} is suspect, not wrong: {finding.quantity} is within its bound"
        )
    try:
        problem = scenario.problem(dtype)
    except MissingLibrary as reason:
        raise InputError(str(reason)) from None
    name, _, variant = engine.partition(":")
    installed = ", ".join(f"{package} {version}" for package, version in registry.find(engine).versions.items())
    text = (
        _templates()
        .get_template(f"repro_{name}.py.j2")
        .render(
            engine=engine,
            variant=variant,
            versions=_UNSAFE.sub("", versions) or f"{installed} (installed where this was written)",
            finding=finding,
            **_network(problem),
            **_data(problem, FRAMEWORKS[name], _step(finding)),
            **_check(problem, engine, finding),
        )
    )
    return _BLANK_LINES.sub("\n\n\n", text)


@cache
def _templates() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("gradparity.reports"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )


def _element(finding: Finding) -> Worst | None:
    """Return the worst element of the first wrong step; None where shape or dtype are wrong."""
    return finding.details[0] if finding.details else finding.worst


def _step(finding: Finding) -> int:
    element = _element(finding)
    return element.step if element else finding.first_wrong_step or 1


def _network(problem: Problem) -> dict[str, Any]:
    sizes = [problem.X.shape[0], *(layer.units for layer in problem.layers)]
    layers = [
        {"l": l, "inputs": sizes[l - 1], "before": f"A{l - 1}" if l > 1 else "X"}
        | {"units": layer.units, "activation": layer.activation, "slope": repr(layer.slope)}
        for l, layer in enumerate(problem.layers, start=1)
    ]
    return {
        "name": problem.name,
        "dtype": problem.dtype,
        "layers": layers,
        "loss": problem.loss,
        "learning_rate": repr(problem.learning_rate),
    }


def _data(problem: Problem, framework: Framework, step: int) -> dict[str, Any]:
    """Return what the script holds as data: the samples that it uses, and the initial weights."""
    batches = problem.batches[:step]
    used, size = max(stop for _, stop in batches), batches[0][1] - batches[0][0]
    arrays = {"X": problem.X[:, :used].T, "Y": problem.Y[:, :used].T}
    params: dict[str, Array] = {}
    for l, (W, b) in enumerate(zip(problem.W, problem.b, strict=True), start=1):
        params |= {f"W{l}": W.T if framework.kernel == "in,out" else W, f"b{l}": b[:, 0]}
    return {
        "framework": framework,
        "step": step,
        "batch_size": size if size < used else None,
        "arrays": {name: literal(a) for name, a in arrays.items()},
        "params": {name: literal(a) for name, a in params.items()},
        "packed": any(a.size > SMALL for a in (*arrays.values(), *params.values())),
    }


def literal(a: Array) -> str:
    """Return source text of `a`, bit for bit: numbers by ``repr``, or many of them compressed and packed."""
    if a.size <= SMALL:
        text = f"np.array({a.tolist()!r}, dtype)"
        if len(text) <= WIDTH:
            return text
        rows = [f"{row!r}," for row in a.tolist()] if a.ndim == 2 else [repr(a.tolist())[1:-1]]
        return "\n".join(["np.array([", *(_wrapped(row) for row in rows), "], dtype)"])
    raw = np.ascontiguousarray(a, dtype=a.dtype.newbyteorder("<")).tobytes()
    packed = base64.b64encode(zlib.compress(raw, 9)).decode()
    lines = (packed[i : i + WIDTH] for i in range(0, len(packed), WIDTH))
    return "\n".join([f'unpacked({a.shape}, """', *lines, '""")'])


def _wrapped(row: str) -> str:
    return textwrap.fill(row, WIDTH, initial_indent="    ", subsequent_indent="     ", break_on_hyphens=False)


def _check(problem: Problem, engine: str, finding: Finding) -> dict[str, Any]:
    """Return how the script computes the wrong row again, and what it compares it with."""
    element, kernel = _element(finding), FRAMEWORKS[engine.partition(":")[0]].kernel
    row, table = rows_by_name(problem_rows(problem)).get(finding.quantity), formulas.rows(problem, kernel)
    if row is None:
        raise InputError(f"scenario {problem.name!r} has no quantity {finding.quantity!r}; were the results altered?")
    given = _given(problem, engine, finding, table)
    before, texts = formulas.leading_to(finding.quantity, table, given)
    lines = [f"{name} = {table[name][0]}" for name in before]
    inputs = formulas.quantities([*(table[name][0] for name in before), *texts])
    probed = finding.program == "probed" or finding.basis == "same bits"
    return {
        "element": element,
        "formula": row.formula,
        "shape": _shape(row, kernel),
        "index": _index(finding.quantity, element.index, kernel) if element else "",
        # Nothing passes a bound that is NaN.
        "allowed": repr(element.bound) if element and np.isfinite(element.bound) else "0.0",
        "before_lines": lines,
        "inputs": [name for name in inputs if name in given],
        "expressions": texts,
        "table": table,
        "helpers": formulas.helpers([*lines, *texts, *(t[0] for t in table.values() if engine == "numpy")]),
        "probed": probed,
        "trained": not probed or _step(finding) > 1,
        "tap_output": not _finds_logits(problem, engine),
    }


def _given(problem: Problem, engine: str, finding: Finding, table: formulas.Rows) -> set[str]:
    """Return the quantities that the script takes from the framework, the inputs of its check."""
    weights = {f"{name}{l}" for l in range(1, len(problem.layers) + 1) for name in "Wb"}
    given = {"X", "Y", *weights}
    if finding.quantity.endswith("_next"):
        return given | {f"d{name}" for name in weights}
    if finding.program == "plain" and finding.basis != "same bits":
        return given
    hidden = {f"dA{len(problem.layers)}"} if _finds_logits(problem, engine) else set()
    return (given | set(table)) - hidden


def _finds_logits(problem: Problem, engine: str) -> bool:
    """Say whether Keras looks for logits behind the output, where nothing may be added to it."""
    return engine == "keras:tensorflow" and problem.loss.name in ("bce", "cce")


def _index(quantity: str, index: tuple[int, int], kernel: str) -> str:
    """Return the textbook's (row, column) as an index into the script's array, whose samples are rows."""
    row, column = index
    if quantity == "loss":
        return ""
    if quantity.lstrip("d").startswith("b"):
        return f"[{row}]"
    as_textbook = quantity.lstrip("d").startswith("W") and kernel == "out,in"
    return f"[{row}, {column}]" if as_textbook else f"[{column}, {row}]"


def _shape(row: Row, kernel: str) -> str:
    """Return the shape that the script's array has to have."""
    rows, columns = row.shape
    if row.name == "loss":
        return "()"
    if row.name.lstrip("d").startswith("b"):
        return f"({rows},)"
    if columns == "m":
        return f"(len(X), {rows})"
    return f"({rows}, {columns})" if kernel == "out,in" else f"({columns}, {rows})"
