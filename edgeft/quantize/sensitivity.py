"""Error per layer: how much each quantized value differs from the same value in the float network."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from .fakequant import ActivationFakeQuant
from .graph import QuantizedGraph


def layer_errors(graph: QuantizedGraph, batch: Sequence[torch.Tensor]) -> list[dict[str, object]]:
    """Signal to quantization-noise ratio behind every fake-quantize, accumulated through the network, in dB.

    Returns rows {"name", "fake_quantize", "sqnr_db"} in graph order; `sqnr_db` is None where the float signal is zero.
    """
    modules = graph.activations()
    before = {n: m.mode for n, m in modules.items()}
    signal, noise = dict.fromkeys(modules, 0.0), dict.fromkeys(modules, 0.0)
    size = max((t.shape[0] for t in batch if t.dim()), default=1)
    for i in range(size):  # one sample at a time: all activations of a whole batch would take gigabytes
        sample = [t[i : i + 1] if t.dim() else t for t in batch]
        graph.set_mode("off")
        wanted = _recorded(graph, modules, sample)
        graph.set_mode("quantize")
        found = _recorded(graph, modules, sample)
        for name in modules:
            for want, got in zip(wanted[name], found[name]):
                signal[name] += _energy(want)
                noise[name] += _energy(got - want)
    for name, module in modules.items():
        module.mode = before[name]
    rows: list[dict[str, object]] = []
    for name in modules:
        ratio = 10 * math.log10(signal[name] / max(noise[name], 1e-30)) if signal[name] > 0 else None
        rows.append({"name": graph.layer_of[name], "fake_quantize": name, "sqnr_db": ratio})
    return rows


def _recorded(
    graph: QuantizedGraph, modules: dict[str, ActivationFakeQuant], sample: Sequence[torch.Tensor]
) -> dict[str, list[torch.Tensor]]:
    """What each of `modules` gives, call by call, on one sample."""
    outputs: dict[str, list[torch.Tensor]] = {name: [] for name in modules}
    handles = [
        m.register_forward_hook(lambda _m, _i, out, name=name: outputs[name].append(out.detach()))
        for name, m in modules.items()
    ]
    try:
        with torch.no_grad():
            graph.module(*sample)
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def _energy(values: torch.Tensor) -> float:
    flat = values.flatten()
    return float(flat.dot(flat))


__all__ = ["ActivationFakeQuant", "layer_errors"]
