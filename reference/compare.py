"""Compare one array with one or more balls, element by element, and sum up what was found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import log10

import numpy as np

from gradparity.reference.bounds import SIGMAS, Ball, Rounding, magnitude
from gradparity.reference.problem import Array
from gradparity.reference.verdict import Finding, Verdict, Worst

MAX_DETAILS = 10
SMALLEST_VARIANCE = 1e-290
"""Below this, squares underflow; the rigorous bound, which needs none, still holds there."""


@dataclass(frozen=True)
class Comparison:
    """Arrays of one shape ``(steps, rows, columns)``: an engine's value, and what it is compared with."""

    value: Array
    mid: Array
    error: Array
    rad: Array
    var: Array

    @property
    def judged(self) -> Array:
        """Return where something can be said."""
        return ~np.isposinf(self.rad)

    @property
    def outside(self) -> Array:
        """Return where the value is outside its bound. A NaN bound never passes."""
        return self.judged & ~((self.error <= self.rad) | (self.error == 0.0))

    @property
    def ratio(self) -> Array:
        """Return error/bound; 0 for no error, infinite where classes differ or the bound is 0 or NaN."""
        ratio = np.where(self.rad > 0.0, self.error / self.rad, np.inf)
        return np.where(self.judged & (self.error > 0.0), ratio, 0.0)

    @property
    def sigmas(self) -> Array:
        """Return the error in standard deviations; 0 where the variance is too small for float64 to hold."""
        held = (self.error > 0.0) & (self.var > SMALLEST_VARIANCE)
        return np.where(self.judged & held, self.error / np.sqrt(self.var), 0.0)

    @property
    def suspect(self) -> Array:
        """Return where the value is outside the statistical tier (and inside its bound or not)."""
        return (self.sigmas > SIGMAS) | self.outside


def against(value: Array, ball: Ball) -> Comparison:
    """Compare `value` with `ball`. The error is infinite where the classes (finite, +∞, −∞, NaN) differ."""
    error = magnitude(value - ball.mid)
    same = (value == ball.mid) | (np.isnan(value) & np.isnan(ball.mid))
    classes_differ = ~(np.isfinite(value) & np.isfinite(ball.mid)) & ~same
    error = np.where(same, 0.0, np.where(classes_differ, np.inf, error))
    rad, var = np.broadcast_to(ball.rad, error.shape), np.broadcast_to(ball.var, error.shape)
    return Comparison(value, ball.mid, error, rad, var)


def best(value: Array, balls: Iterable[Ball]) -> Comparison:
    """Compare `value` with each ball and keep, element by element, the one that it fits best."""
    kept: Comparison | None = None
    for ball in balls:
        new = against(value, ball)
        if kept is not None:
            better = ~kept.suspect | (new.suspect & (kept.ratio <= new.ratio))
            pairs = ((kept.mid, new.mid), (kept.error, new.error), (kept.rad, new.rad), (kept.var, new.var))
            new = Comparison(value, *(np.where(better, old, other) for old, other in pairs))
        kept = new
        if not kept.suspect.any():
            break
    assert kept is not None
    return kept


def _worst(r: Rounding, c: Comparison, ratio: Array, first_step: int, step: int) -> Worst:
    row, column = np.unravel_index(int(np.argmax(ratio[step])), ratio.shape[1:])
    at = (step, row, column)
    exact, error = float(c.mid[at]), float(c.error[at])
    spacing = float(np.spacing(np.abs(np.asarray(exact, dtype=r.dtype)))) if np.isfinite(exact) else np.nan
    return Worst(
        first_step + step + 1, (int(row), int(column)), float(c.value[at]), exact, error, float(c.rad[at]), error / spacing
    )


def summed_up(r: Rounding, c: Comparison, finding: Finding, first_step: int) -> Finding:
    """Return `finding` with verdict, counts and worst elements filled in from `c`."""
    steps = c.value.shape[0]
    if c.value.size == 0:
        return replace(finding, verdict=Verdict.WITHIN, steps=steps, note="empty")
    ratio, outside, suspect, judged = c.ratio, c.outside, c.suspect, c.judged
    per_step = np.flatnonzero(outside.any(axis=(1, 2)))
    wrong, suspected = int(outside.sum()), int((suspect & ~outside).sum())
    worst_step = int(np.argmax(ratio.max(axis=(1, 2))))
    scale = float(np.max(np.abs(c.mid), where=judged & np.isfinite(c.mid), initial=0.0))
    bound = float(np.max(c.rad, where=judged & (c.rad == c.rad), initial=0.0))  # noqa: PLR0124 (NaN is left out)
    return replace(
        finding,
        verdict=Verdict.WRONG if wrong else Verdict.SUSPECT if suspected else Verdict.WITHIN,
        steps=steps,
        first_wrong_step=first_step + int(per_step[0]) + 1 if wrong else None,
        elements=int(judged.sum()),
        not_judged=int((~judged).sum()),
        wrong=wrong,
        suspect=suspected,
        sigmas=float(c.sigmas.max()),
        digits=log10(scale / bound) if scale > bound > 0.0 else 0.0 if scale else None,
        worst=_worst(r, c, ratio, first_step, worst_step),
        details=tuple(_worst(r, c, ratio, first_step, int(step)) for step in per_step[:MAX_DETAILS]),
    )


_SEVERITY = (Verdict.NOT_GIVEN, Verdict.WITHIN, Verdict.SUSPECT, Verdict.WRONG)


def merged(a: Finding, b: Finding) -> Finding:
    """Return the finding over the steps of both, `a` before `b`."""
    def ratio(f: Finding) -> float:
        return f.worst.ratio if f.worst else -1.0

    return replace(
        a,
        verdict=max(a.verdict, b.verdict, key=_SEVERITY.index),
        steps=a.steps + b.steps,
        first_wrong_step=a.first_wrong_step if a.first_wrong_step is not None else b.first_wrong_step,
        elements=a.elements + b.elements,
        not_judged=a.not_judged + b.not_judged,
        wrong=a.wrong + b.wrong,
        suspect=a.suspect + b.suspect,
        sigmas=max(a.sigmas, b.sigmas),
        digits=min((f.digits for f in (a, b) if f.digits is not None), default=None),
        worst=a.worst if ratio(a) >= ratio(b) else b.worst,
        basis=a.basis if a.basis == b.basis else "end to end",
        note=a.note or b.note,
        details=(a.details + b.details)[:MAX_DETAILS],
    )
