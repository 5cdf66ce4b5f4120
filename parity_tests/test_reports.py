"""The report layer on cells made by hand: nothing is run, and every outcome is there."""

from __future__ import annotations

import json
import math
import struct
import sys
import xml.etree.ElementTree as ET
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from gradparity.reference.errors import InputError
from gradparity.reference.scenario import Scenario
from gradparity.reference.verdict import Finding, Verdict, Worst
from gradparity.reports import github, heat, junit, markdown, notebook, story, terminal
from gradparity.reports import store as files
from gradparity.reports.cell import Cell, Figure
from gradparity.reports.cli import cli
from gradparity.reports.cli_run import Keeper
from gradparity.reports.codec import decode, dumps
from gradparity.reports.results import Results, RunInfo
from gradparity.reports.table import COLUMNS

NAN, INF = float("nan"), float("inf")
INFO = RunInfo("2026-01-02T03:04:05+00:00", 1.5, "0.1.0", "3.12.0", "2.0.0", "Linux", "x86_64", "a cpu", 2)
ENGINES = (
    "numpy", "tensorflow", "tensorflow:function", "tensorflow:xla", "keras:tensorflow", "keras:torch", "keras:jax",
    "torch", "torch:func", "torch:compile", "jax", "jax:jit", "jax:vmap",
)  # fmt: skip
HOSTILE = "[red]<script>alert(1)</script>\x1b[31m|`x`\x9b2J\u202e **b** ##[error]\nnext"


def finding(quantity: str, verdict: Verdict, worst: Worst | None = None, **more: Any) -> Finding:
    formula = {"dW1": "delta1 Xᵀ", "delta1": "dA1 ⊙ [Z1 > 0]"}.get(quantity, "W1 X + b1")
    return replace(Finding("probed", quantity, verdict, formula, steps=3, elements=8, worst=worst, basis="row"), **more)


SMALL = Worst(2, (0, 1), 0.1 + 0.2, 0.3, 5e-17, 1e-16, 1.0)
NAN_WORST = Worst(3, (1, 0), NAN, -0.25, INF, 1e-7, INF)
WITHIN = finding("Z1", Verdict.WITHIN, SMALL, difference=3e-8, digits=6.9, sigmas=1.25)
WRONG = finding("dW1", Verdict.WRONG, NAN_WORST, first_wrong_step=3, wrong=2, details=(NAN_WORST,), difference=NAN)
OUTSIDE = finding("W1_next", Verdict.WRONG, replace(SMALL, error=3e-16), first_wrong_step=1, wrong=1)


def cell(engine: str = "torch", verdict: Verdict = Verdict.WITHIN, *findings: Finding, **more: Any) -> Cell:
    environment = {"torch": "2.13.0", "device": "cpu"}
    made = Cell("xor-tape", "float32", engine, verdict, findings or (WITHIN,), environment=environment, steps=3)
    return replace(made, **more)


CELLS = [
    cell("numpy"),
    cell("torch", Verdict.WRONG, WITHIN, WRONG, OUTSIDE, log="a\nb", seconds=0.25),
    cell("jax", Verdict.SUSPECT, finding("dW1", Verdict.SUSPECT, SMALL, suspect=1, sigmas=11.0)),
    cell(
        "keras:jax", Verdict.KNOWN, finding("loss", Verdict.KNOWN, NAN_WORST), reasons={"probed loss": "clips (docs)"}
    ),
    cell(
        "keras:torch", Verdict.DECLARED, finding("dW1", Verdict.DECLARED, SMALL), reasons={"probed dW1": "a convention"}
    ),
    cell("torch:func", Verdict.CRASHED, message="killed by signal 11", log="one\ntwo", findings=()),
    cell("jax:jit", Verdict.TIMED_OUT, message="no answer in 300 s", findings=()),
    cell("torch:compile", Verdict.UNSUPPORTED, message="no C++ compiler", findings=()),
    cell("file.py:grad", Verdict.NOT_GIVEN, finding("Z1", Verdict.NOT_GIVEN, basis="")),
    cell("jax:vmap", Verdict.WRONG, faults=("changed its inputs",)),
    cell("tensorflow", Verdict.WRONG, figures=(Figure(1, "A2", (0, 0), "0.7514", 0.76, 0.0086, 5e-5, Verdict.WRONG),)),
]


@pytest.fixture
def results() -> Results:
    planned = tuple((c.scenario, c.dtype, c.engine) for c in CELLS)
    return Results(CELLS, INFO, {"mxnet": "needs mxnet: pip install mxnet"}, planned=planned)


def hostile() -> Results:
    names = {"scenario": HOSTILE, "message": HOSTILE, "log": HOSTILE, "faults": (HOSTILE,)}
    noted = replace(WRONG, note=HOSTILE)
    known = replace(cell("a.py:" + HOSTILE, Verdict.KNOWN, replace(WITHIN, verdict=Verdict.KNOWN)), scenario=HOSTILE)
    return Results(
        [
            cell("torch", Verdict.WRONG, noted, **names),
            cell("jax", Verdict.CRASHED, **names),
            cell("numpy", Verdict.UNSUPPORTED, **names),
            replace(known, reasons={"probed Z1": HOSTILE}),
        ],
        INFO,
        {"x": HOSTILE},
    )


# --- saved and read back ---------------------------------------------------------------------------------------------


def bits(value: object) -> object:
    """Return something that is equal only for the same bits."""
    return decode_floats(json.loads(dumps(value)))


def decode_floats(raw: object) -> object:
    if isinstance(raw, list):
        return [decode_floats(item) for item in raw]
    if isinstance(raw, dict):
        return {key: decode_floats(item) for key, item in raw.items()}
    return struct.pack("<d", raw) if isinstance(raw, float) else raw


@pytest.mark.parametrize("made", CELLS, ids=lambda c: c.engine)
def test_a_cell_survives_json(made: Cell) -> None:
    line = dumps(made)
    assert "NaN" not in line
    assert "Infinity" not in line
    # repr, in which NaN equals itself, tells every field and every bit of a float.
    assert repr(decode(Cell, json.loads(line))) == repr(made)


@pytest.mark.parametrize("x", [NAN, INF, -INF, -0.0, 5e-324, 0.1, 1.7976931348623157e308])
def test_floats_survive_bit_for_bit(x: float) -> None:
    back = decode(Worst, json.loads(dumps(replace(SMALL, value=x)))).value
    assert struct.pack("<d", back) == struct.pack("<d", x)


def test_save_and_load(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path / "out")
    assert {f.name for f in (tmp_path / "out").iterdir()} == {files.JOURNAL, *files.DERIVED}
    back = files.load(tmp_path / "out")
    for field in fields(Results):
        assert repr(getattr(back, field.name)) == repr(getattr(results, field.name))
    assert repr(back) == "<Results: Wrong: tensorflow on xor-tape float32 and 2 more cells, of 11 cells.>"
    assert not back.lost
    assert bits(back.cells) == bits(results.cells)


def test_parquet_and_csv_hold_the_table(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path)
    parquet = pd.read_parquet(tmp_path / "results.parquet")
    pd.testing.assert_frame_equal(parquet, results.table)
    assert parquet.attrs["gradparity_schema"] == 1
    csv = pd.read_csv(tmp_path / "results.csv", keep_default_na=False)
    assert list(csv["ratio"].replace("", "nan").astype(float).fillna(-1)) == list(results.table["ratio"].fillna(-1))
    wrong = csv[(csv["engine"] == "torch") & (csv["quantity"] == "dW1")]
    assert set(wrong["value"]) == {"nan"}
    assert set(csv[csv["record"] == "cell"]["value"]) == {""}


def test_a_truncated_file_gives_what_can_be_read(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path)
    whole = (tmp_path / files.JOURNAL).read_bytes()
    lines = whole.split(b"\n")
    kept = b"\n".join(lines[:4]) + b"\n" + lines[4][:50]
    (tmp_path / files.JOURNAL).write_bytes(kept)
    back = files.load(tmp_path / files.JOURNAL)
    assert len(back.cells) == 3
    assert back.lost[0] == "line 5 of results.jsonl is cut off"
    assert f"{len(CELLS) - 3} of {len(CELLS)} cells are missing" in back.lost[-1]
    assert "lost" in terminal.render(back)
    assert "lost" in markdown.render(back)
    assert replace(back, cells=back.cells[:1]).exit_code == 3


def test_every_cut_of_the_file_is_read_or_refused(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path)
    whole = (tmp_path / files.JOURNAL).read_bytes()
    header = whole.index(b"\n")
    for end in range(0, len(whole), 211):
        (tmp_path / files.JOURNAL).write_bytes(whole[:end])
        if end < header:
            with pytest.raises(InputError, match="does not hold results"):
                files.load(tmp_path)
        else:
            assert files.load(tmp_path).lost


@pytest.mark.parametrize("text", ["", "hello", "{}", "[1]", "\x00\xff", '{"gradparity_schema": "x"}'])
def test_another_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / files.JOURNAL).write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match="does not hold results of gradparity"):
        files.load(tmp_path)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / files.JOURNAL).write_text('{"gradparity_schema": 999}\n')
    with pytest.raises(InputError, match="newer"):
        files.load(tmp_path)


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        files.load(tmp_path / "missing")


def test_the_journal_keeps_what_was_finished(results: Results, tmp_path: Path) -> None:
    blank = replace(results, cells=[])
    journal = files.Journal(tmp_path, blank)
    journal.add(CELLS[0])
    killed = files.load(tmp_path)
    assert [c.engine for c in killed.cells] == ["numpy"]
    assert any("did not come to its end" in sentence for sentence in killed.lost)
    journal.end(INFO.finished(9.0, {"wall": 9.0}))
    ended = files.load(tmp_path)
    assert ended.info.times == {"wall": 9.0}
    assert len(ended.lost) == 1


def test_the_journal_leaves_foreign_files_alone(results: Results, tmp_path: Path) -> None:
    (tmp_path / files.JOURNAL).write_text("mine\n")
    with pytest.raises(InputError, match="does not hold results"):
        files.Journal(tmp_path, results)
    assert (tmp_path / files.JOURNAL).read_text() == "mine\n"


def test_a_new_run_removes_the_reports_of_the_earlier_one(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path)
    files.Journal(tmp_path, replace(results, cells=[])).end(INFO)
    assert {f.name for f in tmp_path.iterdir()} == {files.JOURNAL}


# --- the table -------------------------------------------------------------------------------------------------------


def test_the_columns_are_those_documented(results: Results) -> None:
    assert list(results.table.columns) == [column.name for column in COLUMNS]
    for column in COLUMNS:
        assert results.table[column.name].dtype == column.dtype, column.name
        assert column.description
    assert list(Results([], INFO).table.columns) == [column.name for column in COLUMNS]


def test_the_rows(results: Results) -> None:
    torch = results.table[results.table["engine"] == "torch"]
    assert list(torch["record"]) == ["quantity", "quantity", "step", "quantity"]
    assert list(torch["quantity"]) == ["Z1", "dW1", "dW1", "W1_next"]
    nan = torch.iloc[1]
    assert (nan["verdict"], nan["step"], nan["index_row"], nan["first_wrong_step"]) == ("wrong", 3, 1, 3)
    assert math.isnan(nan["value"])
    assert nan["ratio"] == INF
    crashed = results.table[results.table["engine"] == "torch:func"]
    assert list(crashed[["record", "quantity", "verdict", "reason"]].iloc[0]) == [
        "cell", "", "crashed", "killed by signal 11"
    ]  # fmt: skip
    known = results.table[results.table["engine"] == "keras:jax"].iloc[0]
    assert (known["reason"], known["cell_verdict"]) == ("clips (docs)", "known")
    printed = results.table[results.table["record"] == "figure"].iloc[0]
    assert (printed["exact"], printed["bound"]) == (0.7514, 5e-5)


# --- verdict and exit code -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "strict", "code", "verdict"),
    [
        ([cell()], False, 0, Verdict.WITHIN),
        (CELLS, False, 1, Verdict.WRONG),
        ([CELLS[2]], False, 0, Verdict.SUSPECT),
        ([CELLS[2]], True, 1, Verdict.SUSPECT),
        ([replace(CELLS[2], structured=False)], False, 1, Verdict.SUSPECT),
        ([CELLS[3], CELLS[4]], False, 0, Verdict.WITHIN),
        ([CELLS[0], CELLS[5]], False, 3, Verdict.CRASHED),
        ([CELLS[0], CELLS[6]], False, 3, Verdict.TIMED_OUT),
        ([CELLS[1], CELLS[5]], False, 1, Verdict.WRONG),
        ([CELLS[7]], False, 3, Verdict.NOT_GIVEN),
        ([], False, 3, Verdict.NOT_GIVEN),
    ],
)
def test_exit_code_and_verdict(cells: list[Cell], strict: bool, code: int, verdict: Verdict) -> None:
    found = Results(cells, replace(INFO, strict=strict))
    assert (found.exit_code, found.verdict) == (code, verdict)
    assert story.headline(found).endswith(".")


def test_cells_are_sorted_and_counted(results: Results) -> None:
    assert [c.engine for c in results.cells][:3] == ["numpy", "tensorflow", "keras:torch"]
    assert results.counts()[Verdict.WRONG] == 3
    assert "NumPy" in markdown.render(results)
    assert sum(results.counts().values()) == len(CELLS)


def test_what_is_said_of_a_wrong_cell() -> None:
    said = dict(story.explain(CELLS[1]))
    assert said["formula"] == "dW1 = delta1 Xᵀ"
    assert said["worst"] == "dW1[1, 0] in step 3: nan, exact -0.25"
    assert said["how many"] == "2 of 8 elements, first in step 3 of 3"
    assert said["follows"] == "wrong as well: W1_next"
    assert dict(story.explain(CELLS[9])) == {"fault": "changed its inputs"}
    assert "printed as 0.7514" in dict(story.explain(CELLS[10]))["printed"]


# --- the terminal ----------------------------------------------------------------------------------------------------


def all_engines() -> Results:
    scenarios = ("textbook-half-mse-relu", "saturated-probabilities", "lpa-regression")
    files_ = (*ENGINES, "some/where/mine.py:gradient", "sklearn_mlp.py:grad")
    return Results([replace(cell(e), scenario=s) for s in scenarios for e in files_] + CELLS, INFO)


@pytest.mark.parametrize("unicode", [True, False])
@pytest.mark.parametrize("width", [80, 60, 120])
def test_the_terminal_report_fits(width: int, unicode: bool) -> None:
    text = terminal.render(all_engines(), width, unicode)
    assert max(map(len, text.splitlines())) <= width
    assert text.isascii() or unicode
    assert "saturated-probabilities" in text
    assert text.startswith("Wrong: ")


def test_the_heat_table_has_every_engine_in_80_columns() -> None:
    cells = [replace(cell(e), scenario="textbook-half-mse-relu") for e in ENGINES]
    lines = terminal.render(Results(cells, INFO)).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("textbook-half-mse-relu"))
    assert lines[at].split()[1:] == [".50"] * 13
    assert lines[at - 2].split() == ["numpy", "tensorflow", "keras", "torch", "jax"]
    assert lines[at - 1].split() == ["fun", "xla", "ten", "tor", "jax", "fun", "com", "jit", "vma"]


def test_what_the_terminal_shows(results: Results) -> None:
    text = terminal.render(results)
    for part in (
        "known",
        "clips (docs)",
        "declared",
        "a convention",
        "mxnet",
        "dW1 = delta1 Xᵀ",
        "killed by signal 11",
    ):
        assert part in text
    for part in ("| two", "no C++ compiler", "changed its inputs", "W1_next", "XX wrong", "!! crashed"):
        assert part in text
    assert "dW1 = delta1 X^T" in terminal.render(results, unicode=False)
    assert text.index("known ") < text.index("error / bound") < text.index("first wrong row")


def test_an_empty_result_is_shown() -> None:
    assert "Nothing was judged" in terminal.render(Results([], INFO))
    assert "Nothing was judged" in markdown.render(Results([], INFO))


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [
        (0.0, "0"), (0.34, ".34"), (0.9999, ".99"), (1.0, "1.0"), (9.96, "10"), (123.0, "123"), (999.6, "1e3"),
        (3e4, "3e4"), (9.6e9, ">e9"), (INF, "inf"),
    ],
)  # fmt: skip
def test_a_ratio_in_three_characters(ratio: float, shown: str) -> None:
    assert heat.short(ratio) == shown


def test_the_heat_leaves_the_update_out() -> None:
    assert heat.worst_ratio(cell("torch", Verdict.WITHIN, WITHIN, OUTSIDE)) == SMALL.ratio


# --- what comes from outside is data ---------------------------------------------------------------------------------


@pytest.mark.parametrize("unicode", [True, False])
def test_nothing_controls_the_terminal(unicode: bool) -> None:
    text = terminal.render(hostile(), 200, unicode)
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "[red]" in text
    assert "##[" not in text
    assert not any(line.startswith("::") for line in text.splitlines())


def test_nothing_is_markup_in_markdown() -> None:
    text = markdown.render(hostile())
    assert "<script" not in text
    assert "\x1b" not in text
    assert "\\[red\\]" in text
    rows = [line for line in text.splitlines() if line.startswith("| ") and "alert" in line]
    assert rows
    separators = {line.replace("\\|", "").count("|") for line in rows}
    assert separators == {5 + 1, 10 + 1}


def test_nothing_is_markup_in_a_notebook_or_in_xml() -> None:
    assert "<script" not in notebook.summary(hostile())
    assert "<b>Wrong: " in Results(CELLS, INFO)._repr_html_()
    root = ET.fromstring(junit.render(hostile()))
    assert any("<script>" in (case.get("name") or "") for case in root.iter("testcase"))


def test_nothing_is_a_command_to_github() -> None:
    lines = github.error_commands(hostile(), {"GITHUB_ACTIONS": "true"})
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("::error title=")
        assert "\n" not in line
        assert ":" not in line.removeprefix("::error title=").partition("::")[0]
    assert github.error_commands(hostile(), {}) == []


# --- Markdown, JUnit, GitHub -----------------------------------------------------------------------------------------


def test_junit_counts(results: Results) -> None:
    root = ET.fromstring(junit.render(results))
    assert (root.get("tests"), root.get("failures"), root.get("errors"), root.get("skipped")) == ("11", "3", "2", "2")
    wrong = next(case for case in root.iter("testcase") if case.get("name") == "xor-tape-float32-torch")
    failure = wrong.find("failure")
    assert failure is not None
    assert "delta1 Xᵀ" in (failure.text or "")
    strict = ET.fromstring(junit.render(replace(results, info=replace(INFO, strict=True))))
    assert strict.get("failures") == "4"


@pytest.mark.parametrize("limit", [200, 1000, 2500, 3500])
def test_markdown_is_cut_to_size(results: Results, limit: int) -> None:
    text = markdown.render(results, limit)
    assert len(text.encode()) <= limit
    assert "**Cut here" in text
    for tag in ("details", "pre"):
        assert text.count(f"<{tag}>") == text.count(f"</{tag}>")


def test_markdown_is_whole_where_it_fits(results: Results) -> None:
    assert markdown.render(results, markdown.SUMMARY_LIMIT) == markdown.render(results)


def test_the_job_summary_is_appended_within_its_limit(results: Results, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n" + "x" * (markdown.SUMMARY_LIMIT - 1000))
    github.append_summary(results, {"GITHUB_STEP_SUMMARY": str(summary)})
    text = summary.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("in `report.md`.**\n")
    assert len(text.encode()) <= markdown.SUMMARY_LIMIT


def test_github_shows_ten_errors(results: Results) -> None:
    many = Results([replace(CELLS[1], scenario=f"s{i}") for i in range(12)], INFO)
    lines = github.error_commands(many, {"GITHUB_ACTIONS": "true"})
    assert len(lines) == 10
    assert "3 more cells" in lines[-1]


# --- the command line ------------------------------------------------------------------------------------------------


def invoke(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_report_renders_each_format(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path)
    assert invoke("report", str(tmp_path))[1].startswith("Wrong: ")
    assert invoke("report", str(tmp_path), "--format", "markdown")[1] == (tmp_path / "report.md").read_text("utf-8")
    assert invoke("report", str(tmp_path), "--format", "csv")[1] == (tmp_path / "results.csv").read_text("utf-8")
    assert ET.fromstring(invoke("report", str(tmp_path), "--format", "junit")[1]).tag == "testsuites"
    assert invoke("report", str(tmp_path), "--format", "parquet", "-o", str(tmp_path / "x.parquet"))[0] == 0
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "x.parquet"), results.table)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "xor-tap"), "did you mean 'xor-tape'?"),
        (("run", "xor-tape", "--engine", "torhc"), "did you mean 'torch'?"),
        (("run", "xor-tape", "--dtype", "float16"), "unknown dtype 'float16'"),
        (("run", "--timeout", "0"), "timeout"),
        (("run", "nowhere.toml"), "nowhere.toml"),
        (("formulas", "xor-tap"), "did you mean 'xor-tape'?"),
        (("report", "/nowhere"), "cannot read"),
        (("repro", "/nowhere", "xor-tape", "torch"), "cannot read"),
        (("bogus",), "No such command"),
    ],
)
def test_bad_input_is_one_message_and_code_2(arguments: tuple[str, ...], says: str) -> None:
    code, out, err = invoke(*arguments)
    assert code == 2
    assert says in err
    assert not out


def test_folders_that_cannot_be_written(results: Results, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = invoke("run", "xor-tape", "--engine", "numpy", "--out", str(tmp_path / "file" / "below"))
    assert (code, "cannot write results" in err) == (2, True)
    code, _, err = invoke("run", "xor-tape", "--engine", "numpy", "--junit", str(tmp_path / "no" / "x.xml"))
    assert (code, "cannot write" in err) == (2, True)


def test_repro_takes_the_worst_cell(results: Results, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def script(scenario: Scenario, dtype: str, engine: str, found: Finding | None) -> str:
        return f"{scenario.name} {dtype} {engine} {found.quantity if found else None}\n"

    monkeypatch.setitem(sys.modules, "gradparity.reports.repro", SimpleNamespace(script=script))
    replace(results, cells=[*CELLS, replace(CELLS[0], engine="torch", dtype="float64")]).save(tmp_path)
    repro = ("repro", str(tmp_path), "xor-tape")
    assert invoke(*repro, "torch")[1] == "xor-tape float32 torch dW1\n"
    assert invoke(*repro, "torch", "--dtype", "float64")[1] == "xor-tape float64 torch Z1\n"
    assert invoke(*repro, "torch:func")[1] == "xor-tape float32 torch:func None\n"
    code, _, err = invoke(*repro, "torhc")
    assert (code, "did you mean 'torch'?" in err) == (2, True)


def test_lists() -> None:
    assert "torch:compile" in invoke("engines")[1]
    assert "xor-tape" in invoke("scenarios")[1]
    code, out, _ = invoke("formulas", "xor-tape")
    assert code == 0
    assert "delta1" in out
    assert "(4, 2)" in out


def run_with(cells: list[Cell], monkeypatch: pytest.MonkeyPatch, *arguments: str, end: BaseException | None = None):  # type: ignore[no-untyped-def]
    def execute(chosen: object, on_cell, **options: object) -> None:  # type: ignore[no-untyped-def]
        for made in cells:
            on_cell(made)
        if end is not None:
            raise end

    for module in ("cli_run", "recording"):
        monkeypatch.setattr(f"gradparity.reports.{module}.execute", execute)
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    return invoke("run", "xor-tape", "--engine", "numpy", "--dtype", "float32", *arguments)


@pytest.mark.parametrize(
    ("made", "code"), [(CELLS[0], 0), (replace(CELLS[1], engine="numpy"), 1), (replace(CELLS[5], engine="numpy"), 3)]
)
def test_run_exit_codes(made: Cell, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found, out, _ = run_with([made], monkeypatch, "--out", str(tmp_path), "--junit", str(tmp_path / "j.xml"))
    assert found == code
    assert f"Saved in {tmp_path}" in out.replace("\n", "")
    back = files.load(tmp_path)
    assert not back.lost
    assert back.scenario("xor-tape").name == "xor-tape"
    assert (tmp_path / "j.xml").read_text("utf-8") == (tmp_path / "junit.xml").read_text("utf-8")


def test_ctrl_c_keeps_what_is_finished(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, out, err = run_with([], monkeypatch, "--out", str(tmp_path), end=KeyboardInterrupt())
    assert code == 130
    assert "0 of 1 cells were finished" in err
    assert "1 of 1 cells are missing" in out
    code, out, err = run_with([CELLS[0]], monkeypatch, "--out", str(tmp_path), end=KeyboardInterrupt())
    assert (code, len(files.load(tmp_path).cells)) == (130, 1)


def test_a_late_cell_is_not_kept() -> None:
    class Silent:
        def add(self, made: Cell) -> None:
            assert made is CELLS[0]

    keeper = Keeper(None, Silent())  # type: ignore[arg-type]
    keeper.add(CELLS[0])
    assert keeper.close() == [CELLS[0]]
    keeper.add(CELLS[1])
    assert keeper.close() == [CELLS[0]]
