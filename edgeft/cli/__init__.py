"""The command line: one file a command, each parses, calls one function and prints.

entry.py     the group, its exit codes and the one place where output leaves the process
frame.py     what every command shares: --json, -v, -q, help, near misses
output.py    exactly one JSON object on stdout, whatever C libraries print there
failures.py  any exception -> exit code and words
outcome.py   reports -> worst verdict, exit code, JSON         words.py   the few lines that report/ does not write
"""

from __future__ import annotations

from .entry import main

__all__ = ["main"]
