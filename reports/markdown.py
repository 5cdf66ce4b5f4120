"""The report in Markdown, as GitHub shows it: whatever comes from outside is escaped, and its size can be limited."""

from __future__ import annotations

import html
import re
from functools import cache
from typing import Any

from gradparity.adapters.outcome import printable
from gradparity.reference.verdict import Verdict
from gradparity.reports import heat, story
from gradparity.reports.cell import Cell
from gradparity.reports.results import Results

SUMMARY_LIMIT = 2**20
"""Bytes that GitHub takes for the summary of one step."""
ICONS = {
    Verdict.WITHIN: "✅",
    Verdict.SUSPECT: "❓",
    Verdict.WRONG: "❌",
    Verdict.DECLARED: "📘",
    Verdict.KNOWN: "📕",
    Verdict.NOT_GIVEN: "·",
    Verdict.UNSUPPORTED: "➖",
    Verdict.CRASHED: "💥",
    Verdict.TIMED_OUT: "⌛",
}
_SPECIAL = re.compile(r"([\\`*_{}\[\]|~#!:$@])")


def escape(text: object) -> str:
    """Return `text` as one line in which Markdown and HTML find nothing to interpret."""
    line = printable(str(text), 1000).replace("\n", " ").replace("\t", " ")
    return _SPECIAL.sub(r"\\\1", html.escape(line, quote=False)).replace("www.", "www\\.")


def escape_log(text: str, lines: int = 12) -> str:
    """Return the last `lines` of `text` for the inside of ``<pre>``, where Markdown finds nothing but HTML is read."""
    shown = [line for line in printable(text, 1000).split("\n") if line.strip()]
    return html.escape("\n".join(shown[-lines:]), quote=False)


def render(results: Results, limit: int | None = None) -> str:
    """Return the report; with `limit`, at most so many bytes, the last line saying what was cut off."""
    text = template("report.md.j2").render(
        results=results,
        story=story,
        squares=heat.squares(results.cells),
        scale=heat.SCALE,
        shown=[c for c in results.cells if c.verdict in (Verdict.WRONG, Verdict.SUSPECT)],
        by_scenario={name: [c for c in results.cells if c.scenario == name] for name in results.scenario_names},
        closest={_key(cell): heat.closest(cell) for cell in results.cells},
        differences={_key(cell): _difference(cell) for cell in results.cells},
        key=_key,
    )
    return text if limit is None else cut(text, limit)


def cut(text: str, limit: int) -> str:
    """Return `text` in at most `limit` bytes of UTF-8: whole lines, no element left open, and a line that says so."""
    if len(text.encode()) <= limit:
        return text
    note = "\n\n**Cut here: the report is longer than this page may be. The whole of it is in `report.md`.**\n"
    closing = "</pre></details>"
    room = max(0, limit - len((note + closing).encode()) - 1)
    kept = text.encode()[:room].decode(errors="ignore").rpartition("\n")[0]
    for tag in ("pre", "details"):
        if kept.count(f"<{tag}>") > kept.count(f"</{tag}>"):
            kept += f"\n</{tag}>"
    return kept + note if len((kept + note).encode()) <= limit else ""


def _key(cell: Cell) -> tuple[str, str, str]:
    return cell.scenario, cell.dtype, cell.engine


def _difference(cell: Cell) -> float | None:
    return max((f.difference for f in cell.findings if f.difference is not None and f.quantity != "loss"), default=None)


def short(square: heat.Square | None) -> str:
    """Return one square of the map."""
    if square is None:
        return ""
    number = "" if square.ratio is None else f" {heat.short(square.ratio)}"
    return f"{ICONS[square.verdict]}{number}"


def figure(x: float | None, style: str = ".2g") -> str:
    """Return a number, or nothing where there is none."""
    return "" if x is None else format(x, style)


def template(name: str) -> Any:
    """Return a template of this package; whatever it inserts is escaped."""
    return _environment().get_template(name)


@cache
def _environment() -> Any:
    import jinja2

    # Not jinja's own escaping, which knows nothing of Markdown: every value goes through one of the two filters.
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gradparity.reports"),
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "md": _marked(escape),
        "log": _marked(escape_log),
        "square": _marked(short),
        "figure": _marked(figure),
    }
    return environment


class _Safe(str):
    """Text that went through a filter of this module."""

    __slots__ = ()


def _marked(filter_: Any) -> Any:
    return lambda *args: _Safe(filter_(*args))


def _finalize(value: Any) -> Any:
    """Escape what the template inserts without a filter, so that nothing can be forgotten."""
    return value if isinstance(value, _Safe) else escape(value)
