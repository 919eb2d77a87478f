"""The end of the line that asks: a worker behind any command line, with time limits and a clean end."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..core.children import end_group
from ..core.errors import EdgeftError, SystemFailure, from_dict
from .call import stopped
from .device import WORKER, Here

#: how a worker is started with this interpreter
HERE = tuple(Here().argv(WORKER))
#: seconds to wait for an answer beside what the request itself takes
PATIENCE = 300.0


class LinkLost(SystemFailure):
    """A connection that broke while it was used: what was under way may be begun again."""


class Link:
    """A running worker. Use it as a context manager, or call `close`: the process never outlives it."""

    def __init__(
        self,
        command: Sequence[str] = HERE,
        *,
        name: str = "",
        explain: Callable[[str], EdgeftError] | None = None,
    ) -> None:
        """Start it; `name` is what messages call it, `explain` makes an error of what ssh said.

        Raises `SystemFailure` where the system cannot start it.
        """
        self.name = name or command[0]
        self._explain = explain
        self._rest = b""
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the link)

        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                start_new_session=True,  # ctrl-C is ours to handle: we close the link
            )
        except OSError as error:
            self._complaints.close()
            raise SystemFailure(f"could not start: {error.strerror or error}", where=self.name) from error

        self._selector = selectors.DefaultSelector()
        assert self._process.stdout is not None
        self._selector.register(self._process.stdout, selectors.EVENT_READ)

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, do: str, **words: Any) -> None:
        """Ask without waiting: several workers then work on their answers side by side."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **words}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return  # the worker has ended; `receive` reports that, or the line that the worker wrote before
        except OSError as error:
            raise self._lost() from error

    def receive(self, patience: float = PATIENCE) -> dict[str, Any]:
        """The next answer. Raises what the worker met, `SystemFailure` where it hangs, and what `lost` says of it."""
        until = time.monotonic() + patience
        while b"\n" not in self._rest:
            if not self._selector.select(max(0.0, until - time.monotonic())):
                self.close(kill=True)
                raise SystemFailure(f"no answer for {patience:.0f} s; it was ended", where=self.name)

            assert self._process.stdout is not None
            piece = os.read(self._process.stdout.fileno(), 1 << 16)
            if not piece:
                raise self._lost()
            self._rest += piece

        line, _, self._rest = self._rest.partition(b"\n")
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None

        if not isinstance(answer, dict):
            raise SystemFailure(f"no answer of a worker: {line[:200]!r}", where=self.name)
        if "error" in answer:
            raise from_dict(answer["error"])

        return answer

    def ask(self, do: str, *, patience: float = PATIENCE, **words: Any) -> dict[str, Any]:
        self.send(do, **words)
        return self.receive(patience)

    def close(self, *, kill: bool = False) -> None:
        """End the worker: by the end of its input, and by force where that is not enough."""
        process = self._process
        if process.poll() is None:
            with contextlib.suppress(OSError):
                assert process.stdin is not None
                process.stdin.close()

            try:
                process.wait(0.0 if kill else 3.0)
            except subprocess.TimeoutExpired:
                end_group(process)
                process.wait()

        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

        with contextlib.suppress(OSError, KeyError, ValueError):
            self._selector.close()

        self._complaints.close()

    def _lost(self) -> EdgeftError:
        """What to say of a worker that ended by itself."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5.0)

        code = self._process.poll()
        self._complaints.seek(0)
        complaint = self._complaints.read()[-4000:].decode(errors="replace")
        lines = complaint.strip().splitlines()
        last = lines[-1] if lines else "it said nothing"
        self.close(kill=True)

        if code == 255 and self._explain:  # ssh itself failed
            return self._explain(complaint) if complaint.strip() else LinkLost("the connection broke", where=self.name)
        if code is not None and (code < 0 or code > 128):  # a shell reports a signal as 128 + its number
            return stopped(-code if code < 0 else code - 128, self.name)

        return SystemFailure(f"the worker ended: {last}", where=self.name)
