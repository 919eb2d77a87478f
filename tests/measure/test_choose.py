"""The choice among candidates: a pure function of verdicts, speeds, losses and sizes, never of a clock."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeft.measure.choose import LEVEL, Candidate, Speed, choose

FLOAT = Candidate("ort fp32", "pass", "", Speed(1, 1, 1), 0.0, 400, "ort, float", yardstick=True)
INT8 = Candidate("ort int8", "pass", "", Speed(1.5, 1.4, 1.6), 0.002, 100)
HALF = Candidate("ort fp16", "pass", "", Speed(1.0, 0.99, 1.01), 0.0, 200, "ort, float")


def shipped(*candidates: Candidate) -> str:
    return candidates[choose(candidates).chosen].name


# -- the rule, case by case ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "ort int8"),
        ({"speed": Speed(0.6, 0.55, 0.65)}, "ort fp32"),  # slower
        ({"speed": Speed(1.04, 0.99, 1.09)}, "ort fp32"),  # faster by its estimate alone
        ({"speed": Speed(1.04, 1.01, 1.09, agreed=False)}, "ort fp32"),  # the processes disagree
        ({"speed": Speed(1.04, 1.0, 1.09)}, "ort fp32"),  # 1 is still in the interval
        ({"speed": None}, "ort fp32"),  # its measurement broke off
        ({"verdict": "fail", "why": "accuracy: drop"}, "ort fp32"),
        ({"verdict": "inconclusive"}, "ort fp32"),
        ({"verdict": None, "why": "cannot convert aten.x"}, "ort fp32"),
    ],
)
def test_integers_replace_float_only_where_they_are_faster_beyond_noise(changes, name) -> None:
    assert shipped(replace(INT8, **changes), FLOAT) == name


def test_what_computes_as_float_does_replaces_it_where_it_is_smaller_and_shown_to_be_no_slower() -> None:
    assert shipped(FLOAT, HALF) == "ort fp16"
    assert shipped(FLOAT, replace(HALF, speed=Speed(1.0, 1 - LEVEL - 0.001, 1.03))) == "ort fp32"  # too noisy
    assert shipped(FLOAT, replace(HALF, speed=Speed(0.99, 0.985, 0.995))) == "ort fp32"  # a little slower, surely
    assert shipped(FLOAT, replace(HALF, size=400)) == "ort fp32"
    assert shipped(FLOAT, replace(HALF, kernels="ov, float")) == "ort fp32"  # another runtime has to be faster


def test_of_level_candidates_the_smallest_then_the_most_accurate_then_the_first_is_shipped() -> None:
    fast = replace(INT8, name="fast", speed=Speed(2.0, 1.8, 2.2), size=120)
    level = replace(INT8, name="level", speed=Speed(1.9, 1.7, 2.1), size=100)
    slow = replace(INT8, name="slow", speed=Speed(1.5, 1.4, 1.6), size=50)
    choice = choose([FLOAT, fast, level, slow])
    assert choice.chosen == 2 and "smallest of the 2 that are level" in choice.reasons[2]
    assert choice.reasons[1] == "as fast as level within the noise, which is smaller"
    assert choice.reasons[3] == "slower than level beyond the noise"
    accurate = replace(level, name="accurate", drop=0.001)
    assert shipped(FLOAT, fast, level, accurate) == "accurate" == shipped(FLOAT, fast, accurate, level)
    assert shipped(FLOAT, level, replace(level, name="twin")) == "level"


def test_nothing_measured_ships_what_was_asked_for_and_passes() -> None:
    blind = [replace(c, speed=None) for c in (INT8, FLOAT, HALF)]
    assert shipped(*blind) == "ort int8"
    assert shipped(replace(blind[0], verdict="fail"), *blind[1:]) == "ort fp32"
    assert "nothing was measured" in choose(blind).reasons[0] and "nothing was measured" in choose(blind).reasons[1]


def test_nothing_passes_ships_what_was_asked_for_with_its_verdict() -> None:
    failing = [replace(INT8, verdict=None, why="no op"), replace(HALF, verdict="fail", why="size: 3 MB"),
               replace(FLOAT, verdict="fail", why="size: 9 MB")]  # fmt: skip
    choice = choose(failing)
    assert choice.chosen == 1 and "no candidate passes" in choice.reasons[1] and choice.reasons[0] == "no op"
    with pytest.raises(ValueError, match="no candidate has a bundle"):
        choose([replace(INT8, verdict=None)])


def test_a_float_model_that_fails_is_no_bar() -> None:
    slow = replace(INT8, speed=Speed(0.8, 0.7, 0.9))
    assert shipped(replace(FLOAT, verdict="fail", why="size"), slow) == "ort int8"


# -- what holds of any figures ---------------------------------------------------------------------------------------
@st.composite
def speeds(draw) -> Speed:
    low, estimate, high = sorted(draw(st.lists(st.floats(0.1, 10), min_size=3, max_size=3)))
    return Speed(estimate, low, high, draw(st.booleans()))


CANDIDATES = st.builds(
    Candidate,
    name=st.text("abc", min_size=1, max_size=4),
    verdict=st.sampled_from(["pass", "fail", "inconclusive", None]),
    why=st.just("accuracy: it fell"),
    speed=st.none() | speeds(),
    drop=st.none() | st.floats(-0.1, 0.1),
    size=st.integers(1, 5).map(lambda n: 100 * n),
    kernels=st.sampled_from(["integer", "ort, float", "ov, float"]),
)
FLOATS = st.builds(replace, st.just(FLOAT), verdict=st.sampled_from(["pass", "pass", "fail", "inconclusive"]))
LISTS = st.tuples(st.lists(CANDIDATES, max_size=6), FLOATS).flatmap(
    lambda parts: st.permutations([*parts[0], parts[1]])
)


@given(LISTS)
def test_a_failing_candidate_is_never_chosen_while_another_does_not_fail(candidates) -> None:
    choice = choose(candidates)
    verdicts = {candidate.verdict for candidate in candidates}
    best = next(v for v in ("pass", "inconclusive", "fail") if v in verdicts)
    assert candidates[choice.chosen].verdict == best
    assert len(choice.reasons) == len(candidates) and all(choice.reasons)


@given(LISTS)
def test_noise_never_makes_anything_win_over_a_float_model_that_passes(candidates) -> None:
    """Neither an interval that holds 1, nor processes that disagree; and never what is shown to be slower."""
    winner = candidates[choose(candidates).chosen]
    barred = any(c.yardstick and c.verdict == winner.verdict for c in candidates)
    if winner.yardstick or winner.verdict == "fail" or not barred:
        return

    assert winner.speed is not None and not winner.speed.slower
    if winner.kernels != FLOAT.kernels:
        assert winner.speed.low > 1 and winner.speed.agreed
    else:
        assert winner.speed.faster or (winner.speed.low >= 1 - LEVEL and winner.size < FLOAT.size)


@given(LISTS)
def test_nothing_that_is_eligible_is_faster_beyond_noise_than_what_is_chosen(candidates) -> None:
    winner = candidates[choose(candidates).chosen]
    rivals = [c for c in candidates if c.verdict == winner.verdict and c.speed is not None and c.speed.faster]
    if winner.verdict in ("pass", "inconclusive") and winner.speed is not None and winner.speed.faster:
        fastest = max(rivals, key=lambda c: c.speed.estimate)
        assert winner.speed.meets(fastest.speed)
        assert winner.size <= min(c.size for c in rivals if c.speed.meets(fastest.speed))
    elif winner.yardstick and winner.verdict in ("pass", "inconclusive"):
        assert not rivals


@given(LISTS, st.randoms(use_true_random=False))
def test_the_order_decides_between_equals_alone(candidates, random) -> None:
    """Shuffled, another candidate may be chosen only where size and drop are the same, or nothing was measured."""
    shuffled = [*candidates]
    random.shuffle(shuffled)
    first, second = (group[choose(group).chosen] for group in (candidates, shuffled))
    if first.verdict in ("pass", "inconclusive") and first.speed is not None:
        assert (first.size, first.drop) == (second.size, second.drop)


@given(LISTS)
def test_what_beats_nothing_is_not_on_the_front(candidates) -> None:
    choice = choose(candidates)
    if candidates[choice.chosen].verdict == "fail":
        assert not choice.pareto
        return

    eligible = [k for k, c in enumerate(candidates) if c.verdict == candidates[choice.chosen].verdict]
    assert choice.pareto and choice.pareto <= set(eligible)
    figures = {k: (-(c.speed.estimate if c.speed else 0), 1e9 if c.drop is None else c.drop, c.size)
               for k, c in enumerate(candidates)}  # fmt: skip
    for k in eligible:
        beaten = any(all(a <= b for a, b in zip(figures[o], figures[k])) and figures[o] != figures[k] for o in eligible)
        assert (k in choice.pareto) == (not beaten)
