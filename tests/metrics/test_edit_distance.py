"""Edit distance against cases counted by hand, and what every distance must be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeft.metrics import edit_distance as edits

pytestmark = pytest.mark.board

WORDS = st.lists(st.sampled_from("abc"), max_size=7)


@pytest.mark.parametrize(
    ("wanted", "found", "count"),
    [
        ("", "", 0),
        ("abc", "abc", 0),
        ("abc", "", 3),
        ("", "ab", 2),
        ("abc", "abd", 1),
        ("abc", "ac", 1),
        ("abc", "abxc", 1),
        ("kitten", "sitting", 3),
        ("sunday", "saturday", 3),
        ("abcd", "dcba", 4),
    ],
)
def test_cases_counted_by_hand(wanted: str, found: str, count: int) -> None:
    assert edits.distance(list(wanted), list(found)) == count


@given(WORDS, WORDS, WORDS)
def test_it_is_a_distance(a: list[str], b: list[str], c: list[str]) -> None:
    between = edits.distance(a, b)
    assert between == edits.distance(b, a)
    assert (between == 0) == (a == b)
    assert edits.distance(a, c) <= between + edits.distance(b, c)
    assert abs(len(a) - len(b)) <= between <= max(len(a), len(b))


def slowly(a: list[str], b: list[str]) -> int:
    if not a or not b:
        return len(a) + len(b)
    return min(slowly(a[1:], b) + 1, slowly(a, b[1:]) + 1, slowly(a[1:], b[1:]) + (a[0] != b[0]))


@given(st.lists(st.sampled_from("ab"), max_size=5), st.lists(st.sampled_from("ab"), max_size=5))
def test_it_is_the_least_of_all_ways(a: list[str], b: list[str]) -> None:
    assert edits.distance(a, b) == slowly(a, b)


@given(WORDS, WORDS)
def test_what_is_kept_stands_in_both_in_order(a: list[str], b: list[str]) -> None:
    same = edits.kept(a, b)
    rest = iter(b)
    assert same.shape == (len(a),) and all(word in rest for word in np.array(a)[same])
    if a == b:
        assert same.all()
    # every edit makes up for at most one word that is not kept
    assert (~same).sum() <= edits.distance(a, b)


def test_a_deleted_and_a_substituted_word_are_not_kept() -> None:
    assert edits.kept(["one", "two", "three", "four"], ["one", "three", "five"]).tolist() == [True, False, True, False]
