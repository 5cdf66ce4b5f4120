"""What an adapter is: two small programs, written as the framework's users write them.

The *plain* program is the training step that is certified. The *probe* is the same step with a zero array added to
every ``Z_l`` and ``A_l``, whose gradients are ``delta_l`` and ``dA_l``. Both are given NumPy arrays in the
framework's own orientation (samples are rows; kernels as the adapter's `kernel` says; biases are vectors), and
give back anything that ``numpy.asarray`` turns into an array of the working dtype. `gradparity.adapters.loop`
does what all adapters have in common.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from gradparity.reference.problem import Array, Layer, Loss

Pairs: TypeAlias = Sequence[tuple[Any, Any]]
"""One ``(kernel, bias)`` a layer: kernel ``(n_in, n_out)`` or ``(n_out, n_in)``, bias ``(n_out,)``."""


class Unsupported(Exception):  # noqa: N818 (it is an outcome, not an error)
    """This engine cannot run this scenario on this machine; the message says why and what would help."""


@dataclass(frozen=True, slots=True)
class Network:
    """What an adapter builds from: sizes and names, no data."""

    inputs: int
    layers: tuple[Layer, ...]
    loss: Loss
    learning_rate: float
    dtype: str
    steps: int = 1
    full_batch: bool = True

    @property
    def outputs(self) -> int:
        """Return n_L, the number of outputs."""
        return self.layers[-1].units


@dataclass(frozen=True, slots=True)
class Update:
    """What one plain step computed, and the weights read back after it."""

    loss: Any
    gradients: Pairs
    weights: Pairs


class PlainProgram(ABC):
    """The training step as users write it. It holds its own weights and optimizer."""

    @abstractmethod
    def weights(self) -> Pairs:
        """Read the current weights back from the framework."""

    @abstractmethod
    def step(self, X: Array, Y: Array) -> tuple[Any, Pairs]:
        """Make one update on ``X (m, n0)``, ``Y (m, n_L)``; return the loss before it and the gradients."""

    def train(self, batches: Sequence[tuple[Array, Array]]) -> Iterator[Update]:
        """Make one update a batch, in order."""
        for X, Y in batches:
            loss, gradients = self.step(X, Y)
            yield Update(loss, gradients, self.weights())


class Probe(Protocol):
    """``Z1 A1 … loss dA2 delta2 dW2 db2 …`` at given weights; names that a framework cannot expose are left out."""

    def __call__(self, weights: Pairs, X: Array, Y: Array, /) -> Mapping[str, Any]:
        """Compute the step at `weights` without updating anything."""
        ...


class Adapter(Protocol):
    """One engine of one framework."""

    @property
    def kernel(self) -> Literal["in,out", "out,in"]:
        """Return the orientation of kernels: ``(n_in, n_out)`` or ``(n_out, n_in)``."""
        ...

    def plain(self, network: Network, weights: Pairs) -> PlainProgram:
        """Build the plain program and load `weights` into it."""
        ...

    def probe(self, network: Network) -> Probe:
        """Build the probed program."""
        ...

    def environment(self) -> Mapping[str, str]:
        """Return versions, device, thread counts and every flag that changes numerics."""
        ...
