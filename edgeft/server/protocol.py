"""HTTP/1.1 as uvicorn speaks it, and a limit on what uvicorn waits for without end: the headers of a request.

A client that opens connections and sends its headers a byte at a time (slowloris), or nothing, otherwise holds them
for ever: the time between two requests is bounded by uvicorn, that of a body by the application. Imports uvicorn.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

#: seconds in which the headers of a request must have come
HEADER_SECONDS = 10.0


class Protocol(H11Protocol):
    """A connection that is closed where the headers of its next request take too long."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_headers(HEADER_SECONDS)

    def handle_events(self) -> None:
        super().handle_events()
        if self._in_progress():
            self._forget()

    def on_response_complete(self) -> None:
        # armed first: what a client sent ahead is taken up in there, and ends the waiting
        self._await_headers(self.timeout_keep_alive + HEADER_SECONDS)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _in_progress(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_headers(self, seconds: float) -> None:
        self._forget()
        self._late = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _forget(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
