"""The report as one HTML file: no network, no library in it, readable with scripts off.

Names, messages and logs are data: jinja2 escapes whatever the templates insert, control characters are taken out
before that, and the page's own policy allows no script but the one that it was written with.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from functools import cache
from typing import Any

from markupsafe import Markup, escape

from gradparity.adapters.outcome import printable
from gradparity.reports import agreement, curves, heat, html_marks, html_view, plots, spread, story
from gradparity.reports.results import Results


def render(results: Results) -> str:
    """Return the page."""
    return page(
        "report.html.j2",
        results=results,
        view=html_view.View(results),
        marks=html_marks,
        story=story,
        heat=heat,
        plots=plots,
        spreads=list(spread.spreads(results)),
        agreements=agreement.agreements(results),
        trainings=list(curves.trainings(results)),
    )


def page(template: str, **shown: Any) -> str:
    """Return the page that `template` makes of what is `shown`, with style and script in it."""
    script = _source("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    about = {"script": Markup(script), "style": Markup(_source("report.css")), "script_sha256": digest}
    return str(_environment().get_template(template).render(**about, **shown))


def _source(name: str) -> str:
    loader = _environment().loader
    assert loader is not None
    return str(loader.get_source(_environment(), name)[0])


def number(x: float | None, style: str = ".3g") -> Markup:
    """Return a number as the page shows it; nothing where there is none."""
    if x is None:
        return Markup("")
    if not math.isfinite(x):
        return Markup("NaN" if math.isnan(x) else "∞" if x > 0 else "−∞")
    return Markup(format(x, style))


def value(x: float, dtype: str) -> Markup:
    """Return a number with the digits that tell neighbours apart in `dtype`."""
    return Markup(story.number(x, dtype)) if math.isfinite(x) else number(x)


def breaks(text: str) -> Markup:
    """Return a name that may be broken after its separators, and nowhere else."""
    return Markup(re.sub(r"([:/._-])", r"\1<wbr>", str(escape(printable(text, 1000)))))


def _finalize(inserted: Any) -> Any:
    """Take out what no text should hold: escape sequences, control and direction characters."""
    if isinstance(inserted, Markup) or not isinstance(inserted, str):
        return inserted
    return printable(inserted, 1000)


@cache
def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gradparity.reports"),
        autoescape=True,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"number": number, "value": value, "breaks": breaks, "slug": html_marks.slug}
    return environment
