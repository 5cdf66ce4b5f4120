"""PyTorch: autograd with ``torch.optim.SGD``, ``torch.func``, and ``torch.compile``."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np

from gradparity.adapters.protocol import Network, Pairs, PlainProgram, Probe, Unsupported
from gradparity.adapters.torch_compile import compiled, compiler
from gradparity.reference.problem import Array, Layer, Loss

Tensor: TypeAlias = Any

ACTIVATIONS: dict[str, Callable[[Any, Layer], Any]] = {
    "linear": lambda nn, _: nn.Identity(),
    "relu": lambda nn, _: nn.ReLU(),
    "leaky_relu": lambda nn, layer: nn.LeakyReLU(layer.slope),
    "sigmoid": lambda nn, _: nn.Sigmoid(),
    "tanh": lambda nn, _: nn.Tanh(),
    "softmax": lambda nn, _: nn.Softmax(dim=1),
}
"""From ``torch.nn`` and the layer to the module."""


def binary_cross_entropy(F: Any, A: Tensor, Y: Tensor) -> Tensor:
    """Return the terms. Raises `Unsupported` where an output is NaN, which the function refuses."""
    try:
        return F.binary_cross_entropy(A, Y, reduction="none")
    except RuntimeError as error:
        if not A.isnan().any():
            raise
        raise Unsupported(f"torch refuses outputs that are NaN in binary_cross_entropy: {error}") from None


LOSSES: dict[str, Callable[[Any, Tensor, Tensor], Tensor]] = {
    "bce": binary_cross_entropy,
    "bce_logits": lambda F, Z, Y: F.binary_cross_entropy_with_logits(Z, Y, reduction="none"),
    "cce": lambda F, A, Y: -(Y * A.log()).sum(1),
    "cce_logits": lambda F, Z, Y: F.cross_entropy(Z, Y, reduction="none"),
    "squared_error": lambda F, A, Y: F.mse_loss(A, Y, reduction="none"),
    "half_squared_error": lambda F, A, Y: 0.5 * F.mse_loss(A, Y, reduction="none"),
}
"""From ``torch.nn.functional``, the outputs and the targets to terms ``(m, n_L)``; over classes, ``(m,)``."""


def adapter(variant: str) -> Torch:
    """Return the adapter of ``torch`` (``""``), ``torch:func`` or ``torch:compile``."""
    return {"": Torch, "func": TorchFunc, "compile": TorchCompile}[variant]()


def reduced(terms: Tensor, loss: Loss) -> Tensor:
    """Return the loss: means or sums over outputs, then over samples; over both at once where they agree."""
    if terms.ndim == 2 and loss.outputs != loss.samples:
        terms = terms.mean(1) if loss.outputs == "mean" else terms.sum(1)
    return terms.mean() if loss.samples == "mean" else terms.sum()


def sequential(torch: Any, network: Network) -> Any:
    """Return ``nn.Sequential(Linear, activation, Linear, …)``."""
    modules, inputs = list[Any](), network.inputs
    for layer in network.layers:
        linear = torch.nn.Linear(inputs, layer.units, device="cpu", dtype=getattr(torch, network.dtype))
        modules += [linear, ACTIVATIONS[layer.activation](torch.nn, layer)]
        inputs = layer.units
    return torch.nn.Sequential(*modules)


def pairs(values: Iterable[Any]) -> list[tuple[Any, Any]]:
    """Return ``(v1, v2), (v3, v4), …``."""
    values = iter(values)
    return list(zip(values, values, strict=True))


class Torch:
    """``loss.backward()`` and ``torch.optim.SGD``. Everything stays on the CPU, on one thread."""

    kernel: Literal["in,out", "out,in"] = "out,in"

    def __init__(self) -> None:
        import torch

        self.torch = torch
        torch.set_num_threads(1)
        torch.set_flush_denormal(False)
        torch.set_float32_matmul_precision("highest")

    def plain(self, network: Network, weights: Pairs) -> PlainProgram:
        """Build the training step and load `weights` into it."""
        return Autograd(self, network, weights)

    def probe(self, network: Network) -> Probe:
        """Build the probed program: one forward and one backward pass, with zeros added to every Z and A."""
        return Probed(self, network)

    def wrapped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return what is run for `function`, the forward pass and the loss."""
        return function

    def gradients(self, probed: Callable[..., Any], params: Pairs, zeros: Pairs, *data: Tensor) -> Any:
        """Return ``(gradients, (loss, seen))`` of ``probed(params, zeros, *data)``, shaped as params and zeros."""
        leaves = [t.requires_grad_() for pair in (*params, *zeros) for t in pair]
        loss, seen = probed(params, zeros, *data)
        found = pairs(self.torch.autograd.grad(loss, leaves))
        return (found[: len(params)], found[len(params) :]), (loss, seen)

    def tensor(self, a: Array) -> Tensor:
        """Return a copy of `a` on the CPU."""
        return self.torch.tensor(a, device="cpu")

    def environment(self) -> Mapping[str, str]:
        """Return versions, device, threads, and the flags that change numerics."""
        torch = self.torch
        backends = torch.backends
        facts = {
            "torch": torch.__version__,
            "numpy": np.__version__,
            "device": f"cpu ({platform.machine()}, {backends.cpu.get_cpu_capability()})",
            "threads": torch.get_num_threads(),
            "interop_threads": torch.get_num_interop_threads(),
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "cuda.matmul.allow_tf32": backends.cuda.matmul.allow_tf32,
            "cudnn.allow_tf32": backends.cudnn.allow_tf32,
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "mkldnn": backends.mkldnn.is_available() and backends.mkldnn.enabled,
            "mkl": backends.mkl.is_available(),
            "flush_denormal": False,
        }
        return {name: str(fact) for name, fact in facts.items()}


class TorchFunc(Torch):
    """``torch.func.grad_and_value`` of a ``functional_call``, and an update written out."""

    def plain(self, network: Network, weights: Pairs) -> PlainProgram:
        """Build the training step and load `weights` into it."""
        return Functional(self, network, weights)

    def gradients(self, probed: Callable[..., Any], params: Pairs, zeros: Pairs, *data: Tensor) -> Any:
        """Return ``(gradients, (loss, seen))``; see `Torch.gradients`."""
        found = self.torch.func.grad_and_value(probed, argnums=(0, 1), has_aux=True)
        return found(params, zeros, *data)


class TorchCompile(Torch):
    """As `Torch`, with the forward pass and the loss under ``torch.compile``."""

    def wrapped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function` compiled. Raises `Unsupported` where that cannot be."""
        return compiled(self.torch, function)

    def environment(self) -> Mapping[str, str]:
        """Return what `Torch` does, and the C++ compiler."""
        return {**super().environment(), "cxx": compiler()}


class Autograd(PlainProgram):
    """The training step of most tutorials."""

    def __init__(self, torch: Torch, network: Network, weights: Pairs) -> None:
        self.tensor = torch.tensor
        self.net = net = sequential(torch.torch, network)
        names = net.state_dict().keys()
        net.load_state_dict(dict(zip(names, (self.tensor(a) for pair in weights for a in pair), strict=True)))
        self.optimizer = torch.torch.optim.SGD(net.parameters(), lr=network.learning_rate)
        terms, F = LOSSES[network.loss.name], torch.torch.nn.functional

        def loss(X: Tensor, Y: Tensor) -> Tensor:
            return reduced(terms(F, net(X), Y), network.loss)

        self.loss = torch.wrapped(loss)

    def weights(self) -> Pairs:
        """Read the weights back from the module."""
        return pairs(t.clone().numpy() for t in self.net.state_dict().values())

    def step(self, X: Array, Y: Array) -> tuple[Any, Pairs]:
        """Make one update; the gradients are those that the optimizer was given."""
        self.optimizer.zero_grad()
        loss = self.loss(self.tensor(X), self.tensor(Y))
        loss.backward()
        gradients = pairs(p.grad.clone().numpy() for p in self.net.parameters())
        self.optimizer.step()
        return loss.detach().numpy(), gradients


class Functional(PlainProgram):
    """The training step with ``torch.func``: parameters in a dictionary, and no optimizer object."""

    def __init__(self, torch: Torch, network: Network, weights: Pairs) -> None:
        self.tensor, self.learning_rate = torch.tensor, network.learning_rate
        net = sequential(torch.torch, network)
        names = [name for name, _ in net.named_parameters()]
        self.params = dict(zip(names, (self.tensor(a) for pair in weights for a in pair), strict=True))
        terms, F = LOSSES[network.loss.name], torch.torch.nn.functional
        call = torch.torch.func.functional_call

        def loss(params: Mapping[str, Tensor], X: Tensor, Y: Tensor) -> Tensor:
            return reduced(terms(F, call(net, params, (X,)), Y), network.loss)

        self.grad_and_value = torch.torch.func.grad_and_value(loss)

    def weights(self) -> Pairs:
        """Read the parameters back."""
        return pairs(t.clone().numpy() for t in self.params.values())

    def step(self, X: Array, Y: Array) -> tuple[Any, Pairs]:
        """Make one update."""
        gradients, loss = self.grad_and_value(self.params, self.tensor(X), self.tensor(Y))
        self.params = {name: p - self.learning_rate * gradients[name] for name, p in self.params.items()}
        return loss.numpy(), pairs(gradients[name].numpy() for name in self.params)


class Probed:
    """The same forward pass, with a zero added to every Z and A."""

    def __init__(self, torch: Torch, network: Network) -> None:
        self.torch, self.network = torch, network
        activations = [ACTIVATIONS[layer.activation](torch.torch.nn, layer) for layer in network.layers]
        terms, F = LOSSES[network.loss.name], torch.torch.nn.functional

        def probed(params: Pairs, zeros: Pairs, X: Tensor, Y: Tensor) -> tuple[Tensor, Pairs]:
            A: Tensor = X
            seen: list[tuple[Tensor, Tensor]] = []
            for (W, b), (zero_Z, zero_A), f in zip(params, zeros, activations, strict=True):
                Z = F.linear(A, W, b) + zero_Z
                A = f(Z) + zero_A
                seen.append((Z, A))
            return reduced(terms(F, A, Y), network.loss), seen

        self.probed = torch.wrapped(probed)

    def __call__(self, weights: Pairs, X: Array, Y: Array, /) -> Mapping[str, Any]:
        """Compute the step at `weights`: samples are rows, kernels ``(n_out, n_in)``."""
        params = [(self.torch.tensor(W), self.torch.tensor(b)) for W, b in weights]
        data = self.torch.tensor(X), self.torch.tensor(Y)
        shapes = [(len(X), layer.units) for layer in self.network.layers]
        zeros = [(data[0].new_zeros(shape), data[0].new_zeros(shape)) for shape in shapes]
        (d_params, d_zeros), (loss, seen) = self.torch.gradients(self.probed, params, zeros, *data)
        trace = dict[str, Tensor]()
        for l, (Z, A) in enumerate(seen, 1):
            trace |= {f"Z{l}": Z, f"A{l}": A}
        trace["loss"] = loss
        for l in range(len(shapes), 0, -1):
            (delta, dA), (dW, db) = d_zeros[l - 1], d_params[l - 1]
            trace |= {f"dA{l}": dA, f"delta{l}": delta, f"dW{l}": dW, f"db{l}": db}
        return {name: t.detach().numpy() for name, t in trace.items()}
