"""gradparity: are the gradients that a deep-learning framework computes right?

``verify`` and ``Scenario`` are loaded on first use, so that the command line and the pytest plugin start fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradparity.reference.scenario import Scenario
    from gradparity.reports.verify import verify

__version__ = "0.1.0"
__all__ = ["Scenario", "__version__", "verify"]


def __getattr__(name: str) -> Any:
    if name == "verify":
        from gradparity.reports.verify import verify

        return verify
    if name == "Scenario":
        from gradparity.reference.scenario import Scenario

        return Scenario
    raise AttributeError(f"module 'gradparity' has no attribute {name!r}")
