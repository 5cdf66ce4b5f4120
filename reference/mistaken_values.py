"""Known mistakes in what becomes of a row's value: scaled, moved, cut, kept in a narrow format, or something else."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradparity.reference.bounds import Ball, T
from gradparity.reference.formats import TF32, computed_in, narrower
from gradparity.reference.mistake import Case, Then, Variant, given, plus, put, scaled
from gradparity.reference.problem import Array

MANY = 2048
"""More misplaced columns than this are not looked for one by one."""


def equal(case: Case) -> Iterator[Variant]:
    """Yield every other quantity of the same shape, and the row's own value in the step before."""
    reasons = {
        ("delta", "dA"): ": the derivative of the activation is missing",
        ("A", "Z"): ": the activation is missing",
    }
    for name, array in case.elsewhere.items():
        if array.shape == case.right.mid.shape:
            kind = name.rstrip("0123456789")
            same_layer = name == f"{kind}{case.layer}"
            why = reasons.get((case.kind, kind), "") if same_layer else ""
            yield Variant(f"equals {name}{why}", case.row, then=given(Ball(case.wide(array))))
    old = case.before.get(case.row.name)
    if old is not None and old.shape == case.right.mid.shape:
        yield Variant(
            f"equals {case.row.name} of the step before: it is stale", case.row, then=given(Ball(case.wide(old)))
        )


def _fitted(x: Array, y: Array, rad: Array | float) -> float | None:
    """Return the c for which ``x ≈ c y`` in units of `rad`, or None where fewer than two elements say anything."""
    scale = np.broadcast_to(np.asarray(rad, dtype=np.float64), y.shape)
    used = (scale > 0) & np.isfinite(scale) & (y != 0) & np.isfinite(y)
    if used.sum() < 2 or not np.isfinite(x).all():
        return None
    a, b = x[used] / scale[used], y[used] / scale[used]
    c = float(np.sum(a * b) / np.sum(b * b))
    return c if np.isfinite(c) else None


def _round_first(c: float) -> tuple[float, float]:
    """Return c to six significant digits, as people write constants, then as it is."""
    return float(f"{c:.6g}"), c


def fitted_rates(case: Case) -> tuple[float, ...]:
    """Return the learning rates that explain an update best."""
    if case.value is None:
        return ()
    w, dw = (case.inputs[name].mid for name in case.row.inputs)
    c = _fitted(w - case.value, dw, case.right.rad)
    return () if c is None else _round_first(c)


def any_factor(case: Case) -> Iterator[Variant]:
    """Yield the formula times the factor that fits best."""
    if case.value is None or case.kind.endswith("_next"):
        return
    fitted = _fitted(case.wide(case.value), case.right.mid, case.right.rad)
    for c in () if fitted is None else (1 + _round_first(fitted - 1)[0], fitted):
        number = f"1 {'+' if c > 1 else '−'} {abs(c - 1):.6g}" if abs(c - 1) < 1e-2 else f"{c:.6g}"
        yield Variant(f"is {number} times what its formula gives", case.row, then=scaled(c, case.evaluation.r.u))


def decayed(case: Case) -> Iterator[Variant]:
    """Yield the gradient or the update with a multiple of the weights added: weight decay, fitted."""
    name = case.row.name.removesuffix("_next").removeprefix("d")
    if case.value is None or case.kind not in ("dW", "db", "W_next", "b_next"):
        return
    w = case.evaluation.ball(name).mid
    fitted = _fitted(case.wide(case.value) - case.right.mid, w, case.right.rad)
    u, eta = case.evaluation.r.u, case.problem.learning_rate
    unit = -eta if case.kind.endswith("_next") else 1.0
    for decay in () if fitted is None or not unit else _round_first(fitted / unit):
        more = decay * unit * w
        yield Variant(
            f"contains {decay:.6g} {name} as well, as weight decay would",
            case.row,
            then=plus(more, u),
        )


def zeroed(case: Case) -> Iterator[Variant]:
    """Yield the row with those columns, or rows, set to 0 that are 0 in the engine's value."""
    if case.value is None:
        return
    for axis, what in ((-2, "column"), (-1, "row")):
        gone = (case.value == 0).all(axis=axis) & (case.right.mid != 0).any(axis=axis)
        if gone.any() and not gone.all():
            then = put(np.expand_dims(gone, axis), 0.0)
            yield Variant(f"is 0 in {_listed(what, np.flatnonzero(gone))}", case.row, then=then)


def _listed(what: str, indices: Array) -> str:
    shown = ", ".join(str(i) for i in indices[:4]) + (f" and {len(indices) - 4} more" if len(indices) > 4 else "")
    return f"{what} {shown}" if len(indices) == 1 else f"{what}s {shown}"


def flushed(case: Case) -> Iterator[Variant]:
    """Yield the row with everything below the smallest number of a narrower format set to 0."""
    for info in (np.finfo("float32"), np.finfo("float16")):
        for smallest, words in ((float(info.tiny), "normal "), (float(info.smallest_subnormal), "")):
            sentence = f"is 0 where it should be below {smallest:.3g}, the smallest {words}{info.dtype.name}"
            yield Variant(sentence, case.row, then=put(np.abs(case.right.mid) < smallest, 0.0))


def misplaced(case: Case) -> Iterator[Variant]:
    """Yield the row with every wrong column, or row, replaced by that of the formula's which it is nearest to."""
    if case.value is None or not np.isfinite(case.value).all() or not np.isfinite(case.right.mid).all():
        return
    sample = {"dW": "column", "W_next": "column"}.get(case.kind, "sample")
    for turned, what in ((False, sample), (True, "row")):
        value, right = (T(x)[0] if turned else x[0] for x in (case.value, case.right.mid))
        outside = T(case.compared.outside) if turned else case.compared.outside
        wrong = np.flatnonzero(outside[0].any(axis=0))
        if right.shape[1] < 2 or len(wrong) * right.shape[1] > MANY * MANY:
            continue
        v, e = (x.astype(np.float64) for x in (value[:, wrong], right))
        nearest = np.argmin(np.square(e).sum(axis=0)[:, None] - 2 * (e.T @ v), axis=0)
        order = np.arange(right.shape[1])
        order[wrong] = nearest
        if len(wrong) == 1:
            words = f"has in {what} {wrong[0]} what belongs in {what} {nearest[0]}"
        elif len(set(order)) == len(order):
            words = f"has its {what}s in another order: {_listed(what, wrong)}"
        else:
            words = f"has {what}s in the wrong place: {_listed(what, wrong)}"
        yield Variant(words, case.row, then=_ordered(order, -2 if turned else -1))


def _ordered(order: Array, axis: int) -> Then:
    def then(x: Ball) -> Ball:
        rad = np.broadcast_to(np.asarray(x.rad), x.mid.shape)
        return Ball(np.take(x.mid, order, axis), np.take(rad, order, axis), None)

    return then


def shuffled(case: Case) -> Iterator[Variant]:
    """Yield the row's values in the order of the engine's: the same numbers, in the wrong places."""
    if case.value is None or case.value.size < 2 or not np.isfinite(case.value).all():
        return
    places = np.argsort(case.value, axis=None)

    def then(x: Ball) -> Ball:
        mid = np.empty_like(x.mid).ravel()
        mid[places] = np.sort(x.mid, axis=None)
        # Sorting moves no value by more than the largest error: |v₍ₖ₎ − e₍ₖ₎| ≤ max |vᵢ − eᵢ|.
        return Ball(mid.reshape(x.mid.shape), np.full(x.mid.shape, np.max(x.rad)), None)

    yield Variant("has the right numbers in the wrong places", case.row, then=then)


def narrow(case: Case) -> Iterator[Variant]:
    """Yield the row in the arithmetic of a narrower format, where all the engine's numbers are of that format."""
    if case.value is None:
        return
    # The coarsest first: its numbers are numbers of the finer formats too.
    for form in reversed(narrower(case.problem.dtype)):
        if form is not TF32 and form.holds(case.value.astype(np.float64)):
            ball = computed_in(form, case.evaluation, case.row, case.inputs)
            words = f"is computed in {form.name}, not in {case.problem.dtype}"
            yield Variant(words, case.row, then=given(ball), by_form=True)
