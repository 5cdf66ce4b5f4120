"""What options of the command line take, and those that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan
from pathlib import Path
from typing import Any

import click


class _Path(click.Path):
    """A path; an empty one, as an unset variable makes it, is not taken for the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not value:
            self.fail("is empty; name a place", param, ctx)
        return super().convert(value, param, ctx)


class _Seconds(click.FloatRange):
    """A time above 0."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        seconds = super().convert(value, param, ctx)
        if isnan(seconds):
            self.fail("is no number; give seconds", param, ctx)
        return seconds


FOLDER = _Path(file_okay=False, path_type=Path)
FILE = _Path(dir_okay=False, path_type=Path)
SAVED = _Path(path_type=Path)
SECONDS = _Seconds(min=0, min_open=True)


def environment_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what all commands that build environments have in common."""
    options = (
        click.option("engines", "--engine", multiple=True, metavar="NAME", help="Only this engine, or pattern."),
        click.option("scenarios", "--scenario", multiple=True, metavar="S", help="Only this one: a name, a FILE.toml."),
        click.option("probes", "--probe", multiple=True, metavar="P", help="Only this probe, or pattern."),
        click.option("--bits", is_flag=True, help="Any bit counts, also within its bound."),
        click.option("--full", is_flag=True, help="The whole catalogue, in both dtypes."),
        click.option("--python", metavar="X", help="A version (3.12) or a path. Default: the Python that runs this."),
        click.option("--fresh", is_flag=True, help="Run again what was run before."),
        click.option(
            "--timeout", type=SECONDS, default=300.0, show_default=True,
            help="Seconds a cell.",
        ),
        click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Frameworks side by side."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def range_report_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add how a range of releases is reported."""
    forms = click.Choice(["terminal", "markdown", "json"])
    there = click.option("-o", "--output", type=FILE, metavar="FILE", help="Write here instead of to standard output.")
    return click.option("form", "--format", default="terminal", show_default=True, type=forms)(there(command))
