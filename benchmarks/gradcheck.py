"""A step with 1,000,000 parameters (float64, batch 32): judging it, beside ``torch.autograd.gradcheck`` in fast mode.

Run: ``python benchmarks/gradcheck.py``. Both check the same torch network in one process, in turns; the smallest
fault is the smallest ε, in powers of ten, for which a first-layer weight gradient scaled by 1 + ε is caught.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from gradparity.adapters.loop import run
from gradparity.adapters.outcome import Chunk
from gradparity.adapters.torch_engine import adapter
from gradparity.reference.data import Random
from gradparity.reference.initial import GlorotUniform
from gradparity.reference.judge import Judge, Oracle
from gradparity.reference.problem import Layer, Loss
from gradparity.reference.scenario import Scenario
from gradparity.reference.verdict import Verdict

REPEATS = 3


def scenario() -> Scenario:
    """784-1250-10: 992,760 parameters and, with the second layer's biases, close to 1e6."""
    return Scenario(
        name="million",
        layers=(Layer(1258, "relu"), Layer(10, "linear")),
        loss=Loss("cce_logits"),
        data=Random(inputs=784, samples=32, targets="labels", seed=1),
        weights=GlorotUniform(seed=1),
    )


def judged(oracle: Oracle, chunk: Chunk, factor: float = 1.0) -> bool:
    """Judge the chunk, its dW1 scaled by `factor` in both programs; return whether nothing is wrong."""
    scaled = {
        part: {**getattr(chunk, part), "dW1": getattr(chunk, part)["dW1"] * factor} for part in ("plain", "probed")
    }
    judge = Judge(oracle)
    judge.add(Chunk(chunk.first_step, chunk.steps, chunk.weights, scaled["plain"], scaled["probed"]))
    return all(f.verdict is not Verdict.WRONG for f in judge.findings())


def checked(torch: Any, problem: Any, factor: float = 1.0) -> bool:
    """Return what gradcheck says in fast mode, with its own tolerances, of the same loss."""
    F = torch.nn.functional

    class Scaled(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, W: Any) -> Any:
            return W.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient * factor

    X, Y = torch.tensor(problem.X.T.copy()), torch.tensor(problem.Y.T.copy())
    parameters = [torch.tensor(a, requires_grad=True) for a in (problem.W[0], problem.b[0][:, 0])]
    parameters += [torch.tensor(a, requires_grad=True) for a in (problem.W[1], problem.b[1][:, 0])]

    def loss(W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
        return F.cross_entropy(F.linear(torch.relu(F.linear(X, Scaled.apply(W1), b1)), W2, b2), Y)

    return bool(torch.autograd.gradcheck(loss, parameters, fast_mode=True, raise_exception=False))


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def smallest(passes: Callable[[float], bool]) -> str:
    caught = [e for e in range(-16, 1) if not passes(1.0 + 10.0**e)]
    return f"1e{caught[0]}" if caught else "none up to 1"


def main() -> None:
    import torch

    problem = scenario().problem("float64")
    parameters = sum(a.size for a in (*problem.W, *problem.b))
    chunk = next(item for item in run(adapter(""), problem) if isinstance(item, Chunk))
    oracle = Oracle(problem)
    judged(oracle, chunk)
    taken = [(seconds(lambda: judged(oracle, chunk)), seconds(lambda: checked(torch, problem))) for _ in range(REPEATS)]
    ours, theirs = (min(column) for column in zip(*taken, strict=True))
    print(f"{parameters:,} parameters, batch 32, float64")
    print(f"judging {ours * 1e3:.0f} ms, gradcheck (fast mode) {theirs * 1e3:.0f} ms: {theirs / ours:.1f} × as long")
    print(f"smallest fault caught: judging {smallest(lambda f: judged(oracle, chunk, f))}, ", end="")
    print(f"gradcheck {smallest(lambda f: checked(torch, problem, f))}")


if __name__ == "__main__":
    main()
