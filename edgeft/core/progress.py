"""How far long work is: a bar on a terminal (tqdm, where it is installed), elsewhere a line every 30 seconds.

Whoever talks to a user opens `shown`; deep code calls `track` for steps that can be counted and `phase` for the rest.
Without `shown` both do nothing but their work.
"""

from __future__ import annotations

import contextlib
import importlib.util
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")
#: seconds between two lines, and between two pictures of a bar whose steps cannot be counted
INTERVAL, REFRESH = 30.0, 0.5


@dataclass
class Display:
    """Where progress goes: `say` takes a line, `bars` says whether bars may be drawn; `interval` is in seconds."""

    say: Callable[[str], None]
    bars: Callable[[], bool]
    interval: float = INTERVAL
    open_bars: list[Any] = field(default_factory=list)

    def bar(self, title: str, total: int | None, **options: Any) -> Any:
        """A tqdm bar on stderr, or None where none can be drawn."""
        if not self.bars() or importlib.util.find_spec("tqdm") is None:
            return None
        from tqdm import tqdm

        tqdm.monitor_interval = 0  # its thread would keep an export from forking its converters
        bar = tqdm(total=total, desc=title, leave=False, dynamic_ncols=True, **options)
        self.open_bars.append(bar)
        return bar

    def close(self, bar: Any) -> None:
        """Wipe a bar from the terminal."""
        bar.close()
        if bar in self.open_bars:
            self.open_bars.remove(bar)


_current: ContextVar[Display | None] = ContextVar("progress", default=None)


@contextlib.contextmanager
def shown(say: Callable[[str], None], bars: Callable[[], bool] = lambda: False, interval: float = INTERVAL) -> Any:
    """Show the progress of the body; bars that an exception leaves open are wiped."""
    display = Display(say, bars, interval)
    token = _current.set(display)
    try:
        yield display
    finally:
        _current.reset(token)
        for bar in list(display.open_bars):
            display.close(bar)


@contextlib.contextmanager
def shown_unless_already(say: Callable[[str], None] | None, bars: bool = False) -> Iterator[None]:
    """`shown` for a library call that was given a `say`; nothing where the caller shows progress itself."""
    if _current.get() is not None or (say is None and not bars):
        yield
        return
    with shown(say or _nothing, lambda: bars):
        yield


def _nothing(text: str) -> None:
    del text


@contextlib.contextmanager
def around_text() -> Iterator[None]:
    """Take the bars off the terminal while the body prints a line."""
    display = _current.get()
    bars = list(display.open_bars) if display is not None else []
    for bar in bars:
        bar.clear()
    yield
    for bar in bars:
        bar.refresh()


def track(
    items: Iterable[T],
    title: str,
    *,
    total: int | None = None,
    ahead: int = 0,
    detail: Callable[[], str] = str,
) -> Iterator[T]:
    """The items, with their progress. `total` is how many there are, `ahead` how many of the same kind follow after
    them (the time left counts these too); `detail` returns what stands beside the count ("loss 0.31")."""
    display = _current.get()
    if display is None:
        yield from items
        return
    if total is None and isinstance(items, Sized):
        total = len(items)
    bar = display.bar(title, total)
    started = spoken = time.monotonic()
    for count, item in enumerate(items, 1):
        yield item
        if bar is not None:
            bar.set_postfix_str(detail(), refresh=False)
            bar.update(1)
        elif time.monotonic() - spoken >= display.interval:
            spoken = time.monotonic()
            display.say(_line(title, count, total, ahead, detail(), spoken - started))
    if bar is not None:
        display.close(bar)


def _line(title: str, count: int, total: int | None, ahead: int, detail: str, seconds: float) -> str:
    """One line: "float 2/10: 40 of 200, loss 0.31, 5.1 a second, 5 min 10 s left"."""
    rate = count / max(seconds, 1e-9)
    counted = f"{count} of {total}" if total is not None else str(count)
    left = "" if total is None else f"{duration((max(total - count, 0) + ahead) / rate)} left"
    return ", ".join(filter(None, [f"{title}: {counted}", detail, f"{rate:.3g} a second", left]))


@contextlib.contextmanager
def phase(title: str) -> Iterator[None]:
    """Show that work whose steps cannot be counted goes on: its title and how long it has taken."""
    display = _current.get()
    if display is None:
        yield
        return
    bar = display.bar(title, None, bar_format="{desc} ({elapsed})")
    ended = threading.Event()
    ticker = threading.Thread(target=_tick, args=(display, title, bar, ended), daemon=True)
    ticker.start()
    try:
        yield
    finally:
        ended.set()
        ticker.join()
        if bar is not None:
            display.close(bar)


def _tick(display: Display, title: str, bar: Any, ended: threading.Event) -> None:
    started = time.monotonic()
    while not ended.wait(display.interval if bar is None else REFRESH):
        try:
            if bar is None:
                display.say(f"{title}: running for {duration(time.monotonic() - started)}")
            else:
                bar.refresh()
        except KeyboardInterrupt:  # the main thread answers it
            return


def duration(seconds: float) -> str:
    """Seconds for people: "42 s", "5 min 10 s", "2 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
