"""A server from its socket to its orderly end: SIGTERM and ctrl-C finish the requests in progress."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._version import __version__
from ..bundle import reader
from ..bundle.reader import Bundle
from ..core import limits
from ..core.errors import SystemFailure, UsageError, need
from ..trust import signature
from ..verify import isolated
from .app import App, Limits
from .engine import Engine

Say = Callable[[str], None]
#: connections beside those of requests in progress: health checks, metrics, clients between two requests
_MORE_CONNECTIONS = 64
#: seconds that a connection may be idle
_IDLE_SECONDS = 15


@dataclass(frozen=True)
class Options:
    """How a bundle is served.

    `port` 0 takes a free one, `max_body` is in bytes, `timeout` the seconds that the model may take for a request (one
    that takes longer ends the process), `grace` the seconds that requests in progress have at the end,
    `allow_hosts` further names by which clients call this server, `trust` as `edgeft.load` takes it.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    threads: int | None = None
    state: Path | None = None
    max_body: int = 8 << 20
    queue: int = 8
    timeout: int = 120
    grace: float = 10.0
    allow_hosts: Sequence[str] = ()
    trust: Path | None = None


def serve(path: Path, options: Options, *, say: Say, log: Say) -> dict[str, Any]:
    """Answer requests until SIGTERM or ctrl-C; {"address", "requests", "errors"} of what was answered.

    `path` is the bundle's folder, as answers call it; `say` takes what a user has to know, `log` a line a request.
    Raises `Missing` without uvicorn or the runtime, `BundleError` for a bundle that cannot be used, `UsageError` for a
    host that is no address of this machine, `SystemFailure` for a port that is in use.
    """
    uvicorn = need("uvicorn", "serve")
    from .protocol import Protocol

    bundle = reader.open(path)
    origin = signature.check(bundle, options.trust)
    verdict = (reader.recorded_report(bundle.path) or {}).get("verdict")

    with bound(options) as listener, ThreadPoolExecutor(1, thread_name_prefix="edgeft-model") as worker:
        engine = Engine(bundle, str(path), state=options.state, threads=options.threads)
        _limit_memory(bundle)
        worker.submit(engine.open).result()
        limits.alarm(0)

        address, local = _address(listener), _is_local(listener)
        about: dict[str, Any] = {"version": __version__, "name": bundle.name, "task": bundle.task.name}
        about |= {"target": bundle.target, "backend": bundle.backend, "digest": bundle.digest}
        about |= {"verdict": verdict, "trust": origin["status"]}
        names = frozenset(map(str.lower, options.allow_hosts)) if local else None
        bounds = Limits(options.max_body, options.queue, names, options.timeout)
        app = App(engine, worker, bounds, about, log)
        for warning in _warnings(bundle, verdict, address, local):
            say(warning)
        config = uvicorn.Config(
            app,
            lifespan="off",
            interface="asgi3",
            http=Protocol,
            ws="none",
            loop="asyncio",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=options.queue + 1 + _MORE_CONNECTIONS,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=max(1, round(options.grace)),
        )
        listener.listen(128)
        say(f"serving {bundle.name} ({bundle.task.name}, {bundle.target}) on {address}: /predict, /health, /metrics")
        with _signals_left_to_the_server():
            asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))

    counts = app.metrics.requests
    return {
        "address": address,
        "requests": sum(counts.values()),
        "errors": sum(count for (_, _, status), count in counts.items() if status >= 400),
    }


@contextlib.contextmanager
def bound(options: Options) -> Iterator[socket.socket]:
    """A socket that is bound and does not listen yet."""
    where = f"{options.host}:{options.port}"
    try:
        family, kind, number, _, place = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        problem = f"the host cannot be found ({error})"
        raise UsageError(problem, where=f"--host {options.host}", remedy="try 127.0.0.1") from error

    with socket.socket(family, kind, number) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(place)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                remedy = "try 127.0.0.1, or 0.0.0.0 for all"
                flag = f"--host {options.host}"
                raise UsageError("is no address of this machine", where=flag, remedy=remedy) from error
            in_use = error.errno == errno.EADDRINUSE
            raise SystemFailure(
                "the port is in use" if in_use else f"the port cannot be taken ({error.strerror})",
                where=where,
                remedy="--port 0 takes a free one, or name another port" if in_use else "take a port from 1024 on",
            ) from error
        yield listener


def _limit_memory(bundle: Bundle) -> None:
    """What a model or an input asks for beyond the limit is refused to this process; `SECONDS` to load the model."""
    limits.apply(limits.memory(isolated.model_bytes(bundle)), limits.SECONDS)


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_local(listener: socket.socket) -> bool:
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def _warnings(bundle: Bundle, verdict: Any, address: str, local: bool) -> Iterator[str]:
    if not local:
        yield (
            f"WARNING: {address} can be reached from the network. edgeft serve asks for no password and encrypts "
            "nothing: whoever reaches the port can send inputs and read predictions. Put a proxy with TLS and a login "
            "in front of it, or leave out --host."
        )
    if verdict is None:
        yield f"WARNING: the bundle {bundle.name} has no report: nothing says that its model is right."
    elif verdict != "pass":
        yield f"WARNING: the verdict on the bundle {bundle.name} is {verdict}: see its report.html."


@contextlib.contextmanager
def _signals_left_to_the_server() -> Iterator[None]:
    """uvicorn answers SIGTERM and SIGINT, and raises them once more when it has ended: then nothing happens."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, frame: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
