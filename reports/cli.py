"""The command line. Whatever a command needs is imported when it runs, so that ``--help`` is there at once."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import click

from gradparity import __version__
from gradparity.reference.errors import InputError

if TYPE_CHECKING:
    from gradparity.reports.screen import Screen

DEFECT, INTERRUPTED, BROKEN_PIPE = 70, 130, 141


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


EXTRAS = dict.fromkeys(("platformdirs", "filelock", "uv", "pypi_simple"), "upgrade")
"""What an extra brings, by the name under which it is imported."""


class Refused(click.ClickException):
    """Bad input: one message, and exit code 2."""

    exit_code = 2


class Unfinished(click.ClickException):
    """Nothing wrong was found, but not everything could be run: one message, and exit code 3."""

    exit_code = 3


class Commands(click.Group):
    """The group of all commands, with what ends them early."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; bad input ends with 2, Ctrl-C with 130."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            raise Refused(str(error)) from None
        except ModuleNotFoundError as error:
            if (error.name or "") not in EXTRAS:
                raise
            extra = EXTRAS[str(error.name)]
            raise Refused(f"{ctx.invoked_subcommand} needs more: pip install 'gradparity[{extra}]'") from None
        except OSError as error:
            # Whatever the disk refuses in the middle: what was kept before is whole.
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
                raise
            raise Unfinished(f"{error.filename or 'a file'} cannot be written: {error.strerror}") from None
        except KeyboardInterrupt:
            click.echo("Interrupted: what was finished and kept stays.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None


def emit(text: str) -> None:
    """Write to standard output; a reader that has gone away ends the command quietly."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        gone(sys.stdout)


def gone(*streams: TextIO) -> NoReturn:
    """End the command quietly: nobody reads `streams`. The interpreter would complain when it flushes them at exit."""
    for stream in streams:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    raise click.exceptions.Exit(BROKEN_PIPE) from None


def draw(paint: Callable[[Screen], None]) -> None:
    """Let `paint` fill the screen that standard output is, and write it."""
    from gradparity.reports.screen import Screen

    screen = Screen.of(sys.stdout)
    with screen.console.capture() as captured:
        paint(screen)
    emit(captured.get())


def check_writable(*places: Path | None) -> None:
    """Raise `InputError` for a file or folder that cannot be made, before anything runs."""
    for place in filter(None, places):
        parent = next(folder for folder in place.absolute().parents if folder.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise InputError(
                f"cannot write {place}: {parent} is no folder that can be written to; choose another place"
            )


def write_to(file: Path | None, text: str) -> None:
    """Write `text` to `file`, or to standard output. Raises `InputError` where it cannot be written."""
    from gradparity.reports.store import write

    if file is None:
        emit(text)
        return
    try:
        write(file, text)
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror}; choose another file") from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gradparity")
def cli() -> None:
    """Are the gradients that your deep-learning framework computes right?

    Exit codes: 0 nothing wrong, 1 something wrong, 2 bad input, 3 incomplete (a crash, a timeout, or
    nothing that could be judged), 130 Ctrl-C.
    """


@cli.command()
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO]...")
@click.option(
    "engines", "--engine", multiple=True, metavar="NAME", help="An engine, a pattern (keras:*), or file.py:function."
)
@click.option("dtypes", "--dtype", multiple=True, metavar="DTYPE", help="float32 or float64. Default: the scenario's.")
@click.option(
    "probes", "--probe", multiple=True, metavar="PATTERN", help="Run these probes too ('*': all); --out keeps them."
)
@click.option("--out", type=FOLDER, metavar="DIR", help="Run twice; save a snapshot and all reports here.")
@click.option("--junit", type=FILE, metavar="FILE", help="Write JUnit XML to this file.")
@click.option("--strict", is_flag=True, help="A suspect quantity fails, also on structured data.")
@click.option("--full", is_flag=True, help="Run the catalogue in both dtypes, on engines that compile slowly too.")
@click.option("--timeout", type=SECONDS, default=300.0, show_default=True, help="Seconds a cell.")
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Frameworks side by side. Default: as many as cores."
)
def run(scenarios: tuple[str, ...], **options: Any) -> None:
    """Run scenarios on engines and judge what they compute.

    SCENARIO is the name of one that ships, a pattern such as 'xor-*', or a FILE.toml of your own. Default: all that
    ship, on all engines that are installed.
    """
    from gradparity.reports.cli_run import run_command

    raise click.exceptions.Exit(run_command(scenarios, **options))


@cli.command()
def engines() -> None:
    """List the engines, their versions, and how to install what is missing."""
    from gradparity.reports.cli_show import show_engines

    draw(show_engines)


@cli.command()
def scenarios() -> None:
    """List the scenarios that ship."""
    from gradparity.reports.cli_show import show_scenarios

    draw(show_scenarios)


@cli.command()
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("--run", is_flag=True, help="Run them here, and judge those whose formula is known.")
@click.option("engines", "--engine", multiple=True, metavar="NAME", help="An engine, or a pattern (keras:*).")
@click.option("--full", is_flag=True, help="Run slow probes, and probes on engines that compile slowly, too.")
@click.option("--across", is_flag=True, help="Compare engines with one another, too.")
@click.option("--out", type=FILE, metavar="FILE", help="Run twice, and write a snapshot.")
@click.option("--timeout", type=SECONDS, default=300.0, show_default=True, help="Seconds a probe.")
@click.option("jobs_wanted", "--jobs", type=click.IntRange(min=1), metavar="N", help="Frameworks side by side.")
def probes(patterns: tuple[str, ...], **options: Any) -> None:
    """List, or run, the probes: single functions and optimizers on arrays of many shapes.

    PATTERN is a part of a name (softmax), a pattern (torch.optim.*), or a FILE.toml of your own.
    """
    from gradparity.reports.cli_probes import probes_command

    raise click.exceptions.Exit(probes_command(patterns, **options))


@cli.command()
@click.argument("scenario")
def formulas(scenario: str) -> None:
    """Print the formula table of SCENARIO (a name or a FILE.toml), with shapes."""
    from gradparity.reports.cli_show import one_scenario, show_formulas

    chosen = one_scenario(scenario)
    draw(lambda screen: show_formulas(chosen, screen))


@cli.command()
@click.argument("results", type=SAVED)
@click.option(
    "form", "--format", default="terminal", show_default=True,
    type=click.Choice(["terminal", "html", "markdown", "junit", "csv", "parquet"]),
)  # fmt: skip
@click.option("-o", "--output", type=FILE, metavar="FILE", help="Write here instead of to standard output.")
def report(results: Path, form: str, output: Path | None) -> None:
    """Render saved RESULTS (a folder, or its results.jsonl) again, also from a file that was cut off."""
    from gradparity.reports.cli_show import report_command

    report_command(results, form, output)


@cli.command()
@click.argument("results", type=SAVED)
@click.argument("scenario")
@click.argument("engine")
@click.argument("quantity")
@click.option("--dtype", metavar="DTYPE", help="float32 or float64. Default: the one that is worst.")
def explain(results: Path, scenario: str, engine: str, quantity: str, dtype: str | None) -> None:
    """Work through QUANTITY (dW1, loss, …) of one cell of RESULTS: formula, bound and worst element, with numbers."""
    from gradparity.reports.cli_explain import explain_command

    explain_command(results, scenario, engine, quantity, dtype)


@cli.command()
@click.argument("results", type=SAVED)
@click.argument("scenario")
@click.argument("engine")
@click.option("--dtype", metavar="DTYPE", help="float32 or float64. Default: the one that is worst.")
@click.option("-o", "--output", type=FILE, metavar="FILE", help="Write here instead of to standard output.")
def repro(results: Path, scenario: str, engine: str, dtype: str | None, output: Path | None) -> None:
    """Write a script that shows one cell of RESULTS with nothing but NumPy and that framework."""
    from gradparity.reports.cli_show import repro_command

    repro_command(results, scenario, engine, dtype, output)


@cli.command()
@click.argument("old", type=SAVED)
@click.argument("new", type=SAVED)
@click.option("--bits", is_flag=True, help="Exit with 1 when any bit changed, also within its bound.")
@click.option(
    "form", "--format", default="terminal", show_default=True,
    type=click.Choice(["terminal", "html", "markdown", "json"]),
)  # fmt: skip
@click.option("-o", "--output", type=FILE, metavar="FILE", help="Write here instead of to standard output.")
def diff(old: Path, new: Path, bits: bool, form: str, output: Path | None) -> None:
    """Compare two snapshots, OLD and NEW: files, or folders that `gradparity run --out` wrote.

    Exit codes: 1 something became wrong or changed beyond rounding; 3 a cell did not finish on one side.
    """
    from gradparity.reports.cli_diff import diff_command

    raise click.exceptions.Exit(diff_command(old, new, bits, form, output))


@cli.command()
@click.option("--count", type=click.IntRange(min=1), default=1000, show_default=True, help="Number of scenarios.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Of the draws.")
@click.option(
    "--together", type=click.IntRange(min=1), default=8, show_default=True, metavar="N",
    help="Draws of each shape: engines that compile, compile once a shape.",
)  # fmt: skip
@click.option("engines", "--engine", multiple=True, metavar="NAME", help="An engine, a pattern, or file.py:function.")
@click.option("--out", type=FOLDER, metavar="DIR", help="Where the results grow. Default: campaign-SEED.")
@click.option("--resume", is_flag=True, help="Go on with the campaign that is in DIR.")
@click.option("--timeout", type=SECONDS, default=300.0, show_default=True, help="Seconds a cell.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Frameworks side by side. Default: all cores.")
def campaign(**options: Any) -> None:
    """Judge engines on random scenarios, and make what fails small."""
    from gradparity.reports.cli_campaign import campaign_command

    raise click.exceptions.Exit(campaign_command(**options))


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


@cli.command()
@click.argument("sides", nargs=-1, metavar="[OLD] [NEW]")
@click.option("old", "--from", metavar="OLD", help="The old side.")
@click.option("new", "--to", metavar="NEW", help="The new side.")
@environment_options
@click.option(
    "form", "--format", default="terminal", show_default=True,
    type=click.Choice(["terminal", "html", "markdown", "json"]),
)  # fmt: skip
@click.option("-o", "--output", type=FILE, metavar="FILE", help="Write here instead of to standard output.")
@click.option("--out", type=FOLDER, metavar="DIR", help="Save both snapshots here: old.parquet, new.parquet.")
def upgrade(sides: tuple[str, ...], **options: Any) -> None:
    """Build two environments with uv, run the same in both, and report what changed in the gradients.

    Each side is one or several packages ("jax==0.9.2", "tensorflow-cpu==2.20.0 keras==3.12.1"), a wheel, a
    requirements or lock file, or . for the environment that this runs in, which is never changed.
    """
    from gradparity.reports.cli_upgrade import upgrade_command

    raise click.exceptions.Exit(upgrade_command(sides, **options))


@cli.command()
@click.argument("package")
@click.argument("good")
@click.argument("bad")
@environment_options
@click.option("--quantity", metavar="Q", default="", help="Only this quantity: dW1, loss, value, d0, ...")
@range_report_options
def bisect(package: str, good: str, bad: str, **options: Any) -> None:
    """Find the first release of PACKAGE after GOOD, up to BAD, whose verdicts changed, or values beyond rounding.

    Exit codes: 0 found, or no release differs; 2 bad input; 3 a release at an end cannot be run.
    """
    from gradparity.reports.cli_releases import bisect_command

    raise click.exceptions.Exit(bisect_command(package, good, bad, **options))


@cli.command()
@click.argument("package")
@click.argument("range_", metavar="A..B")
@environment_options
@range_report_options
def history(package: str, range_: str, **options: Any) -> None:
    """Show every release of PACKAGE from A to B in one table: its verdicts, and what changed since the one before."""
    from gradparity.reports.cli_releases import history_command

    raise click.exceptions.Exit(history_command(package, range_, **options))


def main() -> None:
    """Run the command line; the entry point ``gradparity``."""
    try:
        cli(prog_name="gradparity")
    except Exception:  # noqa: BLE001 - what nobody foresaw must not end with 1, which says that an engine is wrong
        traceback.print_exc()
        click.echo(f"gradparity {__version__} has a defect: please report it, with these lines.", err=True)
        sys.exit(DEFECT)
