"""Interactions in order of time, as rows of a user and candidate items that a recommender is trained and evaluated on.

Leave-one-out by time (He et al., "Neural Collaborative Filtering", 2017): a user's last interaction is the test, the
one before it validation, the rest is for training. A row to be judged holds that one item among negatives that the user
never took, in an order drawn by seed, so that its place tells nothing. A training row holds several of the user's
items among negatives. A training negative is only known not to be in what the user took *before*: were the
held-out items excluded from it, their absence would give them away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: candidates of one row: the true item and 99 negatives
CANDIDATES = 100
#: one of so many items of a training row is the user's own: four negatives for each, as He et al. found best
SHARE = 5
#: a user's interactions that are held out: one for validation, one for the test
HELD = 2
#: numbers of the splits in the seeds of what is drawn
_TRAIN, _VAL, _TEST = 0, 1, 2


@dataclass(frozen=True)
class Histories:
    """Interactions user by user: `items` int32 (K,) in order of time, `lines` int64 (K,) where each stands in the file.

    Those of user `u` are `starts[u]:starts[u + 1]`, `starts` int64 (users + 1,).
    """

    starts: np.ndarray
    items: np.ndarray
    lines: np.ndarray
    n_items: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    def all(self, user: int) -> np.ndarray:
        return self.items[self.starts[user] : self.starts[user + 1]]

    def learned(self, user: int) -> np.ndarray:
        """Without what is held out."""
        return self.items[self.starts[user] : self.starts[user + 1] - HELD]

    def popularity(self) -> np.ndarray:
        """How often each item was taken in training, int64 (items,)."""
        held = np.concatenate([self.starts[1:] - k for k in range(1, HELD + 1)])
        return np.bincount(np.delete(self.items, held), minlength=self.n_items)


def unseen(n_items: int, known_items: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` different item numbers int64 that are not in `known_items`, each such set as likely as any other."""
    excluded = np.unique(known_items)
    drawn = rng.choice(n_items - len(excluded), count, replace=False)
    # the k-th free number is k and as many more as there are taken ones before it
    return drawn + np.searchsorted(excluded - np.arange(len(excluded)), drawn, side="right")


class Rows:
    """The pool of all rows: those for training, then one a user to validate on, then one a user to be tested on.

    `raw` is {"user": its id, "items": ids, str (C,)}; the same row is drawn whenever it is asked for.
    """

    def __init__(
        self, path: str, users: Sequence[str], items: Sequence[str], histories: Histories, candidates: int, seed: int
    ) -> None:
        self.path, self.users, self.items = path, tuple(users), tuple(items)
        self.histories, self.candidates, self.seed = histories, candidates, seed
        self.positives = max(1, candidates // SHARE)
        counts = np.diff(histories.starts) - HELD
        parts = -(-counts // self.positives)
        self.row_user = np.repeat(np.arange(len(histories)), parts).astype(np.int32)
        first = np.repeat(np.cumsum(parts) - parts, parts)
        self.row_part = (np.arange(len(self.row_user)) - first).astype(np.int32)

    def __len__(self) -> int:
        return len(self.row_user) + 2 * len(self.histories)

    def learned(self, row: int, *drawn_from: int) -> tuple[int, np.ndarray, np.ndarray]:
        """(user, items int64 (C,), own int64 (C,): 1 the user's own, 0 a negative) of a training row.

        Negatives and order follow from `drawn_from` and the row alone.
        """
        user, start = int(self.row_user[row]), int(self.row_part[row]) * self.positives
        history = self.histories.learned(user)
        positives = history[start : start + self.positives]
        rng = np.random.default_rng([*drawn_from, _TRAIN, row])
        others = unseen(self.histories.n_items, history, self.candidates - len(positives), rng)
        order = rng.permutation(self.candidates)

        return user, np.concatenate([positives, others])[order], (order < len(positives)).astype(np.int64)

    def judged(self, user: int, which: int) -> tuple[np.ndarray, int]:
        """(candidates int64 (C,), where among them the true item is) of a user's validation or test row."""
        history = self.histories.all(user)
        rng = np.random.default_rng([self.seed, which, user])
        others = unseen(self.histories.n_items, history, self.candidates - 1, rng)
        order = rng.permutation(self.candidates)
        true = history[len(history) - HELD + which - _VAL]

        return np.concatenate([[true], others])[order], int(np.flatnonzero(order == 0)[0])

    def _held(self, i: int) -> tuple[int, int]:
        """(user, which split) of a row that is judged."""
        n = len(self.histories)
        at = i - len(self.row_user)
        return (at, _VAL) if at < n else (at - n, _TEST)

    def numbers(self, i: int) -> tuple[int, np.ndarray]:
        """(user, items int64 (C,)) of any row."""
        if i < len(self.row_user):
            return self.learned(i, self.seed)[:2]
        user, which = self._held(i)
        return user, self.judged(user, which)[0]

    def raw(self, i: int) -> dict[str, Any]:
        user, items = self.numbers(i)
        return {"user": self.users[user], "items": np.array([self.items[k] for k in items])}

    def source(self, i: int) -> str:
        starts, lines = self.histories.starts, self.histories.lines
        if i < len(self.row_user):
            at = starts[self.row_user[i]] + int(self.row_part[i]) * self.positives
        else:
            user, which = self._held(i)
            at = starts[user + 1] - HELD + which - _VAL

        return f"{self.path}:{lines[at]}"

    def targets(self, which: int) -> np.ndarray:
        """int64 (users, 3) of the validation (1) or test rows (2), see `tasks.recommend`.

        The second number is the rank that the popularity of the items, in training, gives the true
        one; of equally popular candidates the earlier comes first, which is by chance since their order is drawn.
        """
        popularity, targets = self.histories.popularity(), np.empty((len(self.histories), 3), np.int64)
        for user in range(len(self.histories)):
            items, true = self.judged(user, which)
            counts = popularity[items]
            rank = int((counts > counts[true]).sum() + (counts[:true] == counts[true]).sum())
            targets[user] = true, rank, items[true]

        return targets
