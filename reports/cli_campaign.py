"""``gradparity campaign``: draw, run, keep, make small, sum up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from gradparity.reports.campaign import Campaign, Failure
from gradparity.reports.campaign_lines import Line
from gradparity.reports.campaign_summary import summary
from gradparity.reports.cell import FAILING
from gradparity.reports.cli_ends import INTERRUPTED
from gradparity.reports.output import emit
from gradparity.reports.progress import LiveProgress
from gradparity.reports.store import write


def campaign_command(
    count: int,
    seed: int,
    together: int,
    engines: Sequence[str],
    out: Path | None,
    resume: bool,
    timeout: float,
    jobs: int | None,
) -> int:
    """Run a campaign; return the exit code. Raises `InputError` before anything runs."""
    directory = out or Path(f"campaign-{seed}")
    campaign = Campaign(
        count, seed, engines or None, directory, together=together, resume=resume, timeout=timeout, jobs=jobs
    )
    failures: list[Failure] = []
    try:
        with LiveProgress(campaign.left) as progress:
            failures = campaign.run(progress.add)
    except KeyboardInterrupt:
        click.echo(f"Interrupted: {len(campaign.lines)} cells are in {directory}; go on with --resume.", err=True)
        return INTERRUPTED
    text = summary(seed, campaign.lines)
    write(directory / "summary.md", text)
    emit(text)
    for failure in failures:
        emit(f"\nmade small: {failure.line.signature} (index {failure.line.index})\n")
    emit(f"\nSaved in {directory}\n")
    return exit_code(campaign.lines)


def exit_code(lines: Sequence[Line]) -> int:
    """Return 1 if something is wrong, else 3 if something crashed or timed out, else 0."""
    failed = {line.verdict for line in lines} & set(FAILING)
    return 0 if not failed else 1 if any(line.wrong for line in lines) else 3
