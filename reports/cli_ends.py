"""How a command ends: its exit code, and one message where it could not do what was asked."""

from __future__ import annotations

import errno
from typing import Any

import click

from gradparity.reference.errors import InputError

DEFECT, INTERRUPTED, BROKEN_PIPE = 70, 130, 141

EXTRAS = dict.fromkeys(("platformdirs", "filelock", "uv", "pypi_simple"), "upgrade")
"""What an extra brings, by the name under which it is imported."""


class Refused(click.ClickException):
    """Bad input: one message, and exit code 2."""

    exit_code = 2


class Unfinished(click.ClickException):
    """Nothing wrong was found, but not everything could be run: one message, and exit code 3."""

    exit_code = 3


class Commands(click.Group):
    """The group of all commands, with what ends them early."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; bad input ends with 2, Ctrl-C with 130."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            raise Refused(str(error)) from None
        except ModuleNotFoundError as error:
            if (error.name or "") not in EXTRAS:
                raise
            extra = EXTRAS[str(error.name)]
            raise Refused(f"{ctx.invoked_subcommand} needs more: pip install 'gradparity[{extra}]'") from None
        except OSError as error:
            # Whatever the disk refuses in the middle: what was kept before is whole.
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
                raise
            raise Unfinished(f"{error.filename or 'a file'} cannot be written: {error.strerror}") from None
        except KeyboardInterrupt:
            click.echo("Interrupted: what was finished and kept stays.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
