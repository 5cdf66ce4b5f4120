"""What a long command is doing, on standard error: live on a terminal, a line for each step elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from gradparity.reports.output import gone
from gradparity.reports.screen import Screen


class Stderr(Console):
    """Standard error; a reader that has gone away is for the command to see, and no failure of it."""

    def __init__(self) -> None:
        super().__init__(stderr=True, highlight=False, markup=False, emoji=False)

    def on_broken_pipe(self) -> None:
        """End the command as one that nobody reads; Rich would end it with 1, which means that something is wrong."""
        gone(sys.stdout, sys.stderr)


class Steps:
    """A context manager; each `step` is shown from when it is entered until it is left. Safe in any thread."""

    def __init__(self) -> None:
        self.console = Stderr()
        self.screen = Screen.of(sys.stderr)
        columns = (
            *([SpinnerColumn()] if self.screen.unicode else []),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            *([BarColumn(bar_width=16)] if self.screen.unicode else []),
            TextColumn("{task.fields[at]}", markup=False),
        )
        self.progress = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def step(self, text: str, total: int | None = None) -> Step:
        """Return a step that is called `text`; `total` is what its `advance` counts to, if it counts."""
        return Step(self, text, total)

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self.console.print(self.screen.text(text))


class Step:
    """One thing that is being done; a context manager."""

    def __init__(self, steps: Steps, text: str, total: int | None) -> None:
        self._steps, self._text, self._total = steps, text, total
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        said = self._steps.screen.say(self._text)
        if self._steps.progress.disable:
            self._steps.say(said)
        self._task = self._steps.progress.add_task(said, total=self._total, at="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._steps.progress.remove_task(self._task)

    def advance(self, at: str = "", by: int = 1) -> None:
        """Count one more, and say where it is."""
        if self._task is not None:
            self._steps.progress.update(self._task, advance=by, at=self._steps.screen.say(at))

    def now(self, at: str) -> None:
        """Say what is done at this moment, without counting."""
        self.advance(at, by=0)
