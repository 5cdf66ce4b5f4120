"""``gradparity diff``: what changed between two snapshots."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from gradparity.reports import drift_files, drift_terminal, github
from gradparity.reports.comparison import compare
from gradparity.reports.drift import Comparison
from gradparity.reports.drift_story import explain, headline, place
from gradparity.reports.output import draw, write_to
from gradparity.reports.snapshot import Snapshot

FORMS: dict[str, Callable[[Comparison, bool], str]] = {
    "terminal": drift_terminal.render,
    "html": drift_files.as_html,
    "markdown": drift_files.as_markdown,
    "json": drift_files.json,
}


def diff_command(old: Path, new: Path, bits: bool, form: str, output: Path | None) -> int:
    """Compare and report; return the exit code. Raises `InputError` where a snapshot cannot be read."""
    return report(compare(Snapshot.read(old), Snapshot.read(new)), bits, form, output)


def report(comparison: Comparison, bits: bool, form: str, output: Path | None) -> int:
    """Report on a comparison; return the exit code. Raises `InputError` where `output` cannot be written."""
    if form == "terminal" and output is None:
        draw(lambda screen: drift_terminal.show(comparison, screen, bits))
    else:
        write_to(output, FORMS[form](comparison, bits))
        if output is not None:
            click.echo(headline(comparison, bits), err=True)
    github.publish(
        lambda limit: drift_files.as_markdown(comparison, bits, limit),
        [(f"{place(cell)}: {cell.drift}", explain(cell)) for cell in comparison.failed],
    )
    return comparison.exit_code(bits)
