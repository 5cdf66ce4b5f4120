"""A probe as plain data, the messages about it, and the catalogue that it comes from: TOML, one entry a function."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Literal, TypeAlias

from gradparity.adapters.outcome import Status
from gradparity.reference.errors import InputError
from gradparity.reference.problem import Array
from gradparity.reference.toml_io import build, check_fields, frozen, located, read, unknown

Shape: TypeAlias = tuple[int, ...]
Form: TypeAlias = Literal["function", "object", "optimizer"]

FOLDER = Path(__file__).parent
ENGINES = {
    "jax": ("jax", "jax:jit"),
    "optax": ("jax", "jax:jit"),
    "torch": ("torch", "torch:compile"),
    "tf": ("tensorflow", "tensorflow:function", "tensorflow:xla"),
    "keras": ("keras:tensorflow", "keras:torch", "keras:jax"),
}
"""By the first part of a dotted name, the engines that its probes run on."""

SLOW_ENGINES = ("jax", "tensorflow:xla", "torch:compile", "keras:jax")
"""They compile for each function or for each operation: what an entry does not ask of them is run in full runs only."""

STEPS = 4
"""How many steps an optimizer makes."""


OURS = "gradparity."
"""``gradparity.jax.f`` is the function f of `gradparity.adapters.operations.composed_jax`."""


def framework(call: str) -> str:
    """Return the framework that a dotted name belongs to."""
    return call.removeprefix(OURS).partition(".")[0]


@dataclass(frozen=True)
class OperationCase:
    """One function on arrays of given shapes: nothing in it depends on an engine, or on a version.

    `arguments` describe the arrays (`gradparity.adapters.operations.arrays`), and `sizes` are their shapes. `form` says
    how the dotted name `call` is used: ``call(*arrays, **keywords)``, ``call(**keywords)(*arrays, **given)``, or
    an optimizer made with `keywords` that is given gradients.
    """

    name: str
    call: str
    arguments: tuple[str, ...]
    sizes: tuple[Shape, ...]
    values: str = "ordinary"
    keywords: Mapping[str, Any] = field(default_factory=dict)
    form: Form = "function"
    given: Mapping[str, Any] = field(default_factory=dict)
    elementwise: bool = False
    formula: str = ""
    engines: tuple[str, ...] = ()
    slow: bool = False
    """Whether it is part of full runs only."""

    @property
    def framework(self) -> str:
        """Return the first part of the dotted name, or the second of a composition of ours."""
        return framework(self.call)

    @property
    def function(self) -> str:
        """Return the function with its keywords, as the name of the case begins."""
        return _function(self.call, self.keywords, self.given)

    @property
    def mathematics(self) -> tuple[object, ...]:
        """Return what cases agree in that compute the same of the same numbers, going by the name of the function.

        Of the name, the framework, ``reduce_`` and underscores are left out, and ``dim`` is ``axis``.
        """
        name = self.call.rpartition(".")[2].lower().removeprefix("reduce_").replace("_", "")
        options = {**self.keywords, **self.given}
        axes = frozenset(("axis" if key == "dim" else key, repr(value)) for key, value in options.items())
        return name, axes, tuple(a.replace("~", "") for a in self.arguments), self.sizes, self.values, self.form

    @property
    def program(self) -> str:
        """Return what the compiled program depends on besides the dtype: cases that agree in it share one."""
        return json.dumps([self.call, self.arguments, self.sizes, self.keywords, self.form, self.given])

    def runs_on(self, engine: str, full: bool = False) -> bool:
        """Return whether the case is for `engine`; with `full`, whether it is in a run of everything."""
        if engine not in ENGINES[self.framework]:
            return False
        return full or (not self.slow and (engine in self.engines or engine not in SLOW_ENGINES))


@dataclass(frozen=True)
class OperationTask:
    """One probe on one engine, in both dtypes. `arrays` are float32, integer or boolean.

    Without `allowances`, values alone are computed, as for a second run that is compared bit for bit.
    """

    engine: str
    case: OperationCase
    arrays: tuple[Array, ...]
    allowances: bool = True


@dataclass(frozen=True)
class Outputs:
    """What a probe computed in one dtype, in the order of computation: ``value``, ``d0``, ``d1`` …, or ``w0_step1`` ….

    `allowed` holds, element for element, how far another correct implementation may be from it by rounding
    (`gradparity.reference.allowance`).
    """

    dtype: str
    status: Status
    message: str = ""
    log: str = ""
    values: Mapping[str, Array] = field(default_factory=dict)
    allowed: Mapping[str, Array] = field(default_factory=dict)
    narrow: tuple[str, ...] = ()
    """The outputs that are computed in a narrower format than their dtype: float64 as if in float32."""


@dataclass(frozen=True)
class Probe:
    """One entry of a catalogue: calls × keywords × shapes × values."""

    call: str | tuple[str, ...]
    inputs: tuple[str, ...]
    shapes: str | Mapping[str, object]
    keywords: tuple[Mapping[str, object], ...] = ({},)
    values: tuple[str, ...] = ("ordinary",)
    form: Form = "function"
    given: Mapping[str, object] = field(default_factory=dict)
    elementwise: bool = False
    formula: str = ""
    engines: tuple[str, ...] = ()
    slow: bool = False
    label: str = ""

    def __post_init__(self) -> None:
        check_fields(self)

    def cases(self) -> Iterator[OperationCase]:
        """Yield the cases; those that share a program follow each other."""
        calls = (self.call,) if isinstance(self.call, str) else self.call
        shapes = shape_set(self.shapes)
        for call, keywords, (name, sizes) in product(calls, self.keywords, shapes.items()):
            if framework(call) not in ENGINES:
                raise InputError(f"call: {unknown('framework', framework(call), ENGINES)}")
            for values in self.values:
                yield OperationCase(
                    name=_name(call, keywords, self.given, self.label, name, sizes, values),
                    call=call,
                    arguments=self.inputs,
                    sizes=self._sizes(sizes),
                    values=values,
                    keywords=keywords,
                    form=self.form,
                    given=self.given,
                    elementwise=self.elementwise,
                    formula=self.formula,
                    engines=self.engines,
                    slow=self.slow,
                )

    def _sizes(self, sizes: Any) -> tuple[Shape, ...]:
        """Return a shape for each argument: its own, or the axes that it names of the one that they share."""
        if sizes and isinstance(sizes[0], tuple):
            if len(sizes) != (count := sum(not a.startswith(":") for a in self.inputs)):
                raise InputError(f"shapes: {len(sizes)} shapes for {count} inputs; give one a piece, or one for all")
            left = iter(sizes)
            return tuple(() if a.startswith(":") else next(left) for a in self.inputs)
        return tuple(() if a.startswith(":") else _axes(a, sizes) for a in self.inputs)


def _axes(argument: str, base: Shape) -> Shape:
    """Return the axes of `base` after the ``@`` of `argument`; all of them without one."""
    _, at, axes = argument.partition("@")
    try:
        return tuple(base[int(i)] for i in axes.split(",") if i) if at else base
    except (ValueError, IndexError):
        raise InputError(f"inputs: {argument!r} names axes that {list(base)} does not have") from None


@cache
def _shape_sets() -> dict[str, Any]:
    sets: dict[str, Any] = frozen(read(FOLDER / "shapes.toml"))
    return sets


def shape_set(shapes: str | Mapping[str, object]) -> Mapping[str, Any]:
    """Return the named shapes of a set of ``shapes.toml``, or of a table in its place."""
    if isinstance(shapes, Mapping):
        return shapes
    if shapes not in _shape_sets():
        raise InputError(f"shapes: {unknown('set', shapes, _shape_sets())}")
    found: Mapping[str, Any] = _shape_sets()[shapes]
    return found


def _name(call: str, keywords: Any, given: Any, label: str, shape: str, sizes: Any, values: str) -> str:
    sizes = sizes if sizes and isinstance(sizes[0], tuple) else (sizes,)
    parts = [_function(call, keywords, given), label, shape + "".join(str(list(s)).replace(" ", "") for s in sizes)]
    return " ".join(part for part in (*parts, values if values != "ordinary" else "") if part)


def _function(call: str, keywords: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    return f"{call}({', '.join(f'{key}={_shown(value)}' for key, value in {**keywords, **given}.items())})"


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + ",".join(map(_shown, value)) + ")"
    return value if isinstance(value, str) else repr(value)


def load(file: Path) -> tuple[OperationCase, ...]:
    """Return the cases of a catalogue. Raises `InputError` for what is malformed, and where two have the same name."""
    with located(f"{file}: "):
        table = read(file)
        if unknown_keys := set(table) - {"probe"}:
            raise InputError(unknown("key", unknown_keys.pop(), ("probe",)))
        found: dict[str, OperationCase] = {}
        for number, entry in enumerate(table.get("probe", []), 1):
            where = f"probe {number}"
            probe = build(Probe, entry, where)
            with located(f"{where}."):
                for case in probe.cases():
                    if case.name in found:
                        raise InputError(f"call: two cases are called {case.name!r}; give one of the entries a label")
                    found[case.name] = case
    return tuple(found.values())


@cache
def shipped() -> tuple[OperationCase, ...]:
    """Return the cases of every catalogue that ships."""
    return tuple(case for file in sorted((FOLDER / "catalogue").glob("*.toml")) for case in load(file))
