"""An epoch that was interrupted: its state after a step, beside the checkpoint of the epoch before.

It is written when the process gets ctrl-C or SIGTERM, and every few minutes of a long epoch. A resumed run goes on with
the next step and gives the same weights. Where several processes train together they would have to stop at the same
step: there nothing is written, and the epoch starts anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..core import interrupt
from . import checkpoint

#: seconds of an epoch after which its state is written again: what a process that is killed loses at most
EVERY = 300.0
_END = object()


@dataclass(frozen=True)
class Position:
    """Where an epoch stands: finished steps, the sum of their losses, torch's random numbers after them."""

    steps: int
    total: float
    random: dict[str, torch.Tensor]

    @classmethod
    def here(cls, steps: int, total: float, device: torch.device) -> Position:
        random = {"cpu": torch.get_rng_state()}
        if device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(device)
        return cls(steps, total, random)

    def go_on(self, device: torch.device) -> None:
        """Draw the random numbers that the interrupted process would have drawn next."""
        torch.set_rng_state(self.random["cpu"])
        if device.type == "cuda" and "cuda" in self.random:
            torch.cuda.set_rng_state(self.random["cuda"], device)


def path_of(state_file: Path) -> Path:
    """The file beside the checkpoint of a stage."""
    return state_file.with_suffix(".unfinished.pt")


def save(state_file: Path, position: Position, state: dict[str, Any]) -> None:
    """Write the position with what else `load` is to give; atomically. Raises `SystemFailure`."""
    table = {"steps_of_epoch": position.steps, "total": position.total, "random": position.random}
    checkpoint.save(path_of(state_file), {**state, **table})


def load(state_file: Path, key: str, epoch: int) -> tuple[Position, dict[str, Any]] | None:
    """The position in an epoch and the state there; None where none of this epoch and these settings was written.

    Raises `RunError` for a file that cannot be read.
    """
    state = checkpoint.load(path_of(state_file))
    if state is None or state["key"] != key or state["epoch"] != epoch:
        return None
    return Position(state["steps_of_epoch"], state["total"], state["random"]), state


def discard(state_file: Path) -> None:
    """Remove the file of an epoch that is finished."""
    path_of(state_file).unlink(missing_ok=True)


def between_steps(batches: Iterable[Any], write: Callable[[], None]) -> Iterator[Any]:
    """The batches in turn. `write` is called after the step before, where the process is to end or `EVERY` is over.

    Raises `KeyboardInterrupt` where it is to end. To be read within `interrupt.deferred`, so that each step is whole.
    """
    written, iterator = time.monotonic(), iter(batches)
    while True:
        try:
            batch = next(iterator, _END)
        except Exception:
            if not interrupt.asked():
                raise
            batch = _END  # the signal ended the workers that read batches
        if interrupt.asked():
            write()
            interrupt.check()
        if batch is _END:
            return
        if time.monotonic() - written > EVERY:
            write()
            written = time.monotonic()
        yield batch
