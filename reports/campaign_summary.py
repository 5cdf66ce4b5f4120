"""The figures of a campaign, as Markdown."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from gradparity.reference.verdict import Verdict
from gradparity.reports.campaign_lines import Line
from gradparity.reports.cell import FAILING

Group = dict[tuple[str, ...], list[Line]]


def summary(seed: int, lines: Sequence[Line]) -> str:
    """Return the figures: cells by engine, dtype and verdict; the largest error/bound by kind of row; suspects by kind
    of data; and each kind of failure."""
    count = len({line.index for line in lines})
    parts = [f"# Campaign with seed {seed}: {count} scenarios, {len(lines)} cells\n"]
    parts += ["## Cells\n", _cells(lines), "## Largest error/bound of what is within\n", _ratios(lines)]
    parts += ["## Suspect cells, by kind of data\n", _suspects(lines), _failures(lines)]
    return "\n".join(parts)


def _grouped(lines: Iterable[Line], key: Callable[[Line], tuple[str, ...]]) -> Group:
    groups: Group = defaultdict(list)
    for line in lines:
        groups[key(line)].append(line)
    return dict(sorted(groups.items()))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))


def _cells(lines: Sequence[Line]) -> str:
    verdicts = [v for v in Verdict if any(line.verdict is v for line in lines)]
    rows = []
    for (engine, dtype), group in _grouped(lines, lambda line: (line.engine, line.dtype)).items():
        counts = Counter(line.verdict for line in group)
        judged, not_judged = sum(line.elements for line in group), sum(line.not_judged for line in group)
        share = not_judged / max(judged + not_judged, 1)
        seconds = f"{sum(line.seconds for line in group):.1f}"
        packages = next((line.versions for line in group if line.versions), "")
        figures = [str(counts[v]) for v in verdicts]
        rows.append([engine, packages, dtype, str(len(group)), *figures, f"{judged:.3g}", f"{share:.2%}", seconds])
    head = ["engine", "versions", "dtype", "cells", *verdicts, "scalars judged", "not judged", "engine s"]
    return _table(head, rows)


def _ratios(lines: Sequence[Line]) -> str:
    """Rows by kind; a column for each dtype."""
    largest: dict[str, dict[str, tuple[float, str]]] = defaultdict(dict)
    for line in lines:
        for name, ratio in line.ratios.items():
            known = largest[name].get(line.dtype, (-1.0, ""))
            largest[name][line.dtype] = max(known, (ratio, f"{line.engine} {line.index}"))
    dtypes = sorted({line.dtype for line in lines})
    rows = []
    for name in sorted(largest):
        found = [largest[name].get(dtype) for dtype in dtypes]
        rows.append([name, *(f"{f[0]:.3g} ({f[1]})" if f else "" for f in found)])
    return _table(["row", *dtypes], rows)


def _suspects(lines: Sequence[Line]) -> str:
    judged = [line for line in lines if line.verdict not in (*FAILING, Verdict.UNSUPPORTED)]
    rows = []
    for (kind,), group in _grouped(judged, lambda line: (line.kind,)).items():
        suspect = [line for line in group if line.suspect]
        sigma = max((s for line in group for s in line.sigmas.values()), default=0.0)
        names = Counter(name for line in suspect for name in line.suspect).most_common(3)
        which = ", ".join(f"{name} {n}" for name, n in names)
        rows.append(
            [kind, str(len(group)), str(len(suspect)), f"{len(suspect) / len(group):.2%}", f"{sigma:.3g}", which]
        )
    return _table(["data", "cells", "suspect", "share", "error in σ, at most", "most often"], rows)


def _failures(lines: Sequence[Line]) -> str:
    groups = _grouped((line for line in lines if line.verdict in FAILING), lambda line: (line.signature,))
    if not groups:
        return "## Failures\n\nNone.\n"
    rows = [
        [signature, str(len(group)), ", ".join(str(line.index) for line in group[:8]), group[0].message[:120]]
        for (signature,), group in groups.items()
    ]
    return "## Failures\n\n" + _table(["failure", "cells", "indices", "message"], rows)
