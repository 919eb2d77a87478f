"""The device that a name stands for: this machine, a board over ssh, or an emulated board."""

from __future__ import annotations

from collections.abc import Callable

from ..core.errors import UsageError
from .device import Device, Here


def get(name: str | None, say: Callable[[str], None] = lambda text: None) -> Device:
    """The device called `name`: None or "host" (this machine), `ssh://[user@]host[:port][/folder]`, `emulate:TARGET`.

    Raises `UsageError` for another form, `Missing` for a device that was never set up.
    """
    if name in (None, "", "host", "local"):
        return Here()

    assert name is not None
    if name.startswith("ssh://"):
        from .ssh import Ssh

        return Ssh.known(name, say)

    if name.startswith("emulate:"):
        from .emulate import Emulated

        return Emulated.known(name)

    raise UsageError(
        f"{name!r} is not a device", where="--device", remedy="host, ssh://user@host[:port], or emulate:TARGET"
    )
