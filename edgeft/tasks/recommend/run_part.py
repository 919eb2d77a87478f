"""Recommendation: all items for a user but those that the user has, or the items that are named."""

import json
import os

import numpy as np

from ...core.runner import HERE, Stop

INPUTS = "a user, user:item,item, or user:* (items that the user has, too)"
TOP = 5


def read(path, spec=None):
    user, colon, listed = path.partition(":")
    if path in spec["users"]:
        user, colon, listed = path, "", ""

    user, listed = user.strip(), listed.strip()
    if user not in spec["users"]:
        raise Stop(3, f"the model knows no user {user[:80]!r}")

    every = listed == "*" and "*" not in spec["items"]
    if colon and not every:
        items, known = [item.strip() for item in listed.split(",")], set(spec["items"])
        unknown = [item for item in items if item not in known]
        if unknown:
            raise Stop(3, f"the model knows no item {unknown[0][:80]!r}")
    else:
        has = set() if every else set(histories(spec, spec["users"].index(user)))
        items = [item for number, item in enumerate(spec["items"]) if number not in has]

    if not items:
        raise Stop(3, f"no item is left to be ranked for user {user[:80]!r}: {user[:80]}:* takes those of the user too")
    return {"user": user, "items": np.array(items)}


def histories(spec, user):
    """Numbers of the items that a user has; [] where the bundle does not hold them."""
    name = spec.get("files", {}).get("histories")
    if name is None:
        return []
    with open(os.path.join(HERE, name), encoding="utf-8") as handle:
        lists = json.load(handle)["items"]
    return lists[user] if user < len(lists) else []


def feeds(raw, spec):
    """{user: int32 (R,), items: int32 (R, C)}; more items than C take several rows, the last one filled up."""
    number_of = {item: number for number, item in enumerate(spec["items"])}
    numbers = np.array([number_of[str(item)] for item in np.atleast_1d(raw["items"])], np.int32)
    width = spec["candidates"]
    rows = -(-len(numbers) // width)
    filled = np.concatenate([numbers, np.repeat(numbers[-1:], rows * width - len(numbers))])
    user = spec["users"].index(str(raw["user"]))

    return {
        spec.get("user_input", "user"): np.full(rows, user, np.int32),
        spec.get("item_input", "items"): filled.reshape(rows, width),
    }


def stored(samples, i):
    return {"user": str(samples[f"raw_{i}/user"]), "items": samples[f"raw_{i}/items"]}


def compose(calls, spec):
    """A function from feeds of any number of rows to the outputs, a row at a time."""
    (call,) = calls.values()

    def run(feeds):
        rows = len(next(iter(feeds.values())))
        results = [call({name: tensor[k : k + 1] for name, tensor in feeds.items()}) for k in range(rows)]
        return {name: np.concatenate([result[name] for result in results]) for name in results[0]}

    return run


def tell(outputs, raw, spec, labels):
    (scores,) = outputs.values()
    items = np.atleast_1d(raw["items"])
    scores = scores.astype(np.float64).reshape(-1)[: len(items)]
    number_of = {item: number for number, item in enumerate(spec["items"])}
    best = np.argsort(-scores, kind="stable")[:TOP]
    return "; ".join(f"{labels[number_of[str(items[k])]]} ({scores[k]:.3f})" for k in best)


def decisions(expected, got, allowed):
    """(same best candidate, all, whether every one that differs was a close call) of scores (n, C)."""
    same = got.argmax(axis=1) == expected.argmax(axis=1)
    top = np.sort(expected, axis=1)
    return int(same.sum()), len(same), bool((same | (top[:, -1] - top[:, -2] <= allowed)).all())
