"""The registry applied to probes: what of their failures is a listed defect. Strict both ways, as for scenarios.

Only what is reported of a run here goes by it. A snapshot keeps the bare verdicts, as `gradparity.reports.drift` asks
what a release does, listed or not.
"""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np

from gradparity.adapters.operations.arrays import arrays, cotangent
from gradparity.adapters.operations.case import OperationCase
from gradparity.reference.conventions import FLOAT32
from gradparity.reference.operations import judge
from gradparity.reference.verdict import Verdict
from gradparity.reports.known import GONE, Entry, entries
from gradparity.reports.operation_cells import select
from gradparity.reports.snapshot import CellRecord

SHOWS = (Verdict.WRONG, Verdict.CRASHED)


def listed(record: CellRecord, registry: tuple[Entry, ...] | None = None) -> CellRecord:
    """Return the record of a probe as ``known`` or ``declared`` where an entry lists how it fails, with the reason.

    Where an entry lists it and nothing is amiss any more, it is ``wrong``, and says so.
    """
    for entry in entries() if registry is None else registry:
        if not entry.holds_for(record.engine, record.dtype, record.environment) or not of(entry, record.subject):
            continue
        if record.verdict == Verdict.WITHIN:
            gone = f"listed as {entry.kind} ({entry.id}), {GONE}: remove it, or narrow its versions"
            return replace(record, verdict=str(Verdict.WRONG), message=gone)
        if record.verdict in SHOWS and _explains(entry, record):
            return replace(record, verdict=str(entry.kind), message=entry.sentence)
    return record


def of(entry: Entry, subject: str) -> bool:
    """Return whether `entry` names the probe `subject`."""
    return any(fnmatchcase(subject, pattern.replace("[", "[[]")) for pattern in entry.probes)


def _explains(entry: Entry, record: CellRecord) -> bool:
    """Return whether it is what the entry says: an exception, or float64 that is right as float32."""
    if record.verdict == Verdict.CRASHED:
        return bool(entry.raises) and entry.raises in record.message
    (case,) = (case for case in select((record.subject,)) if case.name == record.subject)
    return FLOAT32 in entry.conventions and _within_float32(case, record)


def _within_float32(case: OperationCase, record: CellRecord) -> bool:
    outputs = {e.quantity: e.values.reshape(e.shape) for e in record.entries if e.whole}
    inputs = [a.astype(record.dtype) if a.dtype.kind == "f" else a for a in arrays(case)]
    with np.errstate(all="ignore"):
        found = judge(case.formula, {**case.keywords, **case.given}, inputs, outputs, FLOAT32, cotangent)
    wrong = [e.quantity for e in record.entries if e.verdict == Verdict.WRONG]
    return all(name in found and found[name].verdict is not Verdict.WRONG for name in wrong)
