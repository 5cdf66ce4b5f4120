"""Progress on standard error while a run is going on: cells done, time left. Nothing where that is no terminal."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gradparity.adapters.operations.case import OperationTask
from gradparity.adapters.outcome import Task
from gradparity.reports import story
from gradparity.reports.cell import FAILING, Cell
from gradparity.reports.screen import Screen
from gradparity.reports.steps import Stderr


class LiveProgress:
    """A progress bar as a context manager; `add` is called with each cell as it is finished."""

    def __init__(self, total: int) -> None:
        console = Stderr()
        self._screen = Screen.of(sys.stderr)
        columns = (
            MofNCompleteColumn(),
            *([BarColumn(bar_width=16)] if self._screen.unicode else []),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.description}", markup=False),
        )
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("starting", total=total)

    def __enter__(self) -> LiveProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def again(self, task: Task) -> None:
        """Count one cell that has run the second time."""
        said = self._screen.say(f"again: {task.engine} on {task.problem.name} {task.problem.dtype}")
        self._progress.update(self._task, advance=1, description=said)

    def probe(self, task: OperationTask) -> None:
        """Count one probe that has run."""
        self._progress.update(self._task, advance=1, description=self._screen.say(f"{task.engine}: {task.case.name}"))

    def add(self, cell: Cell) -> None:
        """Count one finished cell, and name it at once if it failed."""
        said = self._screen.say(story.place(cell))
        self._progress.update(self._task, advance=1, description=said)
        if cell.verdict in FAILING and not self._progress.disable:
            self._progress.console.print(self._screen.text(f"{cell.verdict}: {story.place(cell)}"))
