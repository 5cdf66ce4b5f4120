"""Side by side with what people use: faults caught, false alarms, the smallest fault, and time.

Run: ``python benchmarks/side_by_side.py``. It writes ``docs/side-by-side.md`` and ``docs/images/side-by-side.svg``, and
needs torch, JAX, TensorFlow and matplotlib: ``pip install -e ".[all,bench]"``.
"""

from __future__ import annotations

import logging
import re
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib import import_module
from typing import Any

import numpy as np
from peers import CHECKERS, COMPARATORS, ELEMENTWISE, Checker, Gradients
from side_by_side_page import write

from gradparity.adapters.loop import run as run_engine
from gradparity.adapters.outcome import Chunk
from gradparity.adapters.registry import find
from gradparity.parity_tests.fault import Mutations, run
from gradparity.parity_tests.fault_problems import problems
from gradparity.parity_tests.faults import FAULTS
from gradparity.parity_tests.kill import label
from gradparity.reference import catalogue
from gradparity.reference.compare import best, judged
from gradparity.reference.data import Random
from gradparity.reference.evaluation import Evaluation, Working
from gradparity.reference.initial import GlorotUniform
from gradparity.reference.judge import PROBED, Judge, Oracle
from gradparity.reference.problem import DTYPES, Array, Layer, Loss, Problem
from gradparity.reference.scenario import Scenario
from gradparity.reference.verdict import Finding, Verdict
from gradparity.reports.known import entries

ENGINES = ("numpy", "torch", "jax:jit", "tensorflow")
OF_CHECKER = {"gradcheck, slow": "torch", "gradcheck, fast": "torch", "jax check_grads": "jax:jit"}
OURS = ("all rows, rigorous", "all rows, statistical", "plain alone, rigorous", "plain alone, statistical")
BACKWARD = ("dA", "delta", "dW", "db")
MOST_STEPS, MOST_ELEMENTWISE, LARGE = 3, 200, 10_000
PATIENCE = 2.0
"""Seconds: what would take longer is extrapolated."""

Passed = dict[str, bool]


class Subject:
    """One problem: the reference, the correct engine, and what each tool says of that."""

    def __init__(self, problem: Problem, checked: bool) -> None:
        self.problem, self.oracle, self.kept = problem, Oracle(problem), dict[str, tuple[Array, Array]]()
        self.checkers = {name: make(problem) for name, make in CHECKERS.items()} if checked else {}

    @cached_property
    def clean(self) -> list[Chunk]:
        return run(self.problem, {})

    @cached_property
    def without_fault(self) -> Passed:
        own = {name: checker.check() for name, checker in self.checkers.items()}
        return own | compared(self, self.clean) | dict.fromkeys(OURS, True)

    @cache  # noqa: B019
    def initially(self, name: str) -> tuple[Array, Array]:
        """Return a quantity of the first step, exactly and as NumPy computes it."""
        return self.oracle.rounded_reference(name), self.clean[0].plain[name][:1]


def given(problem: Problem, chunk: Chunk) -> dict[str, Array]:
    batches = [problem.batch(chunk.first_step + k) for k in range(chunk.steps)]
    X, Y = (np.stack([batch[i] for batch in batches]) for i in (0, 1))
    return {"X": X, "Y": Y, **chunk.weights}


def expected(subject: Subject, chunk: Chunk) -> Callable[[str], tuple[Array, Array]]:
    """Return what gives a quantity at the chunk's own weights: exactly, and as NumPy computes it."""
    if chunk.first_step == 0 and chunk.steps == 1:
        return subject.initially
    shared, values = subject.oracle, given(subject.problem, chunk)
    exact = Evaluation(shared.r, shared.rows, dict(values))
    for row in shared.rows:
        value = row.compute(Working(), *(values[i] for i in row.inputs))
        values[row.name] = value.astype(subject.problem.dtype)
    return lambda name: (exact.mid(name).astype(np.float64), values[name])


def compared(subject: Subject, chunks: list[Chunk]) -> Passed:
    """Return whether each comparator passes the plain program: its loss, gradients and updated weights of each step."""
    found = dict.fromkeys(COMPARATORS, True)
    for chunk in chunks:
        at = expected(subject, chunk)
        for name, value in chunk.plain.items():
            exact, peer = at(name)
            for tool, passes in COMPARATORS.items():
                for k in range(chunk.steps):
                    found[tool] = found[tool] and passes(value[k], exact[k], peer[k])
    return found


def tiers(findings: list[Finding], program: str) -> Passed:
    verdicts = {f.verdict for f in findings}
    wrong = Verdict.WRONG in verdicts
    return {f"{program}, rigorous": not wrong, f"{program}, statistical": not wrong and Verdict.SUSPECT not in verdicts}


def judged_rows(subject: Subject, chunks: list[Chunk], mutations: Mutations) -> Passed:
    """Judge the rows that the fault changes, as the probed program's; the others follow their formulas."""
    shared, found = subject.oracle, list[Finding]()
    for chunk in chunks:
        everything = given(subject.problem, chunk) | dict(chunk.plain) | dict(chunk.probed)
        by = Evaluation(shared.r, shared.rows, dict(everything))
        blank = {name: Finding(PROBED, name, Verdict.WITHIN) for name in mutations}
        found += [judged(shared.r, everything[name], by, blank[name], chunk.first_step) for name in mutations]
    return tiers(found, "all rows")


def judged_plain(subject: Subject, chunks: list[Chunk]) -> Passed:
    """Judge from end to end what differs from the correct engine's bits: those have been judged."""
    judge = Judge(subject.oracle, explain=False)
    for chunk, clean in zip(chunks, subject.clean, strict=True):
        changed = {n for n, a in chunk.plain.items() if a.tobytes() != clean.plain[n].tobytes()}
        changed |= {f"d{n.removesuffix('_next')}" for n in changed if n.endswith("_next")}
        judge.add(replace(chunk, plain={n: a for n, a in chunk.plain.items() if n in changed}, probed={}))
    return tiers(list(judge.findings()), "plain alone")


def gradients(problem: Problem, chunk: Chunk) -> Gradients:
    return [chunk.plain[f"d{kind}{l}"][0] for l in range(1, len(problem.layers) + 1) for kind in "Wb"]


@dataclass(frozen=True)
class Struck:
    """One fault in one row. `caught` holds the tools to which it applies, and whether each fails on it only."""

    fault: str
    row: str
    size: str
    dtype: str
    caught: Mapping[str, bool]


def struck(size: str, dtype: str) -> Iterator[Struck]:
    """Yield every fault in the first problem in which it strikes each kind of row; on the wide network, in one row."""
    subjects = {p.name: Subject(p, checked=size == "small" and dtype == "float64") for p in problems(size, dtype)}
    for fault in (f for f in FAULTS if not f.harmless):
        seen = set[str]()
        for problem, mutations in fault.places(size, dtype):
            row, subject = label(next(iter(mutations)), len(problem.layers)), subjects[problem.name]
            enough = row in seen or (size == "wide" and seen)
            chunks = [] if enough else run(problem, mutations)
            if any(differs(a, b, mutations) for a, b in zip(chunks, subject.clean, strict=False)):
                seen.add(row)
                yield Struck(fault.name, row, size, dtype, caught(subject, chunks, mutations))


def differs(a: Chunk, b: Chunk, names: Mutations) -> bool:
    mine, right = ({**c.probed, **c.plain} for c in (a, b))
    return any(not np.array_equal(mine[n], right[n], equal_nan=True) for n in names)


def caught(subject: Subject, chunks: list[Chunk], mutations: Mutations) -> dict[str, bool]:
    found = compared(subject, chunks) | judged_rows(subject, chunks, mutations) | judged_plain(subject, chunks)
    wrong, right = (gradients(subject.problem, c[0]) for c in (chunks, subject.clean))
    kinds = {re.sub(r"\d", "", name) for name in mutations}
    if kinds <= set(BACKWARD) and not all(map(np.array_equal, wrong, right)):
        found |= {name: checker.check(wrong) for name, checker in subject.checkers.items()}
    return {tool: subject.without_fault[tool] and not passed for tool, passed in found.items()}


@dataclass(frozen=True)
class Alarm:
    """What each tool says of correct code: one engine on one scenario. `listed` are reviewed deviations."""

    engine: str
    scenario: str
    dtype: str
    structured: bool
    passed: Mapping[str, bool]


def alarms(dtype: str) -> Iterator[Alarm]:
    """Yield what the tools say of each engine on each scenario, but for listed deviations."""
    for name in catalogue.names():
        scenario = catalogue.load(name)
        problem = scenario.problem(dtype)
        problem = replace(problem, batches=problem.batches[:MOST_STEPS])
        subject = Subject(problem, checked=False)
        for engine in ENGINES:
            if not listed(engine, name, dtype):
                adapter = import_module(find(engine).module).adapter(find(engine).variant)
                chunks = [item for item in run_engine(adapter, problem) if isinstance(item, Chunk)]
                passed = compared(subject, chunks) | of_correct(subject, chunks) | checked(engine, problem)
                yield Alarm(engine, name, dtype, scenario.structured, passed)


def listed(engine: str, scenario: str, dtype: str) -> bool:
    """Return whether the registry of conventions and known defects names the scenario."""
    return any(engine in e.engines and scenario in e.seen and (dtype in e.dtypes or "*" in e.dtypes) for e in entries())


def of_correct(subject: Subject, chunks: list[Chunk]) -> Passed:
    found = Passed()
    for program in ("all rows", "plain alone") if size(subject.problem) <= LARGE else ("all rows",):
        judge = Judge(subject.oracle, explain=False)
        for chunk in chunks:
            judge.add(chunk if program == "all rows" else replace(chunk, probed={}))
        found |= tiers(list(judge.findings()), program)
    return found


def checked(engine: str, problem: Problem) -> Passed:
    """Let the framework's own checkers check its own gradients, those that move each parameter on small ones only."""
    names = [n for n in CHECKERS if OF_CHECKER.get(n, "tensorflow") == engine]
    small = size(problem) <= MOST_ELEMENTWISE
    return {n: CHECKERS[n](problem).check() for n in names if small or n not in ELEMENTWISE}


def size(problem: Problem) -> int:
    return sum(a.size for a in (*problem.W, *problem.b))


def smallest(dtype: str) -> dict[str, float]:
    """Return the smallest power of 2 for which dW1 times 1 + ε fails; NaN where that fails without a fault."""
    wide, small = (
        Subject(p, checked=False) for p in (catalogue.load("wide").problem(dtype), problems("small", dtype)[0])
    )
    value, (exact, peer) = wide.clean[0].plain["dW1"], wide.initially("dW1")
    fails: dict[str, Callable[[float], bool]] = {
        tool: lambda e, passes=passes: not passes(scaled(value, e), exact, peer) for tool, passes in COMPARATORS.items()
    }
    shared, everything = wide.oracle, given(wide.problem, wide.clean[0]) | dict(wide.clean[0].probed)
    by_row = Evaluation(shared.r, shared.rows, dict(everything))
    for program, evaluation in (("all rows", by_row), ("plain alone", shared.reference)):
        balls = list(evaluation.candidates("dW1"))
        for tier, attribute in (("rigorous", "outside"), ("statistical", "suspect")):
            fails[f"{program}, {tier}"] = lambda e, balls=balls, a=attribute: bool(
                getattr(best(scaled(value, e), balls), a).any()
            )
    for tool, make in CHECKERS.items():
        subject = small if tool in ELEMENTWISE else wide
        fails[tool] = fault_of(make(subject.problem), gradients(subject.problem, subject.clean[0]))
    return {tool: threshold(function) for tool, function in fails.items()}


def fault_of(checker: Checker, right: Gradients) -> Callable[[float], bool]:
    return lambda e: not checker.check([scaled(right[0], e), *right[1:]])


def scaled(value: Array, epsilon: float) -> Array:
    return (value * (1 + np.longdouble(epsilon))).astype(value.dtype)


def threshold(fails: Callable[[float], bool]) -> float:
    """Bisect the powers of 2 from 2⁻⁶⁰ to 2¹⁰."""
    if fails(0.0):
        return np.nan
    low, high = -60, 11
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fails(2.0**middle) else (middle, high)
    return 2.0**high if high < 11 else np.inf


@dataclass(frozen=True)
class Taken:
    """Seconds for one tool and one network."""

    tool: str
    parameters: int
    seconds: float
    extrapolated: bool


def times() -> Iterator[Taken]:
    """Yield the time for networks of 1e2 to 1e6 parameters with one hidden layer, batch 32, in float64."""
    latest = dict[str, tuple[Taken, float]]()
    for k in (5, 26, 95, 311, 994):
        problem = square(k)
        subject, n = Subject(problem, checked=True), size(problem)
        at, names = subject.initially, [f"d{kind}{l}" for l in (1, 2) for kind in "Wb"]
        for tool, passes in COMPARATORS.items():
            triples = [(subject.clean[0].plain[name], *at(name)) for name in names]
            yield Taken(tool, n, quickest(lambda: [passes(*t) for t in triples]), False)  # noqa: B023
        yield Taken("gradparity", n, quickest(lambda: of_correct_fresh(problem, subject.clean)), False)  # noqa: B023
        for tool, checker in subject.checkers.items():
            forward = quickest(checker.forward)
            taken = Taken(tool, n, np.nan, True)
            if tool in latest:
                old, before = latest[tool]
                growth = n / old.parameters if tool in ELEMENTWISE else 1.0
                taken = Taken(tool, n, old.seconds * growth * forward / before, True)
            if not taken.seconds > PATIENCE:
                taken = Taken(tool, n, quickest(checker.check, 1 if taken.seconds > 0.5 else 3), False)
                latest[tool] = taken, forward
            yield taken


def of_correct_fresh(problem: Problem, chunks: list[Chunk]) -> object:
    """Judge both programs, with a reference computed anew."""
    judge = Judge(Oracle(problem), explain=False)
    for chunk in chunks:
        judge.add(chunk)
    return judge.findings()


def square(k: int) -> Problem:
    layers, data = (Layer(k, "relu"), Layer(10, "linear")), Random(inputs=k, samples=32, targets="labels", seed=1)
    loss, weights = Loss("cce_logits"), GlorotUniform(seed=1)
    return Scenario(name=f"square-{k}", layers=layers, loss=loss, data=data, weights=weights).problem("float64")


def quickest(function: Callable[[], object], repeats: int = 3) -> float:
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return min(taken)


def main() -> None:
    started = time.perf_counter()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    clock = defaultdict[str, float](float)

    def timed(what: str, function: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        found = function()
        clock[what] = time.perf_counter() - begun
        print(f"{what}: {clock[what]:.0f} s", flush=True)
        return found

    with np.errstate(all="ignore"):
        faults = [
            s
            for size, dtype in (("small", "float32"), ("small", "float64"), ("wide", "float32"))
            for s in timed(f"faults, {size}, {dtype}", lambda: list(struck(size, dtype)))  # noqa: B023
        ]
        correct = [a for dtype in DTYPES for a in timed(f"correct code, {dtype}", lambda: list(alarms(dtype)))]  # noqa: B023
        least = {dtype: timed(f"smallest, {dtype}", lambda: smallest(dtype)) for dtype in DTYPES}  # noqa: B023
        taken = timed("times", lambda: list(times()))
    write(faults, correct, least, taken, time.perf_counter() - started)


if __name__ == "__main__":
    main()
