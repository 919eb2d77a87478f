"""The stand-in compiler as a vendor offers it: a wheel on a private package index, and a package with its record."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RECORD = """
from edgeft.compilers.compiler import Compiler, Setting

COMPILER = Compiler(
    name="obedient",
    title="Obedient",
    module="obedient_compiler",
    requirements=("obedient=={version}",),
    versions=("1.0",),
    accelerator="test NPU",
    settings=(
        Setting("refuses", "nothing"),
        Setting("leaves", "nothing"),
        Setting("computes", "right", ("right", "wrong")),
        Setting("ends", "well"),
    ),
    simulates=True,
    shipped={shipped},
    repeats={repeats},
    machines=("x86_64", "aarch64"),
    compile_seconds={seconds},
)
"""
PROFILE = """
name = "board"
title = "A board"
backend = "onnxruntime"
compiler = "obedient"
static_shapes = true
source = ["stand-in of the tests"]
confidence = "derived"

[compile]
{settings}

[scheme_without_vnni]
weight_bits = 7
"""


def wheel(version: str = "1.0") -> bytes:
    """The compiler as a wheel. Its .pth file stands for the wheels of numpy and ONNX Runtime, which are those here."""
    numpy = find_spec("numpy")
    assert numpy is not None and numpy.origin is not None
    info = f"obedient-{version}.dist-info"
    parts = {
        "obedient_compiler.py": (HERE / "obedient_compiler.py").read_text(encoding="utf-8"),
        "obedient.pth": f"{Path(numpy.origin).parents[1]}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: obedient\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    parts[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*parts, f"{info}/RECORD"])
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return content.getvalue()


@dataclass
class Index:
    """A private package index (PEP 503): `wheels` by file name, `digests` that it states where they are not the true
    ones, and the paths that were asked for."""

    url: str = ""
    wheels: dict[str, bytes] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> bytes | None:
        self.asked.append(path)
        name = path.strip("/").rsplit("/", 1)[-1]
        if path.startswith("/files/"):
            return self.wheels.get(name)

        links = []
        for file, content in self.wheels.items():
            if file.startswith(f"{name}-"):
                digest = self.digests.get(file) or hashlib.sha256(content).hexdigest()
                links.append(f'<a href="/files/{file}#sha256={digest}">{file}</a>')
        return f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode() if links else None


@contextlib.contextmanager
def served(*versions: str) -> Iterator[Index]:
    """An index with the compiler in these versions, on a free port of the loopback."""
    index = Index(wheels={f"obedient-{version}-py3-none-any.whl": wheel(version) for version in versions})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = index.answer(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Type", "application/zip" if self.path.startswith("/files/") else "text/html")
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    index.url = f"http://127.0.0.1:{server.server_address[1]}/simple"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def configure_pip(folder: Path, index: Index, patch: pytest.MonkeyPatch) -> None:
    """A pip.conf that names the index alone: edgeft has no setting of its own for it."""
    for name in [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]:
        patch.delenv(name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pip.conf").write_text(f"[global]\nindex-url = {index.url}\nno-cache-dir = true\nretries = 0\n")
    patch.setenv("PIP_CONFIG_FILE", str(folder / "pip.conf"))


def record(
    folder: Path,
    patch: pytest.MonkeyPatch,
    *,
    version: str = "1.0",
    shipped: bool = True,
    repeats: bool = True,
    seconds: float = 120.0,
) -> None:
    """The package with the compiler's record, beside edgeft: its entry point, and the pinned `version`."""
    info = folder / "obedient_record-1.0.dist-info"
    info.mkdir(parents=True)
    text = RECORD.format(version=version, shipped=shipped, repeats=repeats, seconds=seconds)
    (folder / "obedient_record.py").write_text(text)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: obedient-record\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[edgeft.compilers]\nobedient = obedient_record:COMPILER\n")
    patch.syspath_prepend(folder)
    patch.delitem(sys.modules, "obedient_record", raising=False)


def profile(folder: Path, **settings: str) -> Path:
    """A target of the user's own, "board", with the compiler in these settings; `folder` is its targets/."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "board.toml"
    path.write_text(PROFILE.format(settings="\n".join(f'{key} = "{value}"' for key, value in settings.items())))
    return path
