"""The registry of conventions (``declared``) and real defects (``known``): reviewed data, strict both ways.

An unlisted difference stays ``wrong``. A listed one must be no larger than it was listed with, and must be there in
each scenario that the entry lists as `seen`; otherwise the cell is ``wrong`` and says so.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources

from packaging.specifiers import SpecifierSet

from gradparity.reference.verdict import Finding, Verdict
from gradparity.reports.cell import Cell, Figure

GREW, GONE = "grew beyond what is listed as", "but no longer there"
"""What is said of a listed difference that is larger than listed, and of one that does not show where it must."""


@dataclass(frozen=True)
class Entry:
    """One listed difference. Engines, scenarios, dtypes, programs, quantities and functions are shell patterns.

    `largest` is the largest error/bound that it may have (infinite where classes differ: NaN for a number); `seen`
    names
    the catalogue scenarios in which it must appear. Of `functions` (activations, the loss) the network must have one.
    """

    id: str
    kind: Verdict
    engines: tuple[str, ...]
    versions: Mapping[str, str]
    scenarios: tuple[str, ...]
    dtypes: tuple[str, ...]
    programs: tuple[str, ...]
    quantities: tuple[str, ...]
    largest: float
    seen: tuple[str, ...]
    reason: str
    source: str
    reproduction: str
    functions: tuple[str, ...] = ("*",)
    conventions: tuple[str, ...] = ()
    """Where the formula of the difference is known (`gradparity.reference.conventions`), one of these must give the
    engine's numbers. Several that hold at once are joined by ``+``.
    """
    probes: tuple[str, ...] = ()
    """The probes in which it shows (`gradparity.reports.known_probes`); a pattern in which ``[`` has no meaning."""
    raises: str = ""
    """A part of the message of the exception with which those probes end."""

    def concerns(self, cell: Cell) -> bool:
        """Return whether the entry speaks of this engine, in these versions, on this scenario and dtype."""
        return (
            self.holds_for(cell.engine, cell.dtype, cell.environment)
            and _matches(cell.scenario, self.scenarios)
            and any(_matches(function, self.functions) for function in cell.functions or ("",))
        )

    def holds_for(self, engine: str, dtype: str, versions: Mapping[str, str]) -> bool:
        """Return whether the entry speaks of this engine, in these versions, and of this dtype."""
        return (
            _matches(engine, self.engines)
            and _matches(dtype, self.dtypes)
            and all(
                name in versions and SpecifierSet(wanted).contains(versions[name], prereleases=True)
                for name, wanted in self.versions.items()
            )
        )

    def names(self, finding: Finding) -> bool:
        """Return whether the entry speaks of this quantity of this program."""
        return (
            _matches(finding.program, self.programs)
            and _matches(finding.quantity, self.quantities)
            and (not self.conventions or not set(self.conventions).isdisjoint(finding.convention.split()))
        )

    @property
    def sentence(self) -> str:
        """Return reason, source and reproduction in one line."""
        return f"{self.id}: {self.reason} (source: {self.source}; reproduction: {self.reproduction})"


def _matches(word: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(word, pattern) for pattern in patterns)


@cache
def entries() -> tuple[Entry, ...]:
    """Return the registry, ``known.toml`` beside this module."""
    text = (resources.files("gradparity.reports") / "known.toml").read_text(encoding="utf-8")
    return tuple(_entry(raw) for raw in tomllib.loads(text).get("entry", []))


def _entry(raw: Mapping[str, object]) -> Entry:
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}
    fields["kind"] = Verdict(str(raw["kind"]))
    return Entry(**fields)  # type: ignore[arg-type]


def conventions(engine: str, dtype: str) -> tuple[str, ...]:
    """Return the conventions that are listed for `engine` in `dtype`, in whatever version."""
    about = [e for e in entries() if _matches(engine, e.engines) and _matches(dtype, e.dtypes)]
    return tuple(dict.fromkeys(name for entry in about for name in entry.conventions))


def applied(cell: Cell, registry: tuple[Entry, ...] | None = None) -> Cell:
    """Return `cell` with its listed differences named, its findings' verdicts and its own made accordingly."""
    reasons: dict[str, str] = {}
    findings = list(cell.findings)
    faults, figures = list(cell.faults), list(cell.figures)
    for entry in entries() if registry is None else registry:
        if not cell.findings or not entry.concerns(cell):
            continue
        appeared = False
        for index, finding in enumerate(findings):
            if finding.verdict not in (Verdict.WRONG, Verdict.SUSPECT) or not entry.names(finding):
                continue
            appeared = True
            if finding.worst is None or finding.worst.ratio <= entry.largest:
                findings[index] = replace(finding, verdict=entry.kind)
                reasons[f"{finding.program} {finding.quantity}"] = entry.sentence
            else:
                findings[index] = replace(finding, note=f"{GREW} {entry.id}")
        if appeared:
            figures = [_listed(figure, entry) for figure in figures]
        if not appeared and cell.scenario in entry.seen:
            faults.append(f"listed as {entry.kind} ({entry.id}), {GONE}: remove it, or narrow its versions")
    return with_verdict(
        replace(cell, findings=tuple(findings), figures=tuple(figures), faults=tuple(faults), reasons=reasons)
    )


def _listed(figure: Figure, entry: Entry) -> Figure:
    """Return a missed figure as `entry` names it, whose defect also moved the quantity that it is about."""
    if figure.verdict is not Verdict.WRONG or not _matches(figure.quantity, entry.quantities):
        return figure
    return replace(figure, verdict=entry.kind)


_SEVERITY = (
    Verdict.NOT_GIVEN, Verdict.WITHIN, Verdict.DECLARED, Verdict.KNOWN, Verdict.SUSPECT, Verdict.WRONG
)  # fmt: skip


def with_verdict(cell: Cell) -> Cell:
    """Return `cell` with the worst verdict of its findings, figures and faults."""
    verdicts = [f.verdict for f in cell.findings] + [f.verdict for f in cell.figures]
    if cell.faults:
        verdicts.append(Verdict.WRONG)
    return replace(cell, verdict=max(verdicts, key=_SEVERITY.index, default=Verdict.NOT_GIVEN))
