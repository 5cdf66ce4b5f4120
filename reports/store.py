"""A directory of results: a journal that grows as cells are finished, and what is made of it at the end.

The first line of ``results.jsonl`` is the header, then one line a cell; a run that ended has an end record. Each line
is flushed as it is written, so that Ctrl-C, a kill or a crash loses nothing that was finished.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradparity.reference.errors import InputError
from gradparity.reports.cell import Cell
from gradparity.reports.codec import decode, dumps
from gradparity.reports.results import Key, Results, RunInfo
from gradparity.reports.table import SCHEMA

if TYPE_CHECKING:
    import pandas as pd

JOURNAL = "results.jsonl"
DERIVED = ("report.html", "results.parquet", "results.csv", "report.md", "junit.xml")
SNAPSHOT = "snapshot.parquet"


class Journal:
    """``results.jsonl`` while it grows. Raises `InputError` where it cannot be written, or is somebody else's file."""

    def __init__(self, directory: Path, blank: Results) -> None:
        """Open the journal of a run that has no cells yet; what an earlier run left in `directory` is replaced."""
        path = directory / JOURNAL
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size:
                _header(path, path.read_bytes().split(b"\n", 1)[0])
                for name in (*DERIVED, SNAPSHOT):
                    (directory / name).unlink(missing_ok=True)
            self._file = path.open("w", encoding="ascii", newline="\n")
        except OSError as error:
            raise InputError(f"cannot write results to {directory}: {error.strerror}; choose another folder") from None
        self._write(header_record(blank))

    def _write(self, record: Mapping[str, Any]) -> None:
        self._file.write(dumps(record) + "\n")
        self._file.flush()

    def add(self, cell: Cell) -> None:
        """Write one finished cell."""
        self._write({"kind": "cell", "cell": cell})

    def end(self, info: RunInfo) -> None:
        """Write the end record and close the file."""
        self._write({"kind": "end", "info": info})
        self._file.close()


def header_record(results: Results) -> dict[str, Any]:
    """Return the first line of the journal: everything but the cells."""
    about = {name: getattr(results, name) for name in ("info", "skipped", "scenarios", "planned")}
    return {"kind": "header", "gradparity_schema": SCHEMA, **about}


def save(results: Results, directory: Path) -> None:
    """Write everything at once. Each file is whole or not there. Raises `InputError` where nothing can be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lines = [header_record(results)]
        lines += [{"kind": "cell", "cell": cell} for cell in results.cells]
        # A result that was read from a damaged file stays one.
        lines += [] if results.damage else [{"kind": "end", "info": results.info}]
        write(directory / JOURNAL, "".join(dumps(line) + "\n" for line in lines))
        save_derived(results, directory)
    except OSError as error:
        raise InputError(f"cannot write results to {directory}: {error.strerror}; choose another folder") from None


def save_derived(results: Results, directory: Path) -> None:
    """Write what is made of the journal: HTML, Parquet, CSV, Markdown, JUnit XML."""
    from gradparity.reports import html, junit, markdown

    with replacing(directory / "results.parquet") as temporary:
        results.table.to_parquet(temporary)
    write(directory / "results.csv", csv(results.table))
    write(directory / "report.html", html.render(results))
    write(directory / "report.md", markdown.render(results))
    write(directory / "junit.xml", junit.render(results))


def csv(frame: pd.DataFrame) -> str:
    """Return the table as CSV. A number that the engine computed as NaN is written so; a missing one is empty."""
    computed = frame.assign(
        **{
            name: frame[name].astype("object").where(frame[name].notna() | frame["step"].isna(), "nan")
            for name in ("value", "exact", "error")
        }
    )
    return str(computed.to_csv(index=False, lineterminator="\n"))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, which replaces it once it has been written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write(path: Path, text: str) -> None:
    """Write a text file: whole, or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def load(path: str | os.PathLike[str]) -> Results:
    """Read a directory of results, or its ``results.jsonl``, also one that was cut off: `Results.lost` says what of.

    Raises `InputError` for anything else.
    """
    file = Path(path)
    file = file / JOURNAL if file.is_dir() else file
    try:
        first, *lines = file.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(
            f"cannot read {file}: {error.strerror}; name a folder that `gradparity run --out` wrote"
        ) from None
    results = _header(file, first)
    ended = False
    cells: dict[Key, Cell] = {}
    damage = []
    for number, line in enumerate(lines, start=2):
        if not line:
            continue
        record = _read(line)
        if isinstance(record, Cell):
            cells[record.scenario, record.dtype, record.engine] = record
        elif isinstance(record, RunInfo):
            results, ended = replace(results, info=record), True
        else:
            cut = number == len(lines) + 1
            damage.append(f"line {number} of {file.name} {'is cut off' if cut else 'cannot be read'}")
    if not ended:
        damage.append("the run did not come to its end, or the end of its file is lost")
    return replace(results, cells=list(cells.values()), damage=tuple(damage))


_Reader = Callable[[Mapping[str, Any]], Cell | RunInfo]
_READERS: dict[str, _Reader] = {
    "cell": lambda raw: decode(Cell, raw["cell"]),
    "end": lambda raw: decode(RunInfo, raw["info"]),
}


def _read(line: bytes) -> Cell | RunInfo | None:
    try:
        raw = json.loads(line)
        return _READERS[raw["kind"]](raw)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _header(path: Path, line: bytes) -> Results:
    foreign = InputError(f"{path} does not hold results of gradparity; name a folder that `gradparity run --out` wrote")
    try:
        raw = json.loads(line)
        schema = raw["gradparity_schema"]
        if schema > SCHEMA:
            raise InputError(f"{path} was written by a newer gradparity (schema {schema}, known: {SCHEMA}); upgrade it")
        return Results(
            cells=[],
            info=decode(RunInfo, raw["info"]),
            skipped=decode(Mapping[str, str], raw["skipped"]),
            scenarios=decode(Mapping[str, Mapping[str, str]], raw["scenarios"]),
            planned=decode(tuple[Key, ...], raw["planned"]),
        )
    except InputError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError):
        raise foreign from None
