"""``torch.compile`` with the default backend, or the reason why it cannot be had here."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

from gradparity.adapters.protocol import Unsupported

DEFAULT_COMPILER = {"darwin": "clang++", "win32": "cl"}
"""The C++ compiler that Inductor calls where the environment variable CXX names none; elsewhere g++."""


def compiler() -> str:
    """Return the C++ compiler that Inductor will call. Raises `Unsupported` where it is not there."""
    name = os.environ.get("CXX", DEFAULT_COMPILER.get(sys.platform, "g++"))
    if shutil.which(name) is None:
        raise Unsupported(f"torch.compile needs a C++ compiler and {name!r} is not on the PATH: install it, or set CXX")
    return name


def compiled(torch: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` compiled. Raises `Unsupported` without a compiler, or where torch.compile does not run.

    ``fullgraph`` turns what torch.compile would otherwise pass over in silence, by running eagerly, into an error.
    """
    compiler()
    # Dynamo compiles one function only so often, and every network is the same function to it.
    torch.compiler.reset()
    try:
        return torch.compile(function, fullgraph=True)  # type: ignore[no-any-return]
    except RuntimeError as reason:
        raise Unsupported(f"torch.compile does not run here: {reason}") from None
