"""Attention: legal programs are within its bounds, broken ones are not, and the gradients are those of the value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from gradparity.adapters.operations.arrays import cotangent
from gradparity.reference.attention import attention
from gradparity.reference.bounds import rounding
from gradparity.reference.operations import judge
from gradparity.reference.problem import Array
from gradparity.reference.verdict import Verdict

SHAPES = ((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 6))
DTYPES = ("float32", "float64")


def t(x: Array) -> Array:
    return np.swapaxes(x, -1, -2)


def given(dtype: str, scale: float = 1.0) -> list[Array]:
    rng = np.random.default_rng(4)
    return [(scale * rng.standard_normal(shape)).astype(dtype) for shape in SHAPES]


def plain(Q: Array, K: Array, V: Array, g: Array, causal: bool, root: float) -> Mapping[str, Array]:
    S = Q @ t(K) * Q.dtype.type(root)
    S = np.where(np.tril(np.ones(S.shape[-2:], bool)), S, -np.inf) if causal else S
    e = np.exp(S - S.max(-1, keepdims=True))
    P = e / e.sum(-1, keepdims=True)
    dP = g @ t(V)
    dS = P * (dP - (P * dP).sum(-1, keepdims=True))
    return {"value": P @ V, "d0": dS @ K * Q.dtype.type(root), "d1": t(dS) @ Q * Q.dtype.type(root), "d2": t(P) @ g}


def fused(Q: Array, K: Array, V: Array, g: Array, causal: bool, root: float) -> Mapping[str, Array]:
    """Scale first, divide last, and take the sum of the pullback from the output."""
    S = (Q * Q.dtype.type(root)) @ t(K)
    S = np.where(np.tril(np.ones(S.shape[-2:], bool)), S, -np.inf) if causal else S
    high = S.max(-1, keepdims=True)
    e = np.exp(S - high)
    total = e.sum(-1, keepdims=True)
    O = (e @ V) / total
    P = np.exp(S - high - np.log(total))
    dS = P * (g @ t(V) - (g * O).sum(-1, keepdims=True))
    return {"value": O, "d0": (dS @ K) * Q.dtype.type(root), "d1": t(dS) @ (Q * Q.dtype.type(root)), "d2": t(P) @ g}


def verdicts(
    program: Callable[..., Mapping[str, Array]],
    dtype: str,
    causal: bool = False,
    root: float = 0.5,
    scale: float = 1.0,
    judged_as: bool | None = None,
    changes: Mapping[str, Array] | None = None,
) -> dict[str, Verdict]:
    Q, K, V = given(dtype, scale)
    g = cotangent(0, (*SHAPES[0][:-1], SHAPES[2][-1])).astype(dtype)
    outputs = {**program(Q, K, V, g, causal, root), **(changes or {})}
    keywords = {"is_causal": causal if judged_as is None else judged_as}
    found = judge("attention", keywords, (Q, K, V), outputs, dtype, cotangent)
    return {name: judged.verdict for name, judged in found.items()}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 6.0])
@pytest.mark.parametrize("program", [plain, fused])
def test_legal_programs_are_within(
    program: Callable[..., Mapping[str, Array]], scale: float, causal: bool, dtype: str
) -> None:
    assert set(verdicts(program, dtype, causal, scale=scale).values()) == {Verdict.WITHIN}


@pytest.mark.parametrize("dtype", DTYPES)
def test_broken_ones_are_not(dtype: str) -> None:
    wrong = {Verdict.WRONG}
    assert set(verdicts(plain, dtype, root=0.5 * (1 + 1e-4)).values()) == wrong
    assert set(verdicts(plain, dtype, causal=False, judged_as=True).values()) == wrong
    assert set(verdicts(plain, dtype, causal=True, judged_as=False).values()) == wrong
    Q, K, V = given(dtype)
    right = plain(Q, K, V, cotangent(0, (2, 3, 5, 6)).astype(dtype), False, 0.5)
    for name, value in right.items():
        off = value.copy()
        off.flat[3] *= 1 + 3e-4
        found = verdicts(plain, dtype, changes={name: off})
        assert [key for key, verdict in found.items() if verdict is Verdict.WRONG] == [name]


def test_float64_by_way_of_float32_is_not_within() -> None:
    def narrow(Q: Array, K: Array, V: Array, g: Array, causal: bool, root: float) -> Mapping[str, Array]:
        Q, K, V, g = (a.astype(np.float32) for a in (Q, K, V, g))
        found = plain(Q, K, V, g, causal, root)
        return {name: value.astype(np.float64) for name, value in found.items()}

    assert set(verdicts(narrow, "float64").values()) == {Verdict.WRONG}


def test_the_gradients_are_those_of_the_value() -> None:
    """By central differences: the error of D(h), which is of order h², is a third of D(2h) − D(h)."""
    r, h = rounding("float64"), 2.0**-12
    Q, K, V = (a.astype(r.wide) for a in given("float64"))
    g = cotangent(0, (2, 3, 5, 6)).astype(r.wide)
    rows, rng = attention(r, Q, K, V, g, causal=True), np.random.default_rng(9)

    def along(place: int, step: Array) -> Any:
        Q_, K_, V_ = (a + step if i == place else a for i, a in enumerate((Q, K, V)))
        return (g * attention(r, Q_, K_, V_, g, causal=True).O.mid).sum()

    for place, gradient in enumerate((rows.dQ, rows.dK)):
        x = rng.standard_normal(SHAPES[place]).astype(r.wide)
        fine, rough = ((along(place, s * x) - along(place, -s * x)) / (2 * s) for s in (h, 2 * h))
        assert abs(fine - (gradient.mid * x).sum()) < abs(rough - fine) / 2
    # The value is linear in V.
    allowed = (rows.dV.rad * abs(V)).sum() + (abs(g) * rows.O.rad).sum()
    assert abs((rows.dV.mid * V).sum() - (g * rows.O.mid).sum()) <= allowed
