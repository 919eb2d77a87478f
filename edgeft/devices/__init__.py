"""Where a bundle runs: processes that are started, spoken to and ended, on this machine or another.

worker.py   the process that runs one artifact: JSON lines in, JSON lines out (the board's half)
link.py     the other end: starts a worker by any command line, asks, waits, ends it
arms.py     two workers as the two sides of `measure.pairs`, on the cores that are least busy
heat.py     temperatures and throttle bits of the board

Nothing here knows torch; a worker imports numpy, one runtime and what the bundle's task reads.
"""

from __future__ import annotations
