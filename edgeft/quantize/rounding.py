"""Which way each weight of a layer is rounded, so that the layer's outputs change least: AdaRound.

Source: Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization" (2020): every weight goes to one of
its two neighbours on the grid; a rectified sigmoid stands for the choice, and a regularizer drives it to 0 or 1. The
objective is the squared error of the layer's outputs. It is a quadratic form of the weights, so that the second moments
of the layer's inputs stand for the samples: memory and time do not grow with their number. What gradient descent leaves
is improved by single flips while one of them lowers the error, which is exact and never makes it worse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

#: the rectified sigmoid is stretched to these ends and clipped to [0, 1] (Nagel et al., equation 23)
LOW, HIGH = -0.1, 1.1
STEPS, RATE = 400, 0.05
#: share of the steps without the regularizer; its exponent falls from the first to the last one after them
WARM, SHARPEST, BLUNTEST = 0.2, 20.0, 2.0
REGULARIZER = 0.5
#: products of two numbers that the gradient descent of one layer may take: about ten seconds on two cores
MOST_PRODUCTS = 4e11
#: what is added to the diagonal of the moments, as a share of its mean: inputs that never vary leave a weight free
DAMPING = 0.01


@dataclass(frozen=True)
class Moments:
    """What the objective needs of a layer in G groups with K weights a row, R rows a group.

    `inputs` (G, K, K): the mean of x x^T over the quantized inputs x; `cross` (G, R, K): the mean of y x^T, with y the
    float outputs without their bias. Where the bias is free both are about the means of x and y.
    """

    inputs: torch.Tensor
    cross: torch.Tensor


def rounded(weight: torch.Tensor, scale: torch.Tensor, low: int, high: int, moments: Moments) -> torch.Tensor:
    """float32 (G, R, K): the integers, from `low` to `high`, of `weight` (G, R, K) with steps `scale` of that shape."""
    diagonal = moments.inputs.diagonal(dim1=-2, dim2=-1)
    damping = DAMPING * diagonal.mean(-1).clamp(min=1e-12)
    inputs = moments.inputs + damping[:, None, None] * torch.eye(weight.shape[-1]).to(weight)

    # the error of W + D is D H D^T - 2 D R^T, apart from a constant
    pull = moments.cross + damping[:, None, None] * weight - weight @ inputs

    nearest = (weight / scale).round().clamp(low, high)
    floor = (weight / scale).floor().clamp(low, high - 1)
    fixed = ((weight / scale) < low) | ((weight / scale) > high)  # beyond the grid's ends there is no choice
    up = nearest - floor
    noise = nearest * scale - weight
    usual = (noise * (noise @ inputs)).sum(-1, keepdim=True).clamp(min=1e-20)
    problem = _Problem(weight, scale, floor, fixed, inputs, pull, usual)

    candidates = [up, _descended(problem, up)]
    improved = [_flipped(problem, candidate) for candidate in candidates]
    errors = torch.stack([_error(problem, candidate) for candidate in improved])
    best = errors.argmin(0)

    return floor + torch.stack(improved).gather(0, best[None].expand(1, *weight.shape))[0]


@dataclass(frozen=True)
class _Problem:
    """`up` in {0, 1} of shape (G, R, K) is sought, which adds to `floor`; `usual` (G, R, 1) is the error of rounding to
    the nearest."""

    weight: torch.Tensor
    scale: torch.Tensor
    floor: torch.Tensor
    fixed: torch.Tensor
    inputs: torch.Tensor
    pull: torch.Tensor
    usual: torch.Tensor

    def change(self, up: torch.Tensor) -> torch.Tensor:
        """What rounding adds to the weights."""
        return (self.floor + up) * self.scale - self.weight


def _error(problem: _Problem, up: torch.Tensor) -> torch.Tensor:
    """(G, R, 1): the error of each row in units of the usual one, apart from a constant."""
    change = problem.change(up)
    return (change * (change @ problem.inputs - 2 * problem.pull)).sum(-1, keepdim=True) / problem.usual


def _descended(problem: _Problem, up: torch.Tensor) -> torch.Tensor:
    """The choice by gradient descent on rectified sigmoids, which begins where each weight lies."""
    groups, rows, size = problem.weight.shape
    steps = min(STEPS, int(MOST_PRODUCTS / (4.0 * groups * rows * size * size)))
    if steps < STEPS / 8:
        return up

    share = ((problem.weight / problem.scale) - problem.floor).clamp(0.01, 0.99)
    logit = torch.logit((share - LOW) / (HIGH - LOW))
    moment, square = torch.zeros_like(logit), torch.zeros_like(logit)

    for step in range(1, steps + 1):
        sigmoid = torch.sigmoid(logit)
        soft = (sigmoid * (HIGH - LOW) + LOW).clamp(0, 1)
        soft = torch.where(problem.fixed, up, soft)
        gradient = 2 * problem.scale * (problem.change(soft) @ problem.inputs - problem.pull) / problem.usual
        progress = (step / steps - WARM) / (1 - WARM)
        if progress > 0:
            power = BLUNTEST + (SHARPEST - BLUNTEST) * 0.5 * (1 + math.cos(math.pi * progress))
            aside = 2 * soft - 1
            gradient -= REGULARIZER * 2 * power / size * aside.sign() * aside.abs().pow(power - 1)
        gradient *= (HIGH - LOW) * sigmoid * (1 - sigmoid)
        moment.lerp_(gradient, 0.1)
        square.lerp_(gradient * gradient, 0.001)
        logit -= RATE * (moment / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-12)

    soft = (torch.sigmoid(logit) * (HIGH - LOW) + LOW).clamp(0, 1)
    return torch.where(problem.fixed, up, (soft > 0.5).to(up))


def _flipped(problem: _Problem, up: torch.Tensor) -> torch.Tensor:
    """`up` after the single changes, the best one of a row at a time, that lower the row's error."""
    up = up.clone()
    slope = problem.change(up) @ problem.inputs - problem.pull
    diagonal = problem.inputs.diagonal(dim1=-2, dim2=-1)[:, None, :]
    group = torch.arange(up.shape[0])[:, None].expand(up.shape[:2])
    least = -1e-6 * problem.usual

    for _ in range(2 * up.shape[-1]):
        step = torch.where(up > 0.5, -problem.scale, problem.scale).masked_fill(problem.fixed, 0.0)
        gain = step * (2 * slope + step * diagonal)
        best, at = gain.min(-1, keepdim=True)
        better = best < least
        if not bool(better.any()):
            break

        taken = torch.where(better, step.gather(-1, at), torch.zeros_like(best))
        slope += taken * problem.inputs[group, at[..., 0]]
        up.scatter_add_(-1, at, taken.sign())

    return up
