"""Repro scripts: they stand alone, fail while a defect is there, and pass on correct code."""

from __future__ import annotations

import ast
import base64
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import cycle, product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest

from gradparity.adapters import registry
from gradparity.adapters.loop import run
from gradparity.adapters.numpy_engine import NumPyAdapter
from gradparity.adapters.outcome import Chunk
from gradparity.reference import catalogue
from gradparity.reference.activations import ACTIVATIONS
from gradparity.reference.bounds import rounding
from gradparity.reference.data import Inline
from gradparity.reference.errors import InputError
from gradparity.reference.evaluation import Evaluation, problem_rows, reference
from gradparity.reference.initial import GlorotUniform
from gradparity.reference.losses import LOSSES
from gradparity.reference.problem import SLOPE, Array, Layer, Loss, Problem, Reduction
from gradparity.reference.scenario import Scenario
from gradparity.reference.verdict import Finding, Verdict, Worst
from gradparity.reports.repro import literal, script
from gradparity.reports.repro_formulas import HELPERS, rows

ENGINES = [engine.name for engine in registry.BUILT_IN]
FITTING = [(loss, output) for loss, J in LOSSES.items() for output in J.activations]

ONLY = """
import runpy, sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder

allowed, scripts = sys.argv[1].split(","), sys.argv[2:]
hidden = {"gradparity", "torch", "jax", "tensorflow", "keras"} - set(allowed)

class Only(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else super().find_spec(name, path, target)

sys.meta_path = [BuiltinImporter, FrozenImporter, Only]
for script in scripts:
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        print("exit", end.code)
"""
"""Runs one script after the other where only some of the frameworks can be imported, and gradparity cannot."""


class Case(NamedTuple):
    """A wrong quantity to be shown, and the exit status that its script must have."""

    engine: str
    scenario: str
    dtype: str
    program: str
    quantity: str
    step: int = 1
    status: int = 0


CASES = {
    "numpy": (
        Case("numpy", "digits-softmax", "float32", "probed", "dW1", 3),
        Case("numpy", "lpa-regression", "float64", "plain", "W1_next", 5),
        Case("numpy", "deep", "float64", "plain", "dW1"),
    ),
    "torch": (
        Case("torch", "xor-tape", "float64", "probed", "delta1"),
        Case("torch", "digits-softmax", "float32", "plain", "dW1", 2),
        Case("torch:func", "lpa-regression", "float64", "plain", "W1_next", 5),
        Case("keras:torch", "tanh-regression", "float32", "probed", "dA1"),
    ),
    "jax": (
        Case("jax:jit", "xor-500", "float64", "probed", "loss", 125, status=1),
        Case("jax", "leaky-regression", "float64", "probed", "A1"),
        Case("jax:vmap", "digits-softmax", "float32", "probed", "delta2", 2),
        Case("keras:jax", "tanh-regression", "float32", "plain", "db1"),
    ),
    "tensorflow": (
        Case("tensorflow", "leaky-regression", "float64", "probed", "A1", status=1),
        Case("tensorflow:function", "xor-tape", "float32", "plain", "b2_next"),
        Case("tensorflow:xla", "digits-softmax", "float32", "probed", "dW2", 2),
        Case("keras:tensorflow", "xor-tape", "float32", "probed", "delta2"),
    ),
}
"""By family. With status 1 stand two defects of the pinned versions; see ``docs/reproductions``."""


def found(case: Case) -> Finding:
    """Return a finding on one element; the end-to-end bound stands for whatever bound it was found with."""
    problem = catalogue.load(case.scenario).problem(case.dtype)
    with np.errstate(all="ignore"):
        ball = at_step(problem, case.step).ball(case.quantity)
    exact, allowed = ball.mid[0], np.broadcast_to(ball.rad, ball.mid.shape)[0]
    # The smallest activation is the negative one that a leaky ReLU's slope moves most.
    chosen = np.argmin(exact) if case.quantity == "A1" else np.argmax(np.abs(exact))
    row, column = map(int, np.unravel_index(int(chosen), exact.shape))
    value = float(exact[row, column])
    worst = Worst(case.step, (row, column), value, value, 0.0, float(allowed[row, column]), 0.0)
    basis = "row" if case.program == "probed" or case.quantity.endswith("_next") else "end to end"
    return Finding(case.program, case.quantity, Verdict.WRONG, basis=basis, details=(worst,))


def at_step(problem: Problem, step: int) -> Evaluation:
    """Return the reference at the weights that the ``numpy`` engine has before `step`."""
    numpy_engine: Any = NumPyAdapter()
    for chunk in run(numpy_engine, problem):
        if isinstance(chunk, Chunk) and step <= chunk.first_step + chunk.steps:
            X, Y = problem.batch(step - 1)
            weights = {name: a[step - 1 - chunk.first_step][None] for name, a in chunk.weights.items()}
            return Evaluation(rounding(problem.dtype), problem_rows(problem), {"X": X[None], "Y": Y[None], **weights})
    raise AssertionError(f"{problem.name} has no step {step}")


def executed(scripts: list[str], folder: Path, allowed: str = "") -> tuple[list[str], str]:
    """Run scripts where only the packages `allowed` can be imported; return their exit statuses and all they print."""
    names = [f"{i}.py" for i in range(len(scripts))]
    for name, text in zip(names, scripts, strict=True):
        (folder / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-I", "-c", ONLY, allowed, *names]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, encoding="utf-8", errors="replace", timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return re.findall(r"^exit (.*)$", done.stdout, re.M), done.stdout


def installed(family: str) -> list[Case]:
    return [case for case in CASES[family] if registry.find(case.engine).installed]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[tuple[list[str], str]]]]:
    """The scripts of every family, side by side."""
    pytest.importorskip("sklearn", reason="one scenario is scikit-learn's digits: pip install 'gradparity[data]'")
    with ThreadPoolExecutor() as pool:
        running = {}
        for family in CASES:
            texts = [script(catalogue.load(c.scenario), c.dtype, c.engine, found(c)) for c in installed(family)]
            folder = tmp_path_factory.mktemp(family)
            running[family] = pool.submit(executed, texts, folder, f"{family},keras")
        yield running


@pytest.mark.parametrize("family", CASES)
def test_scripts_stand_alone(family: str, ran: dict[str, Future[tuple[list[str], str]]]) -> None:
    cases = installed(family)
    if not cases:
        pytest.skip(f"{family} is not installed: {registry.find(family).install}")
    statuses, printed = ran[family].result()
    assert statuses == [str(case.status) for case in cases], printed
    assert printed.count("allowed at that element when found:") == len(cases)


def test_shapes_and_dtypes(tmp_path: Path) -> None:
    scenario = network("leaky_relu", "softmax", Loss("cce"))
    names = [row.name for row in problem_rows(scenario.problem("float32"))]
    findings = [Finding("plain" if n.endswith("_next") else "probed", n, Verdict.WRONG, basis="row") for n in names]
    scripts = [script(scenario, "float32", "numpy", finding) for finding in findings]
    broken = scripts[0].replace("= X @ W1.T + b1", "= (X @ W1.T + b1).astype(np.float64)")
    statuses, printed = executed([*scripts, broken], tmp_path)
    assert statuses == ["0"] * len(scripts) + ["1"], printed


def network(hidden: str, output: str, loss: Loss) -> Scenario:
    """Return 2-3-3 with targets that fit every loss and are no corner cases."""
    X, Y = ((0.5, -1.0), (-2.0, 0.25), (1.5, 3.0)), ((0.25, 0.25, 0.5), (0.125, 0.875, 0.0), (0.5, 0.375, 0.125))
    layers = (Layer(3, hidden, 0.2 if hidden == "leaky_relu" else SLOPE), Layer(3, output))
    return Scenario("made", layers, loss, Inline(X=X, Y=Y), GlorotUniform(seed=4), batch_size=2)


KINDS: tuple[Reduction, ...] = ("mean", "sum")
NETWORKS = [
    network(hidden, output, Loss(name, samples, outputs))
    for (name, output), hidden, samples, outputs in product(FITTING, ACTIVATIONS, KINDS, KINDS)
    if outputs == "sum" or not LOSSES[name].classes
]


@pytest.mark.parametrize("kernel", ["in,out", "out,in"])
def test_texts_are_the_formulas(kernel: Literal["in,out", "out,in"]) -> None:
    functions: dict[str, Any] = {"np": np}
    exec("\n".join(HELPERS.values()), functions)
    for scenario in NETWORKS:
        problem = scenario.problem("float64")
        exact, X, Y = reference(problem), *problem.batch(0)
        values: dict[str, Any] = {"X": X.T.astype(np.longdouble), "Y": Y.T.astype(np.longdouble)}
        for l, (W, b) in enumerate(zip(problem.W, problem.b, strict=True), start=1):
            values |= {f"W{l}": oriented(f"W{l}", W, kernel), f"b{l}": oriented(f"b{l}", b, kernel)}
        table = rows(problem, kernel)
        assert table.keys() == {row.name for row in problem_rows(problem)}
        with np.errstate(all="ignore"):
            for name, texts in table.items():
                ball = exact.ball(name)
                rad = oriented(name, np.broadcast_to(ball.rad, ball.mid.shape)[0], kernel)
                for text in texts:
                    value = eval(text, functions, values)
                    off = np.abs(value - oriented(name, ball.mid[0], kernel))
                    assert off.shape == rad.shape, (scenario.loss, name, text)
                    assert (off <= rad).all(), (scenario.loss, name, text)
                values[name] = eval(texts[0], functions, values)


def oriented(name: str, a: Array, kernel: str) -> Array:
    """Return an array of the textbook's as scripts have it."""
    if name == "loss":
        return np.asarray(a[0, 0])
    if name.lstrip("d").startswith("b"):
        return a[:, 0]
    return a if name.lstrip("d").startswith("W") and kernel == "out,in" else a.T


@pytest.mark.parametrize("engine", ENGINES)
def test_every_script_is_python_and_imports_little(engine: str) -> None:
    allowed = {"base64", "os", "sys", "zlib", "numpy", *re.split(":", engine)}
    element = Worst(2, (0, 0), 1.0, 0.5, 0.5, 1e-9, 2.0**52)
    kinds = cycle([("probed", "delta2", "row"), ("plain", "dW1", "end to end"), ("plain", "b2_next", "row")])
    # Every 13th: each activation and each loss is among them.
    for scenario, (program, quantity, basis) in zip(NETWORKS[::13], kinds, strict=False):
        finding = Finding(program, quantity, Verdict.WRONG, basis=basis, details=(element,))
        tree = ast.parse(script(scenario, "float32", engine, finding))
        imported = [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
        imported += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert {name.partition(".")[0] for name in imported} <= allowed
        assert str(ast.get_docstring(tree)).count("Seen with") == 1


@cache
def definition_of_unpacked(dtype: str) -> str:
    """Return the function as it stands in a script of that dtype."""
    source = script(catalogue.load("wide"), dtype, "numpy", Finding("plain", "loss", Verdict.WRONG))
    start = source.index("def unpacked")
    return source[start : source.index("\n\n\n", start)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 3), (7,), (64, 1), (13, 17), (4099,)])
def test_arrays_are_kept_bit_for_bit(dtype: str, shape: tuple[int, ...]) -> None:
    a = np.random.default_rng(7).standard_normal(shape).astype(dtype)
    a.flat[0] = -0.0
    names: dict[str, Any] = {"np": np, "dtype": np.dtype(dtype), "base64": base64, "zlib": zlib}
    exec(f"{definition_of_unpacked(dtype)}\na = {literal(a)}", names)
    assert (names["a"].dtype, names["a"].shape, names["a"].tobytes()) == (a.dtype, a.shape, a.tobytes())


@pytest.mark.parametrize(
    ("engine", "finding", "says"),
    [
        ("torch", None, "no quantity is wrong in"),
        ("torch", Finding("plain", "dW1", Verdict.WITHIN), "no quantity is wrong in"),
        ("torch", Finding("plain", "dW1", Verdict.SUSPECT), "suspect, not wrong"),
        ("mine.py:f", Finding("plain", "dW1", Verdict.WRONG), "needs a framework's engine"),
        ("torch", Finding("plain", "dW9", Verdict.WRONG), "no quantity 'dW9'"),
    ],
)
def test_what_cannot_be_reproduced(engine: str, finding: Finding | None, says: str) -> None:
    with pytest.raises(InputError, match=says):
        script(catalogue.load("xor-tape"), "float64", engine, finding)


def test_results_are_not_trusted() -> None:
    element = Worst(1, (0, 0), 1.0, 0.5, 0.5, float("nan"), 1.0)
    finding = Finding("probed", "A1", Verdict.KNOWN, formula='"""; evil()', details=(element,))
    text = script(catalogue.load("xor-tape"), "float64", "torch", finding, 'torch 2.13.0+cpu """; evil()\\')
    assert "torch 2.13.0+cpu  evil" in text
    assert "evil()" not in text
    assert "error_of(value, exact), 0.0\n" in text
