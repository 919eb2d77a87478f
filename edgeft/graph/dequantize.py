"""Dequantize ops of a lowered graph that runtimes want to have once for each reader."""

from __future__ import annotations

import torch
import torch.ao.quantization.fx._decomposed  # registers torch.ops.quantized_decomposed
from torch import fx

qd = torch.ops.quantized_decomposed
_OF_ACTIVATIONS = (qd.dequantize_per_tensor.default,)
_OF_WEIGHTS = (*_OF_ACTIVATIONS, qd.dequantize_per_channel.default)


def dequantize_for_each_reader(graph: fx.Graph, *, weights: bool = False) -> None:
    """Repeat each dequantize that several ops read, in place, so that each of them has its own; no value changes.

    LiteRT's layout pass loses what it knows of a shared one and then refuses the model. XNNPACK's partitioner takes a
    dequantize along with its reader, and finds partitions that depend on each other where it is shared. `weights`
    repeats those of weights with a scale a channel too, which LiteRT's converter folds and XNNPACK's delegate reads.
    """
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target in (_OF_WEIGHTS if weights else _OF_ACTIVATIONS):
            for reader in list(node.users)[1:]:
                with graph.inserting_after(node):
                    copy = graph.node_copy(node)
                reader.replace_input_with(node, copy)
