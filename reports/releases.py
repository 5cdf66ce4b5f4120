"""The releases of a package, as its index lists them: versions, dates, and whether they can be installed here."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from urllib.parse import urlsplit

from packaging import tags
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version
from pypi_simple import DistributionPackage, NoSuchProjectError, PyPISimple, UnsupportedContentTypeError
from requests import RequestException

from gradparity.reference.errors import InputError, nearest
from gradparity.reports.unbuildable import Stage, Unbuildable
from gradparity.reports.uv import settings

TIMEOUT = (10.0, 60.0)
"""Seconds to connect to an index, and to wait for what it sends."""


@dataclass(frozen=True)
class Release:
    """One version of a package. `date` is its first upload, where the index says; `lacking` why it cannot be had."""

    version: Version
    date: datetime | None
    lacking: str = ""


def indexes(chosen: Mapping[str, str] | None = None) -> tuple[str | None, ...]:
    """Return the indexes that count, the default one last; None stands for the library's own."""
    given = settings() if chosen is None else chosen
    if given.get("UV_NO_INDEX"):
        return ()
    extra = f"{given.get('UV_INDEX', '')} {given.get('UV_EXTRA_INDEX_URL', '')}".split()
    # UV_INDEX may give an index a name: name=address.
    named = [entry if "://" in entry.partition("=")[0] else entry.rpartition("=")[2] for entry in extra]
    return (*named, given.get("UV_DEFAULT_INDEX") or given.get("UV_INDEX_URL"))


@cache
def files(package: str) -> tuple[DistributionPackage, ...]:
    """Return every file of `package` on the indexes; none where they do not know it, or where there is no index.

    Raises `Unbuildable` where an index cannot be reached or understood.
    """
    found: list[DistributionPackage] = []
    for index in indexes():
        if index and not urlsplit(index).scheme.startswith("http"):
            continue
        try:
            with PyPISimple(index) if index else PyPISimple() as client:
                found += client.get_project_page(package, timeout=TIMEOUT).packages
        except NoSuchProjectError:
            continue
        except (RequestException, UnsupportedContentTypeError) as error:
            raise Unbuildable(
                Stage.LOOK_UP, f"cannot ask the package index for the releases of {package}", str(error), passing=True
            ) from None
    return tuple(found)


def releases(package: str, python: str | None = None) -> list[Release]:
    """Return the releases of `package` in the order of their versions, for Python `python` ("3.12.4"; default: this).

    Raises `InputError` where there is no such package, `Unbuildable` where the index cannot be asked.
    """
    grouped: dict[Version, list[DistributionPackage]] = {}
    for file in files(package):
        if (version := _version(file.version)) is not None:
            grouped.setdefault(version, []).append(file)
    if not grouped:
        raise InputError(f"no index knows a package {package!r}: check its name, and UV_DEFAULT_INDEX where you set it")
    supported = set(_tags(python))
    return [_release(version, grouped[version], supported, python) for version in sorted(grouped)]


def date(package: str, version: str) -> datetime | None:
    """Return when `version` of `package` was first uploaded; None where the index does not know, or does not say."""
    wanted = Version(version).public
    dates = [f.upload_time for f in files(package) if (v := _version(f.version)) and v.public == wanted]
    return min((d for d in dates if d is not None), default=None)


def between(package: str, first: str, last: str, python: str | None = None) -> list[Release]:
    """Return the releases from `first` to `last`, both included; pre-releases only where an end is one.

    Raises `InputError` for a version that is none or is not there, or an empty range.
    """
    there = releases(package, python)
    low, high = (_known(package, version, there) for version in (first, last))
    if low >= high:
        raise InputError(f"{package} {first} does not come before {last}: name the older release first")
    early = low.is_prerelease or high.is_prerelease
    return [r for r in there if low <= r.version <= high and (early or not r.version.is_prerelease)]


def _known(package: str, version: str, there: Iterable[Release]) -> Version:
    names = [str(release.version) for release in there]
    wanted = _version(version)
    if wanted is None or not any(wanted == release.version for release in there):
        raise InputError(f"{package} has no release {version!r}{nearest(version, names)}; the newest is {names[-1]}")
    return wanted


def _version(text: str | None) -> Version | None:
    try:
        return Version(text or "")
    except InvalidVersion:
        return None


def _tags(python: str | None) -> Iterable[tags.Tag]:
    if python is None or python.split(".")[:2] == [str(sys.version_info.major), str(sys.version_info.minor)]:
        return tags.sys_tags()
    version = tuple(int(part) for part in python.split(".")[:2])
    return (*tags.cpython_tags(version), *tags.compatible_tags(version, f"cp{version[0]}{version[1]}"))


def _release(
    version: Version, there: list[DistributionPackage], supported: set[tags.Tag], python: str | None
) -> Release:
    first = min((f.upload_time for f in there if f.upload_time is not None), default=None)
    wanted = python or ".".join(map(str, sys.version_info[:3]))
    fresh = [f for f in there if not f.is_yanked]
    allowed = [f for f in fresh if _allows(f.requires_python, wanted)]
    # A source distribution may do where nothing has to be compiled; whether it does shows when it is installed.
    pure = [f for f in allowed if f.package_type == "sdist" and not any(g.package_type == "wheel" for g in there)]
    lacking = ""
    if not fresh:
        lacking = "yanked"
    elif not allowed:
        lacking = f"not for Python {wanted}"
    elif not pure and not any(_fits(f, supported) for f in allowed):
        lacking = f"no wheel for Python {wanted} on this platform"
    return Release(version, first, lacking)


def _allows(specifier: str | None, python: str) -> bool:
    try:
        return not specifier or SpecifierSet(specifier).contains(python)
    except InvalidSpecifier:
        return True


def _fits(file: DistributionPackage, supported: set[tags.Tag]) -> bool:
    try:
        return not supported.isdisjoint(parse_wheel_filename(file.filename)[3])
    except InvalidWheelFilename:
        return False
