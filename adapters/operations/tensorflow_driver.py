"""Probes on TensorFlow: `tf.GradientTape`, eagerly, in `tf.function`, and compiled by XLA; its own optimizers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradparity.adapters.operations.case import STEPS, OperationCase
from gradparity.adapters.operations.evaluation import Program, Weight
from gradparity.adapters.operations.names import alone, called, differentiated, flat, keywords, resolved, value_name
from gradparity.adapters.protocol import Unsupported
from gradparity.adapters.tensorflow_engine import tensorflow
from gradparity.reference.problem import Array


def driver(variant: str) -> TensorFlowDriver:
    """Return the driver of ``tensorflow`` (``""``), ``tensorflow:function`` or ``tensorflow:xla``."""
    return TensorFlowDriver(variant)


class TensorFlowDriver:
    """Everything stays on the CPU, on one thread."""

    def __init__(self, variant: str) -> None:
        self.tf, self.variant = tensorflow(), variant

    def build(self, case: OperationCase, dtype: str) -> Program:
        """Return the program of `case`."""
        if case.form != "optimizer":
            return self.function(called(case), case)
        if self.variant:
            raise Unsupported("optimizers are probed eagerly")
        return self._optimizer(case)

    def wrapped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return what is run for `function`."""
        if not self.variant:
            return function
        options = {"jit_compile": True} if self.variant == "xla" else {}
        return self.tf.function(function, **options)  # type: ignore[no-any-return]

    def function(self, function: Callable[..., Any], case: OperationCase) -> Program:
        """Return value and gradients of `function`."""
        tf = self.tf
        shapes: list[tuple[int, ...]] = []

        def pulled(tensors: Sequence[Any], weights: Sequence[Any]) -> Any:
            leaves = [tensors[place] for place in differentiated(case, tensors)]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(leaves)
                outputs = flat(function(*tensors))
                floats = [y for y in outputs if y.dtype.is_floating]
            return outputs, tape.gradient(floats, leaves, output_gradients=list(weights))

        program = self.wrapped(pulled)
        forward = self.wrapped(lambda *a: flat(function(*a))) if self.variant and alone(case) else None

        def run(arrays: Sequence[Array], weight: Weight) -> Mapping[str, Any]:
            tensors = [tf.constant(a) for a in arrays]
            if not shapes:
                outputs = [y for y in flat(function(*tensors)) if y.dtype.is_floating]
                shapes.extend(tuple(y.shape) for y in outputs)
            weights = [tf.constant(weight(place, shape)) for place, shape in enumerate(shapes)]
            found, gradients = program(tensors, weights)
            named = {value_name(place): y.numpy() for place, y in enumerate(found)}
            if forward:
                again = {f"{name}_in_vjp": y for name, y in named.items()}
                named = {value_name(place): y.numpy() for place, y in enumerate(forward(*tensors))} | again
            for place, g in zip(differentiated(case, arrays), gradients, strict=True):
                if g is not None:
                    named[f"d{place}"] = tf.convert_to_tensor(g).numpy()
            return named

        return run

    def _optimizer(self, case: OperationCase) -> Program:
        """Return the steps of an optimizer that has ``apply_gradients``."""
        tf = self.tf

        def run(arrays: Sequence[Array], weight: Weight) -> Mapping[str, Any]:
            count, named = len(case.sizes), dict[str, Any]()
            weights = [tf.Variable(a) for a in arrays[:count]]
            optimizer = resolved(case.call)(**keywords(case.keywords))
            for step in range(STEPS):
                gradients = [tf.constant(a) for a in arrays[count * (step + 1) : count * (step + 2)]]
                optimizer.apply_gradients(list(zip(gradients, weights, strict=True)))
                named |= {f"w{i}_step{step + 1}": w.numpy() for i, w in enumerate(weights)}
            return named

        return run
