"""Make the sample reports and the pictures of the README again: ``python docs/pictures.py``.

It runs every engine that is installed (or those named with ``--engine``), and needs the extra ``browser`` and Chromium
for the pictures of the page. Results of earlier runs can be used instead: ``--results DIR --fault DIR``.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console

from gradparity.reports import html, terminal
from gradparity.reports.results import Results
from gradparity.reports.screen import Screen
from gradparity.reports.store import load

DOCS = Path(__file__).parent
SCENARIOS = ("textbook-bce", "xor-tape", "mazur", "lpa-regression", "tanh-regression", "deep", "kink", "xor-500")
FAULTY_SCENARIOS = ("textbook-bce", "textbook-half-mse", "xor-tape", "xor-500")
FAULTY = "docs/faulty_engine.py:step"
COMPARED = ("numpy", "torch", "jax:jit", "tensorflow")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


@click.command()
@click.option("engines", "--engine", multiple=True, help="An engine of the sample. Default: all that are installed.")
@click.option("--results", type=click.Path(path_type=Path), help="Results of the whole sample, instead of a run.")
@click.option("--fault", type=click.Path(path_type=Path), help="Results of the sample with a fault, instead of a run.")
def main(engines: tuple[str, ...], results: Path | None, fault: Path | None) -> None:
    """Make docs/sample-report*.html and docs/images/*."""
    with tempfile.TemporaryDirectory() as scratch:
        whole = load(results or run(Path(scratch) / "whole", SCENARIOS, engines))
        compared = [name for name in COMPARED if not engines or name in engines]
        wrong = load(fault or run(Path(scratch) / "fault", FAULTY_SCENARIOS, (*compared, FAULTY)))
    (DOCS / "sample-report.html").write_text(html.render(whole), encoding="utf-8")
    (DOCS / "sample-report-fault.html").write_text(html.render(wrong), encoding="utf-8")
    (DOCS / "images").mkdir(exist_ok=True)
    (DOCS / "images" / "terminal.svg").write_text(drawn(whole), encoding="utf-8")
    photograph(DOCS / "sample-report-fault.html", DOCS / "images")


def run(out: Path, scenarios: tuple[str, ...], engines: tuple[str, ...]) -> Path:
    """Run the command line; a wrong cell, which ends it with 1, is no failure here."""
    named = [word for engine in engines for word in ("--engine", engine)]
    command = [sys.executable, "-m", "gradparity", "run", *scenarios, *named, "--out", str(out)]
    ended = subprocess.run(command, cwd=DOCS.parent, stdout=subprocess.DEVNULL, check=False)
    if ended.returncode not in (0, 1):
        raise click.ClickException(f"{' '.join(command)} ended with {ended.returncode}")
    return out


def drawn(results: Results) -> str:
    """Return the terminal's report as SVG, without the fonts that it would fetch from the network."""
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True, highlight=False, emoji=False)
    terminal.show(results, Screen(console))
    svg = console.export_svg(title="gradparity run", unique_id="gradparity")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def photograph(page: Path, folder: Path) -> None:
    """Take pictures of the top of `page`, light and dark."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=FLAGS)
        for scheme, name in (("light", "report.png"), ("dark", "report-dark.png")):
            size = {"width": 1200, "height": 1000}
            shown = chromium.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
            shown.goto(page.resolve().as_uri())
            shown.screenshot(path=folder / name)
        chromium.close()


if __name__ == "__main__":
    main()
