"""The engines as data: names, what each needs, and whether it is there; nothing is imported to find out."""

from __future__ import annotations

import symtable
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from gradparity.reference.errors import InputError, nearest

GROUP = "gradparity.engines"
"""The entry-point group through which installed packages add engines."""

PROVIDERS = {
    "tensorflow": (
        "tensorflow",
        "tensorflow-cpu",
        "tensorflow-intel",
        "tensorflow-macos",
        "tensorflow-rocm",
        "tensorflow-cpu-aws",
        "intel-tensorflow",
        "tf-nightly",
        "tf-nightly-cpu",
    ),
    "keras": ("keras", "keras-nightly"),
}
"""Packages that distributions of more than one name provide."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One way of computing gradients. `family` names the process that runs it, after that family's main engine.

    `module` is a dotted name, or the path of a ``.py`` file; its `attribute` is a function that takes a
    ``variant`` and returns an adapter, or else a function engine (see `gradparity.adapters.function_engine`).
    `distributions` are the packages that must be importable, `install` the command that gets them.
    """

    name: str
    family: str
    module: str
    variant: str
    distributions: tuple[str, ...]
    extra: str
    install: str
    slow: bool = False
    attribute: str = "adapter"
    broken: str = ""
    """Why this engine cannot be used at all, as of a faulty entry point; empty for any other."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the packages that are not installed."""
        return tuple(package for package in self.distributions if not importable(package))

    @property
    def installed(self) -> bool:
        """Return whether everything that the engine needs is there."""
        return not self.broken and not self.missing

    @property
    def versions(self) -> dict[str, str]:
        """Return the version of each of `distributions` that is installed."""
        return {package: _version(package) for package in self.distributions if importable(package)}


def importable(package: str) -> bool:
    """Return whether `package` is there, without importing it."""
    # A folder that an uninstalled package left behind is found too, but without an origin.
    try:
        spec = find_spec(package)
    except ValueError:
        return False
    return spec is not None and spec.origin is not None


def _version(package: str) -> str:
    for distribution in PROVIDERS.get(package, (package,)):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"


def _builtin(name: str, family: str, *distributions: str, extra: str, slow: bool = False) -> Engine:
    framework, _, variant = name.partition(":")
    install = f'pip install "gradparity[{extra}]"' if extra else "pip install gradparity"
    module = f"gradparity.adapters.{framework}_engine"
    return Engine(name, family, module, variant, distributions, extra, install, slow)


BUILT_IN = (
    _builtin("numpy", "numpy", "numpy", extra=""),
    _builtin("tensorflow", "tensorflow", "tensorflow", extra="tensorflow"),
    _builtin("tensorflow:function", "tensorflow", "tensorflow", extra="tensorflow"),
    _builtin("tensorflow:xla", "tensorflow", "tensorflow", extra="tensorflow"),
    _builtin("keras:tensorflow", "tensorflow", "keras", "tensorflow", extra="keras,tensorflow"),
    _builtin("keras:torch", "torch", "keras", "torch", extra="keras,torch"),
    _builtin("keras:jax", "keras:jax", "keras", "jax", "jaxlib", extra="keras,jax"),
    _builtin("torch", "torch", "torch", extra="torch"),
    _builtin("torch:func", "torch", "torch", extra="torch"),
    _builtin("torch:compile", "torch", "torch", extra="torch", slow=True),
    _builtin("jax", "jax", "jax", "jaxlib", extra="jax"),
    _builtin("jax:jit", "jax", "jax", "jaxlib", extra="jax"),
    _builtin("jax:vmap", "jax", "jax", "jaxlib", extra="jax"),
)


@cache
def engines() -> tuple[Engine, ...]:
    """Return every engine, installed or not: the built-in ones, then those that installed packages add."""
    known = list(BUILT_IN)
    for entry in metadata.entry_points(group=GROUP):
        known.append(_from_entry_point(entry, {engine.name for engine in known}))
    return tuple(known)


def _from_entry_point(entry: metadata.EntryPoint, taken: Iterable[str]) -> Engine:
    distribution = entry.dist.name if entry.dist else "an unnamed package"
    # Only the top-level package is looked for: finding a module inside it would import it.
    match = entry.pattern.match(entry.value)
    if not match or not match["attr"]:
        module = attribute = ""
        broken = f"the entry point of {distribution} is {entry.value!r} and not of the form 'module:function'"
    else:
        module, attribute = match["module"], match["attr"]
        found = importable(module.partition(".")[0])
        broken = "" if found else f"the entry point of {distribution} names {module}, which is not there"
    if entry.name in taken:
        broken = f"{distribution} adds an engine of a name that is already taken"
    return Engine(
        name=entry.name,
        family=entry.name,
        module=module,
        variant=entry.name.partition(":")[2],
        distributions=(),
        extra="",
        install=f"pip install {distribution}",
        attribute=attribute,
        broken=broken,
    )


def _from_file(name: str) -> Engine:
    path, _, function = name.rpartition(":")
    file = Path(path)
    try:
        with tokenize.open(file) as source:
            names = symtable.symtable(source.read(), str(file), "exec").get_symbols()
    except OSError as error:
        raise InputError(f"engine {name!r}: cannot read {file.absolute()}: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        raise InputError(f"engine {name!r}: {file} is not valid Python: {error}") from None
    defined = [symbol.get_name() for symbol in names if symbol.is_assigned() or symbol.is_imported()]
    if function not in defined:
        raise InputError(f"engine {name!r}: {file} defines no {function!r}{nearest(function, defined)}")
    return Engine(name, name, str(file.absolute()), "", (), "", "", attribute=function)


def find(name: str) -> Engine:
    """Return the engine called `name`, or the one that ``path/to/file.py:function`` describes.

    Raises `InputError` for an unknown name, a file that cannot be read, or a function that it does not define.
    """
    for engine in BUILT_IN:
        if engine.name == name:
            return engine
    if name.rpartition(":")[0].endswith(".py"):
        return _from_file(name)
    if name.endswith(".py"):
        raise InputError(f"engine {name!r}: say which function of the file it is: {name}:NAME")
    for engine in engines():
        if engine.name == name:
            return engine
    names = [engine.name for engine in engines()]
    raise InputError(f"unknown engine {name!r}{nearest(name, names)}; known: {', '.join(names)}")


def resolve(pattern: str) -> tuple[Engine, ...]:
    """Return the engines that a name, a ``file.py:function`` or a pattern such as ``keras:*`` stands for.

    Raises `InputError` where nothing does; see `find`.
    """
    matching = tuple(engine for engine in engines() if fnmatchcase(engine.name, pattern))
    return matching if any(c in pattern for c in "*?[") and matching else (find(pattern),)
