"""Where a row is wrong, in words, when no known mistake reproduces it."""

from __future__ import annotations

import numpy as np

from gradparity.reference.compare import Comparison

UNKNOWN = "no known mistake reproduces it"
SHOWN = 3


def place(quantity: str, compared: Comparison) -> str:
    """Return where a value is wrong, if that is in one place only; else that the mistake is not known."""
    outside = compared.outside[0]
    where, values, exact = np.argwhere(outside), compared.value[0][outside], compared.mid[0][outside]
    finite = np.isfinite(values)
    what = ""
    if not finite.any():
        what = f"is {' or '.join(sorted({str(float(x)) for x in values}))}, where the formula gives {_number(exact[0])}"
    elif len(where) == 1:
        what = _relation(float(values[0]), float(exact[0]))
    if outside.size == 1:
        return f"{quantity} {what}"
    if len(where) <= SHOWN < outside.size or (what and len(where) < outside.size):
        shown = " and ".join(f"[{i}, {j}]" for i, j in where[:SHOWN])
        more = f" and {len(where) - SHOWN} more" if len(where) > SHOWN else ""
        place = f"{'element' if len(where) == 1 else 'elements'} {shown}{more}"
        return f"{quantity} is wrong in {place} only" + (f": it {what}" if what else f"; {UNKNOWN}")
    if what:
        return f"{quantity} {what}"
    for axis, name in ((1, "column"), (0, "row")):
        lines = np.unique(where[:, axis])
        if len(lines) == 1 < outside.shape[axis]:
            return f"{quantity} is wrong in {name} {lines[0]} only; {UNKNOWN}"
    return UNKNOWN


def _number(x: float) -> str:
    return f"{float(x):.6g}" if np.isfinite(x) else str(float(x))


def _relation(value: float, exact: float) -> str:
    if exact == 0.0 or not np.isfinite(exact):
        return f"is {_number(value)}, not {_number(exact)}"
    ratio = value / exact
    return (
        f"is {ratio:.6g} times what its formula gives"
        if abs(ratio - 1) > 1e-3
        else f"is off by {ratio - 1:.3g} of its value"
    )
