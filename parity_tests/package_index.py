"""A package index on this machine, with made-up packages in it, for tests of environments: no network is needed."""

from __future__ import annotations

import json
import threading
import zipfile
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

FORM = "application/vnd.pypi.simple.v1+json"

GRADIENT = """
def gradient(delta, X):
    return {body}
"""
RIGHT, ROUNDED, WRONG = "delta @ X.T", "(X @ delta.T).T", "1.5 * (delta @ X.T)"
RANDOM = "delta @ X.T * (1 + int.from_bytes(__import__('os').urandom(4), 'big') / 2**33)"

ENGINE = """
import numpy as np

def student(p):
    import madeup
    Z = p.W[0] @ p.X + p.b[0]
    delta = (Z - p.Y) / np.asarray(p.N, Z.dtype)
    return {"Z1": Z, "dW1": madeup.gradient(delta, p.X), "db1": delta.sum(axis=1, keepdims=True)}
"""
"""A function engine that has its gradient from the package, wherever it runs."""

SCENARIO = """
name = "line"
learning_rate = 0.5
batch_size = 4
epochs = 1
layers = [{ units = 1, activation = "linear" }]
loss = { name = "half_squared_error", samples = "mean", outputs = "sum" }

[data]
kind = "inline"
X = [[0.1, 0.2], [0.3, -0.4], [-0.5, 0.6], [0.7, 0.8]]
Y = [[1.0], [0.0], [0.5], [0.25]]

[weights]
kind = "glorot_uniform"
seed = 1
"""


def wheel(folder: Path, name: str, version: str, files: dict[str, str], requires: tuple[str, ...] = ()) -> Path:
    """Write a wheel of text files and return its path."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    needed = "".join(f"Requires-Dist: {line}\n" for line in requires)
    files = files | {
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in (files | {f"{about}/RECORD": record}).items():
            archive.writestr(file, text)
    return path


def lent_numpy(folder: Path) -> Path:
    """Write a wheel that installs nothing but a path to the NumPy of this environment."""
    lent = folder / "lent"
    lent.mkdir()
    home = Path(np.__file__).parent.parent
    for part in home.glob("numpy*"):
        if not part.name.endswith(".dist-info"):
            (lent / part.name).symlink_to(part)
    return wheel(folder, "numpy", metadata.version("numpy"), {"lent_numpy.pth": f"{lent}\n"})


@dataclass
class Index:
    """Serves the wheels that were put into it; a context manager. `requests` are the paths that were asked for."""

    folder: Path
    files: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def add(self, path: Path, date: str, *, yanked: bool = False, requires_python: str = "") -> None:
        """Put a wheel into the index, uploaded on `date` ("2024-01-31")."""
        entry = {"filename": path.name, "url": f"/files/{path.name}", "hashes": {}, "yanked": yanked}
        entry |= {"upload-time": f"{date}T00:00:00Z", "size": path.stat().st_size}
        entry |= {"requires-python": requires_python} if requires_python else {}
        self.files.setdefault(path.name.partition("-")[0], []).append(entry)

    def put(self, name: str, version: str, date: str, body: str, *requires: str, **about: Any) -> None:
        """Put a release of a package with one function into the index."""
        path = wheel(self.folder, name, version, {f"{name}.py": GRADIENT.format(body=body)}, requires)
        self.add(path, date, **about)

    @cached_property
    def server(self) -> ThreadingHTTPServer:
        """The server, on a port of its own."""
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.requests.append(self.path)
                form, body = index.answer(self.path)
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", form)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        return ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def answer(self, path: str) -> tuple[str, bytes]:
        """Return type and content of `path`; no content where there is nothing."""
        parts = path.strip("/").split("/")
        if parts[0] == "files":
            file = self.folder / parts[1]
            return "application/octet-stream", file.read_bytes() if file.is_file() else b""
        files = self.files.get(parts[-1], [])
        page = {"meta": {"api-version": "1.1"}, "name": parts[-1], "files": files}
        return FORM, json.dumps(page | {"versions": []}).encode() if files else b""

    @property
    def url(self) -> str:
        """The address to be given to uv."""
        return f"http://127.0.0.1:{self.server.server_address[1]}/simple"

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.shutdown()
        self.server.server_close()
