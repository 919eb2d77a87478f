"""edgeft serve against clients that are slow and inputs that cost too much: connections close, the process ends."""

from __future__ import annotations

import asyncio
import contextlib
import io
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_bundle
from served import form, serving

uvicorn = pytest.importorskip("uvicorn", reason="pip install 'edgeft[serve]'")

REQUEST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers when the whole body has come."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server whose clients have half a second for headers, and as long between two requests."""
    from edgeft.server import protocol

    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.5)
    config = uvicorn.Config(
        answer,
        http=protocol.Protocol,
        lifespan="off",
        loop="asyncio",
        log_config=None,
        log_level="critical",
        timeout_keep_alive=1,
    )
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


def closed(client: socket.socket, drip: bytes) -> bool:
    """Whether the server ends the connection while `drip` is sent a byte each tenth of a second, then nothing."""
    client.settimeout(0.1)
    begun = time.monotonic()
    while time.monotonic() - begun < 10:
        with contextlib.suppress(TimeoutError):
            try:
                if not client.recv(1000):
                    return True
                client.sendall(drip[:1])
                drip = drip[1:]
            except (ConnectionError, BrokenPipeError):
                return True
    return False


@pytest.mark.parametrize(
    "first", [b"", b"GET /", b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "], ids=["nothing", "line", "headers"]
)
def test_headers_that_do_not_come_end_the_connection(port: int, first: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(first)
        assert closed(client, b"")


def test_so_do_those_of_a_second_request(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(REQUEST + b"{}")
        assert b"200" in client.recv(1000)
        client.sendall(b"G")  # ends uvicorn's own wait for the next request
        assert closed(client, b"")


def test_a_body_may_take_longer_and_requests_may_follow_each_other(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(REQUEST)
        time.sleep(1.2)  # more than headers have
        client.sendall(b"{}" + REQUEST + b"{}")
        read = b""
        while read.count(b"200 OK") < 2:
            got = client.recv(1000)
            assert got, read
            read += got


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process are read from /proc")
def test_work_without_an_end_ends_the_process_which_has_a_limit_of_memory(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image", reason="pillow reads images")
    bundle = tiny_bundle.build(tmp_path)
    large = io.BytesIO()
    pillow.new("RGB", (6000, 6000)).save(large, "PNG", compress_level=1)
    body, kind = form(*[(f"{number}.png", large.getvalue()) for number in range(32)])

    with serving(bundle, "--timeout", 1, "--max-body", 64) as server:
        (line,) = [
            line for line in Path(f"/proc/{server.process.pid}/limits").read_text().splitlines() if "data" in line
        ]
        assert "unlimited" not in line.split()[3]
        with pytest.raises((ConnectionError, OSError)):
            server.predict(body, Content_Type=kind)
        assert server.process.wait(timeout=30) == -signal.SIGALRM
