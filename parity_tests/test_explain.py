"""A cell worked through: the numbers recomputed from the scenario are those that were judged."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from gradparity import verify
from gradparity.parity_tests.correct import correct
from gradparity.reference import catalogue
from gradparity.reference.bounds import rounding
from gradparity.reports import explain
from gradparity.reports.cli import cli
from gradparity.reports.results import Results
from gradparity.reports.store import save

SCENARIOS = ("textbook-bce", "lpa-regression", "leaky-regression", "mazur", "saturated-probabilities")


@pytest.fixture(scope="module")
def results() -> Results:
    found = verify(SCENARIOS, [correct])
    sources = {
        name: {"toml": s.to_toml(), "folder": str(s.folder)} for name in SCENARIOS for s in [catalogue.load(name)]
    }
    return replace(found, scenarios=sources)


def test_every_quantity_is_recomputed_as_it_was_judged(results: Results) -> None:
    explained = 0
    for cell in results.cells:
        problem = results.scenario(cell.scenario).problem(cell.dtype)
        for finding in cell.findings:
            worst = finding.worst
            if worst is None:
                continue
            found = explain.recompute(problem, finding)
            same = found.exact == worst.exact or (math.isnan(found.exact) and math.isnan(worst.exact))
            assert same or abs(found.exact - worst.exact) <= worst.bound, (cell.scenario, finding)
            assert found.bound.total == worst.bound, (cell.scenario, finding)
            explained += 1
    assert explained > 100


def test_the_parts_of_a_bound_add_up_to_it(results: Results) -> None:
    for cell in results.cells:
        problem = results.scenario(cell.scenario).problem(cell.dtype)
        for finding in cell.findings:
            if finding.worst is None:
                continue
            bound = explain.recompute(problem, finding).bound
            parts = (bound.rounding, bound.functions, bound.floor, bound.inherited)
            if math.isfinite(bound.total):
                assert all(part >= 0.0 for part in parts), finding
                assert math.isclose(sum(parts), bound.total)


def test_a_product_is_bounded_by_gamma_of_its_terms(results: Results) -> None:
    cell = next(c for c in results.cells if (c.scenario, c.dtype) == ("textbook-bce", "float32"))
    finding = next(f for f in cell.findings if f.quantity == "Z2")
    found = explain.recompute(results.scenario("textbook-bce").problem("float32"), finding)
    S = sum(abs(math.prod(factors)) for _, factors in explain.products(found))
    assert len(explain.products(found)) == 5
    assert math.isclose(found.bound.rounding, rounding("float32").gamma(5) * S, rel_tol=1e-6)


def test_what_is_not_judged_has_no_terms(results: Results) -> None:
    cell = results.cells[0]
    problem = results.scenario(cell.scenario).problem(cell.dtype)
    found = explain.recompute(problem, cell.findings[0])
    unbounded = replace(found, bound=explain.Bound(math.inf, math.nan, math.nan, math.nan, math.inf))
    ((label, sentence),) = explain.bound_lines(unbounded)
    assert (label, sentence.partition(":")[0]) == ("bound", "none")


def run(results: Results, folder: Path, *arguments: str) -> tuple[int, str]:
    save(results, folder)
    outcome = CliRunner().invoke(cli, ["explain", str(folder), *arguments])
    return outcome.exit_code, outcome.output


def test_the_command_shows_numbers_terms_and_bound(results: Results, tmp_path: Path) -> None:
    code, text = run(results, tmp_path, "textbook-bce", "correct", "dW2", "--dtype", "float32")
    assert code == 0, text
    for part in ("dW2 = delta2 A1ᵀ", "+ delta2[0, 0] A1[", "γ_7 S", "the bound, term by term", "underflow"):
        assert part in text, part
    code, text = run(results, tmp_path, "leaky-regression", "correct", "delta1")
    assert "> 0 else" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("textbook-bce", "correct", "dW9"), "no quantity 'dW9'"),
        (("textbook-bcd", "correct", "dW1"), "did you mean 'textbook-bce'?"),
        (("textbook-bce", "corect", "dW1"), "did you mean 'correct'?"),
    ],
)
def test_what_is_not_there_is_said(results: Results, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    code, text = run(results, tmp_path, *arguments)
    assert code == 2
    assert message in text


def test_a_scenario_that_is_no_longer_there_leaves_what_was_saved(results: Results, tmp_path: Path) -> None:
    changed = [replace(c, data_sha256="0" * 64) for c in results.cells]
    code, text = run(replace(results, cells=changed), tmp_path, "textbook-bce", "correct", "dW1")
    assert code == 0
    assert "not those that" in text
    assert "term by term" not in text
