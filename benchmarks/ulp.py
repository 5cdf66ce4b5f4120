"""Measure the error of every engine's transcendentals in ULP: the data behind hypothesis H3 of docs/mathematics.md.

    python benchmarks/ulp.py [--points 100000] [--engine jax …]

Each function is evaluated at random points over all of its useful range, in both dtypes, and compared with its value in
long double, whose own error is below 0.001 ULP of float64. The error is in units in the last place of the exact value;
where it is below the smallest normal number, or its argument is, nothing is said (the floor ω of the bounds covers it).
A framework that is not installed is left out.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradparity.reference.bounds import ULP_ALLOWANCE

Array = np.ndarray[Any, Any]
Function = Callable[[Array], Array]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def sigmoid(x: Array) -> Array:
    """Return 1/(1+e^−x)."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


TRUE: dict[str, Function] = {
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "sigmoid": sigmoid,
    "softplus": lambda x: np.log1p(np.exp(-np.abs(x))),
    "tanh": np.tanh,
}
"""``softplus`` is log(1 + e^−|x|), the part of a softplus that is not exact."""


ALLOWED = {**ULP_ALLOWANCE, "log1p": ULP_ALLOWANCE["log"]}
"""``log1p(−a)`` stands for ``log(1 − a)`` and shares its allowance."""


def points(function: str, dtype: str, count: int) -> Array:
    """Return arguments: half over the useful range, half logarithmically towards 0, where cancellation is."""
    rng, limit = np.random.default_rng(0), float(np.log(np.finfo(dtype).max))
    small = 10.0 ** rng.uniform(-8, 1, count // 2)
    if function == "log1p":
        return -np.concatenate([rng.random(count // 2), small * 0.1]).astype(dtype)
    if function == "log":
        return np.concatenate([np.exp(rng.uniform(-limit, limit, count // 2)), 1 + small * 0.1]).astype(dtype)
    wide = rng.uniform(0, limit, count - count // 2) if function != "tanh" else rng.uniform(0, 22, count - count // 2)
    x = np.concatenate([wide, small])
    return (-x if function == "exp" else x * rng.choice([-1, 1], count)).astype(dtype)


def numpy_engine() -> dict[str, Function]:
    """Return NumPy's functions, on which the ``numpy`` engine and the float32 comparison values rest."""
    return dict(TRUE)


def torch_engine() -> dict[str, Function]:
    """Return PyTorch's."""
    import torch

    def on(f: Callable[[Any], Any]) -> Function:
        return lambda x: f(torch.from_numpy(x)).numpy()

    softplus = on(lambda x: torch.log1p(torch.exp(-x.abs())))
    return {
        "exp": on(torch.exp),
        "log": on(torch.log),
        "log1p": on(torch.log1p),
        "sigmoid": on(torch.sigmoid),
        "softplus": softplus,
        "tanh": on(torch.tanh),
    }


def tensorflow_engine(xla: bool = False) -> dict[str, Function]:
    """Return TensorFlow's, eager or compiled by XLA."""
    import tensorflow as tf

    def on(f: Callable[[Any], Any]) -> Function:
        compiled = tf.function(f, jit_compile=True) if xla else f
        return lambda x: compiled(tf.constant(x)).numpy()

    softplus = on(lambda x: tf.math.log1p(tf.exp(-tf.abs(x))))
    return {
        "exp": on(tf.exp),
        "log": on(tf.math.log),
        "log1p": on(tf.math.log1p),
        "sigmoid": on(tf.sigmoid),
        "softplus": softplus,
        "tanh": on(tf.tanh),
    }


def jax_engine(jit: bool = False) -> dict[str, Function]:
    """Return JAX's, eager or jitted."""
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_platforms", "cpu")

    def on(f: Callable[[Any], Any]) -> Function:
        compiled = jax.jit(f) if jit else f
        return lambda x: np.asarray(compiled(jax.numpy.asarray(x)))

    softplus = on(lambda x: jax.numpy.log1p(jax.numpy.exp(-jax.numpy.abs(x))))
    return {
        "exp": on(jax.numpy.exp),
        "log": on(jax.numpy.log),
        "log1p": on(jax.numpy.log1p),
        "sigmoid": on(jax.nn.sigmoid),
        "softplus": softplus,
        "tanh": on(jax.numpy.tanh),
    }


ENGINES: dict[str, Callable[[], dict[str, Function]]] = {
    "numpy": numpy_engine,
    "torch": torch_engine,
    "tensorflow": tensorflow_engine,
    "tensorflow:xla": lambda: tensorflow_engine(xla=True),
    "jax": jax_engine,
    "jax:jit": lambda: jax_engine(jit=True),
}


def worst(function: str, dtype: str, engine: Function, count: int) -> tuple[float, float]:
    """Return the largest error in ULP and the argument at which it occurs."""
    x = points(function, dtype, count)
    true = TRUE[function](x.astype(np.longdouble))
    info = np.finfo(dtype)
    normal = (np.abs(true) >= info.tiny) & (np.abs(true) <= info.max) & (np.abs(x) >= info.tiny)
    ulp = np.ldexp(np.longdouble(info.eps), np.frexp(true)[1] - 1)
    error = np.where(normal, np.abs(engine(x) - true) / ulp, 0)
    return float(error.max()), float(x[error.argmax()])


def measured(engines: list[str], count: int) -> Iterator[tuple[str, str, str, float, float]]:
    """Yield engine, function, dtype, the largest error in ULP, and where it occurs."""
    for name in engines:
        try:
            functions = ENGINES[name]()
        except ImportError as missing:
            print(f"{name}: not installed ({missing.name})")
            continue
        for function, engine in functions.items():
            for dtype in ("float32", "float64"):
                with np.errstate(all="ignore"):
                    yield name, function, dtype, *worst(function, dtype, engine, count)


def main() -> None:
    """Print one line for each engine, function and dtype."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--engine", nargs="*", choices=ENGINES, default=list(ENGINES))
    chosen = parser.parse_args()
    print(f"{'engine':16}{'function':10}{'dtype':9}{'ULP':>8}{'allowed':>9}  at")
    for name, function, dtype, ulp, x in measured(chosen.engine, chosen.points):
        print(f"{name:16}{function:10}{dtype:9}{ulp:8.2f}{ALLOWED[function][dtype]:9g}  {x!r}")


if __name__ == "__main__":
    main()
