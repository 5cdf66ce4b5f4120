"""Snapshots: every bit that is kept comes back, every damage is told, and what is recorded is what was computed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("hypothesis", reason="hypothesis draws what is tested: pip install 'gradparity[test]'")

from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from gradparity.reference.errors import InputError
from gradparity.reports import store
from gradparity.reports.cli import cli
from gradparity.reports.kept import BLOCK, BLOCKS, KEPT, SAMPLES, Keeping, places, stops, summary, upward
from gradparity.reports.side import Side
from gradparity.reports.snapshot import SCHEMA, CellRecord, Entry, Header, Snapshot
from gradparity.reports.snapshot_file import HEADER

HEAD = Header(
    SCHEMA, "0.1.0", "2026-01-02T03:04:05+00:00", "3.12.0", "Linux", {"torch": "2.13.0"}, "a cpu", ("avx2",), {}
)
VALUES = np.array([[[1.5, -0.0, np.nan], [np.inf, 5e-324, 0.1]]])


def entry(quantity: str = "dW1", array: Any = VALUES, order: int = 0, **more: Any) -> Entry:
    made = Entry.of(
        array, np.abs(np.nan_to_num(array, posinf=1.0)) * 1e-7, kind="scenario", subject="s", dtype=array.dtype.name,
        engine="torch", program="plain", quantity=quantity, order=order, verdict="within", note="", reproducible=True,
    )  # fmt: skip
    return replace(made, **more)


def snapshot() -> Snapshot:
    large = np.random.default_rng(1).random((3, 100, 100))
    large[1, 2, 3] = np.nan
    odd = entry("loss", reproducible=None, note="a | b\n\x00", verdict="")
    entries = (entry(), entry("A1", large, 1), replace(odd, order=2))
    full = CellRecord(
        "scenario", "s", "float64", "torch", "within", entries=entries, batches=((4, 2), (3, 1)), faults=("a fault",),
        environment={"torch": "2.13.0"}, seconds=0.25, structured=False, inputs="ab",
    )  # fmt: skip
    return Snapshot(HEAD, (full, CellRecord("scenario", "s", "float64", "jax", "crashed", "signal 11", "one\ntwo")))


def small() -> Snapshot:
    return Snapshot(HEAD, (CellRecord("scenario", "s", "float64", "torch", "within", entries=(entry(),)),))


# --- what is kept of one array ---------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(1, 900), min_size=1, max_size=60),
    st.lists(st.integers(0, 10**9), max_size=5),
    st.sampled_from(["float32", "float64"]),
    st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_an_array_is_kept_alike_in_whatever_pieces_it_comes(
    steps: list[int], cuts: list[int], dtype: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    a = rng.standard_normal(sum(steps)).astype(dtype)
    a[rng.integers(0, a.size, 3)] = [np.nan, np.inf, -np.inf]
    bounds = np.abs(rng.standard_normal(a.size))
    keeping = Keeping(steps)
    places_ = sorted(cut % a.size for cut in cuts)
    for piece, allowed in zip(np.split(a, places_), np.split(bounds, places_), strict=True):
        keeping.add(piece, allowed)
    kept = keeping.summary()
    assert kept.digest == hashlib.sha256(a.tobytes()).hexdigest()
    assert kept.nonfinite == np.count_nonzero(~np.isfinite(a))
    indices = np.arange(a.size) if a.size <= KEPT else places(a.size, SAMPLES)
    assert kept.kept == a[indices].tobytes()
    assert kept.allowed == upward(bounds[indices]).tobytes()
    finite = a[np.isfinite(a)]
    assert (kept.lowest, kept.highest) == (finite.min(initial=np.inf), finite.max(initial=-np.inf))
    blocks = np.frombuffer(kept.blocks, BLOCK)
    assert (blocks.size > 0) == (a.size > KEPT)
    start = 0
    for block in blocks:
        part = a[start : block["stop"]]
        good = part[np.isfinite(part)]
        assert block["lowest"] == good.min(initial=np.inf)
        assert block["highest"] == good.max(initial=-np.inf)
        assert block["nonfinite"] == part.size - good.size
        assert block["allowed"] == upward(bounds[start : block["stop"]]).max()
        start = block["stop"]
    assert start in (0, a.size)


@pytest.mark.parametrize("steps", [[50_000], [700] * 57, [700] * 56 + [33], [100] * 300, [9] * 3000])
def test_no_block_reaches_over_the_end_of_a_step_unless_steps_are_tiny(steps: list[int]) -> None:
    found = stops(steps)
    assert found[-1] == sum(steps)
    assert (np.diff(found) > 0).all()
    assert len(found) <= max(BLOCKS, len(steps))
    ends = np.cumsum(steps)
    assert set(ends) <= set(found) or sum(steps) < 64 * len(steps)


@given(st.lists(st.floats(0, allow_nan=False), min_size=1, max_size=50))
def test_bounds_are_rounded_up_and_by_little(bounds: list[float]) -> None:
    a = np.array(bounds)
    up = upward(a).astype(np.float64)
    assert (up >= a).all()
    ordinary = (a > 1e-37) & (a < 1e38)
    assert (up[ordinary] <= a[ordinary] * (1 + 2**-7)).all()
    assert np.isnan(upward(np.array([np.nan]))).all()


def test_a_change_of_any_element_of_a_large_array_shows_in_its_block() -> None:
    a = np.random.default_rng(3).random(40_000).astype(np.float32)
    before = np.frombuffer(summary(a).blocks, BLOCK)
    for place in (0, 1, 20_011, 39_999):
        b = a.copy()
        b[place] = np.nextafter(b[place], np.float32(2))
        after = np.frombuffer(summary(b).blocks, BLOCK)
        (number,) = np.flatnonzero(before["crc"] != after["crc"])
        assert before["stop"][number] > place
        assert number == 0 or before["stop"][number - 1] <= place


# --- the file --------------------------------------------------------------------------------------------------------


def test_a_snapshot_survives_its_file(tmp_path: Path) -> None:
    made = snapshot()
    made.write(tmp_path / "x.parquet")
    # repr, in which NaN equals itself, tells every field and every bit.
    assert repr(Snapshot.read(tmp_path / "x.parquet")) == repr(made)
    assert [f.name for f in tmp_path.iterdir()] == ["x.parquet"]


def test_any_reader_of_parquet_can_read_it(tmp_path: Path) -> None:
    snapshot().write(tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.num_rows == 4
    assert table.column("quantity").to_pylist() == ["dW1", "A1", "loss", ""]
    kept = table.column("kept")[0].as_py()
    assert np.array_equal(np.frombuffer(kept, "<f8"), VALUES.ravel(), equal_nan=True)
    assert json.loads(table.schema.metadata[HEADER])["cpu"] == "a cpu"


def read_or_refused(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    try:
        return repr(Snapshot.read(path))
    except InputError:
        return "refused"


def test_a_flipped_bit_anywhere_is_told_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    small().write(path)
    whole, want = path.read_bytes(), repr(small())
    outcomes = set()
    for place in range(0, len(whole), 29):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        outcomes.add(read_or_refused(path, bytes(data)))
    assert outcomes == {want, "refused"}


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_damage_of_the_numbers_is_told(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("flip") / "x.parquet"
    snapshot().write(path)
    raw = bytearray(path.read_bytes())
    for place in data.draw(st.sets(st.integers(0, len(raw) - 1), min_size=1, max_size=20)):
        raw[place] ^= data.draw(st.integers(1, 255))
    assert read_or_refused(path, bytes(raw)) in (repr(snapshot()), "refused")


def test_every_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    small().write(path)
    whole = path.read_bytes()
    for end in [0, 3, 4, 8, *range(9, len(whole), 211), len(whole) - 1]:
        assert read_or_refused(path, whole[:end]) == "refused"


def test_what_somebody_rewrote_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    small().write(path)
    table = pq.read_table(path)
    verdicts = pa.array(["wrong"] * table.num_rows)
    table = table.set_column(table.schema.get_field_index("verdict"), "verdict", verdicts)
    pq.write_table(table, path)
    with pytest.raises(InputError, match="checksum"):
        Snapshot.read(path)


@pytest.mark.parametrize("data", [b"", b"hello", b"PAR1PAR1", b"PK\x03\x04", b"\x80\x04N."])
def test_another_file_is_refused(data: bytes, tmp_path: Path) -> None:
    assert read_or_refused(tmp_path / "x", data) == "refused"


def test_foreign_parquet_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="is not a snapshot"):
        Snapshot.read(tmp_path / "x.parquet")


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    replace(small(), header=replace(HEAD, schema=SCHEMA + 1)).write(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="newer gradparity"):
        Snapshot.read(tmp_path / "x.parquet")


def test_a_missing_file_and_a_folder_without_one(tmp_path: Path) -> None:
    for path, says in ((tmp_path / "none", "no such file"), (tmp_path, "holds no snapshot")):
        with pytest.raises(InputError, match=says):
            Snapshot.read(path)


def test_a_place_that_cannot_be_written_is_bad_input_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="cannot write"):
        small().write(tmp_path / "no" / "x.parquet")
    small().write(tmp_path / "x.parquet")
    before = (tmp_path / "x.parquet").read_bytes()

    def full(table: object, where: Path, **_: object) -> None:
        where.write_bytes(b"PAR1")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gradparity.reports.snapshot_file.pq.write_table", full)
    with pytest.raises(InputError, match="No space left"):
        snapshot().write(tmp_path / "x.parquet")
    assert (tmp_path / "x.parquet").read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == ["x.parquet"]


# --- recording -------------------------------------------------------------------------------------------------------

ENGINE = """
import os, random
import numpy as np

def right(p):
    assert len(p.layers) == 1
    Z = p.W[0] @ p.X + p.b[0]
    d = (Z - p.Y) / np.asarray(p.N, p.dtype)
    return {"Z1": Z, "A1": Z, "delta1": d, "dW1": d @ p.X.T, "db1": d.sum(axis=1, keepdims=True)}

def broken(p):
    r = right(p)
    return r | {"dW1": -r["dW1"]}

def rolls(p):
    r = right(p)
    return r | {"dW1": r["dW1"] * np.asarray(random.SystemRandom().random(), p.dtype)}

def misshapen(p):
    return right(p) | {"dW1": np.zeros((7, 7), p.dtype)}

def dies(p):
    os._exit(3)
"""
SCENARIO = """
name = "line"
learning_rate = 0.125
epochs = 2
batch_size = 2
layers = [{ units = 2, activation = "linear" }]
loss = { name = "half_squared_error", samples = "mean", outputs = "sum" }
dtypes = ["float32", "float64"]
[data]
kind = "inline"
X = [[1.0, 2.0], [0.5, -1.0], [3.0, 0.25]]
Y = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
[weights]
kind = "inline"
W1 = [[0.5, -0.25], [0.125, 1.0]]
b1 = [0.0, 0.5]
[expected]
loss = 0.28
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "engine.py").write_text(ENGINE)
    (tmp_path / "line.toml").write_text(SCENARIO)
    return tmp_path


def record(folder: Path, out: str, *engines: str, jobs: int | None = None) -> Path:
    named = [part for engine in engines for part in ("--engine", engine)]
    named += ["--jobs", str(jobs)] if jobs else []
    result = CliRunner().invoke(cli, ["run", str(folder / "line.toml"), *named, "--out", str(folder / out)])
    assert result.exit_code in (0, 1, 3), result.output
    return folder / out


def test_a_run_writes_a_snapshot_of_every_array(folder: Path) -> None:
    made = Snapshot.read(record(folder, "out", "numpy", f"{folder}/engine.py:right"))
    assert [cell.key[2:] for cell in made.cells] == [
        (dtype, engine) for dtype in ("float32", "float64") for engine in ("numpy", f"{folder}/engine.py:right")
    ]
    assert made.header.distributions["numpy"] == np.__version__
    assert made.header.variables["OMP_NUM_THREADS"] == "1"
    assert "half_squared_error" in made.header.scenarios["line"]["toml"]
    for cell in made.cells:
        assert cell.batches == ((2, 1), (1, 1), (2, 1), (1, 1))
        assert cell.inputs
        assert [e.order for e in cell.entries] == list(range(len(cell.entries)))
        for e in cell.entries:
            assert e.verdict == "within" or e.program == "printed"
            assert e.whole
            assert e.values.dtype == cell.dtype
            assert e.bounds.size == e.size == e.values.size
            assert e.reproducible is (None if e.program == "printed" else True)
    ours, theirs = (cell.by_key["probed", "Z1"] for cell in made.cells[:2])
    # W X + b in the first step, in which there are two samples.
    assert list(ours.values[:4]) == [0.0, 0.5, 2.625, -0.4375]
    assert ours.shape == theirs.shape == (12,)
    exact = np.abs(ours.values.astype(np.float64)[:4])
    assert (ours.bounds[:4] < exact * 1e-5 + 1e-6).all()


def test_the_bounds_are_those_of_the_judge(folder: Path) -> None:
    out = record(folder, "out", "numpy")
    findings = {
        (c.dtype, f.program, f.quantity): f for c in store.load(out).cells for f in c.findings if f.worst is not None
    }
    checked = 0
    for e in Snapshot.read(out).entries():
        if e.program == "printed":
            continue
        worst = findings[e.dtype, e.program, e.quantity].worst
        assert worst is not None
        if len(e.shape) == 3 and worst.bound > 1e-30:
            at = np.ravel_multi_index((worst.step - 1, *worst.index), e.shape)
            assert e.values[at] == worst.value
            assert worst.bound <= e.bounds[at] <= worst.bound * (1 + 2**-7)
            checked += 1
    assert checked > 10


def test_random_engines_are_not_reproducible_and_dead_ones_are_recorded(folder: Path) -> None:
    made = Snapshot.read(record(folder, "out", f"{folder}/engine.py:rolls", f"{folder}/engine.py:dies"))
    rolls = next(cell for cell in made.cells if cell.engine.endswith("rolls"))
    assert rolls.by_key["probed", "dW1"].reproducible is False
    dies = next(cell for cell in made.cells if cell.engine.endswith("dies"))
    assert (dies.verdict, dies.entries) == ("crashed", ())
    assert "exit status 3" in dies.message


def test_a_second_run_that_dies_does_not_make_a_cell_not_reproducible(folder: Path) -> None:
    # Otherwise a timeout on a busy machine would hide every drift of a framework.
    (folder / "twice.py").write_text(
        f"{ENGINE}\nimport pathlib\nseen = pathlib.Path({str(folder / 'seen')!r})\n"
        "def dies_later(p):\n"
        "    marks = [f.name for f in seen.iterdir()]\n"
        "    if marks and str(os.getpid()) not in marks:\n"
        "        os._exit(3)\n"
        "    (seen / str(os.getpid())).touch()\n"
        "    return right(p)\n"
    )
    (folder / "seen").mkdir()
    # One after the other: which of two that run side by side is the second is chance.
    made = Snapshot.read(record(folder, "out", f"{folder}/twice.py:dies_later", jobs=1))
    assert {e.reproducible for e in made.entries()} == {None}
    assert {cell.verdict for cell in made.cells} <= {"within", "wrong"}


def test_a_value_of_the_wrong_shape_is_digested_and_not_kept(folder: Path) -> None:
    made = Snapshot.read(record(folder, "out", f"{folder}/engine.py:misshapen"))
    bad = made.cells[0].by_key["probed", "dW1"]
    assert (bad.verdict, bad.kept, bad.whole) == ("wrong", b"", False)
    assert bad.shape[1:] == (7, 7)
    assert bad.reproducible


def test_a_run_without_out_keeps_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("recorded")

    monkeypatch.setattr("gradparity.reports.cli_run.record", never)
    monkeypatch.setattr("gradparity.reports.kept.Keeping.add", never)
    result = CliRunner().invoke(cli, ["run", str(folder / "line.toml"), "--engine", "numpy"])
    assert result.exit_code in (0, 1), result.output


def test_a_run_whose_reports_do_not_fit_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gradparity.reports.cli_run.save_derived", full)
    ran = CliRunner().invoke(cli, ["run", "xor-tape", "--engine", "numpy", "--out", str(tmp_path / "out")])
    assert ran.exit_code == 3
    assert "No space left on device; results.jsonl has every cell" in ran.output
    assert "Saved in" not in ran.output


def test_an_interrupted_run_leaves_no_snapshot(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = record(folder, "out", "numpy")
    assert (out / store.SNAPSHOT).exists()

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gradparity.reports.recording.repeat", interrupted)
    result = CliRunner().invoke(cli, ["run", str(folder / "line.toml"), "--engine", "numpy", "--out", str(out)])
    assert result.exit_code == 130
    assert not (out / store.SNAPSHOT).exists()
    assert len(store.load(out).cells) == 2


def test_only_what_touches_the_numbers_is_in_the_header() -> None:
    side = Side(
        "python", distributions={"numpy": "2", "tensorflow-cpu": "2.21", "Keras": "3", "kerastuner": "1", "six": "1"}
    )
    assert side.numeric == {"Keras": "3", "numpy": "2", "tensorflow-cpu": "2.21"}
