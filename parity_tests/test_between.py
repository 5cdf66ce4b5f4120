"""Engines side by side: what differs by more than rounding may do is found, placed, and told as one of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from gradparity.adapters import registry
from gradparity.adapters.operations.arrays import arrays
from gradparity.adapters.operations.case import OperationCase
from gradparity.reference.problem import Array
from gradparity.reports.between import Difference, differences
from gradparity.reports.between_terminal import show_differences
from gradparity.reports.cli import cli
from gradparity.reports.output import draw
from gradparity.reports.snapshot import CellRecord, Entry

CASE = OperationCase("keras.ops.f() flat[203]", "keras.ops.f", ("normal",), ((203,),), elementwise=True)
VALUE = np.linspace(1.0, 2.0, 203)
ENGINES = ("keras:jax", "keras:tensorflow", "keras:torch")


def record(
    engine: str,
    value: Array = VALUE,
    gradient: Array = VALUE,
    dtype: str = "float32",
    verdict: str = "",
    subject: str = CASE.name,
) -> CellRecord:
    u = float(np.finfo(dtype).eps) / 2
    entries = tuple(
        Entry.of(
            a.astype(dtype), 16 * u * np.abs(a), kind="probe", subject=subject, dtype=dtype, engine=engine, program="",
            quantity=name, order=order, verdict=verdict, note="", reproducible=None,
        )
        for order, (name, a) in enumerate({"value": value, "d0": gradient}.items())
    )  # fmt: skip
    return CellRecord("probe", subject, dtype, engine, "within", entries=entries)


def off(at: int, by: float) -> Array:
    found = VALUE.copy()
    found[at] += by
    return found


def found(records: Sequence[CellRecord], *more: OperationCase) -> list[Difference]:
    return list(differences(records, {case.name: case for case in (CASE, *more)}))


def only(records: Sequence[CellRecord], *more: OperationCase) -> Difference:
    (difference,) = found(records, *more)
    return difference


def shown(records: Sequence[CellRecord], capsys: pytest.CaptureFixture[str]) -> str:
    draw(lambda screen: show_differences(records, [CASE], screen))
    return " ".join(capsys.readouterr().out.split())


def test_what_agrees_to_rounding_is_no_difference(capsys: pytest.CaptureFixture[str]) -> None:
    records = [record(engine, off(7, i * 4 * 2.0**-24)) for i, engine in enumerate(ENGINES)]
    assert not found(records)
    assert "1 result of more than one engine compared: all agree to rounding" in shown(records, capsys)


def test_one_engine_has_nothing_to_be_compared_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing to compare" in shown([record(ENGINES[0])], capsys)


def test_the_first_quantity_that_differs_and_where() -> None:
    twisted = off(5, 1e-3)
    twisted[9] += 0.5
    difference = only([record(ENGINES[2]), record(ENGINES[1], gradient=twisted), record(ENGINES[0])])
    by = difference.moved
    assert (difference.quantity, by.index, by.outside, by.kept) == ("d0", 9, 2, 203)
    assert difference.sides == (("keras:jax", "keras:torch"), ("keras:tensorflow",))
    # Bounds are kept with 8 significant bits.
    assert difference.share == pytest.approx(0.5 / (16 * 2.0**-24 * (VALUE[9] + 0.5)), rel=2.0**-7)
    assert only([record(ENGINES[0]), record(ENGINES[1], twisted, twisted)]).quantity == "value"


def test_three_may_all_differ() -> None:
    difference = only([record(engine, off(3, 0.25 * i)) for i, engine in enumerate(ENGINES)])
    assert difference.sides == tuple((engine,) for engine in ENGINES)
    assert difference.moved.index == 3


def test_what_is_no_number_differs_from_a_number_and_not_from_its_like() -> None:
    nan = VALUE.copy()
    nan[0] = np.nan
    assert only([record(ENGINES[0], nan), record(ENGINES[1])]).share == np.inf
    assert not found([record(ENGINES[0], nan), record(ENGINES[1], nan)])


def test_what_a_formula_judged_is_not_compared() -> None:
    assert not found([record(e, off(3, i), verdict="within") for i, e in enumerate(ENGINES)])


def test_a_formula_for_one_quantity_only_leaves_the_others() -> None:
    records = [record(e, off(3, i), off(5, i)) for i, e in enumerate(ENGINES)]
    records = [replace(r, entries=(replace(r.entries[0], verdict="within"), r.entries[1])) for r in records]
    assert only(records).quantity == "d0"


def test_cells_of_other_probes_and_dtypes_are_not_compared() -> None:
    more = replace(CASE, name="keras.ops.g() flat[203]", call="keras.ops.g")
    other = record(ENGINES[1], off(3, 1.0), subject=more.name)
    assert not found([record(ENGINES[0]), other, record(ENGINES[1], off(3, 1.0), dtype="float64")], more)


@pytest.mark.parametrize(
    ("changes", "compared"),
    [
        ({"call": "tf.math.reduce_f"}, True),
        ({"call": "torch.nn.functional.F_", "arguments": ("~normal",)}, True),
        ({"keywords": {"dim": 1}}, False),
        ({"arguments": ("plain",)}, False),
        ({"values": "extreme"}, False),
    ],
)
def test_functions_of_one_name_of_several_frameworks(changes: dict[str, Any], compared: bool) -> None:
    other = replace(CASE, **{"name": "another", "call": "torch.f", **changes})
    records = [record(ENGINES[0]), record("torch", off(3, 1.0), subject=other.name)]
    assert bool(found(records, other)) is compared
    if compared:
        assert only(records, other).sides == (("keras.ops.f on keras:jax",), (f"{other.call} on torch",))


def test_dim_is_axis() -> None:
    a, b = replace(CASE, keywords={"axis": -1}), replace(CASE, call="torch.f", keywords={"dim": -1})
    assert a.mathematics == b.mathematics != replace(CASE, keywords={"axis": 0}).mathematics


def test_without_an_allowance_nothing_is_said() -> None:
    bare = record(ENGINES[2], off(3, 1.0))
    bare = replace(bare, entries=tuple(replace(e, allowed=b"") for e in bare.entries))
    assert not found([record(ENGINES[0]), bare])


def test_another_shape_is_a_difference(capsys: pytest.CaptureFixture[str]) -> None:
    said = shown([record(ENGINES[0]), record(ENGINES[1], VALUE[:5]), record(ENGINES[2])], capsys)
    assert "value, shape: keras:jax and keras:torch [203], keras:tensorflow [5]" in said


def test_what_differs_in_no_element_that_is_kept() -> None:
    large = np.linspace(1.0, 2.0, 300_001)
    other = large.copy()
    sampled = record(ENGINES[0], large).entries[0].indices
    other[next(i for i in range(large.size) if i not in set(sampled[:9].tolist()))] = 9.0
    difference = only([record(ENGINES[0], large), record(ENGINES[1], other)])
    assert (difference.quantity, difference.moved.index, difference.seen) == ("value", None, ("", ""))


@pytest.mark.parametrize(("by", "coarse"), [(1e-8, True), (1e-3, False)])
def test_float64_as_close_as_float32_can_tell_is_told_apart(
    by: float, coarse: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [record(engine, off(3, by * i), dtype="float64") for i, engine in enumerate(ENGINES[:2])]
    assert only(records).coarse is coarse
    assert ("1 more agree in float64 only as closely as float32 can tell: keras.ops.f()" in shown(records, capsys)) is (
        coarse
    )


def test_cells_of_one_function_are_told_together_by_the_worst_with_its_input(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fine = [record(engine, off(4, i), dtype="float64") for i, engine in enumerate(ENGINES)]
    fine[2] = replace(fine[2], entries=record(ENGINES[2], off(4, 0.0), dtype="float64").entries)
    rough = [record(engine, off(2, i == 1)) for i, engine in enumerate(ENGINES)]
    said = shown([*fine, *rough], capsys)
    x = arrays(CASE)[0][4]
    assert f"flat[203] float64: value, 1 of 203 elements, at {x:.6g}: keras:jax and keras:torch 1.019802, " in said
    assert "keras:tensorflow 2.019802" in said
    assert "and 1 more like it" in said
    assert said.count("what rounding may do") == 1


MINE = """
[[probe]]
call = "jax.nn.relu"
inputs = ["normal"]
shapes = {flat = [40]}
elementwise = true
"""


@pytest.mark.skipif(not registry.find("jax").installed, reason="JAX is not installed")
def test_the_command(tmp_path: Path) -> None:
    (file := tmp_path / "mine.toml").write_text(MINE)
    done = CliRunner().invoke(cli, ["probes", str(file), "--run", "--across", "--engine", "jax*"])
    assert done.exit_code == 0, done.output
    assert "2 results of more than one engine compared: all agree to rounding" in done.output


@pytest.mark.parametrize("option", ["--across", "--full"])
def test_options_of_a_run_need_one(option: str) -> None:
    done = CliRunner().invoke(cli, ["probes", "softmax", option])
    assert (done.exit_code, "add --run" in done.output) == (2, True)
