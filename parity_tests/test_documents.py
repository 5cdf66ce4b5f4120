"""What the documents name is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(page.relative_to(ROOT).as_posix() for page in (*ROOT.glob("docs/*.md"), *ROOT.glob("*.md")))
MODULES = {path.stem for path in (ROOT / "reference").glob("*.py")}
pytestmark = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="a wheel holds no documents")


@pytest.mark.parametrize("page", PAGES)
def test_modules_and_what_they_hold(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for module, name in re.findall(r"`(\w+)\.(\w+)`", text):
        if module in MODULES and name != "py":
            assert hasattr(importlib.import_module(f"gradparity.reference.{module}"), name), f"{module}.{name}"


@pytest.mark.parametrize("page", PAGES)
def test_files(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"`(?:python )?((?:adapters|docs|parity_tests|reference|reports)/[\w/.-]+\.\w+)", text)
    named += re.findall(r"\bbenchmarks/[\w-]+\.\w+", text)
    named += [f"{Path(page).parent}/{link}" for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text)]
    assert [name for name in named if not any(ROOT.glob(name.replace("SEED", "*")))] == []
