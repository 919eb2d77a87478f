"""`edgeft serve`: a bundle behind HTTP."""

from __future__ import annotations

from pathlib import Path

import click

from .frame import PATH, Console, Outcome, trust_option
from .frame import command as _command


@_command(
    "serve",
    examples="""
    edgeft serve bundles/rpi5
    curl --data-binary @photo.png "http://127.0.0.1:8000/predict?name=photo.png"
    curl -F file=@one.png -F file=@two.png http://127.0.0.1:8000/predict
    curl http://127.0.0.1:8000/health
    """,
)
@click.argument("bundle", type=PATH)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; others can be reached.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free port.")
@click.option("--threads", type=click.IntRange(1, 1024), help="Threads of the runtime.  [default: as exported]")
@click.option(
    "--state", type=click.Path(path_type=Path), help="State file of a personalization.  [default: state.npz in BUNDLE]"
)
@click.option(
    "--max-body", type=click.IntRange(1, 4096), default=8, show_default=True, metavar="MIB", help="Largest request."
)
@click.option(
    "--queue", type=click.IntRange(0, 10_000), default=8, show_default=True, help="Requests that wait; more get 503."
)
@click.option(
    "--timeout",
    type=click.IntRange(1, 86_400),
    default=120,
    show_default=True,
    help="Seconds for a request's inputs and model; one that takes longer ends the server.",
)
@click.option(
    "--grace", type=click.FloatRange(1, 3600), default=10, show_default=True, help="Seconds to finish at the end."
)
@click.option("--allow-host", multiple=True, metavar="NAME", help="Another name that clients call this machine by.")
@trust_option
def command(
    console: Console,
    bundle: Path,
    host: str,
    port: int,
    threads: int | None,
    state: Path | None,
    max_body: int,
    queue: int,
    timeout: int,
    grace: float,
    allow_host: tuple[str, ...],
    trust: Path | None,
) -> Outcome:
    """Answer POST /predict with the predictions of BUNDLE, until SIGTERM or ctrl-C.

    GET /health and GET /metrics (Prometheus) tell how it does. There is no login: only this machine can reach it unless
    --host says otherwise.
    """
    from ..server import run

    options = run.Options(host, port, threads, state, max_body << 20, queue, timeout, grace, allow_host, trust)
    log = console.say if console.verbose else lambda text: None
    result = run.serve(bundle, options, say=console.say, log=log)
    return Outcome(result, f"answered {result['requests']} requests, {result['errors']} of them with an error")
