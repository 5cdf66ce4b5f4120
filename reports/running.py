"""One cell while it runs: its chunks are judged as they come, and summed up when the engine has ended."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from dataclasses import replace
from functools import cached_property

import numpy as np

from gradparity.adapters.outcome import Chunk, Ended, Status
from gradparity.reference.bounds import Ball
from gradparity.reference.figures import trajectory
from gradparity.reference.judge import PLAIN, Judge, Oracle, Watch
from gradparity.reference.problem import Array, Problem
from gradparity.reference.scenario import Scenario
from gradparity.reference.verdict import Finding, Verdict
from gradparity.reports.cell import Cell, Figure
from gradparity.reports.known import applied, conventions

_STATUS = {
    Status.UNSUPPORTED: Verdict.UNSUPPORTED,
    Status.CRASHED: Verdict.CRASHED,
    Status.TIMED_OUT: Verdict.TIMED_OUT,
}


MAX_LOSSES, MAX_SAMPLES = 200, 24
"""How many losses of a training, and how many elements of a gradient, are kept for the report."""


def evenly(total: int, limit: int) -> list[int]:
    """Return at most `limit` evenly spaced numbers of ``0 … total − 1``, the first and the last among them."""
    return np.unique(np.linspace(0, total - 1, min(total, limit)).round().astype(int)).tolist() if total else []


def sample(a: Array) -> tuple[float, ...]:
    """Return at most `MAX_SAMPLES` evenly spaced elements of `a`."""
    return tuple(a.ravel()[evenly(a.size, MAX_SAMPLES)].astype(float).tolist())


class Subject:
    """A scenario in one dtype, with all that its engines share."""

    def __init__(self, scenario: Scenario, problem: Problem) -> None:
        self.scenario, self.problem = scenario, problem
        self.functions = tuple(dict.fromkeys([*(layer.activation for layer in problem.layers), problem.loss.name]))
        self.oracle = Oracle(problem)
        self.data_sha256 = problem.data_sha256
        self.weights_sha256 = problem.weights_sha256
        steps = len(problem.batches)
        self.figures = [replace(f, step=f.step if f.step > 0 else steps + 1 + f.step) for f in scenario.expected]
        self.shown_steps = evenly(steps, MAX_LOSSES)
        self.lock = threading.Lock()

    @cached_property
    def balls(self) -> dict[tuple[int, str], Ball]:
        """What the scenario's printed figures are compared with, from the initial weights on."""
        return trajectory(self.problem, {(figure.step - 1, figure.quantity) for figure in self.figures})


class RunningCell:
    """One subject on one engine."""

    def __init__(self, subject: Subject, engine: str, watch: Watch | None = None) -> None:
        self.subject, self.engine = subject, engine
        self.judge = Judge(subject.oracle, conventions=conventions(engine, subject.problem.dtype), watch=watch)
        self.digests: defaultdict[str, hashlib._Hash] = defaultdict(hashlib.sha256)
        self.steps = 0
        self.losses: list[tuple[int, float]] = []
        self.samples: dict[str, tuple[float, ...]] = {}
        self.values: dict[tuple[int, str, tuple[int, int]], float] = {}

    def add(self, chunk: Chunk) -> None:
        """Judge a chunk, and keep what the printed figures, the curves and the pairwise comparison are about."""
        self.judge.add(chunk)
        for name, value in chunk.plain.items():
            self.digests[name].update(np.ascontiguousarray(value).data)
        self.steps += chunk.steps
        self._keep(chunk)
        for figure in self.subject.figures:
            at = figure.step - 1 - chunk.first_step
            arrays = chunk.plain if figure.quantity in chunk.plain else chunk.probed
            if 0 <= at < chunk.steps and figure.quantity in arrays:
                self.values[figure.step, figure.quantity, figure.index] = float(
                    arrays[figure.quantity][(at, *figure.index)]
                )

    def _keep(self, chunk: Chunk) -> None:
        loss = chunk.plain.get("loss", chunk.probed.get("loss"))
        if loss is not None and loss.shape[1:] == (1, 1):
            steps = [step - chunk.first_step for step in self.subject.shown_steps]
            self.losses += [(chunk.first_step + i + 1, float(loss[i, 0, 0])) for i in steps if 0 <= i < chunk.steps]
        if chunk.first_step == 0:
            gradients = {name: a[0] for name, a in chunk.plain.items() if not name.endswith("_next")}
            self.samples |= {name: sample(a) for name, a in gradients.items()}

    def ended(self, end: Ended) -> Cell:
        """Return the cell, with the registry of conventions and known defects applied."""
        subject = self.subject
        faults = list(end.faults)
        if end.status is Status.DONE and end.weights_sha256 != subject.weights_sha256:
            faults.append("the initial weights read back from the engine are not the scenario's")
        done = end.status is Status.DONE
        cell = Cell(
            scenario=subject.scenario.name,
            dtype=subject.problem.dtype,
            engine=self.engine,
            verdict=_STATUS.get(end.status, Verdict.WITHIN),
            findings=self._findings() if done or self.steps else (),
            figures=self._figures() if done else (),
            faults=tuple(faults),
            message=end.message,
            log=end.log,
            seconds=end.seconds,
            steps=self.steps,
            structured=subject.scenario.structured,
            functions=subject.functions,
            environment=end.environment,
            weights_sha256=subject.weights_sha256,
            data_sha256=subject.data_sha256,
            losses=tuple(self.losses),
            samples=self.samples,
        )
        return applied(cell) if done else cell

    def _findings(self) -> tuple[Finding, ...]:
        """Return what the judge found, the plain program's with a digest of all their values."""
        return tuple(
            replace(f, digest=self.digests[f.quantity].hexdigest()[:16])
            if f.program == PLAIN and f.quantity in self.digests
            else f
            for f in self.judge.findings()
        )

    def _figures(self) -> tuple[Figure, ...]:
        found = []
        for figure in self.subject.figures:
            with self.subject.lock:
                ball = self.subject.balls[figure.step - 1, figure.quantity]
            at = (0, *figure.index)
            value = self.values.get((figure.step, figure.quantity, figure.index))
            allowed = float(figure.half_unit) + float(np.broadcast_to(ball.rad, ball.mid.shape)[at])
            error = abs(value - float(figure.value)) if value is not None else float("nan")
            verdict = Verdict.NOT_GIVEN if value is None else Verdict.WITHIN if error <= allowed else Verdict.WRONG
            found.append(
                Figure(figure.step, figure.quantity, figure.index, figure.printed, value, error, allowed, verdict)
            )
        return tuple(found)
