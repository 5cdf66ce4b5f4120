"""Text on a terminal: its width, colours and characters, and what must never reach it."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Mapping
from typing import TextIO

from rich.cells import set_cell_size
from rich.console import Console, RenderableType
from rich.text import Text

from gradparity.adapters.outcome import printable

PLAIN = {
    "⊙": "*", "Σ": "sum", "σ": "sigma", "δ": "delta", "∂": "d", "η": "eta", "α": "alpha", "ᵀ": "^T", "−": "-", "·": "*",
    "×": "x", "′": "'", "½": "1/2", "²": "^2", "≤": "<=", "≥": ">=", "→": "->", "…": "...", "∞": "inf", "’": "'",
    "–": "-", "—": "-", "√": "sqrt", "π": "pi", "γ": "gamma", "│": "|", "─": "-", "ŷ": "yhat", "₁": "1", "₂": "2",
}  # fmt: skip


def plain(text: str) -> str:
    """Return `text` in ASCII."""
    spelled = "".join(PLAIN.get(c, c) for c in text)
    return unicodedata.normalize("NFKD", spelled).encode("ascii", "replace").decode()


def has_unicode(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether `stream` shows more than ASCII.

    Python itself turns the C locale into UTF-8, so what was asked for counts; a locale that is not set says nothing.
    """
    encoding = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "")
    locale = environ.get("LC_ALL") or environ.get("LANG") or ""
    return encoding.startswith("utf") and environ.get("TERM") != "dumb" and locale not in ("C", "POSIX")


class Screen:
    """Collects what is to be shown. Strings are data: no markup, no control characters, ASCII where it has to be."""

    def __init__(self, console: Console, unicode: bool = True) -> None:
        self.console, self.unicode = console, unicode

    @classmethod
    def of(cls, stream: TextIO) -> Screen:
        """Return the screen that `stream` is: 80 columns where it is no terminal."""
        console = Console(
            file=stream, highlight=False, markup=False, emoji=False, soft_wrap=False, legacy_windows=False
        )
        return cls(console, has_unicode(stream))

    def say(self, text: str) -> str:
        """Return `text` as this terminal can show it, in one line."""
        # '##[' would be a command to GitHub's runner, wherever in a line it is.
        line = printable(text, 1000).replace("\n", " ").replace("\t", " ").replace("##[", "## [")
        return line if self.unicode else plain(line)

    def text(self, text: str, style: str = "") -> Text:
        """Return one styled piece of text."""
        return Text(self.say(text), style=style)

    def line(self, text: str = "", style: str = "") -> None:
        """Print a paragraph, wrapped at words."""
        self.item("", text, style, width=0)

    def item(self, label: str, text: str, style: str = "", width: int = 10) -> None:
        """Print a labelled paragraph, its text indented by `width`."""
        wrapped = self.text(text, style).wrap(self.console, max(20, self.console.width - width))
        for index, line in enumerate(wrapped):
            head = set_cell_size(self.say(label if index == 0 else ""), max(0, width - 1)) + " " * (width > 0)
            line.rstrip()
            self.put(Text.assemble((head, "dim"), line))

    def heading(self, text: str) -> None:
        """Print a heading, with an empty line before it."""
        self.put(Text())
        self.line(text, "bold")

    def put(self, *things: RenderableType) -> None:
        """Print anything that rich can render."""
        for thing in things:
            self.console.print(thing)


def stdout_screen() -> Screen:
    """Return the screen of standard output."""
    return Screen.of(sys.stdout)
