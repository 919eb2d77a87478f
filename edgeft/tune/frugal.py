"""Backward passes that keep no more than the update policy needs.

Plain autograd keeps the input of a convolution whose weights are frozen, four bytes of every ReLU, and the input of a
frozen norm: training the biases alone saves nothing. While `Frugal` is entered, these ops keep what their own gradients
need and nothing else: an input only where the weight is trainable, one bit an element of a ReLU, a weight only where a
gradient passes through it, and where it is a frozen one on the grid not even that, since it can be made again. The
idea: Cai et al., "TinyTL" (2020); Lin et al., "On-device training under 256KB memory" (2022). Values and gradients are
those of torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from ..quantize.packed import pack, unpack

aten = torch.ops.aten


class _Conv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, again: Any, part: Any, form: tuple[Any, ...]) -> torch.Tensor:
        ctx.form, ctx.again, ctx.shape = form, again, x.shape
        ctx.bias_shape = None if bias is None else list(bias.shape)
        of_x, of_weight = ctx.needs_input_grad[:2]
        ctx.part, saved_input = part, x
        if part is not None and of_weight:
            saved_input = x.index_select(1, part[1])

        ctx.save_for_backward(saved_input if of_weight else None, weight if of_x and again is None else None)
        ctx.weight_shape = weight.shape
        return aten.convolution(x, weight, bias, *form)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x, weight = ctx.saved_tensors
        needs = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.needs_input_grad[2]]
        if weight is None:
            weight = ctx.again() if needs[0] else grad.new_empty(1).expand(ctx.weight_shape)
        if x is None:  # only its size is looked at
            x = grad.new_empty(1).expand(ctx.shape)

        stride, padding, dilation, transposed, out_padding, groups = ctx.form
        if ctx.part is None or not needs[1]:
            gradients = aten.convolution_backward(
                grad, x, weight, ctx.bias_shape, stride, padding, dilation, transposed, out_padding, groups, needs
            )
            return (*(value if need else None for value, need in zip(gradients, needs)), None, None, None)

        axis, at = ctx.part
        placeholder = grad.new_empty(1).expand(ctx.shape)
        of_x, _, of_bias = aten.convolution_backward(
            grad, placeholder, weight, ctx.bias_shape, stride, padding, dilation, transposed, out_padding, groups,
            [needs[0], False, needs[2]],
        )  # fmt: skip
        shape = list(ctx.weight_shape)
        shape[axis] = len(at)
        upstream = grad.index_select(1, at) if axis == 0 else grad  # axis 0: a depthwise layer
        _, some, _ = aten.convolution_backward(
            upstream, x, grad.new_empty(1).expand(shape), None, stride, padding, dilation, transposed, out_padding,
            len(at) if axis == 0 else 1, [False, True, False],
        )  # fmt: skip
        of_weight = grad.new_zeros(ctx.weight_shape).index_copy_(axis, at, some)

        return of_x if needs[0] else None, of_weight, of_bias if needs[2] else None, None, None, None


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, again: Any, part: Any) -> torch.Tensor:
        ctx.again, ctx.part, ctx.weight_shape, saved_input = again, part, weight.shape, x
        of_x, of_weight = ctx.needs_input_grad[:2]
        if part is not None and of_weight:
            saved_input = x.index_select(-1, part[1])
        ctx.save_for_backward(saved_input if of_weight else None, weight if of_x and again is None else None)
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x, weight = ctx.saved_tensors
        of_x = of_weight = of_bias = None
        flat = grad.reshape(-1, grad.shape[-1])
        if ctx.needs_input_grad[0]:
            of_x = grad.matmul(ctx.again() if weight is None else weight)

        if ctx.needs_input_grad[1]:
            of_weight = flat.t().mm(x.reshape(-1, x.shape[-1]))
            if ctx.part is not None:
                of_weight = grad.new_zeros(ctx.weight_shape).index_copy_(1, ctx.part[1], of_weight)

        if ctx.needs_input_grad[2]:
            of_bias = flat.sum(0)

        return of_x, of_weight, of_bias, None, None


class _Clamp(torch.autograd.Function):
    """Values outside of (low, high) are cut off; of the rest one bit an element is kept."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, low: float, high: float | None, inplace: bool) -> torch.Tensor:
        inside = x > low
        if high is not None:
            inside &= x < high
        ctx.save_for_backward(pack(inside))
        if inplace:
            ctx.mark_dirty(x)
            return x.clamp_(low, high)
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        return grad * unpack(ctx.saved_tensors[0], grad), None, None, None


class _Norm(torch.autograd.Function):
    """A BatchNorm with frozen statistics: a factor and a shift a channel."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, mean: Any, inverse: Any) -> torch.Tensor:
        shape = [1, -1, *[1] * (x.dim() - 2)]
        factor = inverse if weight is None else inverse * weight
        shift = -mean * factor if bias is None else bias - mean * factor
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, factor, mean, inverse)
        return torch.addcmul(shift.view(shape), x, factor.view(shape))

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x, factor, mean, inverse = ctx.saved_tensors
        shape, axes = [1, -1, *[1] * (grad.dim() - 2)], [0, *range(2, grad.dim())]
        of_x = grad * factor.view(shape) if ctx.needs_input_grad[0] else None
        of_weight = None
        if ctx.needs_input_grad[1]:
            of_weight = (grad * ((x - mean.view(shape)) * inverse.view(shape))).sum(axes)
        of_bias = grad.sum(axes) if ctx.needs_input_grad[2] else None
        return of_x, of_weight, of_bias, None, None


def _learns(*tensors: Any) -> bool:
    return any(isinstance(t, torch.Tensor) and t.requires_grad for t in tensors)


def _part(weight: Any) -> Any:
    """(axis, positions) of the trainable channels of a weight, see `sparse.mark`."""
    return getattr(weight, "learns_channels", None)


def _pair(value: Any, length: int) -> list[int]:
    return [value] * length if isinstance(value, int) else list(value) * (length if len(value) == 1 else 1)


def _convolution(axes: int) -> Callable[..., Any]:
    def convolve(
        x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
    ) -> Any:
        if isinstance(padding, str) or x.dim() != axes + 2 or not _learns(x, weight, bias):
            return NotImplemented
        form = (_pair(stride, axes), _pair(padding, axes), _pair(dilation, axes), False, [0] * axes, groups)
        return _Conv.apply(x, weight, bias, getattr(weight, "made_again", None), _part(weight), form)

    return convolve


def _linear(input: Any, weight: Any, bias: Any = None) -> Any:
    if not _learns(input, weight, bias):
        return NotImplemented
    return _Linear.apply(input, weight, bias, getattr(weight, "made_again", None), _part(weight))


def _relu(input: Any, inplace: bool = False) -> Any:
    return _Clamp.apply(input, 0.0, None, inplace) if _learns(input) else NotImplemented


def _hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    return _Clamp.apply(input, float(min_val), float(max_val), inplace) if _learns(input) else NotImplemented


def _relu6(input: Any, inplace: bool = False) -> Any:
    return _hardtanh(input, 0.0, 6.0, inplace)


def _batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    if training or running_mean is None or not _learns(input, weight, bias):
        return NotImplemented
    return _Norm.apply(input, weight, bias, running_mean, torch.rsqrt(running_var + eps))


OPS: dict[Any, Callable[..., Any]] = {
    F.conv1d: _convolution(1),
    F.conv2d: _convolution(2),
    aten.conv1d.default: _convolution(1),
    aten.conv2d.default: _convolution(2),
    F.linear: _linear,
    aten.linear.default: _linear,
    F.relu: _relu,
    torch.relu: _relu,
    torch.Tensor.relu: _relu,
    aten.relu.default: _relu,
    F.relu6: _relu6,
    F.hardtanh: _hardtanh,
    aten.hardtanh.default: _hardtanh,
    F.batch_norm: _batch_norm,
}


class Frugal(TorchFunctionMode):
    """While it is entered, the ops above keep only what their gradients need. It does not nest into itself."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        ours = OPS.get(func)
        if ours is not None and torch.is_grad_enabled():
            result = ours(*args, **kwargs)
            if result is not NotImplemented:
                return result
        return func(*args, **kwargs)
