"""Recommendation: which of some items does a user take next? A row is a user and candidate items; the metric is HR@10.

Outputs are scores (N, C), one a candidate. Targets are int64 (N, 3): where the true item stands among the candidates,
the rank that the items' popularity gives it there, and its number. The metric is the share of rows whose true item is
among the ten highest scores (hit ratio, He et al. 2017), by the protocol of `data/interactions.py`: one true item among
99 that the user never took. Such a figure is no figure over the whole catalogue, which is lower (Krichene and Rendle
2020). Of equal scores the earlier candidate ranks first; candidates stand in a drawn order, so this favours none.

A raw sample is {"user": id, "items": ids}, the graph's inputs are their numbers. `edgeft predict` takes a user's id
(then all items are ranked that the user does not have), "user:*" (all items), "user:item,item" (these), or a .json
file {"user", "items", "without": items not to be offered, "again": whether items that the user has are}; all but
"user" may be left out.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core import strict_json
from ...core.errors import BundleError, DataError, nearest
from ...core.metric import Metric
from . import histories

NAME = "recommend"
METRIC = Metric("HR@10", "fraction", max_drop=0.005, chance="popularity")
EXTRA_METRICS = (Metric("NDCG@10", "fraction"), Metric("MRR", "fraction"))
#: a hit is a true item among so many
TOP = 10
_KIND = "user-items"
#: ids that a misspelt one is compared with
_COMPARED = 2000
#: items that are scored at once, of any model: a row of them is a few megabytes
_MOST_CANDIDATES = 1 << 20
_TABLES: dict[int, tuple[Any, dict[str, int]]] = {}


def configure(
    data: Any, defaults: Mapping[str, Any], facts: Mapping[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """The `preprocess` table: the ids of users and items in the order of their numbers, and how many candidates."""
    return {
        "kind": _KIND,
        "candidates": int(facts["candidates"]),
        "user_input": "user",
        "item_input": "items",
        "users": [str(user) for user in facts["users"]],
        "items": [str(item) for item in facts["items"]],
    }


def _ids(spec: Mapping[str, Any], key: str) -> dict[str, int]:
    """{id: number} of the spec's users or items; made once for a list."""
    listed = spec.get(key)
    if not isinstance(listed, list) or not listed or not all(isinstance(name, str) for name in listed):
        raise BundleError("is not a list of ids", where=f"preprocess.{key}", remedy="export the bundle again")

    cached = _TABLES.get(id(listed))
    if cached is None or cached[0] is not listed or len(cached[1]) != len(listed):
        if len(_TABLES) >= 8:
            _TABLES.clear()
        cached = _TABLES[id(listed)] = (listed, {name: number for number, name in enumerate(listed)})
        if len(cached[1]) != len(listed):
            del _TABLES[id(listed)]
            raise BundleError("names one id twice", where=f"preprocess.{key}", remedy="export the bundle again")

    return cached[1]


def _known(name: str, table: Mapping[str, int], what: str) -> int:
    if name not in table:
        close = difflib.get_close_matches(name[:80], list(table)[:_COMPARED], n=1) or list(table)[:3]
        remedy = f"ids are those of the training ratings, such as {', '.join(map(repr, close))}"
        raise DataError(f"the model knows no {what} {name[:80]!r}", where=what, remedy=remedy)
    return table[name]


def read(path: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A raw sample from "user", "user:*", "user:item,item" or a .json file; raises `DataError` naming an unknown id."""
    if path.endswith(".json") and path not in _ids(spec, "users"):
        return _sample(_asked(Path(path)), spec, path)
    return parse(path, spec)


def parse(words: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A raw sample from "user", "user:*" or "user:item,item"; no file is opened. Raises `DataError` as `read` does."""
    users, items = _ids(spec, "users"), _ids(spec, "items")
    asked: dict[str, Any] = {"user": words}
    if words not in users and ":" in words:
        user, _, listed = words.partition(":")
        every = listed.strip() == "*" and "*" not in items
        asked = {"user": user.strip(), "again": True} if every else {"user": user.strip()}
        asked |= {} if every else {"items": [item.strip() for item in listed.split(",")]}
    return _sample(asked, spec, words)


def _sample(asked: Mapping[str, Any], spec: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The raw sample of a checked question; raises `DataError` naming an unknown id."""
    users, items = _ids(spec, "users"), _ids(spec, "items")
    number = _known(asked["user"], users, "user")
    without = {item for item in asked.get("without", ()) if _known(item, items, "item") >= 0}

    if not asked.get("items") and not asked.get("again"):
        names = list(items)
        without |= {names[k] for k in histories.of(spec, number, len(names))}

    offered = [item for item in asked.get("items") or items if item not in without]
    for item in offered:
        _known(item, items, "item")

    if not offered:
        remedy = f"name items, or ask for those that the user has too: {asked['user']}:*"
        raise DataError("no item is left to be ranked", where=where[:80], remedy=remedy)

    return {"user": asked["user"], "items": np.array(offered)}


def _asked(path: Path) -> dict[str, Any]:
    try:
        asked = strict_json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"is not readable as JSON ({error})", where=str(path)) from error

    if not isinstance(asked, dict) or not isinstance(asked.get("user"), str):
        raise DataError('is not a JSON object with "user", its id as text', where=str(path))

    for key in asked:
        if key not in ("user", "items", "without", "again"):
            remedy = nearest(key, ("items", "without", "again"))
            raise DataError(f"has the unknown key {key!r}", where=str(path), remedy=remedy)
        if key == "again" and not isinstance(asked[key], bool):
            raise DataError("'again' is neither true nor false", where=str(path))
        if key not in ("user", "again") and not (
            isinstance(asked[key], list) and all(isinstance(v, str) for v in asked[key])
        ):
            raise DataError(f"{key!r} is not a list of ids as text", where=str(path))

    return asked


def preprocess(raw: Any, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{user: int32 (R,), items: int32 (R, C)} of a raw sample; R is 1 where its items are C or fewer.

    More items take several rows, and a row that is not full repeats its last item. Raises `DataError` for an id that
    the model does not know, `BundleError` for a spec that cannot be followed.
    """
    if spec.get("kind") != _KIND:
        raise BundleError(f"is {spec.get('kind')!r}, expected {_KIND!r}", where="preprocess.kind")

    width = spec.get("candidates")
    if type(width) is not int or not 1 <= width <= _MOST_CANDIDATES:
        expected = f"expected a whole number from 1 to {_MOST_CANDIDATES}"
        raise BundleError(f"is {width!r}, {expected}", where="preprocess.candidates")
    if not isinstance(raw, Mapping) or not {"user", "items"} <= set(raw):
        raise DataError("a sample is a user and items", where="sample")

    user = _known(str(raw["user"]), _ids(spec, "users"), "user")
    table = _ids(spec, "items")
    numbers = np.array([_known(str(item), table, "item") for item in np.atleast_1d(raw["items"])], np.int32)
    if not numbers.size:
        raise DataError("a sample needs one item or more", where="sample")

    rows = -(-len(numbers) // width)
    filled = np.concatenate([numbers, np.repeat(numbers[-1:], rows * width - len(numbers))])

    return {
        str(spec.get("user_input", "user")): np.full(rows, user, np.int32),
        str(spec.get("item_input", "items")): filled.reshape(rows, width),
    }


def _scores(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    if len(outputs) != 1:
        raise BundleError(f"several outputs ({', '.join(outputs)}), expected one of shape (samples, candidates)")

    scores = np.asarray(next(iter(outputs.values())), np.float64)
    if scores.ndim != 2 or not scores.shape[1]:
        raise BundleError(f"the output has shape {scores.shape}, expected (samples, candidates)", where="outputs")

    return scores


def _undecided(scores: np.ndarray) -> np.ndarray:
    undecided: np.ndarray = ~np.isfinite(scores).all(axis=1)
    return undecided


def _checked(targets: np.ndarray, n: int = -1, width: int = 0) -> np.ndarray:
    targets = np.asarray(targets)
    if targets.ndim != 2 or targets.shape[1] != 3 or targets.dtype.kind not in "iu":
        raise DataError(f"have shape {targets.shape}, expected whole numbers (samples, 3)", where="targets")
    if not len(targets):
        raise DataError("no samples to measure", where="targets")
    if n >= 0 and len(targets) != n:
        raise DataError(f"{n} outputs for {len(targets)} targets", where="targets")
    if targets[:, :2].min() < 0 or (width and targets[:, 0].max() >= width):
        raise DataError("a true item is not among its candidates: these rows are not to be ranked", where="targets")

    return targets.astype(np.int64)


def ranks(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> np.ndarray:
    """How many candidates rank before the true one, (N,) int64; all of them where a score is not finite."""
    scores = _scores(outputs)
    at = _checked(targets, len(scores), scores.shape[1])[:, :1]
    true = np.take_along_axis(scores, at, axis=1)
    before = np.arange(scores.shape[1]) < at
    rank = ((scores > true) | ((scores == true) & before)).sum(axis=1)
    ranks: np.ndarray = np.where(_undecided(scores), scores.shape[1], rank)

    return ranks


def decode(outputs: Mapping[str, np.ndarray], labels: Sequence[str], *, top: int = 5) -> list[dict[str, Any]]:
    """Per row `label` and `top`, the `top` best candidates by their place in the row; `tell` names them.

    A row with a score that is not finite has the label None and no `top`.
    """
    scores, rows = _scores(outputs), []
    for row, lost in zip(scores, _undecided(scores)):
        order = [] if lost else np.argsort(-row, kind="stable")[: max(top, 0)].tolist()
        best = [{"candidate": i, "score": float(row[i])} for i in order]
        rows.append({"label": None if lost else f"candidate {int(row.argmax())}", "top": best})

    return rows


def tell(
    outputs: Mapping[str, np.ndarray], raw: Any, spec: Mapping[str, Any], labels: Sequence[str], *, top: int = 5
) -> dict[str, Any]:
    """All rows of one sample joined, and its items by name: `label` and `score` of the best, `next` the names of the
    others, `top` [{"label", "item", "score"}], best first. None and nothing where a score is not finite."""
    table, items = _ids(spec, "items"), np.atleast_1d(raw["items"])
    if len(labels) != len(table):
        raise BundleError(f"{len(labels)} labels for {len(table)} items", where="labels")

    scores = _scores(outputs).reshape(-1)[: len(items)]  # what only fills the last row comes after them
    if len(scores) < len(items) or not np.isfinite(scores).all():
        return {"label": None, "score": None, "next": "", "top": []}

    named = [
        {"label": str(labels[table[str(items[at])]]), "item": str(items[at]), "score": float(scores[at])}
        for at in np.argsort(-scores, kind="stable")[: max(top, 1)]
    ]
    rest = "; ".join(str(entry["label"]) for entry in named[1:])

    return {"label": named[0]["label"], "score": named[0]["score"], "next": rest, "top": named}


def describe(target: Any, labels: Sequence[str]) -> str:
    """The name of the true item."""
    number = int(np.asarray(target).reshape(-1)[-1])
    return str(labels[number]) if 0 <= number < len(labels) else ""


def draw(raw: Any, decoded: Mapping[str, Any]) -> dict[str, Any]:
    return {"text": f"user {raw['user']}, {len(np.atleast_1d(raw['items']))} candidates"}


def join(targets: np.ndarray, ours: Sequence[str], theirs: Sequence[str], where: str) -> np.ndarray:
    """Numbers of the true items as the bundle counts them, by name; `DataError` for an item that it does not know."""
    targets, number = np.array(targets), {name: i for i, name in enumerate(theirs)}
    unknown = [name for name in ours if name not in number]
    if unknown:
        raise DataError(
            f"the data has {len(unknown)} item(s) that the bundle does not know, the first: {unknown[0]!r}",
            where=where,
            remedy="judge it on the ratings that it was made from, or tune again with the new items",
        )

    targets[:, 2] = np.array([number[name] for name in ours], np.int64)[targets[:, 2]]
    return targets


def refuse_unseen(facts: Mapping[str, Any], spec: Mapping[str, Any], where: str) -> None:
    """Raise `DataError` naming the first user of the data that the model has no embedding of."""
    known, users = _ids(spec, "users"), [str(user) for user in facts.get("users", ())]
    unknown = [user for user in users if user not in known]
    if unknown:
        raise DataError(
            f"{len(unknown)} of {len(users)} users are new to the bundle, the first: {unknown[0][:80]!r}",
            where=where,
            remedy="leave them out, or tune again: a user without an embedding cannot be ranked for",
        )


def metric(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> float:
    """HR@10, 0..1."""
    return float(per_sample(outputs, targets).mean())


def per_sample(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> np.ndarray:
    """1.0 where the true item is among the ten best, else 0.0, (N,) float64."""
    return (ranks(outputs, targets) < TOP).astype(np.float64)


def decisions(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The place of the best candidate, the first of equals; -1 where a score is not finite. (N,) int64."""
    scores = _scores(outputs)
    return np.where(_undecided(scores), -1, scores.argmax(axis=1)).astype(np.int64)


def alike(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) bool: the same best candidate."""
    return np.asarray(decisions(first) == decisions(second))


def margins(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The highest score minus the second, (N,) float64; 0 where a score is not finite."""
    scores = _scores(outputs)
    if scores.shape[1] < 2:
        return np.zeros(len(scores))

    two = np.sort(scores, axis=1)[:, -2:]
    with np.errstate(invalid="ignore"):
        return np.where(_undecided(scores), 0.0, two[:, 1] - two[:, 0])


def per_class(
    outputs: Mapping[str, np.ndarray], targets: np.ndarray, labels: Sequence[str]
) -> dict[str, dict[str, float]]:
    """HR@10 where the true item is one of the ten most popular candidates, and where it is not."""
    hits, popular = per_sample(outputs, targets), _checked(targets)[:, 1] < TOP
    return {
        name: {"metric": float(hits[which].mean()), "n": int(which.sum())}
        for name, which in (("popular items", popular), ("other items", ~popular))
        if which.any()
    }


def chance(targets: np.ndarray) -> float:
    """HR@10 of the list that is the same for all users: the most popular items first."""
    return float((_checked(targets)[:, 1] < TOP).mean())


def extra_metrics(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> dict[str, float]:
    """`NDCG@10` (with one true item: 1/log2(rank + 2) of its rank from 0) and `MRR`, the mean of 1/(rank + 1)."""
    rank = ranks(outputs, targets)
    gains = np.where(rank < TOP, 1 / np.log2(rank + 2.0), 0.0)
    return {"NDCG@10": float(gains.mean()), "MRR": float((1 / (rank + 1.0)).mean())}
