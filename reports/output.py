"""Standard output, and files that a command writes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

import click

from gradparity.reference.errors import InputError
from gradparity.reports.cli_ends import BROKEN_PIPE

if TYPE_CHECKING:
    from gradparity.reports.screen import Screen


def emit(text: str) -> None:
    """Write to standard output; a reader that has gone away ends the command quietly."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        gone(sys.stdout)


def gone(*streams: TextIO) -> NoReturn:
    """End the command quietly: nobody reads `streams`. The interpreter would complain when it flushes them at exit."""
    for stream in streams:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    raise click.exceptions.Exit(BROKEN_PIPE) from None


def draw(paint: Callable[[Screen], None]) -> None:
    """Let `paint` fill the screen that standard output is, and write it."""
    from gradparity.reports.screen import Screen

    screen = Screen.of(sys.stdout)
    with screen.console.capture() as captured:
        paint(screen)
    emit(captured.get())


def check_writable(*places: Path | None) -> None:
    """Raise `InputError` for a file or folder that cannot be made, before anything runs."""
    for place in filter(None, places):
        parent = next(folder for folder in place.absolute().parents if folder.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise InputError(
                f"cannot write {place}: {parent} is no folder that can be written to; choose another place"
            )


def write_to(file: Path | None, text: str) -> None:
    """Write `text` to `file`, or to standard output. Raises `InputError` where it cannot be written."""
    from gradparity.reports.store import write

    if file is None:
        emit(text)
        return
    try:
        write(file, text)
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror}; choose another file") from None
