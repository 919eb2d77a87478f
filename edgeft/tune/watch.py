"""Who looks on while a run is trained, and may end it: what `edgeft sweep` compares trials by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..session.session import Session


@dataclass(frozen=True)
class Watch:
    """Two functions; what they raise ends the run, which can be resumed afterwards.

    `opened(session)` is called once data and model are read, before anything is trained or written. `epoch(stage,
    epoch, validation)` is called after every epoch of every stage ("float", then each scheme's name) with the metric on
    the validation split; epoch 0 is the stage as it starts.
    """

    opened: Callable[[Session], None]
    epoch: Callable[[str, int, float], None]
