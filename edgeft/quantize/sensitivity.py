"""Error per layer: how much each quantized value differs from the same value in the float network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from .fakequant import ActivationFakeQuant
from .graph import QuantizedGraph


class _Recorder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.values: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> None:
        self.values.append(x.detach())


def layer_errors(graph: QuantizedGraph, batch: Sequence[torch.Tensor]) -> list[dict[str, object]]:
    """Signal to quantization-noise ratio behind every fake-quantize, accumulated through the network, in dB.

    Returns rows {"name", "fake_quantize", "sqnr_db"} in graph order; `sqnr_db` is None where the float signal is zero.
    """
    modules = graph.activations()
    inputs: dict[str, list[torch.Tensor]] = {}
    rows = []

    def run(record: bool) -> dict[str, list[torch.Tensor]]:
        outputs: dict[str, list[torch.Tensor]] = {name: [] for name in modules}
        handles = [
            m.register_forward_hook(lambda _m, _i, out, name=name: outputs[name].append(out.detach()))
            for name, m in modules.items()
        ]
        with torch.no_grad():
            graph.module(*batch)
        for handle in handles:
            handle.remove()
        return outputs

    before = {n: m.mode for n, m in modules.items()}
    graph.set_mode("off")
    inputs = run(record=True)
    graph.set_mode("quantize")
    quantized = run(record=False)
    for name, module in modules.items():
        module.mode = before[name]
    for name in modules:
        signal = sum(float((v.double() ** 2).sum()) for v in inputs[name])
        noise = sum(float(((a.double() - b.double()) ** 2).sum()) for a, b in zip(inputs[name], quantized[name]))
        ratio = 10 * torch.log10(torch.tensor(signal / max(noise, 1e-30))).item() if signal > 0 else None
        rows.append({"name": graph.layer_of[name], "fake_quantize": name, "sqnr_db": ratio})
    return rows


__all__ = ["ActivationFakeQuant", "layer_errors"]
