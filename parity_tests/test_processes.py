"""The worker processes: whatever an engine does costs its own cell, and nothing that it computed is altered."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import gradparity
from gradparity.adapters import registry
from gradparity.adapters.function_engine import StepProblem, run_function
from gradparity.adapters.loop import Item, Step, contained, stack
from gradparity.adapters.outcome import Chunk, Ended, Status, Task, printable
from gradparity.adapters.pool import Pool
from gradparity.adapters.process import environment
from gradparity.adapters.protocol import Unsupported
from gradparity.adapters.wire import receive, send
from gradparity.reference.errors import InputError
from gradparity.reference.problem import Array, Layer, Loss, Problem

ENGINES = """
import os, resource, signal, sys, time
import numpy as np

def good(p):
    return {"loss": np.zeros((1, 1), p.dtype), "dW1": np.ones_like(p.W[0]), "db1": np.ones_like(p.b[0])}

def kills_itself(p):
    if p.m == 3:
        print("\\x1b[31mabout to go\\x1b[0m")
        os.kill(os.getpid(), signal.SIGKILL)
    return good(p)

def crashes(p):
    os.kill(os.getpid(), signal.SIGSEGV)

def exits(p):
    os._exit(7)

def hangs(p):
    time.sleep(0.0 if p.m != 3 else 1000.0)
    return good(p)

def raises(p):
    raise ValueError("no such luck")

def calls_exit(p):
    sys.exit(3)

def interrupts(p):
    raise KeyboardInterrupt("as of its own progress bar")

def ends_a_generator(p):
    raise GeneratorExit

def prints(p):
    os.write(1, b"x" * 1_000_000)
    print("y" * 1_000_000)
    sys.stdin.read()
    return good(p)

def eats_memory(p):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, resource.RLIM_INFINITY))
    held = []
    while True:
        held.append(np.ones(2**22))

def changes_input(p):
    p.X[...] = 2
    p.W[0][...] = 0
    return good(p)

def nan(p):
    return good(p) | {"loss": np.full((1, 1), np.nan, p.dtype)}
"""

posix_only = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits memory so")


def problem(samples: int = 3, steps: int = 2, dtype: str = "float32", name: str = "p") -> Problem:
    ones = np.ones((2, samples * steps), dtype)
    return Problem(
        name=name,
        dtype=dtype,
        layers=(Layer(1, "sigmoid"),),
        loss=Loss("bce"),
        learning_rate=0.5,
        X=ones,
        Y=ones[:1],
        W=(np.ones((1, 2), dtype),),
        b=(np.zeros((1, 1), dtype),),
        batches=tuple((samples * i, samples * (i + 1)) for i in range(steps)),
    )


class Collected:
    """What a pool gave back, by engine and problem."""

    def __init__(self) -> None:
        self.chunks: dict[tuple[str, str], list[Chunk]] = defaultdict(list)
        self.ended: dict[tuple[str, str], Ended] = {}

    def __call__(self, task: Task, item: Item) -> None:
        key = task.engine.rpartition(":")[2], task.problem.name
        assert key not in self.ended
        if isinstance(item, Ended):
            self.ended[key] = item
        else:
            self.chunks[key].append(item)


@pytest.fixture
def engine_file(tmp_path: Path) -> Path:
    file = tmp_path / "engines.py"
    file.write_text(ENGINES)
    return file


def test_what_is_unsupported_is_no_crash_and_a_closed_generator_no_error() -> None:
    @partial(contained, errors=(BaseException,))
    def run() -> Iterator[int]:
        yield 1
        raise Unsupported("no compiler")

    assert list(run()) == [1, Ended(Status.UNSUPPORTED, "no compiler")]
    left = run()
    assert isinstance(left, Generator)
    next(left)
    left.close()


@linux_only
def test_whatever_an_engine_does_costs_its_own_cells_only(engine_file: Path) -> None:
    names = (
        "kills_itself", "crashes", "exits", "raises", "calls_exit", "interrupts", "ends_a_generator", "prints",
        "eats_memory", "changes_input", "nan", "good",
    )  # fmt: skip
    problems = problem(name="first"), problem(samples=4, name="second")
    got = Collected()
    with Pool() as pool:
        pool.run([Task(p, f"{engine_file}:{name}") for p in problems for name in names], got)
        processes = [worker.process for worker in pool._workers.values()]

    assert {key[0] for key in got.ended} == set(names)
    assert len(got.ended) == 2 * len(names)
    first = {name: got.ended[name, "first"] for name in names}
    assert all(first[name].status is Status.CRASHED for name in names[:7])
    assert "SIGKILL" in first["kills_itself"].message
    assert "SIGSEGV" in first["crashes"].message
    assert "exit status 7" in first["exits"].message
    assert first["raises"].message == "ValueError: no such luck"
    assert "in raises" in first["raises"].log
    assert "sys.exit(3)" in first["calls_exit"].message
    assert first["ends_a_generator"].message == "GeneratorExit"
    assert first["interrupts"].message == "KeyboardInterrupt: as of its own progress bar"
    assert first["prints"].status is Status.DONE
    assert first["eats_memory"].status is Status.CRASHED
    assert "Memory" in first["eats_memory"].message
    assert first["changes_input"].status is Status.DONE
    assert first["changes_input"].faults == ("the engine changed its input X", "the engine changed its input W1")
    assert np.isnan(got.chunks["nan", "first"][0].plain["loss"]).all()
    assert got.ended["kills_itself", "second"].status is Status.DONE
    for name in ("good", "prints", "changes_input", "nan"):
        assert [c.steps for c in got.chunks[name, "first"]] == [2]
        assert first[name].weights_sha256 == problems[0].weights_sha256
    assert all(process.returncode is not None for process in processes)


@posix_only
def test_what_a_dead_engine_printed_is_kept_without_its_control_characters(engine_file: Path) -> None:
    got = Collected()
    with Pool() as pool:
        pool.run([Task(problem(), f"{engine_file}:kills_itself")], got)
    assert got.ended["kills_itself", "p"].log == "about to go"


def test_a_hanging_engine_is_timed_out_and_the_next_task_runs(engine_file: Path) -> None:
    got = Collected()
    problems = problem(name="first"), problem(samples=4, name="second")
    with Pool(timeout=2.0) as pool:
        pool.run([Task(p, f"{engine_file}:hangs") for p in problems], got)
    assert got.ended["hangs", "first"].status is Status.TIMED_OUT
    assert got.ended["hangs", "first"].message == "no answer within 2 s"
    assert got.ended["hangs", "second"].status is Status.DONE


@posix_only
def test_a_family_that_dies_at_its_start_is_given_up(tmp_path: Path) -> None:
    file, starts = tmp_path / "broken.py", tmp_path / "starts"
    file.write_text(
        f"import os\nopen({str(starts)!r}, 'a').write('x')\nprint('bad import')\nos._exit(4)\ndef f(p): ...\n"
    )
    got = Collected()
    with Pool() as pool:
        pool.run([Task(problem(name=name), f"{file}:f") for name in "abcd"], got)
    assert [got.ended["f", name].message for name in "abcd"] == ["the process ended with exit status 4"] * 4
    assert got.ended["f", "d"].log == "bad import"
    assert starts.read_text() == "xx"


def test_a_missing_import_is_a_crash_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "needs.py"
    file.write_text("import no_such_package\ndef f(p): ...\n")
    got = Collected()
    with Pool() as pool:
        pool.run([Task(problem(), f"{file}:f")], got)
    assert got.ended["f", "p"].status is Status.CRASHED
    assert "No module named 'no_such_package'" in got.ended["f", "p"].message


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_of_the_consumer_ends_everything_and_reaches_the_caller(
    engine_file: Path, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def consume(task: Task, item: Item) -> None:
        raise error("enough")

    # The parity tests have threads of their own meanwhile.
    started, start = {threading.current_thread()}, threading.Thread.start

    def seen(thread: threading.Thread) -> None:
        if threading.current_thread() in started:
            started.add(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", seen)
    tasks = [Task(problem(name="slow"), f"{engine_file}:hangs"), Task(problem(), f"{engine_file}:good")]
    with Pool(jobs=2) as pool:
        with pytest.raises(error, match="enough"):
            pool.run(tasks, consume)
        processes = [worker.process for worker in pool._workers.values()]
    assert all(process.returncode is not None for process in processes)
    # Nobody waits for them, so that Ctrl-C is answered at once.
    for thread in started - {threading.current_thread()}:
        thread.join(timeout=30.0)
    assert [thread for thread in started if thread.is_alive()] == [threading.current_thread()]
    assert len(started) > 3


def test_a_warm_process_serves_the_next_run(engine_file: Path) -> None:
    with Pool() as pool:
        pids = set()
        for _ in range(2):
            got = Collected()
            pool.run([Task(problem(), f"{engine_file}:good")], got)
            assert got.ended["good", "p"].status is Status.DONE
            pids |= {worker.process.pid for worker in pool._workers.values()}
    assert len(pids) == 1


def test_a_file_is_read_as_it_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    file, said = tmp_path / "engines.py", []
    for word in ("first", "other"):
        file.write_text(f"def speaks(p):\n    raise ValueError({word!r})\n")
        # An edit within the same second, of the same length.
        os.utime(file, (1e9, 1e9))
        got = Collected()
        with Pool() as pool:
            pool.run([Task(problem(), f"{file}:speaks")], got)
        said.append(got.ended["speaks", "p"].message)
    assert said == ["ValueError: first", "ValueError: other"]


AWKWARD: tuple[Array, ...] = (
    np.array([0x7FF8DEADBEEF0001, 0xFFF0000000000000, 0x8000000000000000, 1], np.uint64).view(np.float64),
    np.array([[0x7FC01234, 0x80000001, 0x00000001, 0x80000000]], np.uint32).view(np.float32),
    np.zeros((0, 3), np.float32),
    np.array(-0.0),
    np.arange(6.0).reshape(2, 3).T,
    np.arange(3, dtype=">f4"),
    np.array([True, False]),
)


def test_every_bit_survives_the_wire() -> None:
    named = {f"a{i}": a for i, a in enumerate(AWKWARD)}
    stream = io.BytesIO()
    send(stream, Chunk(3, 1, named, {}, named))
    stream.seek(0)
    chunk = receive(stream)
    assert isinstance(chunk, Chunk)
    assert (chunk.first_step, chunk.steps, chunk.plain) == (3, 1, {})
    for name, a in named.items():
        for back in (chunk.weights[name], chunk.probed[name]):
            assert (back.dtype, back.shape, back.tobytes()) == (a.dtype, a.shape, a.tobytes())


def test_tasks_and_ends_survive_the_wire() -> None:
    task = Task(replace(problem(dtype="float64"), learning_rate=0.1 + 2**-54), "jax:jit")
    end = Ended(Status.TIMED_OUT, "μ\n", "log", 0.1, {"numpy": "2"}, "ab", ("a fault",))
    stream = io.BytesIO()
    send(stream, task)
    send(stream, end)
    stream.seek(0)
    back = receive(stream)
    assert isinstance(back, Task)
    assert replace(back.problem, X=0, Y=0, W=(), b=()) == replace(task.problem, X=0, Y=0, W=(), b=())  # type: ignore[arg-type]
    assert back.problem.weights_sha256 == task.problem.weights_sha256
    assert back.problem.data_sha256 == task.problem.data_sha256
    assert receive(stream) == end


def test_a_truncated_stream_raises_wherever_it_ends() -> None:
    stream = io.BytesIO()
    send(stream, Chunk(0, 1, {"W1": np.ones((1, 2, 2))}, {}, {}))
    whole = stream.getvalue()
    for size in range(len(whole)):
        with pytest.raises(EOFError):
            receive(io.BytesIO(whole[:size]))
    with pytest.raises(ValueError, match="not a message"):
        receive(io.BytesIO(b"HTTP" + whole))


def test_steps_are_stacked_unless_their_layout_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(a: Array) -> Step:
        return Step(1, {}, {"dW1": a}, {})

    wide, narrow = np.zeros((2, 2)), np.zeros((2, 2), np.float32)
    chunks = list(stack(step(a) for a in (wide, wide, narrow, wide)))
    assert [(c.first_step, c.steps, c.plain["dW1"].dtype.name) for c in chunks] == [
        (0, 2, "float64"), (2, 1, "float32"), (3, 1, "float64")
    ]  # fmt: skip
    monkeypatch.setattr("gradparity.adapters.loop.CHUNK_BYTES", wide.nbytes)
    assert [c.steps for c in stack(step(wide) for _ in range(5))] == [2, 2, 1]


def test_a_function_goes_on_from_what_it_returned_or_from_its_gradient() -> None:
    def with_next(p: StepProblem) -> dict[str, Array]:
        return {"W1_next": p.W[0] + 1, "b1_next": p.b[0]}

    def with_gradient(p: StepProblem) -> dict[str, Array]:
        return {"dW1": np.ones_like(p.W[0]), "db1": np.zeros(1, p.dtype)}

    def weights(function: object) -> list[float]:
        items = list(run_function(Task(problem(steps=3), "f"), function))  # type: ignore[arg-type]
        return [float(w[0, 0]) for chunk in items if isinstance(chunk, Chunk) for w in chunk.weights["W1"]]

    assert weights(with_next) == [1.0, 2.0, 3.0]
    assert weights(with_gradient) == [1.0, 0.5, 0.0]


def test_a_function_without_gradients_is_judged_on_its_first_step() -> None:
    chunk, end = run_function(Task(problem(steps=3), "f"), lambda p: {"loss": 0.25, "Z1": p.Y})
    assert isinstance(chunk, Chunk)
    assert chunk.steps == 1
    assert chunk.plain["loss"].dtype == np.float32
    assert set(chunk.plain) == {"loss"}
    assert set(chunk.probed) == {"loss", "Z1"}
    assert isinstance(end, Ended)
    assert end.message == "ended after step 1 of 3: no next W1"


@pytest.mark.parametrize(
    ("returned", "message"),
    [({"dWW1": 0.0}, "did you mean 'dW1'"), ([1.0], "list, not a dictionary"), ({"dW1": object()}, "object")],
)
def test_what_is_no_trace_ends_as_a_crash_that_says_so(returned: object, message: str) -> None:
    (end,) = run_function(Task(problem(), "f"), lambda p: returned)  # type: ignore[arg-type, return-value]
    assert isinstance(end, Ended)
    assert end.status is Status.CRASHED
    assert message in end.message


def test_names_patterns_and_files_resolve(engine_file: Path) -> None:
    assert [e.name for e in registry.resolve("torch*")] == ["torch", "torch:func", "torch:compile"]
    assert {e.family for e in registry.resolve("keras:*")} == {"tensorflow", "torch", "keras:jax"}
    (engine,) = registry.resolve(f"{engine_file}:good")
    assert (engine.module, engine.attribute, engine.installed) == (str(engine_file), "good", True)


def test_unknown_engines_are_bad_input(engine_file: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def f(:\n")
    for name, message in {
        "troch": "did you mean 'torch'",
        "nothing:*": "unknown engine",
        f"{engine_file}:goood": "did you mean 'good'",
        f"{engine_file}": "say which function",
        f"{tmp_path}/none.py:f": "No such file",
        f"{tmp_path}/bad.py:f": "not valid Python",
    }.items():
        with pytest.raises(InputError, match=message):
            registry.resolve(name)


def test_packages_add_engines_and_a_broken_one_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "other_backprop"
    package.mkdir()
    (package / "__init__.py").write_text("def step(p): return {}\n")
    meta = tmp_path / "other_backprop-1.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: other-backprop\nVersion: 1.0\n")
    (meta / "entry_points.txt").write_text(
        "[gradparity.engines]\nother = other_backprop:step\ngone = not_there:step\ntorch = other_backprop:step\n"
        "vague = other_backprop\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry.engines.cache_clear()
    try:
        added = {e.name: e for e in registry.engines()[len(registry.BUILT_IN) :]}
    finally:
        registry.engines.cache_clear()
    assert added["other"].installed
    assert "not_there" in added["gone"].broken
    assert "already taken" in added["torch"].broken
    assert "module:function" in added["vague"].broken
    assert not sys.modules.keys() & {"other_backprop", "not_there"}


def test_the_workers_environment_is_fixed() -> None:
    env = environment("torch", {"XLA_FLAGS": "--mine", "JAX_PLATFORMS": "cuda", "TF_CPP_MIN_LOG_LEVEL": "0"})
    assert env["KERAS_BACKEND"] == "torch"
    assert env["JAX_PLATFORMS"] == "cpu"
    assert env["TF_CPP_MIN_LOG_LEVEL"] == "0"
    assert env["XLA_FLAGS"] == "--mine --xla_cpu_multi_thread_eigen=false"
    assert "KERAS_BACKEND" not in environment("numpy", {})


def test_what_is_shown_has_no_control_characters() -> None:
    assert printable("a\x1b[31mb\x1b[0m\x07\n10%\r90%\r\n\u202eend\n") == "ab\n90%\nend"
    assert printable("\n".join("abcdef"), lines=2) == "e\nf"


def test_importing_imports_no_framework() -> None:
    root = Path(gradparity.__file__).parent
    names = [
        f"gradparity.{folder}.{file.stem}"
        for folder in ("adapters", "reference")
        for file in sorted((Path(sys.modules["gradparity.adapters"].__file__ or "").parents[1] / folder).glob("*.py"))
        if file.stem not in ("__init__", "arb")
    ]
    assert root.name == "gradparity"
    assert len(names) > 10
    code = f"""
import importlib, sys
for name in {names!r}:
    importlib.import_module(name)
found = sys.modules.keys() & {{"torch", "tensorflow", "jax", "keras", "pandas", "sklearn", "flint", "rich"}}
sys.exit(f"imported: {{sorted(found)}}" if found else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
