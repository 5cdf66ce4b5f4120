"""What a Python and its NumPy are, as one line of JSON: ``python -m gradparity.adapters.facts``.

It runs in whatever interpreter is asked about, and imports nothing but NumPy and the standard library.
"""

from __future__ import annotations

import json
import platform
import re
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np


def normalized(name: str) -> str:
    """Return the name of a distribution as it is compared (PEP 503): lower case, runs of ``-_.`` as one ``-``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def distributions() -> dict[str, str]:
    """Return every distribution that this interpreter can import, by normalized name, with its version.

    Of one that is there twice the first on the path counts, as it does for an import.
    """
    there: dict[str, str] = {}
    for found in metadata.distributions():
        # `found.name` and `found.version` would each read and parse it anew.
        about = found.metadata
        # A folder of metadata that was half removed has no name.
        if name := about["Name"]:
            there.setdefault(normalized(name), about["Version"])
    return dict(sorted(there.items()))


def blas() -> str:
    """Return name and version of the BLAS that NumPy was built with; "unknown" where NumPy does not say."""
    try:
        built: Any = np.show_config(mode="dicts")
    except TypeError:
        # NumPy before 1.25 prints, and returns nothing.
        libraries = getattr(import_module("numpy.__config__"), "blas_ilp64_opt_info", {}) or getattr(
            import_module("numpy.__config__"), "blas_opt_info", {}
        )
        return " ".join(dict.fromkeys(libraries.get("libraries", []))) or "unknown"
    found = built.get("Build Dependencies", {}).get("blas", {})
    return f"{found.get('name', 'unknown')} {found.get('version', '')}".strip()


ARITHMETIC = (
    "sse", "ssse", "avx", "fma", "f16c", "amx", "asimd", "neon", "sve", "fphp", "bf16", "i8mm", "vfp", "vsx",
)  # fmt: skip
"""What Linux's names of instruction sets begin with that arithmetic may use."""


def features() -> list[str]:
    """Return the instruction sets for arithmetic of this CPU, as Linux names them, sorted; elsewhere none.

    NumPy's own list is no use: it differs from version to version of NumPy.
    """
    flags = next(iter(_cpuinfo("flags", "Features")), "").split()
    return sorted({flag for flag in flags if flag.startswith(ARITHMETIC)})


def cpu_model() -> str:
    """Return the CPU's name as the system gives it."""
    return next(iter(_cpuinfo("model name")), platform.processor())


def _cpuinfo(*keys: str) -> list[str]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    return [value.strip() for key, _, value in (line.partition(":") for line in lines) if key.strip() in keys]


def facts() -> dict[str, Any]:
    """Return all of it: version, platform, distributions, cpu, features, blas."""
    return {
        "version": platform.python_version(),
        "platform": platform.platform(),
        "distributions": distributions(),
        "cpu": cpu_model(),
        "features": features(),
        "blas": blas(),
    }


if __name__ == "__main__":
    print(json.dumps(facts()))
