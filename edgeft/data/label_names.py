"""Names of classes that look like a mistake: several in one, and the same one written in two ways."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from ..core.errors import DataError
from .samples import listed

#: signs that part the labels of one sample
_PARTING = re.compile(r"[,;|]")
#: shorter names are signs (letters of a language), of which case and spelling are their own
_SHORTEST = 2
#: combinations from which on they are one although no part stands alone
_FEWEST = 3


def combined(labels: Sequence[str]) -> list[str]:
    """The labels that are several in one ("cat,dog" beside "cat" and "dog"), in order.

    A name that happens to hold a comma ("Pepper, bell") is none: its parts have to be labels of their own, or all to
    occur in combinations with others.
    """
    parts_of = {label: [part.strip() for part in _PARTING.split(label)] for label in labels}
    several = {label: parts for label, parts in parts_of.items() if len(parts) > 1 and all(parts)}
    alone = {label.strip() for label in labels} - set(several)
    beside = [label for label, parts in several.items() if set(parts) <= alone]
    if beside:
        return [label for label in several if label in beside or set(several[label]) & alone]

    occurs = Counter(part for parts in several.values() for part in set(parts))
    crossed = [label for label, parts in several.items() if all(occurs[part] > 1 for part in parts)]
    return crossed if len(crossed) >= _FEWEST else []


#: names of columns that hold several labels, which blanks part
_PLURAL = frozenset(("tags", "labels", "attributes", "attribute_ids", "categories", "genres", "classes"))


def refuse_words(labels: Sequence[str], column: str, where: str) -> None:
    """Raise `DataError` for labels of a column such as `tags` of which words stand in other ones ("haze primary")."""
    words_of = {label: set(label.split()) for label in labels}
    occurs = Counter(word for words in words_of.values() for word in words)
    several = [label for label, words in words_of.items() if len(words) > 1]
    shared = [label for label in several if any(occurs[word] > 1 for word in words_of[label])]
    if column.lower() in _PLURAL and shared and 2 * len(shared) >= len(several):
        raise _several(shared, where)


def refuse_combined(labels: Sequence[str], where: str) -> None:
    """Raise `DataError` for labels that are several in one, since a sample has one class."""
    several = combined(labels)
    if several:
        raise _several(several, where)


def _several(labels: Sequence[str], where: str) -> DataError:
    return DataError(
        f"{len(labels)} labels are several in one, such as {labels[0]!r}: samples with several labels at once "
        "(multi-label) are not taken, every sample has one class",
        where=where,
        remedy="keep one label a sample; where each combination is meant as a class, join it by another sign (cat+dog)",
    )


def written_twice(labels: Sequence[str]) -> list[str]:
    """A warning that names labels which differ in case, spaces, hyphens and underscores alone."""
    groups = defaultdict(list)
    for label in labels:
        if len(label) >= _SHORTEST:
            groups[re.sub(r"[\s_-]+", " ", label).strip().casefold()].append(label)

    twice = [names for names in groups.values() if len(names) > 1]
    if not twice:
        return []

    named = " and ".join(map(repr, twice[0]))
    more = f", and {len(twice) - 1} more like it ({listed([names[0] for names in twice[1:]])})" if twice[1:] else ""
    return [f"{named} are read as classes of their own, though they differ in case or spacing alone{more}"]
