"""``pytest --parity-baseline``: what was wrong already is expected, what became wrong fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from gradparity.adapters import registry
from gradparity.reports.operation_cells import OperationRun, select
from gradparity.reports.plan import plan
from gradparity.reports.recording import record
from gradparity.reports.side import here
from gradparity.reports.snapshot import PROBE
from gradparity.reports.store import SNAPSHOT

BACKWARD = """
import numpy as np

def step(p):
    (W1, W2), (b1, b2) = p.W, p.b
    Z1 = W1 @ p.X + b1
    A1 = np.maximum(Z1, 0)
    Z2 = W2 @ A1 + b2
    delta2 = (1 / (1 + np.exp(-Z2)) - p.Y) / np.asarray(p.N, p.dtype)
    delta1 = (W2.T @ delta2) * (Z1 > 0)
    dW2, db2 = delta2 @ A1.T, delta2.sum(1, keepdims=True)
    dW1, db1 = delta1 @ p.X.T, delta1.sum(1, keepdims=True)
    if FAULT in ("bias", "both"):
        db1 = db1 / p.X.shape[1]
    if FAULT in ("weight", "both"):
        dW2 = dW2 * 2
    if FAULT == "crash":
        raise RuntimeError("no such thing")
    return {"Z1": Z1, "A1": A1, "Z2": Z2, "delta2": delta2, "dW2": dW2, "db2": db2,
            "dA1": W2.T @ delta2, "delta1": delta1, "dW1": dW1, "db1": db1}
"""


@pytest.fixture
def engine(tmp_path: Path) -> str:
    return f"{tmp_path / 'backward.py'}:step"


def break_it(engine: str, fault: str) -> None:
    Path(engine.partition(":")[0]).write_text(f"FAULT = {fault!r}\n{BACKWARD}", encoding="utf-8")


def snapshot(engine: str, fault: str, folder: Path) -> Path:
    break_it(engine, fault)
    file = folder / SNAPSHOT
    record(here(), plan(["xor-tape"], [engine], ["float64"])).write(file)
    return file


def outcomes(engine: str, fault: str, baseline: Path) -> tuple[int, dict[str, int], str]:
    """Return exit code, how many tests ended how, and what was printed."""
    break_it(engine, fault)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--pyargs",
        "gradparity.parity_tests.test_parity",
        "-p",
        "no:cacheprovider",
        # Its import takes longer than everything else here.
        "-p",
        "no:hypothesispytest",
    ]
    options = ["--parity-engine", engine, "--parity-scenario", "xor-tape", "--parity-baseline", str(baseline), "-rxfE"]
    done = subprocess.run(
        [*command, *options, "-k", "float64"], cwd=baseline.parent, env=os.environ | {"PYTEST_ADDOPTS": ""},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|xfailed|errors)", done.stdout)}
    return done.returncode, counts, done.stdout + done.stderr


def test_what_was_wrong_in_the_baseline_is_expected(engine: str, tmp_path: Path) -> None:
    code, counts, said = outcomes(engine, "bias", snapshot(engine, "bias", tmp_path))
    assert code == 0, said
    assert counts["xfailed"] == 1, said
    assert "wrong in the baseline too" in said


def test_what_became_wrong_fails_and_is_named(engine: str, tmp_path: Path) -> None:
    code, counts, said = outcomes(engine, "both", snapshot(engine, "bias", tmp_path))
    assert code == 1, said
    assert counts["failed"] == 1, said
    assert "Not so in the baseline: dW2" in said


def test_what_was_right_in_the_baseline_fails(engine: str, tmp_path: Path) -> None:
    code, _, said = outcomes(engine, "weight", snapshot(engine, "none", tmp_path))
    assert code == 1, said
    assert "Not so in the baseline: dW2" in said


def test_what_crashed_in_the_baseline_may_crash(engine: str, tmp_path: Path) -> None:
    crashed = snapshot(engine, "crash", tmp_path)
    code, counts, said = outcomes(engine, "crash", crashed)
    assert (code, counts["xfailed"]) == (0, 3), said
    (tmp_path / "right").mkdir()
    code, counts, said = outcomes(engine, "crash", snapshot(engine, "none", tmp_path / "right"))
    assert (code, counts["errors"]) == (1, 3), said


def test_probes_of_the_baseline_run_again(tmp_path: Path) -> None:
    if not registry.find("torch").installed:
        pytest.skip(registry.find("torch").install)
    names = ("softsign", "tanhshrink")
    chosen = [f"torch.nn.functional.{name}() flat[203]" for name in names]
    operations = OperationRun([(case, "torch") for case in select(chosen) if case.values == "ordinary"])
    snapshot = record(here(), plan(["xor-tape"], ["numpy"]), operations, twice=False)
    probe = next(cell for cell in snapshot.cells if cell.kind == PROBE and "tanhshrink" in cell.subject)
    value = probe.entries[0]
    halved = replace(value, kept=(value.values / 2).tobytes(), digest=sha256((value.values / 2).tobytes()).hexdigest())
    others = tuple(cell for cell in snapshot.cells if cell is not probe)
    file = tmp_path / SNAPSHOT
    replace(snapshot, cells=(*others, replace(probe, entries=(halved, *probe.entries[1:])))).write(file)
    command = [sys.executable, "-m", "pytest", "--pyargs", "gradparity.parity_tests.test_probes", "-v"]
    done = subprocess.run(
        [*command, "--parity-baseline", str(file)], cwd=tmp_path, env=os.environ | {"PYTEST_ADDOPTS": ""},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "test_probe[torch-torch.nn.functional.softsign] PASSED" in done.stdout
    assert "test_probe[torch-torch.nn.functional.tanhshrink] FAILED" in done.stdout
    assert "changed beyond rounding" in done.stdout


def test_a_damaged_baseline_is_refused_before_anything_runs(engine: str, tmp_path: Path) -> None:
    file = snapshot(engine, "none", tmp_path)
    file.write_bytes(file.read_bytes()[:-100])
    code, _, said = outcomes(engine, "none", file)
    assert code == pytest.ExitCode.USAGE_ERROR, said
    assert str(file) in said
    assert "Traceback" not in said
