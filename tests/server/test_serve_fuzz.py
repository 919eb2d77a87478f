"""Whatever comes in, the answer is HTTP, the status says whose fault it is, and the server goes on."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle
from draws import draws
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from served import Server, form, serving

from edgeft.server import body as bodies

pytestmark = pytest.mark.random
FUZZ = draws(150, suppress_health_check=list(HealthCheck))
_TOKENS = [
    b"--b",
    b"\r\n",
    b"\r\n\r\n",
    b"--",
    b'Content-Disposition: form-data; name="file"; filename="a.npy"',
    b"\x93NUMPY",
]
_KINDS = ["multipart/form-data; boundary=b", "application/json", "application/octet-stream", "image/png", "a/b; =", ""]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("uvicorn", reason="pip install 'edgeft[serve]'")
    with serving(tiny_bundle.build(tmp_path_factory.mktemp("fuzz"))) as running:
        yield running


def array(tmp: Path) -> bytes:
    np.save(tmp / "x.npy", tiny_bundle.pixels(0))
    return (tmp / "x.npy").read_bytes()


def alive(server: Server, content: bytes) -> None:
    status, table = server.predict(content, "/predict?name=x.npy")
    assert status == 200 and table["predictions"][0]["label"] == "dark"


def test_bodies_of_every_kind(server: Server, tmp_path: Path) -> None:
    @FUZZ
    @given(
        st.lists(st.one_of(st.sampled_from(_TOKENS), st.binary(max_size=60)), max_size=12).map(b"".join),
        st.sampled_from(_KINDS),
        st.sampled_from(
            ["/predict", "/predict?name=a.npy", "/predict?name=a.png", "/predict?name=..%2F..%2Fx", "/predict?"]
        ),
    )
    def check(content: bytes, kind: str, path: str) -> None:
        status, table = server.predict(content, path, Content_Type=kind)
        assert status in (200, 400, 422), (status, table)
        assert status == 200 or (table["message"] and "edgeft-serve-" not in json.dumps(table))

    check()
    alive(server, array(tmp_path))


def test_altered_arrays(server: Server, tmp_path: Path) -> None:
    """A real file with some bytes changed: an answer, or 422 that names the client's file."""
    good = array(tmp_path)

    @FUZZ
    @given(
        st.lists(st.tuples(st.integers(0, len(good) - 1), st.integers(0, 255)), min_size=1, max_size=6),
        st.integers(0, len(good)),
    )
    def check(changes: list[tuple[int, int]], end: int) -> None:
        content = bytearray(good)
        for place, value in changes:
            content[place] = value
        content = content[:end] or content
        status, table = server.predict(bytes(content), "/predict?name=x.npy")
        assert status in (200, 422), table
        assert status == 200 or table["where"].startswith("x.npy"), table

    check()
    alive(server, good)


def test_bytes_that_are_no_http(server: Server, tmp_path: Path) -> None:
    @FUZZ
    @given(
        st.one_of(
            st.binary(max_size=200),
            st.tuples(
                st.sampled_from([b"GET", b"POST", b"\x00", b"PO ST"]),
                st.sampled_from([b"/health", b"/predict", b"*", b"//", b"/%00", b"http://x/health"]),
                st.lists(
                    st.sampled_from(
                        [
                            *(b"Host: localhost", b"Host: evil", b"Content-Length: 3", b"Content-Length: -1"),
                            *(
                                b"Content-Length: 99999999999999999999",
                                b"Content-Length: 3, 4",
                                b"Expect: 100-continue",
                            ),
                            *(
                                b"Transfer-Encoding: chunked",
                                b"Transfer-Encoding: gzip",
                                b"Upgrade: websocket",
                                b"x" * 70_000,
                            ),
                        ]
                    ),
                    max_size=4,
                ),
            ).map(lambda each: b" ".join(each[:2]) + b" HTTP/1.1\r\n" + b"\r\n".join(each[2]) + b"\r\n\r\nabc"),
        )
    )
    def check(sent: bytes) -> None:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
            try:
                raw.sendall(sent)
                raw.shutdown(socket.SHUT_WR)
                reply = raw.recv(65536)
            except OSError:  # refused while it was being sent
                return
        assert not reply or (reply.startswith(b"HTTP/1.1 ") and not reply.startswith(b"HTTP/1.1 5")), reply

    check()
    alive(server, array(tmp_path))


@draws(200)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(categories=["L", "N", "P"], exclude_characters='"\\%;'), min_size=1, max_size=30),
            st.binary(),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_a_form_gives_its_files_back(files: list[tuple[str, bytes]]) -> None:
    content, kind = form(*files, boundary="aBoundaryThatNoFileHas")
    parts = bodies.inputs(content, {"content-type": kind}, "")
    assert [(part.name, part.content) for part in parts] == files
