"""A comparison of two snapshots as Markdown, as JSON and as one HTML page."""

from __future__ import annotations

from typing import Any

from gradparity.reports import drift_story, html, markdown
from gradparity.reports.codec import dumps, encode
from gradparity.reports.drift import Comparison, Drift

SCHEMA = 1
"""The version of the JSON. It grows when a field changes its meaning or goes, not when one is added."""

CLASSES = {
    Drift.BECAME_WRONG: "wrong",
    Drift.BEYOND: "wrong",
    Drift.INCOMPLETE: "crashed",
    Drift.STILL_WRONG: "suspect",
    Drift.REPAIRED: "known",
    Drift.FINER: "suspect",
    Drift.CONVENTION: "declared",
    Drift.VANISHED: "unsupported",
    Drift.APPEARED: "unsupported",
    Drift.NOT_REPRODUCIBLE: "not-given",
    Drift.NOT_COMPARABLE: "not-given",
    Drift.WITHIN: "within",
    Drift.IDENTICAL: "within",
}
"""The page's colours, which are those of the verdicts."""
SIGNS = {
    Drift.BECAME_WRONG: "✗", Drift.BEYOND: "✗", Drift.INCOMPLETE: "!", Drift.STILL_WRONG: "w", Drift.REPAIRED: "r",
    Drift.FINER: "f", Drift.CONVENTION: "c", Drift.VANISHED: "−", Drift.APPEARED: "+", Drift.NOT_REPRODUCIBLE: "~",
    Drift.NOT_COMPARABLE: "≠", Drift.WITHIN: "≈", Drift.IDENTICAL: "=",
}  # fmt: skip
ICONS = {
    Drift.BECAME_WRONG: "❌", Drift.BEYOND: "❌", Drift.INCOMPLETE: "💥", Drift.STILL_WRONG: "📕", Drift.REPAIRED: "🔧",
    Drift.FINER: "🔬", Drift.CONVENTION: "📘", Drift.VANISHED: "➖", Drift.APPEARED: "➕", Drift.NOT_REPRODUCIBLE: "🎲",
    Drift.NOT_COMPARABLE: "≠", Drift.WITHIN: "≈", Drift.IDENTICAL: "=",
}  # fmt: skip


def json(comparison: Comparison, bits: bool = False) -> str:
    """Return everything but the scenarios themselves as JSON."""
    about = {
        "gradparity_drift": SCHEMA,
        "headline": drift_story.headline(comparison, bits),
        "exit_code": comparison.exit_code(bits),
        "bits": bits,
        "counts": {str(drift): n for drift, n in comparison.counts.items()},
    }
    found: dict[str, Any] = encode(comparison)
    for side in ("old", "new"):
        del found[side]["scenarios"]
    return dumps(about | found) + "\n"


def as_markdown(comparison: Comparison, bits: bool = False, limit: int | None = None) -> str:
    """Return the report; with `limit`, at most so many bytes, the last line saying what was cut off."""
    text = markdown.template("drift.md.j2").render(**_context(comparison, bits), icons=ICONS)
    return text if limit is None else markdown.cut(text, limit)


def as_html(comparison: Comparison, bits: bool = False) -> str:
    """Return the page."""
    code = comparison.exit_code(bits)
    banner = {0: "right", 1: "wrong", 3: "crashed"}[code]
    return html.page("drift.html.j2", **_context(comparison, bits), classes=CLASSES, signs=SIGNS, banner=banner)


def _context(comparison: Comparison, bits: bool) -> dict[str, object]:
    return {
        "comparison": comparison,
        "bits": bits,
        "story": drift_story,
        "loud": [drift for drift in drift_story.LOUD if comparison.counts.get(drift)],
        "squares": drift_story.summed_up(comparison),
        "engines": list(dict.fromkeys(cell.engine for cell in comparison.cells)),
        "subjects": list(dict.fromkeys(map(drift_story.subject, comparison.cells))),
        "roundings": [found for found in drift_story.roundings(comparison) if found.cells],
        "changed": [cell for cell in comparison.cells if cell.drift is not Drift.IDENTICAL],
    }
