"""Keras on TensorFlow, torch and JAX: `Sequential`, `compile`, and `fit` or `train_on_batch`."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Literal

import numpy as np

from gradparity.adapters.keras_api import keras, keras_version
from gradparity.adapters.keras_layers import activations, classes, compiled, dense, refusing_nan, set_dtype
from gradparity.adapters.protocol import Adapter, Network, Pairs, PlainProgram, Probe, Update
from gradparity.adapters.tensorflow_engine import from_environ, tensorflow, tensorflow_environment
from gradparity.reference.errors import InputError
from gradparity.reference.problem import Array


def uses_fit(network: Network) -> bool:
    """Say whether the plain program is the literal ``fit(epochs=steps)``; else it is `train_on_batch`.

    Only where an epoch is one step on the full batch, for what `fit` gives back is of an epoch.
    """
    return network.full_batch and network.steps > 1


class _Plain(PlainProgram):
    """`Sequential` of `Dense` and activation layers under SGD."""

    def __init__(self, network: Network) -> None:
        set_dtype(network.dtype)
        self.network = network
        parts = [keras().Input(shape=(network.inputs,))]
        for layer in network.layers:
            parts += [dense(layer), activations()[layer.activation](layer)]
        self._model, self._optimizer = compiled(parts, network, network.learning_rate)

    def load(self, weights: Pairs) -> None:
        """Make the program what it was when it was built, with `weights`."""
        set_dtype(self.network.dtype)
        self._optimizer.reset()
        self._model.set_weights([a for pair in weights for a in pair])

    @property
    def jit_compile(self) -> str:
        """What Keras' default ``jit_compile="auto"`` came to."""
        return str(self._model.jit_compile)

    def weights(self) -> Pairs:
        return self._pairs(self._model.get_weights())

    def step(self, X: Array, Y: Array) -> tuple[Any, Pairs]:
        set_dtype(self.network.dtype)
        return _loss_of_batch(self._model, X, Y), self._gradients()

    def train(self, batches: Sequence[tuple[Array, Array]]) -> Iterator[Update]:
        return self._fit(batches) if uses_fit(self.network) else super().train(batches)

    def _fit(self, batches: Sequence[tuple[Array, Array]]) -> Iterator[Update]:
        updates: list[Update] = []

        def record(epoch: int, logs: Mapping[str, Any]) -> None:
            updates.append(Update(np.asarray(logs["loss"], X.dtype), self._gradients(), self.weights()))

        set_dtype(self.network.dtype)
        X, Y = batches[0]
        recorder = keras().callbacks.LambdaCallback(on_epoch_end=record)
        arguments = {"epochs": len(batches), "shuffle": False, "verbose": 0, "callbacks": [recorder]}
        with refusing_nan():
            self._model.fit(**_training_data(X, Y), **arguments)
        yield from updates

    def _gradients(self) -> Pairs:
        return self._pairs([self._optimizer.gradient(v) for v in self._model.trainable_variables])

    def _pairs(self, arrays: Sequence[Any]) -> Pairs:
        return list(zip(arrays[::2], arrays[1::2], strict=True))


def _training_data(X: Array, Y: Array) -> dict[str, Any]:
    """Return the full batch as `fit` takes it.

    On TensorFlow a `tf.data.Dataset`: from arrays Keras would build a new input pipeline for every epoch, which
    takes ten times as long as the epoch.
    """
    if keras().backend.backend() == "tensorflow":
        return {"x": tensorflow().data.Dataset.from_tensor_slices((X, Y)).batch(len(X))}
    return {"x": X, "y": Y, "batch_size": len(X)}


class _Probed:
    """The plain model with a `Tap` behind every `Dense` and every activation, for batches of `m` samples."""

    def __init__(self, network: Network, m: int) -> None:
        self._dense, self._taps = [], []
        parts = [keras().Input((network.inputs,), m)]
        for l, layer in enumerate(network.layers, start=1):
            at_Z, at_A = classes().Tap(True), classes().Tap(l < len(network.layers) or not _finds_logits(network))
            self._dense.append(dense(layer))
            self._taps.append((at_Z, at_A))
            parts += [self._dense[-1], at_Z, activations()[layer.activation](layer), at_A]
        # What a learning rate of 0 leaves of the weights is overwritten by the next call.
        self._model, self._optimizer = compiled(parts, network, 0.0)
        self._zeros = [tap.zero for pair in self._taps for tap in pair if tap.adds_zero]

    def __call__(self, weights: Pairs, X: Array, Y: Array) -> dict[str, Any]:
        for layer, (W, b) in zip(self._dense, weights, strict=True):
            layer.kernel.assign(W)
            layer.bias.assign(b)
        for zero in self._zeros:
            zero.assign(np.zeros(zero.shape, X.dtype))
        seen: dict[str, Any] = {"loss": _loss_of_batch(self._model, X, Y)}
        gradient = self._optimizer.gradient
        for l, (layer, (at_Z, at_A)) in enumerate(zip(self._dense, self._taps, strict=True), start=1):
            seen |= {f"Z{l}": at_Z.seen.numpy(), f"A{l}": at_A.seen.numpy(), f"delta{l}": gradient(at_Z.zero)}
            seen |= {f"dW{l}": gradient(layer.kernel), f"db{l}": gradient(layer.bias)}
            if at_A.adds_zero:
                seen[f"dA{l}"] = gradient(at_A.zero)
        return seen


def _loss_of_batch(model: Any, X: Array, Y: Array) -> Array:
    """Make one update and return the loss before it."""
    # Else Keras 3 returns the mean over all batches so far, in most of its releases.
    model.reset_metrics()
    with refusing_nan():
        return np.asarray(model.train_on_batch(X, Y), X.dtype)


def _finds_logits(network: Network) -> bool:
    """Say whether Keras takes the loss from the logits behind the output, which an added zero would hide."""
    return keras().backend.backend() == "tensorflow" and network.loss.name in ("bce", "cce")


class _Keras:
    kernel: Literal["in,out", "out,in"] = "in,out"

    def __init__(self, variant: str) -> None:
        if variant not in _BACKENDS:
            raise InputError(f"keras has no backend '{variant}'; choose one of {', '.join(_BACKENDS)}")
        self._describe_backend = _BACKENDS[variant]()
        if keras().backend.backend() != variant:
            raise RuntimeError(
                f"keras:{variant} needs a process with KERAS_BACKEND={variant} in its environment before Keras is "
                f"imported; this one runs Keras on {keras().backend.backend()}"
            )
        self._jit_compile = "not compiled yet"
        # Scenarios of the same network that follow each other are built and compiled once.
        self._built = functools.lru_cache(maxsize=1)(_Plain)
        self.probe = functools.lru_cache(maxsize=1)(self._probe)

    def plain(self, network: Network, weights: Pairs) -> PlainProgram:
        program = self._built(network)
        program.load(weights)
        self._jit_compile = program.jit_compile
        return program

    def _probe(self, network: Network) -> Probe:
        @functools.cache
        def for_batch(m: int) -> _Probed:
            return _Probed(network, m)

        def probe(weights: Pairs, X: Array, Y: Array) -> Mapping[str, Any]:
            set_dtype(network.dtype)
            return for_batch(len(X))(weights, X, Y)

        return probe

    def environment(self) -> Mapping[str, str]:
        return self._describe_backend() | {
            "keras": keras_version(),
            "numpy": np.__version__,
            "keras_backend": keras().backend.backend(),
            "jit_compile": self._jit_compile,
            "epsilon": repr(keras().backend.epsilon()),
        }


def _on_tensorflow() -> Callable[[], dict[str, str]]:
    tensorflow()
    return tensorflow_environment


def _on_torch() -> Callable[[], dict[str, str]]:
    # Keras takes a GPU where torch sees one.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["KERAS_TORCH_DEVICE"] = "cpu"
    import torch

    torch.set_num_threads(1)
    return lambda: {
        "torch": torch.__version__,
        "device": str(torch.empty(0).device),
        "threads": str(torch.get_num_threads()),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "mkldnn": str(torch.backends.mkldnn.is_available()),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def _on_jax() -> Callable[[], dict[str, str]]:
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax

    return lambda: {
        "jax": jax.__version__,
        "jaxlib": version("jaxlib"),
        "device": ", ".join(str(d) for d in jax.devices()),
        "default_matmul_precision": str(jax.config.jax_default_matmul_precision),
        **from_environ("XLA_FLAGS"),
    }


_BACKENDS: dict[str, Callable[[], Callable[[], dict[str, str]]]] = {
    "tensorflow": _on_tensorflow,
    "torch": _on_torch,
    "jax": _on_jax,
}
"""How to import each backend on the CPU; what is returned describes it."""


def adapter(variant: str) -> Adapter:
    """Return the engine ``keras:tensorflow``, ``keras:torch`` or ``keras:jax``.

    Raises `RuntimeError` where Keras has been imported on another backend.
    """
    return _Keras(variant)
