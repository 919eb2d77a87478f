"""What a board's profile is asked about: a captured graph in a few figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class GraphSummary:
    """What a target wants to know of a captured graph.

    `ops`: how many of each op class ("conv", "softmax") or ATen op ("aten.cumsum.default"). `max_rank`: the most
    dimensions any tensor has. `dynamic_batch`: whether axis 0 is free. `inputs`: shape by input name, -1 where free.
    `float_ops`: ops that compute and would stay float under the target's scheme, with their number.
    """

    ops: Mapping[str, int] = field(default_factory=dict)
    max_rank: int = 0
    dynamic_batch: bool = False
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    float_ops: Mapping[str, int] = field(default_factory=dict)
