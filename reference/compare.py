"""Compare one array with one or more balls, element by element, and sum up what was found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import log10

import numpy as np

from gradparity.reference.bounds import SIGMAS, Ball, Rounding
from gradparity.reference.evaluation import Evaluation
from gradparity.reference.problem import Array
from gradparity.reference.sweep import deviations, difference, swept
from gradparity.reference.verdict import Finding, Verdict, Worst

MAX_DETAILS = 10


@dataclass(frozen=True)
class Comparison:
    """Arrays of one shape ``(steps, rows, columns)``: an engine's value, and what it is compared with."""

    value: Array
    mid: Array
    error: Array
    rad: Array
    ratio: Array
    """error/bound; 0 for no error or where nothing can be said, infinite where classes differ or the bound is 0 or
    NaN.
    """
    sigmas: Array | float
    """The error in standard deviations; 0 where the statistical tier says nothing more than the bound."""

    @property
    def judged(self) -> Array:
        """Return where something can be said."""
        return ~np.isposinf(self.rad)

    @property
    def outside(self) -> Array:
        """Return where the value is outside its bound."""
        return self.ratio > 1.0

    @property
    def suspect(self) -> Array:
        """Return where the value is outside the statistical tier (and inside its bound or not)."""
        return self.outside | (self.sigmas > SIGMAS)

    @property
    def clean(self) -> bool:
        """Return whether nothing is suspect."""
        return bool(self.ratio.max(initial=0.0) <= 1.0 and np.max(self.sigmas, initial=0.0) <= SIGMAS)


def against(value: Array, ball: Ball) -> Comparison:
    """Compare `value` with `ball`. The error is infinite where the classes (finite, +∞, −∞, NaN) differ."""
    error = np.abs(difference(value, ball.mid))
    if not np.isfinite(error.sum()):
        same = (value == ball.mid) | (np.isnan(value) & np.isnan(ball.mid))
        error = np.where(same, 0.0, np.where(np.isfinite(value) & np.isfinite(ball.mid), error, np.inf))
    rad = np.broadcast_to(ball.rad, error.shape)
    if ball.open is not False:
        rad = np.where(ball.open & ~np.isfinite(value), np.inf, rad)
        ball = ball._replace(rad=rad)
    return Comparison(value, ball.mid, error, rad, _ratio(error, rad), deviations(error, ball))


def _ratio(error: Array, rad: Array) -> Array:
    """Return error/bound. A NaN bound never passes; an infinite one is not judged."""
    ratio = error / rad
    if not np.isfinite(ratio.sum()):
        ratio = np.where(error == 0.0, 0.0, np.where(np.isnan(ratio), np.inf, ratio))
        ratio = np.where(np.isposinf(rad), 0.0, ratio)
    return ratio


_COMPARED = ("mid", "error", "rad", "ratio", "sigmas")


def best(value: Array, balls: Iterable[Ball]) -> Comparison:
    """Compare `value` with each ball and keep, element by element, the one that it fits best."""
    kept: Comparison | None = None
    for ball in balls:
        new = against(value, ball)
        if kept is not None:
            better = ~kept.suspect | (new.suspect & (kept.ratio <= new.ratio))
            new = Comparison(value, *(np.where(better, getattr(kept, f), getattr(new, f)) for f in _COMPARED))
        kept = new
        if kept.clean:
            break
    assert kept is not None
    return kept


def judged(
    r: Rounding, value: Array, by: Evaluation, finding: Finding, first_step: int, bounds: Array | None = None
) -> Finding:
    """Return `finding` with what comes of comparing `value` with every formula that it may come from.

    The bound of each element is written to `bounds`, a flat array, if that is given.
    """
    name = finding.quantity
    pieces = by.pieces(name) if bounds is None else _noted(by.pieces(name), bounds)
    clean = swept(r, value, pieces, finding, first_step)
    if clean:
        return clean
    compared = best(value, by.candidates(name))
    if bounds is not None:
        bounds[:] = compared.rad.reshape(-1)
    return summed_up(r, compared, finding, first_step)


def _noted(pieces: Iterable[tuple[slice, Ball]], bounds: Array) -> Iterator[tuple[slice, Ball]]:
    for piece, ball in pieces:
        bounds[piece] = np.asarray(ball.rad).reshape(-1)
        yield piece, ball


def _worst(r: Rounding, c: Comparison, first_step: int, step: int) -> Worst:
    row, column = np.unravel_index(int(np.argmax(c.ratio[step])), c.ratio.shape[1:])
    at = (step, row, column)
    exact, error = float(c.mid[at]), float(c.error[at])
    spacing = float(np.spacing(np.abs(np.asarray(exact, dtype=r.dtype)))) if np.isfinite(exact) else np.nan
    return Worst(
        first_step + step + 1,
        (int(row), int(column)),
        float(c.value[at]),
        exact,
        error,
        float(c.rad[at]),
        error / spacing,
    )


def summed_up(r: Rounding, c: Comparison, finding: Finding, first_step: int) -> Finding:
    """Return `finding` with verdict, counts and worst elements filled in from `c`."""
    steps = c.value.shape[0]
    if c.value.size == 0:
        return replace(finding, verdict=Verdict.WITHIN, steps=steps, note="empty")
    judged, outside = c.judged, c.outside
    per_step = np.flatnonzero(outside.any(axis=(1, 2)))
    wrong = int(outside.sum())
    suspected = 0 if c.clean else int(c.suspect.sum()) - wrong
    worst_step = int(np.argmax(c.ratio)) // (c.ratio.size // steps)
    return replace(
        finding,
        verdict=Verdict.WRONG if wrong else Verdict.SUSPECT if suspected else Verdict.WITHIN,
        steps=steps,
        first_wrong_step=first_step + int(per_step[0]) + 1 if wrong else None,
        elements=int(judged.sum()),
        not_judged=int((~judged).sum()),
        wrong=wrong,
        suspect=suspected,
        sigmas=float(np.max(c.sigmas)),
        digits=_digits(c, judged),
        worst=_worst(r, c, first_step, worst_step),
        details=tuple(_worst(r, c, first_step, int(step)) for step in per_step[:MAX_DETAILS]),
    )


def _digits(c: Comparison, judged: Array) -> float | None:
    """Return how many decimal digits of the largest element the largest bound certifies."""
    sizes = np.abs(c.mid)
    if not np.isfinite(scale := float(sizes.max())):
        scale = float(np.max(sizes, where=judged & np.isfinite(sizes), initial=0.0))
    bound = float(np.max(c.rad, where=judged & ~np.isnan(c.rad), initial=0.0))
    return log10(scale / bound) if scale > bound > 0.0 else 0.0 if scale else None


_SEVERITY = (Verdict.NOT_GIVEN, Verdict.WITHIN, Verdict.SUSPECT, Verdict.WRONG)


AMISS = (Verdict.SUSPECT, Verdict.WRONG)


def _both(a: Finding, b: Finding) -> str:
    """Return the conventions that each explain every step of both in which something is amiss."""
    names = [set(f.convention.split()) for f in (a, b) if f.verdict in AMISS]
    return " ".join(sorted(set.intersection(*names))) if names else ""


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
        convention=_both(a, b),
        cause=a.cause or b.cause,
        details=(a.details + b.details)[:MAX_DETAILS],
    )
