"""Make a failing scenario smaller for as long as it fails: fewer steps, layers, samples, units, then simpler values."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradparity.reference.data import Inline
from gradparity.reference.errors import InputError
from gradparity.reference.initial import Given
from gradparity.reference.problem import SLOPE, Array, Layer
from gradparity.reference.scenario import Scenario

Fails = Callable[[Scenario], bool]


@dataclass(frozen=True)
class Small:
    """A scenario with its numbers written out: ``X (M, n0)``, ``Y (M, n_L)``, ``W_l (n_l, n_{l-1})``, ``b_l``."""

    base: Scenario
    layers: tuple[Layer, ...]
    X: Array
    Y: Array
    W: tuple[Array, ...]
    b: tuple[Array, ...]

    @classmethod
    def of(cls, scenario: Scenario, dtype: str) -> Small:
        """Write out `scenario`."""
        p = scenario.problem(dtype)
        return cls(replace(scenario, dtypes=(dtype,)), p.layers, p.X.T, p.Y.T, p.W, p.b)

    def scenario(self) -> Scenario:
        """Return the scenario. Raises `InputError` where what was cut out does not fit."""
        arrays: dict[str, Any] = {f"W{l}": W for l, W in enumerate(self.W, 1)}
        arrays |= {f"b{l}": b for l, b in enumerate(self.b, 1) if b.any()}
        data = Inline(self.X, self.Y)  # type: ignore[arg-type]
        return replace(
            self.base, layers=self.layers, data=data, weights=Given(**arrays), biases=None, expected=(), inputs=None
        )


def shrunk(scenario: Scenario, dtype: str, fails: Fails, tries: int = 300, seconds: float = 60.0) -> Scenario:
    """Return the smallest scenario found for which `fails` holds, as it does for `scenario`.

    It gives up after so many tries or seconds.
    """
    small = Small.of(scenario, dtype)
    if not _fails(small, fails):
        # Rounding to the dtype, or writing out, has changed what it is about.
        return scenario
    end = time.monotonic() + seconds
    candidates = _smaller(small)
    for _ in range(tries):
        candidate = next(candidates, None)
        if candidate is None or time.monotonic() > end:
            break
        if _fails(candidate, fails):
            small, candidates = candidate, _smaller(candidate)
    return small.scenario()


def _fails(small: Small, fails: Fails) -> bool:
    try:
        return fails(small.scenario())
    except InputError:
        return False


def _smaller(s: Small) -> Iterator[Small]:
    """Yield what is smaller than `s` by one change, the largest changes first."""
    yield from _fewer_steps(s)
    for keep in _parts(len(s.X)):
        yield replace(s, X=s.X[keep], Y=s.Y[keep])
    yield from _fewer_layers(s)
    for l in range(len(s.W)):
        for keep in _parts(len(s.W[l])):
            yield _fewer_units(s, l, keep)
    for keep in _parts(s.X.shape[1]):
        yield replace(s, X=s.X[:, keep], W=(s.W[0][:, keep], *s.W[1:]))
    yield from _simpler(s)


def _fewer_steps(s: Small) -> Iterator[Small]:
    base, M = s.base, len(s.X)
    if base.epochs is None and base.steps == 1 and base.batch_size is None:
        return
    size = base.batch_size or M
    once = replace(base, epochs=None, steps=1, batch_size=None)
    for start in range(0, M, size):
        yield replace(s, base=once, X=s.X[start : start + size], Y=s.Y[start : start + size])
    if (base.steps or 1) > 1:
        yield replace(s, base=replace(base, steps=(base.steps or 1) - 1))


def _parts(n: int) -> Iterator[list[int]]:
    """Yield halves of ``range(n)``, and all but one where there are few."""
    everything = list(range(n))
    if n > 3:
        yield everything[:1]
    if n > 1:
        yield everything[: n // 2]
        yield everything[n // 2 :]
    if 2 < n <= 8:
        yield from (everything[:i] + everything[i + 1 :] for i in everything)


def _fewer_layers(s: Small) -> Iterator[Small]:
    for l in range(len(s.layers) - 1):
        # The next layer's weights, cut or repeated to fit the inputs that it is left with.
        W = np.resize(s.W[l + 1].T, (s.W[l].shape[1], s.W[l + 1].shape[0])).T
        yield replace(
            s,
            layers=s.layers[:l] + s.layers[l + 1 :],
            W=(*s.W[:l], W, *s.W[l + 2 :]),
            b=s.b[:l] + s.b[l + 1 :],
        )


def _fewer_units(s: Small, l: int, keep: list[int]) -> Small:
    W, b, layers = list(s.W), list(s.b), list(s.layers)
    W[l], b[l], layers[l] = W[l][keep], b[l][keep], replace(layers[l], units=len(keep))
    last = l + 1 == len(W)
    if not last:
        W[l + 1] = W[l + 1][:, keep]
    return replace(s, W=tuple(W), b=tuple(b), layers=tuple(layers), Y=s.Y[:, keep] if last else s.Y)


def _simpler(s: Small) -> Iterator[Small]:
    for l, layer in enumerate(s.layers[:-1]):
        if layer.activation != "linear":
            plain = replace(layer, activation="linear", slope=SLOPE)
            yield replace(s, layers=(*s.layers[:l], plain, *s.layers[l + 1 :]))
    if s.base.learning_rate != 1.0:
        yield replace(s, base=replace(s.base, learning_rate=1.0))
    for l in range(len(s.W)):
        for b in _rounder(s.b[l]):
            yield replace(s, b=(*s.b[:l], b, *s.b[l + 1 :]))
        for W in _rounder(s.W[l]):
            yield replace(s, W=(*s.W[:l], W, *s.W[l + 1 :]))
    for X in _rounder(s.X):
        yield replace(s, X=X)
    for Y in _rounder(s.Y):
        yield replace(s, Y=Y)


def _rounder(a: Array) -> Iterator[Array]:
    """Yield arrays that are simpler than `a`: all 0, all 1, powers of two, few digits."""
    with np.errstate(all="ignore"):
        few_digits = np.array([float(f"{x:.2g}") for x in a.ravel().tolist()]).reshape(a.shape)
        powers = np.where(a == 0, 0, np.copysign(np.exp2(np.rint(np.log2(np.abs(a)))), a))
    kinds = [np.zeros_like(a), np.ones_like(a), powers, few_digits]
    cost = [_cost(k) for k in kinds]
    yield from (k.astype(a.dtype) for k, c in zip(kinds, cost, strict=True) if c < _cost(a))


def _cost(a: Array) -> int:
    """Return the length of its numbers when they are written out."""
    return sum(len(f"{x:g}") if float(f"{x:g}") == x else 20 for x in a.ravel().tolist())
