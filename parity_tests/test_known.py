"""The registry of conventions and known defects is strict both ways."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradparity.reference.verdict import Finding, Verdict, Worst
from gradparity.reports.cell import Cell
from gradparity.reports.known import Entry, applied, entries

ENTRY = Entry(
    id="slope", kind=Verdict.KNOWN, engines=("tensor*",), versions={"tensorflow": "==2.21.0"}, scenarios=("*",),
    dtypes=("float64",), programs=("probed",), quantities=("A*",), largest=100.0, seen=("leaky",),
    reason="rounds its slope", source="upstream", reproduction="script.py",
)  # fmt: skip


def cell(quantity: str = "A1", ratio: float = 50.0, **changed: object) -> Cell:
    worst = Worst(1, (0, 0), 1.0 + ratio, 1.0, ratio, 1.0, 1.0)
    verdict = Verdict.WRONG if ratio > 1.0 else Verdict.WITHIN
    found = Finding("probed", quantity, verdict, wrong=int(ratio > 1.0), worst=worst)
    plain = Cell("leaky", "float64", "tensorflow", verdict, (found,), environment={"tensorflow": "2.21.0"})
    return replace(plain, **changed)  # type: ignore[arg-type]


def test_a_listed_defect_is_known_and_says_why() -> None:
    known = applied(cell(), (ENTRY,))
    assert known.verdict is Verdict.KNOWN
    assert known.reasons == {"probed A1": ENTRY.sentence}


@pytest.mark.parametrize(
    "unlisted",
    [
        cell("dW1"),
        cell(engine="torch"),
        cell(dtype="float32"),
        cell(environment={"tensorflow": "2.22.0"}),
        cell(environment={}),
    ],
    ids=["quantity", "engine", "dtype", "version", "no version"],
)
def test_what_is_not_listed_stays_wrong(unlisted: Cell) -> None:
    assert applied(unlisted, (ENTRY,)).verdict is Verdict.WRONG


def test_a_defect_that_grows_is_wrong() -> None:
    grown = applied(cell(ratio=101.0), (ENTRY,))
    assert grown.verdict is Verdict.WRONG
    assert "grew" in grown.findings[0].note


def test_a_defect_that_is_gone_where_it_was_seen_is_wrong() -> None:
    gone = applied(cell(ratio=0.5), (ENTRY,))
    assert gone.verdict is Verdict.WRONG
    assert "no longer there" in gone.faults[0]
    assert applied(cell(ratio=0.5, scenario="another"), (ENTRY,)).verdict is Verdict.WITHIN


def test_a_convention_must_give_the_numbers() -> None:
    declared = replace(ENTRY, kind=Verdict.DECLARED, conventions=("clip",))
    explained = replace(cell().findings[0], convention="clip")
    assert applied(cell(findings=(explained,)), (declared,)).verdict is Verdict.DECLARED
    assert applied(cell(), (declared,)).verdict is Verdict.WRONG


def test_every_entry_that_ships_is_complete() -> None:
    for entry in entries():
        assert entry.kind in (Verdict.KNOWN, Verdict.DECLARED)
        assert entry.largest > 1.0
        assert all((entry.reason, entry.source, entry.reproduction, entry.versions))
        assert entry.kind is Verdict.KNOWN or entry.conventions
