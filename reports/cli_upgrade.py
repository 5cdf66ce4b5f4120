"""``gradparity upgrade``: two environments, built, run and compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from gradparity.reference.errors import InputError
from gradparity.reports.cli_diff import report
from gradparity.reports.cli_ends import Refused, Unfinished
from gradparity.reports.output import check_writable
from gradparity.reports.selection import Selection
from gradparity.reports.unbuildable import Unbuildable
from gradparity.reports.upgrade import upgrade
from gradparity.reports.wanted import wanted
from gradparity.reports.workshop import Workshop

HINTS = {
    "no wheels with a matching Python": "another Python may do: --python 3.12",
    "depends on Python": "another Python may do: --python 3.12",
    "No space left": "make room, or name another folder in GRADPARITY_CACHE_DIR and UV_CACHE_DIR",
    "dns error": "is the network there? What was installed before can be used without",
    "Failed to fetch": "is the network there? What was installed before can be used without",
}


@contextmanager
def outcomes() -> Iterator[None]:
    """Turn an environment that cannot be had into its message: exit code 2 for what was asked, 3 for the world."""
    try:
        yield
    except Unbuildable as failure:
        hint = next((f"\n{hint}" for said, hint in HINTS.items() if said in failure.log), "")
        raise (Refused if failure.refused else Unfinished)(f"{failure}{hint}") from None


def workshop(
    engines: Sequence[str],
    scenarios: Sequence[str],
    probes: Sequence[str],
    full: bool,
    python: str | None,
    fresh: bool,
    timeout: float,
    jobs: int | None,
) -> Workshop:
    """Return the workshop that the options describe. Raises `InputError` for a bad one, before anything is built."""
    selection = Selection(tuple(scenarios), tuple(probes), tuple(engines), full)
    selection.check()
    return Workshop(selection, python, timeout, jobs, fresh)


def two_sides(sides: Sequence[str], old: str | None, new: str | None) -> tuple[str, str]:
    """Return the two sides, from arguments in order and from options. Raises `InputError` where there are not two."""
    given = list(sides)
    first = old if old is not None else given.pop(0) if given else None
    second = new if new is not None else given.pop(0) if given else None
    if first is None or second is None or given:
        count = "more than" if given else "fewer than"
        raise InputError(
            f"{count} two sides: write gradparity upgrade OLD NEW, or --from OLD --to NEW; several packages of one side"
            " go into one pair of quotes"
        )
    return first, second


def upgrade_command(
    sides: Sequence[str],
    old: str | None,
    new: str | None,
    bits: bool,
    form: str,
    output: Path | None,
    out: Path | None,
    **options: object,
) -> int:
    """Compare and report; return the exit code. Raises `InputError` for bad input."""
    first, second = (wanted(text) for text in two_sides(sides, old, new))
    check_writable(output, out)
    with outcomes(), workshop(**options) as shop:  # type: ignore[arg-type]
        # Snapshots that are saved will be compared with others too.
        shop.twice = out is not None
        found = upgrade(first, second, shop)
    if out:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write to {out}: {error.strerror}; choose another folder") from None
        found.old.write(out / "old.parquet")
        found.new.write(out / "new.parquet")
    for note in (f"versions: {', '.join(found.packages) or 'all the same'}", *found.notes):
        click.echo(note, err=True)
    code = report(found.comparison, bits, form, output)
    for engine, log in found.broken.items():
        click.echo(f"cannot be used: {engine}: {log}", err=True)
    return code or found.exit_code(bits)
