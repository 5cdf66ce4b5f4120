"""What a notebook shows of a result object: the verdict and the map scenario × engine."""

from __future__ import annotations

import html

from gradparity.adapters.outcome import printable
from gradparity.reference.verdict import Verdict
from gradparity.reports import heat, story
from gradparity.reports.results import Results

COLORS = {
    Verdict.WITHIN: "#1a7f37",
    Verdict.SUSPECT: "#8250df",
    Verdict.WRONG: "#cf222e",
    Verdict.DECLARED: "#0969da",
    Verdict.KNOWN: "#0969da",
    Verdict.CRASHED: "#cf222e",
    Verdict.TIMED_OUT: "#cf222e",
}


def summary(results: Results) -> str:
    """Return a small piece of HTML."""
    squares = heat.squares(results.cells)
    engines = results.engine_names
    head = "".join(f"<th>{_text(engine)}</th>" for engine in engines)
    rows = "".join(
        f"<tr><th>{_text(scenario)}</th>{''.join(_square(squares.get((scenario, engine))) for engine in engines)}</tr>"
        for scenario in results.scenario_names
    )
    lost = "".join(f"<p>lost: {_text(sentence)}</p>" for sentence in results.lost)
    return (
        f"<p><b>{_text(story.headline(results))}</b></p>{lost}"
        f"<table><thead><tr><th>error/bound</th>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _text(text: str) -> str:
    return html.escape(printable(text, 100).replace("\n", " "))


def _square(square: heat.Square | None) -> str:
    if square is None:
        return "<td></td>"
    within = square.verdict is Verdict.WITHIN
    number = "" if square.ratio is None else heat.short(square.ratio)
    shown = number if within else f"{square.verdict} {number}"
    return f'<td style="color:{COLORS.get(square.verdict, "inherit")}">{_text(shown)}</td>'
