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
        rad = np.asarray(ball.rad).reshape(-1)
        low = ball.low.reshape(-1) if isinstance(ball.low, np.ndarray) else None
        for start in range(0, part.size, BLOCK):
            block = slice(start, start + BLOCK)
            bound = np.maximum(rad[block] if rad.size > 1 else rad, SMALLEST)
            error = (part[block] - mid[block]).astype(np.float64, copy=False)
            ratio = np.abs(error if low is None else error - low[block]) / bound
            peak = int(ratio.argmax())
            # Not finite, or over the bound: argmax finds a NaN, and a bound that is infinite makes 0 of any error.
            if not ratio[peak] <= 1.0:
                return None
            largest, scale = max(largest, float(bound.max())), max(scale, float(np.abs(part[block]).max()))
            if not (largest < np.inf and scale < np.inf):
                return None
            if ratio[peak] > worst[0]:
                at = (piece.start or 0) + start + peak
                exact = mid[start + peak] if low is None else r.wide(mid[start + peak]) + low[start + peak]
                element = (part[start + peak], exact, float(rad[start + peak] if rad.size > 1 else rad[0]))
                worst = float(ratio[peak]), _worst(r, value.shape, at, *element, first_step)
        sigmas = max(sigmas, _sigmas(ball, worst[0]))
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


def _sigmas(ball: Ball, ratio: float) -> float:
    """Return at most how many standard deviations an error of `ratio` times its bound is."""
    if ball.own_var is None or ball.exact or ratio == 0.0:
        return 0.0
    return SIGMAS * ratio / ball.screen if ball.screen else np.inf


def _worst(
    r: Rounding, shape: tuple[int, ...], at: int, value: Array, exact: Array, bound: float, first_step: int
) -> Worst:
    step, row, column = (int(i) for i in np.unravel_index(at, shape))
    error = float(abs(value - exact))
    spacing = float(np.spacing(np.abs(np.asarray(exact, dtype=r.dtype))))
    return Worst(first_step + step + 1, (row, column), float(value), float(exact), error, bound, error / spacing)
