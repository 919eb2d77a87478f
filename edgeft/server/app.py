"""The ASGI application: routes, limits and status codes. It awaits; the model works in a thread of its own.

    GET  /health    200 with what is served
    GET  /metrics   Prometheus
    POST /predict   what `edgeft predict --json` prints for the inputs of the body

Bad inputs are 4xx with the same JSON object that the command prints, what the server cannot do is 5xx, and a full queue
is 503 with Retry-After before any body is read.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..core import limits, strict_json
from ..core.errors import DataError, EdgeftError, InternalError, Missing, UsageError, nearest
from . import body, metrics
from .body import Refused
from .engine import Engine

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
#: the methods of each path
ROUTES = {"/health": ("GET", "HEAD"), "/metrics": ("GET", "HEAD"), "/predict": ("POST",)}
#: seconds in which a body must have come
BODY_SECONDS = 30.0
_JSON = "application/json"
#: a client that left before its answer (nginx's number; nobody receives it)
_CLIENT_LEFT = 499


@dataclass(frozen=True)
class Answer:
    """A response: status, body, and its headers beside the length."""

    status: int
    content: bytes
    kind: str = _JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """`body` bytes of a request at most, `queue` requests that may wait beside the one in work; `hosts` are the names
    that the Host header may have, None = any. A request whose work takes more than `seconds` ends the process; 0: no
    limit."""

    body: int
    queue: int
    hosts: frozenset[str] | None = None
    seconds: int = 0


class App:
    """The application of one bundle. `about` is what /health says beside its status; `say` takes a line a request."""

    def __init__(
        self,
        engine: Engine,
        worker: ThreadPoolExecutor,
        bounds: Limits,
        about: Mapping[str, Any],
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._engine, self._worker, self._limits, self._about, self._say = engine, worker, bounds, dict(about), say
        labels = ("version", "name", "task", "target", "backend", "digest")
        self.metrics = metrics.Metrics({key: str(about[key]) for key in labels if key in about}, bounds.queue)
        self._in_progress, self._started = 0, time.monotonic()

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """One request, as ASGI 3 has it."""
        if scope["type"] != "http":
            raise InternalError(f"no such protocol here: {scope['type']}")

        begun, path, method = time.monotonic(), str(scope["path"]), str(scope["method"])
        headers = {name.decode("latin-1").lower(): value.decode("utf-8", "replace") for name, value in scope["headers"]}
        try:
            self._refuse_foreign(headers)
            _refuse_unrouted(path, method)
            reply = await self._predict(scope, headers, receive) if path == "/predict" else self._told(path)
        except Refused as refused:
            reply = _error(refused.status, refused.as_dict(), refused.headers)
        except Exception as error:
            reply = _failed(error)

        seconds = time.monotonic() - begun
        if path == "/predict" and method == "POST":
            self.metrics.answering.add(seconds)
            if reply.status >= 400:
                self.metrics.errors[_kind(reply)] += 1

        known = path if path in ROUTES else "other"
        verb = method if method in ("GET", "HEAD", "POST") else "other"
        self.metrics.requests[known, verb, reply.status] += 1
        self._say(f"{verb} {known} {reply.status} {1e3 * seconds:.1f} ms")
        await _respond(send, reply, with_body=method != "HEAD")

    def _refuse_foreign(self, headers: Mapping[str, str]) -> None:
        """Refuse another host name than ours: a page in a browser could otherwise reach a server of this machine by a
        name of its own that it points here (DNS rebinding)."""
        host = _host_name(headers.get("host", ""))
        if self._limits.hosts is None or host in self._limits.hosts or _is_loopback(host):
            return
        remedy = "call it by 127.0.0.1 or localhost, or start the server with --allow-host NAME"
        raise Refused(421, f"This server is not called {host[:80]!r}", where="Host", remedy=remedy)

    def _told(self, path: str) -> Answer:
        if path == "/metrics":
            return Answer(200, self.metrics.text(self._in_progress).encode(), metrics.CONTENT_TYPE)
        seconds = round(time.monotonic() - self._started, 3)
        status = {"status": "ok", **self._about, "in_progress": self._in_progress, "uptime_s": seconds}
        return Answer(200, _dumps(status))

    async def _predict(self, scope: Mapping[str, Any], headers: Mapping[str, str], receive: Receive) -> Answer:
        if self._in_progress > self._limits.queue:
            raise Refused(
                503,
                f"The queue is full: {self._in_progress} requests are in progress",
                remedy="try again, or start the server with a larger --queue",
                headers={"retry-after": "1", "connection": "close"},
            )

        self._in_progress += 1
        try:
            content = await self._received(headers, receive)
            inputs = body.inputs(content, headers, scope["query_string"].decode("latin-1"))
            return await self._answered(inputs, receive)
        finally:
            self._in_progress -= 1

    async def _received(self, headers: Mapping[str, str], receive: Receive) -> bytes:
        """The body; raises `Refused` (413) beyond the limit, before it is read where its length is said, and (408) for
        one that takes too long."""
        most = self._limits.body
        if int(headers.get("content-length", "0")) > most:  # the server has checked that it is a number
            raise _too_large(most)

        content = bytearray()

        async def read() -> None:
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused(_CLIENT_LEFT, "The client left before its request was complete")
                content.extend(message.get("body", b""))
                more = message.get("more_body", False)
                if len(content) > most:
                    raise _too_large(most)

        try:
            await asyncio.wait_for(read(), BODY_SECONDS)
        except asyncio.TimeoutError as error:
            message = f"The body did not come within {BODY_SECONDS:g} s"
            raise Refused(408, message, remedy="send it again", headers={"connection": "close"}) from error

        return bytes(content)

    async def _answered(self, inputs: list[body.Input], receive: Receive) -> Answer:
        """The answer of the model; work that has not begun is dropped where the client leaves."""
        job = asyncio.get_running_loop().run_in_executor(self._worker, self._work, inputs)
        gone = asyncio.ensure_future(_disconnected(receive))
        either: list[asyncio.Future[Any]] = [job, gone]

        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not job.done() and job.cancel():
                raise Refused(_CLIENT_LEFT, "The client left before its answer")
            payload, seconds = await job
        finally:
            gone.cancel()

        self.metrics.predicting.add(seconds)
        return Answer(200, payload)

    def _work(self, inputs: list[body.Input]) -> tuple[bytes, float]:
        begun = time.monotonic()
        limits.alarm(self._limits.seconds)
        try:
            payload = _dumps(self._engine.answer(inputs))
        finally:
            limits.alarm(0)
        return payload, time.monotonic() - begun


def _refuse_unrouted(path: str, method: str) -> None:
    if path not in ROUTES:
        raise Refused(404, f"There is no {path[:80]!r} here", where="path", remedy=nearest(path[:80], ROUTES))
    if method not in ROUTES[path]:
        allowed = ", ".join(ROUTES[path])
        message = f"{path} takes no {method[:20]}"
        raise Refused(405, message, where="method", remedy=f"use {allowed}", headers={"allow": allowed})


def _too_large(most: int) -> Refused:
    remedy = "send a smaller file, or start the server with a larger --max-body"
    headers = {"connection": "close"}
    return Refused(413, f"The body has more than {most} bytes", where="body", remedy=remedy, headers=headers)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _failed(error: Exception) -> Answer:
    """The answer to an error of ours: what was sent is 4xx, what is missing or broken here 5xx."""
    if isinstance(error, DataError):
        return _error(422, error.as_dict())
    if isinstance(error, UsageError):
        return _error(400, error.as_dict())
    if isinstance(error, Missing):
        return _error(501, error.as_dict())
    if isinstance(error, EdgeftError):
        return _error(500, error.as_dict())
    if isinstance(error, MemoryError):
        return _error(500, InternalError("out of memory", remedy="send a smaller input").as_dict())

    return _error(500, InternalError(f"unexpected {type(error).__name__}: {error}").as_dict())


def _error(status: int, table: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, _dumps(table), headers=headers or {})


def _kind(reply: Answer) -> str:
    kind: str = json.loads(reply.content)["error"]
    return kind


def _dumps(table: Mapping[str, Any]) -> bytes:
    return strict_json.dumps(table).encode() + b"\n"


async def _respond(send: Send, reply: Answer, *, with_body: bool) -> None:
    headers = {"content-type": reply.kind, "content-length": str(len(reply.content)), "cache-control": "no-store"}
    raw = [(name.encode(), value.encode()) for name, value in {**headers, **reply.headers}.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": raw})
    await send({"type": "http.response.body", "body": reply.content if with_body else b""})


def _host_name(header: str) -> str:
    """The host of a Host header, without its port and brackets."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return header


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
