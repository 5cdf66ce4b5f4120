"""One of two environments that are compared: an interpreter, and the facts about it that touch the numbers."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from packaging.utils import canonicalize_name

from gradparity.adapters.facts import facts
from gradparity.adapters.process import environment

NUMERIC = (
    "numpy", "scipy", "tensorflow", "keras", "torch", "jax", "jaxlib", "tf-nightly", "intel-tensorflow", "ml-dtypes",
    "mkl", "intel-openmp", "onednn", "openblas", "tbb", "triton", "llvmlite", "numba", "opt-einsum", "nvidia",
)  # fmt: skip
"""Distributions that touch the numbers; with a hyphen after it, each also begins the names of others."""

PREFIXES = (
    "OMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "VECLIB_", "GOTO_", "NPROC", "NPY_", "XLA_", "TF_NUM_", "TF_ENABLE_",
    "TF_XLA", "TF_DISABLE_", "TF_DETERMINISTIC_", "TF_CUDNN_", "TF_MKL_", "TF_ONEDNN_", "JAX_", "TORCH_",
    "PYTORCH_", "ATEN_", "KERAS_", "ONEDNN_", "DNNL_", "NVIDIA_TF32", "GLIBC_TUNABLES", "CUDA_VISIBLE",
)  # fmt: skip
"""What the names of environment variables begin with that touch the numbers, or the number of threads."""


@dataclass(frozen=True)
class Side:
    """An interpreter with what is installed there. `pythonpath` is put first on its search path ("" for nothing).

    `distributions` maps name → version of everything installed; `cpu` is the model of the processor, `features` its
    instruction sets.
    """

    python: str
    pythonpath: str = ""
    version: str = ""
    platform: str = ""
    distributions: Mapping[str, str] = field(default_factory=dict)
    cpu: str = ""
    features: tuple[str, ...] = ()
    blas: str = ""
    """Name and version of the BLAS that NumPy was built with."""

    @property
    def numeric(self) -> dict[str, str]:
        """Return the distributions that touch the numbers."""
        found = {name: v for name, v in self.distributions.items() if _numeric(canonicalize_name(name))}
        return dict(sorted(found.items())) | ({"BLAS": self.blas} if self.blas else {})


def _numeric(name: str) -> bool:
    return any(name == known or name.startswith(f"{known}-") for known in NUMERIC)


def here() -> Side:
    """Return the environment that this process runs in."""
    return there(sys.executable, "", facts())


def there(python: str, pythonpath: str, found: Mapping[str, Any]) -> Side:
    """Return the environment of `python`, of which `gradparity.adapters.facts` has `found` this."""
    return Side(python, pythonpath, **{**found, "features": tuple(found["features"])})


def variables() -> dict[str, str]:
    """Return the environment variables that touch the numbers, as a worker sees them."""
    seen = environment("", os.environ)
    return {name: value for name, value in sorted(seen.items()) if name.startswith(PREFIXES)}
