"""Forward and backward of a tail's ops out of slices, concatenations and matrix products: what every runtime has.

A convolution with weights that are inputs, and above all its gradient, is an op that runtimes lack, run slowly or, in
one case that was measured, compute wrongly. Written as a matrix product over shifted slices it is none of these.
Max pooling passes its gradient to the first of equal values, as torch does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import fx

from ..core.errors import ModelError

aten = torch.ops.aten
Pair = tuple[int, int]


class Form(NamedTuple):
    """How a convolution goes over its input."""

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)


def _pair(value: int | Sequence[int]) -> Pair:
    values = (value, value) if isinstance(value, int) else tuple(value)
    return (values[0], values[-1])


def _sizes(x: torch.Tensor, kernel: Pair, form: Form) -> Pair:
    """Rows and columns of what comes of `x` (N, H, W, C)."""
    high, wide = ((side + 2 * p - d * (k - 1) - 1) // s + 1 for side, k, s, p, d in zip(x.shape[1:3], kernel, *form))
    return high, wide


def _windows(x: torch.Tensor, kernel: Pair, form: Form, value: float = 0.0) -> list[torch.Tensor]:
    """For every place in the kernel what lies under it in `x` (N, H, W, C): (N, H', W', C) each; `value` is around."""
    (high, wide), x = _sizes(x, kernel, form), _framed(x, form.padding, value)
    rows = [_taken(x, 1, i * form.dilation[0], high, form.stride[0]) for i in range(kernel[0])]
    return [_taken(row, 2, j * form.dilation[1], wide, form.stride[1]) for row in rows for j in range(kernel[1])]


def _taken(x: torch.Tensor, axis: int, first: int, count: int, stride: int) -> torch.Tensor:
    """`count` values along `axis`, every `stride`-th from `first` on.

    By a reshape: LiteRT copies a slice that has steps value by value.
    """
    if stride == 1:
        return x.narrow(axis, first, count)

    lacking = max(first + count * stride - x.shape[axis], 0)
    x = _padded(x, axis, 0, lacking).narrow(axis, first, count * stride)
    shape = list(x.shape)
    shape[axis : axis + 2] = [count, stride * shape[axis + 1]]  # what is left out joins the values of the next axis

    return x.reshape(shape).narrow(axis + 1, 0, x.shape[axis + 1])


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


def _framed(x: torch.Tensor, by: Pair, value: float = 0.0) -> torch.Tensor:
    """(N, H, W, C) with that many rows and columns of `value` at each side; cut off there where `by` is negative."""
    for axis, size in zip((1, 2), by):
        x = x.narrow(axis, -size, x.shape[axis] + 2 * size) if size < 0 else _padded(x, axis, size, size, value)
    return x


def _gathered(parts: list[torch.Tensor], shape: Sequence[int], kernel: Pair, form: Form) -> torch.Tensor:
    """The opposite of `_windows`: each part back to where it was taken from, added up; (N, H, W, C) without padding."""
    padded = [side + 2 * by for side, by in zip(shape[1:3], form.padding)]
    total: torch.Tensor | None = None
    for number, part in enumerate(parts):
        at = [i * d for i, d in zip(divmod(number, kernel[1]), form.dilation)]
        part = _spread(_spread(part, 1, form.stride[0]), 2, form.stride[1])
        after = [full - start - here for full, start, here in zip(padded, at, part.shape[1:3])]
        if any((*at, *after)):
            part = aten.constant_pad_nd(part, [0, 0, at[1], after[1], at[0], after[0]], 0.0)
        total = part if total is None else total + part

    assert total is not None
    return _framed(total, (-form.padding[0], -form.padding[1]))


def _back(kernel: Pair, form: Form) -> Form:
    """How a kernel turned over goes over the gradient of what a stride of 1 gave, to give that of the input."""
    high, wide = ((side - 1) * d - p for side, d, p in zip(kernel, form.dilation, form.padding))
    return Form((1, 1), (high, wide), form.dilation)


def _rows(x: torch.Tensor, kernel: Pair, form: Form, turned: bool = False) -> list[torch.Tensor]:
    """For every row of the kernel what lies under it in `x` (N, H, W, C): (N * H' * W', kw * C), samples and places.

    `turned`: under a kernel turned over, its last row and column first.
    """
    (high, wide), x, order = _sizes(x, kernel, form), _framed(x, form.padding), -1 if turned else 1
    beside = [_taken(x, 2, j * form.dilation[1], wide, form.stride[1]) for j in range(kernel[1])][::order]
    joined = torch.cat(beside, 3) if len(beside) > 1 else beside[0]
    below = [_taken(joined, 1, i * form.dilation[0], high, form.stride[0]) for i in range(kernel[0])][::order]

    return [row.reshape(-1, joined.shape[3]) for row in below]


def _summed(rows: list[torch.Tensor], weight: torch.Tensor) -> torch.Tensor:
    """Rows times their part of the weight (kh, kw, C, O), added up: (N * H' * W', O)."""
    products = [torch.matmul(row, part.reshape(-1, part.shape[2])) for row, part in zip(rows, weight)]
    total = products[0]
    for product in products[1:]:
        total = total + product

    return total


class _Dense(torch.autograd.Function):
    """Convolution of (N, H, W, C) by (O, C, kh, kw), with a bias (O,) or None: (N, H', W', O).

    Each of the three products (forward, and the gradients of weight and input) is a matrix product over the whole batch
    for every row of the kernel, with a row for every sample and place. Channels come last, so that what lies under a
    row is joined out of long runs of memory; the weight's gradient takes that of the forward pass.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, form: Form) -> torch.Tensor:
        rows = _rows(x, _kernel(weight), form)
        ctx.save_for_backward(weight, *rows)
        ctx.form = tuple(x.shape), form
        result = _summed(rows, weight.permute(2, 3, 1, 0))
        result = (
            result if bias is None else result + bias
        )  # before the reshape, which LiteRT else draws into the product

        return result.reshape(x.shape[0], *_sizes(x, _kernel(weight), form), -1)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        weight, *rows = ctx.saved_tensors
        shape, form = ctx.form
        outputs, channels, *kernel = weight.shape
        of_x = of_weight = of_bias = None
        flat = grad.reshape(-1, outputs)

        if ctx.needs_input_grad[1]:
            products = [torch.matmul(row.transpose(0, 1), flat) for row in rows]
            joined = torch.cat(products) if len(products) > 1 else products[0]
            of_weight = joined.reshape(*kernel, channels, outputs).permute(3, 2, 0, 1)

        if ctx.needs_input_grad[2]:
            of_bias = flat.sum(0)

        if ctx.needs_input_grad[0] and form.stride == (1, 1):
            around = _rows(grad, _kernel(weight), _back(_kernel(weight), form), turned=True)
            of_x = _summed(around, weight.permute(2, 3, 0, 1)).reshape(shape)
        elif ctx.needs_input_grad[0]:
            taps = kernel[0] * kernel[1]
            back = torch.matmul(flat, weight.permute(0, 2, 3, 1).reshape(outputs, -1))
            back = back.reshape(*grad.shape[:3], taps, channels)
            of_x = _gathered([back[:, :, :, k] for k in range(taps)], shape, _kernel(weight), form)

        return of_x, of_weight, of_bias, None


class _Depthwise(torch.autograd.Function):
    """The same where every channel has a kernel (C, 1, kh, kw) of its own: products, no sums over channels."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, form: Form) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.form = form
        return _weighted(_windows(x, _kernel(weight), form), weight)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x, weight = ctx.saved_tensors
        form: Form = ctx.form
        of_x: torch.Tensor | None = None
        of_weight: torch.Tensor | None = None

        if ctx.needs_input_grad[1]:
            windows = _windows(x, _kernel(weight), form)
            sums = [(window * grad).sum((0, 1, 2)).reshape(-1, 1) for window in windows]
            of_weight = torch.cat(sums, 1).reshape(weight.shape)

        if ctx.needs_input_grad[0] and form.stride == (1, 1):
            around = _windows(grad, _kernel(weight), _back(_kernel(weight), form))
            of_x = _weighted(around[::-1], weight)
        elif ctx.needs_input_grad[0]:
            of_x = _gathered([grad * tap for tap in _taps(weight)], x.shape, _kernel(weight), form)

        return of_x, of_weight, None


def _kernel(weight: torch.Tensor) -> Pair:
    return (weight.shape[2], weight.shape[3])


def _taps(weight: torch.Tensor) -> list[torch.Tensor]:
    """A depthwise kernel place by place, (C,) each."""
    by_place = weight.reshape(weight.shape[0], -1).transpose(0, 1)
    return [by_place[k] for k in range(by_place.shape[0])]


def _weighted(windows: list[torch.Tensor], weight: torch.Tensor) -> torch.Tensor:
    """The sum of windows, each times its place in a depthwise kernel."""
    first, *others = (window * tap for window, tap in zip(windows, _taps(weight)))
    for operand in others:
        first = first + operand
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
    x, form = x.permute(0, 2, 3, 1), Form(_pair(stride), _pair(padding), _pair(dilation))
    if groups == x.shape[3] == weight.shape[0]:
        result = _Depthwise.apply(x, weight, form)
    elif groups == 1:
        return _Dense.apply(x, weight, bias, form).permute(0, 3, 1, 2)
    else:
        inside, outside = weight.shape[1], weight.shape[0] // groups
        parts = [
            _Dense.apply(x[:, :, :, g * inside : (g + 1) * inside], weight[g * outside : (g + 1) * outside], None, form)
            for g in range(groups)
        ]
        result = torch.cat(parts, 3)

    return (result if bias is None else result + bias).permute(0, 3, 1, 2)


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
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        (x,) = ctx.saved_tensors
        low, top = ctx.range
        mask = (x > low).to(grad.dtype)
        if top is not None:
            mask = mask * (x < top).to(grad.dtype)

        return grad * mask, None, None


def relu(x: torch.Tensor) -> torch.Tensor:
    return _Relu.apply(x, 0.0, None)


def hardtanh(x: torch.Tensor, low: float = -1.0, top: float = 1.0) -> torch.Tensor:
    return _Relu.apply(x, float(low), float(top))


class _MaxPool(torch.autograd.Function):
    """Padding is filled with less than any value behind a ReLU, so that none is cut off."""

    @staticmethod
    def forward(ctx: Any, x: Any, kernel: Pair, form: Form) -> torch.Tensor:
        windows = _windows(x, kernel, form, -3e38)
        best = windows[0]
        for window in windows[1:]:
            best = torch.maximum(best, window)

        ctx.save_for_backward(x, best)
        ctx.form = kernel, form
        return best

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x, best = ctx.saved_tensors
        kernel, form = ctx.form
        free, parts = torch.ones_like(best), []

        for window in _windows(x, kernel, form, -3e38):
            here = free * (window >= best).to(grad.dtype)  # the first of equals takes it all
            free = free - here
            parts.append(grad * here)

        return _gathered(parts, x.shape, kernel, form), None, None


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

    form = Form(_pair(stride or kernel), _pair(padding), _pair(dilation))
    return _MaxPool.apply(x.permute(0, 2, 3, 1), _pair(kernel), form).permute(0, 3, 1, 2)


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    result = torch.matmul(x, weight.transpose(0, 1))
    return result if bias is None else result + bias


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
