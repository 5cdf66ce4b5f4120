"""TensorFlow: `tf.GradientTape` eagerly, with the whole training step in `tf.function`, and compiled by XLA."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from gradparity.adapters.protocol import Adapter, Network, Pairs, PlainProgram, Probe
from gradparity.reference.errors import InputError
from gradparity.reference.problem import Array, Layer

Step = Callable[..., Any]


@functools.cache
def tensorflow() -> Any:
    """Import TensorFlow, quiet, on one thread of the CPU. Later calls give the same module."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Hidden here and not with `set_visible_devices` alone: Keras looks at the physical devices to decide on XLA.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    try:
        tf.config.set_visible_devices([], "GPU")
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        # Whoever imported TensorFlow before has used it already: `environment` records what is in force.
        tf.get_logger().debug("TensorFlow was initialised before its devices and threads could be set")
    return tf


@functools.cache
def _activations() -> Mapping[str, Callable[[Any, Layer], Any]]:
    tf = tensorflow()
    return {
        "linear": lambda Z, _: Z,
        "relu": lambda Z, _: tf.nn.relu(Z),
        "leaky_relu": lambda Z, layer: tf.nn.leaky_relu(Z, alpha=layer.slope),
        "sigmoid": lambda Z, _: tf.nn.sigmoid(Z),
        "tanh": lambda Z, _: tf.nn.tanh(Z),
        "softmax": lambda Z, _: tf.nn.softmax(Z),
    }


@functools.cache
def _losses() -> Mapping[str, Callable[[Any, Any], Any]]:
    """Loss terms ``(m, n_L)``; a fused cross-entropy, which has summed over the outputs itself, ``(m, 1)``."""
    tf = tensorflow()
    return {
        "bce": lambda A, Y: -(Y * tf.math.log(A) + (1 - Y) * tf.math.log(1 - A)),
        "bce_logits": lambda A, Y: tf.nn.sigmoid_cross_entropy_with_logits(labels=Y, logits=A),
        "cce": lambda A, Y: -(Y * tf.math.log(A)),
        "cce_logits": lambda A, Y: tf.nn.softmax_cross_entropy_with_logits(labels=Y, logits=A)[:, None],
        "squared_error": tf.math.squared_difference,
        "half_squared_error": lambda A, Y: tf.math.squared_difference(A, Y) / 2,
    }


def _loss(network: Network, A: Any, Y: Any) -> Any:
    tf = tensorflow()
    reduce = {"mean": tf.reduce_mean, "sum": tf.reduce_sum}
    terms = _losses()[network.loss.name](A, Y)
    return reduce[network.loss.samples](reduce[network.loss.outputs](terms, axis=1))


class _Plain(PlainProgram):
    """Variables, a tape, and ``variable.assign_sub(learning_rate * gradient)``."""

    def __init__(self, network: Network, weights: Pairs, compile_step: Callable[[Step], Step]) -> None:
        tf = tensorflow()
        self._tf, self.network = tf, network
        self._variables = [(tf.Variable(W), tf.Variable(b)) for W, b in weights]

        def train_step(X: Any, Y: Any) -> Any:
            with tf.GradientTape() as tape:
                A = X
                for layer, (W, b) in zip(network.layers, self._variables, strict=True):
                    A = _activations()[layer.activation](A @ W + b, layer)
                loss = _loss(network, A, Y)
            gradients = tape.gradient(loss, self._variables)
            for variables, changes in zip(self._variables, gradients, strict=True):
                for variable, gradient in zip(variables, changes, strict=True):
                    variable.assign_sub(network.learning_rate * gradient)
            return loss, gradients

        self._train_step = compile_step(train_step)

    def load(self, weights: Pairs) -> None:
        for variables, pair in zip(self._variables, weights, strict=True):
            for variable, a in zip(variables, pair, strict=True):
                variable.assign(a)

    def weights(self) -> Pairs:
        return [(W.numpy(), b.numpy()) for W, b in self._variables]

    def step(self, X: Array, Y: Array) -> tuple[Any, Pairs]:
        loss, gradients = self._train_step(self._tf.constant(X), self._tf.constant(Y))
        return loss, gradients


def _probed_step(network: Network, weights: Any, zeros: Any, X: Any, Y: Any) -> dict[str, Any]:
    """Return ``Z1 A1 … loss dA1 delta1 dW1 db1 …``; `zeros` holds a zero ``(m, n_l)`` for Z and for A, a layer."""
    seen: dict[str, Any] = {}
    with tensorflow().GradientTape() as tape:
        tape.watch((weights, zeros))
        A = X
        for l, (layer, (W, b), (at_Z, at_A)) in enumerate(zip(network.layers, weights, zeros, strict=True), start=1):
            seen[f"Z{l}"] = Z = A @ W + b + at_Z
            seen[f"A{l}"] = A = _activations()[layer.activation](Z, layer) + at_A
        seen["loss"] = loss = _loss(network, A, Y)
    of_weights, of_zeros = tape.gradient(loss, (weights, zeros))
    for l, ((dW, db), (delta, dA)) in enumerate(zip(of_weights, of_zeros, strict=True), start=1):
        seen |= {f"dA{l}": dA, f"delta{l}": delta, f"dW{l}": dW, f"db{l}": db}
    return seen


class _Tensorflow:
    kernel: Literal["in,out", "out,in"] = "in,out"

    def __init__(self, variant: str) -> None:
        tf = tensorflow()
        # The steps branch on no tensor, so that AutoGraph would rewrite nothing; and in TensorFlow 2.12 its `zip` takes
        # no `strict`.
        traced = functools.partial(tf.function, autograph=False)
        compilers: dict[str, Callable[[Step], Step]] = {
            "": lambda step: step,
            "function": traced,
            "xla": functools.partial(traced, jit_compile=True),
        }
        if variant not in compilers:
            raise InputError(f"tensorflow has no variant '{variant}'; choose one of {sorted(compilers)}")
        self._tf = tf
        self._compile_step = compilers[variant]
        self._jit_compile = variant == "xla"
        self._latest: _Plain | None = None
        self.probe = functools.lru_cache(maxsize=1)(self._probe)

    def plain(self, network: Network, weights: Pairs) -> PlainProgram:
        # Scenarios of the same network that follow each other are traced and compiled once.
        if self._latest is None or self._latest.network != network:
            self._latest = _Plain(network, weights, self._compile_step)
        self._latest.load(weights)
        return self._latest

    def _probe(self, network: Network) -> Probe:
        tf = self._tf
        probed_step = self._compile_step(functools.partial(_probed_step, network))

        def probe(weights: Pairs, X: Array, Y: Array) -> Mapping[str, Any]:
            zeros = [[tf.zeros((len(X), layer.units), X.dtype) for _ in "ZA"] for layer in network.layers]
            kept = [[tf.constant(a) for a in pair] for pair in weights]
            given: Mapping[str, Any] = probed_step(kept, zeros, tf.constant(X), tf.constant(Y))
            return given

        return probe

    def environment(self) -> Mapping[str, str]:
        return tensorflow_environment() | {"jit_compile": str(self._jit_compile)}


def tensorflow_environment() -> dict[str, str]:
    """Return TensorFlow's version, device, threads (0: chosen by TensorFlow) and the flags that change numerics."""
    tf = tensorflow()
    return {
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "device": ", ".join(d.name for d in tf.config.list_logical_devices()),
        "intra_op_threads": str(tf.config.threading.get_intra_op_parallelism_threads()),
        "inter_op_threads": str(tf.config.threading.get_inter_op_parallelism_threads()),
        "tensor_float_32": str(tf.config.experimental.tensor_float_32_execution_enabled()),
        **from_environ("TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS", "XLA_FLAGS"),
    }


def from_environ(*names: str) -> dict[str, str]:
    """Return the environment variables `names`, ``"unset"`` where there is none."""
    return {name: os.environ.get(name, "unset") for name in names}


def adapter(variant: str) -> Adapter:
    """Return the engine ``tensorflow`` (``""``), ``tensorflow:function`` or ``tensorflow:xla``."""
    return _Tensorflow(variant)
