"""What is asked for: one thing or several, bad arguments and options; and what is said where little was given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from gradparity.adapters.function_engine import StepProblem
from gradparity.adapters.loop import run
from gradparity.adapters.numpy_engine import NumPyAdapter
from gradparity.adapters.outcome import Chunk
from gradparity.adapters.protocol import Network, Pairs, PlainProgram
from gradparity.parity_tests.correct import correct
from gradparity.reference.data import Inline
from gradparity.reference.errors import InputError, nearest
from gradparity.reference.expected import Expected
from gradparity.reference.initial import Constant
from gradparity.reference.problem import Array, Layer, Loss
from gradparity.reference.scenario import Scenario
from gradparity.reports import story, terminal
from gradparity.reports.cli import cli, main
from gradparity.reports.verify import verify

ZEROS = Scenario(
    "zeros", [Layer(1)], Loss("squared_error"), Inline(((0.0,),), ((0.0,),)), Constant(0.0),
    dtypes=("float32",), expected=(Expected(1, "loss", (0, 0), "0.0"),),
)  # fmt: skip


def student(*names: str) -> Any:
    """Return an engine that gives some zeros, which are right where all data are."""

    def engine(p: StepProblem) -> dict[str, Any]:
        zeros = {"loss": np.zeros((1, 1), p.dtype), "dW1": np.zeros_like(p.W[0]), "db1": np.zeros_like(p.b[0])}
        return {name: zeros[name] for name in names}

    return engine


@pytest.mark.parametrize(
    ("given", "says", "code"),
    [
        (("loss", "dW1", "db1"), "1 engine, every gradient within its bound; 1 printed figure met.", 0),
        (("loss", "dW1"), "all that was given within its bound; 1 printed figure met (1 without every gradient", 0),
        (("loss",), "all that was given within its bound; 1 printed figure met (1 without every gradient", 0),
        ((), "Nothing was judged.", 3),
    ],
)
def test_what_was_not_given_is_not_called_right(given: tuple[str, ...], says: str, code: int) -> None:
    results = verify(ZEROS, student(*given))
    assert says in story.headline(results)
    assert results.exit_code == code


def test_engines_that_gave_nothing_are_not_counted() -> None:
    def nothing(_: StepProblem) -> dict[str, Any]:
        return {}

    said = story.headline(verify(ZEROS, [student("dW1", "db1"), nothing]))
    assert "1 cell, 1 scenario, 1 engine, every gradient within its bound (1 not given: see below)" in said


@pytest.mark.parametrize("value", [None, 1j * np.ones((1, 1)), np.array("one")])
def test_what_is_no_number_is_told(value: Any) -> None:
    (cell,) = verify(ZEROS, lambda _: {"dW1": value}).cells
    assert "dW1 came back as" in cell.message
    assert "holds no real numbers" in cell.message


def test_one_thing_may_stand_where_several_may() -> None:
    (cell,) = verify("xor-tape", "numpy", dtypes="float32").cells
    assert (cell.scenario, cell.dtype, cell.engine) == ("xor-tape", "float32", "numpy")


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        (([3],), {}, "not int"),
        (("xor-tape", [3]), {}, "not int"),
        (("xor-tape", "numpy"), {"timeout": -1}, "timeout"),
        (("xor-tape", "numpy"), {"timeout": float("nan")}, "timeout"),
    ],
)
def test_bad_arguments_are_named(arguments: tuple[Any, ...], options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        verify(*arguments, **options)


@pytest.mark.parametrize("options", [["--timeout", "nan"], ["--timeout", "0"], ["--out", ""], ["--junit", ""]])
def test_bad_options_are_refused(options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["run", "xor-tape", "--engine", "numpy", *options])
    assert done.exit_code == 2, done.output
    assert options[0] in done.output
    assert not list(tmp_path.iterdir())


def test_what_is_no_function_is_told(tmp_path: Path) -> None:
    (file := tmp_path / "mine.py").write_text("right = 3\n")
    done = CliRunner().invoke(cli, ["run", "xor-tape", "--engine", f"{file}:right"])
    assert done.exit_code == 3
    assert "right is a int, not a function" in " ".join(done.output.split())


def test_a_folder_without_a_snapshot_is_told(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["diff", str(tmp_path), str(tmp_path)])
    assert done.exit_code == 2
    assert "holds no snapshot.parquet" in " ".join(done.output.split())


def test_engines_of_ones_own_are_headed_by_their_functions() -> None:
    results = verify(ZEROS, student("dW1", "db1"))
    names = ("right", "right_too", "a_long_name_of_one")
    cells = [replace(results.cells[0], engine=f"/home/me/backward.py:{name}") for name in names]
    said = terminal.render(replace(results, cells=cells))
    assert "a_long_name_ right        right_too " in said
    assert max(map(len, said.splitlines())) <= 80


def test_a_defect_of_ones_own_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("all input arrays must have the same shape")

    monkeypatch.setattr("gradparity.reports.cli_run.plan", broken)
    monkeypatch.setattr("sys.argv", ["gradparity", "run", "xor-tape", "--engine", "numpy"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 70
    said = capsys.readouterr().err
    assert "all input arrays must have the same shape" in said
    assert "please report it" in said


def test_a_bare_number_of_an_adapter_takes_the_working_dtype() -> None:
    class Bare(NumPyAdapter):
        def plain(self, network: Network, weights: Pairs) -> PlainProgram:
            program = super().plain(network, weights)
            step = program.step

            def stepped(X: Array, Y: Array) -> tuple[float, Pairs]:
                loss, gradients = step(X, Y)
                return float(np.asarray(loss).item()), gradients

            program.step = stepped  # type: ignore[method-assign]
            return program

    problem = ZEROS.problem("float32")
    chunk, end = run(Bare(), problem)
    assert isinstance(chunk, Chunk), end
    assert chunk.plain["loss"].dtype == np.float32


def test_a_name_in_other_letters_is_the_nearest() -> None:
    assert nearest("dw1", ["db1", "dW1"]) == " (did you mean 'dW1'?)"


def late(p: StepProblem) -> dict[str, Any]:
    """Ten times the gradient in the second step, a hundred times in the third; and a learning rate of float32."""
    trace = correct(p)
    rate = p.X.dtype.type(np.float32(p.learning_rate))
    return {"dW1": trace["dW1"] * 10.0**p.step, "db1": trace["db1"], "W1_next": p.W[0] - rate * trace["dW1"]}


def test_a_cause_is_told_with_its_step_and_a_rate_with_its_digits() -> None:
    data = Inline(((1.0,), (2.0,)), ((0.5, 1.0), (0.25, -3.0)))
    scenario = Scenario("late", [Layer(2)], Loss("squared_error"), data, steps=4, dtypes=("float64",))
    (cell,) = verify(scenario, late).cells
    said = {f.quantity: dict(story.explain_finding(f, cell.dtype)) for f in cell.findings if f.worst}
    assert " in step 4: " in said["dW1"]["worst"]
    assert said["dW1"]["cause"].startswith("in step 2, dW1")
    (cell,) = verify(scenario, lambda p: late(p) | {"dW1": correct(p)["dW1"]}).cells
    said = {f.quantity: dict(story.explain_finding(f, cell.dtype)) for f in cell.findings if f.worst}
    assert (
        "a learning rate of 0.10000000149, which float32 makes of it; the scenario's is 0.1" in said["W1_next"]["cause"]
    )
