"""The command line. Whatever a command needs is imported when it runs, so that ``--help`` is there at once."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

import click

from gradparity import __version__
from gradparity.reports.cli_ends import DEFECT, Commands
from gradparity.reports.cli_options import FILE, FOLDER, SAVED, SECONDS, environment_options, range_report_options
from gradparity.reports.output import draw


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
