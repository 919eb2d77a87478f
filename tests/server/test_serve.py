"""edgeft serve on loopback: the answers of `edgeft predict --json`, limits, status codes, metrics, an orderly end."""

from __future__ import annotations

import http.client
import io
import json
import signal
import socket
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_bundle
from served import Server, form, serving

from edgeft.cli.entry import run
from edgeft.core import files

pytest.importorskip("uvicorn", reason="pip install 'edgeft[serve]'")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle and inputs, which commands and server have as their working folder."""
    folder = tmp_path_factory.mktemp("home")
    tiny_bundle.build(folder)
    for level in tiny_bundle.LEVELS:
        np.save(folder / f"{level}.npy", tiny_bundle.pixels(level))
    pillow = pytest.importorskip("PIL.Image", reason="pillow reads images")
    pillow.fromarray(tiny_bundle.pixels(240, (60, 80, 3))).save(folder / "größe.png")
    (folder / "words.png").write_text("no picture")
    (folder / "torn.npy").write_bytes((folder / "0.npy").read_bytes()[:100])
    return folder


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    with serving(Path("bundle"), cwd=home) as running:
        yield running


def printed(capfd: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, Any]]:
    """Exit code and object of `edgeft predict --json`."""
    capfd.readouterr()
    code = run(["predict", *argv, "--json", "-q"])
    return code, json.loads(capfd.readouterr().out)


@pytest.mark.parametrize("name", ["0.npy", "128.npy", "255.npy", "größe.png"])
def test_the_answer_is_that_of_the_command(
    server: Server, home: Path, name: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    code, table = printed(capfd, "bundle", name)
    content = (home / name).read_bytes()
    body, kind = form((name, content))
    quoted = urllib.parse.quote(name)
    disposition = f"attachment; filename*=UTF-8''{quoted}" if quoted != name else f"attachment; filename={name}"
    assert code == 0
    assert server.predict(content, f"/predict?name={quoted}") == (200, table)
    assert server.predict(body, Content_Type=kind) == (200, table)
    assert server.predict(content, Content_Disposition=disposition) == (200, table)


@pytest.mark.parametrize("name", ["words.png", "torn.npy"])
def test_a_bad_input_is_422_with_the_error_of_the_command(
    server: Server, home: Path, name: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    code, table = printed(capfd, "bundle", name)
    assert code == 3 and name in table["where"]
    assert server.predict((home / name).read_bytes(), f"/predict?name={name}") == (422, table)


def test_the_readable_files_of_a_form_are_answered(
    server: Server, home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    names = ["0.npy", "words.png", "255.npy"]
    code, table = printed(capfd, "bundle", *names)
    body, kind = form(*((name, (home / name).read_bytes()) for name in names))
    assert code == 3 and len(table["predictions"]) == 3
    assert server.predict(body, Content_Type=kind) == (200, table)


def test_words_are_never_the_name_of_a_file(server: Server, home: Path) -> None:
    body = json.dumps({"inputs": [str(home / "0.npy")]}).encode()
    status, table = server.predict(body, Content_Type="application/json")
    assert status == 422 and "reads files, not words" in table["message"] and "curl" in table["remedy"]


@pytest.mark.parametrize(
    ("body", "kind", "status", "sentence"),
    [
        (b"", "", 400, "no body"),
        (b"{", "application/json", 400, "not JSON"),
        (b"\xff\xfe", "application/json", 400, "not JSON"),
        (b"[" * 100_000, "application/json", 400, "not JSON"),
        (b'{"inptus": ["a"]}', "application/json", 400, "no JSON object"),
        (b'{"inputs": [1]}', "application/json", 400, "not texts"),
        (b'{"inputs": []}', "application/json", 400, "not texts"),
        (b"--b\r\n", "multipart/form-data", 400, "names no boundary"),
        (b"--b\r\nnothing", "multipart/form-data; boundary=b", 400, "cut off"),
        (b"--b--\r\n", "multipart/form-data; boundary=b", 400, "has no file"),
        (b"--b\r\nno headers\r\n--b--", "multipart/form-data; boundary=b", 400, "no headers"),
        (form(othr="1")[0], form()[1], 400, "unknown field 'othr'"),
        (form(*[("a.npy", b"1")] * 65)[0], form()[1], 400, "65 inputs"),
        (form(("x" * 300, b"1"))[0], form()[1], 400, "300 characters"),
        (form(("a\x07b", b"1"))[0], form()[1], 400, "cannot be printed"),
    ],
)
def test_a_body_that_is_no_request(server: Server, body: bytes, kind: str, status: int, sentence: str) -> None:
    got, table = server.predict(body, **({"Content_Type": kind} if kind else {}))
    assert (got, table["status"]) == (status, status)
    assert sentence in table["message"], table


def test_routes_methods_and_queries(server: Server) -> None:
    for method, path, status in (
        ("GET", "/", 404),
        ("GET", "/helth", 404),
        ("GET", "/predict", 405),
        ("POST", "/health", 405),
        ("DELETE", "/metrics", 405),
        ("POST", "/predict?file=x", 400),
        ("POST", "/predict?name=%ff", 400),
    ):
        got, headers, content = server.request(method, path, b"x" if method == "POST" else None)
        assert got == status, (path, content)
        assert json.loads(content)["remedy"]
        if status == 405:
            assert headers["allow"]
    assert b"did you mean '/health'?" in server.request("GET", "/helth")[2]
    assert server.request("HEAD", "/health")[2] == b""


def test_health_says_what_is_served(server: Server, home: Path) -> None:
    status, headers, content = server.request("GET", "/health")
    table = json.loads(content)
    assert status == 200 and headers["content-type"] == "application/json"
    assert (table["status"], table["name"], table["task"], table["backend"]) == ("ok", "tiny", "classify", "litert")
    assert table["digest"] == files.sha256(home / "bundle" / "manifest.json")
    assert (table["trust"], table["verdict"]) == ("integrity only", None)
    assert any("has no report" in line for line in server.lines)


def test_another_name_for_this_machine_is_refused(server: Server, home: Path) -> None:
    for name, status in (("localhost:1", 200), ("[::1]", 200), ("127.0.0.2:80", 200), ("evil.example", 421), ("", 421)):
        assert server.request("GET", "/health", headers={"Host": name})[0] == status, name
    with serving(home / "bundle", "--allow-host", "Gateway.local") as running:
        assert running.request("GET", "/health", headers={"Host": "gateway.local:80"})[0] == 200
        assert running.request("GET", "/health", headers={"Host": "evil.example"})[0] == 421


def test_metrics_are_read_by_prometheus_and_count(home: Path) -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    with serving(home / "bundle", "--queue", "3") as running:
        for name in ("0.npy", "255.npy", "torn.npy"):
            running.predict((home / name).read_bytes(), f"/predict?name={name}")
        running.request("GET", "/nothing")
        running.request("BREW", "/health")
        status, headers, content = running.request("GET", "/metrics")
        assert status == 200 and headers["content-type"].startswith("text/plain; version=0.0.4")
        values = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in parser.text_string_to_metric_families(content.decode())
            for sample in family.samples
        }

        def requests(path: str, method: str, code: str) -> float:
            return values["edgeft_requests_total", ("method", method), ("path", path), ("status", code)]

        assert requests("/predict", "POST", "200") == 2
        assert requests("/predict", "POST", "422") == 1
        assert requests("other", "GET", "404") == 1
        assert requests("/health", "other", "405") == 1
        assert values["edgeft_errors_total", ("error", "DataError")] == 1
        assert values["edgeft_request_seconds_count",] == 3 and values["edgeft_predict_seconds_count",] == 2
        assert values["edgeft_request_seconds_bucket", ("le", "+Inf")] == 3
        assert 0 < values["edgeft_predict_seconds_sum",] <= values["edgeft_request_seconds_sum",]
        assert values["edgeft_queue_limit",] == 3 and values["edgeft_in_progress",] == 0
        (build,) = (key for key in values if key[0] == "edgeft_build_info")
        assert ("name", "tiny") in build


def test_a_large_body_is_refused_before_it_is_sent(home: Path) -> None:
    with serving(home / "bundle", "--max-body", "1") as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=10) as raw:
            raw.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048577\r\n\r\n")
            assert raw.recv(4096).startswith(b"HTTP/1.1 413 ")
        with socket.create_connection(("127.0.0.1", running.port), timeout=10) as raw:
            raw.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
            chunk = b"40000\r\n" + b"x" * 0x40000 + b"\r\n"
            raw.sendall(chunk * 5)
            assert raw.recv(4096).startswith(b"HTTP/1.1 413 ")
        assert running.predict((home / "0.npy").read_bytes(), "/predict?name=0.npy")[0] == 200


def test_a_full_queue_is_503_and_recovers(home: Path) -> None:
    """Two requests hold the only places by sending half of their bodies; the third is refused, and later answered."""
    content = (home / "0.npy").read_bytes()
    head = f"POST /predict?name=0.npy HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    with serving(home / "bundle", "--queue", "1") as running:
        slow = [socket.create_connection(("127.0.0.1", running.port), timeout=10) for _ in range(2)]
        for raw in slow:
            raw.sendall(head + content[:10])
        until = time.monotonic() + 10
        while json.loads(running.request("GET", "/health")[2])["in_progress"] < 2 and time.monotonic() < until:
            time.sleep(0.01)

        status, headers, body = running.request("POST", "/predict?name=0.npy", content)
        assert (status, headers["retry-after"]) == (503, "1") and "queue is full" in json.loads(body)["message"]
        for raw in slow:
            raw.sendall(content[10:])
            assert raw.recv(4096).startswith(b"HTTP/1.1 200 ")
            raw.close()
        assert running.predict(content, "/predict?name=0.npy")[0] == 200


def test_many_clients_at_once_get_their_own_answers(home: Path) -> None:
    answers: list[tuple[int, int, str]] = []

    def client(level: int) -> None:
        for _ in range(5):
            status, table = running.predict((home / f"{level}.npy").read_bytes(), f"/predict?name={level}.npy")
            answers.append((level, status, table["predictions"][0]["label"] if status == 200 else ""))

    with serving(home / "bundle", "--queue", "64") as running:
        threads = [threading.Thread(target=client, args=(level,)) for level in tiny_bundle.LEVELS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
    assert len(answers) == 5 * len(tiny_bundle.LEVELS)
    assert all(status == 200 and label == tiny_bundle.LEVELS[level] for level, status, label in answers)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_request_in_progress(home: Path, number: int) -> None:
    content = (home / "255.npy").read_bytes()
    head = f"POST /predict?name=255.npy HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    with serving(home / "bundle", "--json") as running:
        raw = socket.create_connection(("127.0.0.1", running.port), timeout=10)
        raw.sendall(head + content[:10])
        until = time.monotonic() + 10
        while json.loads(running.request("GET", "/health")[2])["in_progress"] < 1 and time.monotonic() < until:
            time.sleep(0.01)
        running.process.send_signal(number)
        time.sleep(0.3)
        assert running.process.poll() is None
        raw.sendall(content[10:])
        reply = http.client.HTTPResponse(raw)
        reply.begin()
        assert reply.status == 200 and json.load(io.BytesIO(reply.read()))["predictions"][0]["label"] == "bright"
        raw.close()
        out, _ = running.process.communicate(timeout=30)
        table = json.loads(out)
        assert running.process.returncode == 0
        assert table["requests"] >= 2 and table["errors"] == 0


def test_an_end_does_not_wait_for_ever(home: Path) -> None:
    with serving(home / "bundle", "--grace", "1") as running:
        raw = socket.create_connection(("127.0.0.1", running.port), timeout=10)
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc")
        time.sleep(0.2)
        begun = time.monotonic()
        code, out = running.stop()
        assert code == 0 and "answered" in out and time.monotonic() - begun < 15
        raw.close()


def test_what_cannot_be_served(home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], server: Server) -> None:
    def ask(*argv: object) -> tuple[int, dict[str, Any]]:
        code = run(["serve", *map(str, argv), "--json"])
        return code, json.loads(capfd.readouterr().out)

    code, table = ask(home / "bundle", "--port", server.port)
    assert code == 6 and "port is in use" in table["message"] and "--port 0" in table["remedy"]
    code, table = ask(home / "bundle", "--host", "192.0.2.1", "--port", 0)
    assert code == 2 and "no address of this machine" in table["message"]
    code, table = ask(home / "bundle", "--host", "no such host", "--port", 0)
    assert code == 2 and "cannot be found" in table["message"]
    assert ask(tmp_path / "absent")[0] == 3
    (tmp_path / "release.pub").write_text("-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n")
    assert ask(home / "bundle", "--state", tmp_path / "absent.npz", "--port", 0)[0] == 2
    code, table = ask(home / "bundle", "--trust", tmp_path / "release.pub", "--port", 0)
    assert code == 3 and "is not signed" in table["message"]
    code, table = ask(home / "bundle", "--prot", 1)
    assert code == 2 and "--port" in table["remedy"]


def test_a_server_that_can_be_reached_says_so_loudly(home: Path) -> None:
    with serving(home / "bundle", "--host", "0.0.0.0") as running:
        (warning,) = [line for line in running.lines if "network" in line]
        assert warning.startswith("WARNING: ") and "no password" in warning
        assert running.request("GET", "/health", headers={"Host": "gateway.example"})[0] == 200


def test_a_failed_verdict_is_named(tmp_path: Path) -> None:
    path = tiny_bundle.build(tmp_path)
    files.write_json(path / "report.json", {"verdict": "fail"})
    with serving(path) as running:
        assert any("verdict on the bundle tiny is fail" in line for line in running.lines)
        assert json.loads(running.request("GET", "/health")[2])["verdict"] == "fail"


def test_without_uvicorn_the_command_that_installs_it(
    home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "uvicorn", None)
    assert run(["serve", str(home / "bundle"), "--json"]) == 4
    assert "[serve]" in json.loads(capfd.readouterr().out)["remedy"]
