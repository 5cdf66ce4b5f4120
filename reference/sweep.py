"""The common case, fast: compare an array with one ball in blocks that stay in the cache, and stop at any doubt.

What this cannot certify (an element outside its bound or suspect, not finite, or not judged) is left to
`compare`, which looks at everything. On large arrays it is several times faster than passing over them one by one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import log10

import numpy as np

from gradparity.reference.bounds import SIGMAS, Ball, Rounding
from gradparity.reference.problem import Array
from gradparity.reference.verdict import Finding, Verdict, Worst

SMALLEST = 5e-324
"""Stands for a bound of 0, beside which any error is too large."""
SMALLEST_VARIANCE = 1e-290
"""Below this, squares underflow; the rigorous bound, which needs none, still holds there."""


def swept(
    r: Rounding, value: Array, pieces: Iterable[tuple[slice, Ball]], finding: Finding, first_step: int
) -> Finding | None:
    """Return `finding` filled in, if every element of `value` (steps, rows, columns) is clean; else None.

    `pieces` are what flat slices of `value` are compared with.
    """
    if value.size == 0:
        return None
    flat = value.reshape(-1)
    worst, element = -1.0, (0, np.zeros(()), 0.0)
    sigmas, scale, largest = 0.0, 0.0, 0.0
    for piece, ball in pieces:
        part = flat[piece]
        mid, bound, low = (_flat(x, part, value) for x in (ball.mid, ball.rad, ball.low))
        at, peak = _peak(part, mid, bound.astype(np.float64, copy=False), low)
        widest, size = float(bound.max()), max(float(part.max()), -float(part.min()))
        # Not finite, or over the bound. A bound that is infinite makes 0 of any error.
        if not (peak <= 1.0 and widest < np.inf and size < np.inf):
            return None
        sigmas = max(sigmas, _sigmas(part if ball.mid.ndim == 1 else value, ball, peak))
        if sigmas > SIGMAS:
            return None
        largest, scale = max(largest, widest), max(scale, size)
        if peak > worst:
            rad_at, low_at = (float(x[at] if x.size > 1 else x[0]) for x in (bound, low))
            worst, element = peak, ((piece.start or 0) + at, r.wide(mid[at]) + low_at, rad_at)
    return replace(
        finding,
        verdict=Verdict.WITHIN,
        steps=value.shape[0],
        elements=value.size,
        sigmas=sigmas,
        digits=log10(scale / largest) if scale > largest > 0.0 else 0.0 if scale else None,
        worst=_worst(r, value, *element, first_step),
    )


def _flat(x: Array | float, part: Array, value: Array) -> Array:
    """Return x flat, as long as `part`; a scalar with one element."""
    if not isinstance(x, np.ndarray):
        return np.array([x])
    return (x if x.size == part.size else np.broadcast_to(x, value.shape)).reshape(-1)


def _peak(value: Array, mid: Array, bound: Array, low: Array) -> tuple[int, float]:
    """Return where error/bound is largest, and how large; NaN where there is one."""
    whole = low.size == 1 and low[0] == 0.0
    if whole and value.dtype == mid.dtype and np.array_equal(value, mid):
        # The row is exact.
        return 0, 0.0
    error = difference(value, mid)
    if not whole:
        error -= low
    np.abs(error, out=error)
    ratio = np.divide(error, bound, out=error)
    at = int(ratio.argmax())
    peak = float(ratio[at])
    if not peak <= 1.0 and (bound == 0.0).any():
        # 0/0: without an error, the value is within a bound of 0, too.
        return _peak(value, mid, np.where(bound == 0.0, SMALLEST, bound), low)
    return at, peak


def difference(value: Array, mid: Array) -> Array:
    """Return ``value − mid`` in float64, taken in the finer of that and the type of `mid`."""
    # A copy first: one pass over mixed types goes through NumPy's buffers, and is slower than two.
    error = value.astype(np.result_type(mid, np.float64))
    error -= mid
    return error.astype(np.float64, copy=False)


def deviations(error: Array, ball: Ball) -> Array | float:
    """Return `error` in standard deviations; 0 where the statistical tier says nothing more than the bound."""
    if ball.own_var is None or ball.exact:
        return 0.0
    var, rad = (np.broadcast_to(np.asarray(x), error.shape) for x in (ball.var, ball.rad))
    sigmas: Array = error / np.sqrt(var)
    held = (error > 0.0) & (var > SMALLEST_VARIANCE) & (rad < np.inf)
    return sigmas if held.all() else np.where(held, sigmas, 0.0)


def _sigmas(value: Array, ball: Ball, ratio: float) -> float:
    """Return at most how many standard deviations an error of at most `ratio` times its bound is."""
    if ratio == 0.0 or ball.own_var is None or ball.exact:
        return 0.0
    if ratio <= ball.screen:
        return SIGMAS * ratio / ball.screen
    return float(np.max(deviations(np.abs(difference(value, ball.mid) - ball.low), ball)))


def _worst(r: Rounding, value: Array, at: int, exact: Array, bound: float, first_step: int) -> Worst:
    step, row, column = (int(i) for i in np.unravel_index(at, value.shape))
    own = value[step, row, column]
    error = float(abs(own - exact))
    spacing = float(np.spacing(np.abs(np.asarray(exact, dtype=r.dtype))))
    return Worst(first_step + step + 1, (row, column), float(own), float(exact), error, bound, error / spacing)
