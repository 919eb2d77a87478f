"""Products of matrices; with a constant factor they are linear layers."""

from __future__ import annotations

import operator as python

import torch
from torch import nn

from ..node import Node
from ..registry import operator
from ..values import Value
from .elementwise import binary


@operator("Gemm")
def gemm(node: Node) -> Value:
    first, second = node.input(0), node.input(1)
    third = node.input(2) if node.has(2) else None
    alpha, beta = float(node.attribute("alpha", 1.0)), float(node.attribute("beta", 1.0))
    if node.attribute("transA", 0):
        first = node.permuted(first, [1, 0])

    straight = bool(node.attribute("transB", 0))
    shape = second.shape if straight else second.shape[::-1]
    if len(first.shape) != 2 or len(shape) != 2 or first.shape[1] != shape[1]:
        raise node.fail(f"matrices of the shapes {first.shape} and {second.shape} do not fit")

    plain = third is None or (third.constant and third.tensor.numel() == shape[0])
    if second.constant and not first.constant and plain:
        weight = (second.tensor if straight else second.tensor.T) * alpha
        bias = None if third is None else third.tensor.reshape(-1) * beta
        return linear(node, node.layer_name(second), first, weight, bias)

    if straight:
        second = node.permuted(second, [1, 0])

    product: Value = node.call(torch.matmul, first, second)
    if alpha != 1:
        product = node.call(python.mul, product, alpha)
    if third is None:
        return product

    return binary(node, python.add, product, third if beta == 1 else node.call(python.mul, third, beta))


@operator("MatMul")
def matmul(node: Node) -> Value:
    first, second = node.input(0), node.input(1)
    if second.constant and not first.constant and len(second.shape) == 2:
        if first.shape[-1] != second.shape[0]:
            raise node.fail(f"matrices of the shapes {first.shape} and {second.shape} do not fit")
        return linear(node, node.layer_name(second), first, second.tensor.T, None)

    try:
        return node.call(torch.matmul, first, second)  # type: ignore[no-any-return]
    except RuntimeError as error:
        raise node.fail(f"matrices of the shapes {first.shape} and {second.shape} do not fit") from error


def linear(node: Node, name: str, value: Value, weight: torch.Tensor, bias: torch.Tensor | None) -> Value:
    """A linear layer with a weight (outputs, inputs)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    layer.weight.data = weight.contiguous().clone()
    if bias is not None:
        layer.bias.data = bias.clone()
    return node.trace.module(name, layer, value)  # type: ignore[no-any-return]


@operator("Einsum")
def einsum(node: Node) -> Value:
    factors = [node.input(position) for position in range(len(node.inputs))]
    return node.call(torch.einsum, str(node.attribute("equation")), *factors)  # type: ignore[no-any-return]
