"""What a notebook shows of a result object: the verdict, what is wrong, and the map scenario × engine.

Styles are inline and colours are explicit on both sides, so that it reads the same in a light and in a dark notebook.
"""

from __future__ import annotations

from markupsafe import Markup, escape

from gradparity.adapters.outcome import printable
from gradparity.reference.verdict import Verdict
from gradparity.reports import heat, story
from gradparity.reports.html_marks import SYMBOLS, short
from gradparity.reports.results import Results

COLORS = {
    Verdict.WITHIN: "#dff2e9;color:#08311f",
    Verdict.SUSPECT: "#6a3fc4;color:#fff",
    Verdict.WRONG: "#b3131f;color:#fff",
    Verdict.DECLARED: "#cfe4fa;color:#06345f",
    Verdict.KNOWN: "#0b5cad;color:#fff",
    Verdict.CRASHED: "#914800;color:#fff",
    Verdict.TIMED_OUT: "#914800;color:#fff",
    Verdict.NOT_GIVEN: "#e9edf0;color:#47525c",
    Verdict.UNSUPPORTED: "#e9edf0;color:#47525c",
}
EXPLAINED = 5


def summary(results: Results) -> str:
    """Return a small piece of HTML."""
    squares = heat.squares(results.cells)
    engines = results.engine_names
    head = Markup("").join(Markup("<th>{}</th>").format(_text(engine)) for engine in engines)
    rows = Markup("").join(
        Markup("<tr><th style='text-align:left'>{}</th>{}</tr>").format(
            _text(scenario), Markup("").join(_square(squares.get((scenario, engine))) for engine in engines)
        )
        for scenario in results.scenario_names
    )
    lost = Markup("").join(Markup("<p>lost: {}</p>").format(_text(sentence)) for sentence in results.lost)
    banner = Markup("<p style='padding:.5em .8em;background:{}'><b>{}</b></p>").format(
        Markup(COLORS[results.verdict]), _text(story.headline(results))
    )
    table = Markup("<table><thead><tr><th>error/bound</th>{}</tr></thead><tbody>{}</tbody></table>").format(head, rows)
    return str(banner + lost + _wrong(results) + table)


def _wrong(results: Results) -> Markup:
    items = Markup("")
    for cell in results.failed[:EXPLAINED]:
        finding = story.blamed(cell)
        what = [f"{finding.quantity} = {finding.formula}", story.cause(finding)] if finding else list(cell.faults)
        items += Markup("<li><b>{}</b>: {}</li>").format(_text(story.place(cell)), _text("; ".join(filter(None, what))))
    more = len(results.failed) - EXPLAINED
    items += Markup("<li>and {} more</li>").format(more) if more > 0 else Markup("")
    return Markup("<ul>{}</ul>").format(items) if items else items


def _text(text: str) -> Markup:
    return escape(printable(text, 100).replace("\n", " "))


def _square(square: heat.Square | None) -> Markup:
    if square is None:
        return Markup("<td></td>")
    sign = SYMBOLS.get(square.verdict, "")
    return Markup("<td style='text-align:center;background:{}' title='{}'>{}</td>").format(
        Markup(COLORS[square.verdict]), str(square.verdict), f"{sign} {short(square.ratio)}".strip()
    )
