"""Networks that score items for a user: a user (N,) and candidates (N, C), both numbers, -> scores (N, C).

`NeuMF`, neural matrix factorization (He et al. 2017): a product of embeddings beside a perceptron of others.
`EASE` (Steck 2019): a linear autoencoder of what a user took, as a product of embeddings that is solved, not trained.
`TwoTower` (Covington et al. 2016; Yi et al. 2019): a perceptron each for user and item, scored by their dot product.

No shape but the batch is computed with, so one captured graph takes any number of candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn


def _perceptron(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers)


def _embedding(count: int, width: int) -> nn.Embedding:
    """Small numbers, so that items hardly differ before training (He et al.: std 0.01)."""
    embedding = nn.Embedding(count, width)
    nn.init.normal_(embedding.weight, std=0.01)
    return embedding


def _one_score(n_classes: int) -> None:
    if n_classes != 1:
        raise ValueError(f"it gives one score an item, not {n_classes}")


class NeuMF(nn.Module):
    """`factors` of the product (GMF), `hidden` widths of the perceptron; the first is half user, half item.

    A single width is that of the perceptron's only layer too.
    `dropout` is of the user's embeddings while learning.
    """

    def __init__(
        self,
        n_classes: int,
        users: int,
        items: int,
        factors: int = 32,
        hidden: Sequence[int] = (64, 32, 16),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        _one_score(n_classes)

        if not hidden or hidden[0] % 2:
            raise ValueError(f"hidden is {list(hidden)}, expected one or more widths, the first of them even")

        hidden = hidden if len(hidden) > 1 else (*hidden, *hidden)
        self.gmf_user, self.gmf_item = _embedding(users, factors), _embedding(items, factors)
        self.mlp_user, self.mlp_item = _embedding(users, hidden[0] // 2), _embedding(items, hidden[0] // 2)

        # the first layer of the perceptron on (user, item) is the sum of a layer on each: the user's is done once
        self.from_user = nn.Linear(hidden[0] // 2, hidden[1])
        self.from_item = nn.Linear(hidden[0] // 2, hidden[1], bias=False)
        self.mlp, self.dropout = _perceptron(hidden[1:]), nn.Dropout(dropout)
        self.head = nn.Linear(factors + hidden[-1], 1)

    def forward(self, user: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        product = self.dropout(self.gmf_user(user)).unsqueeze(1) * self.gmf_item(items)
        pair = self.from_user(self.dropout(self.mlp_user(user))).unsqueeze(1) + self.from_item(self.mlp_item(items))
        return self.head(torch.cat([product, self.mlp(torch.relu(pair))], dim=-1)).squeeze(-1)


class EASE(nn.Module):
    """The product of an embedding of `factors` numbers each for user and item, summed by a linear head.

    Its embeddings are those of the best approximation of that rank to "Embarrassingly Shallow Autoencoders for Sparse
    Data" (Steck, WWW 2019), which the task computes from the training data (`solve` takes them). `penalty` is the
    weight of the squared norm of the item-item matrix; 0 = the task chooses it on the validation split.
    """

    def __init__(self, n_classes: int, users: int, items: int, factors: int = 64, penalty: float = 0.0) -> None:
        super().__init__()
        _one_score(n_classes)

        if factors < 1 or penalty < 0:
            raise ValueError(f"factors is {factors} and penalty {penalty}, expected a width and no negative weight")

        self.factors, self.penalty = min(factors, users, items), float(penalty)
        self.user, self.item = _embedding(users, self.factors), _embedding(items, self.factors)
        self.head = nn.Linear(self.factors, 1)
        nn.init.ones_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @torch.no_grad()
    def solve(self, users: torch.Tensor, items: torch.Tensor) -> None:
        """Take embeddings of users (U, factors) and items (I, factors), whose products are the scores."""
        self.user.weight.copy_(users)
        self.item.weight.copy_(items)
        nn.init.ones_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, user: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        return self.head(self.user(user).unsqueeze(1) * self.item(items)).squeeze(-1)


class TwoTower(nn.Module):
    """`factors` of an embedding, `hidden` widths of each tower; the last is that of the space they meet in.

    `dropout` is of the user's embedding while learning. Scores begin near 0 for every pair, so it takes a higher rate
    than `NeuMF` before users differ at all.
    """

    def __init__(
        self,
        n_classes: int,
        users: int,
        items: int,
        factors: int = 32,
        hidden: Sequence[int] = (64, 32),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        _one_score(n_classes)

        if not hidden:
            raise ValueError("hidden is empty, expected one or more widths")

        self.user, self.item = _embedding(users, factors), _embedding(items, factors)
        body = [factors, *hidden[:-1]]
        self.user_tower = nn.Sequential(_perceptron(body), nn.Linear(body[-1], hidden[-1]))
        self.item_tower, self.head = _perceptron(body), nn.Linear(body[-1], hidden[-1])
        self.dropout = nn.Dropout(dropout)

    def forward(self, user: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        user_vector, many = self.user_tower(self.dropout(self.user(user))), self.head(self.item_tower(self.item(items)))
        return (user_vector.unsqueeze(1) * many).sum(dim=-1)
