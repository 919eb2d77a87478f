"""A model hub on the loopback that the tests serve: the HTTP paths that the package huggingface_hub asks for.

Repositories of files on disk or in memory; large files are redirected to a store with range requests, as the hub does
it with LFS. A repository may be private or gated, transfers may break off, contents may be other than stated.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

#: bytes from which on a file is a large one
LARGE = 10_000


@functools.cache
def digests_of(file: bytes | Path) -> tuple[str, str, int]:
    """SHA-256, git's own digest, and the number of bytes."""
    content = content_of(file)
    git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return hashlib.sha256(content).hexdigest(), git, len(content)


def content_of(file: bytes | Path) -> bytes:
    return file.read_bytes() if isinstance(file, Path) else file


@dataclass
class Repository:
    """`commits` has the files of each commit, `refs` the commits of branches and tags; `token` reads a private one."""

    name: str
    commits: dict[str, dict[str, bytes | Path]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    token: str = ""
    gated: bool = False

    def commit(self, files: Mapping[str, bytes | Path], *names: str) -> str:
        """Add a commit with these files, which the branches or tags `names` then mean; returns its hash."""
        parts = [f"{name}:{digests_of(file)[0]}" for name, file in sorted(files.items())]
        commit = hashlib.sha1("\n".join([self.name, *parts]).encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.refs.update(dict.fromkeys(names, commit))
        return commit


class Hub:
    """The server. `requests` are (method, path, range); `truncate` maps a digest to the bytes after which each of the
    next transfers breaks off; `replaced` maps a digest to other content; `down` is a status for everything."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.agents: set[str] = set()
        self.truncate: dict[str, list[int]] = {}
        self.replaced: dict[str, bytes] = {}
        self.down = 0
        self._stored: dict[str, bytes | Path] = {}
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        #: another host, as the hub's store is: the client follows no redirect to it before it has read the headers
        self.store = f"http://localhost:{self.server.server_address[1]}/store"

    def repository(self, name: str, files: Mapping[str, bytes | Path], *refs: str, **options: Any) -> Repository:
        """A new repository with one commit, which "main" (or `refs`) means."""
        repository = self.repositories[name] = Repository(name, **options)
        repository.commit(files, *(refs or ("main",)))
        return repository

    def stored(self, file: bytes | Path) -> str:
        """The digest under which the store has a large file."""
        digest = digests_of(file)[0]
        self._stored[digest] = file
        return digest

    def published(self, name: str, file: bytes | Path) -> str:
        """The address of a file that the store has under a name; `truncate` and `replaced` know it by that name."""
        self._stored[name] = file
        return f"{self.url}/store/{name}"

    def asked(self, method: str, part: str) -> list[tuple[str, str, str]]:
        return [request for request in self.requests if request[0] == method and part in request[1]]


@contextlib.contextmanager
def running() -> Iterator[Hub]:
    hub = Hub()
    thread = threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()
        thread.join()


def use(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client of this process ask `hub`, with an empty cache in `folder` and no token.

    It reads its environment (HF_ENDPOINT, HF_HUB_CACHE, ...) once, when it is imported.
    """
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_URL_HOSTS", frozenset({"127.0.0.1"}))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        url = urllib.parse.urlsplit(self.path)
        path, query = urllib.parse.unquote(url.path), dict(urllib.parse.parse_qsl(url.query))
        self.hub.requests.append((self.command, path, self.headers.get("Range", "")))
        self.hub.agents.add(self.headers.get("User-Agent", ""))
        if self.hub.down:
            return self.send(self.hub.down, b"", {}, body)
        if path.startswith("/store/"):
            return self.send_stored(path.removeprefix("/store/"), body)
        if path == "/api/models":
            return self.send_json(200, self.search(query), body)
        if path.startswith("/api/models/"):
            return self.api(path.removeprefix("/api/models/"), body)
        return self.resolve(path.lstrip("/"), body)

    def send(self, status: int, content: bytes, headers: Mapping[str, str], body: bool) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def send_json(self, status: int, value: Any, body: bool, **headers: str) -> None:
        self.send(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers}, body)

    def refuse(self, status: int, code: str, body: bool) -> None:
        """As the hub does it: the code in a header."""
        self.send_json(status, {"error": code}, body, **{"X-Error-Code": code, "X-Error-Message": code})

    def search(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        names = [name for name, repository in self.hub.repositories.items() if not repository.token]
        if "author" in query:
            names = [name for name in names if name.startswith(f"{query['author']}/")]
        if "search" in query:
            names = [name for name in names if query["search"] in name]
        return [{"id": name, "modelId": name, "private": False, "tags": []} for name in names]

    def allowed(self, name: str, body: bool) -> Repository | None:
        """The repository, or None where the refusal was sent: who may not read one is told as if there were none."""
        repository = self.hub.repositories.get(name)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if repository is None or (repository.token and token != repository.token and not repository.gated):
            self.refuse(404 if token else 401, "RepoNotFound", body)
            return None
        return repository

    def commit_of(self, repository: Repository, revision: str, body: bool) -> str:
        commit = repository.refs.get(revision, revision)
        if commit in repository.commits:
            return commit
        self.refuse(404, "RevisionNotFound", body)
        return ""

    def api(self, rest: str, body: bool) -> None:
        for kind in ("/revision/", "/tree/", "/refs"):
            name, separator, revision = rest.partition(kind)
            if separator:
                break
        repository = self.allowed(name, body)
        if repository is None:
            return None
        if kind == "/refs":
            refs = [
                {"name": ref, "ref": f"refs/heads/{ref}", "targetCommit": commit}
                for ref, commit in repository.refs.items()
            ]
            return self.send_json(200, {"branches": refs, "tags": [], "converts": []}, body)

        commit = self.commit_of(repository, revision, body)
        if not commit:
            return None
        files = repository.commits[commit]
        if kind == "/tree/":
            return self.send_json(200, [self.entry(name, file) for name, file in files.items()], body)
        siblings = [{"rfilename": name} for name in files]
        info = {"id": name, "modelId": name, "sha": commit, "siblings": siblings, "tags": [], "private": False}
        return self.send_json(200, info, body)

    def entry(self, name: str, file: bytes | Path) -> dict[str, Any]:
        _, git, size = digests_of(file)
        entry: dict[str, Any] = {"type": "file", "path": name, "size": size, "oid": git}
        if size >= LARGE:
            entry["lfs"] = {"oid": self.hub.stored(file), "size": size, "pointerSize": 134}
        return entry

    def resolve(self, rest: str, body: bool) -> None:
        name, _, rest = rest.partition("/resolve/")
        repository = self.allowed(name, body)
        if repository is None:
            return None
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if repository.gated and token != repository.token:
            return self.refuse(403 if token else 401, "GatedRepo", body)
        revision, _, file_name = rest.partition("/")
        commit = self.commit_of(repository, revision, body)
        if not commit:
            return None
        file = repository.commits[commit].get(file_name)
        if file is None:
            return self.refuse(404, "EntryNotFound", body)

        entry = self.entry(file_name, file)
        headers = {"X-Repo-Commit": commit}
        if "lfs" in entry:
            digest = entry["lfs"]["oid"]
            headers |= {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(entry["size"])}
            return self.send(302, b"", {**headers, "Location": f"{self.hub.store}/{digest}"}, body)
        return self.send(200, content_of(file), {**headers, "ETag": f'"{entry["oid"]}"'}, body)

    def send_stored(self, digest: str, body: bool) -> None:
        content = self.hub.replaced.get(digest) or content_of(self.hub._stored[digest])
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        rest = content[start:]
        headers = {"ETag": f'"{digest}"', "Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        breaks = self.hub.truncate.get(digest)
        if not breaks or not body:
            return self.send(206 if start else 200, rest, headers, body)

        self.send_response(206 if start else 200)
        for key, value in {**headers, "Content-Length": str(len(rest)), "Connection": "close"}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(rest[: breaks.pop(0)])
        self.close_connection = True
        return None
