"""Bilinear sampling of maps at computed places (deformable attention) by rows that are gathered.

LiteRT has no operator for it, and the converter's own decomposition indexes all four axes at once. Here each place
takes its four neighbours out of a table of pixels, by one gather each, and weighs them.
"""

from __future__ import annotations

import copy

import torch
from torch import fx

from ...graph.nodes import aten

_BILINEAR, _ZEROS = 0, 0


def as_gathers(module: torch.nn.Module) -> torch.nn.Module:
    """The module with its bilinear samplings that pad with zeros as gathers; the same object where it has none.

    Its weights are shared.
    """
    if not isinstance(module, fx.GraphModule) or not any(_fits(node) for node in module.graph.nodes):
        return module

    changed = fx.GraphModule(module, copy.deepcopy(module.graph))
    for node in changed.graph.nodes:
        if _fits(node):
            node.target, node.args = sampled, (*node.args[:2], node.args[4])

    changed.graph.lint()
    changed.recompile()
    return changed


def _fits(node: fx.Node) -> bool:
    return node.target is aten.grid_sampler.default and node.args[2:4] == (_BILINEAR, _ZEROS)


def sampled(maps: torch.Tensor, grid: torch.Tensor, align_corners: bool) -> torch.Tensor:
    """Maps (N, C, H, W) at places (N, h, w, 2) x y from -1 to 1 -> (N, C, h, w), zeros beyond the border."""
    count, channels, height, width = maps.shape
    table = maps.flatten(2).transpose(1, 2).reshape(-1, channels)
    first = (torch.arange(count, dtype=torch.float32) * (height * width)).view(-1, 1, 1)

    across, down = (_neighbours(grid[..., k], side, align_corners) for k, side in enumerate((width, height)))
    total: torch.Tensor | None = None
    for row, of_row in down:
        for column, of_column in across:
            index = (first + row * width + column).flatten().long()
            part = table.index_select(0, index) * (of_row * of_column).reshape(-1, 1)
            total = part if total is None else total + part

    assert total is not None
    return total.reshape(count, *grid.shape[1:3], channels).permute(0, 3, 1, 2)


def _neighbours(
    places: torch.Tensor, side: int, align_corners: bool
) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Position and weight of both pixels beside each place along a side; weight 0 for a pixel outside of the map."""
    at = (places + 1) * ((side - 1) / 2) if align_corners else (places + 1) * (side / 2) - 0.5
    low = torch.floor(at)
    share = at - low
    pairs = []

    for position, weight in ((low, 1 - share), (low + 1, share)):
        inside = torch.clamp(position, 0, side - 1)
        # both are whole numbers: 1 inside, 0 from one pixel beyond the border
        pairs.append((inside, weight * torch.clamp(1 - torch.abs(position - inside), min=0)))

    return pairs[0], pairs[1]
