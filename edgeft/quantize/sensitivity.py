"""Error per layer: how much each quantized value differs from the same value in the float network; and how far
rounding alone moves the outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from .fakequant import ActivationFakeQuant
from .graph import QuantizedGraph


def layer_errors(
    graph: QuantizedGraph,
    batch: Sequence[torch.Tensor],
    cut: Callable[[tuple[torch.Tensor, ...]], tuple[torch.Tensor, ...]] = lambda sample: sample,
    prefix: str = "",
) -> list[dict[str, object]]:
    """Signal to quantization-noise ratio behind every fake-quantize, accumulated through the network, in dB.

    `cut` removes padding from the inputs of a sample, whose results are not used. Returns rows
    {"name", "value", "fake_quantize", "sqnr_db"} in graph order; `sqnr_db` is None where the float signal is zero.
    `name` is what `quantize.keep_float` takes, several patterns with ", " between them, behind `prefix` (the part of a
    model of several graphs, with its dot); `value` says which value of these layers it is, "input" or "output".
    """
    modules = graph.activations()
    before = {n: m.mode for n, m in modules.items()}
    signal, noise = dict.fromkeys(modules, 0.0), dict.fromkeys(modules, 0.0)
    size = max((t.shape[0] for t in batch if t.dim()), default=1)

    for i in range(size):  # one sample at a time: all activations of a whole batch would take gigabytes
        sample = cut(tuple(t[i : i + 1] if t.dim() else t for t in batch))
        graph.set_mode("off")
        float_outputs = _recorded(graph, modules, sample)
        graph.set_mode("quantize")
        quantized_outputs = _recorded(graph, modules, sample)
        for name in modules:
            for want, got in zip(float_outputs[name], quantized_outputs[name]):
                signal[name] += _energy(want)
                noise[name] += _energy(got - want)

    for name, module in modules.items():
        module.mode = before[name]

    rows: list[dict[str, object]] = []
    for name in modules:
        ratio = 10 * math.log10(signal[name] / max(noise[name], 1e-30)) if signal[name] > 0 else None
        value = graph.value_of[name]
        layers = ", ".join(f"{prefix}{layer}" for layer in value.layers)
        rows.append({"name": layers, "value": value.role, "fake_quantize": name, "sqnr_db": ratio})

    return rows


#: how far a value may lie from the graph's before it is rounded, in steps: biases in int32, fixed-point multipliers,
#: another order of summation
NUDGE = 1 / 64
DRAWS = 4
#: (expected, outputs, {output: LSB}) -> `outputs` as they are compared with `expected`
Steps = dict[str, "float | list[float]"]
InOrderOf = Callable[[Mapping[str, np.ndarray], Mapping[str, np.ndarray], Steps], Mapping[str, np.ndarray]]


def rounding_reach(
    graph: QuantizedGraph,
    batch: Sequence[torch.Tensor],
    in_order_of: InOrderOf = lambda expected, outputs, steps: outputs,
) -> dict[str, tuple[float, float]]:
    """How far rounding alone moves each output, in its own steps: {name: (median, 99 % quantile)}.

    `in_order_of` (expected, outputs, steps) puts the rows of sets into the order of those that they are compared with.

    Every quantized value is nudged by up to 1/64 step before it is rounded, as runtimes do that compute the same in
    another way; so a few values fall on the neighbouring step. In a convolutional net that hardly grows; where float
    ops (LayerNorm, softmax) stand between the integers, every flip moves all that follow, and more of them flip.
    """
    generator = torch.Generator().manual_seed(0)

    def nudge(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        assert isinstance(module, ActivationFakeQuant)
        moved = (torch.rand(inputs[0].shape, generator=generator) * 2 - 1) * (NUDGE * module.parameters_of_grid()[0])
        return (inputs[0] + moved.to(inputs[0]), *inputs[1:])

    def outputs() -> dict[str, np.ndarray]:
        results = graph.module(*batch)
        tensors = results if isinstance(results, (tuple, list)) else (results,)
        return dict(zip(graph.captured.output_names, (t.float().numpy() for t in tensors)))

    with torch.no_grad():
        plain = outputs()
        handles = [m.register_forward_pre_hook(nudge) for m in graph.activations().values()]
        try:
            moved = [outputs() for _ in range(DRAWS)]
        finally:
            for handle in handles:
                handle.remove()

    steps, levels = graph.output_steps(), graph.scheme.activations.steps
    for name, values in plain.items():
        steps[name] = steps.get(name) or float(np.ptp(values)) / levels or float(np.finfo(np.float32).tiny)

    ordered = [in_order_of(plain, draw, steps) for draw in moved]
    return {name: _quantiles(values, [draw[name] for draw in ordered], steps[name]) for name, values in plain.items()}


def _quantiles(values: np.ndarray, moved: Sequence[np.ndarray], step: float | Sequence[float]) -> tuple[float, float]:
    """Median and 99 % quantile of the distances from `values` in steps; where channels have steps of their own, those
    of the channel that is moved farthest."""
    off = np.stack([np.abs(other - values) for other in moved]) / np.asarray(step, np.float32)
    rows = np.sort(off.reshape(-1, off.shape[-1]).T if np.ndim(step) else off.reshape(1, -1), axis=1)
    places = rows.shape[1] // 2, min(rows.shape[1] - 1, int(0.99 * rows.shape[1]))
    return float(rows[:, places[0]].max()), float(rows[:, places[1]].max())


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


__all__ = ["ActivationFakeQuant", "layer_errors", "rounding_reach"]
