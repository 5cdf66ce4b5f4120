"""What a campaign keeps of a cell: one line of ``results.jsonl``, from which its figures are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gradparity.reference.errors import InputError
from gradparity.reference.formulas import table
from gradparity.reference.problem import Problem
from gradparity.reference.verdict import Finding, Verdict
from gradparity.reports.campaign_draw import TOGETHER, Drawn
from gradparity.reports.cell import Cell
from gradparity.reports.codec import decode, dumps
from gradparity.reports.results import versions

JOURNAL = "results.jsonl"


@dataclass(frozen=True)
class Line:
    """One drawn scenario on one engine. `ratios` and `sigmas` hold the largest error/bound and the largest error in
    standard deviations of each kind of row that is within its bound; `wrong`, `listed` (declared or known) and
    `suspect` name rows, as ``probed delta[tanh]``."""

    index: int
    engine: str
    dtype: str
    kind: str
    structured: bool
    verdict: Verdict
    seconds: float
    elements: int
    not_judged: int
    ratios: Mapping[str, float]
    sigmas: Mapping[str, float]
    wrong: tuple[str, ...]
    suspect: tuple[str, ...]
    listed: tuple[str, ...]
    message: str
    versions: str

    @property
    def signature(self) -> str:
        """Return what failed, without the numbers: failures alike are shrunk once."""
        where = self.wrong[0] if self.wrong else str(self.verdict)
        return f"{self.engine} {self.dtype} {where}"


@dataclass(frozen=True)
class Header:
    """The first line: what the campaign draws."""

    campaign: int
    seed: int
    together: int = TOGETHER

    def __str__(self) -> str:
        return f"seed {self.seed}, {self.together} draws a shape (drawing {self.campaign})"


def line(drawn: Drawn, index: int, cell: Cell, problem: Problem) -> Line:
    """Sum up a cell."""
    kinds = row_kinds(problem)
    ratios: dict[str, float] = {}
    sigmas: dict[str, float] = {}
    for f in cell.findings:
        name = _name(f, kinds)
        if f.verdict not in (Verdict.WITHIN, Verdict.SUSPECT):
            continue
        if f.worst:
            ratios[name] = max(ratios.get(name, 0.0), f.worst.ratio)
        sigmas[name] = max(sigmas.get(name, 0.0), f.sigmas)

    def named(verdict: Verdict) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_name(f, kinds) for f in cell.findings if f.verdict is verdict))

    return Line(
        index=index,
        engine=cell.engine,
        dtype=cell.dtype,
        kind=drawn.kind,
        structured=cell.structured,
        verdict=cell.verdict,
        seconds=cell.seconds,
        elements=sum(f.elements for f in cell.findings),
        not_judged=sum(f.not_judged for f in cell.findings),
        ratios=ratios,
        sigmas=sigmas,
        wrong=named(Verdict.WRONG) or cell.faults,
        suspect=named(Verdict.SUSPECT),
        listed=tuple(dict.fromkeys(named(Verdict.DECLARED) + named(Verdict.KNOWN))),
        message=cell.message,
        versions=versions(cell),
    )


def _name(finding: Finding, kinds: Mapping[str, str]) -> str:
    basis = " end to end" if finding.basis == "end to end" else ""
    return f"{finding.program} {kinds[finding.quantity]}{basis}"


def row_kinds(problem: Problem) -> dict[str, str]:
    """Return what kind each quantity is of: ``dW``, or with the function that it is made with, ``delta[tanh]``."""
    L = len(problem.layers)
    kinds = {"loss": f"loss[{problem.loss.name}]", f"dA{L}": f"dA[{problem.loss.name}]"}
    for row in table(problem.X.shape[0], problem.layers, problem.loss, problem.learning_rate):
        letters = "".join(c for c in row.name if not c.isdigit())
        if letters in ("A", "delta"):
            activation = problem.layers[int(row.name.removeprefix(letters)) - 1].activation
            matched = f" {problem.loss.name}" if row.name == f"delta{L}" else ""
            kinds[row.name] = f"{letters}[{activation}{matched}]"
        kinds.setdefault(row.name, letters)
    return kinds


class Journal:
    """``results.jsonl`` of a campaign: a header, and a line a cell, each in the file as soon as it is there."""

    def __init__(self, directory: Path, header: Header, resume: bool) -> None:
        """Begin a campaign, or go on with the one in `directory`. Raises `InputError` where that cannot be."""
        self._path = path = directory / JOURNAL
        try:
            directory.mkdir(parents=True, exist_ok=True)
            old = path.read_bytes() if path.exists() else b""
            self.lines = _read(old, header, path, resume) if old else []
            with path.open("ab") as file:
                # What a kill left of the last line goes.
                file.truncate(old.rfind(b"\n") + 1)
        except OSError as error:
            raise InputError(f"cannot write to {directory}: {error.strerror}; choose another folder") from None
        if not old:
            self._write({"kind": "header", "header": header})

    def _write(self, record: Mapping[str, object]) -> None:
        with self._path.open("ab") as file:
            file.write(dumps(record).encode("ascii") + b"\n")

    def add(self, line: Line) -> None:
        """Keep one finished cell."""
        self.lines.append(line)
        self._write({"kind": "cell", "cell": line})


def _read(old: bytes, header: Header, path: Path, resume: bool) -> list[Line]:
    import json

    first, *lines = old[: old.rfind(b"\n") + 1].splitlines()
    try:
        found = decode(Header, json.loads(first)["header"])
        kept = [decode(Line, json.loads(text)["cell"]) for text in lines]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} does not hold a campaign ({error}); choose another folder") from None
    if not resume:
        raise InputError(f"{path} holds a campaign already; go on with --resume, or choose another folder")
    if found != header:
        raise InputError(
            f"{path} was drawn with {found}, not {header}; give what it was drawn with, or choose another folder"
        )
    return kept
