"""The worker runs where there is nothing but an old NumPy and a framework."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from gradparity.adapters.loop import run
from gradparity.adapters.numpy_engine import adapter
from gradparity.adapters.outcome import Chunk
from gradparity.reference import catalogue

STAGED = ("reference", "adapters")

WORKER = """
import importlib, json, pkgutil, sys
sys.path[:0] = sys.argv[1:]
import gradparity
for module in pkgutil.walk_packages(gradparity.__path__, "gradparity."):
    importlib.import_module(module.name)
from gradparity.adapters.outcome import Chunk, Task
from gradparity.adapters.worker import answer
from gradparity.reference import catalogue
*chunks, ended = answer(Task(catalogue.load("mazur").problem("float64"), "numpy"))
names = {name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names
print(json.dumps({
    "ended": [ended.status, ended.message],
    "losses": [loss.hex() for chunk in chunks for loss in chunk.plain["loss"].ravel().tolist()],
    "imported": sorted(names - {"__main__"}),
}))
"""


@pytest.fixture
def bare(tmp_path: Path) -> list[str]:
    """Return two folders: one with what a worker is given of gradparity, one with NumPy."""
    package = tmp_path / "stage" / "gradparity"
    package.mkdir(parents=True)
    with resources.as_file(resources.files("gradparity")) as source:
        shutil.copy(source / "__init__.py", package)
        for name in STAGED:
            shutil.copytree(source / name, package / name)
    site = tmp_path / "site"
    site.mkdir()
    installed = Path(np.__file__).parent
    for folder in installed.parent.glob("numpy*"):
        if not folder.name.endswith("-info"):
            (site / folder.name).symlink_to(folder)
    return [str(package.parent), str(site)]


def test_all_that_a_worker_needs_is_numpy(bare: list[str]) -> None:
    command = [sys.executable, "-I", "-S", "-W", "error", "-c", WORKER, *bare]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["ended"] == ["done", ""]
    assert told["imported"] == ["gradparity", "numpy"]
    here = [item for item in run(adapter(""), catalogue.load("mazur").problem("float64")) if isinstance(item, Chunk)]
    assert told["losses"] == [loss.hex() for chunk in here for loss in chunk.plain["loss"].ravel().tolist()]


def numpy_names(source: str) -> list[str]:
    """Return every name that `source` takes from NumPy."""
    tree, found = ast.parse(source), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "np":
            found.append(node.attr)
        elif isinstance(node, ast.ImportFrom) and node.module == "numpy":
            found += [alias.name for alias in node.names]
    return found


def test_the_oldest_numpy_has_every_name() -> None:
    # dir(numpy) of NumPy 1.23.5: 1.23 is the first with wheels for Python 3.11.
    oldest = (resources.files("gradparity.parity_tests") / "numpy_names.txt").read_text(encoding="utf-8").split()
    files = [file for name in STAGED for file in resources.files(f"gradparity.{name}").iterdir()]
    used = {
        name: file.name for file in files if file.name.endswith(".py") for name in numpy_names(file.read_text("utf-8"))
    }
    assert len(used) > 50
    assert {name: file for name, file in used.items() if name not in oldest} == {}
