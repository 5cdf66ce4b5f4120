"""What the faults of the catalogue do to a row, and to which: the vocabulary that they are written in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradparity.parity_tests.fault import At, Mutation, Mutations
from gradparity.reference.activations import ACTIVATIONS
from gradparity.reference.formats import Format
from gradparity.reference.problem import Array, Problem

Inject = Callable[[Problem], Iterator[Mutations]]
When = Callable[[Problem], bool]
CURVED = ("sigmoid", "tanh")
KINDS = ("Z1", "A1", "loss", "dA{L}", "dA{H}", "delta1", "dW1", "db1", "W1_next", "b1_next")


def always(p: Problem) -> bool:
    return True


def each(*names: str, change: Mutation, when: When = always) -> Inject:
    """Inject `change` into each of the rows, one at a time; ``{L}`` is the last layer, ``{H}`` the one before it."""

    def inject(p: Problem) -> Iterator[Mutations]:
        L = len(p.layers)
        for name in dict.fromkeys(n.format(L=L, H=L - 1) for n in names):
            if when(p):
                yield {name: change}

    return inject


def on_hidden(kind: str, activations: tuple[str, ...], change: Callable[[At, int], Array]) -> Inject:
    """Inject `change` into the first hidden layer with one of the activations."""

    def inject(p: Problem) -> Iterator[Mutations]:
        for l, layer in enumerate(p.layers[:-1], start=1):
            if layer.activation in activations:

                def strike(at: At, l: int = l) -> Array:
                    return change(at, l)

                yield {f"{kind}{l}": strike}
                return

    return inject


def scaled(factor: Callable[[At], float]) -> Mutation:
    return lambda at: at.right * at.number(factor(at))


def mean(p: Problem) -> bool:
    return p.loss.samples == "mean"


def several(p: Problem) -> bool:
    return len(p.batches) > 1


def uneven(p: Problem) -> bool:
    return len({stop - start for start, stop in p.batches}) > 1


def wide_enough(p: Problem) -> bool:
    return p.layers[-1].units > 1


def later(change: Mutation) -> Mutation:
    """Strike from the second step on, for what needs a step before."""
    return lambda at: change(at) if at.before else at.right


def changed(place: Callable[[Array], None]) -> Mutation:
    def change(at: At) -> Array:
        place(at.right)
        return at.right

    return change


def middle(x: Array) -> tuple[int, ...]:
    """Return the element that a fault in one element strikes: the largest, so that it is never a 0."""
    where = np.unravel_index(int(np.argmax(np.abs(np.nan_to_num(x, posinf=0, neginf=0)))), x.shape)
    return tuple(int(i) for i in where)


def one_element(f: Callable[[Any], Any]) -> Mutation:
    def place(x: Array) -> None:
        x[middle(x)] = f(x[middle(x)])

    return changed(place)


def by_ulps(count: int) -> Mutation:
    return one_element(lambda x: x + count * np.spacing(x))


def rounded(form: Format, x: Array) -> Array:
    return form.nearest(x.astype(np.float64)).astype(x.dtype)


def operands(form: Format) -> Mutation:
    def change(at: At) -> Array:
        names = at.row.inputs[:2]
        return at.compute(**{name: rounded(form, at.values[name]) for name in names})

    return change


def accumulated_in(form: Format) -> Mutation:
    """Add up the terms one after the other, each partial sum rounded."""

    def change(at: At) -> Array:
        P = at.inputs[0]
        Q = at.inputs[1].T if len(at.inputs) > 1 else np.ones((P.shape[1], 1), P.dtype)
        total = np.zeros((P.shape[0], Q.shape[1]))
        for k in range(P.shape[1]):
            total = form.nearest(total + form.nearest(np.outer(P[:, k], Q[k]).astype(np.float64)))
        return total.astype(P.dtype)

    return change


def in_float32(at: At) -> Array:
    return at.row.compute(*[_Single()], *(x.astype(np.float32) for x in at.inputs)).astype(np.float64)


class _Single:
    """Arithmetic that stays in float32."""

    def product(self, P: Array, Q: Array) -> Array:
        return P.astype(np.float32) @ Q.astype(np.float32)

    def sum(self, x: Array) -> Array:
        return x.sum(axis=-1, keepdims=True, dtype=np.float32)


def derivative(at: At, l: int, name: str, a: Array | None = None, slope: float = 0.01) -> Array:
    """Return ``dA ⊙ f′`` for the activation `name`, whatever the layer's own is."""
    v = at.values
    return ACTIVATIONS[name].pullback(v[f"dA{l}"], v[f"Z{l}"], v[f"A{l}"] if a is None else a, slope)


def without(column: int | slice) -> Mutation:
    """Leave samples out of a sum over samples."""
    return lambda at: at.compute(**{at.row.inputs[0]: zero_column(at.inputs[0], column)})


def zero_column(x: Array, column: int | slice) -> Array:
    x = x.copy()
    x[:, column] = 0
    return x


def twice(at: At) -> Array:
    delta = at.inputs[0].copy()
    delta[:, -1] *= 2
    return at.compute(**{at.row.inputs[0]: delta})


def loss_without_last(at: At) -> Array:
    A, Y = (x[:, :-1] for x in at.inputs)
    return at.row.compute(_Single(), A, Y)


def shared_buffer(at: At) -> Array:
    """Compute ``dW_l`` after its ``A_{l−1}`` was overwritten with ``Z_{l−1}`` squared away, as an in-place op does."""
    name = at.row.inputs[1]
    return at.compute(**{name: at.values["Z" + name[1:]]})


def overwritten_delta(at: At) -> Array:
    """Compute ``db_l`` after its ``δ_l`` was overwritten with ``A_l``, which shares its buffer."""
    return at.compute(**{at.row.inputs[0]: at.values["A" + at.row.name[2:]]})


def transposed_weight(p: Problem) -> Iterator[Mutations]:
    l = square(p)
    if l is not None:
        yield {f"dA{l - 1}": lambda at: at.compute(**{f"W{l}": at.values[f"W{l}"].T})}


def transposed_gradient(p: Problem) -> Iterator[Mutations]:
    l = square(p)
    if l is not None:
        yield {f"dW{l}": lambda at: at.right.T.copy()}


def square(p: Problem) -> int | None:
    """Return the first layer, from the second on, with a square weight."""
    return next((l for l, W in enumerate(p.W[1:], start=2) if W.shape[0] == W.shape[1] > 1), None)


def updated_too_early(at: At) -> Array:
    l = int(at.row.inputs[0][1:])
    eta = at.number(at.problem.learning_rate)
    return at.compute(**{f"W{l}": at.values[f"W{l}"] - eta * at.values[f"dW{l}"]})


def stale(name: str) -> Mutation:
    return later(lambda at: at.compute(**{name: at.before[name]}))


def with_rate(factor: Callable[[At], float]) -> Mutation:
    def change(at: At) -> Array:
        w, dw = at.inputs
        return w - w.dtype.type(at.problem.learning_rate * factor(at)) * dw

    return change


def decayed(at: At) -> Array:
    w, dw = at.inputs
    eta = w.dtype.type(at.problem.learning_rate)
    return w - eta * (dw + w.dtype.type(1e-2) * w)


def off_by_one_sample(at: At) -> Array:
    j = at.m // 2
    at.right[:, j] = at.right[:, j + 1]
    return at.right


def softmax(z: Array) -> Array:
    return ACTIVATIONS["softmax"].value(z, 0.0)


def twice_softmax(p: Problem) -> Iterator[Mutations]:
    if p.loss.name == "cce_logits":
        L = len(p.layers)

        def cotangent(at: At) -> Array:
            a = softmax(at.values[f"A{L}"])
            g = at.compute(**{f"A{L}": a})
            return ACTIVATIONS["softmax"].pullback(g, a, a, 0.0)

        yield {"loss": lambda at: at.compute(**{f"A{L}": softmax(at.values[f"A{L}"])}), f"dA{L}": cotangent}


def clipped(at: At) -> Array:
    A = at.inputs[0]
    low, high = A.dtype.type(1e-7), A.dtype.type(1) - A.dtype.type(1e-7)
    value = at.compute(**{at.row.inputs[0]: np.clip(A, low, high)})
    return value if at.row.name == "loss" else np.where((low > A) | (high < A), 0, value)


def naive_softmax(at: At) -> Array:
    e = np.exp(at.inputs[0])
    return e / e.sum(axis=0, keepdims=True)


def naive_logsumexp(at: At) -> Array:
    z, Y = at.inputs
    return np.asarray(np.sum(np.log(np.exp(z).sum(axis=0)) - (z * Y).sum(axis=0)) / at.m).reshape(1, 1).astype(z.dtype)


def flushed(at: At) -> Array:
    x = at.right
    return np.where(np.abs(x) < np.finfo(x.dtype).tiny, 0, x)


def compensating(at: At) -> Array:
    x = at.right
    flat = x.ravel()
    i, j = np.argsort(-np.abs(flat))[:2]
    d = flat[i] * at.number(0.01)
    flat[i] += d
    flat[j] -= d
    return flat.reshape(x.shape)


def cancelling(p: Problem) -> Iterator[Mutations]:
    if mean(p):
        L = len(p.layers)
        updates = {f"{name}{l}_next": with_rate(lambda at: 1 / at.m) for l in range(1, L + 1) for name in "Wb"}
        yield {f"dA{L}": scaled(lambda at: at.m), **updates}


def shuffled(at: At) -> Array:
    order = np.random.default_rng(1).permutation(at.right.size)
    return at.right.ravel()[order].reshape(at.right.shape)


def shuffled_columns(at: At) -> Array:
    return at.right[:, np.random.default_rng(2).permutation(at.right.shape[1])]


def kink(at: At, l: int) -> Array:
    return np.where(at.values[f"Z{l}"] == 0, at.values[f"dA{l}"], at.right)


def derivative_at_A(at: At, l: int) -> Array:
    name = at.problem.layers[l - 1].activation
    return derivative(at, l, name, ACTIVATIONS[name].value(at.values[f"A{l}"], 0.0))


def other_derivative(at: At, l: int) -> Array:
    return derivative(at, l, "tanh" if at.problem.layers[l - 1].activation == "sigmoid" else "sigmoid")


def sigmoid(z: Array) -> Array:
    return ACTIVATIONS["sigmoid"].value(z, 0.0)


def stale_output_weights(at: At) -> Array:
    return stale(f"W{len(at.problem.layers)}")(at)


def underflow(at: At) -> Array:
    """Lose what is below the smallest normal float16."""
    return np.where(np.abs(at.right) < np.finfo(np.float16).tiny, 0, at.right)


def missing_half(at: At) -> float:
    return 2.0 if at.problem.loss.name.startswith("half") else 0.5


def float32_slope(p: Problem) -> Iterator[Mutations]:
    def change(at: At, l: int) -> Array:
        slope = float(np.float32(p.layers[l - 1].slope))
        return ACTIVATIONS["leaky_relu"].value(at.values[f"Z{l}"], slope)

    if p.dtype == "float64":
        yield from on_hidden("A", ("leaky_relu",), change)(p)
