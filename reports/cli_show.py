"""The commands that run no engine: lists, formulas, saved results again, and reproductions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click
from rich.table import Table

from gradparity.adapters import registry
from gradparity.reference import catalogue
from gradparity.reference.data import MissingLibrary
from gradparity.reference.errors import InputError, nearest
from gradparity.reference.evaluation import problem_rows
from gradparity.reference.scenario import Scenario
from gradparity.reports import html, junit, markdown, terminal
from gradparity.reports.cli_explain import cells_of
from gradparity.reports.output import draw, write_to
from gradparity.reports.results import Results
from gradparity.reports.screen import Screen
from gradparity.reports.store import csv, load, replacing


def _table(screen: Screen, *columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(screen.text(column), overflow="fold")
    return table


def show_engines(screen: Screen) -> None:
    """Print every engine: its versions if it is installed; else what is missing, and the command that installs it."""
    table = _table(screen, "engine", "installed", "versions, or what is missing")
    commands: dict[str, list[str]] = {}
    for engine in registry.engines():
        there = ", ".join(f"{name} {version}" for name, version in engine.versions.items())
        if not engine.installed:
            commands.setdefault(engine.install, []).append(engine.name)
            there = engine.broken or f"missing: {', '.join(engine.missing)}"
        table.add_row(*map(screen.text, (engine.name, "yes" if engine.installed else "no", there)))
    screen.put(table)
    for command, names in commands.items():
        screen.heading(f"for {', '.join(names)}:")
        screen.line(f"  {command}")


def show_scenarios(screen: Screen) -> None:
    """Print every scenario that ships."""
    table = _table(screen, "scenario", "what it is")
    for name in catalogue.names():
        scenario = catalogue.load(name)
        layers = ", ".join(f"{layer.units} {layer.activation}" for layer in scenario.layers)
        table.add_row(
            screen.text(name), screen.text(f"{scenario.description} [{layers}; {scenario.loss.name}]".strip())
        )
    screen.put(table)


def one_scenario(name: str) -> Scenario:
    """Return the scenario of that name, or of that TOML file. Raises `InputError` for anything else."""
    if name in catalogue.names():
        return catalogue.load(name)
    if name.endswith(".toml"):
        return Scenario.from_toml(Path(name))
    known = nearest(name, catalogue.names())
    raise InputError(f"unknown scenario '{name}'{known}: name one of `gradparity scenarios`, or a .toml file")


def show_formulas(scenario: Scenario, screen: Screen) -> None:
    """Print the rows of the formula table, in the order of computation."""
    try:
        problem = scenario.problem(scenario.dtypes[0])
    except MissingLibrary as reason:
        raise InputError(str(reason)) from None
    m = problem.batches[0][1] - problem.batches[0][0]
    screen.line(
        f"{scenario.name}: m = {m} samples in the first of {len(problem.batches)} steps, {problem.X.shape[0]} inputs"
    )
    table = _table(screen, "quantity", "formula", "shape")
    for row in problem_rows(problem):
        rows, columns = row.shape
        table.add_row(*map(screen.text, (row.name, row.formula, f"({rows}, {columns})")))
    screen.put(table)


def report_command(path: Path, form: str, output: Path | None) -> None:
    """Render saved results. Raises `InputError` where they cannot be read, or the output not be written."""
    results = load(path)
    if form == "terminal" and output is None:
        draw(lambda screen: terminal.show(results, screen))
        return
    if form == "parquet":
        _parquet(results, output)
    else:
        write_to(output, _text(results, form))
    for sentence in results.lost:
        click.echo(f"lost: {sentence}", err=True)


def _text(results: Results, form: str) -> str:
    renderers: dict[str, Callable[[Results], str]] = {
        "terminal": terminal.render,
        "html": html.render,
        "markdown": markdown.render,
        "junit": junit.render,
        "csv": lambda shown: csv(shown.table),
    }
    return renderers[form](results)


def _parquet(results: Results, output: Path | None) -> None:
    if output is None and sys.stdout.isatty():
        raise InputError("Parquet is not for a terminal: add -o FILE")
    if output is None:
        results.table.to_parquet(sys.stdout.buffer)
        return
    try:
        with replacing(output) as temporary:
            results.table.to_parquet(temporary)
    except OSError as error:
        raise InputError(f"cannot write {output}: {error.strerror}; choose another file") from None


def repro_command(path: Path, scenario: str, engine: str, dtype: str | None, output: Path | None) -> None:
    """Write the script for the worst cell of `scenario` on `engine`. Raises `InputError` where there is none."""
    results = load(path)
    cell = cells_of(results, scenario, engine, dtype)[0]
    from gradparity.reports.repro import script

    finding = cell.first_wrong or next((f for f in cell.findings if f.verdict is cell.verdict), None)
    write_to(output, script(results.scenario(scenario), cell.dtype, engine, finding))
