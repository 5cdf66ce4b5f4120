"""An engine of your own: a function from a step's arrays to any part of its trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from gradparity.adapters.loop import Item, Step, Stopwatch, contained, numbers, stack
from gradparity.adapters.outcome import Ended, Status, Task
from gradparity.reference.errors import nearest
from gradparity.reference.problem import Array, Layer, Loss, Problem, sha256


@dataclass(frozen=True, slots=True)
class StepProblem:
    """One training step, in textbook orientation: columns are samples. All arrays are fresh copies.

    Shapes: ``X (n0, m)``, ``Y (n_L, m)``, ``W[l-1] (n_l, n_{l-1})``, ``b[l-1] (n_l, 1)``. `N` is what the loss's sum
    of terms is divided by, `activations` are the names in `layers`, and `step` counts from 0.
    """

    X: Array
    Y: Array
    W: list[Array]
    b: list[Array]
    layers: tuple[Layer, ...]
    activations: tuple[str, ...]
    loss: Loss
    N: int
    learning_rate: float
    dtype: str
    m: int
    step: int


Function: TypeAlias = Callable[[StepProblem], Mapping[str, Any]]
"""It returns any of ``Z1 A1 … loss dA1 delta1 dW1 db1 W1_next b1_next …``; what is left out is "not given"."""


@contained
def run_function(task: Task, function: Function) -> Iterator[Item]:
    """Call `function` once a step and yield its trace in chunks, then one `Ended`.

    A step goes on from the ``W1_next``, ``b1_next`` … that the function returned; where it leaves one out, from
    ``W − η dW`` in the working dtype; and where there is no gradient either, the run ends after that step
    and says so. An exception, or a name that no trace has, ends the run as crashed.
    """
    problem, clock = task.problem, Stopwatch()
    faults, notes = dict[str, None](), list[str]()
    plain, known = _names(problem)

    def steps() -> Iterator[Step]:
        weights = _named_weights(problem)
        for number in range(len(problem.batches)):
            handed = _step_problem(problem, weights, number)
            with clock, np.errstate(all="ignore"):
                returned = function(handed)
            trace = _trace(returned, known, problem.dtype)
            changed = _changed(handed, _step_problem(problem, weights, number))
            faults.update({f"the engine changed its input {name}": None for name in changed})
            yield Step(
                m=handed.m,
                weights=weights,
                plain={name: a for name, a in trace.items() if name in plain},
                probed={name: a for name, a in trace.items() if not name.endswith("_next")},
            )
            following = {name: _next(name, W, trace, problem) for name, W in weights.items()}
            stuck = [name for name, a in following.items() if a is None]
            if stuck:
                if number + 1 < len(problem.batches):
                    notes.append(f"ended after step {number + 1} of {len(problem.batches)}: no next {stuck[0]}")
                return
            weights = {name: a for name, a in following.items() if a is not None}

    yield from stack(steps())
    yield Ended(
        Status.DONE,
        message="; ".join([*faults, *notes]),
        seconds=clock.seconds,
        environment={"numpy": np.__version__},
        weights_sha256=sha256(*_named_weights(problem).values()),
        faults=tuple(faults),
    )


def _names(problem: Problem) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return the names of the plain program's quantities, and those of all."""
    layers = range(1, len(problem.layers) + 1)
    plain = ["loss", *(name.format(l) for l in layers for name in ("dW{}", "db{}", "W{}_next", "b{}_next"))]
    probed = [name.format(l) for l in layers for name in ("Z{}", "A{}", "dA{}", "delta{}")]
    return frozenset(plain), (*plain, *probed)


def _named_weights(problem: Problem) -> dict[str, Array]:
    pairs = enumerate(zip(problem.W, problem.b, strict=True), 1)
    return {f"{name}{l}": a for l, pair in pairs for name, a in zip("Wb", pair, strict=True)}


def _step_problem(problem: Problem, weights: Mapping[str, Array], step: int) -> StepProblem:
    X, Y = (np.array(a, order="C") for a in problem.batch(step))
    m = X.shape[1]
    return StepProblem(
        X=X,
        Y=Y,
        W=[np.array(a, order="C") for name, a in weights.items() if name.startswith("W")],
        b=[np.array(a, order="C") for name, a in weights.items() if name.startswith("b")],
        layers=problem.layers,
        activations=tuple(layer.activation for layer in problem.layers),
        loss=problem.loss,
        N=problem.loss.divisor(problem.layers[-1].units, m),
        learning_rate=problem.learning_rate,
        dtype=problem.dtype,
        m=m,
        step=step,
    )


def _changed(handed: StepProblem, fresh: StepProblem) -> list[str]:
    def named(p: StepProblem) -> dict[str, bytes]:
        arrays = {"X": p.X, "Y": p.Y}
        arrays |= {f"W{l}": a for l, a in enumerate(p.W, 1)} | {f"b{l}": a for l, a in enumerate(p.b, 1)}
        return {name: np.asarray(a).tobytes() for name, a in arrays.items()}

    now = named(handed)
    return [name for name, data in named(fresh).items() if now.get(name) != data]


def _trace(returned: object, known: tuple[str, ...], dtype: str) -> dict[str, Array]:
    if not isinstance(returned, Mapping):
        raise TypeError(f"the engine returned {type(returned).__name__}, not a dictionary from names to arrays")
    for name in returned:
        if name not in known:
            hint = nearest(str(name), known)
            raise ValueError(f"the engine returned {name!r}, which is no quantity of this network{hint}")
    return {name: _array(name, value, dtype) for name, value in returned.items()}


def _array(name: str, value: Any, dtype: str) -> Array:
    a = np.asarray(numbers(name, value, dtype), order="C")
    is_bias = name.lstrip("d").startswith("b")
    return a.reshape(-1, 1) if a.ndim == 0 or (a.ndim == 1 and is_bias) else a


def _next(name: str, W: Array, trace: Mapping[str, Array], problem: Problem) -> Array | None:
    """Return the weights `name` of the next step, or None where they cannot be told."""
    given, gradient = trace.get(f"{name}_next"), trace.get(f"d{name}")
    if given is None and gradient is not None and gradient.shape == W.shape:
        with np.errstate(all="ignore"):
            given = W - W.dtype.type(problem.learning_rate) * gradient
    if given is None or given.shape != W.shape:
        return None
    with np.errstate(all="ignore"):
        return given.astype(W.dtype, copy=False)
