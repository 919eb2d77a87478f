"""Forward and backward of a tail's ops out of slices, concatenations and matrix products: what every runtime has.

A convolution with weights that are inputs, and above all its gradient, is an op that runtimes lack, run slowly or, in
one case that was measured, compute wrongly. Written as a matrix product over shifted slices it is none of these.
Max pooling passes its gradient to the first of equal values, as torch does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx

from ..errors import ModelError

aten = torch.ops.aten
Pair = tuple[int, int]


def _pair(value: int | Sequence[int]) -> Pair:
    values = (value, value) if isinstance(value, int) else tuple(value)
    return (values[0], values[-1])


def _windows(x: torch.Tensor, kernel: Pair, stride: Pair, dilation: Pair) -> list[torch.Tensor]:
    """For every place in the kernel the values under it, (N, C, H', W') each; `x` is padded already."""
    height = (x.shape[2] - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    width = (x.shape[3] - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    found = []
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * dilation[0], j * dilation[1]
            rows = x[:, :, top : top + (height - 1) * stride[0] + 1 : stride[0]]
            found.append(rows[:, :, :, left : left + (width - 1) * stride[1] + 1 : stride[1]])
    return found


def _spread(x: torch.Tensor, axis: int, stride: int) -> torch.Tensor:
    """`stride` - 1 zeros behind every value along `axis`, but for the last one."""
    if stride == 1:
        return x
    shape = list(x.shape)
    rows = x.reshape(*shape[: axis + 1], 1, *shape[axis + 1 :])
    wide = _padded(rows, axis + 1, 0, stride - 1).reshape(*shape[:axis], shape[axis] * stride, *shape[axis + 1 :])
    return wide.narrow(axis, 0, (shape[axis] - 1) * stride + 1)


def _padded(x: torch.Tensor, axis: int, before: int, after: int, value: float = 0.0) -> torch.Tensor:
    """`value` around `x` along one axis."""
    if not before and not after:
        return x
    return aten.constant_pad_nd(x, [0, 0] * (x.dim() - 1 - axis) + [before, after], value)


def _gathered(parts: list[torch.Tensor], size: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> torch.Tensor:
    """The opposite of `_windows`: each part back to where it was taken from, added up; (N, C, *size)."""
    total: torch.Tensor | None = None
    for number, part in enumerate(parts):
        i, j = divmod(number, kernel[1])
        for axis, at in ((2, i * dilation[0]), (3, j * dilation[1])):
            part = _spread(part, axis, stride[axis - 2])
            part = _padded(part, axis, at, size[axis - 2] - at - part.shape[axis])
        total = part if total is None else total + part
    assert total is not None
    return total


class _Conv2d(torch.autograd.Function):
    """Convolution of (N, C, H, W) by (O, C / groups, kh, kw), without bias, of an `x` that is padded already."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, stride: Pair, dilation: Pair, groups: int) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.form = (stride, dilation, groups)
        windows = _windows(x, (weight.shape[2], weight.shape[3]), stride, dilation)
        if groups == x.shape[1] == weight.shape[0]:  # depthwise: products, no sums over channels
            taps = weight.reshape(weight.shape[0], -1)
            total = windows[0] * taps[:, 0].reshape(1, -1, 1, 1)
            for number, window in enumerate(windows[1:], 1):
                total = total + window * taps[:, number].reshape(1, -1, 1, 1)
            return total
        n, _, height, width = windows[0].shape
        columns = _columns(windows, groups)
        said = torch.matmul(weight.reshape(1, groups, weight.shape[0] // groups, -1), columns)
        return said.reshape(n, weight.shape[0], height, width)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        stride, dilation, groups = ctx.form
        kernel = (weight.shape[2], weight.shape[3])
        of_x: torch.Tensor | None = None
        of_weight: torch.Tensor | None = None
        windows = _windows(x, kernel, stride, dilation)
        if groups == x.shape[1] == weight.shape[0]:
            taps = weight.reshape(weight.shape[0], -1)
            if ctx.needs_input_grad[0]:
                parts = [grad * taps[:, k].reshape(1, -1, 1, 1) for k in range(len(windows))]
                of_x = _gathered(parts, (x.shape[2], x.shape[3]), kernel, stride, dilation)
            if ctx.needs_input_grad[1]:
                sums = [(window * grad).sum((0, 2, 3)).reshape(-1, 1) for window in windows]
                of_weight = torch.cat(sums, 1).reshape(weight.shape)
            return of_x, of_weight, None, None, None
        n, _, height, width = windows[0].shape
        flat = grad.reshape(n, groups, weight.shape[0] // groups, height * width)
        if ctx.needs_input_grad[1]:
            columns = _columns(windows, groups)
            products = torch.matmul(flat, columns.transpose(2, 3))  # (N, G, O/G, C/G * taps)
            of_weight = products.sum(0).reshape(weight.shape)
        if ctx.needs_input_grad[0]:
            by_group = weight.reshape(1, groups, weight.shape[0] // groups, -1)
            back = torch.matmul(by_group.transpose(2, 3), flat)
            back = back.reshape(n, x.shape[1], kernel[0] * kernel[1], height * width)
            parts = [back[:, :, k].reshape(n, x.shape[1], height, width) for k in range(kernel[0] * kernel[1])]
            of_x = _gathered(parts, (x.shape[2], x.shape[3]), kernel, stride, dilation)
        return of_x, of_weight, None, None, None


def _columns(windows: list[torch.Tensor], groups: int) -> torch.Tensor:
    """(N, groups, C / groups * taps, H' * W') in the order of a weight's own axes."""
    n, channels, height, width = windows[0].shape
    rows = [w.reshape(n, channels, 1, height * width) for w in windows]
    return torch.cat(rows, 2).reshape(n, groups, channels // groups * len(windows), height * width)


def conv2d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> torch.Tensor:
    """`aten.conv2d` with its own gradients."""
    for axis, size in zip((2, 3), _pair(padding)):
        x = _padded(x, axis, size, size)
    said = _Conv2d.apply(x, weight, _pair(stride), _pair(dilation), groups)
    return said if bias is None else said + bias.reshape(1, -1, 1, 1)


def conv1d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Sequence[int] = (1,),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    groups: int = 1,
) -> torch.Tensor:
    """`aten.conv1d` as a convolution of height 1."""
    wide = conv2d(x.unsqueeze(2), weight.unsqueeze(2), bias, (1, *stride), (0, *padding), (1, *dilation), groups)
    return wide.squeeze(2)


class _Relu(torch.autograd.Function):
    """max(x, 0), and below `top` where there is one; its gradient is 0 where it is cut off."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, low: float, top: float | None) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.range = low, top
        return torch.clamp(x, low, top)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        low, top = ctx.range
        kept = (x > low).to(grad.dtype)
        if top is not None:
            kept = kept * (x < top).to(grad.dtype)
        return grad * kept, None, None


def relu(x: torch.Tensor) -> torch.Tensor:
    return _Relu.apply(x, 0.0, None)


def hardtanh(x: torch.Tensor, low: float = -1.0, top: float = 1.0) -> torch.Tensor:
    return _Relu.apply(x, float(low), float(top))


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, kernel: Pair, stride: Pair, dilation: Pair) -> torch.Tensor:
        windows = _windows(x, kernel, stride, dilation)
        best = windows[0]
        for window in windows[1:]:
            best = torch.maximum(best, window)
        ctx.save_for_backward(x, best)
        ctx.form = (kernel, stride, dilation)
        return best

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        x, best = ctx.saved_tensors
        kernel, stride, dilation = ctx.form
        free, parts = torch.ones_like(best), []
        for window in _windows(x, kernel, stride, dilation):
            here = free * (window >= best).to(grad.dtype)  # the first of equals takes it all
            free = free - here
            parts.append(grad * here)
        return _gathered(parts, (x.shape[2], x.shape[3]), kernel, stride, dilation), None, None, None


def max_pool2d(
    x: torch.Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> torch.Tensor:
    if ceil_mode:
        raise ModelError("a pooling layer with ceil_mode cannot stand behind a cut", remedy="choose another tail")
    for axis, size in zip((2, 3), _pair(padding)):
        if size:  # no value of a picture behind a ReLU is below this, and none is cut off
            x = _padded(x, axis, size, size, -3e38)
    return _MaxPool.apply(x, _pair(kernel), _pair(stride or kernel), _pair(dilation))


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    said = torch.matmul(x, weight.transpose(0, 1))
    return said if bias is None else said + bias


#: ops of a captured graph that are written anew; all others stay as they are
PLAIN: dict[Any, Callable[..., torch.Tensor]] = {
    aten.conv2d.default: conv2d,
    aten.conv1d.default: conv1d,
    aten.linear.default: linear,
    aten.relu.default: relu,
    aten.hardtanh.default: hardtanh,
    aten.max_pool2d.default: max_pool2d,
}


class Plain(fx.Interpreter):
    """Runs a tail with the ops above in the place of the graph's own."""

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target in PLAIN:
            return PLAIN[target](*args, **kwargs)
        return super().call_function(target, args, kwargs)
