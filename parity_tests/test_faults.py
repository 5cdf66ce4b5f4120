"""The catalogue of faults on small networks: every one is caught, and its cause is named."""

from __future__ import annotations

import numpy as np
import pytest

from gradparity.parity_tests.fault import judged, run
from gradparity.parity_tests.fault_problems import problems
from gradparity.parity_tests.faults import FAULTS
from gradparity.parity_tests.kill import Kill, Outcome, Smallest, outcomes, smallest
from gradparity.reference import catalogue
from gradparity.reference.judge import Oracle
from gradparity.reference.verdict import Verdict

DTYPES = ("float32", "float64")
ONLY_FLOAT64 = {"float32 for float64", "slope in float32"}
NAMED_AT_LEAST = 0.9


@pytest.mark.parametrize("dtype", DTYPES)
def test_without_a_fault_nothing_is_found_and_no_cause_is_named(dtype: str) -> None:
    for problem in problems("small", dtype):
        found = judged(Oracle(problem), run(problem, {}))
        assert {f.verdict for f in found} == {Verdict.WITHIN}, problem.name
        assert {f.cause for f in found} == {""}, problem.name


@pytest.fixture(scope="module", params=DTYPES)
def struck(request: pytest.FixtureRequest) -> list[Outcome]:
    return list(outcomes(FAULTS, "small", request.param))


def test_the_catalogue_is_large_and_its_names_are_unique() -> None:
    assert len(FAULTS) >= 40
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_every_fault_strikes_somewhere(struck: list[Outcome]) -> None:
    there = {o.fault.name for o in struck}
    missing = {fault.name for fault in FAULTS} - there
    assert missing == (ONLY_FLOAT64 if struck[0].dtype == "float32" else set())


def test_every_fault_is_caught_rigorously_but_for_what_is_no_fault(struck: list[Outcome]) -> None:
    for o in struck:
        expected = {Kill.MISSED, Kill.NOTHING} if o.fault.harmless else {Kill.WRONG}
        assert o.kill in expected, f"{o.fault.name} in {o.row} of {o.problem}: {o.kill}, error/bound {o.ratio:.3g}"


def test_what_is_missed_moves_no_element_by_more_than_twice_its_bound(struck: list[Outcome]) -> None:
    missed = [o for o in struck if o.kill in (Kill.MISSED, Kill.SUSPECT)]
    assert missed
    for o in missed:
        assert o.share <= 1.0, f"{o.fault.name} in {o.row}: {o.share:.3g} times twice the bound"


def test_the_cause_is_named(struck: list[Outcome]) -> None:
    caught = [o for o in struck if o.kill is Kill.WRONG]
    wrong = [f"{o.fault.name} in {o.row} of {o.problem}: {o.cause}" for o in caught if not o.named]
    assert len(wrong) <= (1 - NAMED_AT_LEAST) * len(caught), "\n".join(wrong)


def test_a_cause_that_cannot_be_known_is_not_made_up(struck: list[Outcome]) -> None:
    unknown = [o for o in struck if not o.fault.cause and not o.fault.harmless]
    assert unknown
    assert {o.cause for o in unknown} == {"no known mistake reproduces it"}


@pytest.mark.parametrize(("dtype", "rigorous", "statistical"), [("float32", 1e-4, 2e-5), ("float64", 1e-12, 1e-13)])
def test_smallest_fault_of_a_whole_gradient(dtype: str, rigorous: float, statistical: float) -> None:
    """784-512-10 with batch 512, in the probed program: dW times 1 + ε."""
    found: Smallest = smallest(catalogue.load("wide").problem(dtype))["probed"]
    assert 0 < found.statistical <= found.rigorous
    assert found.rigorous < rigorous
    assert found.statistical < statistical
    assert found.rigorous > np.finfo(dtype).eps / 2
