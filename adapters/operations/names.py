"""From dotted names to what they stand for in the framework that is installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any

from gradparity.adapters.operations.arrays import arguments
from gradparity.adapters.operations.case import OURS, OperationCase
from gradparity.adapters.protocol import Unsupported

ALIASES = {"tf": "tensorflow"}


@lru_cache(maxsize=1024)
def resolved(name: str) -> Any:
    """Return what the dotted `name` stands for. Raises `Unsupported` where this version does not have it."""
    if name.startswith(OURS):
        framework, _, function = name.removeprefix(OURS).partition(".")
        return getattr(import_module(f"gradparity.adapters.operations.composed_{framework}"), function)
    first, *rest = name.split(".")
    try:
        thing: Any = import_module(ALIASES.get(first, first))
    except ImportError as error:
        raise Unsupported(f"{first} cannot be imported: {error}") from None
    path = thing.__name__
    for part in rest:
        path += f".{part}"
        try:
            thing = getattr(thing, part)
        except (AttributeError, ImportError):
            try:
                if not isinstance(thing, ModuleType):
                    raise ImportError(part)
                thing = import_module(path)
            except ImportError:
                version = getattr(import_module(ALIASES.get(first, first)), "__version__", "this version")
                raise Unsupported(f"{name} is not in {first} {version}") from None
    return thing


def keywords(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return keyword arguments, with what ``@dotted.name`` stands for in place of such a text."""
    return {
        key: resolved(value[1:]) if isinstance(value, str) and value.startswith("@") else value
        for key, value in table.items()
    }


def called(case: OperationCase) -> Callable[..., Any]:
    """Return the function of the case's arrays alone, as a flat list."""
    thing = resolved(case.call)
    if case.form == "object":
        return given_arrays(case, thing(**keywords(case.keywords)), keywords(case.given))
    return given_arrays(case, thing, keywords(case.keywords))


def given_arrays(case: OperationCase, thing: Callable[..., Any], fixed: Mapping[str, Any]) -> Callable[..., Any]:
    """Return the function that puts arrays in their places among the arguments of `thing`."""
    known = arguments(case)

    def function(*arrays: Any) -> Any:
        left = iter(arrays)
        # Annotated, as torch.compile cannot trace a call of `list[Any]`.
        positional: list[Any] = []
        named: dict[str, Any] = {**fixed}
        for argument in known:
            value = argument.literal if argument.literal is not None else next(left)
            if argument.keyword:
                named[argument.keyword] = value
            else:
                positional.append(value)
        return thing(*positional, **named)

    return function


def differentiated(case: OperationCase, arrays: Sequence[Any]) -> list[int]:
    """Return the places, among the arrays, of those that a gradient is taken with respect to."""
    known = [a for a in arguments(case) if a.literal is None]
    integers = ("below-", "mask")
    return [i for i, a in enumerate(known) if a.differentiated and not a.kind.startswith(integers)]


def flat(outputs: Any) -> list[Any]:
    """Return the tensors of a function's result, in order."""
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    if isinstance(outputs, list | tuple):
        return [tensor for output in outputs for tensor in flat(output)]
    return [] if outputs is None else [outputs]


def alone(case: OperationCase) -> bool:
    """Return whether a compiled engine compiles the value without the gradient, too.

    That is another program: in jaxlib 0.4.25 a softmax of shape (3, 1, 1) was wrong in it, and right beside its
    gradient. Functions of one element, which are compiled element by element, do without.
    """
    return case.form != "optimizer" and not case.elementwise


def value_name(place: int) -> str:
    """Return what the output in place `place` is called; ``…_in_vjp`` where another program gave it besides."""
    return "value" if place == 0 else f"value{place}"
