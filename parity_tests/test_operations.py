"""Probes: the catalogue, the arrays, the rule of allowances, the judge, and a worker that answers."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradparity.adapters import registry
from gradparity.adapters.operations.arrays import arrays, cotangent
from gradparity.adapters.operations.case import ENGINES, OperationCase, OperationTask, Outputs, load, shipped
from gradparity.adapters.operations.evaluation import Evaluator, was_refused
from gradparity.adapters.operations.names import called
from gradparity.adapters.outcome import Ended, Status
from gradparity.adapters.pool import Pool
from gradparity.adapters.wire import receive, send
from gradparity.reference import allowance as rule
from gradparity.reference.errors import InputError
from gradparity.reference.operations import FORMULAS, judge
from gradparity.reference.problem import Array
from gradparity.reference.verdict import Verdict
from gradparity.reports.cli_probes import show_records
from gradparity.reports.operation_cells import OperationRun, jobs, select
from gradparity.reports.output import draw
from gradparity.reports.snapshot import CellRecord

X = np.array([0.3, -0.7, 1.9, -2.5, 4.0, -6.0, 0.0, 0.01] * 4, np.float32) * np.linspace(0.5, 1, 32, dtype=np.float32)


def case(**changes: Any) -> OperationCase:
    plain = OperationCase("numpy.tanh() flat[32]", "numpy.tanh", ("normal",), ((32,),), elementwise=True)
    return replace(plain, **changes)


class NumpyDriver:
    """Runs a function and its derivative, given as NumPy code, as if a framework did."""

    def __init__(self, value: Callable[[Array], Array], slope: Callable[[Array], Array]) -> None:
        self.value, self.slope = value, slope

    def build(self, case: OperationCase, dtype: str) -> Any:
        def run(given: Any, weight: Any) -> Mapping[str, Array]:
            y = self.value(given[0])
            return {"value": y, "d0": weight(0, y.shape) * self.slope(given[0])}

        return run


def evaluated(value: Callable[[Array], Array], slope: Callable[[Array], Array], **changes: Any) -> dict[str, Outputs]:
    evaluator = Evaluator.__new__(Evaluator)
    evaluator.engine, evaluator.driver, evaluator._built = "numpy", NumpyDriver(value, slope), {}
    task = OperationTask("numpy", case(**changes), (X,))
    return {item.dtype: item for item in evaluator.run(task) if isinstance(item, Outputs)}


def beyond(old: Outputs, new: Outputs, name: str) -> int:
    """Return how many elements moved by more than the old side's allowance."""
    moved = np.abs(old.values[name].astype(np.float64) - new.values[name].astype(np.float64))
    return int((moved > old.allowed[name]).sum())


def one(x: Array) -> Any:
    return x.dtype.type(1)


def tanh_by_exp(x: Array) -> Array:
    e = np.exp(-2 * np.abs(x))
    return np.sign(x) * ((one(x) - e) / (one(x) + e))


def tanh_slope(x: Array) -> Array:
    return one(x) - np.square(np.tanh(x))


def other_tanh_slope(x: Array) -> Array:
    """Return 1/cosh², with the relative accuracy that ``1 − tanh²`` does not have."""
    return one(x) / np.square(np.cosh(x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_two_correct_implementations_are_within_the_allowance_of_each_other(dtype: str) -> None:
    old, new = evaluated(np.tanh, tanh_slope)[dtype], evaluated(tanh_by_exp, other_tanh_slope)[dtype]
    assert np.any(old.values["d0"] != new.values["d0"])
    assert beyond(old, new, "value") == 0
    assert beyond(old, new, "d0") == 0
    assert beyond(new, old, "value") == 0
    assert beyond(new, old, "d0") == 0


FAULTS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "a dropped term of 1e-4": (lambda x: np.tanh(x) + np.float32(1e-4) * x, tanh_slope),
    "float32 inside": (lambda x: np.tanh(x.astype(np.float32)).astype(x.dtype), tanh_slope),
    "a constant rounded to float32": (lambda x: np.tanh(x * x.dtype.type(np.float32(1.1)) / 1.1), tanh_slope),
    "one element": (lambda x: np.where(np.arange(x.size) == 5, np.tanh(x) * (1 + 1e-5), np.tanh(x)), tanh_slope),
    "another slope": (np.tanh, lambda x: tanh_slope(x) * x.dtype.type(1.00001)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_beyond_the_allowance_in_float64(fault: str) -> None:
    old, new = evaluated(np.tanh, tanh_slope)["float64"], evaluated(*FAULTS[fault])["float64"]
    assert beyond(old, new, "value") + beyond(old, new, "d0") > 0


def test_float32_inside_is_seen_and_widens_what_it_allows() -> None:
    right, narrow = evaluated(np.tanh, tanh_slope)["float64"], evaluated(*FAULTS["float32 inside"])["float64"]
    assert right.narrow == evaluated(*FAULTS["a constant rounded to float32"])["float64"].narrow == ()
    assert narrow.narrow == ("value",)
    assert beyond(narrow, right, "value") == 0
    assert beyond(right, narrow, "value") > 0
    kinked = evaluated(lambda x: np.clip(x, -1, 1), lambda x: (np.abs(x) < 1).astype(x.dtype))
    assert (kinked["float64"].narrow, kinked["float32"].narrow) == ((), ())
    # What oscillates bends more than float32 rounds.
    bent = evaluated(lambda x: np.cos(x.dtype.type(1e4) * x), lambda x: x.dtype.type(-1e4) * np.sin(1e4 * x))
    assert bent["float64"].narrow == ()


def test_an_exact_kink_allows_nothing_more() -> None:
    """x = 3 lies on the kink of a hard sigmoid: moved up, its derivative jumps; moved down, it does not."""
    x = np.array([3.0, 1.0])
    clipped = [(np.where(moved < 3, 1 / 6, 0)) for moved in (x * (1 + rule.ETA["float64"]), x * (1 - 1e-6))]
    fine = {"d0": np.array([1 / 6, 1 / 6])}
    s = rule.sensitivities(fine, [({"d0": clipped[0]}, {"d0": clipped[1]})], rule.ETA["float64"])
    assert s["d0"].max() == 0.0


def test_equal_numbers_move_alike_and_opposite_ones_stay_opposite() -> None:
    x = np.array([1.5, -1.5, 1.5, 0.25, 7.0, 0.1])
    for number in range(4):
        xi = rule.directions(x, number)
        assert xi[0] == xi[1] == xi[2]
        assert np.abs(xi).max() <= np.sqrt(3)
    many = [rule.directions(np.arange(1.0, 1e4), number) for number in range(4)]
    assert all(abs(xi.mean()) < 0.05 and abs(xi.var() - 1) < 0.05 for xi in many)
    assert abs(np.corrcoef(many) - np.eye(4)).max() < 0.05


def test_sizes_of_intermediates_are_those_nearer_to_zero() -> None:
    x, value = np.array([-6.0, -1.0, 0.0, 2.0, 5.0]), np.array([1e-5, 0.4, 1.0, 0.07, 1e-4])
    assert rule.local_sizes(x, value).tolist() == [1.0, 1.0, 1.0, 1.0, 1.0]
    assert rule.local_sizes(np.array([1.0, 10.0]), np.array([1.0, 1e20])).tolist() == [1.0, 1e20]


def test_a_gradient_that_cancels_may_be_off_by_what_cancels() -> None:
    x = np.array([0.5, -2.0, 0.0])
    sizes = rule.cancelled_sizes(x, np.array([1e-17, 1e-6, 0.0]), outputs=1.0, weight=1.5)
    assert sizes.tolist() == [3.0, 0.0, 0.0]


def test_an_allowance_too_small_for_float32_is_not_zero() -> None:
    up = rule.rounded_up(np.array([1e-60, 0.0, 0.1, 1e300]))
    assert 0.0 < float(up[0]) < 2e-45
    assert up[1] == 0.0
    assert up[2] >= 0.1
    assert up[3] == np.inf


def test_every_shipped_case_has_arrays_and_a_formula_that_exists() -> None:
    for c in shipped():
        assert c.formula in ("", *FORMULAS)
        assert set(c.engines) <= set(ENGINES[c.framework])
        for a in arrays(c):
            assert a.dtype in (np.float32, np.int32, np.bool_)
            assert a.dtype != np.float32 or c.values == "nonfinite" or np.isfinite(a).all()


def test_extreme_cases_hold_ordinary_numbers_too_and_share_the_program() -> None:
    extreme = [c for c in shipped() if c.values == "extreme"]
    programs = {c.program for c in shipped() if c.values == "ordinary"}
    assert extreme
    for c in extreme:
        assert c.program in programs
        largest = max(arrays(c), key=lambda a: a.size)
        if largest.size >= 4 and largest.dtype == np.float32:
            sizes = np.abs(largest)
            assert ((sizes > 1e-3) & (sizes < 30)).any(), c.name


def test_cotangents_are_fixed_and_never_zero() -> None:
    g = cotangent(0, (3, 5))
    assert (np.abs(g) >= 0.5).all()
    assert (g == cotangent(0, (3, 5))).all()
    assert (g != cotangent(1, (3, 5))).any()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('call = "nowhere.f"\ninputs = ["normal"]\nshapes = "flat"', "unknown framework 'nowhere'"),
        ('call = "jax.f"\ninputs = ["norm"]\nshapes = "flat"', ""),
        ('call = "jax.f"\ninputs = ["normal"]\nshapes = "flut"', "did you mean 'flat'"),
        ('call = "jax.f"\ninputs = ["normal"]\nshapes = "products"', "2 shapes for 1 inputs"),
        ('call = "jax.f"\ninputs = ["normal@7"]\nshapes = "flat"', "names axes"),
        ('call = "jax.f"\ninput = ["normal"]\nshapes = "flat"', "unknown key 'input'"),
        ('call = ["jax.f", "jax.f"]\ninputs = ["normal"]\nshapes = "flat"', "give one of the entries a label"),
    ],
)
def test_a_malformed_entry_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[[probe]]\n" + text)
    with pytest.raises(InputError, match=said or "did you mean 'normal'"):
        given_arrays(file)


def given_arrays(file: Path) -> list[tuple[Array, ...]]:
    return [arrays(c) for c in load(file)]


def test_a_users_own_entry_becomes_cases(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        '[[probe]]\ncall = "jax.nn.softmax"\ninputs = ["normal"]\nkeywords = [{axis = 0}, {axis = -1}]\n'
        'shapes = {single = [3, 1, 1]}\nvalues = ["ordinary", "extreme"]\nformula = "softmax"\n'
    )
    assert [c.name for c in load(file)] == [
        "jax.nn.softmax(axis=0) single[3,1,1]",
        "jax.nn.softmax(axis=0) single[3,1,1] extreme",
        "jax.nn.softmax(axis=-1) single[3,1,1]",
        "jax.nn.softmax(axis=-1) single[3,1,1] extreme",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "jax.nn.softmax(axis=0) single[3,1,1]",
        "keras.activations.hard_sigmoid() flat[203]",
        "keras.losses.binary_crossentropy() matrix[5,7] extreme",
        "tf.math.tanh() flat[203]",
    ],
)
def test_the_known_true_cases_are_there(name: str) -> None:
    (found,) = [c for c in shipped() if c.name == name]
    if "tanh" in name:
        assert -6.0 in arrays(found)[0]
    if "binary" in name:
        assert np.float32(1e-5) in arrays(found)[1]


def test_select_matches_parts_patterns_and_says_what_is_near() -> None:
    assert {c.call for c in select(["torch.optim.SGD"])} == {"torch.optim.SGD"}
    assert {c.call for c in select(["*softmax(axis=0) single[3,1,1]"])} >= {"jax.nn.softmax", "tf.nn.softmax"}
    with pytest.raises(InputError, match="no probe matches"):
        select(["sofmax_of_nothing"])


@pytest.mark.skipif(not registry.find("jax").installed, reason=registry.find("jax").install)
def test_slow_engines_take_part_where_they_are_asked_for() -> None:
    cases = select(["jax.numpy.tanh() flat[203]", "jax.nn.relu() flat[203]"])
    usual = {(c.call, engine) for c, engine in jobs(cases, there=lambda _: True)}
    assert ("jax.nn.relu", "jax") in usual
    assert ("jax.numpy.tanh", "jax") not in usual
    assert ("jax.numpy.tanh", "jax") in {(c.call, engine) for c, engine in jobs(cases, full=True)}
    assert jobs(cases, there=lambda _: False) == []


def test_messages_about_probes_cross_the_wire() -> None:
    c = next(c for c in shipped() if c.name == "torch.optim.SGD(lr=0.1) parameters[4,3][5]")
    sent = OperationTask("torch", c, arrays(c), allowances=False)
    stream = io.BytesIO()
    send(stream, sent)
    send(stream, Outputs("float32", Status.DONE, values={"value": X}, allowed={"value": X}))
    stream.seek(0)
    task, outputs = receive(stream), receive(stream)
    assert isinstance(task, OperationTask)
    assert task.case == c
    assert all((a == b).all() for a, b in zip(task.arrays, sent.arrays, strict=True))
    assert isinstance(outputs, Outputs)
    assert outputs.status is Status.DONE
    assert (outputs.allowed["value"] == X).all()


def softmax(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_is_judged_along_any_axis(axis: int) -> None:
    x = np.arange(30, dtype=np.float32).reshape(2, 3, 5) % 7
    y = softmax(x, axis)
    g = cotangent(0, x.shape)
    d = y * (g - (y * g).sum(axis=axis, keepdims=True))
    judged = judge("softmax", {"axis": axis}, [x], {"value": y, "d0": d}, "float32", cotangent)
    assert {j.verdict for j in judged.values()} == {Verdict.WITHIN}
    judged = judge("softmax", {"axis": axis}, [x], {"value": np.ones_like(y), "d0": -d}, "float32", cotangent)
    assert {j.verdict for j in judged.values()} == {Verdict.WRONG}
    assert judged["value"].allowed.shape == x.shape


def test_products_sums_and_updates_are_judged() -> None:
    rng = np.random.Generator(np.random.Philox(1))
    P, Q = rng.standard_normal((5, 7)), rng.standard_normal((7, 3))
    g = cotangent(0, (5, 3)).astype(np.float64)
    right = {"value": P @ Q, "d0": g @ Q.T, "d1": P.T @ g}
    found = judge("matmul", {}, [P, Q], right, "float64", cotangent)
    assert {j.verdict for j in found.values()} == {Verdict.WITHIN}
    found = judge("matmul", {}, [P, Q], right | {"d1": right["d1"] * (1 + 1e-12)}, "float64", cotangent)
    assert found["d1"].verdict is Verdict.WRONG
    weights, step = P[0], P[1]
    after = {"w0_step1": weights - 0.1 * step, "w0_step2": (weights - 0.1 * step) - 0.1 * P[2]}
    given = [weights, step, P[2]]
    assert {j.verdict for j in judge("sgd", {"lr": 0.1}, given, after, "float64", cotangent).values()} == {
        Verdict.WITHIN
    }
    single = float(np.float32(0.1))
    after = {"w0_step1": weights - single * step, "w0_step2": (weights - single * step) - single * P[2]}
    found = judge("sgd", {"lr": 0.1}, given, after, "float64", cotangent)
    assert {j.note for j in found.values()} == {"float32-learning-rate"}
    assert {j.verdict for j in found.values()} == {Verdict.DECLARED}


def test_torch_compile_can_trace_what_calls_a_function() -> None:
    torch = pytest.importorskip("torch")
    shapes = (2, 4), (3, 4), (3,)
    c = OperationCase("linear", "torch.nn.functional.linear", ("plain", "plain", "bias=plain"), shapes)
    given = [torch.rand(shape) for shape in shapes]
    # Its compiler proper is left out: it is the tracing that our code has a part in.
    traced = torch.compile(called(c), backend="eager", fullgraph=True)
    assert torch.equal(traced(*given), torch.nn.functional.linear(*given))


def test_a_worker_answers_and_what_is_not_there_is_unsupported(
    warm: Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    file = tmp_path / "mine.toml"
    file.write_text(
        '[[probe]]\ncall = ["torch.tanh", "torch.no_such_function"]\ninputs = ["normal"]\nshapes = "flat"\n'
        'elementwise = true\n[[probe]]\ncall = "torch.nn.functional.softmax"\nkeywords = [{dim = 0}, {dimension = 0}]\n'
        'inputs = ["normal"]\nshapes = {single = [3, 1, 1]}\nformula = "softmax"\n'
    )
    records: list[CellRecord] = []
    seen: dict[Any, Mapping[Any, str]] = {}
    run = OperationRun(jobs(load(file), ["torch"]))
    run.run(warm, records.append)
    run.digests(warm, lambda key, digests: seen.update({key: digests}))
    verdicts = {(r.subject, r.dtype): r.verdict for r in records}
    assert len(records) == 8
    for dtype in ("float32", "float64"):
        assert verdicts["torch.tanh() flat[203]", dtype] == Verdict.WITHIN
        assert verdicts["torch.no_such_function() flat[203]", dtype] == Verdict.UNSUPPORTED
        assert verdicts["torch.nn.functional.softmax(dimension=0) single[3,1,1]", dtype] == Verdict.UNSUPPORTED
    judged = next(r for r in records if "dim=0" in r.subject)
    assert {e.verdict for e in judged.entries} == {Verdict.WITHIN}
    plain = next(r for r in records if r.subject.startswith("torch.tanh"))
    assert {(e.quantity, e.verdict, len(e.bounds)) for e in plain.entries} == {("value", "", 203), ("d0", "", 203)}
    assert all(seen[r.key][e.key] == e.digest for r in records for e in r.entries)
    draw(lambda screen: show_records(records, screen))
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "unsupported wherever it could run: torch.no_such_function() flat[203]: torch.no_such_function is not" in said
    )
    assert said.count("wherever") == 2


def test_no_gradient_comes_from_what_a_layer_keeps_for_later(warm: Pool, tmp_path: Path) -> None:
    if not registry.find("keras:torch").installed:
        pytest.skip(registry.find("keras:torch").install)
    file = tmp_path / "mine.toml"
    file.write_text(
        '[[probe]]\ncall = "keras.layers.BatchNormalization"\nform = "object"\ngiven = {training = true}\n'
        'keywords = [{momentum = 0.5}, {momentum = 0.9}]\ninputs = ["plain"]\nshapes = {rows = [9, 4]}\n'
    )
    records: list[CellRecord] = []
    OperationRun(jobs(load(file), ["keras:torch"]), ("float32",)).run(warm, records.append)
    one_half, other = ({e.quantity: e.digest for e in r.entries} for r in records)
    assert one_half.keys() == {"value", "value1", "value2", "d0", "d1", "d2"}
    # The momentum is that of the averages, and of nothing else in training.
    assert {name for name in other if other[name] != one_half[name]} == {"value1", "value2"}


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        (TypeError("f() got an unexpected keyword argument 'axis'"), True),
        (
            ValueError("Invalid value for argument `reduction`. Expected one of {'sum', None}. Received: reduction=x"),
            True,
        ),
        (NotImplementedError(), True),
        (ValueError("operands could not be broadcast together"), False),
        (AttributeError("'ResourceVariable' object has no attribute 'path'"), False),
    ],
)
def test_what_a_release_does_not_take_is_no_crash(said: Exception, refused: bool) -> None:
    assert was_refused(said) == refused


def test_evaluation_ends_with_the_versions() -> None:
    evaluator = Evaluator.__new__(Evaluator)
    evaluator.engine, evaluator.driver, evaluator._built = "numpy", NumpyDriver(np.tanh, tanh_slope), {}
    *_, end = evaluator.run(OperationTask("numpy", case(), (X,)))
    assert isinstance(end, Ended)
    assert "numpy" in end.environment
