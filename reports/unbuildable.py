"""Why an environment, or what was to run in it, is not to be had: a typed end, like those of a cell."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """How far it came."""

    LOOK_UP = "look up"
    RESOLVE = "resolve"
    INSTALL = "install"
    IMPORT = "import"


class Unbuildable(Exception):  # noqa: N818 (it is an outcome: releases that do not install are skipped)
    """An environment that cannot be had. `log` holds the last lines that the tool printed.

    `refused` says that what was asked for cannot be had at all (no such release, a conflict); `passing` that another
    time it may be, since the network or the disk is to blame.
    """

    def __init__(
        self, stage: Stage, message: str, log: str = "", *, refused: bool = False, passing: bool = False
    ) -> None:
        super().__init__(message)
        self.stage, self.message, self.log, self.refused, self.passing = stage, message, log, refused, passing

    def __str__(self) -> str:
        lines = "".join(f"\n  {line}" for line in self.log.splitlines())
        return f"{self.message}{':' if lines else ''}{lines}"


class Stopped(Exception):  # noqa: N818 (it is no error: somebody pressed Ctrl-C)
    """The work was told to stop."""
