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
    """For every place in the kernel the values under it, (N, H', W', C) each; `x` (N, H, W, C) is padded already."""
    height = (x.shape[1] - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    width = (x.shape[2] - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    found = []
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * dilation[0], j * dilation[1]
            rows = x[:, top : top + (height - 1) * stride[0] + 1 : stride[0]]
            found.append(rows[:, :, left : left + (width - 1) * stride[1] + 1 : stride[1]])
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
    """The opposite of `_windows`: each part back to where it was taken from, added up; (N, *size, C)."""
    total: torch.Tensor | None = None
    for number, part in enumerate(parts):
        at = [i * d for i, d in zip(divmod(number, kernel[1]), dilation)]
        part = _spread(_spread(part, 1, stride[0]), 2, stride[1])
        after = [full - start - here for full, start, here in zip(size, at, part.shape[1:3])]
        if any((*at, *after)):
            part = aten.constant_pad_nd(part, [0, 0, at[1], after[1], at[0], after[0]], 0.0)
        total = part if total is None else total + part
    assert total is not None
    return total


def _around(grad: torch.Tensor, kernel: Pair, dilation: Pair) -> list[torch.Tensor]:
    """Windows of a gradient (N, H, W, C) with zeros around it, in reverse: what a kernel turned over would see."""
    high, wide = ((side - 1) * d for side, d in zip(kernel, dilation))
    if high or wide:
        grad = aten.constant_pad_nd(grad, [0, 0, wide, wide, high, high], 0.0)
    return _windows(grad, kernel, (1, 1), dilation)[::-1]


class _Dense(torch.autograd.Function):
    """Convolution of (N, H, W, C), padded already, by (O, C, kh, kw), without bias: (N, H', W', O).

    Each of the three products (forward, and the gradients of weight and input) is one matrix product over the whole
    batch, with a row for every sample and place. Channels come last, so that the columns are joined out of long runs of
    memory; the weight's gradient takes those of the forward pass.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, stride: Pair, dilation: Pair) -> torch.Tensor:
        windows = _windows(x, _kernel(weight), stride, dilation)
        columns = _columns(windows)
        ctx.save_for_backward(columns, weight)
        ctx.form = tuple(x.shape), stride, dilation
        said = torch.matmul(columns, weight.permute(2, 3, 1, 0).reshape(-1, weight.shape[0]))
        return said.reshape(*windows[0].shape[:3], -1)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        columns, weight = ctx.saved_tensors
        shape, stride, dilation = ctx.form
        outputs, channels, *kernel = weight.shape
        of_x: torch.Tensor | None = None
        of_weight: torch.Tensor | None = None
        flat = grad.reshape(-1, outputs)
        if ctx.needs_input_grad[1]:
            products = torch.matmul(columns.transpose(0, 1), flat)
            of_weight = products.reshape(*kernel, channels, outputs).permute(3, 2, 0, 1)
        if ctx.needs_input_grad[0] and stride == (1, 1):
            around = _columns(_around(grad, _kernel(weight), dilation))
            of_x = torch.matmul(around, weight.permute(2, 3, 0, 1).reshape(-1, channels)).reshape(shape)
        elif ctx.needs_input_grad[0]:
            taps = kernel[0] * kernel[1]
            back = torch.matmul(flat, weight.permute(0, 2, 3, 1).reshape(outputs, -1))
            back = back.reshape(*grad.shape[:3], taps, channels)
            parts = [back[:, :, :, k] for k in range(taps)]
            of_x = _gathered(parts, (shape[1], shape[2]), _kernel(weight), stride, dilation)
        return of_x, of_weight, None, None


class _Depthwise(torch.autograd.Function):
    """The same where every channel has a kernel (C, 1, kh, kw) of its own: products, no sums over channels."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, stride: Pair, dilation: Pair) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.form = stride, dilation
        return _weighted(_windows(x, _kernel(weight), stride, dilation), weight)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        stride, dilation = ctx.form
        of_x: torch.Tensor | None = None
        of_weight: torch.Tensor | None = None
        if ctx.needs_input_grad[1]:
            windows = _windows(x, _kernel(weight), stride, dilation)
            sums = [(window * grad).sum((0, 1, 2)).reshape(-1, 1) for window in windows]
            of_weight = torch.cat(sums, 1).reshape(weight.shape)
        if ctx.needs_input_grad[0] and stride == (1, 1):
            of_x = _weighted(_around(grad, _kernel(weight), dilation), weight)
        elif ctx.needs_input_grad[0]:
            parts = [grad * tap for tap in _taps(weight)]
            of_x = _gathered(parts, (x.shape[1], x.shape[2]), _kernel(weight), stride, dilation)
        return of_x, of_weight, None, None


def _kernel(weight: torch.Tensor) -> Pair:
    return (weight.shape[2], weight.shape[3])


def _columns(windows: list[torch.Tensor]) -> torch.Tensor:
    """(N * H' * W', taps * C): a row for every sample and place."""
    joined = torch.cat(windows, -1) if len(windows) > 1 else windows[0]
    return joined.reshape(-1, joined.shape[-1])


def _taps(weight: torch.Tensor) -> list[torch.Tensor]:
    """A depthwise kernel place by place, (C,) each."""
    by_place = weight.reshape(weight.shape[0], -1).transpose(0, 1)
    return [by_place[k] for k in range(by_place.shape[0])]


def _weighted(windows: list[torch.Tensor], weight: torch.Tensor) -> torch.Tensor:
    """The sum of windows, each times its place in a depthwise kernel."""
    first, *others = (window * tap for window, tap in zip(windows, _taps(weight)))
    for other in others:
        first = first + other
    return first


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
    x = x.permute(0, 2, 3, 1)
    for axis, size in zip((1, 2), _pair(padding)):
        x = _padded(x, axis, size, size)
    form = (_pair(stride), _pair(dilation))
    if groups == x.shape[3] == weight.shape[0]:
        said = _Depthwise.apply(x, weight, *form)
    elif groups == 1:
        said = _Dense.apply(x, weight, *form)
    else:
        inside, outside = weight.shape[1], weight.shape[0] // groups
        parts = [
            _Dense.apply(x[:, :, :, g * inside : (g + 1) * inside], weight[g * outside : (g + 1) * outside], *form)
            for g in range(groups)
        ]
        said = torch.cat(parts, 3)
    return (said if bias is None else said + bias).permute(0, 3, 1, 2)


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
        return _gathered(parts, (x.shape[1], x.shape[2]), kernel, stride, dilation), None, None, None


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
    x = x.permute(0, 2, 3, 1)
    for axis, size in zip((1, 2), _pair(padding)):
        if size:  # no value of a picture behind a ReLU is below this, and none is cut off
            x = _padded(x, axis, size, size, -3e38)
    return _MaxPool.apply(x, _pair(kernel), _pair(stride or kernel), _pair(dilation)).permute(0, 3, 1, 2)


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
