"""Runtimes: a package each, whose `BACKEND` is its record (`Backend`); `get(name)` finds it.

    session.py    loads an artifact and runs it; numpy and the runtime are all it imports
    inspect.py    what an artifact holds: integer weights, grids of activations, versions, the share of integer kernels
    exporter.py   writes an artifact of a graph (host)
    loader.py     the runtime's part of a bundle's run.py
    probe.py      the tiny model that `edgeft doctor` runs

A package beside these is known without further ado; installed packages add theirs by the entry-point group
`edgeft.backends`.
"""

from __future__ import annotations

from ..plugins import BACKENDS
from .backend import Backend, BoardInstall, Form
from .values import Grid, IntegerShare, Operation, Session, Tensor, WeightTensor

__all__ = [
    "Backend",
    "BoardInstall",
    "Form",
    "Grid",
    "IntegerShare",
    "Operation",
    "Session",
    "Tensor",
    "WeightTensor",
    "builtin",
    "get",
    "names",
]


def names() -> tuple[str, ...]:
    """Every runtime that is known here, plug-ins included, sorted."""
    return BACKENDS.names()


def builtin() -> tuple[Backend, ...]:
    """The records of edgeft's own runtimes, by name."""
    return tuple(get(name) for name in sorted(BACKENDS.builtin))


def get(name: str) -> Backend:
    """The record of the runtime `name`; raises `UsageError` with the nearest known name, and what loading raises."""
    backend: Backend = BACKENDS.get(name)
    return backend
