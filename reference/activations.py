"""The activations: value, derivative and bound of each, side by side.

To add one: an `Elementwise` entry in `ACTIVATIONS`, and one line in each adapter. ``z`` is the pre-activation, ``a``
the activation, ``g`` the cotangent ``dA``; shapes ``(…, n_l, m)``; `slope` is the leaky ReLU's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from gradparity.reference.bounds import (
    SIGMAS,
    Ball,
    Error,
    Rounding,
    add,
    is_zero,
    magnitude,
    mul,
    overflowing,
    rounded,
)
from gradparity.reference.problem import Array
from gradparity.reference.softmax import Softmax


class Slack(NamedTuple):
    """How far an evaluated derivative ``f′`` may be off: by inheritance (radius, variance), and by rounding."""

    rad: Array | float
    var: Array | float
    own: Array | float


class Activation(Protocol):
    """What the table needs of an activation."""

    @property
    def symbol(self) -> str:
        """Return how the activation is written in a formula."""
        ...

    @property
    def derivative_formula(self) -> str:
        """Return how its derivative is written, in A and Z."""
        ...

    @property
    def unrounded(self) -> bool:
        """Return whether value and pullback are exact in the precision of their inputs."""
        ...

    def value(self, z: Array, slope: float) -> Array:
        """Return ``A = f(Z)``."""
        ...

    def pullback(self, g: Array, z: Array, a: Array, slope: float) -> Array:
        """Return ``δ = dA ⊙ f′(Z)``."""
        ...

    def value_bound(self, r: Rounding, z: Ball, a: Array, slope: float) -> Error:
        """Bound `value`."""
        ...

    def pullback_bound(self, r: Rounding, g: Ball, z: Ball, a: Ball, slope: float) -> Error:
        """Bound `pullback`."""
        ...


@dataclass(frozen=True)
class Elementwise:
    """An activation of one variable. `lipschitz` bounds |f′| on ``|z| ± rad``.

    `rounding` bounds |fl(f) − f|, from the lowest z and the largest |f| within reach.
    """

    symbol: str
    derivative_formula: str
    function: Callable[[Array, float], Array]
    derivative: Callable[[Array, Array, float], Array]
    rounding: Callable[[Rounding, Array, Array, float], Array | float]
    lipschitz: Callable[[Array, Array | float, float], Array]
    slack: Callable[[Rounding, Ball, Ball, float], Slack]
    unrounded: bool = False

    def value(self, z: Array, slope: float) -> Array:
        """Return ``f(z)``."""
        return self.function(z, slope)

    def pullback(self, g: Array, z: Array, a: Array, slope: float) -> Array:
        """Return ``g ⊙ f′``; f′ is a function of ``a`` where the activation has one."""
        return g * self.derivative(z, a, slope)

    def selected(self, g: Array, z: Array, a: Array, slope: float) -> Array:
        """Return ``g ⊙ f′``, 0 where f′ is, also for an infinite g: engines select there where others multiply."""
        F = self.derivative(z, a, slope)
        return np.where(F == 0, 0, g * F)

    def value_bound(self, r: Rounding, z: Ball, a: Array, slope: float) -> Error:
        """Bound ``f(z)``: its own rounding, and the error of z times the largest |f′| near it."""
        if z.exact:
            high = magnitude(a)
            return Error(_unless_scaled_up(r, slope, high, self.rounding(r, z.mid, high, slope)), None)
        steepest = self.lipschitz(z.mid, z.rad, slope)
        inherited = mul(steepest, z.rad)
        high = magnitude(a) + inherited
        local = _unless_scaled_up(r, slope, high, self.rounding(r, z.mid - z.rad, high, slope))
        return rounded(r, local, inherited, mul(np.square(steepest), z.var))

    def pullback_bound(self, r: Rounding, g: Ball, z: Ball, a: Ball, slope: float) -> Error:
        """Bound ``g f′``: ``e_g|f′| + (|g|+e_g)·slack``, the product's rounding, and what flushing g or f′ loses."""
        # What is given and multiplied by 0 or 1 needs no wider type; a radius that is left has one.
        size = np.abs if self.unrounded and g.exact and z.exact else magnitude
        F, G = size(self.derivative(z.mid, a.mid, slope)), size(g.mid)
        slack, high = self.slack(r, z, a, slope), add(G, g.rad)
        inherited = add(mul(g.rad, F), mul(high, slack.rad))
        floor = 0.0 if is_zero(slack.own) else r.omega
        local = add(mul(high, add(slack.own, r.flushed(F))), mul(r.flushed(G), F), floor)
        local = local if is_zero(local) else np.asarray(local, dtype=np.float64)
        local = _unless_scaled_up(r, slope, high, local)
        return rounded(r, local, inherited, add(mul(np.square(F), g.var), mul(np.square(G), slack.var)))


def _unless_scaled_up(r: Rounding, slope: float, size: Array | float, local: Array | float) -> Array | float:
    """Return `local`, infinite where a slope above 1 may make a number of this size overflow."""
    return overflowing(r, np.asarray(abs(slope) * size), np.asarray(local)) if abs(slope) > 1.0 else local


def _sigmoid(z: Array, _: float) -> Array:
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)


def _relu_slack(r: Rounding, z: Ball, a: Ball, slope: float) -> Slack:
    """Return the jump of f′ where the sign of z is open: within its radius of 0, or subnormal (flushed by some)."""
    # No multiple of u, so that nothing else makes up for the rounding of the radii that come from it.
    distance, jump = magnitude(z.mid), abs(1.0 - slope) * (1.0 + 2.0**-30)
    subnormal = r.subnormal(distance)
    open_sign = np.asarray(False) if subnormal is None else subnormal
    if not z.exact:
        open_sign = open_sign | ((distance <= z.rad) & (z.rad > 0.0))
    own: Array | float = np.where((z.mid > 0) & ~open_sign, 0.0, r.gamma(3) * abs(slope)) if slope else 0.0
    if z.exact:
        return Slack(jump * open_sign if open_sign.any() else 0.0, 0.0, own)
    likely_open = (distance < SIGMAS * np.sqrt(z.var)) & (z.var > 0.0)
    return Slack(jump * open_sign, jump * jump * likely_open, own)


def _sigmoid_slack(r: Rounding, z: Ball, a: Ball, slope: float) -> Slack:
    """Return the error of ``a(1−a)``: ``|1−2a| r_a + r_a²``, and γ₄ of it for the rounding."""
    t, F = magnitude(1 - 2 * a.mid), magnitude(a.mid * (1 - a.mid))
    rad = add(mul(t, a.rad), mul(a.rad, a.rad))
    return Slack(rad, mul(np.square(t), a.var), r.gamma(4) * add(F, rad))


def _tanh_slack(r: Rounding, z: Ball, a: Ball, slope: float) -> Slack:
    """Return the error of ``1−a²``: ``2|a| r_a + r_a²``; and γ₄ of it and 3u|a|, as a² is rounded before 1 − a²."""
    t, F = magnitude(a.mid), magnitude(1 - a.mid * a.mid)
    rad = add(mul(2 * t, a.rad), mul(a.rad, a.rad))
    return Slack(rad, mul(4 * np.square(t), a.var), r.gamma(4) * add(F, rad) + 3 * r.u * add(t, a.rad))


def _nearest_to_zero(z: Array, rad: Array | float) -> Array:
    return np.maximum(magnitude(z) - rad, 0.0)


def _sigmoid_steepest(z: Array, rad: Array | float, _: float) -> Array:
    e = np.exp(-_nearest_to_zero(z, rad))
    return e / np.square(1 + e)


def _tanh_steepest(z: Array, rad: Array | float, _: float) -> Array:
    e = np.exp(-2 * _nearest_to_zero(z, rad))
    return 4 * e / np.square(1 + e)


ACTIVATIONS: dict[str, Activation] = {
    "linear": Elementwise(
        "id", "1",
        function=lambda z, _: z,
        derivative=lambda z, a, _: np.ones_like(z),
        rounding=lambda r, z, a, _: r.flushed(a),
        lipschitz=lambda z, rad, _: np.ones_like(magnitude(z)),
        slack=lambda r, z, a, _: Slack(0.0, 0.0, 0.0),
        unrounded=True,
    ),
    "relu": Elementwise(
        "ReLU", "[Z > 0]",
        function=lambda z, _: np.maximum(z, 0),
        derivative=lambda z, a, _: (z > 0).astype(z.dtype),
        rounding=lambda r, z, a, _: r.flushed(a),
        lipschitz=lambda z, rad, _: (z + rad > 0).astype(np.float64),
        slack=lambda r, z, a, _: _relu_slack(r, z, a, 0.0),
        unrounded=True,
    ),
    "leaky_relu": Elementwise(
        "leakyReLU", "(1 if Z > 0 else α)",
        function=lambda z, slope: np.where(z > 0, z, z.dtype.type(slope) * z),
        derivative=lambda z, a, slope: np.where(z > 0, z.dtype.type(1), z.dtype.type(slope)),
        rounding=lambda r, z, a, slope: np.where(z < 0, r.gamma(3) * a + r.omega, r.flushed(a)),
        lipschitz=lambda z, rad, slope: np.where(z + rad > 0, max(1.0, abs(slope)), abs(slope)),
        slack=_relu_slack,
    ),
    "sigmoid": Elementwise(
        "σ", "A(1−A)",
        function=_sigmoid,
        derivative=lambda z, a, _: a * (1 - a),
        rounding=lambda r, z, a, _: r.tau("sigmoid") * a + r.omega,
        lipschitz=_sigmoid_steepest,
        slack=_sigmoid_slack,
    ),
    "tanh": Elementwise(
        "tanh", "(1−A²)",
        function=lambda z, _: np.tanh(z),
        derivative=lambda z, a, _: 1 - a * a,
        rounding=lambda r, z, a, _: r.tau("tanh") * a + r.omega,
        lipschitz=_tanh_steepest,
        slack=_tanh_slack,
    ),
    "softmax": Softmax(),
}  # fmt: skip
