"""Hypothesis strategies for scenarios: the drawing of a campaign, with hypothesis for its chance.

Hypothesis then looks for the simplest failing scenario by itself, and every property can be stated over all of them.
"""

from __future__ import annotations

from hypothesis import strategies as st

from gradparity.reports.campaign_draw import Chance, Drawn, Shape, draw_numbers, draw_shape


def _chance(draw: st.DrawFn) -> Chance:
    return Chance(lambda n: draw(st.integers(0, n - 1)))


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """Return layers, sizes, loss, dtype and training."""
    return draw_shape(_chance(draw))


@st.composite
def scenarios(draw: st.DrawFn) -> Drawn:
    """Return scenarios with all kinds of numbers."""
    return draw_numbers(_chance(draw), draw(shapes()), "drawn")
