"""Environments: what is wanted is read, resolved by uv from an index of the tests' own, built whole, and kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("platformdirs", reason="uv builds the environments: pip install 'gradparity[upgrade]'")

from gradparity.adapters import process
from gradparity.adapters.facts import facts
from gradparity.adapters.process import elsewhere
from gradparity.parity_tests.package_index import (
    ENGINE,
    RANDOM,
    RIGHT,
    ROUNDED,
    SCENARIO,
    WRONG,
    Index,
    lent_numpy,
    wheel,
)
from gradparity.reference.errors import InputError
from gradparity.reports import cache, measure, recording, releases
from gradparity.reports.bisect import search
from gradparity.reports.cli import cli
from gradparity.reports.comparison import differing, once
from gradparity.reports.environments import build
from gradparity.reports.lock import resolve
from gradparity.reports.recording import repeated
from gradparity.reports.side import here, there
from gradparity.reports.snapshot import Snapshot
from gradparity.reports.unbuildable import Stopped, Unbuildable
from gradparity.reports.uv import Uv, settings
from gradparity.reports.wanted import backends, concerned, wanted


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """Releases of `madeup`: 0.9 is random, 1.2 yanked, 1.3 does not resolve, 1.4 is wrong, 1.7 not importable."""
    folder = tmp_path_factory.mktemp("index")
    with Index(folder) as made:
        made.add(lent_numpy(folder), "2020-01-01")
        made.put("helper", "1.0", "2023-12-01", "None")
        made.put("helper", "2.0", "2024-03-01", "None")
        made.put("helper", "3.0", "2025-01-01", "None", "jax==0.0")
        made.put("jax", "0.0", "2023-12-01", "None\nimport jaxlib_that_is_not_there")
        for number in ("0.1", "0.2"):
            made.put("jax", number, "2024-01-01", "None", "jaxlib")
            made.put("jaxlib", number, "2024-01-01", "None")
        made.put("madeup", "0.9", "2023-12-15", RANDOM, "helper")
        made.put("madeup", "1.0", "2024-01-01", RIGHT, "helper")
        made.put("madeup", "1.1", "2024-04-01", ROUNDED, "helper")
        made.put("madeup", "1.2", "2024-05-01", WRONG, "helper", yanked=True)
        made.put("madeup", "1.3", "2024-06-01", RIGHT, "nowhere-to-be-found")
        made.put("madeup", "1.4", "2024-07-01", WRONG, "helper")
        made.put("madeup", "1.5", "2024-08-01", WRONG, "helper")
        made.put("madeup", "1.6", "2024-09-01", RIGHT, "helper")
        made.put("madeup", "1.7", "2024-10-01", "None\nimport nothing_of_that_name", "helper")
        made.put("madeup", "2.0", "2024-11-01", RIGHT, requires_python=">=4")
        yield made


@pytest.fixture(autouse=True)
def only_here(index: Index, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take packages from the tests' index alone, and keep what is built for the whole session."""
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    kept = tmp_path_factory.getbasetemp() / "kept"
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    monkeypatch.setenv("UV_CACHE_DIR", str(kept / "uv"))
    monkeypatch.setenv(cache.VARIABLE, str(kept / "gradparity"))
    releases.files.cache_clear()


@pytest.fixture
def chosen(tmp_path: Path) -> tuple[str, ...]:
    """The options that run one small scenario on an engine which uses `madeup`."""
    (tmp_path / "engine.py").write_text(ENGINE)
    (tmp_path / "line.toml").write_text(SCENARIO)
    return "--engine", f"{tmp_path / 'engine.py'}:student", "--scenario", str(tmp_path / "line.toml")


def invoke(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


# --- what is wanted --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("jax==0.9.2", {"jax": "0.9.2"}),
        ("jax >= 0.4, numpy==1.26.4", {"jax": "", "numpy": "1.26.4"}),
        ("jax>=0.4,<0.5", {"jax": ""}),
        ("tensorflow-cpu==2.20.0 keras==3.12.1", {"tensorflow": "2.20.0", "keras": "3.12.1"}),
        ("torch==2.13.0+cpu", {"torch": "2.13.0+cpu"}),
        (".", {}),
    ],
)
def test_packages_are_read(text: str, named: dict[str, str]) -> None:
    assert wanted(text).named == named


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("jax===>2", "no version"),
        ("jax=0.9", "no requirement"),
        ("jax==1 JAX==2", "twice"),
        ("  ", "nothing is named"),
        ("gone.txt", "no such file"),
        ("gone-1.0-py3-none-any.whl", "no such file"),
        ("gone.whl", "gone.whl"),
        (str(Path(__file__).parent), "is a folder"),
        (__file__, "no requirements or lock file"),
    ],
)
def test_what_is_no_side_is_refused(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        wanted(text)


def test_keras_alone_gets_something_to_run_on() -> None:
    installed = {"tensorflow-cpu": "2.21.0", "jax": "0.10.2", "torch": "2.13.0+cpu"}
    first, *others = backends(wanted("keras==3.12.1"), installed)
    assert [line.rpartition("==")[2] for line in first] == ["2.21.0", "0.10.2", "2.13.0+cpu"]
    assert all(not line.startswith("torch") for lines in others for line in lines)
    assert backends(wanted("keras==2.15.0"), installed)[0][0].endswith("==2.15.*")
    assert backends(wanted("keras==3.12.1"), {}) == [("jax[cpu]",)]
    assert backends(wanted("keras==3.12.1 jax==0.9.2"), installed) == [()]


def test_an_early_jax_gets_its_jaxlib() -> None:
    assert wanted("jax==0.4.20").requirements == ("jax[cpu]==0.4.20",)
    assert wanted("jaxlib==0.4.23").requirements == ("jaxlib==0.4.23", "jax<=0.4.23")


def test_the_engines_concerned() -> None:
    assert concerned([wanted("jax==1"), wanted("jax==2")]) == frozenset({"jax"})
    assert concerned([wanted("madeup==1"), wanted("madeup==2")]) is None


# --- releases --------------------------------------------------------------------------------------------------------


def test_releases_say_why_they_cannot_be_had(index: Index) -> None:
    found = {str(r.version): r for r in releases.between("madeup", "1.0", "2.0", "3.11.4")}
    assert found["1.2"].lacking == "yanked"
    assert found["2.0"].lacking == "not for Python 3.11.4"
    assert found["1.4"].lacking == ""
    assert str(found["1.4"].date)[:10] == "2024-07-01"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("madeup", "1.0", "9.9"), "no release '9.9'"),
        (("madeup", "1.1", "1.0"), "does not come before"),
        (("madeupp", "1.0", "1.1"), "no index knows"),
    ],
)
def test_a_range_that_is_none(arguments: tuple[str, str, str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        releases.between(*arguments)


def test_settings_of_pip_are_taken_over() -> None:
    given = settings({"PIP_INDEX_URL": "http://x/simple", "UV_PYTHON": "3.9", "PIP_FIND_LINKS": "/a /b"})
    assert given == {"UV_DEFAULT_INDEX": "http://x/simple", "UV_FIND_LINKS": "/a,/b"}
    assert releases.indexes(given) == ("http://x/simple",)
    assert settings({"PIP_INDEX_URL": "http://x", "UV_INDEX_URL": "http://y"}) == {"UV_INDEX_URL": "http://y"}


# --- locks and environments ------------------------------------------------------------------------------------------


def test_an_old_release_gets_what_was_there_and_the_new_one_keeps_it() -> None:
    uv = Uv()
    old = resolve(wanted("madeup==1.0"), uv)
    assert old.pins["helper"] == "1.0"
    assert resolve(wanted("madeup==1.1"), uv).pins["helper"] == "2.0"
    assert resolve(wanted("madeup==1.1"), uv, None, old.pins).pins["helper"] == "1.0"


def test_an_environment_holds_what_was_locked_and_no_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    uv = Uv()
    made = build(resolve(wanted("madeup==1.0"), uv), uv)
    assert set(made.side.distributions) == {"helper", "madeup", "numpy"}
    assert made.side.cpu == here().cpu
    assert not [*Path(made.side.python).parent.glob("pip*")]
    code = "import sys, gradparity.adapters.worker, json; print(json.dumps(sys.path)); import gradparity.reports"
    status, out, err = uv.run([made.side.python, "-c", code], elsewhere(made.side.pythonpath, os.environ))
    assert status == 1
    assert "gradparity.reports" in err
    assert str(tmp_path) not in json.loads(out)


def test_a_second_time_uv_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    first = build(resolve(wanted("madeup==1.0"), Uv()), Uv())

    def refuse(*_: object, **__: object) -> tuple[int, str, str]:
        raise AssertionError("uv was run")

    monkeypatch.setattr(Uv, "run", refuse)
    monkeypatch.setenv("UV_CACHE_DIR", os.environ["UV_CACHE_DIR"])
    assert build(resolve(wanted("madeup==1.0"), Uv()), Uv()) == first


def test_a_local_wheel(tmp_path: Path) -> None:
    file = wheel(tmp_path, "madeup", "3.0", {"madeup.py": "x = 1\n"})
    key = resolve(wanted(str(file)), Uv()).key
    assert resolve(wanted(str(file)), Uv()).pins["madeup"].startswith("file:")
    wheel(tmp_path, "madeup", "3.0", {"madeup.py": "x = 2\n"})
    assert resolve(wanted(str(file)), Uv()).key != key


def test_a_jax_in_a_file_gets_its_own_jaxlib_too(tmp_path: Path) -> None:
    file, old = tmp_path / "requirements.txt", {"jax": "0.1", "jaxlib": "0.1"}
    for number in ("0.1", "0.2"):
        file.write_text(f"jax=={number}\n")
        pins = resolve(wanted(str(file)), Uv(), like=old).pins
        assert (pins["jax"], pins["jaxlib"]) == (number, number)
    # What the file says holds.
    file.write_text("jax==0.2\njaxlib==0.1\n")
    assert resolve(wanted(str(file)), Uv(), like=old).pins["jaxlib"] == "0.1"


def test_lock_files(tmp_path: Path) -> None:
    pylock = tmp_path / "pylock.toml"
    pylock.write_text('lock-version = "1.0"\n[[packages]]\nname = "helper"\nversion = "1.0"\n')
    assert resolve(wanted(str(pylock)), Uv()).pins["helper"] == "1.0"
    included, file = tmp_path / "more.in", tmp_path / "requirements.txt"
    included.write_text("helper==1.0\n")
    file.write_text("-r more.in\nmadeup==1.1\n")
    assert resolve(wanted(str(file)), Uv()).pins.items() >= {"helper": "1.0", "madeup": "1.1"}.items()
    included.write_text("helper==2.0\n")
    assert resolve(wanted(str(file)), Uv()).pins["helper"] == "2.0"
    (tmp_path / "poetry.lock").write_text("")
    with pytest.raises(InputError, match="export it"):
        resolve(wanted(str(tmp_path / "poetry.lock")), Uv())


def test_facts_of_this_interpreter() -> None:
    found = facts()
    assert there("python", "", json.loads(json.dumps(found))).features == here().features
    assert found["distributions"]["numpy"]
    assert found["blas"]


def test_a_stopped_uv_starts_nothing() -> None:
    uv = Uv()
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(uv.run, ["sleep", "60"], os.environ)
        while not uv._running:
            pass
        uv.stop()
        with pytest.raises(Stopped):
            running.result()
    with pytest.raises(Stopped):
        uv.run(["true"], os.environ)


# --- the cache -------------------------------------------------------------------------------------------------------


def test_what_fails_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    def fails(target: Path) -> None:
        (target / "half").write_text("x")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        cache.made(tmp_path / "a", fails)
    left = tmp_path / "a.killed.part"
    left.mkdir()
    assert [*cache.made(tmp_path / "a", lambda target: (target / "whole").write_text("x")).iterdir()]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a.lock"]


def test_two_at_once_build_once(tmp_path: Path) -> None:
    made, both = [], threading.Barrier(2)

    def make(target: Path) -> None:
        made.append(target)

    def one() -> Path:
        both.wait()
        return cache.made(tmp_path / "a", make)

    with ThreadPoolExecutor(2) as threads:
        assert {future.result() for future in [threads.submit(one), threads.submit(one)]} == {tmp_path / "a"}
    assert len(made) == 1


def test_a_full_disk_is_one_message(chosen: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/cache/x")

    monkeypatch.setattr("gradparity.reports.cache.tempfile.mkdtemp", full)
    monkeypatch.setenv(cache.VARIABLE, os.environ[cache.VARIABLE] + "-full")
    code, _, err = invoke("upgrade", "madeup==1.0", "madeup==1.1", *chosen)
    assert code == 3
    assert "No space left on device" in err


# --- upgrade ---------------------------------------------------------------------------------------------------------


def test_upgrade_that_changes_nothing(chosen: tuple[str, ...], tmp_path: Path) -> None:
    code, out, err = invoke("upgrade", "madeup==1.0", "madeup==1.1", *chosen, "--out", str(tmp_path / "out"))
    assert code == 0, err
    assert "madeup 1.0 → 1.1" in err
    assert "helper" not in err
    assert "identical" in out
    assert invoke("diff", str(tmp_path / "out/old.parquet"), str(tmp_path / "out/new.parquet"))[0] == 0


def test_a_broken_framework_that_no_engine_needs_is_nobodys_concern(chosen: tuple[str, ...]) -> None:
    code, _, err = invoke("upgrade", "madeup==1.0", "madeup==1.1 helper==3.0", *chosen)
    assert code == 0, err
    assert "jax none → 0.0" in err
    assert "cannot be used" not in err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--scenario", "xor-tape"), "can run on both sides"),
        (("--engine", "torch"), "they need torch"),
        (("-o", f"{__file__}/report.html"), "no folder that can be written to"),
        (("--out", f"{__file__}/out"), "no folder that can be written to"),
        (("--python", "/not/there/python"), "no such file"),
        (("--python", "3.9"), "3.11 or newer"),
    ],
)
def test_what_cannot_be_is_told_before_anything_runs(options: tuple[str, ...], says: str) -> None:
    code, _, err = invoke("upgrade", "madeup==1.0", "madeup==1.1", *options)
    assert code == 2, err
    assert says in err
    assert "running" not in err


def test_a_framework_on_one_side_only_is_told(chosen: tuple[str, ...], tmp_path: Path) -> None:
    for name, text in (("old", "madeup==1.0\njax==0.1\n"), ("new", "madeup==1.0\n")):
        (tmp_path / f"{name}.txt").write_text(text)
    code, _, err = invoke("upgrade", str(tmp_path / "old.txt"), str(tmp_path / "new.txt"), *chosen)
    assert code == 0, err
    assert "jax is on one side only: nothing of it was compared" in err


def test_without_the_extra_it_is_named() -> None:
    program = "import sys; sys.modules['platformdirs'] = None; from gradparity.reports.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "upgrade", "a==1", "a==2"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "Error: upgrade needs more: pip install 'gradparity[upgrade]'\n"


def test_upgrade_that_breaks_a_gradient(chosen: tuple[str, ...], tmp_path: Path) -> None:
    old, new = tmp_path / "old.txt", tmp_path / "new.txt"
    old.write_text("madeup==1.0\n")
    new.write_text("madeup==1.4\nhelper==1.0\n")
    code, out, _ = invoke("upgrade", "--from", str(old), "--to", str(new), *chosen, "--format", "json")
    assert code == 1
    assert json.loads(out)["exit_code"] == 1
    assert '"dW1"' in out
    assert invoke("upgrade", "madeup==1.4", "madeup==1.6", *chosen)[0] == 0


def test_nobody_reads_what_is_said(chosen: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "gradparity", "upgrade", "madeup==1.0", "madeup==1.1", *chosen]
    done = subprocess.run(command, stdout=writer, stderr=writer, check=False)
    os.close(writer)
    assert done.returncode == 141


def test_what_cannot_be_had_again_is_no_drift(chosen: tuple[str, ...]) -> None:
    code, out, _ = invoke("upgrade", "madeup==0.9", "madeup==1.0", *chosen, "--format", "json")
    assert code == 0, out
    assert {cell["drift"] for cell in json.loads(out)["cells"]} == {"not reproducible"}


@pytest.mark.parametrize(("new", "code", "again"), [("1.6", 0, 0), ("1.4", 1, 2)])
def test_what_differs_runs_a_second_time(
    new: str, code: int, again: int, chosen: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted(*given: Any, **named: Any) -> Snapshot:
        snapshot = repeated(*given, **named)
        runs.append(snapshot)
        return snapshot

    runs: list[Snapshot] = []
    monkeypatch.setattr("gradparity.reports.measure.repeated", counted)
    options = ("--fresh", "--jobs", "1", *chosen)
    assert invoke("upgrade", "madeup==1.0", f"madeup=={new}", *options)[0] == code
    assert len(runs) == again
    assert not any(once(snapshot.by_key[key]) for snapshot in runs for key in differing(*runs))
    assert invoke("upgrade", "madeup==1.0", f"madeup=={new}", *options, "--out", str(tmp_path))[0] == code
    assert not any(once(cell) for side in ("old", "new") for cell in Snapshot.read(tmp_path / f"{side}.parquet").cells)


def test_the_environment_that_this_runs_in(chosen: tuple[str, ...]) -> None:
    version = facts()["distributions"]["numpy"]
    code, out, err = invoke("upgrade", "--from", ".", "--to", f"numpy=={version}", *chosen[2:])
    assert code == 0, err
    assert "identical" in out


def test_kept_results_are_used(chosen: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    assert invoke("upgrade", "madeup==1.0", "madeup==1.1", *chosen)[0] == 0

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it was run again")

    monkeypatch.setattr("gradparity.reports.measure.record", refuse)
    assert invoke("upgrade", "madeup==1.0", "madeup==1.1", *chosen)[0] == 0


def test_a_process_that_left_may_not_leave_another_time() -> None:
    assert process.may_pass(process._exit(1))
    assert not process.may_pass("TypeError: no")


@pytest.mark.parametrize(
    ("verdict", "message", "again"),
    [
        ("timed out", "no answer within 5 s", True),
        ("crashed", process._exit(-9), True),
        ("crashed", process._exit(-11), False),
    ],
)
def test_what_may_be_gone_another_time_is_not_kept(
    verdict: str, message: str, again: bool, chosen: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []

    def record(*args: Any, **options: Any) -> Snapshot:
        ran.append(args)
        snapshot = recording.record(*args, **options)
        return replace(snapshot, cells=tuple(replace(c, verdict=verdict, message=message) for c in snapshot.cells))

    monkeypatch.setattr(measure, "record", record)
    # Not beside the results of other tests.
    monkeypatch.setattr(measure, "digest", lambda *parts: cache.digest(*parts, message))
    for _ in range(2):
        assert invoke("upgrade", "madeup==1.0", "madeup==1.1", *chosen)[0] == 3
    assert len(ran) == (4 if again else 2)


@pytest.mark.parametrize(
    ("sides", "code", "says"),
    [
        (("madeup==9.9", "madeup==1.0"), 2, "no version of madeup==9.9"),
        (("madeup==1.3", "madeup==1.0"), 2, "nowhere-to-be-found"),
        (("madeup==1.0", "madeup==1.7"), 3, "nothing_of_that_name"),
        (("madeup==1.0",), 2, "fewer than two sides"),
        (("madeup==1.0", "madeup==1.1", "madeup==1.4"), 2, "more than two sides"),
        ((".", "."), 2, "this environment"),
        (("madeup=1.0", "madeup==1.1"), 2, "no requirement"),
    ],
)
def test_outcomes(sides: tuple[str, ...], code: int, says: str, chosen: tuple[str, ...]) -> None:
    found, out, err = invoke("upgrade", *sides, *chosen)
    assert found == code
    assert says in out + err


def test_without_a_network(chosen: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    code, _, err = invoke("upgrade", "madeup==1.0", "madeup==1.1", *chosen)
    assert code == 3
    assert "cannot ask the package index" in err


# --- bisect and history ----------------------------------------------------------------------------------------------


def test_bisect_finds_the_release_and_shows_its_path(chosen: tuple[str, ...]) -> None:
    code, out, err = invoke("bisect", "madeup", "1.0", "1.5", *chosen)
    assert code == 0, err
    assert "madeup 1.4 differs and 1.1 does not; between them, 1.2, 1.3 cannot be run." in out
    assert "skipped: yanked" in out
    assert "nowhere-to-be-found" in out
    assert "dW1" in out


def test_bisect_as_json_and_markdown(chosen: tuple[str, ...], tmp_path: Path) -> None:
    code, out, _ = invoke("bisect", "madeup", "1.0", "1.5", *chosen, "--format", "json")
    found = json.loads(out)
    assert (code, found["first"], found["last"], found["between"]) == (0, "1.4", "1.1", ["1.2", "1.3"])
    assert found["transient"] is False
    assert {v["version"]: v["outcome"] for v in found["path"]}["1.4"] == "changed"
    assert {(c["engine"].rpartition(":")[2], c["quantity"]) for c in found["change"]} == {("student", "dW1")}
    file = tmp_path / "found.md"
    assert invoke("bisect", "madeup", "1.0", "1.1", *chosen, "--format", "markdown", "-o", str(file))[0] == 0
    assert file.read_text().startswith(
        "No release of madeup differs from 1.0: 2 were run.\n\n| madeup | date | outcome |"
    )
    assert invoke("bisect", "madeup", "1.0", "1.5", *chosen, "-o", str(file))[:2] == (0, "")
    assert "madeup 1.4 differs and 1.1 does not; between them, 1.2, 1.3 cannot be run." in file.read_text()
    assert "became wrong" in file.read_text()
    assert invoke("bisect", "madeup", "1.0", "1.1", *chosen, "-o", str(tmp_path / "no" / "file"))[0] == 2


def test_bisect_finds_what_was_repaired_again(chosen: tuple[str, ...]) -> None:
    out = invoke("bisect", "madeup", "1.0", "1.6", *chosen)[1]
    assert "madeup 1.4 differs" in out
    assert "only for a while" in out


def test_bisect_by_bits_and_by_quantity(chosen: tuple[str, ...]) -> None:
    assert "No release of madeup differs" in invoke("bisect", "madeup", "1.0", "1.1", *chosen)[1]
    code, out, err = invoke("bisect", "madeup", "1.0", "1.5", *chosen, "--quantity", "db1")
    assert (code, err.count("Error")) == (0, 0)
    assert "No release of madeup differs" in out
    code, _, err = invoke("bisect", "madeup", "1.0", "1.5", *chosen, "--quantity", "dW7")
    assert code == 2
    assert "did you mean 'dW1'" in err


def test_history_is_one_table(chosen: tuple[str, ...]) -> None:
    code, out, _ = invoke("history", "madeup", "1.0..1.6", *chosen, "--format", "json")
    assert code == 1
    rows = {row["version"]: row for row in json.loads(out)["releases"]}
    assert rows["1.4"]["drift"] == {"became wrong": 2}
    assert rows["1.6"]["drift"] == {"repaired": 2}
    assert rows["1.2"]["skipped"] == "yanked"
    assert invoke("history", "madeup", "1.0..1.6", *chosen, "--format", "markdown")[1].count("\n") == 9
    assert invoke("history", "madeup", "1.0", *chosen)[0] == 2


def test_every_search_ends_where_it_should() -> None:
    for count in range(2, 8):
        for states in product((True, False, None), repeat=count - 2):
            for last in (True, False):
                check_search((False, *states, last))


def check_search(states: tuple[bool | None, ...]) -> None:
    asked: list[int] = []

    def changed(place: int) -> bool | None:
        assert place not in asked or place == len(states) - 1
        asked.append(place)
        return states[place]

    low, high, transient = search(len(states), changed)
    if not any(states):
        assert high is None
        return
    assert high is not None
    assert states[low] is False
    assert states[high] is True
    assert all(state is None for state in states[low + 1 : high])
    assert transient is not states[-1]
    if None not in states and states[-1]:
        assert len(asked) <= 1 + (len(states) - 1).bit_length()


def test_a_failure_says_what_the_tool_said() -> None:
    with pytest.raises(Unbuildable) as failure:
        resolve(wanted("madeup==1.3"), Uv())
    assert failure.value.refused
    assert "nowhere-to-be-found" in failure.value.log
