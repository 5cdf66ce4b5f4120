"""The process of one framework family: ``python -m gradparity.adapters.worker FAMILY``.

It answers one task after the other over its standard streams, and imports NumPy, the framework and nothing else.
"""

from __future__ import annotations

import importlib
import inspect
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from operator import attrgetter
from pathlib import Path
from queue import SimpleQueue
from types import CodeType, ModuleType
from typing import BinaryIO, TypeAlias

import numpy as np

from gradparity.adapters.function_engine import run_function
from gradparity.adapters.loop import Item, contained, run
from gradparity.adapters.operations.case import OperationTask, Outputs
from gradparity.adapters.operations.evaluation import Evaluator
from gradparity.adapters.outcome import Task
from gradparity.adapters.registry import Engine, find
from gradparity.adapters.wire import HELLO, receive, send

Runner: TypeAlias = Callable[[Task], Iterator[Item]]


@cache
def runner(name: str) -> Runner:
    """Load the engine called `name`, once in the life of the process, and return what runs a task on it."""
    engine = find(name)
    thing = attrgetter(engine.attribute)(_module(engine))
    if not callable(thing):
        raise TypeError(f"{engine.attribute} is a {type(thing).__name__}, not a function")
    # An adapter is told from a function engine by what it asks for, so that neither is called to find out.
    if "variant" not in inspect.signature(thing).parameters:
        return partial(_run_function, thing)
    adapter = thing(engine.variant)
    return lambda task: run(adapter, task.problem)


def _run_function(function: Callable[..., dict[str, object]], task: Task) -> Iterator[Item]:
    return run_function(task, function)


class _FromSource(SourceFileLoader):
    """Load a user's file as it is now: Python takes its own cache for it where length and second are the same."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def _module(engine: Engine) -> ModuleType:
    if engine.broken:
        raise ImportError(engine.broken)
    if not engine.module.endswith(".py"):
        return importlib.import_module(engine.module)
    file = Path(engine.module)
    # Its neighbours can be imported, but last: a file called torch.py must not hide the framework.
    sys.path.append(str(file.parent))
    spec = spec_from_file_location(file.stem, file, loader=_FromSource(file.stem, str(file)))
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {file}")
    module = module_from_spec(spec)
    sys.modules.setdefault(file.stem, module)
    spec.loader.exec_module(module)
    return module


@cache
def evaluator(name: str) -> Evaluator:
    """Load what runs probes on the engine called `name`, once in the life of the process."""
    return Evaluator(name)


# Ctrl-C does not reach this process: a KeyboardInterrupt is the engine's own.
@partial(contained, errors=(BaseException,))
def answer(task: Task | OperationTask) -> Iterator[Item | Outputs]:
    """Run `task`, with a missing framework and whatever an engine raises as its typed end."""
    try:
        if isinstance(task, OperationTask):
            items: Iterator[Item | Outputs] = evaluator(task.engine).run(task)
        else:
            items = runner(task.engine)(task)
    except ImportError as error:
        command = find(task.engine).install
        advice = f"; to install what it needs: {command}" if command else ""
        raise ImportError(f"{task.engine} cannot be imported: {error}{advice}") from error
    yield from items


def _private_streams() -> tuple[BinaryIO, BinaryIO]:
    """Take the two pipes out of reach of what engines read and print, which goes to standard error."""
    tasks, results = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return tasks, results


def _read(stream: BinaryIO, tasks: SimpleQueue[Task | OperationTask]) -> None:
    """Queue every task that arrives; end the process where the other side is gone, even amid a step."""
    try:
        while True:
            tasks.put(receive(stream))  # type: ignore[arg-type]
    except EOFError:
        # Nobody is left to answer to. What the engine itself has started goes too, where it is a group of its own.
        if os.name == "posix" and os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(0)
    except Exception:  # noqa: BLE001 - a thread's exception would leave the process waiting for ever
        traceback.print_exc()
        os._exit(1)


def main(family: str) -> None:
    """Warm up the family's main engine, say hello, and answer tasks until the other side closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stream, results = _private_streams()
    tasks: SimpleQueue[Task | OperationTask] = SimpleQueue()
    threading.Thread(target=_read, args=(stream, tasks), daemon=True).start()
    with np.errstate(all="ignore"):
        # What fails here fails again for the task that needs it, where it has a place to be told.
        with suppress(Exception, SystemExit):
            runner(family)
        send(results, HELLO)
        while True:
            for item in answer(tasks.get()):
                send(results, item)


if __name__ == "__main__":
    main(sys.argv[1])
