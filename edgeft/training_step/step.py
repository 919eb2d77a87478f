"""A training step as a plain inference graph: tail forward, loss, backward and optimizer update, no training runtime.

    inputs   parameters, optimizer state, latents, targets, rate
    outputs  parameters, optimizer state, loss

All are float32 tensors but latents that are masks. The batch is fixed, since TFLite plans its memory once. Optimizers
are SGD with momentum (torch's form: v = m v + g; p = p - r v) and Adam (Kingma & Ba 2015), whose state carries the two
powers of beta that its bias correction needs, so that every step is the same graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import fx
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from ..core.errors import ModelError
from .laid_out import merged
from .plain import Plain

Tensors = tuple[torch.Tensor, ...]
#: nearness of a class that a batch has none of, and how far below the others an item is put that is not to count
FAR = 1e4


@dataclass(frozen=True)
class Learning:
    """The loss and the optimizer of a step.

    `loss`: cross-entropy (targets (B, C), rows that add up to 1), mse (targets (B, K)), prototype (one-hot targets
    (B, C); Snell et al., "Prototypical networks for few-shot learning", 2017), or ranking (targets (B, C), 1 where a
    candidate is the user's own, else 0; as the loss of `tasks.recommend.learning`).
    """

    loss: str = "cross-entropy"
    optimizer: str = "sgd"
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 0.0  # the norm of all gradients together is cut to it (Pascanu et al. 2013); 0 = it is not
    eps: float = 1e-7  # at 1e-8 the ONNX exporter's optimizer takes it for zero and drops it: 0 / 0 where nothing moved
    spread: tuple[float, ...] = ()  # of mse: what each output's error is divided by


@dataclass(frozen=True)
class Step:
    """`module(*parameters, *state, *latents, targets, rate)` -> (*parameters, *state, loss), as ATen ops."""

    module: fx.GraphModule
    example: Tensors
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def state_of(parameters: Sequence[torch.Tensor], learning: Learning) -> dict[str, torch.Tensor]:
    """The optimizer's state before the first step, by name."""
    if learning.optimizer == "sgd":
        return {f"velocity_{i}": torch.zeros_like(p) for i, p in enumerate(parameters)}

    moments = {
        f"{kind}_{i}": torch.zeros_like(p)
        for kind in ("first_moment", "second_moment")
        for i, p in enumerate(parameters)
    }

    return {**moments, "power_1": torch.ones(1), "power_2": torch.ones(1)}


def loss_of(results: Sequence[torch.Tensor], targets: torch.Tensor, learning: Learning) -> torch.Tensor:
    """A scalar: the mean over the batch. `results` are the tail's outputs, for prototypes also its features (B, D)."""
    outputs = results[0]
    if learning.loss == "prototype":
        outputs = nearness(results[1], targets)

    if learning.loss == "mse":
        error = outputs - targets
        if learning.spread:
            error = error / torch.tensor(learning.spread)
        return (error * error).mean()

    if learning.loss == "ranking":
        return ranking(outputs, targets)

    highest = outputs.detach().amax(1, keepdim=True)
    shifted = outputs - highest
    total = shifted.exp().sum(1, keepdim=True).log()
    return (targets * (total - shifted)).sum(1).mean()


def ranking(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A softmax of each own item of a row against all that are not, mean over own items.

    Each logarithm is of a sum that holds a 1, however far scores are apart.
    """
    highest = (scores.detach() - FAR * targets).amax(1, keepdim=True)
    others = (scores - highest - FAR * targets).exp().sum(1, keepdim=True).log() + highest
    larger = torch.maximum(others, scores).detach()
    losses = ((others - larger).exp() + (scores - larger).exp()).log() + larger - scores

    return (losses * targets).sum() / torch.clamp(targets.sum(), min=1.0)


def nearness(features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(B, C): how near each sample is to the mean of each class of its batch, in units of the features' own spread.

    A class that the batch has none of is out of reach. Scaled as `personalize.learn.prototypes` sets the last layer.
    """
    counts = targets.sum(0)
    features = features - features.mean(0, keepdim=True).detach()  # far from zero, squares would lose their digits
    means = torch.matmul(targets.transpose(0, 1), features) / torch.clamp(counts, min=1.0).reshape(-1, 1)
    spread = (features * features).sum(1).mean().detach() + 1e-6
    within = (features * features).sum(1, keepdim=True) + (means * means).sum(1).reshape(1, -1)
    apart = within - 2 * torch.matmul(features, means.transpose(0, 1))
    present = (counts > 0).to(features.dtype).reshape(1, -1)

    return -2 * apart / spread * present - FAR * (1 - present)


def update(
    parameters: Sequence[torch.Tensor],
    gradients: Sequence[torch.Tensor],
    state: Sequence[torch.Tensor],
    rate: torch.Tensor,
    learning: Learning,
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """New parameters and new state; `rate` has one element."""
    count = len(parameters)
    if learning.clip:
        norm = torch.stack([(g * g).sum() for g in gradients]).sum().sqrt()
        share = torch.clamp(learning.clip / (norm + 1e-6), max=1.0)
        gradients = [g * share for g in gradients]

    if learning.optimizer == "sgd":
        velocity = [learning.momentum * v + g for v, g in zip(state, gradients)]
        return [p - rate * v for p, v in zip(parameters, velocity)], velocity

    beta1, two = learning.betas
    mean = [beta1 * m + (1 - beta1) * g for m, g in zip(state[:count], gradients)]
    square = [two * s + (1 - two) * g * g for s, g in zip(state[count : 2 * count], gradients)]
    first, second = state[-2] * beta1, state[-1] * two
    by_mean, by_square = rate / (1 - first), 1 / (1 - second)
    moved = [p - by_mean * m / ((s * by_square).sqrt() + learning.eps) for p, m, s in zip(parameters, mean, square)]

    return moved, [*mean, *square, first, second]


def eager(tail: fx.GraphModule, count: int, latents: int, learning: Learning) -> Callable[..., Tensors]:
    """The step as a function of tensors: the reference for every runtime, and what is traced."""

    def step(*arguments: torch.Tensor) -> Tensors:
        state = arguments[count : len(arguments) - latents - 2]
        parameters = [p.detach().requires_grad_(True) for p in arguments[:count]]
        inputs_of_tail, (targets, rate) = arguments[len(arguments) - latents - 2 : -2], arguments[-2:]

        with torch.enable_grad():
            outputs = Plain(tail).run(*inputs_of_tail, *parameters)
            outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
            loss = loss_of(outputs, targets, learning)
            # the last layer has no part in the distances between features
            slopes = torch.autograd.grad(loss, parameters, allow_unused=learning.loss == "prototype")
            gradients = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, slopes)]

        moved, new = update(arguments[:count], gradients, state, rate, learning)
        return (*moved, *new, loss.reshape(1))

    return step


def trace(function: Callable[..., object], example: Tensors) -> fx.GraphModule:
    """`function` of these tensors as a graph of core ATen ops, sizes fixed."""
    graph = make_fx(function, decomposition_table=core_aten_decompositions())(*example)
    for node in list(graph.graph.nodes):
        if node.target is torch.ops.aten.view.default:  # a view that fits the strides of tracing may fit no others
            node.target = torch.ops.aten.reshape.default
        if node.target in (torch.ops.aten.detach.default, torch.ops.aten.alias.default, torch.ops.aten.clone.default):
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)

    merged(graph)
    graph.graph.lint()
    graph.recompile()
    return graph


def build(
    tail: fx.GraphModule,
    parameters: Sequence[torch.Tensor],
    latents: Sequence[torch.Tensor],
    targets: torch.Tensor,
    learning: Learning,
) -> Step:
    """The step for a batch as large as `latents` and `targets` are. Raises `ModelError` where no gradient arrives."""
    state = state_of(parameters, learning)
    example = (*parameters, *state.values(), *latents, targets, torch.full((1,), 0.01))
    function = eager(tail, len(parameters), len(latents), learning)

    try:
        module = trace(function, example)
    except RuntimeError as error:
        raise ModelError(f"the training step of this tail cannot be written as a graph: {error}") from error

    names = [f"parameter_{i}" for i in range(len(parameters))]
    output_names = (*names, *state, "loss")
    inputs = (*names, *state, *(f"latent_{i}" for i in range(len(latents))), "targets", "rate")
    return Step(module, example, inputs, tuple(f"new_{n}" if n != "loss" else n for n in output_names))
