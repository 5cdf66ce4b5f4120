"""Probes on PyTorch: ``torch.autograd.grad``, eagerly or of a function under ``torch.compile``; ``torch.optim``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradparity.adapters.operations.case import STEPS, OperationCase
from gradparity.adapters.operations.evaluation import Program, Weight
from gradparity.adapters.operations.names import alone, called, differentiated, flat, keywords, resolved, value_name
from gradparity.adapters.protocol import Unsupported
from gradparity.adapters.torch_compile import compiled
from gradparity.reference.problem import Array


def driver(variant: str) -> TorchDriver:
    """Return the driver of ``torch`` (``""``) or ``torch:compile``."""
    return TorchDriver(variant == "compile")


class TorchDriver:
    """Everything stays on the CPU, on one thread."""

    def __init__(self, compile_it: bool) -> None:
        import torch

        self.torch, self.compile = torch, compile_it
        torch.set_num_threads(1)

    def build(self, case: OperationCase, dtype: str) -> Program:
        """Return the program of `case`."""
        if case.form == "optimizer":
            if self.compile:
                raise Unsupported("optimizers are probed eagerly: they are no function that torch.compile is given")
            return self._optimizer(case)
        function = called(case)
        return self.function(compiled(self.torch, function) if self.compile else function, case)

    def function(self, function: Callable[..., Any], case: OperationCase) -> Program:
        """Return value and gradients of `function`."""
        torch = self.torch

        def run(arrays: Sequence[Array], weight: Weight) -> Mapping[str, Any]:
            tensors = [torch.tensor(a) for a in arrays]
            # What numbers an index or a class is 64 bits wide in torch.
            tensors = [t.long() if t.dtype == torch.int32 else t for t in tensors]
            places = differentiated(case, arrays)
            for place in places:
                tensors[place].requires_grad_()
            outputs = flat(function(*tensors))
            named = {value_name(place): y.detach().numpy() for place, y in enumerate(outputs)}
            if self.compile and alone(case):
                again = {f"{name}_in_vjp": y for name, y in named.items()}
                with torch.no_grad():
                    # Without gradients, it is compiled once more.
                    values = flat(function(*(t.detach() for t in tensors)))
                named = {value_name(place): y.numpy() for place, y in enumerate(values)} | again
            pulled = [y for y in outputs if y.requires_grad]
            if not (places and pulled):
                return named
            weights = [torch.tensor(weight(i, tuple(y.shape))).to(y.dtype) for i, y in enumerate(pulled)]
            leaves = [tensors[place] for place in places]
            gradients = torch.autograd.grad(pulled, leaves, weights, allow_unused=True)
            return named | {f"d{place}": g.numpy() for place, g in zip(places, gradients, strict=True) if g is not None}

        return run

    def _optimizer(self, case: OperationCase) -> Program:
        torch, make = self.torch, resolved(case.call)
        fixed = keywords(case.keywords)

        def run(arrays: Sequence[Array], weight: Weight) -> Mapping[str, Any]:
            count, named = len(case.sizes), dict[str, Any]()
            tensors = [torch.tensor(a) for a in arrays]
            weights = [torch.nn.Parameter(t) for t in tensors[:count]]
            optimizer = make(weights, **fixed)
            needs_closure = inspect.signature(optimizer.step).parameters["closure"].default is inspect.Parameter.empty
            for step in range(STEPS):
                gradients = tensors[count * (step + 1) : count * (step + 2)]

                def closure(gradients: list[Any] = gradients) -> Any:
                    # The loss whose gradient this is, as a line search asks for its value.
                    for w, g in zip(weights, gradients, strict=True):
                        w.grad = g.clone()
                    return sum((w.detach() * g).sum() for w, g in zip(weights, gradients, strict=True))

                closure()
                optimizer.step(*((closure,) if needs_closure else ()))
                named |= {f"w{i}_step{step + 1}": w.detach().numpy().copy() for i, w in enumerate(weights)}
            return named

        return run
