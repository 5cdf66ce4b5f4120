"""Drift: each class on a pair made for it, what is blamed, the exit codes, and how it is told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from gradparity.reports import drift_files, drift_story, drift_terminal
from gradparity.reports.cli import cli
from gradparity.reports.comparison import compare
from gradparity.reports.drift import CellDrift, Comparison, Drift
from gradparity.reports.known import GONE, GREW
from gradparity.reports.snapshot import NARROW, SCHEMA, CellRecord, Entry, Header, Snapshot

HEAD = Header(
    SCHEMA, "0.1.0", "2026-01-02T03:04:05+00:00", "3.12.0", "Linux", {"torch": "2.12.0", "numpy": "2.4.6"}, "a cpu",
    ("avx2",), {"OMP_NUM_THREADS": "1"},
)  # fmt: skip
NEW = replace(HEAD, distributions={"torch": "2.13.0", "numpy": "2.4.6"})
HOSTILE = "</script><script>alert(1)</script>\x1b[31m|`x`\u202e **b** ##[error]\nnext {{ 7 * 7 }}"
U = 2.0**-24
BASE = np.array([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]], np.float32)


def entry(quantity: str, values: Any = BASE, verdict: str = "within", *, order: int = 0, **more: Any) -> Entry:
    a = np.asarray(values)
    fields = {
        "kind": "scenario", "subject": "xor", "dtype": a.dtype.name, "engine": "torch", "program": "probed",
        "quantity": quantity, "order": order, "verdict": verdict, "note": "", "reproducible": True,
    }  # fmt: skip
    allowed = more.pop("allowed", 4 * U * np.abs(np.nan_to_num(a.astype(np.float64), posinf=0.0, neginf=0.0)))
    return Entry.of(a, allowed, **(fields | more))


def cell(*entries: Entry, verdict: str = "within", **more: Any) -> CellRecord:
    first = entries[0] if entries else None
    kind, subject, dtype, engine = (
        (first.kind, first.subject, first.dtype, first.engine) if first else ("scenario", "xor", "float32", "torch")
    )
    batches = ((3, len(BASE)),) if kind == "scenario" else ()
    made = CellRecord(kind, subject, dtype, engine, verdict, entries=entries, batches=batches, inputs="in")
    return replace(made, **more)


def probe(quantity: str = "value", values: Any = BASE, **more: Any) -> Entry:
    about = {"kind": "probe", "subject": "jax.nn.softmax(axis=0) single[3,1,1]", "program": "", "verdict": ""}
    return entry(quantity, values, **(about | more))


def pair(old: CellRecord | None, new: CellRecord | None, head: Header = HEAD, new_head: Header = NEW) -> Comparison:
    sides = [Snapshot(h, (c,) if c else ()) for h, c in ((head, old), (new_head, new))]
    return compare(*sides)


def only(comparison: Comparison) -> CellDrift:
    (found,) = comparison.cells
    return found


def one(old: CellRecord | None, new: CellRecord | None) -> CellDrift:
    return only(pair(old, new))


def shifted(values: Any, at: tuple[int, ...], ulps: int = 1) -> Any:
    b = np.array(values)
    for _ in range(ulps):
        b[at] = np.nextafter(b[at], b.dtype.type(np.inf))
    return b


# --- scenarios -------------------------------------------------------------------------------------------------------


def test_identical_bits() -> None:
    found = pair(cell(entry("Z1"), entry("dW1", order=1)), cell(entry("Z1"), entry("dW1", order=1)))
    assert (only(found).drift, only(found).changes, found.exit_code(), found.exit_code(bits=True)) == (
        Drift.IDENTICAL, (), 0, 0
    )  # fmt: skip


def test_changed_within_the_bound() -> None:
    old = cell(entry("Z1"), entry("dW1", order=1))
    new = cell(entry("Z1"), entry("dW1", shifted(BASE, (0, 1, 2), 2), order=1))
    found = pair(old, new)
    change = only(found).first
    assert only(found).drift is Drift.WITHIN
    assert change is not None
    assert (change.quantity, change.step, change.index) == ("dW1", 1, (1, 2))
    moved = change.moved
    assert moved is not None
    assert (moved.ulp, moved.changed, moved.kept, moved.old) == (2.0, 1, 6, 6.0)
    # 2 ULP of 6 are 2^-20; old and new may each be 4 u · 6 off.
    assert moved.share is not None
    assert 0.9 < moved.share / (2.0**-20 / (48 * U)) <= 1.0
    assert (found.exit_code(), found.exit_code(bits=True)) == (0, 1)


def test_became_wrong_and_still_wrong_and_repaired() -> None:
    good, bad = cell(entry("dW1")), cell(entry("dW1", -BASE, "wrong", note="the sign is wrong"), verdict="wrong")
    assert pair(good, bad).exit_code() == 1
    assert one(good, bad).drift is Drift.BECAME_WRONG
    blamed = one(good, bad).blamed
    assert blamed is not None
    assert (blamed.quantity, blamed.verdicts, blamed.notes[1]) == ("dW1", ("within", "wrong"), "the sign is wrong")
    assert (one(bad, bad).drift, pair(bad, bad).exit_code(bits=True)) == (Drift.STILL_WRONG, 0)
    assert (one(bad, good).drift, pair(bad, good).exit_code(), pair(bad, good).exit_code(bits=True)) == (
        Drift.REPAIRED, 0, 1
    )  # fmt: skip


def test_a_suspect_quantity_counts_where_it_fails_a_run() -> None:
    good, suspect = cell(entry("dW1")), cell(entry("dW1", 1.5 * BASE, "suspect"))
    assert one(good, suspect).drift is Drift.WITHIN
    loose = replace(good, structured=False), replace(suspect, structured=False)
    assert one(*loose).drift is Drift.BECAME_WRONG


def test_a_convention_that_changed() -> None:
    plain = cell(entry("loss"))
    clipped = cell(entry("loss", BASE + 1, "declared", note="keras-clips"))
    other = cell(entry("loss", BASE + 2, "declared", note="keras-clips-more"))
    assert one(plain, clipped).drift is Drift.CONVENTION
    assert one(clipped, plain).drift is Drift.CONVENTION
    assert one(clipped, other).drift is Drift.CONVENTION
    assert one(clipped, clipped).drift is Drift.IDENTICAL
    assert pair(plain, clipped).exit_code() == 0
    wrong = cell(entry("loss", BASE + 3, "wrong"))
    assert one(clipped, wrong).drift is Drift.BECAME_WRONG


def test_a_known_defect_that_stays_in_a_release_that_is_not_listed_is_no_news() -> None:
    known = cell(entry("loss", verdict="known", note="jax-log1p"))
    unlisted = cell(entry("loss", verdict="wrong"))
    grown = cell(entry("loss", 2 * BASE, "wrong", note=f"{GREW} jax-log1p"))
    assert one(known, unlisted).drift is Drift.STILL_WRONG
    assert one(unlisted, known).drift is Drift.STILL_WRONG
    assert one(known, grown).drift is Drift.BECAME_WRONG
    assert one(known, cell(entry("loss"))).drift is Drift.REPAIRED
    assert one(cell(entry("loss")), known).drift is Drift.BECAME_WRONG


def test_faults_of_an_engine() -> None:
    good = cell(entry("dW1"))
    faulty = replace(good, faults=("the engine changed its input X",), verdict="wrong")
    gone = replace(good, faults=(f"listed as known (x), {GONE}: remove it",), verdict="wrong")
    assert one(good, faulty).drift is Drift.BECAME_WRONG
    assert "changed its input" in one(good, faulty).reason
    assert one(faulty, good).drift is Drift.REPAIRED
    # That the registry lists what a release has repaired is no defect of the release.
    assert one(good, gone).drift is Drift.IDENTICAL


def test_appeared_and_vanished() -> None:
    there = cell(entry("dW1"))
    unsupported = cell(verdict="unsupported", message="no compiler")
    for absent in (None, unsupported):
        assert one(absent, there).drift is Drift.APPEARED
        assert one(there, absent).drift is Drift.VANISHED
        assert pair(there, absent).exit_code(bits=True) == 0
    assert one(there, unsupported).reason == "no compiler"
    both = pair(unsupported, unsupported)
    assert (both.cells, both.neither) == ((), 1)
    more = cell(entry("dW1"), entry("db1", order=1))
    assert [(c.quantity, c.drift) for c in one(there, more).changes] == [("db1", Drift.APPEARED)]
    assert one(more, there).drift is Drift.VANISHED


@pytest.mark.parametrize("status", ["crashed", "timed out"])
def test_a_cell_that_does_not_finish_is_incomplete(status: str) -> None:
    there, ended = cell(entry("dW1")), cell(verdict=status, message="signal 11", log="one\ntwo")
    wrong_now = cell(entry("dW1", verdict="wrong"), verdict="wrong")
    for sides in ((there, ended), (ended, ended), (ended, wrong_now if status == "crashed" else there)):
        assert one(*sides).drift is Drift.INCOMPLETE
        assert "signal 11" in one(*sides).reason
        assert pair(*sides).exit_code() == 3
    wrong = cell(entry("Z1", engine="jax"), verdict="wrong"), cell(entry("Z1", -BASE, "wrong", engine="jax"))
    both = compare(Snapshot(HEAD, (there, wrong[0])), Snapshot(NEW, (ended, wrong[1])))
    assert both.exit_code() == 1


def test_a_probe_that_raises_on_both_sides_is_run_on_neither() -> None:
    there, raised = cell(probe()), replace(cell(probe()), entries=(), verdict="crashed", message="RuntimeError: no")
    both = pair(raised, raised)
    # Where that is all, nothing was compared.
    assert (both.cells, both.neither, both.exit_code()) == ((), 1, 3)
    assert (one(there, raised).drift, pair(there, raised).exit_code()) == (Drift.INCOMPLETE, 3)


def test_what_crashed_and_does_not_is_repaired() -> None:
    raised = replace(cell(probe()), entries=(), verdict="crashed", message="RuntimeError: no")
    for there in (cell(probe()), cell(entry("dW1"))):
        sides = replace(raised, kind=there.kind, subject=there.subject, dtype=there.dtype, engine=there.engine), there
        assert (one(*sides).drift, pair(*sides).exit_code()) == (Drift.REPAIRED, 0)
        assert one(*sides).reason == "old: crashed: RuntimeError: no"


def test_what_is_not_reproducible_is_never_drift() -> None:
    steady = cell(entry("Z1"), entry("dW1", order=1))
    random = cell(entry("Z1", -BASE, "wrong"), entry("dW1", 2 * BASE, "wrong", order=1, reproducible=False))
    for sides in ((steady, random), (random, steady), (random, random)):
        found = pair(*sides)
        assert only(found).drift is Drift.NOT_REPRODUCIBLE
        assert "dW1" in only(found).reason
        assert found.exit_code(bits=True) == 0
    once = cell(entry("dW1", -BASE, "wrong", reproducible=None))
    found = pair(cell(entry("dW1")), once)
    assert only(found).drift is Drift.BECAME_WRONG
    assert only(found).reason == "the new side did not run twice"
    assert "1 cell of the new side did not finish a second run" in drift_terminal.render(found, width=200)


def test_what_has_the_same_bits_needs_no_second_run() -> None:
    same = cell(entry("dW1", verdict="wrong", reproducible=None), verdict="wrong")
    found = one(same, same)
    assert (found.drift, found.reason) == (Drift.STILL_WRONG, "")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cpu": "another"}, "another processor: a cpu → another"),
        ({"features": ("avx2", "avx512f")}, "other instruction sets: +avx512f"),
        ({"variables": {"OMP_NUM_THREADS": "8"}}, "OMP_NUM_THREADS 1 → 8"),
    ],
)
def test_another_machine_is_said_and_hides_no_verdict(changed: dict[str, Any], said: str) -> None:
    other = replace(NEW, **changed)
    old, near = cell(entry("dW1")), cell(entry("dW1", shifted(BASE, (0, 0, 0))))
    found = pair(old, near, new_head=other)
    assert only(found).drift is Drift.NOT_COMPARABLE
    assert (found.exit_code(), found.exit_code(bits=True)) == (0, 3)
    assert said in json.loads(drift_files.json(found))["machine"][0]
    for text in (drift_terminal.render(found, width=200), drift_files.as_html(found)):
        assert said in text
    assert said in drift_files.as_markdown(found).replace("\\", "")
    assert only(pair(old, old, new_head=other)).drift is Drift.IDENTICAL
    assert only(pair(old, cell(entry("dW1", -BASE, "wrong")), new_head=other)).drift is Drift.BECAME_WRONG
    far = pair(cell(probe()), cell(probe(values=2 * BASE)), new_head=other)
    assert (only(far).drift, far.exit_code()) == (Drift.BEYOND, 1)


def test_other_inputs_are_said() -> None:
    old, new = cell(entry("dW1")), replace(cell(entry("dW1", shifted(BASE, (0, 0, 0)))), inputs="other")
    assert one(old, new).drift is Drift.NOT_COMPARABLE
    assert "other inputs" in one(old, new).reason


# --- what is blamed --------------------------------------------------------------------------------------------------


def test_the_first_change_is_the_first_in_time_not_in_the_table() -> None:
    steps = np.ones((4, 2, 3), np.float32)

    def made(z: Any, w: Any) -> CellRecord:
        return cell(entry("Z1", z), entry("W1_next", w, order=1, program="plain"), batches=((3, 4),))

    # The update is off in step 2; so Z1 is in step 3, before it in the table.
    new = made(shifted(steps, (2, 0, 0), 9), shifted(steps, (1, 1, 1)))
    first = one(made(steps, steps), new).first
    assert first is not None
    assert (first.quantity, first.step, first.index) == ("W1_next", 2, (1, 1))


def test_the_share_is_of_the_step_in_which_the_inputs_were_the_same() -> None:
    steps = np.ones((3, 2, 3), np.float32)
    first = one(
        cell(entry("W1_next", steps), batches=((3, 3),)),
        cell(entry("W1_next", shifted(shifted(steps, (1, 0, 0)), (2, 0, 0), 5000)), batches=((3, 3),)),
    ).first
    assert first is not None
    assert first.moved is not None
    assert (first.step, first.moved.ulp) == (2, 1.0)
    assert first.moved.share is not None
    assert first.moved.share < 1.0


def test_the_share_of_a_large_array_is_of_that_step_too() -> None:
    large = np.random.default_rng(5).random((5, 100, 100)).astype(np.float32)
    new = shifted(large, (1, 7, 13))
    new[2:] *= 3
    first = one(*(cell(entry("W1_next", a), batches=((100, 5),)) for a in (large, new))).first
    assert first is not None
    assert first.moved is not None
    assert first.step == 2
    assert first.moved.share is not None
    assert first.moved.share < 1.0


def test_steps_with_fewer_samples_are_told_apart() -> None:
    ragged = np.arange(1.0, 29.0)
    old = entry("A1", ragged, dtype="float64")
    new = entry("A1", shifted(ragged, (21,)), dtype="float64")
    # Two rows; batches of 4, 1, 4, 1, 4 samples: element 21 is the second of the last step.
    runs = ((4, 1), (1, 1), (4, 1), (1, 1), (4, 1))
    first = one(cell(old, batches=runs), cell(new, batches=runs)).first
    assert first is not None
    assert first.step == 5


def test_a_change_between_the_samples_of_a_large_array_is_seen_and_dated() -> None:
    large = np.random.default_rng(5).random((5, 100, 100)).astype(np.float32)
    place = (3, 7, 13)
    new = shifted(large, place)
    old_cell, new_cell = (cell(entry("A1", a), batches=((100, 5),)) for a in (large, new))
    found = pair(old_cell, new_cell)
    first = only(found).first
    assert only(found).drift is Drift.WITHIN
    assert first is not None
    assert first.moved is not None
    assert (first.step, first.moved.changed, first.moved.blocks) == (4, 0, 1)
    assert found.exit_code(bits=True) == 1


def test_a_fault_of_an_engine_between_two_snapshots(tmp_path: Path) -> None:
    """End to end: the right engine and a broken one, under the same name."""
    right = (
        "import numpy as np\n"
        "def step(p):\n"
        "    Z = p.W[0] @ p.X + p.b[0]\n"
        "    d = (Z - p.Y) / np.asarray(p.N, p.dtype)\n"
        "    return {'Z1': Z, 'A1': Z, 'delta1': d, 'dW1': d @ p.X.T, 'db1': d.sum(axis=1, keepdims=True)}\n"
    )
    (tmp_path / "line.toml").write_text(
        'name = "line"\nlearning_rate = 0.125\nepochs = 3\nlayers = [{ units = 2, activation = "linear" }]\n'
        'loss = { name = "half_squared_error", samples = "mean", outputs = "sum" }\ndtypes = ["float32"]\n'
        '[data]\nkind = "random"\nsamples = 5\ninputs = 3\nseed = 1\n[weights]\nkind = "glorot_uniform"\nseed = 1\n'
    )

    def run(out: str, source: str) -> Path:
        (tmp_path / "engine.py").write_text(source)
        arguments = ["run", str(tmp_path / "line.toml"), "--engine", f"{tmp_path}/engine.py:step"]
        result = CliRunner().invoke(cli, [*arguments, "--out", str(tmp_path / out)])
        assert result.exit_code in (0, 1), result.output
        return tmp_path / out

    old, again = run("old", right), run("again", right)
    reordered = run("reordered", right.replace("d @ p.X.T", "(d[:, ::-1] @ p.X.T[::-1])"))
    broken = run("broken", right.replace("d @ p.X.T", "1.25 * (d @ p.X.T)"))
    rolls = run(
        "rolls", right.replace("d @ p.X.T", "np.asarray(__import__('os').urandom(1)[0], p.dtype) * (d @ p.X.T)")
    )

    def diff(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(cli, ["diff", *map(str, arguments)])
        return result.exit_code, result.output

    code, text = diff(old, again, "--bits")
    assert (code, text.splitlines()[0]) == (0, "Identical: 1 cell, bit for bit.")
    code, text = diff(old, broken)
    assert code == 1
    assert "the first quantity that changed: dW1 of the probed program in step 1" in re.sub(r"\s+", " ", text)
    code, text = diff(broken, old)
    assert code == 0
    assert "repaired" in text
    code, text = diff(old, reordered)
    assert code == 0
    assert diff(old, reordered, "--bits")[0] == ("1 changed within the bound" in text)
    code, text = diff(old, rolls, "--bits")
    assert code == 0
    assert "1 not reproducible" in text


# --- probes without a formula ----------------------------------------------------------------------------------------


def test_a_probe_within_and_beyond_rounding() -> None:
    old = cell(probe(), probe("d0", order=1))
    near = cell(probe(values=shifted(BASE, (0, 0, 0))), probe("d0", order=1))
    far = cell(probe(), probe("d0", shifted(BASE, (0, 1, 0), 90), order=1))
    assert (one(old, near).drift, pair(old, near).exit_code()) == (Drift.WITHIN, 0)
    assert (one(old, far).drift, pair(old, far).exit_code()) == (Drift.BEYOND, 1)
    blamed = one(old, far).blamed
    assert blamed is not None
    assert (blamed.quantity, blamed.index) == ("d0", (0, 1, 0))
    assert blamed.moved is not None
    assert blamed.moved.ulp == 90.0


def test_a_probe_with_another_shape_is_beyond_rounding() -> None:
    assert one(cell(probe()), cell(probe(values=BASE[:, :1]))).drift is Drift.BEYOND


def test_a_probe_that_is_judged_goes_by_its_verdict() -> None:
    old, new = (cell(probe(values=a, verdict="within")) for a in (BASE, 2 * BASE))
    assert one(old, new).drift is Drift.WITHIN
    assert one(old, cell(probe(values=2 * BASE, verdict="wrong"))).drift is Drift.BECAME_WRONG


def twins(
    old32: Any, old64: Any, new32: Any, new64: Any, notes: tuple[str, str] = ("", ""), dtype: str = "float32"
) -> CellDrift:
    def side(a: Any, b: Any, note: str) -> tuple[CellRecord, ...]:
        fine = np.asarray(b, np.float64)
        allowed = 1e-15 * np.abs(fine)
        return cell(probe(values=np.asarray(a, np.float32))), cell(probe(values=fine, allowed=allowed, note=note))

    found = compare(Snapshot(HEAD, side(old32, old64, notes[0])), Snapshot(NEW, side(new32, new64, notes[1])))
    return next(c for c in found.cells if c.dtype == dtype)


def test_a_probe_that_came_nearer_to_its_float64_value_is_repaired() -> None:
    right, off = BASE, BASE * np.float32(1.001)
    assert twins(off, right, right, right).drift is Drift.REPAIRED
    assert twins(right, right, off, right).drift is Drift.BEYOND
    assert twins(off, right, off * np.float32(1.001), right).drift is Drift.BEYOND
    # Where float64 moved too, it is not rounding that was repaired.
    assert twins(off, off, right, right).drift is Drift.BEYOND


def test_a_float64_value_that_moved_by_less_than_float32_can_tell() -> None:
    fine = BASE.astype(np.float64)
    other, far = fine * (1 + 1e-8), fine * (1 + 1e-5)
    assert twins(BASE, fine, BASE, other, dtype="float64").drift is Drift.FINER
    assert twins(BASE, fine, BASE, far, dtype="float64").drift is Drift.BEYOND
    # What is seen in float32 as well is no matter of precision.
    assert twins(BASE, fine, BASE * np.float32(1.001), other, dtype="float64").drift is Drift.BEYOND
    # float64 that was computed in float64, and is not any more.
    assert twins(BASE, fine, BASE, other, ("", NARROW), dtype="float64").drift is Drift.BEYOND
    assert twins(BASE, fine, BASE, other, (NARROW, NARROW), dtype="float64").drift is Drift.FINER


def test_not_a_number() -> None:
    nothing, number = np.array([[[np.nan, 1.0]]]), np.array([[[2.0, 1.0]]])
    assert one(cell(probe(values=nothing)), cell(probe(values=number))).drift is Drift.REPAIRED
    assert one(cell(probe(values=number)), cell(probe(values=nothing))).drift is Drift.BEYOND
    assert one(cell(probe(values=nothing)), cell(probe(values=number * 1.5))).drift is Drift.BEYOND
    broken = BASE.copy()
    broken[0, 0, 0] = np.nan
    assert twins(BASE, BASE, broken, BASE).drift is Drift.BEYOND
    assert twins(broken, BASE, BASE, BASE).drift is Drift.REPAIRED
    assert twins(broken, BASE, broken, BASE).drift is Drift.IDENTICAL
    right, wrong = np.array([[[np.inf, 1.0]]], np.float32), np.array([[[np.inf, 1.5]]], np.float32)
    assert twins(wrong, right, right, right).drift is Drift.REPAIRED
    one_nan, other_nan = (np.array([[[bits]]], np.uint32).view(np.float32) for bits in (0x7FC00000, 0x7FC00001))
    assert one(cell(probe(values=one_nan)), cell(probe(values=other_nan))).drift is Drift.WITHIN


def test_what_may_overflow_may() -> None:
    largest = float(np.finfo(np.float32).max)
    finite, infinite = np.array([[[largest, 1.0]]]), np.array([[[np.inf, 1.0]]])
    assert twins(finite, finite, infinite, finite).drift is Drift.WITHIN
    assert twins(finite * 0.5, finite * 0.5, infinite, finite * 0.5).drift is Drift.BEYOND


@pytest.mark.parametrize("fault", ["peak", "hole", "bias"])
def test_a_large_probe_that_changed_between_its_samples(fault: str) -> None:
    large = np.random.default_rng(6).random((300, 400)).astype(np.float32) + 1
    new = large.copy()
    if fault == "peak":
        new[17, 23] = 5.0
    elif fault == "hole":
        new[17, 23] = np.nan
    else:
        new[17, 20:60] *= np.float32(1.05)
    assert one(cell(probe(values=large)), cell(probe(values=new))).drift is Drift.BEYOND
    near = large.copy()
    near[17, 23] = np.nextafter(near[17, 23], np.float32(9))
    assert one(cell(probe(values=large)), cell(probe(values=near))).drift is Drift.WITHIN


# --- how it is told --------------------------------------------------------------------------------------------------


def everything() -> Comparison:
    """Every kind of drift, on engines of its own."""
    bad: dict[str, Any] = {"verdict": "wrong", "note": "dW1 is the negative of what its formula gives"}
    kinds: dict[str, tuple[CellRecord | None, CellRecord | None]] = {
        "torch": (cell(entry("Z1"), entry("dW1", order=1)), cell(entry("Z1"), entry("dW1", -BASE, order=1, **bad))),
        "torch:func": (cell(entry("dW1", -BASE, **bad)), cell(entry("dW1", -BASE, **bad))),
        "torch:compile": (cell(entry("dW1")), cell(verdict="crashed", message="killed by signal 11", log="one\ntwo")),
        "keras:jax": (cell(entry("loss")), cell(entry("loss", BASE + 1, "declared", note="keras-clips"))),
        "keras:torch": (cell(entry("dW1", -BASE, **bad)), cell(entry("dW1"))),
        "numpy": (cell(entry("dW1")), cell(entry("dW1"))),
        "tensorflow": (cell(entry("dW1")), cell(entry("dW1", shifted(BASE, (0, 1, 1), 3)))),
        "tensorflow:xla": (cell(entry("dW1")), cell(entry("dW1", 2 * BASE, reproducible=False))),
        "jax:vmap": (None, cell(entry("dW1"))),
        "jax": (cell(entry("dW1")), None),
        "jax:jit": (cell(probe()), cell(probe(values=2 * BASE))),
    }

    def on(engine: str, made: CellRecord) -> CellRecord:
        return replace(made, engine=engine, entries=tuple(replace(e, engine=engine) for e in made.entries))

    sides = [tuple(on(engine, pair_[i]) for engine, pair_ in kinds.items() if pair_[i]) for i in (0, 1)]  # type: ignore[arg-type]
    fine = BASE.astype(np.float64)
    below = [cell(probe(values=a, allowed=1e-15 * fine, engine="keras:tensorflow")) for a in (fine, fine * (1 + 1e-8))]
    coarse = cell(probe(engine="keras:tensorflow"))
    return compare(Snapshot(HEAD, (*sides[0], below[0], coarse)), Snapshot(NEW, (*sides[1], below[1], coarse)))


def test_every_kind_is_there_and_counted() -> None:
    found = everything()
    assert set(found.counts) == set(Drift) - {Drift.NOT_COMPARABLE}
    assert sum(found.counts.values()) == len(found.cells) == 13


RENDERERS: list[Callable[[Comparison], str]] = [drift_terminal.render, drift_files.as_markdown, drift_files.as_html]


@pytest.mark.parametrize("render", RENDERERS)
def test_every_kind_is_told(render: Callable[[Comparison], str]) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>|\\", "", render(everything())))
    for drift in set(Drift) - {Drift.NOT_COMPARABLE, Drift.IDENTICAL}:
        assert str(drift) in text.lower()
    for part in (
        "torch 2.12.0 → 2.13.0", "dW1 is the negative of what its formula gives", "killed by signal 11", "keras-clips",
        "two runs on the new side differ in dW1", "jax.nn.softmax(axis=0) single[3,1,1]", " ULP", "two",
    ):  # fmt: skip
        assert part in text
    assert text.index("became wrong") < text.index("still wrong")


@pytest.mark.parametrize("unicode", [True, False])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_terminal_report_fits(width: int, unicode: bool) -> None:
    text = drift_terminal.render(everything(), width=width, unicode=unicode)
    assert max(map(len, text.splitlines())) <= width
    assert text.isascii() or unicode


def test_json_holds_everything() -> None:
    raw = json.loads(drift_files.json(everything(), bits=True))
    assert (raw["gradparity_drift"], raw["exit_code"], raw["bits"]) == (1, 1, True)
    assert raw["counts"]["became wrong"] == 1
    cells = {c["engine"]: c for c in raw["cells"]}
    change = cells["torch"]["changes"][0]
    assert (change["quantity"], change["drift"], change["verdicts"]) == ("dW1", "became wrong", ["within", "wrong"])
    assert cells["tensorflow"]["first"]["moved"]["ulp"] == 3.0
    assert raw["new"]["distributions"]["torch"] == "2.13.0"


def test_the_page_stands_alone() -> None:
    text = drift_files.as_html(everything())
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", text)
    assert "default-src 'none'" in text
    ids = re.findall(r'id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    for anchor in re.findall(r'href="#([^"]+)"', text):
        assert anchor in ids


def hostile() -> Comparison:
    old = cell(entry("dW1", subject=HOSTILE, engine=HOSTILE, note=HOSTILE))
    new = cell(entry("dW1", -BASE, "wrong", subject=HOSTILE, engine=HOSTILE, note=HOSTILE))
    crashed = cell(verdict="crashed", message=HOSTILE, log=HOSTILE)
    there = cell(entry("dW1"))
    head = replace(NEW, distributions={HOSTILE: "1"}, cpu=HOSTILE, variables={"X_THREADS": HOSTILE})
    return compare(Snapshot(HEAD, (old, there)), Snapshot(head, (new, crashed)))


def test_nothing_that_comes_from_outside_is_markup() -> None:
    html, markdown = drift_files.as_html(hostile()), drift_files.as_markdown(hostile())
    terminal = drift_terminal.render(hostile())
    assert html.count("<script>") == 1
    assert "<script" not in markdown
    for text in (html, markdown, terminal):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "49 }}" not in text
    assert "##[" not in terminal


def test_what_is_alike_is_grouped() -> None:
    cells = [(s, d) for s in ("a", "b", "c") for d in ("float32", "float64")]

    def side(values: Any, verdict: str, engine: str) -> list[CellRecord]:
        return [
            cell(entry("dW1", np.asarray(values, d), verdict, subject=s, engine=engine, note=verdict)) for s, d in cells
        ]

    old = [c for engine in ("torch", "jax") for c in side(BASE, "within", engine)]
    new = [c for engine in ("torch", "jax") for c in side(-BASE, "wrong", engine)]
    found = compare(Snapshot(HEAD, tuple(old)), Snapshot(NEW, tuple(new)))
    assert [(g.engine, len(g.cells)) for g in drift_story.groups(found)] == [("torch", 6), ("jax", 6)]


# --- the command line ------------------------------------------------------------------------------------------------


def test_the_command_writes_every_format(tmp_path: Path) -> None:
    for name, head, values in (("old", HEAD, BASE), ("new", NEW, shifted(BASE, (0, 0, 0)))):
        Snapshot(head, (cell(entry("dW1", values)),)).write(tmp_path / name)
    sides = [str(tmp_path / "old"), str(tmp_path / "new")]
    for form, start in (("terminal", "Nothing"), ("html", "<!doctype"), ("markdown", "# Gradient"), ("json", "{")):
        file = tmp_path / f"out.{form}"
        shown = CliRunner().invoke(cli, ["diff", *sides, "--format", form])
        saved = CliRunner().invoke(cli, ["diff", *sides, "--format", form, "-o", str(file)])
        assert (shown.exit_code, saved.exit_code) == (0, 0)
        assert shown.output.startswith(start)
        assert file.read_text(encoding="utf-8").startswith(start)
    assert CliRunner().invoke(cli, ["diff", *sides, "--bits"]).exit_code == 1


def test_bad_input_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"PAR1 but no more")
    for arguments, said in (
        (["diff", str(tmp_path / "none"), str(tmp_path / "old")], "no such file"),
        (["diff", str(tmp_path / "old"), str(tmp_path / "old")], "is damaged"),
    ):
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 2
        assert said in result.output
        assert "Traceback" not in result.output


def test_github_shows_the_drift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, head, made in (("old", HEAD, entry("dW1")), ("new", NEW, entry("dW1", -BASE, "wrong"))):
        Snapshot(head, (cell(made),)).write(tmp_path / name)
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    result = CliRunner().invoke(cli, ["diff", str(tmp_path / "old"), str(tmp_path / "new")])
    assert result.exit_code == 1
    assert "::error title=torch on xor float32%3A became wrong::" in result.output
    assert "Became wrong" in summary.read_text(encoding="utf-8")
