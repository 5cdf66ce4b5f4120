"""The campaign: draws can be had again and reach everything; it resumes, makes failures small, and finds nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("hypothesis", reason="hypothesis draws what is tested: pip install 'gradparity[test]'")

from hypothesis import HealthCheck, Phase, given, settings

from gradparity.adapters import registry
from gradparity.adapters.function_engine import StepProblem
from gradparity.adapters.pool import Pool, PoolClosedError
from gradparity.parity_tests.correct import correct
from gradparity.parity_tests.strategies import scenarios
from gradparity.reference.activations import ACTIVATIONS
from gradparity.reference.data import Inline
from gradparity.reference.errors import InputError
from gradparity.reference.initial import Given
from gradparity.reference.losses import LOSSES
from gradparity.reference.problem import Layer, Loss
from gradparity.reference.scenario import Scenario
from gradparity.reference.verdict import Verdict
from gradparity.reports.campaign import Campaign
from gradparity.reports.campaign_draw import TOGETHER, Drawn, drawn
from gradparity.reports.campaign_lines import JOURNAL, Header, Journal, Line
from gradparity.reports.campaign_shrink import shrunk
from gradparity.reports.campaign_summary import summary
from gradparity.reports.campaign_values import VALUES
from gradparity.reports.cell import FAILING, Cell
from gradparity.reports.cli import cli
from gradparity.reports.plan import plan
from gradparity.reports.verify import execute, verify

COUNT = 96


def ignore(cell: Cell) -> None:
    assert cell.scenario


def doubled_tanh(p: StepProblem) -> dict[str, Any]:
    """The same with a planted fault: the derivative of tanh is taken twice."""
    trace = correct(p)
    with np.errstate(all="ignore"):
        for l, layer in enumerate(p.layers, 1):
            if layer.activation == "tanh":
                trace[f"delta{l}"] = trace[f"delta{l}"] * (1 - trace[f"A{l}"] ** 2)
    return trace


# ---------------------------------------------------------------------------------------------------------- the draws


def test_a_draw_depends_on_seed_and_index_alone() -> None:
    forwards = [drawn(5, i) for i in range(40)]
    backwards = [drawn(5, i) for i in reversed(range(40))][::-1]
    assert forwards == backwards
    assert drawn(6, 3) != drawn(5, 3)


def test_a_draw_is_what_it_was() -> None:
    """The numbers of a campaign that somebody cites must be those of anybody who runs it again."""
    p = drawn(1, 100).scenario.problem(drawn(1, 100).scenario.dtypes[0])
    assert (p.data_sha256[:16], p.weights_sha256[:16]) == ("11aeae7f1799525d", "73840f94cfd339e1")


def test_a_drawn_scenario_survives_toml() -> None:
    for index in range(0, 200, 7):
        scenario = drawn(2, index).scenario
        read = Scenario.from_toml(scenario.to_toml())
        (dtype,) = scenario.dtypes
        assert read.problem(dtype).data_sha256 == scenario.problem(dtype).data_sha256
        assert read.problem(dtype).weights_sha256 == scenario.problem(dtype).weights_sha256


def test_consecutive_draws_share_what_is_compiled() -> None:
    def compiled(scenario: Scenario) -> Any:
        (dtype,) = scenario.dtypes
        problem = scenario.problem(dtype)
        return problem.layers, problem.loss, problem.X.shape, problem.batches, dtype, problem.learning_rate

    for group in range(10):
        of_group = [drawn(3, group * TOGETHER + i).scenario for i in range(TOGETHER)]
        assert len({compiled(s) for s in of_group}) == 1
        assert len({s.problem(s.dtypes[0]).data_sha256 for s in of_group}) > 1


def test_more_draws_may_share_a_shape() -> None:
    layers = [drawn(3, i, 20).scenario.layers for i in range(60)]
    assert [layers[i] == layers[i - 1] for i in range(1, 60)] == [i % 20 > 0 for i in range(1, 60)]


def test_the_draws_reach_everything() -> None:
    seen: Counter[Any] = Counter()
    sizes = []
    for index in range(0, 8000, TOGETHER):
        d = drawn(4, index)
        s = d.scenario
        seen.update({("depth", len(s.layers)), ("loss", s.loss), ("data", d.data), ("weights", d.weights), *s.dtypes})
        seen.update(("activation", layer.activation) for layer in s.layers)
        seen.update(("output", s.loss.name, s.layers[-1].activation) for _ in [0])
        sizes += [layer.units for layer in s.layers] + [len(s.data.X)]  # type: ignore[union-attr]
    wanted: set[Any] = {("depth", n) for n in range(1, 9)} | {("data", k) for k in VALUES} | {"float32", "float64"}
    wanted |= {("weights", k) for k in VALUES} | {("activation", a) for a in ACTIVATIONS}
    for name, loss in LOSSES.items():
        wanted |= {("output", name, activation) for activation in loss.activations}
        outputs = ("sum",) if loss.classes else ("sum", "mean")
        wanted |= {("loss", Loss(name, m, n)) for m in ("mean", "sum") for n in outputs}  # type: ignore[arg-type]
    assert wanted <= set(seen)
    assert min(sizes) == 1
    assert max(sizes) > 2000


def test_cross_entropy_over_classes_has_no_mean_over_outputs() -> None:
    with pytest.raises(InputError, match="one term a sample"):
        Scenario("s", [Layer(2, "softmax")], Loss("cce", outputs="mean"), drawn(0, 0).scenario.data)


# ---------------------------------------------------------------------------------------------------------- the judge


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(scenarios())
def test_the_table_in_working_precision_is_within_its_own_bounds(d: Drawn) -> None:
    (cell,) = verify([d.scenario], [correct]).cells
    assert cell.verdict in (Verdict.WITHIN, Verdict.SUSPECT), cell.first_wrong


@pytest.mark.parametrize("given", ["Z1", "loss", "dA2", "delta1", "dW", "d"])
def test_any_part_of_a_trace_is_judged_over_batches_of_different_sizes(given: str) -> None:
    def part(p: StepProblem) -> dict[str, Any]:
        going_on = {f"{name}_next" for name in ("W1", "b1", "W2", "b2")}
        return {name: a for name, a in correct(p).items() if name.startswith(given) or name in going_on}

    def doubled(p: StepProblem) -> dict[str, Any]:
        trace = part(p)
        return trace | {name: 2 * a for name, a in trace.items() if p.m == 1 and not name.endswith("_next")}

    data = Inline(((1.0,), (2.0,), (3.0,)), ((0.5,), (0.25,), (1.0,)))
    layers = [Layer(2, "tanh"), Layer(1, "linear")]
    scenario = Scenario("uneven", layers, Loss("squared_error"), data, batch_size=2, epochs=2)
    right, wrong = verify([scenario], [part]).cells, verify([scenario], [doubled]).cells
    assert {cell.verdict for cell in right} == {Verdict.WITHIN}
    assert {cell.first_wrong.first_wrong_step for cell in wrong if cell.first_wrong} == {2}


def test_no_false_alarm(tmp_path: Path) -> None:
    """Scenarios of many shapes with a seed that nothing was tuned to."""
    engines = ["numpy"] + ["torch"] * registry.find("torch").installed
    campaign = Campaign(COUNT, 20261, engines, tmp_path)
    assert campaign.run(ignore) == []
    lines = campaign.lines
    assert len(lines) == COUNT * len(engines)
    assert [line for line in lines if line.verdict in FAILING] == []
    assert not any(line.verdict is Verdict.SUSPECT for line in lines if not line.structured)
    assert max(ratio for line in lines for ratio in line.ratios.values()) <= 1.0
    judged, not_judged = sum(line.elements for line in lines), sum(line.not_judged for line in lines)
    assert judged > 1e6
    assert not_judged < 0.02 * judged


# What campaigns found in the judge: correct engines that were called wrong.


def one_layer(activation: str, loss: Loss, X: float, Y: float, W: float, dtype: str) -> Scenario:
    data, weights = Inline(((X,),), ((Y,),)), Given(W1=[[W]])
    return Scenario("one-layer", [Layer(1, activation)], loss, data, weights, dtypes=(dtype,))


def selecting(p: StepProblem) -> dict[str, Any]:
    """As torch, JAX and XLA do: the gradient of ReLU is selected, not multiplied; and ½ comes after the 2."""
    trace = correct(p)
    with np.errstate(all="ignore"):
        trace["dA1"] = 2 * (trace["A1"] - p.Y) * p.X.dtype.type(0.5)
        trace["delta1"] = np.where(trace["Z1"] > 0, trace["dA1"], np.zeros_like(p.Y))
    return {name: trace[name] for name in ("Z1", "A1", "loss", "dA1", "delta1")}


def other_form(p: StepProblem) -> dict[str, Any]:
    """As torch does: BCE from logits as ``(1−y)z − log σ(z)``, which is infinite where the table's form is NaN."""
    trace = correct(p)
    with np.errstate(all="ignore"):
        z, zero = trace["Z1"], np.zeros_like(p.Y)
        terms = (1 - p.Y) * z + np.logaddexp(zero, -z)
    return {"Z1": z, "A1": trace["A1"], "loss": terms.sum(keepdims=True)}


def zero_beside_infinity(p: StepProblem) -> dict[str, Any]:
    """As TensorFlow does: softmax of a finite logit beside an infinite one is 0, where the table's form is NaN."""
    trace = correct(p)
    return {"Z1": trace["Z1"], "A1": np.where(np.isfinite(trace["Z1"]), np.zeros_like(p.Y), trace["A1"])}


INFINITE_LOGIT = Scenario(
    "softmax", [Layer(2, "softmax")], Loss("squared_error"), Inline(((1e38,),), ((0.0, 1.0),)),
    Given(W1=[[1.0], [10.0]]), dtypes=("float32",),
)  # fmt: skip


@pytest.mark.parametrize(
    ("scenario", "engine"),
    [
        (one_layer("relu", Loss("half_squared_error", "sum"), 0.0, 3.4e38, 0.0, "float32"), selecting),
        (one_layer("linear", Loss("bce_logits"), 1e38, 0.0, 10.0, "float32"), other_form),
        # The product 1e-330 is 0 in float64, and its bound must not be.
        (one_layer("linear", Loss("squared_error"), 1e-130, 1e-200, 0.0, "float64"), correct),
        (INFINITE_LOGIT, zero_beside_infinity),
    ],
    ids=["infinite-cotangent", "infinite-logit", "underflow", "softmax"],
)
def test_a_correct_engine_is_not_called_wrong(scenario: Scenario, engine: Any) -> None:
    (cell,) = verify([scenario], [engine]).cells
    assert cell.verdict is Verdict.WITHIN, cell.first_wrong
    assert any(f.elements + f.not_judged for f in cell.findings)


def test_a_product_that_is_exactly_zero_is_still_judged_sharply() -> None:
    def not_zero(p: StepProblem) -> dict[str, Any]:
        return correct(p) | {"Z1": np.full_like(p.Y, 1e-320)}

    scenario = one_layer("linear", Loss("squared_error"), 0.0, 1.0, 3.0, "float64")
    (cell,) = verify([scenario], [not_zero]).cells
    assert cell.first_wrong is not None
    assert cell.first_wrong.quantity == "Z1"


# ------------------------------------------------------------------------------------------- resumption and shrinking


def test_it_resumes_where_it_was_killed(tmp_path: Path) -> None:
    whole = Campaign(12, 8, [correct], tmp_path / "whole")
    whole.run(ignore)
    killed = Campaign(12, 8, [correct], tmp_path / "killed")
    count = 0

    def kill(cell: Cell) -> None:
        nonlocal count
        count += 1
        if count == 5:
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, PoolClosedError)):
        killed.run(kill)
    file = tmp_path / "killed" / JOURNAL
    with file.open("ab") as journal:
        journal.write(b'{"kind":"cell","cell":{"index":5,"eng')
    again = Campaign(12, 8, [correct], tmp_path / "killed", resume=True)
    assert again.left == 7
    ran: list[Cell] = []
    again.run(ran.append)
    assert len(ran) == 7

    def figures(lines: list[Line]) -> list[Any]:
        return [(line.index, line.verdict, line.ratios, line.sigmas) for line in lines]

    assert figures(again.lines) == figures(whole.lines)
    assert Journal(tmp_path / "killed", Header(1, 8), resume=True).lines == again.lines


def test_a_folder_with_a_campaign_is_not_overwritten(tmp_path: Path) -> None:
    Campaign(1, 8, [correct], tmp_path).run(ignore)
    with pytest.raises(InputError, match="--resume"):
        Campaign(1, 8, [correct], tmp_path)
    with pytest.raises(InputError, match="seed 8"):
        Campaign(1, 9, [correct], tmp_path, resume=True)
    with pytest.raises(InputError, match="8 draws a shape"):
        Campaign(1, 8, [correct], tmp_path, together=50, resume=True)
    (tmp_path / JOURNAL).write_text("something else\n", encoding="utf-8")
    with pytest.raises(InputError, match="does not hold a campaign"):
        Campaign(1, 8, [correct], tmp_path, resume=True)


def test_new_processes_on_the_way_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def figures(campaign: Campaign) -> list[Any]:
        campaign.run(ignore)
        return sorted((line.index, line.verdict, line.ratios, line.sigmas) for line in campaign.lines)

    once = figures(Campaign(12, 8, ["numpy"], tmp_path / "once", together=2))
    monkeypatch.setattr("gradparity.reports.campaign.SHAPES", 1)
    monkeypatch.setattr("gradparity.reports.campaign.BATCHES", 2)
    assert figures(Campaign(12, 8, ["numpy"], tmp_path / "often", together=2)) == once


KERAS = ("keras:torch", "keras:tensorflow", "keras:jax")


@pytest.fixture(scope="session")
def repeated(warm: Pool) -> dict[str, list[Cell]]:
    """By engine, the cells of one scenario on a new model, of another network, of two more of the first one on a model
    that is new and then kept, and of the first scenario again."""
    engines = [engine for engine in KERAS if registry.find(engine).installed]
    if not engines:
        return {}
    # Two layers, two steps, finite numbers; the group after it has one layer.
    group = 384
    first, second, third = (drawn(5, group + i).scenario for i in range(3))
    other = drawn(5, group + TOGETHER).scenario
    assert (len(first.layers), first.steps) == (2, 2)
    # They run in the order of their names.
    scenarios = [replace(third, name="anew"), replace(other, name="another"), first, second, third]
    cells: list[Cell] = []
    execute(plan(scenarios, engines), cells.append, pool=warm)
    return {engine: [cell for cell in cells if cell.engine == engine] for engine in engines}


@pytest.mark.parametrize("engine", KERAS)
def test_a_model_that_is_kept_is_bit_for_bit_a_new_one(engine: str, repeated: dict[str, list[Cell]]) -> None:
    if engine not in repeated:
        pytest.skip(f"{engine} is not installed")
    new, *others, kept = repeated[engine]
    assert [new.scenario, *(cell.scenario for cell in others), kept.scenario] == sorted(
        cell.scenario for cell in repeated[engine]
    )
    assert kept.findings == new.findings
    assert any(f.digest for f in new.findings)


def test_a_planted_fault_is_made_small(tmp_path: Path) -> None:
    campaign = Campaign(40, 12, [doubled_tanh], tmp_path)
    failures = campaign.run(ignore)
    assert failures
    assert all("delta[tanh" in failure.line.wrong[0] for failure in failures)
    for failure in failures:
        assert failure.cell is not None
        first = failure.cell.first_wrong
        assert first is not None
        assert first.quantity.startswith("delta")
        (dtype,) = failure.scenario.dtypes
        problem = failure.scenario.problem(dtype)
        scalars = problem.X.size + sum(W.size for W in problem.W)
        assert len(problem.layers) <= 2
        assert scalars <= 12, failure.scenario.to_toml()
    written = sorted(path.name for path in (tmp_path / "failures").iterdir())
    assert len(written) == 2 * len(failures)
    small = Scenario.from_toml(tmp_path / "failures" / next(name for name in written if ".drawn" not in name))
    assert small in [failure.scenario for failure in failures] or small.layers in [f.scenario.layers for f in failures]
    assert "delta[tanh" in summary(12, campaign.lines)
    again = Campaign(40, 12, [doubled_tanh], tmp_path, resume=True)
    assert again.run(ignore) == []


def test_shrinking_keeps_what_the_failure_needs() -> None:
    scenario = drawn(1, 3).scenario
    wanted = 3

    def fails(candidate: Scenario) -> bool:
        return candidate.problem(scenario.dtypes[0]).X.shape[1] >= wanted

    d = next(d for d in (drawn(1, i) for i in range(200)) if d.scenario.problem(d.scenario.dtypes[0]).X.shape[1] > 20)
    scenario = d.scenario
    small = shrunk(scenario, scenario.dtypes[0], fails)
    assert small.problem(scenario.dtypes[0]).X.shape[1] == wanted
    assert len(small.layers) == 1


# ------------------------------------------------------------------------------------------------- the command


def test_the_command(tmp_path: Path) -> None:
    from click.testing import CliRunner

    out = str(tmp_path / "out")
    arguments = ["campaign", "--count", "8", "--seed", "3", "--engine", "numpy", "--out", out]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert "8 scenarios, 8 cells" in result.output
    assert (tmp_path / "out" / "summary.md").read_text(encoding="utf-8") in result.output
    assert CliRunner().invoke(cli, arguments).exit_code == 2
    assert CliRunner().invoke(cli, [*arguments, "--resume"]).exit_code == 0
