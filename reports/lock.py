"""From what is wanted to a lock: every package with its version, as uv resolves it; kept, so that it is done once."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement

from gradparity.adapters.facts import distributions, normalized
from gradparity.reference.errors import InputError
from gradparity.reports import releases
from gradparity.reports.cache import digest, folder
from gradparity.reports.interpreter import Interpreter, find, here
from gradparity.reports.store import write
from gradparity.reports.unbuildable import Stage, Unbuildable
from gradparity.reports.uv import Uv, settings
from gradparity.reports.wanted import Wanted, backends

GRACE = timedelta(days=14)
"""How long after a release what it depends on may have been released, to be of its time."""

COMPILED = ("numpy", "scipy", "h5py", "grpcio", "jaxlib", "ml-dtypes", "pandas", "tensorflow", "torch")
"""Packages that are never built from source: it takes long, and is not what anybody runs."""

RELEASED_WITH = {"jaxlib": "jax"}
"""Packages that are released with another and go with it: whoever changes the one asks what its own other computes,
though it would take the old one too."""

WHERE = ("UV_TORCH_BACKEND", "UV_FIND_LINKS", "UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL")
"""Settings that say where torch comes from; without any of them it is the build for the CPU."""


@dataclass(frozen=True)
class Lock:
    """What was resolved: `text` as uv wrote it, for the Python `interpreter`, with `options` to find it again."""

    text: str
    interpreter: Interpreter
    options: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What had to be decided in the user's place: a sentence each."""

    @cached_property
    def pins(self) -> dict[str, str]:
        """Every distribution by normalized name, with its version, or its address where it is a file."""
        return dict(_pins(self.text))

    @cached_property
    def key(self) -> str:
        """The key of the environment: depends on the pins, the bytes of local files, and the Python."""
        files = [digest(_local(address).read_bytes()) for address in self.pins.values() if address.startswith("file:")]
        return digest(sorted(self.pins.items()), files, self.interpreter.version, self.interpreter.abi)


def resolve(
    side: Wanted,
    uv: Uv,
    python: str | None = None,
    like: Mapping[str, str] | None = None,
    *,
    dated: bool = True,
) -> Lock:
    """Return the lock of a side; what is `like` (name → version) is preferred, so that only what has to changes.

    Where `dated`, an old release gets what there was in its time (`GRACE`). Raises `Unbuildable` where nothing
    satisfies what is wanted, or the index or the disk is to blame, and `InputError` for a file or a Python that cannot
    be used.
    """
    like = dict(like or {})
    partners_of = backends(side, like or distributions())
    kept = folder() / "requests" / f"{_request(side, python, like, partners_of, dated)}.json"
    if (known := _read(kept)) is not None:
        return known
    interpreter = find(python, uv)
    refused: list[Unbuildable] = []
    # What was named may have been ahead of its time: Keras 3 was, of every TensorFlow then.
    for partners, limited in product(partners_of, [True, False] if dated else [False]):
        limit = _date(side, (*side.requirements, *partners)) if limited else None
        try:
            lock = _resolved(side, partners, interpreter, uv, like, limit)
            if held := {part for part, whole in RELEASED_WITH.items() if _moved(whole, lock, like) and part in like}:
                free = {name: pin for name, pin in like.items() if name not in held}
                lock = _resolved(side, partners, interpreter, uv, free, limit)
            break
        except Unbuildable as failure:
            if failure.passing:
                raise
            refused.append(failure)
    else:
        raise refused[0]
    if dated and not limited:
        lock = replace(lock, notes=(*lock.notes, "resolved with what there is today: nothing of its time goes with it"))
    kept.parent.mkdir(exist_ok=True)
    write(kept, json.dumps(asdict(lock)))
    return lock


def _moved(package: str, lock: Lock, like: Mapping[str, str]) -> bool:
    return package in lock.pins and lock.pins[package] != like.get(package)


def _request(side: Wanted, python: str | None, like: Mapping[str, str], *more: object) -> str:
    """Return the key of what is asked for: all that the answer depends on, and the day where versions are left open."""
    day = "" if side.exact else datetime.now(UTC).date()
    contents = [wheel.read_bytes() for wheel in side.wheels] + (list(_contents(side.file)) if side.file else [])
    base = here()
    return digest(
        2, side.requirements, side.file, contents, python, base.version, base.abi, base.path, sorted(like.items()),
        sorted(settings().items()), day, *more,
    )  # fmt: skip


def _contents(file: Path) -> Iterator[bytes]:
    """Yield the bytes of a file and of all that it includes."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from None
    yield data
    for included in re.findall(rb"(?m)^\s*(?:-r|-c|--requirement|--constraint)[ =]+(\S+)", data):
        yield from _contents(file.parent / included.decode())


def _read(kept: Path) -> Lock | None:
    try:
        raw = json.loads(kept.read_text(encoding="utf-8"))
        return Lock(raw["text"], Interpreter(**raw["interpreter"]), tuple(raw["options"]), tuple(raw["notes"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _resolved(
    side: Wanted,
    partners: tuple[str, ...],
    interpreter: Interpreter,
    uv: Uv,
    like: Mapping[str, str],
    limit: datetime | None,
) -> Lock:
    lines = (*side.requirements, *partners)
    torch = any(line.startswith("torch") for line in lines)
    options = ["--torch-backend", "cpu"] if torch and not any(name in settings() for name in WHERE) else []
    with TemporaryDirectory(prefix="gradparity-") as name:
        work = Path(name)
        given, out = work / "requirements.in", work / "lock.txt"
        # Every worker needs NumPy, whether or not the framework does.
        given.write_text("".join(f"{line}\n" for line in (*lines, "numpy")), encoding="utf-8")
        out.write_text("".join(f"{k}=={v}\n" for k, v in like.items() if "/" not in v), encoding="utf-8")
        files = [_as_requirements(side.file, work, uv)] if side.file else []
        uv(
            Stage.RESOLVE,
            f"resolving {side.text}{' with ' + ' '.join(partners) if partners else ''}",
            "pip", "compile", given, *files, "-o", out, "--python", interpreter.path, "--no-header", "--no-annotate",
            *(["--emit-index-url", "--emit-find-links"] if files else []),
            *(part for package in COMPILED for part in ("--only-binary", package)),
            *(["--exclude-newer", limit.isoformat()] if limit else []),
            *options,
            cwd=Path.cwd() if files else work,
        )  # fmt: skip
        text = out.read_text(encoding="utf-8")
    # The user's own project is no framework, and installing it in place would write into it.
    own = [line for line in text.splitlines() if line.startswith(("-e", ".", "/")) or _is_folder(line)]
    notes = [f"{line}: left out" for line in own] + ([f"beside it: {' '.join(partners)}"] if partners else [])
    kept = "".join(f"{line}\n" for line in text.splitlines() if line not in own)
    return Lock(kept, interpreter, tuple(options), tuple(notes))


def _date(side: Wanted, lines: tuple[str, ...]) -> datetime | None:
    """Return up to when packages count: `GRACE` after the newest release that has its version in `lines`."""
    if not side.exact or side.wheels:
        return None
    pins = [(Requirement(line).name, str(Requirement(line).specifier)) for line in lines]
    dates = [releases.date(name, pin[2:]) for name, pin in pins if pin.startswith("==") and not pin.endswith("*")]
    known = [date for date in dates if date is not None]
    return max(known) + GRACE if known and len(known) == len(dates) else None


def _as_requirements(file: Path, work: Path, uv: Uv) -> Path:
    """Return `file`, or what it locks, as a requirements file. Raises `InputError` for a format that is not known."""
    exported = work / "exported.txt"
    if file.name == "uv.lock":
        text = uv(
            Stage.RESOLVE, f"reading {file}", "export", "--frozen", "--no-emit-project", "--no-hashes", "--project",
            file.parent, "--quiet",
        )  # fmt: skip
    elif re.fullmatch(r"pylock(\..+)?\.toml", file.name):
        try:
            packages = tomllib.loads(file.read_text(encoding="utf-8"))["packages"]
            marked = ((p, p.get("marker")) for p in packages if "version" in p)
            text = "".join(f"{p['name']}=={p['version']}{f' ; {m}' if m else ''}\n" for p, m in marked)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"cannot read {file}: it is no pylock.toml: {error}") from None
    elif file.suffix == ".lock":
        raise InputError(f"cannot read {file}: export it as requirements.txt, uv.lock or pylock.toml first")
    else:
        return file
    exported.write_text(text, encoding="utf-8")
    return exported


def _pins(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        try:
            requirement = Requirement(line.partition(" #")[0])
        except InvalidRequirement:
            continue
        yield normalized(requirement.name), requirement.url or str(requirement.specifier).lstrip("=")


def _local(address: str) -> Path:
    return Path(unquote(urlsplit(address).path))


def _is_folder(line: str) -> bool:
    return any(address.startswith("file:") and _local(address).is_dir() for _, address in _pins(line))
