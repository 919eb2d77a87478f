"""A place where bundles run: how Python is started there, and how files get there. This machine is the simplest one."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ..core import interpreter

#: code that a device's Python is started with to serve `link.Link`
WORKER = "from edgeft.devices.worker import main; main()"
#: code that ends a process with the end of its stdin: whoever started it over a line that broke leaves no orphan
LEASH = "from edgeft.devices.worker import leash; leash()\n"


class Device(Protocol):
    """`name` is what the user called it, `where` what a report calls figures from it: host, device or emulated."""

    @property
    def name(self) -> str: ...

    @property
    def where(self) -> str: ...

    @property
    def timed(self) -> bool:
        """Whether time there means anything."""
        ...

    def argv(self, code: str, *args: str) -> list[str]:
        """The command that runs Python code there, `edgeft` importable, with `args` in sys.argv[1:]."""
        ...

    def place(self, bundle: Path) -> str:
        """The folder of a bundle there, carried over by content where it is not there yet."""
        ...

    def carry(self, path: Path) -> str:
        """The path of a file or folder of data there, carried over by content where it is not there yet."""
        ...


class Here:
    """This machine and this interpreter."""

    name, where, timed = "host", "host", True

    def argv(self, code: str, *args: str) -> list[str]:
        return interpreter.here(code, *args)

    def place(self, bundle: Path) -> str:
        return str(bundle)

    def carry(self, path: Path) -> str:
        return str(path)
