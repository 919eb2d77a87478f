"""Samples that cannot be used: a few are left out with a note that names the first ones, more stop the run."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.errors import DataError

#: a larger share of samples that cannot be used stops the run
MOST = 0.05
_SHOWN = 5


def judge(
    problems: Sequence[object],
    used: int,
    what: str,
    notes: list[str],
    *,
    where: str,
    remedy: str,
    count: int | None = None,
    part: str = "",
) -> None:
    """Add a note of the samples that are left out; without any there is none.

    `problems` says what is wrong with them, each as "file:line: why"; `count` is their number where only the first one
    is known. `used` is the number of the others, `what` the word for both ("lines"), `part` the split that they belong
    to. Raises `DataError` at `where` with `remedy` where more than 5 % cannot be used, or nothing is left.
    """
    count = len(problems) if count is None else count
    prefix = f"{part}: " if part else ""
    if not used and not count:
        raise DataError(f"{prefix}holds no {what}", where=where, remedy=remedy)
    if not count:
        return

    total = used + count
    listed = "; ".join(map(str, problems[:_SHOWN]))
    if count > len(problems):
        named = f", the first: {listed}"
    else:
        named = f": {listed}" + (f"; and {count - _SHOWN} more" if count > _SHOWN else "")

    message = f"{prefix}{count} of {total} {what} cannot be used{named}"
    if not used or count > MOST * total:
        raise DataError(message, where=where, remedy=f"{remedy}; up to {MOST:.0%} are left out with a warning")

    notes.append(f"{message}; they are left out")
