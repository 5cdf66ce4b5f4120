"""Probes on Keras 2.15 and 3: functions, losses and layers through the backend's own gradients; optimizers.

On TensorFlow and torch everything runs eagerly, on JAX under ``jax.jit``, as `fit` has it; optimizers run eagerly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradparity.adapters.operations.arrays import cotangent
from gradparity.adapters.operations.case import STEPS, OperationCase
from gradparity.adapters.operations.evaluation import Program, Weight
from gradparity.adapters.operations.jax_driver import JaxDriver
from gradparity.adapters.operations.names import called, given_arrays, keywords, resolved
from gradparity.adapters.operations.tensorflow_driver import TensorFlowDriver
from gradparity.adapters.operations.torch_driver import TorchDriver
from gradparity.reference.problem import Array

BACKENDS: dict[str, Callable[[], Any]] = {
    "tensorflow": lambda: TensorFlowDriver(""),
    "torch": lambda: TorchDriver(False),
    "jax": lambda: JaxDriver(True),
}


def driver(variant: str) -> KerasDriver:
    """Return the driver of Keras on the backend `variant`."""
    return KerasDriver(variant)


class KerasDriver:
    """Keras computes in its own default dtype, which is set to that of the case."""

    def __init__(self, backend: str) -> None:
        self.backend = BACKENDS[backend]()
        import keras

        self.keras, self.name = keras, backend
        self.version = int(keras.__version__.partition(".")[0])
        if self.version < 3 and backend != "tensorflow":
            raise ImportError(f"Keras {keras.__version__} runs on TensorFlow alone")

    def build(self, case: OperationCase, dtype: str) -> Program:
        """Return the program of `case`."""
        self._set_dtype(dtype)
        if case.form == "optimizer":
            program = self._optimizer(case)
        elif case.form == "object" and issubclass(resolved(case.call), self.keras.layers.Layer):
            program = self._layer(case, dtype)
        else:
            program = self._functional(called(case), case)

        def run(arrays: Sequence[Array], weight: Weight) -> Mapping[str, Any]:
            self._set_dtype(dtype)
            return program(arrays, weight)

        return run

    def _set_dtype(self, dtype: str) -> None:
        if self.name == "jax":
            self.backend.jax.config.update("jax_enable_x64", dtype == "float64")
        self.keras.backend.set_floatx(dtype)
        # The policy of layers is fixed by the first one that is made, and does not follow floatx.
        if self.version < 3:
            self.keras.mixed_precision.set_global_policy(dtype)
        else:
            self.keras.config.set_dtype_policy(dtype)

    def _functional(self, function: Callable[..., Any], case: OperationCase) -> Program:
        return self.backend.function(function, case)  # type: ignore[no-any-return]

    def _layer(self, case: OperationCase, dtype: str) -> Program:
        """Return the layer as a function of its input and its weights: outputs, then weights that it updates."""
        layer = resolved(case.call)(**keywords(case.keywords))
        layer.build(case.sizes[0])
        own = list(layer.weights)
        trained = {id(w) for w in layer.trainable_weights}
        # Positive, as variances are among them.
        numbers = [(np.abs(cotangent(9 + i, tuple(w.shape)))).astype(dtype) for i, w in enumerate(own)]
        fixed = keywords(case.given)
        updated = [w for w in own if id(w) not in trained]
        apply = given_arrays(case, layer, fixed)

        def stateless(*tensors: Any) -> list[Any]:
            inputs, weights = tensors[: len(tensors) - len(own)], tensors[len(tensors) - len(own) :]
            with self.keras.StatelessScope(state_mapping=list(zip(own, weights, strict=True))) as scope:
                y = apply(*inputs)
            # Nobody takes gradients of moving averages; in Keras 2 they have none.
            return [y, *(self.keras.ops.stop_gradient(scope.get_current_value(w)) for w in updated)]

        kinds = tuple("plain" if id(w) in trained else "~plain" for w in own)
        wider = replace(
            case,
            arguments=(*case.arguments, *kinds),
            sizes=(*case.sizes, *(tuple(w.shape) for w in own)),
        )
        if self.version < 3:
            return self._keras2_layer(apply, own, updated, trained, numbers)
        program = self._functional(stateless, wider)
        return lambda arrays, weight: program([*arrays, *numbers], weight)

    def _keras2_layer(
        self, apply: Callable[..., Any], own: list[Any], updated: list[Any], trained: set[int], numbers: list[Array]
    ) -> Program:
        tf = self.backend.tf

        def run(arrays: Sequence[Array], weight: Weight) -> Mapping[str, Any]:
            for w, a in zip(own, numbers, strict=True):
                w.assign(a)
            x = [tf.constant(a) for a in arrays]
            learned = [w for w in own if id(w) in trained]
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = apply(*x)
            gradients = tape.gradient(y, [*x, *learned], output_gradients=tf.constant(weight(0, tuple(y.shape))))
            named = {"value": y.numpy()}
            named |= {f"value{i}": w.numpy() for i, w in enumerate(updated, 1)}
            places = [*range(len(x)), *(len(x) + i for i, w in enumerate(own) if id(w) in trained)]
            return named | {f"d{i}": g.numpy() for i, g in zip(places, gradients, strict=True) if g is not None}

        return run

    def _optimizer(self, case: OperationCase) -> Program:
        def run(arrays: Sequence[Array], weight: Weight) -> Mapping[str, Any]:
            count, named = len(case.sizes), dict[str, Any]()
            optimizer = resolved(case.call)(**keywords(case.keywords))
            weights = [self._variable(a) for a in arrays[:count]]
            if hasattr(optimizer, "build"):
                optimizer.build(weights)
            for step in range(STEPS):
                gradients = [self._tensor(a) for a in arrays[count * (step + 1) : count * (step + 2)]]
                optimizer.apply_gradients(list(zip(gradients, weights, strict=True)))
                named |= {f"w{i}_step{step + 1}": self._numpy(w) for i, w in enumerate(weights)}
            if self.version >= 3 and getattr(optimizer, "use_ema", False):
                optimizer.finalize_variable_values(weights)
                named |= {f"w{i}_final": self._numpy(w) for i, w in enumerate(weights)}
            return named

        return run

    def _variable(self, a: Array) -> Any:
        if self.version < 3:
            return self.backend.tf.Variable(a)
        return self.keras.Variable(a, dtype=str(a.dtype))

    def _tensor(self, a: Array) -> Any:
        if self.version < 3:
            return self.backend.tf.constant(a)
        return self.keras.ops.convert_to_tensor(a)

    def _numpy(self, w: Any) -> Array:
        found: Array = w.numpy() if self.version < 3 else self.keras.ops.convert_to_numpy(w.value)
        return np.array(found)
