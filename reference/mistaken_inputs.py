"""Known mistakes in what a row is computed from: the right formula, evaluated from the wrong inputs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradparity.reference.bounds import Ball, T
from gradparity.reference.formats import narrower
from gradparity.reference.mistake import Case, Variant, plus, scaled
from gradparity.reference.problem import Array
from gradparity.reference.row_bounds import transposed as turned


def _factors(case: Case) -> tuple[str, str] | None:
    """Return the names of the two factors of a row that is a product."""
    return (case.row.inputs[0], case.row.inputs[1]) if case.row.products and len(case.row.inputs) > 1 else None


def transposed(case: Case) -> Iterator[Variant]:
    """Yield a product with a square factor transposed, and a square result transposed."""
    for name in _factors(case) or ():
        ball = case.inputs[name]
        if ball.mid.shape[-1] == ball.mid.shape[-2] > 1:
            yield Variant(f"uses {name} transposed, against its formula", case.row, {name: turned(ball)})
    if case.right.mid.shape[-1] == case.right.mid.shape[-2] > 1:
        yield Variant("is transposed", case.row, then=turned)


def left_out(case: Case) -> Iterator[Variant]:
    """Yield ``Z`` without its bias, with it twice, or with it subtracted."""
    if case.kind == "Z":
        name = case.row.inputs[2]
        b = case.inputs[name]
        for c, words in ((0.0, "leaves out"), (-1.0, "subtracts"), (2.0, "adds twice")):
            yield Variant(f"{words} {name}", case.row, {name: b._replace(mid=c * b.mid)})


def shifted(case: Case) -> Iterator[Variant]:
    """Yield the row with the columns of one input shifted by one, or in reverse."""
    for name, ball in case.inputs.items():
        if not ball.exact or ball.mid.shape[-1] < 2:
            continue
        for by in (1, -1):
            yield Variant(
                f"uses {name} with its columns shifted by one", case.row, {name: Ball(np.roll(ball.mid, by, axis=-1))}
            )
        yield Variant(f"uses {name} with its columns in reverse", case.row, {name: Ball(ball.mid[..., ::-1])})


def stale(case: Case) -> Iterator[Variant]:
    """Yield the row from an input of the step before, or from weights that were updated already."""
    for name in case.row.inputs:
        if name in case.before and case.before[name].shape == case.inputs[name].mid.shape:
            before = Ball(case.wide(case.before[name]))
            yield Variant(f"uses {name} of the step before: it is stale", case.row, {name: before})
        if (following := f"{name}_next") in case.others and not case.kind.endswith("_next"):
            yield Variant(
                f"uses {following}: {name} was updated before it was used here", case.row,
                {name: Ball(case.wide(case.others[following]))},
            )  # fmt: skip


def accumulated(case: Case) -> Iterator[Variant]:
    """Yield the row with its value in the step before added."""
    if case.row.name in case.before and case.before[case.row.name].shape == case.right.mid.shape:
        old, u = case.wide(case.before[case.row.name]), case.evaluation.r.u
        yield Variant(
            f"contains {case.row.name} of the step before as well: it was not set to 0 in between",
            case.row,
            then=plus(old, u),
        )


def _inner(case: Case) -> tuple[str, str, Array, Array] | None:
    """Return the input to cut, what its index runs over, and the factors ``P (p, n)``, ``Q (n, q)`` of the row."""
    if not case.row.products:
        return None
    mids = [case.inputs[name].mid.astype(np.float64) for name in case.row.inputs]
    first = case.row.inputs[0]
    if case.kind == "db":
        return first, "sample", mids[0], np.ones((*mids[0].shape[:-2], mids[0].shape[-1], 1))
    if case.kind == "dW":
        return first, "sample", mids[0], T(mids[1])
    if case.kind == "Z":
        return first, f"column of {first}: input unit", mids[0], mids[1]
    return case.row.inputs[1], f"unit of layer {case.layer + 1}:", T(mids[0]), mids[1]


def dropped(case: Case) -> Iterator[Variant]:
    """Yield the product without the one inner term, or with it twice, that explains most of the difference."""
    inner = _inner(case)
    if inner is None or case.value is None or inner[2].shape[-1] < 2:
        return
    name, what, P, Q = inner
    R = (case.value - case.right.mid).astype(np.float64)
    if not np.isfinite(R).all():
        return
    # ‖R − cPₖQₖ‖² = ‖R‖² − 2c PₖᵀRQₖᵀ + c²‖Pₖ‖²‖Qₖ‖², for every k at once.
    fit = np.sum(P * np.matmul(R, T(Q)), axis=-2)[0]
    size = (np.sum(P * P, axis=-2) * np.sum(Q * Q, axis=-1))[0]
    ball = case.inputs[name]
    axis = -2 if case.kind == "dA" else -1
    for c, words in ((-1.0, "leaves out"), (1.0, "counts twice")):
        k = int(np.argmin(size - 2 * c * fit))
        weight = np.ones(ball.mid.shape[axis])
        weight[k] = 1 + c
        column = weight if axis == -1 else weight[:, None]
        changed = Ball(ball.mid * column, ball.rad if isinstance(ball.rad, float) else ball.rad * column, None)
        yield Variant(f"{words} {what} {k}", case.row, {name: changed})


def edge_sample(case: Case) -> Iterator[Variant]:
    """Yield the loss without its first or last sample, divided by m or by m − 1."""
    m = case.samples
    if case.kind != "loss" or m < 2:
        return
    for part, words in ((slice(None, -1), "last"), (slice(1, None), "first")):
        inputs = {name: _columns(ball, part) for name, ball in case.inputs.items()}
        yield Variant(f"leaves out the {words} sample", case.row, inputs, scaled((m - 1) / m, case.evaluation.r.u))
        yield Variant(f"leaves out the {words} sample, and divides by m − 1 = {m - 1}", case.row, inputs)


def _columns(ball: Ball, part: slice) -> Ball:
    rad = ball.rad[..., part] if isinstance(ball.rad, np.ndarray) else ball.rad
    return Ball(ball.mid[..., part], rad, None)


def narrow(case: Case) -> Iterator[Variant]:
    """Yield the product of operands that were rounded to a narrower format first, as tensor cores do."""
    if not case.row.products:
        return
    factors = _factors(case) or case.row.inputs
    found: dict[bytes, tuple[list[str], dict[str, Ball]]] = {}
    for form in narrower(case.problem.dtype):
        for cut, how in ((form.nearest, ""), (form.truncated, " by cutting bits off")):
            inputs = {n: case.inputs[n]._replace(mid=cut(case.inputs[n].mid.astype(np.float64))) for n in factors}
            key = b"".join(ball.mid.tobytes() for ball in inputs.values())
            found.setdefault(key, ([], inputs))[0].append(form.name + how)
    for names, inputs in found.values():
        yield Variant(f"rounds the operands of its product to {' or to '.join(names)}", case.row, inputs)


def replaced(case: Case) -> Iterator[Variant]:
    """Yield the row from another quantity of the same shape in the place of an input."""
    for name, ball in case.inputs.items():
        for other, array in case.elsewhere.items():
            if other != name and array.shape == ball.mid.shape:
                yield Variant(f"is computed from {other} in place of {name}", case.row, {name: Ball(case.wide(array))})
