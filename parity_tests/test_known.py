"""The registry of conventions and known defects is strict both ways."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gradparity.adapters.operations.arrays import arrays
from gradparity.adapters.operations.case import OperationTask, Outputs
from gradparity.adapters.outcome import Ended, Status
from gradparity.reference.verdict import Finding, Verdict, Worst
from gradparity.reports.cell import Cell
from gradparity.reports.known import Entry, applied, entries
from gradparity.reports.known_probes import listed, of
from gradparity.reports.operation_cells import records, select
from gradparity.reports.snapshot import CellRecord

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


# --- probes ----------------------------------------------------------------------------------------------------------

IN_PROBES = replace(
    ENTRY, engines=("keras:*",), versions={}, conventions=("float32",), probes=("keras.ops.matmul() odd*",)
)
SUBJECT = "keras.ops.matmul() odd[5,7][7,3]"


def product(working: type, dtype: str = "float64") -> CellRecord:
    """The record of a product that is computed in the type `working`."""
    (case,) = (case for case in select((SUBJECT,)) if case.name == SUBJECT)
    P, Q = arrays(case)
    value = np.matmul(P.astype(working), Q.astype(working)).astype(dtype)
    task, ended = OperationTask("keras:torch", case, (P, Q)), Ended(Status.DONE)
    outputs = [Outputs(dtype, Status.DONE, values={"value": value})]
    return next(record for record in records(task, outputs, ended) if record.dtype == dtype)


def test_a_listed_defect_of_a_probe_is_known_no_larger_and_not_gone() -> None:
    assert listed(product(np.float32), ()).verdict == Verdict.WRONG
    known = listed(product(np.float32), (IN_PROBES,))
    assert (known.verdict, known.message) == (Verdict.KNOWN, IN_PROBES.sentence)
    assert listed(product(np.float16), (IN_PROBES,)).verdict == Verdict.WRONG
    gone = listed(product(np.float64), (IN_PROBES,))
    assert gone.verdict == Verdict.WRONG
    assert "no longer there" in gone.message
    for other in ({"engines": ("jax",)}, {"probes": ("keras.ops.sum*",)}, {"versions": {"keras": "<3"}}):
        assert listed(product(np.float32), (replace(IN_PROBES, **other),)).verdict == Verdict.WRONG


def test_a_listed_exception_of_a_probe_is_known_and_no_other_failure_is() -> None:
    entry = replace(IN_PROBES, conventions=(), dtypes=("*",), raises="expected [5, 7]")
    crashed = replace(
        product(np.float64), verdict=str(Verdict.CRASHED), entries=(), message="ValueError: expected [5, 7], got [7]"
    )
    assert listed(crashed, (entry,)).verdict == Verdict.KNOWN
    assert listed(crashed, (IN_PROBES,)).verdict == Verdict.CRASHED
    assert listed(replace(crashed, message="MemoryError"), (entry,)).verdict == Verdict.CRASHED
    assert listed(product(np.float32), (entry,)).verdict == Verdict.WRONG
    assert listed(product(np.float64), (entry,)).verdict == Verdict.WRONG


def test_every_listed_probe_exists() -> None:
    for entry in entries():
        for pattern in entry.probes:
            assert any(of(entry, case.name) for case in select()), pattern
