"""Fake-quantize modules: learned step size (LSQ), always positive scales, frozen on request.

Source: Esser et al., "Learned Step Size Quantization" (2020). Two choices differ. The scale is stored as its
logarithm, so it cannot become negative (LiteRT refuses a negative scale; the others accept it silently) and a learning
rate means a relative change for every layer alike. The gradient scale 1/sqrt(n * q_max) counts the elements of one
sample, not of the batch, so that half a batch on each of two processes gives the gradient of the whole batch.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from ..config.numeric import Numeric
from .packed import pack, unpack

#: smallest scale; below it float32 arithmetic of the runtimes' requantization loses its meaning
MIN_SCALE = 1e-8
#: elements that a CPU's cache holds several copies of
_PIECE = 1 << 17


class ActivationFakeQuant(nn.Module):
    """Activations with one scale: real = (q - zero_point) * scale, q in the range [q_min, q_max] of `numeric`.

    `mode`: "off" passes through, "observe" asks `observer` (set by calibration) to look at the tensor, "quantize"
    rounds to the grid and passes gradients to input and scale. A `fixed` module has parameters that the runtimes
    prescribe. `ceiling` keeps scale * (q_max - zero_point) at or below a clamp's upper end (relu6), so that the
    clamp is the grid's own saturation and runtimes can drop it.
    """

    def __init__(
        self,
        numeric: Numeric,
        fixed: tuple[float, int] | None = None,
        ceiling: float | None = None,
    ) -> None:
        super().__init__()
        self.numeric, self.symmetric, self.ceiling = numeric, numeric.symmetric, ceiling
        self.q_min, self.q_max = numeric.range
        self.fixed = fixed is not None
        scale, zero_point = fixed or (1.0, 0)

        if self.fixed:
            self.register_buffer("fixed_scale", torch.tensor([scale], dtype=torch.float32))
        else:
            self.log_scale = nn.Parameter(torch.zeros(1))

        self.register_buffer("zero_point", torch.tensor([float(zero_point)]))
        self.mode = "quantize" if self.fixed else "off"
        self.observer: nn.Module | None = None

    def scale(self) -> torch.Tensor:
        """float32, one element, positive."""
        if self.fixed:
            return self.fixed_scale
        value = self.log_scale.exp()
        return value if self.ceiling is None else value.clamp(max=self._scale_limit())

    @property
    def dtype(self) -> torch.dtype:
        """The type of the integers."""
        return getattr(torch, self.numeric.dtype)

    def _scale_limit(self) -> float:
        """The largest float32 scale at which the grid's top is not above the ceiling."""
        top = self.q_max - (0 if self.symmetric else self.q_min)
        limit = torch.tensor(self.ceiling / top, dtype=torch.float32)  # type: ignore[operator]
        while float(limit) * top > self.ceiling:  # type: ignore[operator]
            limit = torch.nextafter(limit, torch.tensor(0.0))

        return float(limit)

    def set_range(self, low: float, high: float) -> None:
        """Set scale and zero point so that [low, high], widened to hold 0, is on the grid. Raises on NaN."""
        if self.fixed:
            return
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"activation range is not finite: [{low}, {high}]")

        low, high = min(low, 0.0), max(high, 0.0)
        if self.ceiling is not None:
            high = min(high, self.ceiling)

        if self.symmetric:
            scale, zero_point = max(-low, high) / self.q_max, 0
        else:
            scale = (high - low) / (self.q_max - self.q_min)
            zero_point = round(self.q_min - low / scale) if scale > MIN_SCALE else 0
            zero_point = max(self.q_min, min(self.q_max, zero_point))

        with torch.no_grad():
            self.log_scale.fill_(math.log(max(scale, MIN_SCALE)))
            self.zero_point.fill_(float(zero_point))

    def widen_to(self, scale: float) -> None:
        """Let the grid have the step `scale`, which must be larger than it is, about the same zero point."""
        with torch.no_grad():
            self.log_scale.fill_(math.log(scale))

    def parameters_of_grid(self) -> tuple[float, int]:
        """(scale as the float32 that every artifact stores, zero point)."""
        return float(self.scale().detach().item()), int(self.zero_point.item())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.mode == "off":
            return x

        if self.mode == "observe":
            if self.observer is not None:
                self.observer(x.detach())
            return x

        trainable = not self.fixed and torch.is_grad_enabled() and self.log_scale.requires_grad
        if x.is_cpu:
            zero_point = int(self.zero_point.item())
            low, high = self.q_min - zero_point, self.q_max - zero_point
            return _on_grid(x, self.scale().reshape(()), low, high, self._factor(x) if trainable else None)

        if not trainable:
            scale, zero_point = self.parameters_of_grid()
            return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, self.q_min, self.q_max)

        # on [0, q_max - q_min]: torch's backward rounds a negative zero point up by one and then clips one step early
        return torch._fake_quantize_learnable_per_tensor_affine(
            x, self.scale(), self.zero_point - self.q_min, 0, self.q_max - self.q_min, self._factor(x)
        )

    def _factor(self, x: torch.Tensor) -> float:
        """LSQ's gradient scale; the elements are those of one sample."""
        return 1.0 / math.sqrt(max(1, x.numel() // max(1, x.shape[0])) * self.q_max)


class WeightFakeQuant(nn.Module):
    """Symmetric integer weights with zero point 0, one scale per output channel (`axis`) or one for all (None)."""

    def __init__(self, weight: torch.Tensor, numeric: Numeric, axis: int | None) -> None:
        super().__init__()
        self.q_min, self.q_max = numeric.range
        self.numeric, self.axis = numeric, axis

        #: powers of two that the weight is multiplied with first, (rows, 1) and (1, columns), see `channels.py`
        self.register_buffer("row_factor", None)
        self.register_buffer("column_factor", None)
        channels, self.elements = self._rows(weight).shape
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.register_buffer("zero_point", torch.zeros(channels))

        #: below it the layer's bias does not fit the runtimes' int32 accumulator (see `ranges.floor_weight_scales`)
        self.register_buffer("floor", torch.full((channels,), MIN_SCALE))
        self.mode = "quantize"
        self.set_scale(self._rows(weight).abs().amax(1) / self.q_max)

    @property
    def dtype(self) -> torch.dtype:
        """The type of the integers."""
        return getattr(torch, self.numeric.dtype)

    def _rows(self, weight: torch.Tensor) -> torch.Tensor:
        """(channels, elements) view of the weight along its scale axis."""
        weight = self.scaled(weight.detach())
        return weight.reshape(1, -1) if self.axis is None else weight.transpose(0, self.axis).flatten(1)

    def scaled(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight times its factors: what is rounded."""
        for factor in (self.row_factor, self.column_factor):
            weight = weight if factor is None else weight * factor
        return weight

    def set_scale(self, scale: torch.Tensor) -> None:
        with torch.no_grad():
            self.log_scale.copy_(scale.to(torch.float32).clamp_min(MIN_SCALE).log())

    def scale(self) -> torch.Tensor:
        """float32 (channels,), positive, not below the floor."""
        return torch.maximum(self.log_scale.exp(), self.floor)

    def integer(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight's integers in torch's layout, of type `dtype`: round half to even, clipped to [q_min, q_max]."""
        # the kernels multiply by the reciprocal: so must we, or ties differ
        inverse = self._along(1.0 / self.scale().detach(), weight)
        return torch.round(self.scaled(weight.detach()) * inverse).clamp(self.q_min, self.q_max).to(self.dtype)

    def _frozen(self, weight: torch.Tensor) -> torch.Tensor:
        """A frozen weight, fake-quantized: computed again in the backward pass, not kept (`tune.frugal`)."""
        with torch.no_grad():
            return _on_grid(weight, self._along(self.scale(), weight), self.q_min, self.q_max, None)

    def _along(self, scale: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The scales in a shape that broadcasts to the weight's."""
        shape = [1] * weight.dim()
        if self.axis is not None:
            shape[self.axis] = -1
        return scale.view(shape)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        part = getattr(weight, "learns_channels", None)
        weight = self.scaled(weight)

        if self.mode == "off":
            return weight

        factor = 1.0 / math.sqrt(self.elements * self.q_max)
        trainable = torch.is_grad_enabled() and self.log_scale.requires_grad

        if weight.is_cpu or self.numeric.granularity == "group":
            scale = self._along(self.scale(), weight)
            fake_quantized = _on_grid(weight, scale, self.q_min, self.q_max, factor if trainable else None)
            if not fake_quantized.requires_grad and torch.is_grad_enabled():
                fake_quantized.made_again = lambda: self._frozen(weight)

            if part is not None:
                fake_quantized.learns_channels = part

            return fake_quantized

        if self.axis is None:
            return torch._fake_quantize_learnable_per_tensor_affine(
                weight, self.scale(), self.zero_point, self.q_min, self.q_max, factor
            )

        return torch._fake_quantize_learnable_per_channel_affine(
            weight, self.scale(), self.zero_point, self.axis, self.q_min, self.q_max, factor
        )


class GroupedWeight(WeightFakeQuant):
    """Weights (rows, columns) with one scale for `numeric.group` values in a row; scales (rows * groups,)."""

    def __init__(self, weight: torch.Tensor, numeric: Numeric) -> None:
        super().__init__(weight, numeric, None)

    def _rows(self, weight: torch.Tensor) -> torch.Tensor:
        """(rows * groups, values) view of the weight."""
        return self.scaled(weight.detach()).reshape(-1, self.numeric.group)

    def _along(self, scale: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The scales, each repeated for the values of its group."""
        return scale.repeat_interleave(self.numeric.group).view(weight.shape)


class RoundedWeight(WeightFakeQuant):
    """Weights rounded to a narrow float type, without a scale and with nothing to train but the weight itself."""

    def __init__(self, weight: torch.Tensor, numeric: Numeric) -> None:
        super().__init__(weight, numeric, None)
        del self.log_scale
        self.register_buffer("log_scale", None)

    def set_scale(self, scale: torch.Tensor) -> None:
        """A float type has no scale."""

    def scale(self) -> torch.Tensor:
        """float32 (1,): 1."""
        return torch.ones_like(self.zero_point)

    def integer(self, weight: torch.Tensor) -> torch.Tensor:
        """The values as they are stored, of type `dtype`: the nearest ones, ties to even, at most the largest."""
        return self.scaled(weight.detach()).clamp(self.q_min, self.q_max).to(self.dtype)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        if self.mode == "off":
            return self.scaled(weight)

        stored = self.integer(weight).to(weight.dtype)
        if not (torch.is_grad_enabled() and weight.requires_grad):
            return stored

        weight = self.scaled(weight)
        return weight + (stored - weight).detach()


def weight_fake_quant(weight: torch.Tensor, numeric: Numeric, axis: int | None) -> WeightFakeQuant:
    """The module that brings `weight` to a number format; `axis` is that of its scales, None for one scale or none."""
    if numeric.kind == "float":
        return RoundedWeight(weight, numeric)
    return GroupedWeight(weight, numeric) if numeric.granularity == "group" else WeightFakeQuant(weight, numeric, axis)


def _on_grid(x: torch.Tensor, scale: torch.Tensor, low: int, high: int, factor: float | None) -> torch.Tensor:
    """`x` rounded to multiples of `scale` (broadcast to it) in [low, high]; `factor` None = the scale is frozen.

    The same numbers as torch's own kernels, which are not vectorized on a CPU and cost ten times as much there.
    """
    if torch.is_grad_enabled() and (x.requires_grad or factor is not None):
        return _Lsq.apply(x, scale, low, high, factor)

    return (x * scale.reciprocal()).round_().clamp_(low, high).mul_(scale)


class _Lsq(torch.autograd.Function):
    """Round and clip with the gradients of LSQ, equations 3 and 5: straight through inside, nothing outside; for the
    scale round(v) - v inside and the end of the grid outside (v = x / scale)."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, scale: torch.Tensor, low: int, high: int, factor: float | None
    ) -> torch.Tensor:
        ctx.low, ctx.high, ctx.factor = low, high, factor
        grid = (x * scale.reciprocal()).round_()

        if factor is not None:
            ctx.save_for_backward(x, scale)
            return grid.clamp_(low, high).mul_(scale)

        clipped = grid.clamp(low, high)
        ctx.save_for_backward(pack(grid == clipped))  # one bit each: all that the input's gradient needs
        return clipped.mul_(scale)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        if ctx.factor is None:
            (inside,) = ctx.saved_tensors
            return gradient * unpack(inside, gradient), None, None, None, None

        x, scale = ctx.saved_tensors
        if scale.dim() or x.numel() <= _PIECE:
            of_x, of_scale = _lsq_gradients(x, gradient, scale, ctx.low, ctx.high)
            return of_x, of_scale * ctx.factor, None, None, None

        of_x, of_scale = torch.empty_like(gradient), torch.zeros_like(scale)
        rows = max(1, _PIECE * x.shape[0] // x.numel())
        for values, upstream, place in zip(x.split(rows), gradient.split(rows), of_x.split(rows)):
            part, of_part = _lsq_gradients(values, upstream, scale, ctx.low, ctx.high)
            place.copy_(part)
            of_scale += of_part

        return of_x, of_scale * ctx.factor, None, None, None


def _lsq_gradients(
    x: torch.Tensor, upstream: torch.Tensor, scale: torch.Tensor, low: int, high: int
) -> tuple[torch.Tensor, torch.Tensor]:
    v = x * scale.reciprocal()
    grid = v.round()
    clipped = grid.clamp(low, high)
    inside = grid.eq_(clipped)  # 1.0 and 0.0: arithmetic in place costs a tenth of a masked copy
    slope = clipped.sub_(v.mul_(inside)).mul_(upstream)

    return inside.mul_(upstream), slope.sum_to_size(scale.shape)
