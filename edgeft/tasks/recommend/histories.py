"""What every user has, in a file of the bundle: it is not recommended again unless that is asked for.

The file is JSON, {"items": a list of item numbers for each user, in the order of the users' numbers}. It holds what
users did; `data.histories = false` leaves it out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...core.errors import BundleError

#: the name of the file among those of preprocessing
KEY = "histories"
#: more interactions than this are no file for a board: it is about 40 MB
MOST = 5_000_000
_READ: dict[str, tuple[int, list[Any]]] = {}


def learn(data: Any, dataset: Any, say: Callable[[str], None] = lambda text: None) -> dict[str, bytes]:
    """{"histories": the bytes of the file} of a data set of ratings; {} where there is none or it is too large."""
    known = getattr(dataset.split("train").pool, "histories", None)
    if known is None or not data.options.get("histories", True):
        return {}

    if len(known.items) > MOST:
        say(f"the bundle will not hold what users have: {len(known.items)} interactions are more than {MOST}")
        return {}

    lists = [sorted(known.all(user).tolist()) for user in range(len(known))]
    return {KEY: json.dumps({"items": lists}, separators=(",", ":")).encode()}


def of(spec: Mapping[str, Any], user: int, items: int) -> list[int]:
    """Numbers below `items` of what user number `user` has; [] where the bundle does not hold it.

    Raises `BundleError` for a file that is not of this form.
    """
    path = (spec.get("files") or {}).get(KEY)
    if path is None:
        return []

    lists = _lists(Path(path))
    if user >= len(lists):  # a user that was added on this device
        return []

    numbers = lists[user]
    if not isinstance(numbers, list) or not all(type(k) is int and 0 <= k < items for k in numbers):
        raise BundleError(f"the items of user {user} are not item numbers", where=str(path), remedy="export it again")

    return numbers


def _lists(path: Path) -> list[Any]:
    """The file's lists, read once for a file."""
    try:
        stamp = path.stat().st_mtime_ns
        if str(path) not in _READ or _READ[str(path)][0] != stamp:
            table = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(table, dict) or not isinstance(table.get("items"), list):
                raise ValueError('it has no list "items"')

            if len(_READ) >= 4:
                _READ.clear()
            _READ[str(path)] = stamp, table["items"]
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"is not readable ({error})", where=str(path), remedy="export the bundle again") from error

    return _READ[str(path)][1]
