"""What GitHub Actions shows of a run by itself: the job summary, and annotations for what is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from gradparity.adapters.outcome import printable
from gradparity.reports import markdown, story
from gradparity.reports.results import Results

ANNOTATIONS = 10
"""How many errors GitHub shows of one step."""


def append_summary(results: Results, environ: Mapping[str, str] = os.environ) -> None:
    """Append the report to the job summary, if there is one, within the size that GitHub takes."""
    name = environ.get("GITHUB_STEP_SUMMARY")
    if not name:
        return
    file = Path(name)
    used = file.stat().st_size if file.exists() else 0
    with file.open("a", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
        stream.write(markdown.render(results, max(0, markdown.SUMMARY_LIMIT - used)))


def error_commands(results: Results, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return an ``::error`` command for each failed or unfinished cell; none outside GitHub Actions."""
    if environ.get("GITHUB_ACTIONS") != "true":
        return []
    cells = [*results.failed, *results.unfinished]
    if len(cells) > ANNOTATIONS:
        rest = len(cells) - ANNOTATIONS + 1
        more = [_error("gradparity", f"{rest} more cells are wrong or did not finish: see the job summary")]
        cells = cells[: ANNOTATIONS - 1]
    else:
        more = []
    return [
        _error(
            f"{story.place(cell)}: {cell.verdict}",
            "\n".join(f"{label}: {sentence}" for label, sentence in story.explain(cell)),
        )
        for cell in cells
    ] + more


def _error(title: str, message: str) -> str:
    title, message = (
        printable(text, 40).replace("%", "%25").replace("\n", "%0A") or "gradparity" for text in (title, message)
    )
    return f"::error title={title.replace(':', '%3A').replace(',', '%2C')}::{message}"
