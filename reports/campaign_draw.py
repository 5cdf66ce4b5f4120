"""Random scenarios: each is drawn from (campaign seed, index) alone, so that any one can be had again.

Chance is one function, ``below(n)``: a whole number from 0 to n − 1. A campaign takes the raw words of the
counter-based generator; the tests let hypothesis choose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gradparity.reference.activations import ACTIVATIONS
from gradparity.reference.data import Inline
from gradparity.reference.initial import Constant, Given, GlorotUniform, HeNormal, StandardNormal, Weights, Zeros
from gradparity.reference.losses import LOSSES
from gradparity.reference.problem import DTYPES, Array, Layer, Loss
from gradparity.reference.scenario import Scenario
from gradparity.reports.campaign_values import EXTREME, ORDINARY, SIMPLEX, UNIT, UNSTRUCTURED_TARGETS, VALUES

T = TypeVar("T")
_NOWHERE = Path()

DRAWING = 1
"""The version of the drawing: another one gives other scenarios for the same seed."""

TOGETHER = 8
"""So many consecutive indices share layers, sizes, loss, dtype and learning rate, and differ in their numbers, unless a
campaign says otherwise: more of them cost engines that compile less time, and are fewer shapes."""

SIZES = (
    (1, 2, 3, 4, 5, 7, 8, 9),
    (10, 13, 16, 17, 31, 32, 33, 63, 64, 65),
    (100, 127, 128, 129, 255, 257),
    (511, 513, 1000, 1023, 1025, 2049, 4097),
)
"""Small ones most often: see `Chance.size`."""

MAX_SCALARS, MAX_PRODUCTS = 60_000, 20_000_000
"""What one scenario may hold (weights, samples and activations together), and multiply, at most."""


@dataclass(frozen=True)
class Chance:
    """Draws from one source of whole numbers."""

    below: Callable[[int], int]

    @classmethod
    def at(cls, seed: int, stream: int) -> Chance:
        """Return what the counter-based generator gives for a seed and a stream."""
        words = np.random.Philox(key=np.array([seed, stream], dtype=np.uint64))
        return cls(lambda n: int(words.random_raw()) % n)

    def choice(self, options: Sequence[T]) -> T:
        """Return one of `options`, each as likely."""
        return options[self.below(len(options))]

    def one_in(self, n: int) -> bool:
        """Return true once in `n` times."""
        return self.below(n) == 0

    def power_of_ten(self, low: float, high: float) -> float:
        """Return a number whose logarithm is uniform, with three digits."""
        return float(f"{10 ** (low + (high - low) * self.below(1 << 20) / (1 << 20)):.3g}")

    def seed(self) -> int:
        """Return a seed for an array."""
        return self.below(1 << 32)

    def size(self) -> int:
        """Return a width or a number of samples: 1 to 9 in 62 %, to 65 in 25 %, to 257 in 9 %, else thousands."""
        percent = self.below(100)
        return self.choice(SIZES[(percent >= 62) + (percent >= 87) + (percent >= 96)])


@dataclass(frozen=True)
class Shape:
    """What compiled engines compile: everything but the numbers."""

    inputs: int
    samples: int
    layers: tuple[Layer, ...]
    loss: Loss
    dtype: str
    learning_rate: float
    batch_size: int | None
    steps: int


@dataclass(frozen=True)
class Drawn:
    """A scenario, with the kinds of its numbers."""

    scenario: Scenario
    data: str
    weights: str
    targets: str

    @property
    def kind(self) -> str:
        """Return what is unusual about its numbers, in a word or two."""
        unusual = [self.data] * (self.data not in ORDINARY)
        unusual += [f"{self.weights} weights"] * (self.weights != "ordinary")
        unusual += [f"{self.targets} targets"] * (self.targets not in UNSTRUCTURED_TARGETS)
        return unusual[0] if len(unusual) == 1 else "several" if unusual else "ordinary"


def drawn(seed: int, index: int, together: int = TOGETHER) -> Drawn:
    """Return scenario `index` of the campaign with this seed, whose shapes are kept for `together` indices each."""
    shape = draw_shape(Chance.at(seed, (1 << 63) + index // together))
    return draw_numbers(Chance.at(seed, index), shape, f"campaign-{seed}-{index}")


def draw_shape(chance: Chance) -> Shape:
    """Draw layers, sizes, loss, dtype and training."""
    depth = 1 + (chance.below(3) if chance.below(10) < 7 else chance.below(8))
    loss = Loss(chance.choice(tuple(LOSSES)), chance.choice(("mean", "sum")), chance.choice(("sum", "mean")))
    if LOSSES[loss.name].classes:
        loss = replace(loss, outputs="sum")
    hidden = [chance.choice(tuple(ACTIVATIONS)) for _ in range(depth - 1)]
    names = [*hidden, chance.choice(LOSSES[loss.name].activations)]
    samples, *sizes = fitting(chance, [chance.size() for _ in range(depth + 2)])
    slopes = [{"slope": chance.choice((0.01, 0.1, 0.25, 1 / 3))} if name == "leaky_relu" else {} for name in names]
    layers = tuple(Layer(n, name, **slope) for n, name, slope in zip(sizes[1:], names, slopes, strict=True))
    parts = chance.choice((1, 1, 1, 2, 3))
    return Shape(
        inputs=sizes[0],
        samples=samples,
        layers=layers,
        loss=loss,
        dtype=chance.choice(DTYPES),
        learning_rate=chance.choice((0.1, 0.01, 1.0, 0.3, 1e-3)),
        batch_size=None if parts == 1 else math.ceil(samples / parts),
        steps=chance.choice((1, 1, 2)) if parts == 1 else parts,
    )


def fitting(chance: Chance, sizes: list[int]) -> list[int]:
    """Return samples, inputs and widths, the largest of them drawn small again until the whole is small enough."""
    while True:
        m, *widths = sizes
        weights = sum(a * b for a, b in pairwise(widths))
        if weights + m * sum(widths) <= MAX_SCALARS and m * weights <= MAX_PRODUCTS:
            return sizes
        sizes[sizes.index(max(sizes))] = chance.choice(SIZES[chance.below(2)])


def draw_numbers(chance: Chance, shape: Shape, name: str) -> Drawn:
    """Draw samples, targets and weights for `shape`."""
    kinds = tuple(VALUES)
    data = chance.choice(ORDINARY) if chance.below(4) == 0 else chance.choice(kinds)
    weights = chance.choice(kinds) if chance.below(3) == 0 else "ordinary"
    scale = _scale(chance, data, -4, 4)
    X = VALUES[data](chance.seed(), (shape.samples, shape.inputs), shape.dtype) * scale
    targets, Y = _targets(chance, shape)
    W, biases = _weights(chance, shape, weights, near=X[0] if data == "near_kink" else None)
    unstructured = data in ORDINARY and weights == "ordinary" and targets in UNSTRUCTURED_TARGETS
    scenario = Scenario(
        name=name,
        layers=shape.layers,
        loss=shape.loss,
        data=Inline(X, Y),  # type: ignore[arg-type]
        weights=W,
        biases=biases,
        learning_rate=shape.learning_rate,
        batch_size=shape.batch_size,
        steps=shape.steps,
        dtypes=(shape.dtype,),
        structured=not unstructured,
    )
    return Drawn(scenario, data, weights, targets)


def _scale(chance: Chance, kind: str, low: float, high: float) -> float:
    return chance.power_of_ten(low, high) if chance.below(2) and kind not in EXTREME else 1.0


def _targets(chance: Chance, shape: Shape) -> tuple[str, Array]:
    size = (shape.samples, shape.layers[-1].units)
    wanted = LOSSES[shape.loss.name].targets
    if wanted != "real":
        kinds = UNIT if wanted == "unit" else SIMPLEX
        kind = chance.choice(tuple(kinds))
        return kind, kinds[kind](chance.seed(), size, shape.dtype)
    kind = "ordinary" if chance.below(2) else chance.choice(tuple(VALUES))
    return kind, VALUES[kind](chance.seed(), size, shape.dtype) * _scale(chance, kind, -4, 4)


def _weights(chance: Chance, shape: Shape, kind: str, near: Array | None) -> tuple[Weights, Weights | None]:
    """Return weights and biases; with `near`, biases that bring every pre-activation of that sample to about 0."""
    scale = _scale(chance, kind, -6, 4)
    source = _seeded(chance, scale) if kind == "ordinary" else _given(chance, shape, kind, scale)
    if near is not None:
        return source, _cancelling(shape, source, near)
    size = chance.power_of_ten(-6, 2)
    return source, (None, Zeros(), StandardNormal(chance.seed(), size), Constant(size))[chance.below(4)]


def _seeded(chance: Chance, scale: float) -> Weights:
    return chance.choice((GlorotUniform, HeNormal))(chance.seed(), scale)


def _sizes(shape: Shape) -> list[tuple[int, int]]:
    widths = [shape.inputs, *(layer.units for layer in shape.layers)]
    return [(n, inputs) for inputs, n in pairwise(widths)]


def _given(chance: Chance, shape: Shape, kind: str, scale: float) -> Given:
    fan = 1 if kind in EXTREME else None
    arrays: dict[str, Any] = {
        f"W{l}": VALUES[kind](chance.seed(), size, shape.dtype) * (scale / math.sqrt(fan or size[1]))
        for l, size in enumerate(_sizes(shape), 1)
    }
    return Given(**arrays)


def _cancelling(shape: Shape, source: Weights, sample: Array) -> Given:
    W = source.draw({f"W{l}": size for l, size in enumerate(_sizes(shape), 1)}, _NOWHERE)
    a, biases = sample, dict[str, Any]()
    for l, layer in enumerate(shape.layers, 1):
        top = float(np.finfo(shape.dtype).max) / (2 * len(a))
        # Rounded once, whatever the order: the same bits on every machine.
        with np.errstate(over="ignore"):
            terms = np.clip(W[f"W{l}"] * a, -top, top)
        z = np.array([[math.fsum(row)] for row in terms])
        biases[f"b{l}"] = -z
        a = ACTIVATIONS[layer.activation].value(np.zeros_like(z), layer.slope)[:, 0]
    return Given(**biases)
