"""Where the samples come from.

**Data are tables with one row per sample**, as in a CSV file: ``X`` has n0 columns and ``Y`` has n_L. A scenario turns
them into the textbook's columns (``X (n0, M)``, ``Y (n_L, M)``) by itself. Everything is read or drawn in float64.
"""

from __future__ import annotations

import importlib
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from gradparity.reference.errors import InputError, nearest
from gradparity.reference.problem import Array
from gradparity.reference.toml_io import matrix, unknown

Rows: TypeAlias = tuple[tuple[float, ...], ...]
LOADERS = ("load_breast_cancer", "load_diabetes", "load_digits", "load_iris", "load_linnerud", "load_wine")


class MissingLibrary(Exception):  # noqa: N818 (an outcome, `unsupported`, rather than an error)
    """An optional library is not installed; the message carries the command that installs it."""


def library(module: str, package: str) -> Any:
    """Import an optional library. Raises `MissingLibrary`."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingLibrary(f"{package} is not installed: pip install {package}") from error


def rows(value: Any, where: str) -> Rows:
    """Return `value` as a tuple of rows; see `matrix`."""
    return tuple(map(tuple, matrix(value, where).tolist()))


def one_hot(labels: Array) -> Array:
    """Return one column per distinct label, in sorted order."""
    classes, index = np.unique(labels, return_inverse=True)
    return np.eye(len(classes))[index.ravel()]


@dataclass(frozen=True)
class FromFile:
    """A file; a relative path is resolved against the folder of the scenario's TOML file."""

    path: str

    def __post_init__(self) -> None:
        if isinstance(self.path, Path):
            object.__setattr__(self, "path", str(self.path))


def unreadable(path: Path, form: str, error: Exception, advice: str) -> InputError:
    """Return what says that `path` is not there, or holds no `form`."""
    if isinstance(error, OSError) and error.strerror:
        return InputError(
            f"path: {path.absolute()} cannot be read: {error.strerror}; "
            "name a file that can, from the scenario's own folder or with its whole path"
        )
    return InputError(f"path: {path} cannot be read as {form} ({error}); {advice}")


def read_npz(path: Path) -> dict[str, Array]:
    """Read every array of a NumPy archive. Raises `InputError` if it cannot be read."""
    try:
        # Opened here, since np.load leaves the file open when the archive is damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        # np.load gives an array, not an archive, for .npy: AttributeError or TypeError.
        raise unreadable(path, ".npz", error, "write it again with numpy.savez") from error


def named(arrays: dict[str, Array], name: str, path: Path) -> Array:
    """Return the array called `name`. Raises `InputError`."""
    if name not in arrays:
        raise InputError(
            f"path: {path} holds no array {name!r}{nearest(name, arrays)}; it holds {', '.join(arrays) or 'none'}"
        )
    return arrays[name]


def from_columns(frame: Any, inputs: Sequence[str], targets: Sequence[str], hot: bool) -> tuple[Array, Array]:
    """Return the named columns of a DataFrame as ``X (M, n0)`` and ``Y (M, n_L)``. Raises `InputError`."""
    for key, names in {"inputs": inputs, "targets": targets}.items():
        for name in names:
            if name not in frame.columns:
                known = [str(c) for c in frame.columns]
                raise InputError(f"{key}: no column {name!r}{nearest(name, known)}; the columns are {', '.join(known)}")
    if not hot:
        return _numbers(frame, inputs, "inputs"), _numbers(frame, targets, "targets")
    if len(targets) != 1 or frame[targets[0]].isna().any():
        raise InputError("targets: one_hot needs exactly one column without empty cells; name that column alone")
    return _numbers(frame, inputs, "inputs"), one_hot(frame[targets[0]].to_numpy())


def _numbers(frame: Any, names: Sequence[str], key: str) -> Array:
    """Return columns as float64 `(M, len(names))`; an empty cell is NaN."""
    found = np.empty((len(frame), len(names)))
    for j, name in enumerate(names):
        try:
            found[:, j] = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
        except (ValueError, TypeError) as error:
            raise InputError(f"{key}: column {name!r} is not numeric ({error}); choose or convert columns") from error
    return found


@dataclass(frozen=True)
class Inline:
    """Samples written out. `X` is M rows of n0 numbers, `Y` M rows of n_L; a flat list is a single column."""

    X: Rows
    Y: Rows

    def __post_init__(self) -> None:
        object.__setattr__(self, "X", rows(self.X, "X"))
        object.__setattr__(self, "Y", rows(self.Y, "Y"))

    @classmethod
    def from_frame(cls, frame: Any, inputs: Sequence[str], targets: Sequence[str], one_hot: bool = False) -> Inline:
        """Take the named columns of a pandas DataFrame. Raises `InputError` for a column that is not there."""
        X, Y = from_columns(frame, inputs, targets, one_hot)
        return cls(X=X, Y=Y)  # type: ignore[arg-type]

    def read(self, outputs: int, folder: Path) -> tuple[Array, Array]:
        """Return ``X (M, n0)`` and ``Y (M, n_L)`` in float64."""
        return matrix(self.X, "X"), matrix(self.Y, "Y")


@dataclass(frozen=True)
class Csv(FromFile):
    """Named columns of a CSV file, read with pandas; `one_hot` turns one target column into one per class."""

    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    separator: str = ","
    one_hot: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("inputs", "targets"):
            if isinstance(getattr(self, key), list):
                object.__setattr__(self, key, tuple(getattr(self, key)))

    def read(self, outputs: int, folder: Path) -> tuple[Array, Array]:
        """Return ``X (M, n0)`` and ``Y (M, n_L)`` in float64. Raises `InputError`, `MissingLibrary`."""
        pandas, path = library("pandas", "pandas"), folder / self.path
        try:
            frame = pandas.read_csv(path, sep=self.separator, **_exact(pandas))
        except (OSError, ValueError) as error:
            raise unreadable(path, "CSV", error, "check the file") from error
        return from_columns(frame, self.inputs, self.targets, self.one_hot)


def _exact(pandas: Any) -> dict[str, str]:
    """Return the option that makes pandas read decimals exactly: its default from 3.1 on, which deprecates it."""
    version = tuple(int(part) for part in pandas.__version__.split(".")[:2])
    return {} if version >= (3, 1) else {"float_precision": "round_trip"}


@dataclass(frozen=True)
class Npz(FromFile):
    """Two arrays of a NumPy archive, one row per sample; `x` and `y` are their names."""

    x: str = "X"
    y: str = "Y"

    def read(self, outputs: int, folder: Path) -> tuple[Array, Array]:
        """Return ``X (M, n0)`` and ``Y (M, n_L)`` in float64. Raises `InputError`."""
        path = folder / self.path
        arrays = read_npz(path)
        return matrix(named(arrays, self.x, path), "x"), matrix(named(arrays, self.y, path), "y")


@dataclass(frozen=True)
class Sklearn:
    """A data set that ships with scikit-learn. Inputs are divided by `scale`; `limit` keeps the first samples."""

    loader: str
    one_hot: bool = False
    scale: float = 1.0
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.loader not in LOADERS:
            raise InputError(f"loader: {unknown('loader', self.loader, LOADERS)}")
        if self.scale == 0:
            raise InputError("scale: inputs are divided by it; give a number other than 0")
        if isinstance(self.limit, int) and self.limit < 1:
            raise InputError(f"limit: {self.limit} samples; give 1 or more")

    def read(self, outputs: int, folder: Path) -> tuple[Array, Array]:
        """Return ``X (M, n0)`` and ``Y (M, n_L)`` in float64. Raises `MissingLibrary`."""
        datasets = library("sklearn.datasets", "scikit-learn")
        X, Y = getattr(datasets, self.loader)(return_X_y=True)
        X = matrix(X, "loader")[: self.limit] / float(self.scale)
        return X, (one_hot(Y) if self.one_hot else matrix(Y, "loader"))[: self.limit]


@dataclass(frozen=True)
class Random:
    """Independent samples without structure. Uniform inputs lie in [−1, 1); labels are one-hot."""

    inputs: int
    samples: int
    targets: Literal["labels", "binary", "standard_normal"] = "standard_normal"
    distribution: Literal["standard_normal", "uniform"] = "standard_normal"
    seed: int = 0
    scale: float = 1.0

    def __post_init__(self) -> None:
        for key in ("inputs", "samples"):
            if isinstance(getattr(self, key), int) and getattr(self, key) < 1:
                raise InputError(f"{key}: {getattr(self, key)}; give 1 or more")

    def read(self, outputs: int, folder: Path) -> tuple[Array, Array]:
        """Return ``X (M, n0)``, times `scale`, and ``Y (M, n_L)``, in float64."""
        # Here, since `initial` reads its files with this module.
        from gradparity.reference.initial import normals, uniforms

        shape, target = (self.samples, self.inputs), (self.samples, outputs)
        normal = self.distribution == "standard_normal"
        X = normals(self.seed, 0, shape) if normal else 2 * uniforms(self.seed, 0, shape) - 1
        if self.targets == "standard_normal":
            return X * self.scale, normals(self.seed, 1, target)
        if self.targets == "binary":
            return X * self.scale, np.floor(2 * uniforms(self.seed, 1, target))
        labels = np.floor(outputs * uniforms(self.seed, 1, (self.samples, 1)))
        return X * self.scale, (labels == np.arange(outputs)).astype(np.float64)


Data: TypeAlias = Inline | Csv | Npz | Sklearn | Random
DATA: dict[str, type] = {"inline": Inline, "csv": Csv, "npz": Npz, "sklearn": Sklearn, "random": Random}
