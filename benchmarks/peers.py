"""What people compare gradients with, and what they check them with: each as its documentation gives it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias
from unittest import mock

import numpy as np

from gradparity.adapters import jax_engine, tensorflow_engine, torch_engine
from gradparity.adapters.protocol import Network
from gradparity.reference.problem import Array, Problem

Comparator: TypeAlias = Callable[[Array, Array, Array], bool]
"""From a value, the exact one in float64, and another correct engine's in the working precision: whether it passes."""
Gradients: TypeAlias = Sequence[Array]
"""``dW1 db1 dW2 db2 …`` in textbook orientation."""


def passes(function: Callable[..., object], *args: object, **options: object) -> bool:
    """Return whether an assertion holds."""
    try:
        function(*args, **options)
    except AssertionError:
        return False
    return True


def allclose(value: Array, exact: Array, peer: Array) -> bool:
    return bool(np.allclose(value, exact.astype(value.dtype)))


def assert_close(value: Array, exact: Array, peer: Array) -> bool:
    import torch

    return passes(torch.testing.assert_close, torch.tensor(value), torch.tensor(exact.astype(value.dtype)))


def keras_close(value: Array, exact: Array, peer: Array) -> bool:
    """Compare as ``keras.src.testing.TestCase.assertAllClose`` does by default, without importing Keras."""
    return passes(np.testing.assert_allclose, value, exact.astype(value.dtype), atol=1e-6, rtol=1e-6)


def dynamo_same(value: Array, exact: Array, peer: Array) -> bool:
    import torch
    from torch._dynamo.utils import same

    return bool(same(*map(torch.tensor, (peer, value, exact)), log_error=lambda *_: None))


COMPARATORS: dict[str, Comparator] = {
    "numpy.allclose": allclose,
    "torch.testing.assert_close": assert_close,
    "Keras 1e-6": keras_close,
    "torch._dynamo same": dynamo_same,
}


class Checker(Protocol):
    """A gradient checker and the loss of one problem, as a function of the parameters, in its framework."""

    def check(self, gradients: Gradients | None = None) -> bool:
        """Return whether the check passes: of the framework's own backward pass, or of one that gives `gradients`."""
        ...

    def forward(self) -> object:
        """Compute the loss."""
        ...


def network(p: Problem) -> Network:
    return Network(p.X.shape[0], p.layers, p.loss, p.learning_rate, p.dtype)


def rows(p: Problem) -> tuple[Array, Array]:
    """Return the first batch, samples as rows."""
    X, Y = p.batch(0)
    return X.T.copy(), Y.T.copy()


def turned(arrays: Sequence[Array], kernel: str) -> list[Array]:
    """Return ``W1 b1 …`` as frameworks have them: biases flat, kernels ``out,in`` or ``in,out``."""
    return [a[:, 0] if i % 2 else np.ascontiguousarray(a if kernel == "out,in" else a.T) for i, a in enumerate(arrays)]


def parameters(p: Problem) -> list[Array]:
    return [a for pair in zip(p.W, p.b, strict=True) for a in pair]


class TorchChecker:
    """``torch.autograd.gradcheck``."""

    def __init__(self, p: Problem, fast: bool) -> None:
        import torch

        self.torch, self.fast = torch, fast
        torch.set_num_threads(1)
        self.args = [torch.tensor(a, requires_grad=True) for a in turned(parameters(p), "out,in")]
        X, Y = map(torch.tensor, rows(p))
        activations = [torch_engine.ACTIVATIONS[layer.activation](torch.nn, layer) for layer in p.layers]
        terms, F = torch_engine.LOSSES[p.loss.name], torch.nn.functional

        def loss(*params: Any) -> Any:
            A = X
            for (W, b), f in zip(torch_engine.pairs(params), activations, strict=True):
                A = f(F.linear(A, W, b))
            return torch_engine.reduced(terms(F, A, Y), p.loss)

        self.loss = loss

    def check(self, gradients: Gradients | None = None) -> bool:
        loss = self.loss
        given = [self.torch.tensor(a) for a in turned(gradients or (), "out,in")]

        class Given(self.torch.autograd.Function):  # type: ignore[misc, name-defined]
            @staticmethod
            def forward(ctx: Any, *params: Any) -> Any:
                return loss(*params)

            @staticmethod
            def backward(ctx: Any, upstream: Any) -> Any:
                return tuple(upstream * g for g in given)

        checked = Given.apply if given else loss
        # Where the fast mode fails, it runs the slow one, hours for a wide network, only to word its message.
        module = sys.modules["torch.autograd.gradcheck"]
        with mock.patch.object(module, "_run_slow_mode_and_get_error", return_value=""):
            return bool(module.gradcheck(checked, self.args, fast_mode=self.fast, raise_exception=False))

    def forward(self) -> object:
        return self.loss(*self.args)


class JaxChecker:
    """``jax.test_util.check_grads``, of first order, in reverse mode: what a function with its own ``vjp`` allows."""

    def __init__(self, p: Problem) -> None:
        adapter = jax_engine.adapter("jit")
        adapter.enable_float64()
        self.jax = adapter.jax
        self.args = adapter.put(turned(parameters(p), "in,out"))
        data, whole = adapter.put(rows(p)), adapter.loss(network(p))
        pairs = torch_engine.pairs
        self.loss = self.jax.jit(lambda *params: whole(pairs(params), None, *data)[0])

    def check(self, gradients: Gradients | None = None) -> bool:
        from jax.test_util import check_grads

        loss, given = self.loss, turned(gradients or (), "in,out")
        checked = loss
        if given:
            checked = self.jax.custom_vjp(loss)
            checked.defvjp(lambda *p: (loss(*p), None), lambda _, upstream: tuple(upstream * g for g in given))
        return passes(check_grads, checked, tuple(self.args), order=1, modes=("rev",))

    def forward(self) -> object:
        return self.loss(*self.args).block_until_ready()


class TensorflowChecker:
    """``tf.test.compute_gradient``, its results compared as its documentation does: ``assertAllClose``."""

    def __init__(self, p: Problem) -> None:
        self.tf = tf = tensorflow_engine.tensorflow()
        self.args = [tf.constant(a) for a in turned(parameters(p), "in,out")]
        X, Y = map(tf.constant, rows(p))
        net, activations = network(p), tensorflow_engine._activations()

        @tf.function  # type: ignore[untyped-decorator]
        def loss(*params: Any) -> Any:
            A = X
            for layer, (W, b) in zip(p.layers, torch_engine.pairs(params), strict=True):
                A = activations[layer.activation](A @ W + b, layer)
            return tensorflow_engine._loss(net, A, Y)

        self.loss = loss

    def check(self, gradients: Gradients | None = None) -> bool:
        loss, given = self.loss, [self.tf.constant(a) for a in turned(gradients or (), "in,out")]

        @self.tf.custom_gradient  # type: ignore[untyped-decorator]
        def wrong(*params: Any) -> Any:
            return loss(*params), lambda upstream: [upstream * g for g in given]

        found, numerical = self.tf.test.compute_gradient(wrong if given else loss, self.args)
        return passes(self.tf.test.TestCase().assertAllClose, found, numerical)

    def forward(self) -> object:
        return self.loss(*self.args).numpy()


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
CHECKERS: dict[str, Callable[[Problem], Checker]] = {
    "gradcheck, slow": lambda p: TorchChecker(p, fast=False),
    "gradcheck, fast": lambda p: TorchChecker(p, fast=True),
    "jax check_grads": JaxChecker,
    "tf compute_gradient": TensorflowChecker,
}
ELEMENTWISE = ("gradcheck, slow", "tf compute_gradient")
"""Those that move one parameter at a time: two forward passes for each."""
