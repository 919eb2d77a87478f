"""How far long work is: a bar on a terminal (tqdm, where it is installed), elsewhere a line every 30 seconds, and the
first one of a phase after ten.

Whoever talks to a user opens `shown`. Deep code opens a `phase` for work of one kind, `counted` counts its steps inside
a phase that somebody else has opened, and `track` is a phase of one loop. Without `shown` they do nothing but the work.
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
Say = Callable[[str], None]
#: seconds between two lines, until the first line of a phase, and between two pictures of a bar
INTERVAL, FIRST, REFRESH = 30.0, 10.0, 0.5
#: a bar of a phase whose steps are not counted
UNCOUNTED = "{desc} ({elapsed})"


@dataclass
class Activity:
    """A phase that is going on: its title, since when (seconds of the display's clock), and the steps counted in it.

    `ahead` is how many steps of the same kind follow after the `total`; the time left counts these too. `is_loop` says
    that its steps are those of one loop, which counts them itself.
    """

    title: str
    started: float
    unit: str = "step"
    total: int | None = None
    ahead: int = 0
    count: int = 0
    detail: Callable[[], str] = str
    is_loop: bool = True
    announced: bool = False
    bar: Any = None

    def line(self, now: float) -> str:
        """One line: "float 2/10: 40 of 200 steps, loss 0.31, 5.1 steps/s, 5 min 10 s left"."""
        seconds = now - self.started
        if not self.count:
            return f"{self.title}: running for {duration(seconds)}"

        units = f"{self.unit}{'es' if self.unit.endswith('ch') else 's'}"
        counted = f"{self.count} of {self.total} {units}" if self.total else f"{self.count} {units}"
        pace = seconds / self.count
        rate = f"{pace:.3g} s/{self.unit}" if pace > 1 else f"{1 / max(pace, 1e-9):.3g} {units}/s"
        remaining = (max(self.total - self.count, 0) + self.ahead) * pace if self.total else None
        left = "" if remaining is None else f"{duration(remaining)} left"

        return ", ".join(filter(None, [f"{self.title}: {counted}", self.detail(), rate, left]))


@dataclass
class Display:
    """Where progress goes: `say` takes a line, `bars` says whether bars may be drawn, `interval` is in seconds.

    `clock` returns seconds, `wait(event, seconds)` waits for an event and says whether it came.
    """

    say: Say
    bars: Callable[[], bool]
    interval: float = INTERVAL
    clock: Callable[[], float] = time.monotonic
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait
    activities: list[Activity] = field(default_factory=list)
    spoken: float = field(init=False)

    def __post_init__(self) -> None:
        self.spoken = self.clock()

    def begin(self, activity: Activity) -> None:
        """Put an activity on top of those that are going on, with a bar where one can be drawn."""
        self.activities.append(activity)
        if not self.bars() or importlib.util.find_spec("tqdm") is None:
            return

        from tqdm import tqdm

        tqdm.monitor_interval = 0  # its thread would keep an export from forking its converters
        form = None if activity.total else UNCOUNTED
        options = {"leave": False, "dynamic_ncols": True, "bar_format": form, "unit": f" {activity.unit}"}
        activity.bar = tqdm(total=activity.total, desc=activity.title, **options)

    def end(self, activity: Activity) -> None:
        """Take an activity off, and its bar from the terminal."""
        if activity in self.activities:
            self.activities.remove(activity)
        if activity.bar is not None:
            activity.bar.close()

    def advance(self, activity: Activity, steps: int = 1) -> None:
        """Count steps of an activity."""
        activity.count += steps
        if activity.bar is not None:
            activity.bar.set_postfix_str(activity.detail(), refresh=False)
            activity.bar.update(steps)
        elif activity.count != activity.total:
            self.speak()

    def speak(self) -> None:
        """Say how far the innermost activity is, if a line is due."""
        now = self.clock()
        activity = self.activities[-1] if self.activities else None
        if activity is not None and activity.bar is None and now >= self.due():
            self.spoken, activity.announced = now, True
            self.say(activity.line(now))

    def due(self) -> float:
        """When the innermost activity's next line is due: `interval` after the last one, and a phase says soon that it
        has begun."""
        activity = self.activities[-1] if self.activities else None
        usual = self.spoken + self.interval
        if activity is None or activity.is_loop or activity.announced:
            return usual
        return min(usual, activity.started + min(FIRST, self.interval))


_current: ContextVar[Display | None] = ContextVar("progress", default=None)


@contextlib.contextmanager
def shown(say: Say, bars: Callable[[], bool] = lambda: False, **options: Any) -> Iterator[Display]:
    """Show the progress of the body; `options` are those of `Display`. Bars left open by an exception are wiped."""
    display = Display(say, bars, **options)
    token = _current.set(display)
    try:
        yield display
    finally:
        _current.reset(token)
        for activity in list(display.activities):
            display.end(activity)


@contextlib.contextmanager
def shown_unless_already(say: Say | None, bars: bool = False) -> Iterator[None]:
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
    bars = [activity.bar for activity in display.activities if activity.bar is not None] if display else []
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
    unit: str = "step",
    size: Callable[[T], int] = lambda item: 1,
    detail: Callable[[], str] = str,
) -> Iterator[T]:
    """The items, with their progress. `total` is how many steps there are, `ahead` how many of the same kind follow
    (the time left counts these too); `size` says how many steps an item is, `detail` returns what stands beside the
    count ("loss 0.31").

    No thread is started, since loaders fork their workers while they are read: a line comes after a step.
    """
    display = _current.get()
    if display is None:
        yield from items
        return
    if total is None and isinstance(items, Sized):
        total = len(items)

    activity = Activity(title, display.clock(), unit, total, ahead, detail=detail)
    display.begin(activity)
    try:
        for item in items:
            yield item
            display.advance(activity, size(item))
    finally:
        display.end(activity)


def counted(items: Iterable[T], total: int | None = None, unit: str = "batch") -> Iterator[T]:
    """The items, counted as steps of the innermost phase that is open; a phase of several loops counts each anew."""
    display = _current.get()
    activity = display.activities[-1] if display is not None and display.activities else None
    if display is None or activity is None or activity.is_loop:
        yield from items
        return
    if total is None and isinstance(items, Sized):
        total = len(items)

    activity.unit, activity.total, activity.count, activity.started = unit, total, 0, display.clock()
    if activity.bar is not None and total:
        activity.bar.bar_format, activity.bar.unit = None, f" {unit}"
        activity.bar.reset(total)

    for item in items:
        yield item
        display.advance(activity)


@contextlib.contextmanager
def phase(title: str) -> Iterator[None]:
    """Show that work goes on: its title, how long it has taken, and what `counted` counts in it."""
    display = _current.get()
    if display is None:
        yield
        return

    activity = Activity(title, display.clock(), is_loop=False)
    display.begin(activity)
    ended = threading.Event()
    ticker = threading.Thread(target=_tick, args=(display, activity, ended), daemon=True)
    ticker.start()

    try:
        yield
    finally:
        ended.set()
        ticker.join()
        display.end(activity)


def _tick(display: Display, activity: Activity, ended: threading.Event) -> None:
    """Keep a phase in sight until it has ended; a thread's whole life."""
    while not display.wait(ended, REFRESH if activity.bar is not None else _until_due(display)):
        try:
            if activity.bar is not None:
                activity.bar.refresh()
            else:
                display.speak()
        except KeyboardInterrupt:  # the main thread answers it
            return


def _until_due(display: Display) -> float:
    """Seconds until the next line."""
    return max(display.due() - display.clock(), REFRESH)


def duration(seconds: float) -> str:
    """Seconds for people: "42 s", "5 min 10 s", "2 h 05 min"."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
