"""`edgeft serve` in a process of its own on a free port of this machine, and requests to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Server:
    """A running server: its process, port, and what it has printed on stderr so far."""

    process: subprocess.Popen[str]
    port: int
    lines: list[str] = field(default_factory=list)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body of a request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()
        finally:
            connection.close()

    def predict(self, body: bytes, path: str = "/predict", **headers: str) -> tuple[int, dict[str, Any]]:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        status, _, content = self.request("POST", path, body, named)
        return status, json.loads(content)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 30) -> tuple[int, str]:
        """Exit code and stdout after the signal."""
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=seconds)
        return self.process.returncode, out


@contextlib.contextmanager
def serving(bundle: Path, *options: object, cwd: Path | None = None, **variables: str) -> Iterator[Server]:
    argv = [sys.executable, "-m", "edgeft", "serve", str(bundle), "--port", "0", *map(str, options)]
    process = subprocess.Popen(
        argv,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
    )
    assert process.stderr is not None
    lines: list[str] = []
    port = 0
    for line in process.stderr:
        lines.append(line)
        if match := re.search(r"on http://\S+:(\d+): ", line):
            port = int(match.group(1))
            break
    if not port:
        process.wait(timeout=30)
        raise AssertionError(f"the server did not start: {''.join(lines)}")

    stderr = process.stderr
    reader = threading.Thread(target=lambda: lines.extend(stderr), daemon=True)
    reader.start()
    server = Server(process, port, lines)
    try:
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=30)
        reader.join(timeout=30)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        assert "Traceback" not in "".join(lines), "".join(lines)


def form(*files: tuple[str, bytes], boundary: str = "xYzZY", **fields: str) -> tuple[bytes, str]:
    """A form of files and fields, and its content type."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode() + content
        for name, content in files
    ] + [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode()
        for name, value in fields.items()
    ]
    return b"\r\n".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"
