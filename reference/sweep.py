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
from gradparity.reference.evaluation import BLOCK
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
    worst: tuple[float, Worst | None] = (-1.0, None)
    sigmas, scale, largest = 0.0, 0.0, 0.0
    for piece, ball in pieces:
        part = flat[piece]
        mid = np.broadcast_to(ball.mid, value.shape).reshape(-1) if ball.mid.size != part.size else ball.mid.reshape(-1)
        rad = np.asarray(ball.rad, dtype=np.float64).reshape(-1)
        low = ball.low.reshape(-1) if isinstance(ball.low, np.ndarray) else None
        peak_of_piece = 0.0
        for start in range(0, part.size, BLOCK):
            block = slice(start, start + BLOCK)
            bound = rad[block] if rad.size > 1 else rad
            if not bound.min() > 0.0:
                bound = np.maximum(bound, SMALLEST)
            error = difference(part[block], mid[block])
            if low is not None:
                error -= low[block]
            np.abs(error, out=error)
            ratio = error if bound.size == 1 else np.divide(error, bound, out=error)
            at = int(ratio.argmax())
            peak = float(ratio[at] / bound[0] if bound.size == 1 else ratio[at])
            # Not finite, or over the bound: argmax finds a NaN, and a bound that is infinite makes 0 of any error.
            if not peak <= 1.0:
                return None
            largest = max(largest, float(bound.max()))
            scale = max(scale, float(part[block].max()), -float(part[block].min()))
            if not (largest < np.inf and scale < np.inf):
                return None
            peak_of_piece = max(peak_of_piece, peak)
            if peak > worst[0]:
                at += start
                exact = mid[at] if low is None else r.wide(mid[at]) + low[at]
                element = (part[at], exact, float(rad[at] if rad.size > 1 else rad[0]))
                worst = peak, _worst(r, value.shape, (piece.start or 0) + at, *element, first_step)
        sigmas = max(sigmas, _sigmas(part if ball.mid.ndim == 1 else value, ball, peak_of_piece))
        if sigmas > SIGMAS:
            return None
    largest = 0.0 if largest == SMALLEST else largest
    return replace(
        finding,
        verdict=Verdict.WITHIN,
        steps=value.shape[0],
        elements=value.size,
        sigmas=sigmas,
        digits=log10(scale / largest) if scale > largest > 0.0 else 0.0 if scale else None,
        worst=worst[1],
    )


def difference(value: Array, mid: Array) -> Array:
    """Return ``value − mid`` in float64, taken in the finer of that and the type of `mid`."""
    return np.subtract(value, mid, dtype=np.result_type(mid, np.float64)).astype(np.float64, copy=False)


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


def _worst(
    r: Rounding, shape: tuple[int, ...], at: int, value: Array, exact: Array, bound: float, first_step: int
) -> Worst:
    step, row, column = (int(i) for i in np.unravel_index(at, shape))
    error = float(abs(value - exact))
    spacing = float(np.spacing(np.abs(np.asarray(exact, dtype=r.dtype))))
    return Worst(first_step + step + 1, (row, column), float(value), float(exact), error, bound, error / spacing)
