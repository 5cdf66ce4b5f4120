"""TOML to frozen dataclasses and back: unknown keys, missing keys and wrong types are found here, once for all."""

from __future__ import annotations

import inspect
import math
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, Field, fields
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from gradparity.reference.errors import InputError, nearest

T = TypeVar("T")
WORDS = {
    int: "a whole number",
    float: "a finite number",
    str: "text",
    bool: "true or false",
    Mapping: "a table",
    NoneType: "nothing",
}


class Printed(float):
    """A float that keeps the decimal text it was read from."""

    text: str

    def __new__(cls, text: str) -> Printed:
        """Parse `text`."""
        number = super().__new__(cls, text)
        number.text = text
        return number


@contextmanager
def located(where: str) -> Iterator[None]:
    """Put `where` in front of the message of an `InputError` raised inside."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}{error}") from error


def parse(text: str) -> dict[str, Any]:
    """Read TOML; floats are `Printed`. Raises `InputError` with line and column."""
    try:
        return tomllib.loads(text, parse_float=Printed)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"not valid TOML: {error}; correct the file there") from error


def read(path: Path) -> dict[str, Any]:
    """Read the TOML file at `path`; see `parse`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read ({error}); give a TOML file in UTF-8") from error
    return parse(text)


def dump(table: Mapping[str, Any]) -> str:
    """Write a table as TOML; floats by ``repr``, hence bit for bit."""
    import tomli_w

    return tomli_w.dumps(table)


def frozen(value: Any) -> Any:
    """Return `value` with tuples for lists and plain floats for `Printed`."""
    if isinstance(value, list):
        return tuple(frozen(v) for v in value)
    if isinstance(value, Mapping):
        return {key: frozen(v) for key, v in value.items()}
    return float(value) if isinstance(value, Printed) else value


def build(cls: type[T], table: Any, where: str) -> T:
    """Construct `cls` from the keys of `table`, which `where` names in messages."""
    if not isinstance(table, Mapping):
        raise InputError(f"{where}: expected a table, got {short(table)}")
    parameters = inspect.signature(cls).parameters.values()
    named = [p for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD]
    if len(named) == len(parameters):
        known_keys(table, [p.name for p in named], where)
    for p in named:
        if p.default is p.empty and p.name not in table:
            raise InputError(f"{where}.{p.name}: missing; add it")
    with located(f"{where}."):
        return cls(**frozen(table))


def build_kind(kinds: Mapping[str, type], table: Any, where: str) -> Any:
    """Construct the class that ``table["kind"]`` names from the other keys."""
    if not isinstance(table, Mapping):
        raise InputError(f"{where}: expected a table with a kind, got {short(table)}")
    kind = table.get("kind", "")
    if kind not in list(kinds):
        raise InputError(f"{where}.kind: {unknown('kind', kind, kinds)}")
    return build(kinds[kind], {key: value for key, value in table.items() if key != "kind"}, where)


def known_keys(table: Mapping[str, Any], known: list[str], where: str = "") -> None:
    """Raise on the first key of `table` that is not in `known`."""
    for key in table:
        if key not in known:
            path = f"{where}.{key}" if where else key
            raise InputError(f"{path}: {unknown('key', key, known)}")


def unknown(what: str, word: Any, known: Any) -> str:
    """Return "unknown WHAT 'WORD' (did you mean …?); use one of …"."""
    return f"unknown {what} {word!r}{nearest(str(word), known)}; use one of {', '.join(known)}"


def to_table(thing: Any, kinds: Mapping[str, type] | None = None) -> dict[str, Any]:
    """Return the fields of a dataclass that differ from their defaults, and its kind where it has one."""
    kind = [("kind", name) for name, cls in (kinds or {}).items() if cls is type(thing)]
    values = {f.name: (getattr(thing, f.name), default_of(f)) for f in fields(thing)}
    return dict(kind) | {
        name: plain(value) for name, (value, default) in values.items() if repr(value) != repr(default)
    }


def default_of(f: Field[Any]) -> Any:
    """Return the default of a field, or ``MISSING``."""
    return f.default if f.default_factory is MISSING else f.default_factory()


def plain(value: Any) -> Any:
    """Return `value` as TOML has it: lists, and Python's own numbers."""
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def check_fields(thing: Any, where: str = "") -> None:
    """Raise `InputError` for the first field of a dataclass whose value is not of its declared type."""
    hints = get_type_hints(type(thing))
    for f in fields(thing):
        value, hint = getattr(thing, f.name), hints[f.name]
        if not fits(value, hint):
            choices = [str(a) for a in get_args(hint)] if get_origin(hint) is Literal else []
            hint_text = nearest(str(value), choices)
            raise InputError(f"{where}{f.name}: expected {described(hint)}, got {short(value)}{hint_text}")


def fits(value: Any, hint: Any) -> bool:
    """Return whether `value` is of the type `hint`. A float has to be finite; an int will do for it."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(fits(value, h) for h in args)
    if origin is Literal:
        return isinstance(value, str) and value in args
    if origin is tuple:
        # A tuple of tuples was made, and checked, by `matrix`.
        return isinstance(value, tuple) and (bool(get_origin(args[0])) or all(fits(v, args[0]) for v in value))
    if origin is Mapping:
        return isinstance(value, Mapping) and all(fits(v, args[1]) for v in value.values())
    if hint in (int, float):
        number = isinstance(value, Integral if hint is int else Real) and not isinstance(value, bool)
        return number and math.isfinite(value)
    return isinstance(value, hint) if isinstance(hint, type) else True


def described(hint: Any) -> str:
    """Return `hint` in words."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(described(h) for h in args)
    if origin is Literal:
        return "one of " + ", ".join(map(repr, args))
    if origin is tuple:
        return f"a list, each entry {described(args[0])}"
    return WORDS.get(origin or hint, getattr(hint, "__name__", str(hint)))


def short(value: Any) -> str:
    """Return ``repr(value)``, cut to what fits on a line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def matrix(value: Any, where: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return `value` as a float64 table; a flat list is one column. Raises `InputError` if ragged or not numbers."""
    try:
        found = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{where}: its rows differ in length; give every row the same number of numbers") from error
    if found.size and found.dtype.kind not in "biuf":
        raise InputError(f"{where}: holds something that is not a number; give numbers only, one row after another")
    if found.ndim not in (1, 2):
        raise InputError(f"{where}: has {found.ndim} dimensions; give a table of rows, as [[…], […]]")
    if found.ndim == 1:
        found = found.reshape(-1, 1)
    return found.astype(np.float64)
