"""JAX: eager ``value_and_grad``, the whole step under ``jit``, and a per-sample loss under ``vmap``."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import metadata
from typing import Any, Literal, TypeAlias

import numpy as np

from gradparity.adapters.protocol import Network, Pairs, PlainProgram, Probe
from gradparity.reference.problem import Array, Layer, Loss

JaxArray: TypeAlias = Any

ACTIVATIONS: dict[str, Callable[[Any, JaxArray, Layer], JaxArray]] = {
    "linear": lambda jax, z, _: z,
    "relu": lambda jax, z, _: jax.nn.relu(z),
    "leaky_relu": lambda jax, z, layer: jax.nn.leaky_relu(z, layer.slope),
    "sigmoid": lambda jax, z, _: jax.nn.sigmoid(z),
    "tanh": lambda jax, z, _: jax.numpy.tanh(z),
    "softmax": lambda jax, z, _: jax.nn.softmax(z),
}
"""Over the last axis, so that one sample ``(n_l,)`` and a batch ``(m, n_l)`` are treated alike."""

LOSSES: dict[str, Callable[[Any, JaxArray, JaxArray], JaxArray]] = {
    "bce": lambda jax, a, y: -(y * jax.numpy.log(a) + (1 - y) * jax.numpy.log1p(-a)),
    "bce_logits": lambda jax, z, y: -y * jax.nn.log_sigmoid(z) - (1 - y) * jax.nn.log_sigmoid(-z),
    "cce": lambda jax, a, y: -(y * jax.numpy.log(a)).sum(-1),
    "cce_logits": lambda jax, z, y: -(y * jax.nn.log_softmax(z)).sum(-1),
    "squared_error": lambda jax, a, y: (a - y) ** 2,
    "half_squared_error": lambda jax, a, y: 0.5 * (a - y) ** 2,
}
"""Terms ``(…, n_L)``; over classes, ``(…)``."""


def adapter(variant: str) -> Jax:
    """Return the adapter of ``jax`` (``""``), ``jax:jit`` or ``jax:vmap``."""
    return {"": Jax, "jit": JaxJit, "vmap": JaxVmap}[variant]()


def reduced(terms: JaxArray, loss: Loss) -> JaxArray:
    """Return the loss: means or sums over outputs, then over samples; over both at once where they agree."""
    if terms.ndim == 2 and loss.outputs != loss.samples:
        terms = terms.mean(1) if loss.outputs == "mean" else terms.sum(1)
    return terms.mean() if loss.samples == "mean" else terms.sum()


class Jax:
    """``jax.value_and_grad``, nothing compiled as a whole. Everything stays on the CPU, on one thread."""

    kernel: Literal["in,out", "out,in"] = "in,out"

    def __init__(self) -> None:
        # XLA sizes its thread pool from NPROC, and cuts sums up accordingly: other threads, other bits.
        os.environ.setdefault("NPROC", "1")
        import jax

        jax.config.update("jax_platforms", "cpu")
        self.jax = jax
        self.device = jax.devices("cpu")[0]
        # Scenarios of the same network that follow each other are compiled once.
        self.update, self.probe = lru_cache(maxsize=1)(self._update), lru_cache(maxsize=1)(self._probe)

    def plain(self, network: Network, weights: Pairs) -> PlainProgram:
        """Build the training step and load `weights` into it."""
        self.enable_float64()
        return Program(self, network, weights)

    def _probe(self, network: Network) -> Probe:
        """Build the probed program: one ``value_and_grad``, with zeros added to every Z and A."""
        self.enable_float64()
        return Probed(self, network)

    def _update(self, network: Network) -> Callable[..., Any]:
        """Return ``(params, X, Y) -> (params, loss, gradients)``."""
        loss, learning_rate = self.loss(network), network.learning_rate
        value_and_grad = self.jax.value_and_grad(lambda params, X, Y: loss(params, None, X, Y)[0])
        tree_map = self.jax.tree_util.tree_map

        def step(params: Pairs, X: JaxArray, Y: JaxArray) -> tuple[Pairs, JaxArray, Pairs]:
            value, gradients = value_and_grad(params, X, Y)
            return tree_map(lambda p, g: p - learning_rate * g, params, gradients), value, gradients

        return self.wrapped(step)

    def enable_float64(self) -> None:
        """Let JAX compute in float64 where arrays have it; Keras, in the same process, switches it off for float32."""
        self.jax.config.update("jax_enable_x64", True)

    def put(self, tree: Any) -> Any:
        """Return the arrays of `tree` on the CPU."""
        return self.jax.device_put(tree, self.device)

    def wrapped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return what is run for `function`, a whole step."""
        return function

    def loss(self, network: Network) -> Callable[..., Any]:
        """Return ``(params, zeros, X, Y) -> (loss, seen)``; without zeros nothing is added, and nothing seen."""
        forward = self.forward(network)

        def loss(params: Pairs, zeros: Pairs | None, X: JaxArray, Y: JaxArray) -> tuple[JaxArray, Pairs]:
            terms, seen = forward(params, zeros, X, Y)
            return reduced(terms, network.loss), seen

        return loss

    def forward(self, network: Network) -> Callable[..., Any]:
        """Return ``(params, zeros, x, y) -> (terms, seen)``, for one sample or for a batch in rows."""
        jax, terms = self.jax, LOSSES[network.loss.name]

        def forward(params: Pairs, zeros: Pairs | None, x: JaxArray, y: JaxArray) -> tuple[JaxArray, Pairs]:
            a, seen = x, list[tuple[JaxArray, JaxArray]]()
            for l, (layer, (W, b)) in enumerate(zip(network.layers, params, strict=True)):
                z = a @ W + b
                if zeros:
                    z = z + zeros[l][0]
                a = ACTIVATIONS[layer.activation](jax, z, layer)
                if zeros:
                    a = a + zeros[l][1]
                    seen.append((z, a))
            return terms(jax, a, y), seen

        return forward

    def environment(self) -> Mapping[str, str]:
        """Return versions, device, threads, and the flags that change numerics."""
        config = self.jax.config
        facts = {
            "jax": self.jax.__version__,
            "jaxlib": metadata.version("jaxlib"),
            "numpy": np.__version__,
            "device": f"{self.device.platform} ({platform.machine()})",
            "NPROC": os.environ["NPROC"],
            "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
            "jax_enable_x64": config.jax_enable_x64,
            "jax_default_matmul_precision": config.jax_default_matmul_precision,
            "jax_disable_jit": config.jax_disable_jit,
        }
        return {name: str(fact) for name, fact in facts.items()}


class JaxJit(Jax):
    """The whole step under ``jax.jit``."""

    def wrapped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function` jitted."""
        return self.jax.jit(function)  # type: ignore[no-any-return]


class JaxVmap(JaxJit):
    """A loss of one sample, vmapped, reduced over the samples, and jitted."""

    def loss(self, network: Network) -> Callable[..., Any]:
        """Return ``(params, zeros, X, Y) -> (loss, seen)``; see `Jax.loss`."""
        forward = self.forward(network)

        def sample(params: Pairs, zeros: Pairs | None, x: JaxArray, y: JaxArray) -> tuple[JaxArray, Pairs]:
            terms, seen = forward(params, zeros, x, y)
            return (terms.mean() if network.loss.outputs == "mean" else terms.sum()), seen

        def loss(params: Pairs, zeros: Pairs | None, X: JaxArray, Y: JaxArray) -> tuple[JaxArray, Pairs]:
            losses, seen = self.jax.vmap(sample, in_axes=(None, 0, 0, 0))(params, zeros, X, Y)
            return (losses.mean() if network.loss.samples == "mean" else losses.sum()), seen

        return loss


class Program(PlainProgram):
    """``value_and_grad`` and the update, as one function of the parameters."""

    def __init__(self, jax: Jax, network: Network, weights: Pairs) -> None:
        self.put, self.update = jax.put, jax.update(network)
        self.params = self.put([tuple(pair) for pair in weights])

    def weights(self) -> Pairs:
        """Copy the weights from the device."""
        return [(np.array(W), np.array(b)) for W, b in self.params]

    def step(self, X: Array, Y: Array) -> tuple[Any, Pairs]:
        """Make one update."""
        self.params, loss, gradients = self.update(self.params, *self.put((X, Y)))
        return loss, gradients


class Probed:
    """The same forward pass, with a zero added to every Z and A."""

    def __init__(self, jax: Jax, network: Network) -> None:
        self.put, zeros = jax.put, jax.jax.numpy.zeros
        value_and_grad = jax.jax.value_and_grad(jax.loss(network), argnums=(0, 1), has_aux=True)

        def probed(params: Pairs, X: JaxArray, Y: JaxArray) -> tuple[Any, Any]:
            # Constants to the compiler, which leaves the additions out again: as arguments they would keep it
            # from simplifying what it simplifies in the plain program, as y/(1/(1+e)) to y(1+e).
            shapes = [(len(X), layer.units) for layer in network.layers]
            added = [(zeros(shape, X.dtype), zeros(shape, X.dtype)) for shape in shapes]
            return value_and_grad(params, added, X, Y)  # type: ignore[no-any-return]

        self.probed = jax.wrapped(probed)

    def __call__(self, weights: Pairs, X: Array, Y: Array, /) -> Mapping[str, Any]:
        """Compute the step at `weights`: samples are rows, kernels ``(n_in, n_out)``."""
        params = [tuple(pair) for pair in weights]
        (loss, seen), (d_params, d_zeros) = self.probed(*self.put((params, X, Y)))
        trace = dict[str, JaxArray]()
        for l, (Z, A) in enumerate(seen, 1):
            trace |= {f"Z{l}": Z, f"A{l}": A}
        trace["loss"] = loss
        for l in range(len(seen), 0, -1):
            (delta, dA), (dW, db) = d_zeros[l - 1], d_params[l - 1]
            trace |= {f"dA{l}": dA, f"delta{l}": delta, f"dW{l}": dW, f"db{l}": db}
        return trace
