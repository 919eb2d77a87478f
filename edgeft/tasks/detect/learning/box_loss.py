"""The loss of a detector: which cells answer for which box, and how far they are from it.

Cells are assigned by task alignment (TOOD, Feng et al. 2021): of those inside a box, the ten whose score and overlap
with it are best. Their class target is that alignment, scaled to the best overlap, so that scores rank boxes by how
well they fit; boxes are compared by generalized IoU (Rezatofighi et al. 2019). Boxes that are distributions of
distances are also told which two bins a side lies between (Li et al. 2020, Distribution Focal Loss).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ....metrics.boxes import SIDES, STRIDE

#: cells of a box; weights of score and overlap in the alignment
TOP, ALPHA, BETA = 10, 0.5, 6.0
#: an overlap counts as at least this: at the start a box may meet no cell's box at all
_LEAST = 0.05
BOX_WEIGHT, BINS_WEIGHT = 5.0, 1.0
#: what no cell needs to say: logits and raw boxes beyond these are pulled back. Empty cells would otherwise drift far
#: out, and one int8 grid for the range of a branch would leave few steps where it matters
LOGITS, RAW = 10.0, 4.0
RANGE_WEIGHT = 0.1
_MAX_LOG = 6.0
Said = tuple[torch.Tensor, ...]


def flat(outputs: Said) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Outputs by level -> logits (N, A, C), raw boxes (N, A, 4) or (N, A, 4 * bins), and cells (A, 3): x, y, stride.

    Cells are in input pixels.
    """
    logits, boxes, cells = [], [], []
    finest = outputs[0].shape[2]
    for classes, raw in zip(outputs[::2], outputs[1::2]):
        h, w = classes.shape[2:]
        stride = float(STRIDE * finest // h)
        y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        place = torch.stack([(x + 0.5) * stride, (y + 0.5) * stride, torch.full_like(x, int(stride))], dim=-1)
        cells.append(place.reshape(-1, 3).to(classes))
        logits.append(classes.flatten(2).transpose(1, 2))
        boxes.append(raw.flatten(2).transpose(1, 2))

    return torch.cat(logits, 1), torch.cat(boxes, 1), torch.cat(cells)


def decoded(raw: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """Raw boxes (..., A, 4) or (..., A, 4 * bins) -> x1 y1 x2 y2 in input pixels, as `tasks.boxes.cells` has it."""
    stride = cells[:, 2:]
    if raw.shape[-1] > 4:
        shares = raw.unflatten(-1, (4, -1)).softmax(-1)
        sides = (shares * torch.arange(shares.shape[-1], dtype=raw.dtype)).sum(-1) * stride
        return torch.cat([cells[:, :2] - sides[..., :2], cells[:, :2] + sides[..., 2:]], dim=-1)

    centre = cells[:, :2] + raw[..., :2] * stride
    half = 0.5 * SIDES * stride * raw[..., 2:].clamp(-_MAX_LOG, _MAX_LOG).exp()
    return torch.cat([centre - half, centre + half], dim=-1)


def overlap(first: torch.Tensor, second: torch.Tensor, generalized: bool = False) -> torch.Tensor:
    """IoU of boxes (..., 4), elementwise with broadcasting; generalized IoU on request."""
    inner = (torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])).clamp(
        min=0
    )
    shared = inner.prod(-1)
    union = (first[..., 2:] - first[..., :2]).prod(-1) + (second[..., 2:] - second[..., :2]).prod(-1) - shared
    iou = shared / union.clamp(min=1e-6)

    if not generalized:
        return iou

    hull = torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(first[..., :2], second[..., :2])
    area = hull.prod(-1).clamp(min=1e-6)
    return iou - (area - union) / area


@torch.no_grad()
def assign(
    scores: torch.Tensor, boxes: torch.Tensor, cells: torch.Tensor, truth: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which box each cell answers for: (A,) its number in `truth` or -1, and (A,) the class target in 0..1.

    `scores` (A, C) are probabilities, `boxes` (A, 4) in pixels, `truth` (M, 5) class, x1, y1, x2, y2.
    """
    kind, true_boxes = truth[:, 0].long(), truth[:, 1:]
    centre, half = (true_boxes[:, :2] + true_boxes[:, 2:]) / 2, (true_boxes[:, 2:] - true_boxes[:, :2]) / 2
    # a box smaller than a cell still has the cell that it lies in
    reach = torch.maximum(half[None], cells[:, None, 2:] / 2)
    inside = ((cells[:, None, :2] - centre[None]).abs() <= reach).all(-1)  # (A, M)
    iou = overlap(boxes[:, None], true_boxes[None]).clamp(min=_LEAST)
    aligned = scores[:, kind].pow(ALPHA) * iou.pow(BETA) * inside
    best = aligned.topk(min(TOP, len(cells)), dim=0).indices
    chosen = torch.zeros_like(inside).scatter_(0, best, True) & inside

    # a cell that two boxes chose goes to the one it fits better
    owner = torch.where(chosen, iou, torch.zeros_like(iou)).argmax(1)
    mine = chosen & F.one_hot(owner, len(truth)).bool()
    aligned, iou = aligned * mine, iou * mine
    target = aligned / aligned.amax(0).clamp(min=1e-12) * iou.amax(0)

    return torch.where(mine.any(1), owner, torch.full_like(owner, -1)), target.amax(1)


def detection_loss(outputs: Said, targets: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Scalar loss of a batch. `targets` (N, M, 5) class, x1, y1, x2, y2 in input pixels; class -1 is padding.

    `weights` (C,) multiply what each class adds: the scores of it in all cells, and the boxes of it.
    """
    logits, raw, cells = flat(outputs)
    by_class = torch.ones(logits.shape[2]) if weights is None else weights
    by_class = by_class.to(logits)
    boxes = decoded(raw, cells)
    target_scores = torch.zeros_like(logits)
    misfit = raw.sum() * 0

    for i in range(len(logits)):
        truth = targets[i][targets[i, :, 0] >= 0]
        if not len(truth):
            continue

        owner, score = assign(logits[i].detach().sigmoid(), boxes[i].detach(), cells, truth)
        at = (owner >= 0).nonzero().flatten()
        mine = truth[owner[at]]
        target_scores[i, at, mine[:, 0].long()] = score[at].to(target_scores)
        counts = score[at] * by_class[mine[:, 0].long()]
        misfit = misfit + ((1 - overlap(boxes[i, at], mine[:, 1:], generalized=True)) * counts).sum()
        if raw.shape[-1] > 4:
            between = bins_loss(raw[i, at], cells[at], mine[:, 1:])
            misfit = misfit + BINS_WEIGHT / BOX_WEIGHT * (between * counts).sum()

    total = (target_scores * by_class).sum().clamp(min=1.0)
    scored = (F.binary_cross_entropy_with_logits(logits, target_scores, reduction="none") * by_class).sum()
    return (scored + BOX_WEIGHT * misfit) / total + RANGE_WEIGHT * beyond(logits, raw)


def bins_loss(raw: torch.Tensor, cells: torch.Tensor, true_boxes: torch.Tensor) -> torch.Tensor:
    """(K,) cross-entropy of distributions (K, 4 * bins) with the two bins that each side of `true_boxes` lies between.

    A side that is farther than the last bin counts as the last one.
    """
    bin_logits = raw.unflatten(-1, (4, -1))
    last = bin_logits.shape[-1] - 1
    sides = torch.cat([cells[:, :2] - true_boxes[:, :2], true_boxes[:, 2:] - cells[:, :2]], dim=-1) / cells[:, 2:]
    sides = sides.clamp(0, last - 0.01)
    low = sides.floor()
    share = sides - low
    logs = bin_logits.log_softmax(-1)
    at = low.long().unsqueeze(-1)
    near, far = logs.gather(-1, at).squeeze(-1), logs.gather(-1, at + 1).squeeze(-1)

    return -(near * (1 - share) + far * share).mean(-1)


def beyond(logits: torch.Tensor, raw: torch.Tensor) -> torch.Tensor:
    """How far logits and raw boxes are outside of the range that they need, squared, mean over cells."""
    limit = RAW if raw.shape[-1] == 4 else LOGITS  # distributions are logits too
    return ((logits.abs() - LOGITS).clamp(min=0) ** 2).mean() + ((raw.abs() - limit).clamp(min=0) ** 2).mean()


def imitation_loss(student: Said, teacher: Said) -> torch.Tensor:
    """How far a student's raw outputs are from a teacher's: class by class, and boxes where the teacher sees something.

    Binary Kullback-Leibler divergence of the scores, and smooth L1 of the raw boxes weighted by the teacher's score.
    """
    logits, raw, _ = flat(student)
    with torch.no_grad():
        taught, shown, _ = flat(teacher)
        scores = taught.sigmoid()
        weight = scores.amax(-1)
        total = weight.sum().clamp(min=1.0)
        entropy = F.binary_cross_entropy_with_logits(taught, scores, reduction="sum")

    scored = F.binary_cross_entropy_with_logits(logits, scores, reduction="sum") - entropy
    if raw.shape[-1] == 4:
        moved = F.smooth_l1_loss(raw, shown, beta=0.1, reduction="none").sum(-1)
    else:
        pair = [values.unflatten(-1, (4, -1)).log_softmax(-1) for values in (raw, shown)]
        moved = F.kl_div(*pair, reduction="none", log_target=True).sum(-1).mean(-1)

    return (scored + BOX_WEIGHT * (moved * weight).sum()) / total
