"""A view of an ONNX graph for the passes that rewrite it: producers, consumers, constants, attributes and shapes."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper as nh


class Index:
    """Who makes and who takes each tensor of a graph; rebuilt by every pass, since passes edit the graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.initializer = {i.name: i for i in model.graph.initializer}
        self.producer = {name: node for node in model.graph.node for name in node.output if name}
        self.consumers: dict[str, list[onnx.NodeProto]] = defaultdict(list)

        for node in model.graph.node:
            for name in node.input:
                if name:
                    self.consumers[name].append(node)

        self.outputs = {o.name for o in model.graph.output}

    def value(self, name: str) -> np.ndarray | None:
        """The constant called `name`, or None when it is computed."""
        return nh.to_array(self.initializer[name]) if name in self.initializer else None

    def only_consumer(self, name: str) -> onnx.NodeProto | None:
        users = self.consumers[name]
        return users[0] if len(users) == 1 and name not in self.outputs else None

    def made_by(self, name: str, op: str) -> onnx.NodeProto | None:
        node = self.producer.get(name)
        return node if node is not None and node.op_type == op else None

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add `value` as an initializer; the same name twice gives the first."""
        if name not in self.initializer:
            self.initializer[name] = self.graph.initializer.add()
            self.initializer[name].CopyFrom(nh.from_array(value, name))
        return name


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def drop_attributes(node: onnx.NodeProto, *names: str) -> None:
    for attribute in [a for a in node.attribute if a.name in names]:
        node.attribute.remove(attribute)


def insert_before(graph: onnx.GraphProto, anchor: onnx.NodeProto, new: onnx.NodeProto) -> onnx.NodeProto:
    position = next(k for k, node in enumerate(graph.node) if node is anchor or node == anchor)
    graph.node.insert(position, new)
    return graph.node[position]


def same_grid(index: Index, first: onnx.NodeProto, second: onnx.NodeProto) -> bool:
    """Whether two Q/DQ nodes have the same constant scalar scale and zero point."""
    pairs = [(index.value(a), index.value(b)) for a, b in zip(first.input[1:3], second.input[1:3])]
    return len(pairs) == 2 and all(a is not None and b is not None and np.array_equal(a, b) for a, b in pairs)


def ranks(model: onnx.ModelProto) -> dict[str, int]:
    """Rank of every tensor that shape inference knows."""
    return {name: len(dims) for name, dims in shapes(model).items()}


def shapes(model: onnx.ModelProto) -> dict[str, list[int | None]]:
    """Shape of every tensor that shape inference knows; None for a dynamic dimension."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shape_of: dict[str, list[int | None]] = {i.name: list(i.dims) for i in inferred.initializer}
    for info in [*inferred.input, *inferred.value_info, *inferred.output]:
        if info.type.tensor_type.HasField("shape"):
            dims = info.type.tensor_type.shape.dim
            shape_of[info.name] = [d.dim_value if d.HasField("dim_value") else None for d in dims]

    return shape_of
