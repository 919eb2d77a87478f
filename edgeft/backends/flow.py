"""How values flow through an artifact: which operations lie on a path from an input to an output, and what they hold.

An artifact may hold integer weights that nothing depends on, beside a float network that computes the answers. What
is stored says nothing then; what lies on the paths does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from .values import Grid, WeightTensor


@dataclass(frozen=True)
class Step:
    """One operation of the main graph: the keys of the tensors that it reads and writes.

    `products`: it sums products (a convolution, a matrix product, a recurrent layer), or it may, since what it computes
    is not looked into (a graph inside it, an op of an unknown domain). `looks_up`: it takes rows of a table. `macs` are
    its multiply-accumulates, 0 where they are not known.
    """

    op: str
    name: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    products: bool = False
    looks_up: bool = False
    macs: int = 0


@dataclass(frozen=True)
class Flow:
    """The main graph of an artifact. Keys are the reader's own, one a tensor.

    `constants` are the keys of stored constants; `weights` the stored weights of quantized formats, each with the key
    of its constant, in the order of the inspector's `integer_weights`; `grids` those of quantized activations, each
    with the key of its tensor, in the order of `activation_grids`.
    """

    steps: tuple[Step, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: frozenset[str]
    weights: tuple[tuple[str, WeightTensor], ...]
    grids: tuple[tuple[str, Grid], ...] = ()

    def sources(self) -> dict[str, frozenset[str]]:
        """The constants that each tensor is made of, of those tensors that no input has a part in."""
        sources = {key: frozenset([key]) for key in self.constants}
        for step in self.in_order():
            if all(key in sources for key in step.reads):
                union = frozenset().union(*(sources[key] for key in step.reads))
                sources.update((key, union) for key in step.writes if key not in sources)
        return sources

    def live(self) -> list[Step]:
        """The operations on a path from an input to an output, in the order of computation."""
        forward, ahead = set(self.inputs), []
        for step in self.in_order():
            if not forward.isdisjoint(step.reads):
                forward.update(step.writes)
                ahead.append(step)

        backward, live = set(self.outputs), []
        for step in reversed(ahead):
            if not backward.isdisjoint(step.writes):
                backward.update(step.reads)
                live.append(step)

        return live[::-1]

    def in_order(self) -> list[Step]:
        """The operations so that each comes after those whose results it reads; those in a circle are left out."""
        written = {key for step in self.steps for key in step.writes}
        waiting = [len({key for key in step.reads if key in written}) for step in self.steps]
        readers: dict[str, list[int]] = defaultdict(list)

        for number, step in enumerate(self.steps):
            for key in {key for key in step.reads if key in written}:
                readers[key].append(number)

        ready = [number for number, count in enumerate(waiting) if not count]
        order, computed = [], set()
        while ready:
            step = self.steps[ready.pop()]
            order.append(step)
            for key in step.writes:
                if key in computed:
                    continue
                computed.add(key)
                for number in readers[key]:
                    waiting[number] -= 1
                    if not waiting[number]:
                        ready.append(number)

        return order


def holding(flow: Flow, weights: Iterable[str]) -> dict[int, frozenset[str]]:
    """Position among `flow.live()` -> the keys of `weights` that the operation multiplies by, or takes rows of."""
    sources, wanted = flow.sources(), frozenset(weights)
    table: dict[int, frozenset[str]] = {}
    for position, step in enumerate(flow.live()):
        if step.products or step.looks_up:
            keys = frozenset().union(*(sources.get(key, frozenset()) for key in step.reads)) & wanted
            if keys:
                table[position] = keys
    return table


def last_grids(flow: Flow, key: str) -> list[Grid]:
    """The grids that the tensor `key` was laid on last: going back from it, the first ones on each path."""
    writer = {written: step for step in flow.steps for written in step.writes}
    grids: dict[str, list[Grid]] = defaultdict(list)
    for place, grid in flow.grids:
        grids[place].append(grid)

    waiting, visited, last = [key], set[str](), list[Grid]()
    while waiting:
        place = waiting.pop()
        if place in visited:
            continue
        visited.add(place)
        if place in grids:
            last += grids[place]
        elif place in writer:
            waiting += writer[place].reads

    return last


def apart(flow: Flow, holders: Iterable[int]) -> list[Step]:
    """The operations that sum products on paths from inputs to outputs, none of which pass one of the `holders`
    (positions among `flow.live()`)."""
    live, positions = flow.live(), frozenset(holders)
    after: set[str] = set()
    before: set[str] = set()
    downstream: set[int] = set()
    upstream: set[int] = set()

    for position, step in enumerate(live):
        if position in positions or not after.isdisjoint(step.reads):
            after.update(step.writes)
            downstream.add(position)

    for position, step in reversed(list(enumerate(live))):
        if position in positions or not before.isdisjoint(step.writes):
            before.update(step.reads)
            upstream.add(position)

    return [step for k, step in enumerate(live) if step.products and k not in downstream and k not in upstream]


def by_weights(flow: Flow) -> list[Step]:
    """The operations on paths from inputs to outputs that sum products with constants."""
    sources = flow.sources()
    return [step for step in flow.live() if step.products and any(sources.get(key) for key in step.reads)]
