"""What GitHub Actions shows of a run by itself: the job summary, and annotations for what is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import click

from gradparity.adapters.outcome import printable
from gradparity.reports import markdown, story
from gradparity.reports.results import Results

Failure: TypeAlias = tuple[str, Iterable[tuple[str, str]]]
"""A title, and what there is to say as (label, sentence)."""

ANNOTATIONS = 10
"""How many errors GitHub shows of one step."""


def append_summary(results: Results, environ: Mapping[str, str] = os.environ) -> None:
    """Append the report to the job summary, if there is one, within the size that GitHub takes."""
    append(lambda limit: markdown.render(results, limit), environ)


def append(render: Callable[[int], str], environ: Mapping[str, str] = os.environ) -> None:
    """Append what `render` makes of at most so many bytes likewise."""
    name = environ.get("GITHUB_STEP_SUMMARY")
    if not name:
        return
    file = Path(name)
    used = file.stat().st_size if file.exists() else 0
    with file.open("a", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
        stream.write(render(max(0, markdown.SUMMARY_LIMIT - used)))


def error_commands(results: Results, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return an ``::error`` command for each failed or unfinished cell; none outside GitHub Actions."""
    return commands(failures(results), environ)


def failures(results: Results) -> list[Failure]:
    """Return what is to be shown of each failed or unfinished cell."""
    cells = [*results.failed, *results.unfinished]
    return [(f"{story.place(cell)}: {cell.verdict}", story.explain(cell)) for cell in cells]


def commands(failed: Sequence[Failure], environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return an ``::error`` command for each failure, as many as GitHub shows; none outside GitHub Actions."""
    if environ.get("GITHUB_ACTIONS") != "true":
        return []
    shown = failed if len(failed) <= ANNOTATIONS else failed[: ANNOTATIONS - 1]
    errors = [_error(title, "\n".join(f"{label}: {sentence}" for label, sentence in said)) for title, said in shown]
    if rest := len(failed) - len(shown):
        errors.append(_error("gradparity", f"{rest} more cells are wrong or did not finish: see the job summary"))
    return errors


def publish(render: Callable[[int], str], failed: Sequence[Failure]) -> None:
    """Show a report in the job summary, and its failures as annotations, where this is GitHub Actions."""
    try:
        append(render)
    except OSError as error:
        click.echo(f"The job summary cannot be written: {error.strerror}", err=True)
    if lines := commands(failed):
        click.echo("\n".join(lines))


def _error(title: str, message: str) -> str:
    title, message = (
        printable(text, 40).replace("%", "%25").replace("\n", "%0A") or "gradparity" for text in (title, message)
    )
    return f"::error title={title.replace(':', '%3A').replace(',', '%2C')}::{message}"
