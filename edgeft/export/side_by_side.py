"""Calls side by side, each on one core: what many small ops of one call gain by threads, waiting eats up again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch


@contextlib.contextmanager
def side_by_side() -> Iterator[Callable[[Callable[[Any], Any], Iterable[Any]], list[Any]]]:
    """Yields a `map` that runs as many calls at once as torch has threads, in order, each without gradients.

    Ops that are shared out over threads end when the last thread does, so on a busy machine each of a network's many
    ops waits for a turn of the scheduler. Whole calls wait only once. The function must not change anything.
    """
    threads = torch.get_num_threads()

    def without_gradients(call: tuple[Callable[[Any], Any], Any]) -> Any:
        with torch.no_grad():  # a thread has its own setting
            return call[0](call[1])

    def run(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return list(pool.map(without_gradients, [(function, item) for item in items]))

    torch.set_num_threads(1)

    try:
        with ThreadPoolExecutor(threads) as pool:
            yield run
    finally:
        torch.set_num_threads(threads)
