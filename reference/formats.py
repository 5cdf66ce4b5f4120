"""Number formats narrower than the working precision, as far as diagnosis needs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import expm1, log1p

import numpy as np

from gradparity.reference.bounds import Ball, Rounding
from gradparity.reference.evaluation import Evaluation
from gradparity.reference.formulas import Row
from gradparity.reference.problem import Array


@dataclass(frozen=True)
class Format:
    """`bits` significant bits, the leading one counted, and the range of the NumPy dtype `range_of`."""

    name: str
    bits: int
    range_of: str

    def nearest(self, x: Array) -> Array:
        """Return x rounded to this format, ties to even."""
        return self._within_range(x, np.rint)

    def truncated(self, x: Array) -> Array:
        """Return x with the bits that this format has no room for cut off."""
        return self._within_range(x, np.trunc)

    def holds(self, x: Array) -> bool:
        """Return whether every element of x is a number of this format."""
        return np.array_equal(self.nearest(x), x, equal_nan=True)

    def _within_range(self, x: Array, rounding: np.ufunc) -> Array:
        info = np.finfo(self.range_of)
        lowest = int(np.floor(np.log2(info.tiny))) + 1
        _, exponent = np.frexp(x)
        last_place = np.maximum(exponent, lowest) - self.bits
        y = np.ldexp(rounding(np.ldexp(x, -last_place)), last_place)
        return np.where(np.abs(y) > float(info.max), np.copysign(np.inf, x), np.where(np.isfinite(x), y, x))


TF32 = Format("TF32", 11, "float32")
BFLOAT16 = Format("bfloat16", 8, "float32")
FLOAT16 = Format("float16", 11, "float16")
FLOAT32 = Format("float32", 24, "float32")
FORMATS = (TF32, BFLOAT16, FLOAT16, FLOAT32)


def narrower(dtype: str) -> tuple[Format, ...]:
    """Return the formats with fewer bits than `dtype`, the finest first."""
    bits = np.finfo(dtype).nmant + 1
    return tuple(sorted((f for f in FORMATS if f.bits < bits), key=lambda f: -f.bits))


class _Narrow(Rounding):
    """Rounding in a narrow format, where long sums have ``nu ≥ 1``: ``(1+u)^n − 1`` bounds n roundings too."""

    def gamma(self, n: float) -> float:
        """Return ``(1+u)^n − 1``."""
        return expm1(min(n * log1p(self.u), 700.0))


def computed_in(form: Format, evaluation: Evaluation, row: Row, inputs: Mapping[str, Ball]) -> Ball:
    """Return the ball of `row` where its inputs and every operation are rounded to `form`, its middle too."""
    u, info = 2.0**-form.bits, np.finfo(form.range_of)
    r = evaluation.r
    narrow = _Narrow(r.dtype, r.wide, u, float(info.tiny), float(info.max))
    rounded = {name: replace_rad(ball, u) for name, ball in inputs.items()}
    found = Evaluation(narrow, (row,), rounded).evaluate(row)
    return Ball(form.nearest(found.mid.astype(np.float64)), found.rad + u * np.abs(found.mid), None)


def replace_rad(ball: Ball, u: float) -> Ball:
    """Return `ball` with room for one more rounding of its value."""
    return Ball(ball.mid, ball.rad + u * np.abs(ball.mid.astype(np.float64)), None)
