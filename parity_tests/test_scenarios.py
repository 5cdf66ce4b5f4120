"""Scenarios: the catalogue, TOML there and back, the same bits everywhere, and one clear message for bad input."""

from __future__ import annotations

import dataclasses
import math
import re
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from gradparity.adapters.keras_engine import uses_fit
from gradparity.adapters.loop import network_of
from gradparity.reference import initial
from gradparity.reference.activations import ACTIVATIONS
from gradparity.reference.catalogue import catalogue, load, names
from gradparity.reference.data import DATA, Csv, Inline, MissingLibrary, Npz, Random, Sklearn
from gradparity.reference.errors import InputError
from gradparity.reference.expected import Expected
from gradparity.reference.initial import BIASES, WEIGHTS, Constant, Given, GlorotUniform, StandardNormal, WeightsFile
from gradparity.reference.losses import LOSSES
from gradparity.reference.problem import Array, Layer, Loss, Problem, sha256
from gradparity.reference.scenario import Scenario
from gradparity.reference.verdict import Verdict
from gradparity.reports.plan import plan
from gradparity.reports.verify import verify

U64 = 2.0**-53
TOML = """
name = "small"
learning_rate = 0.1
layers = [{ units = 3, activation = "relu" }, { units = 2, activation = "softmax" }]
loss = { name = "cce", samples = "sum" }

[data]
kind = "inline"
X = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
Y = [[0.0, 1.0], [1.0, 0.0], [0.25, 0.75]]

[weights]
kind = "glorot_uniform"
seed = 1
"""
FILE_DATA = TOML[TOML.index("kind") : TOML.index("[weights]")]
FILE_WEIGHTS = 'kind = "glorot_uniform"\nseed = 1'


def small(**changes: object) -> Scenario:
    fields: dict[str, object] = {
        "name": "small",
        "layers": (Layer(3, "relu"), Layer(1, "sigmoid")),
        "loss": Loss("bce"),
        "data": Inline(X=[[1.0, 2.0], [3.0, 4.0]], Y=[0.0, 1.0]),  # type: ignore[arg-type]
    }
    return Scenario(**(fields | changes))  # type: ignore[arg-type]


def same_bits(p: Problem, q: Problem) -> bool:
    return (p.data_sha256, p.weights_sha256, p.batches) == (q.data_sha256, q.weights_sha256, q.batches)


def forward_backward(W: list[Array], b: list[Array], X: Array, Y: Array, rate: float) -> Array:
    """One step of ReLU, sigmoid and mean BCE in place, in the dtype of the arrays; return the output before it."""
    Z = W[0] @ X + b[0]
    H = np.maximum(Z, 0)
    P: Array = 1 / (1 + np.exp(-(W[1] @ H + b[1])))
    delta = (P - Y) / Y.dtype.type(X.shape[1])
    hidden = (W[1].T @ delta) * (Z > 0)
    step = Y.dtype.type(rate)
    for a, g in zip((*W, *b), (hidden @ X.T, delta @ H.T, hidden.sum(1)[:, None], delta.sum(1)[:, None]), strict=True):
        np.subtract(a, step * g, out=a)
    return P


# The catalogue


def test_catalogue_holds_what_it_promises() -> None:
    promised = (
        "textbook-bce textbook-bce-one textbook-half-mse textbook-half-mse-relu xor-tape xor-500 lpa-regression "
        "digits-softmax wide deep odd-shapes one-sample kink saturated saturated-probabilities large-batch mazur"
    )
    assert set(promised.split()) <= set(names())
    assert list(catalogue()) == sorted(catalogue())


def test_listing_names_parses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tomllib.loads", lambda *_, **__: pytest.fail("parsed"))
    assert "wide" in names()


@pytest.mark.parametrize("name", names())
def test_catalogue_round_trips_bit_for_bit(name: str) -> None:
    scenario = load(name)
    again = Scenario.from_toml(scenario.to_toml())
    assert again == scenario
    assert scenario.name == name
    assert scenario.description
    try:
        problems = [(scenario.problem(dtype), again.problem(dtype)) for dtype in scenario.dtypes]
    except MissingLibrary as reason:
        pytest.skip(str(reason))
    for dtype, (p, q) in zip(scenario.dtypes, problems, strict=True):
        assert same_bits(p, q)
        assert {a.dtype.name for a in (p.X, p.Y, *p.W, *p.b)} == {dtype}
        assert all(a.flags.writeable and a.flags.c_contiguous for a in (p.X, p.Y, *p.W, *p.b))
        assert p.X.shape[1] == p.Y.shape[1] == max(stop for _, stop in p.batches)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_trained_xor_answers_correctly(dtype: str) -> None:
    p = load("xor-500").problem(dtype)
    W, b = list(p.W), list(p.b)
    for step in range(len(p.batches)):
        forward_backward(W, b, *p.batch(step), p.learning_rate)
    answer = forward_backward(W, b, p.X, p.Y, p.learning_rate)
    assert len(p.batches) == 500
    # A quarter is far beyond what rounding does in 500 steps.
    assert np.all(np.abs(answer - p.Y) < 0.25), answer


def test_full_is_the_catalogue_in_both_dtypes_and_no_more() -> None:
    own = dataclasses.replace(load("xor-500"), name="mine")
    found = [(s.scenario.name, s.problem.dtype) for s in plan(["xor-500", own], ["numpy"], full=True).subjects]
    assert found == [("xor-500", "float32"), ("xor-500", "float64"), ("mine", "float64")]


def test_by_default_keras_fits_500_epochs() -> None:
    scenario = load("xor-500")
    assert all(uses_fit(network_of(scenario.problem(dtype))) for dtype in scenario.dtypes)


def test_xor_row_is_on_the_kink() -> None:
    p = load("xor-tape").problem("float64")
    assert np.array_equal((p.W[0] @ p.X + p.b[0])[:, 0], np.zeros(4))
    assert np.count_nonzero(p.X[:, 0]) == 0


def test_mazur_figures_are_what_the_formulas_give() -> None:
    scenario = load("mazur")
    p = scenario.problem("float64")
    A1 = 1 / (1 + np.exp(-(p.W[0] @ p.X + p.b[0])))
    A2 = 1 / (1 + np.exp(-(p.W[1] @ A1 + p.b[1])))
    delta2 = (A2 - p.Y) * A2 * (1 - A2)
    dW1 = ((p.W[1].T @ delta2) * A1 * (1 - A1)) @ p.X.T
    values = {
        "Z1": p.W[0] @ p.X + p.b[0],
        "A1": A1,
        "Z2": p.W[1] @ A1 + p.b[1],
        "A2": A2,
        "loss": np.array([[np.sum((A2 - p.Y) ** 2) / 2]]),
        "delta2": delta2,
        "dW2": delta2 @ A1.T,
        "dW1": dW1,
        "W2_next": p.W[1] - 0.5 * (delta2 @ A1.T),
        "W1_next": p.W[0] - 0.5 * dW1,
    }
    assert len(scenario.expected) == 18
    for figure in scenario.expected:
        assert abs(values[figure.quantity][figure.index] - figure.value) <= figure.half_unit, str(figure)


def test_kink_has_exact_zeros_and_saturated_exceeds_40() -> None:
    p = load("kink").problem("float32")
    Z1 = p.W[0] @ p.X
    Z2 = p.W[1] @ np.maximum(Z1, 0)
    assert np.count_nonzero(Z1 == 0) >= 8
    assert np.count_nonzero(Z2 == 0) == 5
    p = load("saturated").problem("float64")
    Z = p.W[1] @ np.tanh(p.W[0] @ p.X)
    assert {(bool(z > 0), float(y)) for z, y in zip(Z[0], p.Y[0], strict=True) if abs(z) > 40} == {
        (True, 1.0),
        (True, 0.0),
        (False, 1.0),
        (False, 0.0),
    }


# The same bits everywhere


def test_random_bits_are_these() -> None:
    """Words of Philox4x64-10 and what is made of them: literal, so that another machine or NumPy would show."""
    assert initial.uniforms(0, 2, (1, 2)).tolist() == [[0.8144335776159864, 0.4396808049627232]]
    assert [x.hex() for x in initial.normals(0, 2, (1, 4))[0].tolist()] == [
        "0x1.4fb7fffa336a7p+0",
        "-0x1.019c152a0eb2cp-2",
        "-0x1.8ae406a7d09d4p+0",
        "0x1.b82d45c1c7765p-1",
    ]


@pytest.mark.parametrize(
    ("source", "digest"),
    [
        (initial.StandardNormal(7), "54e128062f2819425789e85bdba9c2fd69944fa49709048aa809c062b99c2338"),
        (initial.GlorotUniform(7), "61bc5b099f3f608a5dd19cab288b2764f388860a5cb114b3b3217dcb8bfdf5f6"),
        (initial.HeNormal(7, scale=0.5), "c1dae6d6f57414be8710f2fcf3aa9b8677e357d565cfcfe15ded96256f77f9e7"),
    ],
    ids=["standard_normal", "glorot_uniform", "he_normal"],
)
def test_seeded_weights_have_these_bits(source: initial.Seeded, digest: str) -> None:
    drawn = source.draw({"W1": (31, 17), "W2": (5, 31)}, Path())
    assert sha256(drawn["W1"], drawn["W2"]) == digest


def test_streams_do_not_depend_on_each_other() -> None:
    alone = StandardNormal(3).draw({"W2": (2, 5)}, Path())["W2"]
    assert np.array_equal(alone, StandardNormal(3).draw({"W1": (5, 4), "W2": (2, 5)}, Path())["W2"])
    assert not np.array_equal(alone, StandardNormal(4).draw({"W2": (2, 5)}, Path())["W2"])
    # A longer draw begins like a shorter one, however many pairs are rejected on the way.
    assert np.array_equal(initial.normals(0, 1, (1, 999))[:, :10], initial.normals(0, 1, (1, 10)))


def test_normals_have_the_moments_of_the_normal_distribution() -> None:
    """Within 6 standard errors, which are √(1, 2, 15, 96)/√N for the first four moments."""
    N = 2**18
    x = initial.normals(11, 0, (N, 1))
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(x**power) - moment) < 6 * math.sqrt(variance / N), power
    inside = np.mean(np.abs(x) < 1)
    p = math.erf(math.sqrt(0.5))
    assert abs(inside - p) < 6 * math.sqrt(p * (1 - p) / N)


def test_log_is_the_logarithm() -> None:
    x = np.concatenate([initial.uniforms(1, 1, (1, 2000))[0] + U64, 1 - np.arange(1, 200) * U64, [2.0**-104, 0.5]])
    exact = np.array([math.log(v) for v in x])
    assert np.all(np.abs(initial.log(x) - exact) <= 4 * np.spacing(np.abs(exact)))


def test_glorot_and_he_scales() -> None:
    W = initial.GlorotUniform(0).draw({"W1": (40, 20)}, Path())["W1"]
    limit = math.sqrt(6 / 60)
    assert np.abs(W).max() <= limit
    assert np.abs(W).max() > 0.9 * limit
    he = initial.HeNormal(5).draw({"W1": (3, 8)}, Path())["W1"]
    assert np.array_equal(he, 0.5 * initial.normals(5, 2, (3, 8)))


# Python and TOML


def test_python_and_toml_agree() -> None:
    built = Scenario(
        name="small",
        layers=[Layer(3, "relu"), Layer(2, "softmax")],
        loss=Loss("cce", samples="sum"),
        data=Inline(
            X=np.arange(1.0, 7.0).reshape(3, 2),  # type: ignore[arg-type]
            Y=[[0, 1], [1, 0], [0.25, 0.75]],  # type: ignore[arg-type]
        ),
        weights=GlorotUniform(1),
    )
    assert built == Scenario.from_toml(TOML)
    assert same_bits(built.problem("float32"), Scenario.from_toml(built.to_toml()).problem("float32"))
    assert small(loss="bce") == small()


def test_every_field_round_trips() -> None:
    ugly = [[0.1, -0.0], [5e-324, 1 / 3]]
    scenario = small(
        data=Inline(X=ugly, Y=[1, 0]),  # type: ignore[arg-type]
        weights=Given(W1=np.full((3, 2), 1 / 7), W2=[[np.pi, 1e-300, 0.1]], scale=0.3),
        biases=Constant(0.1, scale=3.0),
        layers=[Layer(3, "leaky_relu", slope=0.3), Layer(1, "sigmoid")],
        loss=Loss("bce", "sum", "mean"),
        batch_size=1,
        steps=3,
        inputs=2,
        dtypes=["float64"],
        structured=False,
        expected=[
            Expected(-1, "W1_next", (2, 1), "0.10"),
            Expected(2, "loss", (0, 0), "5"),
            Expected(1, "b2_next", (0, 0), "1e-3"),
        ],
        description='a\nb "c"',
    )
    again = Scenario.from_toml(scenario.to_toml())
    assert again == scenario
    assert same_bits(again.problem("float64"), scenario.problem("float64"))
    assert np.signbit(again.problem("float64").X[1, 0])


@pytest.mark.parametrize(
    "changes",
    [
        {"data": Csv("a.csv", ("x",), ("y",), separator=";", one_hot=True)},
        {"data": Npz("a.npz", x="inputs")},
        {"data": Sklearn("load_iris", one_hot=True, scale=2.0, limit=9)},
        {"data": Random(2, 3, "binary", "uniform", seed=2**63, scale=0.5)},
        {"weights": WeightsFile("w.safetensors", 0.5, {"W1": "0.weight"}), "biases": initial.Zeros()},
        {"weights": initial.HeNormal(2**64 - 1, 0.1), "biases": StandardNormal(1, 0.1)},
    ],
    ids=str,
)
def test_every_source_round_trips(changes: dict[str, object]) -> None:
    scenario = small(**changes)
    assert Scenario.from_toml(scenario.to_toml()) == scenario


def test_rows_are_samples_and_become_columns() -> None:
    p = Scenario.from_toml(TOML).problem("float64")
    assert p.X.tolist() == [[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]]
    assert p.Y.tolist() == [[0.0, 1.0, 0.25], [1.0, 0.0, 0.75]]
    assert [W.shape for W in p.W] == [(3, 2), (2, 3)]


@pytest.mark.parametrize(
    ("training", "batches"),
    [
        ({}, ((0, 5),)),
        ({"epochs": 2}, ((0, 5), (0, 5))),
        ({"batch_size": 2}, ((0, 2), (2, 4), (4, 5))),
        ({"batch_size": 2, "steps": 5}, ((0, 2), (2, 4), (4, 5), (0, 2), (2, 4))),
        ({"batch_size": 9, "steps": 2}, ((0, 5), (0, 5))),
        ({"batch_size": 1}, ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5))),
    ],
    ids=str,
)
def test_batches(training: dict[str, int], batches: tuple[tuple[int, int], ...]) -> None:
    assert small(data=Random(2, 5, "binary"), **training).problem("float32").batches == batches


def test_random_targets_fit_the_output() -> None:
    X, labels = Random(2, 300, "labels", "uniform").read(3, Path())
    assert np.abs(X).max() < 1
    assert np.array_equal(np.unique(labels), [0.0, 1.0])
    assert np.array_equal(labels.sum(axis=1), np.ones(300))
    assert labels.sum(axis=0).min() > 0
    assert np.array_equal(np.unique(Random(2, 50, "binary").read(1, Path())[1]), [0.0, 1.0])


def test_scenario_is_frozen_and_arrays_are_not_shared() -> None:
    scenario = small()
    with pytest.raises(dataclasses.FrozenInstanceError):
        scenario.name = "other"  # type: ignore[misc]
    first = scenario.problem("float64")
    first.X[:] = 9
    assert scenario.problem("float64").X[0, 0] == 1


# Files


def test_csv_and_frame_give_the_same(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [0.1, 0.2, 1 / 3], "b": [1, 2, 3], "kind": ["x", "y", "x"]})
    frame.to_csv(tmp_path / "d.csv", index=False)
    X, Y = Csv("d.csv", ["a", "b"], ["kind"], one_hot=True).read(2, tmp_path)  # type: ignore[arg-type]
    inline = Inline.from_frame(frame, ["a", "b"], ["kind"], one_hot=True)
    assert X.tolist() == [list(row) for row in inline.X] == [[0.1, 1.0], [0.2, 2.0], [1 / 3, 3.0]]
    assert Y.tolist() == [list(row) for row in inline.Y] == [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]


def test_paths_are_relative_to_the_toml_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", X=np.eye(2), Y=np.eye(2))
    np.savez(tmp_path / "w.npz", W1=np.ones((3, 2)), b1=[1.0, 2.0, 3.0], W2=np.ones((2, 3)))
    text = TOML.replace(FILE_DATA, 'kind = "npz"\npath = "d.npz"\n').replace(
        FILE_WEIGHTS, 'kind = "file"\npath = "w.npz"\nscale = 2.0'
    )
    (tmp_path / "own.toml").write_text(text)
    p = Scenario.from_toml(tmp_path / "own.toml").problem("float32")
    assert p.b[0].tolist() == [[2.0], [4.0], [6.0]]
    assert p.b[1].tolist() == [[0.0], [0.0]]
    assert np.array_equal(p.W[0], np.full((3, 2), 2.0))


def test_safetensors_with_the_keys_of_a_torch_model(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    tensors = {"0.weight": np.full((3, 2), 0.1, np.float32), "0.bias": np.ones(3, np.float32)}
    safetensors.save_file(tensors | {"W2": np.ones((1, 3))}, tmp_path / "w.safetensors")
    source = WeightsFile(str(tmp_path / "w.safetensors"), keys={"W1": "0.weight", "b1": "0.bias"})
    p = small(weights=source).problem("float32")
    assert np.array_equal(p.W[0], tensors["0.weight"])
    assert p.b[0].tolist() == [[1.0], [1.0], [1.0]]


def test_csv_is_read_exactly(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    x = 10.0 ** (60 * initial.normals(0, 0, (500, 1)))
    (tmp_path / "d.csv").write_text("x;y\n" + "".join(f"{v!r};1\n" for v in x[:, 0].tolist()))
    X, _ = Csv("d.csv", ("x",), ("y",), separator=";").read(1, tmp_path)
    assert np.array_equal(X, x)


@pytest.mark.parametrize(
    ("library", "changes", "command"),
    [
        ("sklearn.datasets", {"data": Sklearn("load_iris")}, "pip install scikit-learn"),
        ("pandas", {"data": Csv("a.csv", ("x",), ("y",))}, "pip install pandas"),
        ("safetensors.numpy", {"weights": WeightsFile("a.safetensors")}, "pip install safetensors"),
    ],
)
def test_missing_library_names_the_command(
    library: str, changes: dict[str, object], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingLibrary, match=command):
        small(**changes).problem("float32")


# Printed figures


def test_expected_figures_keep_their_digits() -> None:
    figures = Scenario.from_toml(
        TOML
        + '[[expected]]\nloss = 0.10\n"W1_next[2,1]" = 3\nb2_next = [1e-3, "-2.50"]\n'
        + "[[expected]]\nstep = -1\ndW2 = [[1.0, 2.00]]\n"
    ).expected
    assert [(f.step, f.quantity, f.index, f.printed, f.half_unit) for f in figures] == [
        (1, "loss", (0, 0), "0.10", 0.005),
        (1, "W1_next", (2, 1), "3", 0.5),
        (1, "b2_next", (0, 0), "1e-3", 0.0005),
        (1, "b2_next", (1, 0), "-2.50", 0.005),
        (-1, "dW2", (0, 0), "1.0", 0.05),
        (-1, "dW2", (0, 1), "2.00", 0.005),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("losss = 0.1", r"expected\.losss: unknown quantity 'losss' \(did you mean 'loss'\?\)"),
        ("Z3 = 0.1", r"expected\.Z3: unknown quantity"),
        ('"W1_next[2,2]" = 0.1', r"W1_next\[2,2\]: there is no such element; W1_next has 3 rows and 2 columns"),
        ('"A1[0]" = 0.1', r"expected\.A1\[0\]: write a quantity"),
        ("step = 2\nloss = 0.1", r"expected\.step: 2, but there are 1"),
        ("step = 0\nloss = 0.1", r"expected\.step: 0"),
        ("step = 0.5\nloss = 0.1", r"expected\.step: expected a whole number"),
        ("loss = true", r"expected\.loss: True is not a number"),
        ('loss = "a tenth"', r"expected\.loss: 'a tenth' is not a number"),
        ("loss = nan", r"expected\.loss: 'nan' is not a number"),
    ],
)
def test_bad_figures(line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Scenario.from_toml(f"{TOML}[expected]\n{line}\n").problem("float64")


# Bad input


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("learning_rate = 0.1", "learning_rate = ", r"not valid TOML: .*line 3"),
        ("learning_rate = 0.1", "learnin_rate = 0.1", r"learnin_rate: unknown key .*did you mean 'learning_rate'"),
        ("learning_rate = 0.1", 'learning_rate = "a"', r"learning_rate: expected a finite number, got 'a'"),
        ("learning_rate = 0.1", "learning_rate = inf", r"learning_rate: expected a finite number, got inf"),
        ("learning_rate = 0.1", "learning_rate = 1e39", r"learning_rate.*overflows in float32"),
        ("learning_rate = 0.1", "batch_size = 0", r"batch_size: 0; give 1 or more"),
        ("learning_rate = 0.1", "batch_size = 1.5", r"batch_size: expected a whole number or nothing, got 1\.5"),
        ("learning_rate = 0.1", "batch_size = true", r"batch_size: expected a whole number or nothing, got True"),
        ("learning_rate = 0.1", "epochs = 1\nsteps = 1", r"both epochs and steps are given"),
        ("learning_rate = 0.1", 'dtypes = ["float16"]', r"dtypes: unknown dtype 'float16'"),
        ("learning_rate = 0.1", "dtypes = []", r"dtypes: \[\]; name each dtype once, and at least one"),
        ("learning_rate = 0.1", 'dtypes = "float32"', r"dtypes: expected a list, each entry text"),
        ("learning_rate = 0.1", 'optimizer = "adam"', r"optimizer: unknown optimizer 'adam'"),
        ("learning_rate = 0.1", "inputs = 3", r"data\.X: 2 columns, but inputs = 3"),
        ('name = "small"', 'name = "a/b"', r"name: 'a/b' will name files"),
        ('name = "small"', "", r"name: missing"),
        ('"softmax"', '"sofmax"', r"layers\[1\]\.activation: unknown activation 'sofmax' \(did you mean 'softmax'\?\)"),
        ('"softmax"', '"tanh"', r"layers\[1\]\.activation: 'tanh' does not fit loss 'cce'"),
        ('"relu"', '"relu", slope = 0.2', r"layers\[0\]\.slope: relu has no slope"),
        ("units = 3", "units = 0", r"layers\[0\]\.units: 0; give 1 or more"),
        ("units = 3", "unit = 3", r"layers\[0\]\.unit: unknown key 'unit' \(did you mean 'units'\?\)"),
        ("units = 3, ", "", r"layers\[0\]\.units: missing"),
        ('"cce"', '"ccee"', r"loss\.name: unknown loss 'ccee' \(did you mean 'cce'\?\)"),
        ('"sum"', '"sums"', r"loss\.samples: expected one of 'mean', 'sum', got 'sums' \(did you mean 'sum'\?\)"),
        ('kind = "inline"', 'kind = "inlin"', r"data\.kind: unknown kind 'inlin' \(did you mean 'inline'\?\)"),
        ('kind = "inline"\n', "", r"data\.kind: unknown kind ''; use one of inline"),
        ('"glorot_uniform"', '"glorot"', r"weights\.kind: unknown kind 'glorot' \(did you mean 'glorot_uniform'\?\)"),
        ("seed = 1", "sed = 1", r"weights\.sed: unknown key 'sed' \(did you mean 'seed'\?\)"),
        ("seed = 1", "seed = -1", r"weights\.seed: -1 is outside"),
        ("seed = 1", "seed = 1.5", r"weights\.seed: expected a whole number, got 1\.5"),
        ("[3.0, 4.0]", "[3.0]", r"data\.X: its rows differ in length"),
        ("[3.0, 4.0]", '["3", "4"]', r"data\.X: holds something that is not a number"),
        ("[3.0, 4.0]", "[3.0, nan]", r"data\.X\[1, 1\] is nan"),
        ("[3.0, 4.0]", "[inf, 4.0]", r"data\.X\[1, 0\] is inf"),
        ("[3.0, 4.0]", "[3.0, -1e39]", r"data\.X\[1, 1\] = -1e\+39 overflows in float32"),
        (", [5.0, 6.0]", "", r"data\.Y: 3 rows, but X has 2"),
        ("[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]", "[]", r"data\.X: no data"),
        ("units = 2", "units = 4", r"data\.Y: 2 columns, but the last layer has 4 units"),
        ("[0.25, 0.75]", "[0.25, 0.7]", r"data\.Y: row 2 sums to 0\.95"),
        ("[0.25, 0.75]", "[-0.25, 1.25]", r"data\.Y\[2, 0\] = -0\.25 lies outside \[0, 1\]"),
        (
            FILE_WEIGHTS,
            'kind = "inline"\nW1 = [[1, 2]]\nW2 = [[1]]',
            r"weights\.W1: shape \(1, 2\) .* expected \(3, 2\)",
        ),
        (FILE_WEIGHTS, 'kind = "inline"\nW1 = [[1, 2, 3], [1, 2, 3]]', r"weights\.W1: .*it looks transposed"),
        (FILE_WEIGHTS, 'kind = "inline"\nW1 = [[1, 2], [1, 2], [3, 4]]', r"weights\.W2: missing"),
        (FILE_WEIGHTS, 'kind = "inline"\nW1 = [[1, 2], [1, 2], [3, nan]]', r"weights\.W1\[2, 1\] is nan"),
        (FILE_WEIGHTS, 'kind = "inline"\nW3 = [[1, 2]]', r"weights\.W3: unknown array 'W3'"),
        (FILE_WEIGHTS, 'kind = "inline"\nw1 = [[1, 2]]', r"weights\.w1: unknown key 'w1'"),
        (FILE_WEIGHTS, 'kind = "constant"\nvalue = 1e39', r"weights\.W1\[0, 0\] = 1e\+39 overflows in float32"),
        (FILE_WEIGHTS, 'kind = "file"\npath = "w.h5"', r"weights\.path: 'w\.h5' is neither \.npz nor \.safetensors"),
        (FILE_WEIGHTS, 'kind = "file"\npath = "w.npz"', r"weights\.path: .*w\.npz cannot be read: No such file"),
        (FILE_DATA, 'kind = "sklearn"\nloader = "load_digit"\n', r"data\.loader: .*did you mean 'load_digits'"),
        (
            FILE_DATA,
            'kind = "csv"\npath = "no.csv"\ninputs = ["a"]\ntargets = ["b"]\n',
            r"data\.path: .*no\.csv cannot be read: No such file",
        ),
        (FILE_DATA, 'kind = "random"\ninputs = 2\nsamples = 0\n', r"data\.samples: 0; give 1 or more"),
        (FILE_DATA, 'kind = "random"\ninputs = 2\nsamples = 2\ntargets = "label"\n', r"data\.targets: .*mean 'labels'"),
    ],
)
def test_bad_input_gets_one_clear_message(
    old: str, new: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert old in TOML
    with pytest.raises(InputError, match=message) as caught:
        Scenario.from_toml(TOML.replace(old, new, 1)).problem("float32")
    assert "\n" not in str(caught.value)


def test_messages_name_the_file_and_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(TOML.replace("units = 3", "units = -3"))
    with pytest.raises(InputError, match=r"own\.toml: scenario 'small': layers\[0\]\.units"):
        Scenario.from_toml(tmp_path / "own.toml")
    with pytest.raises(InputError, match=r"none\.toml: cannot be read"):
        Scenario.from_toml(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(InputError, match=r"latin\.toml: cannot be read .*UTF-8"):
        Scenario.from_toml(tmp_path / "latin.toml")
    with pytest.raises(InputError, match=r"unknown scenario 'xor-tap'.*did you mean 'xor-tape'"):
        load("xor-tap")
    with pytest.raises(InputError, match=r"unknown dtype 'float23'.*did you mean 'float32'"):
        small().problem("float23")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": [[1.0]]}, r"data: expected Inline or Csv"),
        ({"layers": 3}, r"layers: give a list"),
        ({"layers": []}, r"layers: give a list of at least one"),
        ({"layers": [3]}, r"layers\[0\]: expected a Layer, got 3"),
        ({"biases": GlorotUniform()}, r"biases: GlorotUniform.* is not a source of biases; use one of Zeros"),
        ({"biases": Given(W1=[[1.0]])}, r"biases\.W1: unknown array"),
        ({"weights": Given(b1=[1.0]), "biases": Constant(1)}, r"weights\.b1: .*in one place only"),
        ({"weights": Constant(math.nan)}, r"weights\.value: expected a finite number, got nan"),
    ],
)
def test_bad_scenarios_in_python(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=rf"scenario 'small': {message}"):
        small(**changes)


@pytest.mark.parametrize("kept", [0, 1, 40, -30])
@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_truncated_weights(kept: int, suffix: str, tmp_path: Path) -> None:
    arrays = {"W1": np.ones((3, 2)), "W2": np.ones((1, 3))}
    path = tmp_path / f"w.{suffix}"
    if suffix == "npz":
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    else:
        pytest.importorskip("safetensors.numpy").save_file(arrays, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=rf"weights\.path: .*w\.{suffix} cannot be read"):
        small(weights=WeightsFile(path)).problem("float32")  # type: ignore[arg-type]


DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "scenarios.md"
documented = pytest.mark.skipif(not DOCUMENT.is_file(), reason="the documents are in the repository only")


@documented
def test_the_documents_scenarios_run_and_meet_their_figures() -> None:
    texts = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    scenarios = [Scenario.from_toml(f'name = "s{i}"\n{text}') for i, text in enumerate(texts)]
    results = verify(scenarios, ["numpy"])
    assert results.verdict is Verdict.WITHIN
    assert {f.verdict for cell in results.cells for f in cell.figures} == {Verdict.WITHIN}
    assert sum(len(cell.figures) for cell in results.cells) == 2 * 4


@documented
def test_every_key_is_documented() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    kinds = [DATA, WEIGHTS, BIASES]
    names = {f.name for f in fields(Scenario)} - {"folder", "optimizer", "expected"}
    names |= {f.name for kind in kinds for source in kind.values() for f in fields(source)} - {"arrays"}
    names |= {name for kind in kinds for name in kind} | set(ACTIVATIONS) | set(LOSSES)
    assert [name for name in sorted(names) if f"`{name}`" not in text and f"`{name} =" not in text] == []


def test_bad_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", inputs=np.eye(2), Y=np.eye(2))
    np.save(tmp_path / "array.npy", np.eye(2))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    (tmp_path / "d.csv").write_text("cgpa,profile,lpa\n8,8,4\n7,,5\n6,x,6\n")
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n1,2,3\n")
    (tmp_path / "gap.csv").write_text("a,b\n1,2\n,3\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00a,b\n")
    for data, message in [
        (Npz("d.npz"), r"no array 'X'.*it holds inputs, Y"),
        (Npz("array.npz"), r"cannot be read as \.npz"),
        (Csv("d.csv", ("cgpa", "profil"), ("lpa",)), r"inputs: no column 'profil' \(did you mean 'profile'\?\)"),
        (Csv("d.csv", ("cgpa", "profile"), ("lpa",)), r"inputs: column 'profile' is not numeric"),
        (Csv("d.csv", ("cgpa",), ("lpa", "cgpa"), one_hot=True), r"targets: one_hot needs exactly one column"),
        (Csv("gap.csv", ("a",), ("b",)), r"data\.X\[1, 0\] is nan"),
        (Csv("ragged.csv", ("a",), ("b",)), r"cannot be read as CSV"),
        (Csv("empty.csv", ("a",), ("b",)), r"cannot be read as CSV"),
        (Csv("binary.csv", ("a",), ("b",)), r"cannot be read as CSV"),
    ]:
        with pytest.raises(InputError, match=message):
            small(data=data, folder=tmp_path).problem("float64")


def test_networks_beyond_all_memory_are_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="less than 2"):
        Scenario.from_toml(TOML.replace("units = 3", "units = 99999999999999999999"))

    def full(*_: object) -> None:
        raise MemoryError("Unable to allocate 298. GiB")

    monkeypatch.setattr("gradparity.reference.scenario.initial", full)
    with pytest.raises(InputError, match=r"do not fit into memory .*298. GiB"):
        Scenario.from_toml(TOML).problem("float32")


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    (file := tmp_path / "marked.toml").write_text(TOML, encoding="utf-8-sig")
    assert Scenario.from_toml(file).name == "small"


@pytest.mark.parametrize("figure", ["loss = 1e400", "dW1 = []", "dW1 = [[]]"])
def test_figures_that_say_nothing_are_bad_input(figure: str) -> None:
    with pytest.raises(InputError, match="expected"):
        Scenario.from_toml(f"{TOML}\n[expected]\n{figure}\n").problem("float64")
