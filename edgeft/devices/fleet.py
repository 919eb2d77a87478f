"""Many boards: the file that lists them, the same work on each, retries, and what came of all of them.

    # a board a line: its address, then what is its own
    ssh://pi@line-1.local
    ssh://pi@line-2.local:2222   data=recordings/line-2

A board that fails holds up no other. What may pass by itself (a connection that broke, a board that does not answer) is
tried again; what would fail again (a damaged bundle, an unknown host key) is not.
"""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.errors import EdgeftError, InternalError, InvalidInput, SystemFailure, UsageError, nearest
from ..core.verdict import VERDICTS
from .link import LinkLost
from .ssh import UNREACHABLE

#: boards that are worked on at once, and further attempts, where nobody says so
JOBS, RETRIES = 16, 2
#: seconds before a further attempt; twice as many before the next
WAIT = 2.0
#: what a line may say of its board
KEYS = ("data",)


@dataclass(frozen=True)
class Board:
    """One board: the name of its device, and what of the work is its own (`data`: a path)."""

    name: str
    own: Mapping[str, str] = field(default_factory=dict)


def read(path: Path) -> list[Board]:
    """The boards of a file, in its order. Raises `InvalidInput` naming file and line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror or error}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise InvalidInput("this is not UTF-8 text", where=str(path), remedy="save the file as UTF-8") from error

    boards: dict[str, Board] = {}
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise InvalidInput(f"{error}", where=where, remedy="put a path with spaces into quotes") from error
        if not words:
            continue
        name, *rest = words
        if not name.startswith(("ssh://", "emulate:")) and name != "host":
            remedy = "a board a line: ssh://user@host[:port], emulate:TARGET or host"
            raise InvalidInput(f"{name!r} is not a device", where=where, remedy=remedy)
        if name in boards:
            raise InvalidInput(f"{name} is listed twice", where=where, remedy="list each board once")
        boards[name] = Board(name, dict(_setting(word, where) for word in rest))

    if not boards:
        raise InvalidInput("lists no board", where=str(path), remedy="a board a line: ssh://user@host[:port]")
    return list(boards.values())


def _setting(word: str, where: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals or not value or key not in KEYS:
        remedy = nearest(key, KEYS) if equals else "write data=PATH"
        raise InvalidInput(f"{word!r} does not describe a board", where=where, remedy=remedy)
    return key, value


def boards_of(names: Sequence[str], file: Path | None) -> list[Board]:
    """The boards of `--device` options and of a `--devices` file together. Raises `UsageError` for one named twice."""
    boards = [*(Board(name) for name in names), *(read(file) if file is not None else [])]
    if len({board.name for board in boards}) < len(boards):
        raise UsageError("a device is named twice", where="--device", remedy="name each once")
    return boards


def on_all(
    boards: Sequence[Board],
    work: Callable[[Board], Any],
    *,
    retries: int = RETRIES,
    jobs: int = JOBS,
    say: Callable[[str], None] = lambda text: None,
    sleep: Callable[[float], None] = time.sleep,
) -> list[dict[str, Any]]:
    """What `work(board)` returns for each board, in their order, with `device` and `attempts`; a list is taken apart.

    At most `jobs` boards are worked on at once. What fails stands in its board's place as `EdgeftError.as_dict` has it.
    """
    voice = threading.Lock()
    done = 0

    def tell(text: str) -> None:
        with voice:
            say(text)

    def of_board(board: Board) -> list[dict[str, Any]]:
        nonlocal done
        entries = _tried(board, work, retries, tell, sleep)
        with voice:
            done += 1
            if len(boards) > 1:
                say(f"{done} of {len(boards)} boards: {board.name} {_word(entries)}")
        return entries

    with ThreadPoolExecutor(max_workers=max(1, min(jobs, len(boards)))) as pool:
        return [entry for entries in pool.map(of_board, boards) for entry in entries]


def _tried(
    board: Board,
    work: Callable[[Board], Any],
    retries: int,
    say: Callable[[str], None],
    sleep: Callable[[float], None],
) -> list[dict[str, Any]]:
    for attempt in range(1, retries + 2):
        about = {"device": board.name, "attempts": attempt}
        try:
            result = work(board)
        except EdgeftError as error:
            if attempt > retries or not passing(error):
                return [{**error.as_dict(), **about}]
            say(f"{board.name}: {error.message}; attempt {attempt + 1} of {retries + 1}")
            sleep(WAIT * 2 ** (attempt - 1))
        except Exception as error:
            return [{**InternalError(f"{type(error).__name__}: {error}").as_dict(), **about}]
        else:
            return [{**entry, **about} for entry in (result if isinstance(result, list) else [result])]
    raise AssertionError("a loop without an end")


def passing(error: EdgeftError) -> bool:
    """Whether the same work may succeed a moment later: the connection, not what was asked, is at fault."""
    lost = isinstance(error, LinkLost) or (isinstance(error, SystemFailure) and "no answer for" in error.message)
    return lost or error.message in UNREACHABLE


def _word(entries: Sequence[Mapping[str, Any]]) -> str:
    first = entries[0]
    return str(first["message"]) if "error" in first and "exit_code" in first else str(first.get("verdict", "done"))


def counts(results: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """{"boards", each verdict that occurs, "errors"} of `on_all`'s results."""
    errors = sum("exit_code" in result for result in results)
    verdicts = {
        v: sum(result.get("verdict") == v and "exit_code" not in result for result in results) for v in VERDICTS
    }
    boards = len({result["device"] for result in results})
    return {"boards": boards, **{v: n for v, n in verdicts.items() if n}, "errors": errors}


def worst_code(codes: Sequence[int]) -> int:
    """The exit code of all together: 0, or the gravest of the others, an error before a failed gate."""
    order = (0, 5, 1, 4, 6, 3, 2, 70)
    return max(codes, key=lambda code: order.index(code) if code in order else len(order))
