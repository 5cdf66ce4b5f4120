"""What the Keras engines are made of: activations, losses, an SGD that keeps gradients, a layer that keeps values."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from gradparity.adapters.keras_api import keras, ops
from gradparity.adapters.protocol import Network
from gradparity.reference.problem import Layer


@functools.cache
def activations() -> Mapping[str, Callable[[Layer], Any]]:
    """Return the standard Keras layer of each activation."""
    layers = keras().layers
    return {
        "linear": lambda _: layers.Activation("linear"),
        "relu": lambda _: layers.Activation("relu"),
        # By position: Keras 2 calls it alpha, Keras 3 negative_slope.
        "leaky_relu": lambda layer: layers.LeakyReLU(layer.slope),
        "sigmoid": lambda _: layers.Activation("sigmoid"),
        "tanh": lambda _: layers.Activation("tanh"),
        "softmax": lambda _: layers.Activation("softmax"),
    }


@functools.cache
def _standard_losses() -> Mapping[str, Callable[..., Any]]:
    """Keras' own losses. Cross-entropy over classes sums over the outputs, the others mean over them."""
    losses = keras().losses
    return {
        "bce": losses.BinaryCrossentropy,
        "bce_logits": functools.partial(losses.BinaryCrossentropy, from_logits=True),
        "cce": losses.CategoricalCrossentropy,
        "cce_logits": functools.partial(losses.CategoricalCrossentropy, from_logits=True),
        "squared_error": losses.MeanSquaredError,
    }


@functools.cache
def _terms() -> Mapping[str, Callable[[Any, Any], Any]]:
    """Loss terms ``(m, n_L)`` written with `keras.ops`, for the reductions that Keras' own losses do not have."""
    return {
        "bce": ops().binary_crossentropy,
        "bce_logits": functools.partial(ops().binary_crossentropy, from_logits=True),
        "squared_error": lambda Y, A: ops().square(A - Y),
        "half_squared_error": lambda Y, A: ops().square(A - Y) / 2,
    }


def loss_of(network: Network) -> Any:
    """Return Keras' own loss where it has the scenario's reduction, else a small `keras.losses.Loss`."""
    loss = network.loss
    reduction = {"mean": "sum_over_batch_size", "sum": "sum"}[loss.samples]
    outputs = "mean" if network.outputs == 1 else loss.outputs
    if loss.name in _standard_losses() and (outputs == "mean" or loss.name not in _terms()):
        return _standard_losses()[loss.name](reduction=reduction)
    return classes().OwnLoss(_terms()[loss.name], outputs, reduction)


@functools.cache
def classes() -> SimpleNamespace:
    """Return the Keras subclasses ``OwnLoss``, ``RecordingSGD`` and ``Tap``; made here, for Keras is imported late."""

    class OwnLoss(keras().losses.Loss):  # type: ignore[misc]
        """Sum or mean over the outputs; Keras reduces over the samples."""

        def __init__(self, terms: Callable[[Any, Any], Any], outputs: str, reduction: str) -> None:
            super().__init__(reduction=reduction)
            self.terms = terms
            self.over_outputs = {"mean": ops().mean, "sum": ops().sum}[outputs]

        def call(self, Y: Any, A: Any) -> Any:
            return self.over_outputs(self.terms(Y, A), axis=-1)

    # The torch backend replaces `keras.optimizers.SGD(…)` by a class of its own, but not in a subclass.
    users_sgd: Any = type(keras().optimizers.SGD())

    class RecordingSGD(users_sgd):  # type: ignore[misc]
        """Keras' SGD. It keeps the gradient of every variable in a slot, as it would keep a momentum."""

        slots: Mapping[int, Any] = {}

        def build(self, variables: Any) -> None:
            super().build(variables)
            if not self.slots:
                self.slots = {id(v): self.add_variable_from_reference(v, "gradient") for v in variables}

        def apply(self, grads: Any, trainable_variables: Any = None) -> None:
            """Apply the gradients, as Keras 3 does on every backend."""
            super().apply(grads, trainable_variables)
            self.keep(grads)

        def aggregate_gradients(self, grads_and_vars: Any) -> Any:
            """Sum the gradients over devices, as Keras 2 does before it applies them."""
            aggregated = super().aggregate_gradients(grads_and_vars)
            self.keep([gradient for gradient, _ in aggregated])
            return aggregated

        def keep(self, grads: Any) -> None:
            for slot, gradient in zip(self.slots.values(), grads):  # noqa: B905 (AutoGraph's zip has no strict)
                slot.assign(gradient)

        def gradient(self, variable: Any) -> Any:
            return self.slots[id(variable)].numpy()

    class Tap(keras().layers.Layer):  # type: ignore[misc]
        """Keep what passes, and add a zero weight of its shape, whose gradient is that of what passes.

        Without the zero (`adds_zero` false) the tensor itself is handed on: Keras on TensorFlow finds the logits
        of a cross-entropy behind it.
        """

        def __init__(self, adds_zero: bool) -> None:
            super().__init__()
            self.adds_zero = adds_zero

        def build(self, shape: Any) -> None:
            self.seen = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="seen")
            if self.adds_zero:
                self.zero = self.add_weight(shape=shape, initializer="zeros", name="zero")

        def call(self, x: Any) -> Any:
            # The backend's own addition: `keras.ops` may round a float64 to float32 on torch and JAX.
            y = x + ops().convert_to_tensor(self.zero) if self.adds_zero else x
            self.seen.assign(y)
            return y

    return SimpleNamespace(OwnLoss=OwnLoss, RecordingSGD=RecordingSGD, Tap=Tap)


def set_dtype(dtype: str) -> None:
    """Make `dtype` Keras' default for layers (the policy) and for losses, metrics and learning rates (floatx).

    Both are needed: the policy is fixed by the first layer that is made and does not follow floatx, and with
    ``Dense(dtype="float64")`` alone the learning rate 0.1 stays rounded to float32, 1.5e-8 off.
    """
    keras().backend.set_floatx(dtype)
    keras().mixed_precision.set_global_policy(dtype)
    if keras().backend.backend() == "jax":
        import jax

        jax.config.update("jax_enable_x64", dtype == "float64")


def dense(layer: Layer) -> Any:
    """Return the `Dense` layer of a scenario's layer, without its activation."""
    # The scenario's weights are loaded at once: drawing random ones first costs a second a model on JAX.
    return keras().layers.Dense(layer.units, kernel_initializer="zeros")


def compiled(parts: list[Any], network: Network, learning_rate: float) -> tuple[Any, Any]:
    """Return the model of both programs and its optimizer."""
    model = keras().Sequential(parts)
    optimizer = classes().RecordingSGD(learning_rate=learning_rate)
    model.compile(optimizer=optimizer, loss=loss_of(network))
    # Else TensorFlow traces the first step twice, for the optimizer makes its variables in it.
    optimizer.build(model.trainable_variables)
    return model, optimizer
