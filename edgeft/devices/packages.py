"""What pip installs on a board for each runtime."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .. import backends
from ..backends import Backend, BoardInstall
from ..config.target import Target
from ..core.errors import UsageError, nearest
from ..plugins import TASKS

#: of each board: numpy and click are what edgeft imports, pillow reads pictures
ALWAYS = ("numpy", "click>=8.1", "pillow")


def bare(requirement: str) -> str:
    """The distribution's name of a requirement."""
    return re.split("[<>=!~]", requirement)[0]


def extras() -> dict[str, tuple[str, ...]]:
    """What reading raw samples and the metrics of tasks take beside that, by the name of the pip extra."""
    packages: dict[str, tuple[str, ...]] = {}
    for task in map(TASKS.get, TASKS.names()):
        if task.extra:
            packages[task.extra] = tuple(dict.fromkeys((*packages.get(task.extra, ()), *task.packages)))

    return packages


def installs() -> dict[str, tuple[Backend, BoardInstall]]:
    """Every install by its name, with the runtime that it brings."""
    records = [backends.get(name) for name in backends.names()]
    return {install.name: (backend, install) for backend in records for install in backend.boards}


def split(runtime: str) -> tuple[str, str]:
    """(name, version or "") of `name` or `name==version`; raises `UsageError` for another runtime."""
    name, _, version = runtime.partition("==")
    known = installs()
    if name not in known:
        raise UsageError(f"{name!r} is not a runtime", where="--runtime", remedy=nearest(name, known))

    return name, version


def for_runtime(runtimes: Sequence[str], extra_names: Sequence[str] = ()) -> list[str]:
    """Requirements for all of `runtimes`, what every worker imports, and of extras by name (keys of `extras()`)."""
    names: list[str] = []
    known = extras() if extra_names else {}
    for extra in extra_names:
        if extra not in known:
            raise UsageError(f"{extra!r} is not an extra", where="--extra", remedy=nearest(extra, known))
        names += [package for package in known[extra] if package not in names]

    for runtime in runtimes:
        name, version = split(runtime)
        first, *rest = installs()[name][1].requirements
        names += [f"{first.partition('==')[0]}=={version}" if version else first, *rest]

    named = {bare(package) for package in names}
    return [*(package for package in ALWAYS if bare(package) not in named), *names]


def backend(runtime: str) -> str:
    """The backend of a runtime's name."""
    return installs()[split(runtime)[0]][0].name


def of_target(target: Target, isa: str) -> str:
    """What is installed for a target on a board of that instruction set when nobody names a runtime.

    Raises `UsageError` where pip has nothing for it.
    """
    install = backends.get(target.backend).board_install(isa)
    if install is None:
        raise UsageError(
            f"pip installs nothing for the runtime {target.backend!r} on a board",
            where=target.name,
            remedy="--python with an interpreter of the board that has it",
        )

    return install.name
