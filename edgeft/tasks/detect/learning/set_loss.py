"""The loss of a detector that answers with a set: each object is matched with one query, the others say nothing.

The matching with the least cost is found by the Hungarian method (DETR, Carion et al. 2020), by scipy. Outputs are
those of `metrics/box_sets.py`. A softmax with "no object" learns by cross-entropy, in which "no object" counts a tenth;
classes that stand by themselves learn the overlap of their box by varifocal loss (Zhang et al. 2021), as RT-DETR does.
Boxes learn by L1 and generalized IoU. All factors are those of the papers' code, which the package transformers has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ....core.errors import need
from .box_loss import overlap

Outputs = tuple[torch.Tensor, ...]
Pairs = list[tuple[torch.Tensor, torch.Tensor]]
#: factors of L1 and generalized IoU, in the cost of a pair and in the loss
BOX, GIOU = 5.0, 2.0
#: factor of the class in the cost of a pair: of a softmax, and of sigmoids
SOFTMAX_COST, SIGMOID_COST = 1.0, 2.0
#: what "no object" counts in the cross-entropy
NOTHING = 0.1
#: focal weights of the cost (Lin et al. 2017) and of the varifocal loss; the exponent of both
COST_ALPHA, LOSS_ALPHA, GAMMA = 0.25, 0.75, 2.0


@dataclass(frozen=True)
class Answer:
    """One answer of a batch: `logits` (N, Q, C), or (N, Q, C + 1) of a softmax whose last is "no object", and `boxes`
    (N, Q, 4) cx cy w h as shares."""

    logits: torch.Tensor
    boxes: torch.Tensor
    softmax: bool


def is_set(outputs: Outputs) -> bool:
    """Whether outputs are those of a set; those of cells have a height and a width."""
    return len(outputs[0].shape) == 3


def answers(outputs: Outputs) -> list[Answer]:
    """The answer of a batch, and in training those of inner layers, which follow as pairs of logits and boxes."""
    softmax = outputs[1].shape[2] == 1 and outputs[2].shape[2] == 4
    if softmax:
        outputs = (torch.cat(outputs[:2], dim=2), *outputs[2:])
    return [Answer(logits, boxes, softmax) for logits, boxes in zip(outputs[::2], outputs[1::2])]


def set_loss(outputs: Outputs, targets: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Scalar loss of a batch, the sum over its answers. `targets` (N, M, 5) class, x1, y1, x2, y2 as shares; class -1
    is padding. `weights` (C,) multiply what each class adds. Raises `Missing` without scipy."""
    truths = [rows[rows[:, 0] >= 0] for rows in targets]
    losses = [_loss(answer, truths, matched(answer, truths), weights) for answer in answers(outputs)]
    return torch.stack(losses).sum()


@torch.no_grad()
def matched(answer: Answer, truths: list[torch.Tensor]) -> Pairs:
    """Of each sample the numbers of the matched queries and, in the same order, of their objects; both int64 (M,)."""
    assignment = need("scipy.optimize", "tune").linear_sum_assignment
    probabilities = answer.logits.softmax(-1) if answer.softmax else answer.logits.sigmoid()
    pairs: Pairs = []

    for p, boxes, truth in zip(probabilities, answer.boxes, truths):
        p = p[:, truth[:, 0].long()]
        cost = -SOFTMAX_COST * p if answer.softmax else SIGMOID_COST * _focal(p)
        cost = cost + BOX * torch.cdist(boxes, centred(truth[:, 1:]), p=1)
        cost = cost - GIOU * overlap(corners(boxes)[:, None], truth[None, :, 1:], generalized=True)
        # a net that has just diverged is no reason to stop here: what is not finite is the last choice
        table = np.nan_to_num(cost.double().cpu().numpy(), nan=1e30, posinf=1e30, neginf=1e30)
        queries, objects = assignment(table)
        pairs.append((torch.as_tensor(queries, device=boxes.device), torch.as_tensor(objects, device=boxes.device)))

    return pairs


def _focal(p: torch.Tensor) -> torch.Tensor:
    """What a probability costs as an object's class, less what it costs as background."""
    positive = COST_ALPHA * (1 - p) ** GAMMA * -(p + 1e-8).log()
    return positive - (1 - COST_ALPHA) * p**GAMMA * -(1 - p + 1e-8).log()


def corners(boxes: torch.Tensor) -> torch.Tensor:
    """cx cy w h -> x1 y1 x2 y2, (..., 4)."""
    return torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], dim=-1)


def centred(boxes: torch.Tensor) -> torch.Tensor:
    """x1 y1 x2 y2 -> cx cy w h, (..., 4)."""
    return torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], dim=-1)


def _loss(answer: Answer, truths: list[torch.Tensor], pairs: Pairs, weights: torch.Tensor | None) -> torch.Tensor:
    samples = torch.cat([torch.full_like(queries, i) for i, (queries, _) in enumerate(pairs)])
    queries = torch.cat([queries for queries, _ in pairs])
    truth = torch.cat([rows[objects] for rows, (_, objects) in zip(truths, pairs)])
    kinds, boxes = truth[:, 0].long(), answer.boxes[samples, queries]
    count = max(1, sum(map(len, truths)))
    by_class = torch.ones(answer.logits.shape[2]) if weights is None else weights
    by_class = by_class.to(answer.logits)

    iou = overlap(corners(boxes.detach()), truth[:, 1:])
    scored = (_cross_entropy if answer.softmax else _varifocal)(
        answer.logits, (samples, queries), kinds, iou, by_class, count
    )
    counts = by_class[kinds]
    moved = (F.l1_loss(boxes, centred(truth[:, 1:]), reduction="none").sum(-1) * counts).sum()
    misfit = ((1 - overlap(corners(boxes), truth[:, 1:], generalized=True)) * counts).sum()

    return scored + (BOX * moved + GIOU * misfit) / count


def _cross_entropy(
    logits: torch.Tensor,
    place: tuple[torch.Tensor, torch.Tensor],
    kinds: torch.Tensor,
    iou: torch.Tensor,
    by_class: torch.Tensor,
    count: int,
) -> torch.Tensor:
    """The weighted mean over all queries; those without an object shall say "no object", the last class."""
    classes = logits.shape[2] - 1
    expected = torch.full(logits.shape[:2], classes, device=logits.device)
    expected[place] = kinds
    weights = torch.cat([by_class[:classes], by_class.new_tensor([NOTHING])])

    return F.cross_entropy(logits.transpose(1, 2), expected, weights)


def _varifocal(
    logits: torch.Tensor,
    place: tuple[torch.Tensor, torch.Tensor],
    kinds: torch.Tensor,
    iou: torch.Tensor,
    by_class: torch.Tensor,
    count: int,
) -> torch.Tensor:
    """The score of an object's class shall be the overlap of its box; background counts by how sure it is of itself."""
    objects, score = torch.zeros_like(logits), torch.zeros_like(logits)
    objects[(*place, kinds)] = 1.0
    score[(*place, kinds)] = iou.to(score)
    focus = LOSS_ALPHA * logits.detach().sigmoid() ** GAMMA * (1 - objects) + score

    return F.binary_cross_entropy_with_logits(logits, score, focus * by_class, reduction="sum") / count


def set_imitation(student: Outputs, teacher: Outputs) -> torch.Tensor:
    """How far a student's answer is from its teacher's, query by query: both began as one net, whose queries agree.

    Kullback-Leibler divergence of the classes, and L1 of the boxes weighted by the teacher's probability of an object;
    the sum over queries divided by what the teacher sees.
    """
    learned = answers(student)[0]
    with torch.no_grad():
        taught = answers(teacher)[0]
        shares = taught.logits.softmax(-1) if taught.softmax else taught.logits.sigmoid()
        objects = 1 - shares[..., -1] if taught.softmax else shares.amax(-1)
        total = objects.sum().clamp(min=1.0)

    if taught.softmax:
        pair = (learned.logits.log_softmax(-1), taught.logits.log_softmax(-1))
        divergence = F.kl_div(*pair, reduction="none", log_target=True).sum(-1)
        scored = (divergence * (NOTHING + (1 - NOTHING) * objects)).sum()
    else:
        entropy = F.binary_cross_entropy_with_logits(taught.logits, shares, reduction="sum")
        scored = F.binary_cross_entropy_with_logits(learned.logits, shares, reduction="sum") - entropy

    moved = (learned.boxes - taught.boxes).abs().sum(-1)

    return (scored + BOX * (moved * objects).sum()) / total
