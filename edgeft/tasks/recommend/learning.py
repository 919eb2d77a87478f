"""Learning to rank from implicit feedback: each item a user took against all drawn negatives of its row.

The loss of an item with score s is log(1 + sum of exp(n - s) over the negatives' scores n): a softmax over the item and
its negatives. With one negative it is BPR (Rendle et al. 2009), with more it looks at the hardest of them.

The metric counts every user once, however many items they took; a mean over interactions would let a few busy users
decide. An interaction therefore weighs one over the root of how many its user has: between the two.

Negatives and their order are drawn anew for every epoch, from (seed, epoch, row) only. Targets of a batch are float32
(N, C): the weight of a candidate that is the user's own, 0 where it is a negative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ...core.errors import DataError
from ...data.interactions import Rows
from ...learning import Learning, batches, tensors
from ..classify.learning import replace_head
from . import decoding as recommend
from . import item_knn, linear_autoencoder

set_head = replace_head
#: the search for a penalty begins here: good for MovieLens and plays alike, within a factor of two
FIRST_PENALTY = 200.0


def outputs(dataset: Any) -> int:
    """One score an item; raises `DataError` where a data set holds no training interactions."""
    _rows(dataset.split("train"))
    return 1


def model_args(data: Any, dataset: Any) -> dict[str, Any]:
    """How many users and items there are."""
    return {"users": len(dataset.facts["users"]), "items": len(dataset.facts["items"])}


def initialize(module: nn.Module, dataset: Any, say: Callable[[str], None]) -> None:
    """Solve a module that takes embeddings (`solve(users, items)`, as `ease` does); others begin at random.

    Where its `penalty` is 0, the best of `FIRST_PENALTY` times powers of two by HR@10 of the validation split is taken.
    """
    solve: Any = getattr(module, "solve", None)
    if not callable(solve):
        return

    rows, val = _rows(dataset.split("train")), dataset.split("val")
    x = linear_autoencoder.interactions(rows.histories)
    factors, fixed = int(module.factors), float(module.penalty)
    numbers = [rows.numbers(int(i)) for i in val.indices]
    users, items = np.array([user for user, _ in numbers]), np.stack([row for _, row in numbers])

    def solved(penalty: float) -> tuple[float, float, np.ndarray, np.ndarray]:
        of_users, of_items = linear_autoencoder.tables(linear_autoencoder.scores(x, penalty), factors)
        value = recommend.metric({"scores": np.einsum("uf,ucf->uc", of_users[users], of_items[items])}, val.targets)
        say(f"ease: validation {recommend.METRIC.format(value)} with a penalty of {penalty:g}")
        return value, penalty, of_users, of_items

    if fixed:
        best = solved(fixed)
    else:
        best = max(solved(FIRST_PENALTY), solved(2 * FIRST_PENALTY), key=_value)
        factor = 2.0 if best[1] > FIRST_PENALTY else 0.5
        while (following := solved(factor * best[1]))[0] > best[0]:
            best = following

    solve(*(torch.from_numpy(table).float() for table in best[2:]))


def _value(solution: tuple[float, float, np.ndarray, np.ndarray]) -> float:
    return solution[0]


def baselines(dataset: Any) -> dict[str, float]:
    """HR@10 of the test split by `item_knn`."""
    rows, test = _rows(dataset.split("train")), dataset.split("test")
    unit = item_knn.normalized(linear_autoencoder.interactions(rows.histories))
    numbers = [rows.numbers(int(i)) for i in test.indices]
    scored = [item_knn.scores(unit, rows.histories.learned(user), items) for user, items in numbers]
    return {"item-kNN": recommend.metric({"scores": np.stack(scored)}, test.targets)}


def loss(scores: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Weighted mean over the own items of a softmax against the row's negatives; `smoothing` has no meaning here."""
    is_positive = targets > 0
    negatives = torch.logsumexp(scores.masked_fill(is_positive, float("-inf")), dim=1, keepdim=True)
    losses = functional.softplus(negatives - scores)
    return (losses * targets).sum() / targets.sum().clamp(min=torch.finfo(targets.dtype).tiny)


def distill(
    student: torch.Tensor,
    teacher: torch.Tensor,
    targets: torch.Tensor | None = None,
    temperature: float = 1.0,
    weight: float = 1.0,
) -> torch.Tensor:
    """Cross-entropy of the student's softmax over a row's candidates with the teacher's (ListNet, Cao et al. 2007).

    Mixed with the plain loss where `weight` is below 1.
    """
    taught = functional.softmax(teacher.detach() / temperature, dim=1)
    log_shares = functional.log_softmax(student / temperature, dim=1)
    soft = functional.kl_div(log_shares, taught, reduction="batchmean") * temperature**2

    if weight >= 1 or targets is None:
        return soft

    return weight * soft + (1 - weight) * loss(student, targets)


class _Drawn(torch.utils.data.Dataset[tuple[int, np.ndarray, np.ndarray]]):
    """(user, candidates, weights) of a row, drawn for the epoch."""

    def __init__(self, split: Any, seed: int, epoch: batches.Epoch) -> None:
        self.rows, self.indices, self.seed, self.epoch = _rows(split), split.indices, seed, epoch

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> tuple[int, np.ndarray, np.ndarray]:
        user, items, positives = self.rows.learned(int(self.indices[i]), self.seed, self.epoch.number)
        return user, items, (positives / np.sqrt(len(self.rows.histories.learned(user)))).astype(np.float32)


def _rows(split: Any) -> Rows:
    """The pool of a training split; raises `DataError` for another one."""
    rows = getattr(split, "pool", None)
    if not isinstance(rows, Rows) or not len(split) or int(split.indices.max()) >= len(rows.row_user):
        raise DataError(
            "holds no training interactions",
            where=getattr(split, "name", "train"),
            remedy="open ratings with data.format = 'ratings', or make `edgeft.data.interactions.Rows` of your own",
        )

    return rows


def _collate(drawn: list[tuple[int, np.ndarray, np.ndarray]]) -> tuple[tensors.Inputs, torch.Tensor]:
    users, items, weights = zip(*drawn)
    inputs = (torch.tensor(users, dtype=torch.int32), torch.from_numpy(np.stack(items).astype(np.int32)))
    return inputs, torch.from_numpy(np.stack(weights))


def _source(split: batches.Samples, spec: Mapping[str, Any], loading: batches.Loading) -> batches.Source:
    """Batches ((users int32 (N,), items int32 (N, C)), weights float32 (N, C)) of a training split."""
    return batches.Source(_Drawn(split, loading.seed, loading.epoch), _collate)


loader = batches.loader_of(_source)


def predict(
    module: nn.Module, split: batches.Samples, spec: Mapping[str, Any], batch_size: int = 64
) -> np.ndarray | dict[str, np.ndarray]:
    """Scores float32 (N, C) over `split` in order."""
    return tensors.predict(recommend.preprocess, module, split, spec, batch_size)


LEARNING = Learning(
    outputs=outputs,
    model_args=model_args,
    set_head=set_head,
    loss=loss,
    distill=distill,
    loader=loader,
    predict=predict,
    initialize=initialize,
    baselines=baselines,
)
