"""Cross-layer equalization: channels of very different size are brought near each other before they share a scale.

A ReLU, a pooling or an addition does to a channel of any size what it does to another. So the layers that write a
channel may be divided by a factor and those that read it multiplied with it (Nagel et al., "Data-Free Quantization
Through Weight Equalization and Bias Correction", 2019): the float network stays the same function, and values of a
thousandth of the usual size no longer vanish in one step of the grid. Factors are powers of two, so that it stays the
same bit for bit.

How large a channel is comes from calibration samples rather than from the rows of the weights, which have a scale each.
Which channels go together, and what a ReLU6 asks of their factors, is in `channel_groups.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import fx, nn

from ..graph.nodes import attribute
from .channel_groups import Group, Reader, groups
from .channels import LARGEST, Batches, factors, watch
from .fakequant import WeightFakeQuant
from .graph import QuantizedGraph
from .ranges import reduced

#: a group of which no factor is further from 1 than this power of two stays as it is: one scale serves its channels
LEAST = 2


def planned(
    graph: QuantizedGraph, batches: Batches, enclosing: nn.Module | None = None
) -> list[tuple[Group, torch.Tensor]]:
    """The groups of `graph` whose channels differ much, and what each channel is to be divided by: float32 (C,).

    `batches()` gives the inputs of `enclosing`, or of the graph itself. The fake-quantize modules must be off.
    """
    candidates = groups(graph)
    if not candidates:
        return []

    tops = _tops(graph.module, {name for group in candidates for name in group.values}, batches, enclosing)
    fakes = graph.weights()
    factor_of = [(group, _factor(graph.module, fakes, group, tops)) for group in candidates]
    return [(group, factor) for group, factor in factor_of if factor.log2().abs().max() >= LEAST]


def fold(graph: QuantizedGraph, plan: Iterable[tuple[Group, torch.Tensor]]) -> None:
    """Divide the rows of each group's writers and multiply the columns of its readers, in place.

    Weights and activations are to be calibrated after it.
    """
    for group, factor in plan:
        _fold(graph.module, group, factor)


def _tops(
    module: fx.GraphModule, names: set[str], batches: Batches, enclosing: nn.Module | None
) -> dict[str, dict[int, torch.Tensor]]:
    """{fake-quantize module: {number of channels: largest magnitude of each, float32 (C,)}} over all `batches`.

    A module that several values share is called with each of them. All processes get the same.
    """
    tops: dict[str, dict[int, torch.Tensor]] = {}

    def note(name: str, value: torch.Tensor) -> None:
        rows = value.abs().transpose(0, 1).flatten(1).amax(1)
        known = tops.setdefault(name, {})
        known[len(rows)] = torch.maximum(known[len(rows)], rows) if len(rows) in known else rows

    watch(module, names, note, batches, enclosing)
    return {
        name: {n: torch.from_numpy(reduced(top.numpy(force=True), "max")).to(top) for n, top in sorted(known.items())}
        for name, known in sorted(tops.items())
    }


def _factor(
    module: fx.GraphModule, fakes: dict[str, WeightFakeQuant], group: Group, tops: dict[str, dict[int, torch.Tensor]]
) -> torch.Tensor:
    """float32 (C,): what each channel of the group is divided by."""
    channels = attribute(module, group.writers[0][0]).shape[0]
    relative = []
    for name, value in group.values.items():
        known = tops.get(name, {})
        if value.channels in known:
            largest = torch.stack([top.max() for top in known.values()]).max().clamp(min=1e-12)
            relative.append(known[value.channels][value.start : value.start + channels] / largest)

    for name, _ in group.writers:
        if name in fakes and fakes[name].axis is None:  # one scale for all rows
            rows = attribute(module, name).detach().abs().flatten(1).amax(1)
            relative.append(rows / rows.max().clamp(min=1e-12))

    if not relative:
        return torch.ones(channels)

    top = torch.stack(relative).amax(0)
    columns = [_columns(module, fakes[r.weight], r, channels) for r in group.readers if not r.own]
    column = torch.stack(columns).amax(0) if columns else None
    usable = top > 0 if column is None else (top > 0) & (column > 0)
    if not usable.any():
        return torch.ones(channels)

    # The median is that of the channels that say something: in some networks most are silent.
    factor = torch.ones_like(top)
    factor[usable] = factors(top[usable], None if column is None else column[usable])
    if column is not None:
        _spare_rows(factor, column, usable)

    return _under_ceilings(factor, group, tops, usable) if group.ceilings else factor


def _spare_rows(factor: torch.Tensor, column: torch.Tensor, usable: torch.Tensor) -> None:
    """Give channels that are silent on the samples a factor at which their columns are no larger than the others', in
    place: they would set the scales of their rows, and the other weights of a row vanish beside them."""
    most = (column * factor)[usable].max()
    excess = (column / most).log2().ceil().clamp(0, LARGEST)
    factor[~usable] = torch.exp2(-excess[~usable])


def _under_ceilings(
    factor: torch.Tensor, group: Group, tops: dict[str, dict[int, torch.Tensor]], usable: torch.Tensor
) -> torch.Tensor:
    """The factors of a group behind a ReLU6, at most 1 (`channel_groups.py` says why): the largest keeps its size and
    the others grow, none above the ceiling on the samples."""
    below = factor / factor[usable].max()
    for name, ceiling in group.ceilings.items():
        value = group.values[name]
        known = tops.get(name, {}).get(value.channels, torch.zeros(value.channels))
        rows = known[value.start : value.start + len(factor)]
        below = torch.maximum(below, torch.exp2((rows / ceiling).log2().ceil()))  # 0 of a silent channel

    return below.clamp(max=1.0)


def _columns(module: fx.GraphModule, fake: WeightFakeQuant, reader: Reader, channels: int) -> torch.Tensor:
    """float32 (C,): the largest weight of each channel beside the largest one that shares its scale."""
    weight = attribute(module, reader.weight).detach().abs().float()
    rows = weight.flatten(1).amax(1) if fake.axis == 0 else weight.max().expand(weight.shape[0])
    beside = weight / rows.clamp(min=1e-12).view(-1, *[1] * (weight.dim() - 1))
    columns = beside.transpose(0, reader.axis).flatten(1).amax(1)
    return columns.view(-1, reader.repeat).amax(1)[reader.start : reader.start + channels]


def _fold(module: fx.GraphModule, group: Group, factor: torch.Tensor) -> None:
    """Divide the rows of the writers and multiply the columns of the readers, in place."""
    with torch.no_grad():
        for weight_name, bias_name in group.writers:
            weight = attribute(module, weight_name)
            weight.div_(factor.view(-1, *[1] * (weight.dim() - 1)))
            if bias_name:
                attribute(module, bias_name).div_(factor)
        for reader in group.readers:
            along = factor.repeat_interleave(reader.repeat)
            weight = attribute(module, reader.weight).narrow(reader.axis, reader.start * reader.repeat, len(along))
            weight.mul_(along.view([-1 if axis == reader.axis else 1 for axis in range(weight.dim())]))
