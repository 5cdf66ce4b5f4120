"""Run one probe on one engine: values in both dtypes, and how far rounding may move each of them."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from gradparity.adapters.loop import Stopwatch, describe
from gradparity.adapters.operations.arrays import cotangent, moved_arrays
from gradparity.adapters.operations.case import OperationCase, OperationTask, Outputs, Shape
from gradparity.adapters.outcome import Ended, Status, printable
from gradparity.adapters.protocol import Unsupported
from gradparity.adapters.registry import find
from gradparity.reference import allowance as rule
from gradparity.reference.problem import Array

Weight: TypeAlias = Callable[[int, Shape], Array]
"""From an output's place and shape to the cotangent that it is differentiated with, in float64."""
Program: TypeAlias = Callable[[Sequence[Array], Weight], Mapping[str, Any]]
"""From a case's arrays, in its dtype, to ``value``, ``d0`` …: anything that ``numpy.asarray`` takes."""

SMALL = 2**14
DIRECTIONS = (4, 2)
"""How many perturbations are tried: of small arrays, and of large ones and optimizers, which take long."""


class Driver(Protocol):
    """What turns cases into programs of one engine."""

    def build(self, case: OperationCase, dtype: str) -> Program:
        """Return the program. Raises `Unsupported` where this version does not have the function."""
        ...


def driver(engine: str) -> Driver:
    """Return the driver of `engine`. Raises `ImportError` where the framework is missing."""
    framework, _, variant = engine.partition(":")
    module = import_module(f"gradparity.adapters.operations.{framework}_driver")
    found: Driver = module.driver(variant)
    return found


class Scale(NamedTuple):
    """What the allowance of one output is made of: ``s + M`` element for element, n, and whether it is `is_narrow`."""

    sizes: Array
    summed: int
    narrow: bool


class Evaluator:
    """Runs probes on one engine; what it built last is kept, as cases that share a program follow each other."""

    def __init__(self, engine: str) -> None:
        self.engine, self.driver = engine, driver(engine)
        self._built: dict[tuple[str, str], Program] = {}

    def run(self, task: OperationTask) -> Iterator[Outputs | Ended]:
        """Yield the outputs in float64, then in float32, then one `Ended`."""
        clock = Stopwatch()
        with clock:
            scales, typical = dict[str, Scale](), dict[str, float]()
            outputs64 = self._outputs(task, "float64")
            if task.allowances and outputs64.status is Status.DONE:
                scales = self._scales(task, outputs64)
            outputs32 = self._outputs(task, "float32")
            if task.allowances and outputs64.status is not Status.DONE and outputs32.status is Status.DONE:
                scales = self._scales(task, outputs32)
            elif task.allowances:
                fine = outputs64.values
                typical = {
                    name: rule.typical_error(value, fine[name], scales[name].sizes)
                    for name, value in outputs32.values.items()
                    if name in scales and fine[name].shape == value.shape
                }
        for outputs in (outputs64, outputs32):
            yield _with_allowances(outputs, scales, typical)
        versions = find(self.engine).versions | {"numpy": np.__version__}
        yield Ended(Status.DONE, seconds=clock.seconds, environment=versions)

    def _program(self, case: OperationCase, dtype: str) -> Program:
        key = (case.program, dtype)
        if key not in self._built:
            if len(self._built) > 2:
                self._built.clear()
            self._built[key] = self.driver.build(case, dtype)
        return self._built[key]

    def _values(
        self, task: OperationTask, dtype: str, moved: Callable[[Array], Array] | None = None
    ) -> dict[str, Array]:
        program = self._program(task.case, dtype)
        as_is: Callable[[Array], Array] = moved or (lambda x: x)
        given = [a.astype(dtype) if a.dtype.kind == "f" else a for a in task.arrays]
        if moved:
            given = moved_arrays(task.case, given, moved)
        raw = program(given, lambda place, shape: as_is(cotangent(place, shape).astype(dtype)))
        # What is no float, as an index or a mask, takes the dtype of the cell.
        return {name: _owned(a, dtype) for name, a in raw.items()}

    def _outputs(self, task: OperationTask, dtype: str) -> Outputs:
        try:
            return Outputs(dtype, Status.DONE, values=self._values(task, dtype))
        except Unsupported as reason:
            return Outputs(dtype, Status.UNSUPPORTED, printable(str(reason)))
        except Exception as error:  # noqa: BLE001 - a framework may raise anything; it costs its own cell only
            status = Status.UNSUPPORTED if was_refused(error) else Status.CRASHED
            return Outputs(dtype, status, describe(error), printable("".join(traceback.format_exception(error))))

    def _scales(self, task: OperationTask, outputs: Outputs) -> dict[str, Scale]:
        """Return the scale of each output, measured in the dtype of `outputs`."""
        case, dtype, fine = task.case, outputs.dtype, outputs.values
        few = case.form == "optimizer" or sum(a.size for a in task.arrays) > SMALL
        count, eta = DIRECTIONS[few], rule.ETA[dtype]
        perturbed, closer = self._perturbed(task, dtype, count, eta), list[rule.Pair]()
        s = rule.sensitivities(fine, perturbed, eta)
        local = case.elementwise and case.form != "optimizer"
        shapes = [a.shape for a in task.arrays]
        found = {}
        for name, value in fine.items():
            M: Array | float = rule.overall_size(value)
            if local and value.shape == task.arrays[0].shape:
                weight = cotangent(0, value.shape).astype(np.float64) if name != "value" else 1.0
                M = rule.local_sizes(task.arrays[0], value, weight)
            elif name[0] == "d" and int(name[1:]) < len(task.arrays):
                x, largest = task.arrays[int(name[1:])], [rule.overall_size(fine[v]) for v in fine if v[0] == "v"]
                M = np.maximum(M, rule.cancelled_sizes(x, value, max(largest), 1.5))
            sizes = s[name] + M
            uneven = rule.unevenness(name, fine, perturbed, sizes) if dtype == "float64" else 0.0
            if uneven > rule.NARROW:
                closer = closer or self._perturbed(task, dtype, count, eta / rule.CLOSER)
            narrow = rule.is_narrow(uneven, rule.unevenness(name, fine, closer, sizes))
            found[name] = Scale(sizes, rule.summed(value, shapes, case.elementwise), narrow)
        return found

    def _perturbed(self, task: OperationTask, dtype: str, count: int, eta: float) -> list[rule.Pair]:
        return [
            (self._values(task, dtype, up), self._values(task, dtype, down))
            for up, down in rule.perturbations(count, eta)
        ]


def _owned(a: Any, dtype: str) -> Array:
    found = np.array(a)
    return found if found.dtype == dtype else found.astype(dtype)


def _with_allowances(outputs: Outputs, scales: Mapping[str, Scale], typical: Mapping[str, float]) -> Outputs:
    known = {name: scales[name] for name, value in outputs.values.items() if name in scales}
    known = {name: scale for name, scale in known.items() if scale.sizes.shape == outputs.values[name].shape}
    narrow = tuple(name for name, scale in known.items() if scale.narrow and outputs.dtype == "float64")
    allowed = {
        name: rule.rounded_up(
            rule.allowance(
                "float32" if name in narrow else outputs.dtype, scale.sizes, scale.summed, typical.get(name, 0.0)
            )
        )
        for name, scale in known.items()
    }
    return replace(outputs, allowed=allowed, narrow=narrow)


_REFUSALS = re.compile(
    r"unexpected keyword|not recognized|no argument named|unrecognized keyword|positional arguments? but|"
    r"not implemented for '(Double|Float)'|missing \d+ required|not in the list of allowed values|"
    r"invalid value for argument|"
    r"must have the same dtype|was expected to be a (float|double) tensor|unsupported operations",
    re.IGNORECASE,
)


def was_refused(error: Exception) -> bool:
    """Return whether this version of the function does not take such arguments."""
    return isinstance(error, NotImplementedError) or bool(_REFUSALS.search(str(error)))
