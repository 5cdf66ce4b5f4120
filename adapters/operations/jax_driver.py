"""Probes on JAX: ``jax.vjp``, operation by operation or under ``jax.jit``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradparity.adapters.operations.case import STEPS, OperationCase
from gradparity.adapters.operations.evaluation import Program, Weight
from gradparity.adapters.operations.names import alone, called, differentiated, flat, keywords, resolved, value_name
from gradparity.adapters.protocol import Unsupported
from gradparity.reference.problem import Array


def driver(variant: str) -> JaxDriver:
    """Return the driver of ``jax`` (``""``) or ``jax:jit``."""
    return JaxDriver(variant == "jit")


def is_float(jax: Any, x: Any) -> bool:
    """Return whether a gradient flows back from `x`."""
    return bool(jax.numpy.issubdtype(x.dtype, jax.numpy.floating))


class JaxDriver:
    """Everything stays on the CPU. 64-bit numbers are switched on for float64 alone, as JAX's users have it."""

    def __init__(self, jit: bool) -> None:
        import jax

        jax.config.update("jax_platforms", "cpu")
        self.jax, self.jit = jax, jit

    def build(self, case: OperationCase, dtype: str) -> Program:
        """Return the program of `case`."""
        self.jax.config.update("jax_enable_x64", dtype == "float64")
        program = self._optimizer(case) if case.form == "optimizer" else self.function(called(case), case)

        def run(arrays: Sequence[Array], weight: Weight) -> Mapping[str, Any]:
            self.jax.config.update("jax_enable_x64", dtype == "float64")
            return program(arrays, weight)

        return run

    def wrapped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return what is run for `function`."""
        return self.jax.jit(function) if self.jit else function

    def function(self, function: Callable[..., Any], case: OperationCase) -> Program:
        """Return value and gradients of `function`."""
        jax = self.jax
        shapes: list[Any] = []

        def pulled(arrays: list[Any], weights: list[Any]) -> Any:
            places = differentiated(case, arrays)

            def of(*chosen: Any) -> Any:
                given = list(arrays)
                for place, array in zip(places, chosen, strict=True):
                    given[place] = array
                outputs = flat(function(*given))
                floats = [y for y in outputs if is_float(jax, y)]
                return floats, [y for y in outputs if not is_float(jax, y)]

            floats, pullback, others = jax.vjp(of, *(arrays[place] for place in places), has_aux=True)
            return floats, others, pullback(weights)

        program = self.wrapped(pulled)
        forward = self.wrapped(lambda *a: flat(function(*a))) if self.jit and alone(case) else None

        def run(arrays: Sequence[Array], weight: Weight) -> Mapping[str, Any]:
            given = [jax.numpy.asarray(a) for a in arrays]
            if not shapes:
                shapes.extend(jax.eval_shape(lambda *a: flat(function(*a)), *given))
            floats = [shape for shape in shapes if is_float(jax, shape)]
            weights = [jax.numpy.asarray(weight(place, shape.shape), shape.dtype) for place, shape in enumerate(floats)]
            found, others, gradients = program(given, weights)
            left, rest = iter(found), iter(others)
            values = [next(left if is_float(jax, shape) else rest) for shape in shapes]
            named = {value_name(place): value for place, value in enumerate(values)}
            if forward:
                again = {f"{name}_in_vjp": value for name, value in named.items()}
                named = {value_name(place): value for place, value in enumerate(forward(*given))} | again
            places = differentiated(case, arrays)
            return named | {f"d{place}": g for place, g in zip(places, gradients, strict=True)}

        return run

    def _optimizer(self, case: OperationCase) -> Program:
        """Return the steps of an optimizer of ``jax.example_libraries``, or of Optax."""
        made, jax = resolved(case.call)(**keywords(case.keywords)), self.jax
        if len(made) == 3:
            init, update, get = made
            start = init

            def one(step: Any, gradients: Any, state: Any) -> Any:
                state = update(step, gradients, state)
                return state, get(state)
        elif len(made) == 2:
            start = lambda weights: (weights, made.init(weights))  # noqa: E731

            def one(step: Any, gradients: Any, state: Any) -> Any:
                weights, inner = state
                updates, inner = made.update(gradients, inner, weights)
                weights = jax.tree_util.tree_map(lambda w, d: w + d, weights, updates)
                return (weights, inner), weights
        else:
            raise Unsupported(f"{case.call} makes something that is no optimizer known here")
        program = self.wrapped(one)

        def run(arrays: Sequence[Array], weight: Weight) -> Mapping[str, Any]:
            count, given = len(case.sizes), [jax.numpy.asarray(a) for a in arrays]
            state, named = start(given[:count]), dict[str, Any]()
            for step in range(STEPS):
                state, weights = program(step, given[count * (step + 1) : count * (step + 2)], state)
                named |= {f"w{i}_step{step + 1}": w for i, w in enumerate(weights)}
            return named

        return run
