"""Vendors' compilers: a file each, whose `COMPILER` is its record (`Compiler`); `get(name)` finds it.

    compiler.py      the record, and what a compilation came to
    environment.py   the environment that a compiler is installed in: made, found, removed
    call.py          one function of a compiler's file, run by the interpreter of its environment
    compilation.py   an artifact compiled, its coverage, and its outputs in the simulator
    vela.py ...      the compilers

A target profile names its compiler (`compiler`) and the compiler's settings (`[compile]`). Installed packages add
compilers by the entry-point group `edgeft.compilers`.
"""

from __future__ import annotations

from ..plugins import COMPILERS
from .compiler import Compilation, Compiler, Operation, Refusal

#: what the name of a compiler begins with where devices are named
PREFIX = "compile:"

__all__ = ["PREFIX", "Compilation", "Compiler", "Operation", "Refusal", "get", "names", "of_target"]


def names() -> tuple[str, ...]:
    """Every compiler that is known here, plug-ins included, sorted."""
    return COMPILERS.names()


def get(name: str) -> Compiler:
    """The record of the compiler `name`; raises `UsageError` with the nearest known name, and what loading raises."""
    record: Compiler = COMPILERS.get(name)
    return record


def of_target(compiler: str) -> Compiler | None:
    """The record of the compiler that a profile names; None where edgeft cannot run it."""
    return get(compiler) if compiler in COMPILERS else None
