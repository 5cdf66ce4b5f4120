"""The run loop that all engines share: train, probe every step, and give back textbook arrays in chunks."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import wraps
from time import perf_counter
from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar

import numpy as np

from gradparity.adapters.outcome import Chunk, Ended, Status, printable
from gradparity.adapters.protocol import Adapter, Network, Pairs, Unsupported, Update
from gradparity.reference.problem import Array, Problem, sha256

Item: TypeAlias = Chunk | Ended
P = ParamSpec("P")
R = TypeVar("R")

CHUNK_BYTES = 64 * 2**20
"""A chunk is handed on when its arrays hold more than this."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step's arrays in textbook orientation, of a batch of `m` samples; see `Chunk`, which stacks them."""

    m: int
    weights: Mapping[str, Array]
    plain: Mapping[str, Array]
    probed: Mapping[str, Array]

    @property
    def layout(self) -> tuple[Any, ...]:
        """Return batch size, names, dtypes and shapes: steps that agree in them can be stacked."""
        parts = (self.weights, self.plain, self.probed)
        return self.m, *(tuple((name, a.dtype, a.shape) for name, a in part.items()) for part in parts)

    @property
    def nbytes(self) -> int:
        """Return the size of all arrays together."""
        return sum(a.nbytes for part in (self.weights, self.plain, self.probed) for a in part.values())


def stack(steps: Iterable[Step]) -> Iterator[Chunk]:
    """Stack consecutive steps of one layout, handing a chunk on at every `CHUNK_BYTES`."""
    first, room, held = 0, CHUNK_BYTES, list[Step]()
    for step in steps:
        if held and (room < 0 or step.layout != held[0].layout):
            yield _chunk(first, held)
            first, room, held = first + len(held), CHUNK_BYTES, []
        held.append(step)
        room -= step.nbytes
    if held:
        yield _chunk(first, held)


def _chunk(first: int, held: list[Step]) -> Chunk:
    def stacked(parts: list[Mapping[str, Array]]) -> dict[str, Array]:
        return {name: np.stack([part[name] for part in parts]) for name in parts[0]}

    weights, plain, probed = ([getattr(s, part) for s in held] for part in ("weights", "plain", "probed"))
    return Chunk(first, len(held), stacked(weights), stacked(plain), stacked(probed))


def contained(
    run: Callable[P, Iterator[R]], errors: tuple[type[BaseException], ...] = (Exception, SystemExit)
) -> Callable[P, Iterator[R | Ended]]:
    """Make an exception of the engine, one of `errors`, the typed end of `run`; what it yielded before stays."""

    @wraps(run)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Iterator[R | Ended]:
        items = run(*args, **kwargs)
        while True:
            # Only the engine's own code is in here: what ends this generator from outside is no error of the engine.
            try:
                item = next(items)
            except StopIteration:
                return
            except errors as error:
                yield _ended_by(error)
                return
            yield item

    return wrapper


def _ended_by(error: BaseException) -> Ended:
    if isinstance(error, Unsupported):
        return Ended(Status.UNSUPPORTED, message=printable(str(error)))
    message = f"the engine called sys.exit({error.code!r})" if isinstance(error, SystemExit) else describe(error)
    return Ended(Status.CRASHED, message=message, log=_last(error))


def describe(error: BaseException) -> str:
    """Return the type and the text of `error`, fit for a report."""
    return printable(f"{type(error).__name__}: {error}".removesuffix(": "))


def _last(error: BaseException) -> str:
    return printable("".join(traceback.format_exception(error)))


@dataclass
class Stopwatch:
    """Add up the seconds spent inside ``with`` blocks."""

    seconds: float = 0.0
    started: float = field(default=0.0, repr=False)

    def __enter__(self) -> None:
        self.started = perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += perf_counter() - self.started


@contained
def run(adapter: Adapter, problem: Problem) -> Iterator[Item]:
    """Train `problem` on `adapter`, evaluating the probe at the weights before each step.

    Yields chunks in the order of steps, then one `Ended`; an exception of the engine ends it as crashed.
    """
    clock, given = Stopwatch(), _Given(problem, adapter.kernel)
    textbook = _Textbook(adapter.kernel, problem.dtype)
    with clock:
        program = adapter.plain(network_of(problem), given.weights)
        initial = _copied(program.weights())
        probe = adapter.probe(network_of(problem))

    def steps() -> Iterator[Step]:
        weights, updates = initial, iter(program.train(given.batches))
        for number, (X, Y) in enumerate(given.batches):
            with clock:
                update = next(updates, None)
                if update is None:
                    raise RuntimeError(f"the plain program made {number} of {len(given.batches)} updates")
                after = _copied(update.weights)
                probed = probe(weights, X, Y)
            yield textbook.step(len(X), weights, update, after, probed)
            weights = after

    yield from stack(steps())
    faults = tuple(f"the engine changed its input {name}" for name in given.changed(problem))
    read_back = textbook.named(initial, "W{}", "b{}")
    yield Ended(
        Status.DONE,
        message="; ".join(faults),
        seconds=clock.seconds,
        environment=adapter.environment(),
        weights_sha256=sha256(*read_back.values()),
        faults=faults,
    )


def network_of(problem: Problem) -> Network:
    """Return what an adapter builds its programs from."""
    samples = problem.X.shape[1]
    return Network(
        inputs=problem.X.shape[0],
        layers=problem.layers,
        loss=problem.loss,
        learning_rate=problem.learning_rate,
        dtype=problem.dtype,
        steps=len(problem.batches),
        full_batch=all(batch == (0, samples) for batch in problem.batches),
    )


class _Given:
    """What an engine is handed: copies of a problem's arrays in the engine's orientation, C-contiguous."""

    def __init__(self, problem: Problem, kernel: Literal["in,out", "out,in"]) -> None:
        self.kernel = kernel
        self.X, self.Y = np.array(problem.X.T, order="C"), np.array(problem.Y.T, order="C")
        self.batches = [(self.X[start:stop], self.Y[start:stop]) for start, stop in problem.batches]
        self.weights = [
            (np.array(W.T if kernel == "in,out" else W, order="C"), np.array(b[:, 0]))
            for W, b in zip(problem.W, problem.b, strict=True)
        ]

    def changed(self, problem: Problem) -> list[str]:
        """Return the names of the arrays whose bits are no longer those of `problem`."""
        before, now = _Given(problem, self.kernel).named(), self.named()
        return [name for name, a in now.items() if a.tobytes() != before[name].tobytes()]

    def named(self) -> dict[str, Array]:
        """Return every array by its textbook name."""
        return {"X": self.X, "Y": self.Y} | {
            f"{name}{l}": a for l, pair in enumerate(self.weights, 1) for name, a in zip("Wb", pair, strict=True)
        }


def _copied(pairs: Pairs) -> list[tuple[Array, Array]]:
    # A view of a framework's own memory would change with the next step.
    return [(np.array(kernel), np.array(bias)) for kernel, bias in pairs]


def numbers(name: str, value: Any, dtype: str) -> Array:
    """Return `value` as a new array; as everywhere in NumPy 2, a bare Python number takes the dtype around it.

    Raises `TypeError` for what holds no real numbers.
    """
    a = np.array(value, dtype=None if hasattr(value, "dtype") or value is None else dtype)
    if a.dtype.kind in "OSUMmc":
        raise TypeError(f"{name} came back as {type(value).__name__} ({a.dtype}), which holds no real numbers")
    return a


@dataclass(frozen=True, slots=True)
class _Textbook:
    """Brings what an engine with this orientation of kernels gives into the textbook's."""

    kernel: Literal["in,out", "out,in"]
    dtype: str

    def array(self, name: str, value: Any) -> Array:
        """Return scalars as ``(1, 1)``, vectors as columns, and matrices with samples as columns, a copy."""
        a = numbers(name, value, self.dtype)
        if a.ndim < 2:
            return a.reshape(-1, 1)
        return a if self.kernel == "out,in" and name.lstrip("d").startswith("W") else a.T

    def named(self, pairs: Pairs, W: str, b: str) -> dict[str, Array]:
        """Return kernels and biases by name; `W` and `b` take the number of the layer."""
        return {
            template.format(l): self.array(template, a)
            for l, pair in enumerate(pairs, 1)
            for template, a in zip((W, b), pair, strict=True)
        }

    def step(self, m: int, weights: Pairs, update: Update, after: Pairs, probed: Mapping[str, Any]) -> Step:
        """Return a step of a batch of `m` samples."""
        plain = {"loss": self.array("loss", update.loss)}
        plain |= self.named(update.gradients, "dW{}", "db{}") | self.named(after, "W{}_next", "b{}_next")
        seen = {name: self.array(name, a) for name, a in probed.items()}
        return Step(m, weights=self.named(weights, "W{}", "b{}"), plain=plain, probed=seen)
