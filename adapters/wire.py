"""Messages over pipes: a JSON header, then the bytes of every array as they are, never as decimals.

A message is ``b"GPAR"``, the header's length as 8 bytes (big-endian), the header, and the arrays' bytes in C order.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict
from typing import IO, Any, TypeAlias

import numpy as np

from gradparity.adapters.operations.case import OperationCase, OperationTask, Outputs
from gradparity.adapters.outcome import Chunk, Ended, Status, Task
from gradparity.reference.problem import Array, Layer, Loss, Problem
from gradparity.reference.toml_io import frozen

Message: TypeAlias = Task | Chunk | OperationTask | Outputs | Ended | str
"""What crosses the border; a string is the handshake."""

HELLO = "hello"

MAGIC = b"GPAR"
PREFIX = struct.Struct(">4sQ")


def send(stream: IO[bytes], message: Message) -> None:
    """Write one message and flush. Raises `OSError` where the other side is gone."""
    arrays: list[Array] = []
    body = _PACK[type(message)](message, arrays)
    layout = [(a.dtype.str, a.shape) for a in arrays]
    header = json.dumps({"kind": type(message).__name__, "body": body, "arrays": layout}).encode()
    stream.write(PREFIX.pack(MAGIC, len(header)) + header)
    for a in arrays:
        stream.write(np.ascontiguousarray(a).reshape(-1).view(np.uint8).data)
    stream.flush()


def receive(stream: IO[bytes]) -> Message:
    """Read one message. Raises `EOFError` where the stream ends before it does, `ValueError` for anything else."""
    magic, length = PREFIX.unpack(_read(stream, PREFIX.size).tobytes())
    if magic != MAGIC:
        raise ValueError(f"not a message: it begins with {magic!r}")
    header = json.loads(_read(stream, length).tobytes())
    arrays = [_read_array(stream, np.dtype(dtype), tuple(shape)) for dtype, shape in header["arrays"]]
    message: Message = _UNPACK[header["kind"]](header["body"], arrays)
    return message


def _read(stream: IO[bytes], size: int) -> Array:
    data = np.empty(size, np.uint8)
    view, done = data.data, 0
    while done < size:
        count = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError(f"the stream ended after {done} of {size} bytes")
        done += count
    return data


def _read_array(stream: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    return _read(stream, size).view(dtype).reshape(shape)


def _put(array: Array, arrays: list[Array]) -> int:
    """Add `array` to those that follow the header, and return its place there."""
    if array.dtype.hasobject:
        raise TypeError(f"an array of {array.dtype} holds no numbers")
    arrays.append(array)
    return len(arrays) - 1


def _put_all(named: Mapping[str, Array], arrays: list[Array]) -> dict[str, int]:
    return {name: _put(a, arrays) for name, a in named.items()}


def _pack_task(task: Task, arrays: list[Array]) -> dict[str, Any]:
    p = task.problem
    return {
        "engine": task.engine,
        "name": p.name,
        "dtype": p.dtype,
        "layers": [asdict(layer) for layer in p.layers],
        "loss": asdict(p.loss),
        "learning_rate": p.learning_rate,
        "X": _put(p.X, arrays),
        "Y": _put(p.Y, arrays),
        "W": [_put(a, arrays) for a in p.W],
        "b": [_put(a, arrays) for a in p.b],
        "batches": p.batches,
    }


def _unpack_task(body: dict[str, Any], arrays: list[Array]) -> Task:
    problem = Problem(
        name=body["name"],
        dtype=body["dtype"],
        layers=tuple(Layer(**layer) for layer in body["layers"]),
        loss=Loss(**body["loss"]),
        learning_rate=body["learning_rate"],
        X=arrays[body["X"]],
        Y=arrays[body["Y"]],
        W=tuple(arrays[i] for i in body["W"]),
        b=tuple(arrays[i] for i in body["b"]),
        batches=tuple((start, stop) for start, stop in body["batches"]),
    )
    return Task(problem, body["engine"])


def _pack_chunk(chunk: Chunk, arrays: list[Array]) -> dict[str, Any]:
    named = {name: _put_all(getattr(chunk, name), arrays) for name in ("weights", "plain", "probed")}
    return {"first_step": chunk.first_step, "steps": chunk.steps} | named


def _unpack_chunk(body: dict[str, Any], arrays: list[Array]) -> Chunk:
    named = {name: {key: arrays[i] for key, i in body[name].items()} for name in ("weights", "plain", "probed")}
    return Chunk(body["first_step"], body["steps"], **named)


def _pack_operation(task: OperationTask, arrays: list[Array]) -> dict[str, Any]:
    given = [_put(a, arrays) for a in task.arrays]
    return {"engine": task.engine, "case": asdict(task.case), "arrays": given, "allowances": task.allowances}


def _unpack_operation(body: dict[str, Any], arrays: list[Array]) -> OperationTask:
    case: dict[str, Any] = frozen(body["case"])
    return OperationTask(
        body["engine"], OperationCase(**case), tuple(arrays[i] for i in body["arrays"]), body["allowances"]
    )


def _pack_outputs(outputs: Outputs, arrays: list[Array]) -> dict[str, Any]:
    named = {name: _put_all(getattr(outputs, name), arrays) for name in ("values", "allowed")}
    return {name: getattr(outputs, name) for name in ("dtype", "status", "message", "log", "narrow")} | named


def _unpack_outputs(body: dict[str, Any], arrays: list[Array]) -> Outputs:
    named = {name: {key: arrays[i] for key, i in body[name].items()} for name in ("values", "allowed")}
    return Outputs(**body | {"status": Status(body["status"]), "narrow": tuple(body["narrow"])} | named)


def _pack_ended(ended: Ended, _: list[Array]) -> dict[str, Any]:
    return asdict(ended)


def _unpack_ended(body: dict[str, Any], _: list[Array]) -> Ended:
    return Ended(**body | {"status": Status(body["status"]), "faults": tuple(body["faults"])})


_PACK: Mapping[type, Any] = {
    Task: _pack_task,
    Chunk: _pack_chunk,
    OperationTask: _pack_operation,
    Outputs: _pack_outputs,
    Ended: _pack_ended,
    str: lambda text, _: text,
}
_UNPACK: Mapping[str, Any] = {
    "Task": _unpack_task,
    "Chunk": _unpack_chunk,
    "OperationTask": _unpack_operation,
    "Outputs": _unpack_outputs,
    "Ended": _unpack_ended,
    "str": lambda text, _: text,
}
