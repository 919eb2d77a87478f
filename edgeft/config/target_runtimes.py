"""The runtimes that a bundle for a target may be of."""

from __future__ import annotations

from dataclasses import replace

from ..plugins import BACKENDS
from .target import Target


def runtimes(target: Target) -> tuple[str, ...]:
    """The runtimes that a bundle for the target may be of: the profile's own, then those that its `runtime` lists.

    Where a vendor's compiler makes what runs on the board it is the profile's own alone, whose files it reads.
    """
    listed = () if target.compiler else (name for name in target.runtime if name in BACKENDS)
    return tuple(dict.fromkeys([target.backend, *listed]))


def in_runtime(target: Target, name: str) -> Target:
    """The target with bundles of the runtime `name`, in its first form; unchanged where that is no runtime of it."""
    if name == target.backend or name not in runtimes(target):
        return target

    return replace(target, backend=name, form=BACKENDS.get(name).forms[0].name)
