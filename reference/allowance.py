"""How far two correct implementations of one function may be apart, where the reference has no formula for it.

Derived in docs/mathematics.md, section 10. Sources: N. J. Higham, *Accuracy and Stability of Numerical Algorithms*,
2nd ed., SIAM 2002, section 1.5 (mixed forward-backward stability); C. S. Kenney and A. J. Laub, *Small-sample
statistical condition estimates for general matrix functions*, SIAM J. Sci. Comput. 15(1), 1994; N. J. Higham and
T. Mary, SIAM J. Sci. Comput. 41(5), 2019 (rounding errors as random variables).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod, sqrt
from typing import TypeAlias

import numpy as np

from gradparity.reference.problem import Array

Named: TypeAlias = Mapping[str, Array]
Pair: TypeAlias = tuple[Named, Named]
"""What came of a step, and of the opposite one."""

ETA = {"float64": 2.0**-20, "float32": 2.0**-12}
"""The relative size η of a perturbation, in the dtype in which sensitivities are measured: far above its rounding, and
small enough for f to be linear. What rounding adds to s is ``u/η`` of M: 2⁻³³, or 2⁻¹²."""

K = 12
"""ULP of a library's transcendental function, as in `gradparity.reference.bounds.ULP_ALLOWANCE`."""

SIGMAS = 8.0

TYPICAL = 8.0
"""How many times less accurate the other implementation may be than this one was measured to be."""

UNSEEN = 32.0
"""The least that a is taken for in float64, whose own errors nothing finer measures: float32 does not show those of
float64 where it saturates or underflows and float64 does not."""

WORST = 64.0
"""Beyond so many units of rounding, and beyond n, a deviation of float32 from float64 is no rounding, and allows
nothing more."""


def directions(x: Array, number: int) -> Array:
    """Return ξ, uniform in ±√3 (variance 1), as a function of |x|: equal numbers stay equal when they are perturbed.

    Signs would do for long sums; but of two terms of one size they make nothing half of the time, and four such
    vectors one time in sixteen.
    """
    bits = np.abs(x.astype(np.float64)).view(np.uint64)
    with np.errstate(over="ignore"):
        # The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
        bits = bits + np.uint64((0x9E3779B97F4A7C15 * (number + 1)) % 2**64)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: Array = (2.0 * (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53 - 1.0) * sqrt(3.0)
    return found


def perturbations(count: int, eta: float) -> Iterable[tuple[Callable[[Array], Array], Callable[[Array], Array]]]:
    """Yield `count` pairs of perturbations, by ``x(1 + ηξ)`` and by ``x(1 − ηξ)``, that keep the dtype."""
    for number in range(count):
        yield (
            lambda x, n=number: (x * (1.0 + eta * directions(x, n))).astype(x.dtype),  # type: ignore[misc]
            lambda x, n=number: (x * (1.0 - eta * directions(x, n))).astype(x.dtype),  # type: ignore[misc]
        )


def sensitivities(fine: Named, perturbed: Sequence[Pair], eta: float) -> dict[str, Array]:
    """Return ``s``: for each output, the root of the mean square of its relative-to-η changes.

    Of the two directions the smaller change counts, so that a kink that a number lies on exactly does not.
    """
    found = {}
    for name, given in fine.items():
        value, squares = given.astype(np.float64), np.zeros(given.shape)
        for pair in perturbed:
            both = [np.abs(side[name].astype(np.float64) - value) / eta for side in pair]
            squares += np.square(np.fmin(*both))
        found[name] = np.sqrt(squares / max(len(perturbed), 1))
    return found


def local_sizes(x: Array, value: Array, weight: Array | float = 1.0) -> Array:
    """Return M of an elementwise function: the largest ``|value/weight|`` at inputs of the same sign up to |x|, times
    `weight`. Intermediates such as ``1 − tanh²`` are of that size, and not of the result's.
    """
    flat_x, w = x.reshape(-1).astype(np.float64), np.abs(np.broadcast_to(weight, value.shape)).reshape(-1)
    f = np.nan_to_num(np.abs(value).reshape(-1) / w, nan=0.0, posinf=0.0)
    found = np.zeros(f.shape)
    zero = float(np.max(f, where=flat_x == 0, initial=0.0))
    for side in (flat_x >= 0, flat_x < 0):
        places = np.flatnonzero(side)
        order = places[np.argsort(np.abs(flat_x[places]), kind="stable")]
        found[order] = np.maximum(np.maximum.accumulate(f[order]), zero) if order.size else 0.0
    return (found * w).reshape(value.shape)


def overall_size(value: Array) -> float:
    """Return M of any other function: the largest finite ``|value|``."""
    return float(np.max(np.abs(value), where=np.isfinite(value), initial=0.0))


def cancelled_sizes(x: Array, gradient: Array, outputs: float, weight: float) -> Array:
    """Return ``w y/|x|``, the natural size of a gradient, where it is 0 but for rounding; elsewhere 0.

    Normalised over a single element, a function is constant, and its gradient is a difference of equal numbers of that
    size; nothing about the function itself tells how large they are. `outputs` and `weight` are the largest of each.
    """
    size = np.abs(x.astype(np.float64))
    natural = np.divide(outputs * weight, size, out=np.zeros_like(size), where=size > 0.0)
    found: Array = np.where(np.abs(gradient) <= WORST * 2.0**-53 * natural, natural, 0.0)
    return found


def rounded_up(allowed: Array) -> Array:
    """Return `allowed` in float32, never less: not 0 where it is too small for float32."""
    with np.errstate(all="ignore"):
        near = allowed.astype(np.float32)
    return np.where(near < allowed, np.nextafter(near, np.float32(np.inf)), near)


NARROW = 2.0**-28
"""Between float32's unit roundoff and η²: what bends at an ordinary number adds less, float32 inside adds more."""
CLOSER = 8.0
"""How many times smaller the second step is. It is still a whole unit in the last place of float32."""


def unevenness(name: str, fine: Named, perturbed: Sequence[Pair], scale: Array) -> float:
    """Return how little two opposite steps cancel: ``|f(x(1+ηξ)) + f(x(1−ηξ)) − 2f(x)|`` as a share of `scale`.

    It is the largest of all directions, at the upper quartile of the elements: where f is saturated nothing is seen.
    """
    with np.errstate(all="ignore"):
        uneven = [np.abs(up[name] + down[name] - 2 * fine[name]) / scale for up, down in perturbed]
    seen = np.max(uneven, axis=0) if uneven else np.zeros(0)
    seen = seen[np.isfinite(seen)]
    return float(np.quantile(seen, 0.75)) if seen.size else 0.0


def is_narrow(wide: float, close: float) -> bool:
    """Return whether a float64 function is computed in a narrower format, from its `unevenness` for steps of η and of
    η/`CLOSER`.

    What bends gets 64 times more even, a kink 8 times; the roundings of a narrower format stay what they are.
    """
    return wide > NARROW and close > wide / 4


def summed(value: Array, shapes: Iterable[tuple[int, ...]], elementwise: bool) -> int:
    """Return n: how many elements a result may be summed over."""
    if elementwise:
        return 1
    shapes = [*shapes, value.shape]
    largest = max(prod(shape) for shape in shapes)
    return max(largest // max(value.size, 1), *(max(shape, default=1) for shape in shapes), 1)


def allowance(dtype: str, scale: Array, n: int, typical: float) -> Array:
    """Return ``u (4K + 2·8√n + 8a) scale + ω``, where ``scale = s + M`` and a is the measured `typical` error."""
    info = np.finfo(dtype)
    measured = max(typical, UNSEEN) if dtype == "float64" else typical
    units = 4 * K + 2 * SIGMAS * sqrt(n) + TYPICAL * min(measured, max(WORST, n))
    found: Array = float(info.eps) / 2 * units * scale + 4 * float(info.tiny)
    # A perturbed result that is not finite says that this one could as well be not: nothing can be said.
    return np.where(np.isnan(found), np.inf, found)


def typical_error(coarse: Array, fine: Array, scale: Array) -> float:
    """Return a: the largest ``|f32 − f64| / (u (s + M))``, the error of float32 in the units of the allowance."""
    with np.errstate(all="ignore"):
        units = np.abs(coarse.astype(np.float64) - fine) / (2.0**-24 * scale + 4 * float(np.finfo("float32").tiny))
    return float(np.max(units, where=np.isfinite(units), initial=0.0))
