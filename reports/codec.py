"""Frozen dataclasses to strict JSON and back, bit for bit: floats by ``repr``, NaN and infinities as strings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints


def dumps(value: Any) -> str:
    """Return `value` as one line of strict JSON, in ASCII."""
    return json.dumps(encode(value), allow_nan=False, separators=(",", ":"))


def encode(value: Any) -> Any:
    """Return `value` as JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    return value


def decode(hint: Any, raw: Any) -> Any:
    """Return the value of type `hint` that was encoded as `raw`; unknown keys are left out.

    Raises TypeError, ValueError or KeyError for anything that was not encoded from that type.
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        inner = next(arg for arg in args if arg is not NoneType)
        return None if raw is None else decode(inner, raw)
    if origin is tuple:
        hints = [args[0]] * len(raw) if args[-1] is ... else args
        return tuple(decode(h, item) for h, item in zip(hints, raw, strict=True))
    if origin is not None:
        return {key: decode(args[1], item) for key, item in raw.items()}
    cls: type[Any] = hint
    if is_dataclass(cls):
        known = _hints(cls)
        return cls(**{key: decode(known[key], item) for key, item in raw.items() if key in known})
    if hint is float or issubclass(hint, Enum):
        return hint(raw)
    if not isinstance(raw, hint):
        raise TypeError(f"expected {hint.__name__}, got {raw!r}")
    return raw


@cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    return get_type_hints(cls)
