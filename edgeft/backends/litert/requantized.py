"""Values that come from a prescribed grid to another one, as a concatenation with other values asks for.

LiteRT's converter drops a requantization between a sigmoid or tanh and a concatenation, and then refuses two grids
there. A clamp to [-1, 1], which changes no value of these, keeps both apart: the runtime computes it from one grid to
the other.
"""

from __future__ import annotations

import copy

from torch import fx

from ...graph.nodes import aten

_QUANTIZE = "quantized_decomposed.quantize_per_tensor.default"
_DEQUANTIZE = "quantized_decomposed.dequantize_per_tensor.default"


def kept_apart(module: fx.GraphModule) -> fx.GraphModule:
    """The module with a clamp before such quantizations; the same object where it has none. Its weights are shared."""
    if not any(_comes_from_another_grid(node) for node in module.graph.nodes):
        return module

    changed = fx.GraphModule(module, copy.deepcopy(module.graph))
    for node in list(changed.graph.nodes):
        if _comes_from_another_grid(node):
            with changed.graph.inserting_before(node):
                clamped = changed.graph.call_function(aten.hardtanh.default, (node.args[0], -1.0, 1.0))
            node.replace_input_with(node.args[0], clamped)

    changed.graph.lint()
    changed.recompile()
    return changed


def _comes_from_another_grid(node: fx.Node) -> bool:
    """Whether a node quantizes dequantized values of another grid that lie in [-1, 1]."""
    before = node.args[0] if str(node.target) == _QUANTIZE else None
    if not isinstance(before, fx.Node) or str(before.target) != _DEQUANTIZE or _grid(before) == _grid(node):
        return False
    scale, zero_point, lowest, highest = _grid(before)
    return scale * (lowest - zero_point) >= -1 and scale * (highest - zero_point) <= 1


def _grid(node: fx.Node) -> tuple[float, int, int, int]:
    scale, zero_point, lowest, highest = node.args[1:5]
    return float(scale), int(zero_point), int(lowest), int(highest)
