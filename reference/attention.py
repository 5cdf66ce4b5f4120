"""Scaled dot-product attention and its gradients, row by row, with their bounds.

``S = Q Kᵀ/√d``, ``P = softmax(S)`` over the keys, ``O = P V``; backwards ``dV = Pᵀ g``, ``dP = g Vᵀ``, ``dS`` by the
pullback of softmax, ``dQ = dS K/√d`` and ``dK = dSᵀ Q/√d`` (A. Vaswani et al., *Attention is all you need*, 2017,
section 3.2.1). The rows and their bounds are the table's, each inheriting the errors of those before it.
`docs/mathematics.md` has the derivation.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gradparity.reference.bounds import Ball, Error, Rounding, T
from gradparity.reference.problem import Array
from gradparity.reference.product_bounds import Products
from gradparity.reference.softmax import Softmax

SCALING = 3
"""Roundings of ``1/√d`` and of the product with it, before or after the sum."""
BLOCKWISE = 8
"""Roundings of a softmax that is divided by its sum last, or rescaled from block to block."""
MASKED = -1e30
"""The logit of a key that is not attended to: its probability is 0, and so is its derivative."""


class Attention(NamedTuple):
    """The rows that an engine returns: ``O``, and the gradients of ``Q``, ``K`` and ``V``."""

    O: Ball
    dQ: Ball
    dK: Ball
    dV: Ball


def attention(r: Rounding, Q: Array, K: Array, V: Array, g: Array, causal: bool) -> Attention:
    """Return the rows for ``Q (…, L, d)``, ``K (…, S, d)``, ``V (…, S, e)`` and the cotangent ``g (…, L, e)``.

    All are given in the precision `r.wide`. With `causal`, query i attends to keys up to i.
    """
    softmax, keys = Softmax(), K.shape[-2]
    root = 1 / np.sqrt(r.wide(Q.shape[-1]))

    def product(A: Ball, B: Ball, extra: int, factor: Any = 1.0) -> Ball:
        mid = np.matmul(A.mid, B.mid)
        error = Products(r, A, B, extra, mid).error()
        return Ball(mid * factor, np.asarray(error.rad, dtype=np.float64) * float(factor), None)

    S = product(Ball(Q), Ball(T(K)), SCALING, root)
    if causal:
        seen = np.tril(np.ones(S.mid.shape[-2:], bool))
        S = Ball(np.where(seen, S.mid, MASKED), np.where(seen, S.rad, 0.0), None)
    # Softmax is over rows here.
    z = Ball(T(S.mid), T(S.rad), None)
    p = softmax.value(z.mid, 0.0)
    P = _ball(p, softmax.value_bound(r, z, p, 0.0))
    G = Ball(g)
    # Σ p dP may be computed as Σ g O, whose terms have the size of |g||V| and the errors of O.
    dP = product(G, Ball(T(V)), keys + BLOCKWISE)
    turned = Ball(T(dP.mid), T(dP.rad), None)
    ds = _ball(softmax.pullback(turned.mid, z.mid, P.mid, 0.0), softmax.pullback_bound(r, turned, z, P, 0.0))
    dS = Ball(T(ds.mid), T(ds.rad), None)
    return Attention(
        O=product(Ball(T(P.mid), T(P.rad), None), Ball(V), BLOCKWISE),
        dQ=product(dS, Ball(K), SCALING, root),
        dK=product(ds, Ball(Q), SCALING, root),
        dV=product(P, G, BLOCKWISE),
    )


def _ball(mid: Array, error: Error) -> Ball:
    return Ball(mid, np.broadcast_to(np.asarray(error.rad, dtype=np.float64), mid.shape), None)
