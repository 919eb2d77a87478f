"""Sorts the files of long tests, one a line from standard input, into the order of a day (today, or YYYY-MM-DD).

A run that has no time for all of them (`scripts/test --slow-until`) begins with the first ones. The order is that of a
digest of day and name: it is the same all day on every machine, and no file is always last, however seldom tests run.
"""

from __future__ import annotations

import datetime
import hashlib
import sys
from collections.abc import Iterable


def ordered(names: Iterable[str], day: datetime.date) -> list[str]:
    return sorted(names, key=lambda name: hashlib.sha256(f"{day.isoformat()} {name}".encode()).digest())


if __name__ == "__main__":
    today = datetime.datetime.now(datetime.timezone.utc).date()
    day = datetime.date.fromisoformat(sys.argv[1]) if len(sys.argv) > 1 else today
    print("\n".join(ordered(sys.stdin.read().split(), day)))
