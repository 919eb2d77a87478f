from __future__ import annotations

import math

import numpy as np
import pytest
from draws import draws
from hypothesis import given
from hypothesis import strategies as st

from edgeft.measure import stats


def exact_cdf(k: int, n: int, p: float) -> float:
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


@given(st.integers(1, 60), st.data())
def test_binomial_cdf_is_the_sum_of_its_terms(n, data):
    k, p = data.draw(st.integers(0, n)), data.draw(st.floats(0.001, 0.999))
    assert stats.binomial_cdf(k, n, p) == pytest.approx(exact_cdf(k, n, p), abs=1e-10)


def test_binomial_cdf_at_its_ends():
    assert stats.binomial_cdf(-1, 5, 0.3) == 0 and stats.binomial_cdf(5, 5, 0.3) == 1
    assert stats.binomial_cdf(2, 5, 0.0) == 1 and stats.binomial_cdf(2, 5, 1.0) == 0


@given(st.integers(1, 3000), st.data())
def test_clopper_pearson_holds_the_share_and_mirrors(n, data):
    k = data.draw(st.integers(0, n))
    low, high = stats.clopper_pearson(k, n)
    assert 0 <= low <= k / n <= high <= 1
    mirrored = stats.clopper_pearson(n - k, n)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9)


def test_clopper_pearson_of_known_cases():
    assert stats.clopper_pearson(5, 10) == pytest.approx((0.187086, 0.812914), abs=1e-6)
    assert stats.clopper_pearson(0, 100)[1] == pytest.approx(1 - 0.025 ** (1 / 100), abs=1e-9)
    assert stats.clopper_pearson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="is not a proportion"):
        stats.clopper_pearson(3, 2)


def test_median_bounds_need_eight_samples_for_99_percent():
    assert stats.median_bounds(np.arange(7.0), 0.99) == (-math.inf, math.inf)
    assert stats.median_bounds(np.arange(8.0), 0.99) == (0.0, 7.0)
    assert stats.median_bounds(np.array([]), 0.99) == (-math.inf, math.inf)


@given(st.lists(st.floats(-1e6, 1e6), min_size=8, max_size=200), st.floats(0.5, 0.995))
def test_median_bounds_hold_the_median_and_are_samples(values, confidence):
    low, high = stats.median_bounds(np.array(values), confidence)
    assert low <= np.median(values) <= high
    assert all(bound in values or math.isinf(bound) for bound in (low, high))


@pytest.mark.parametrize("draw", ["lognormal", "bursts", "two humps"])
def test_quantile_bounds_cover_whatever_the_distribution(draw):
    rng = np.random.default_rng(5)
    samples = {
        "lognormal": lambda: rng.lognormal(0, 1, 40),
        "bursts": lambda: rng.exponential(1, 40) * np.where(rng.random(40) < 0.1, 50, 1),
        "two humps": lambda: rng.normal(np.where(rng.random(40) < 0.4, -5, 5), 1),
    }[draw]
    rng_truth = np.random.default_rng(6)
    many = {
        "lognormal": rng_truth.lognormal(0, 1, 400_000),
        "bursts": rng_truth.exponential(1, 400_000) * np.where(rng_truth.random(400_000) < 0.1, 50, 1),
        "two humps": rng_truth.normal(np.where(rng_truth.random(400_000) < 0.4, -5, 5), 1),
    }[draw]
    for q in (0.5, 0.8):
        truth, missed = np.quantile(many, q), 0
        for _ in range(1000):
            low, high = stats.quantile_bounds(samples(), q, 0.95)
            missed += not low <= truth <= high
        assert missed <= 70  # nominal 50 or fewer, and its noise


def test_percentiles_only_where_the_samples_support_them():
    assert stats.percentiles(np.array([])) == {}
    assert set(stats.percentiles(np.arange(10.0))) == {"min", "p50"}
    assert set(stats.percentiles(np.arange(59.0))) == {"min", "p50", "p90", "p95"}
    assert "p99" not in stats.percentiles(np.arange(298.0))
    assert stats.percentiles(np.arange(1001.0))["p99"] == 990
    for q, n in stats.QUANTILE_NEEDS.items():
        if q > 0.5:
            assert 1 - q**n >= 0.95 > 1 - q ** (n - 1)


@given(st.integers(1, 2000), st.data())
def test_paired_proportions_hold_the_difference_and_mirror(n, data):
    lost = data.draw(st.integers(0, n))
    gained = data.draw(st.integers(0, n - lost))
    low, high = stats.paired_proportions(lost, gained, n)
    assert -1 <= low <= (lost - gained) / n <= high <= 1
    assert high > low
    assert stats.paired_proportions(gained, lost, n) == pytest.approx((-high, -low), abs=1e-9)


def test_paired_proportions_of_published_cases():
    # without discordant pairs Tango's interval is +- z^2 / (n + z^2)
    z2 = 1.959964**2
    assert stats.paired_proportions(0, 0, 50) == pytest.approx((-z2 / (50 + z2), z2 / (50 + z2)), abs=1e-6)
    # Fagerland, Lydersen & Laake 2014 (Statistics in Medicine 33:2850), airway data: 1 and 7 discordant of 21
    assert stats.paired_proportions(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)
    for lost, gained, n in ((3, 3, 5), (-1, 0, 5), (0, -1, 5), (0, 0, 0)):
        with pytest.raises(ValueError, match="impossible"):
            stats.paired_proportions(lost, gained, n)


@pytest.mark.parametrize(("lost", "gained"), [(0.02, 0.02), (0.03, 0.0), (0.1, 0.05)])
def test_paired_proportions_cover(lost, gained):
    rng, n, missed = np.random.default_rng(11), 200, 0
    for _ in range(1500):
        a, b, _ = rng.multinomial(n, [lost, gained, 1 - lost - gained])
        low, high = stats.paired_proportions(int(a), int(b), n)
        missed += not low <= lost - gained <= high
    assert missed / 1500 <= 0.07


@draws(20)
@given(st.lists(st.floats(-10, 10), min_size=20, max_size=60))
def test_bootstrap_is_seeded_and_stays_inside_the_data(values):
    x = np.array(values)

    def mean(at: np.ndarray) -> float:
        return float(x[at].mean())

    first = stats.paired_bootstrap(mean, len(x), rounds=200)
    assert first == stats.paired_bootstrap(mean, len(x), rounds=200)
    assert x.min() - 1e-9 <= first[0] <= first[1] <= x.max() + 1e-9


def test_bootstrap_covers_a_mean():
    rng, missed = np.random.default_rng(3), 0
    for seed in range(150):
        x = rng.exponential(1.0, 150)
        low, high = stats.paired_bootstrap(lambda at, x=x: float(x[at].mean()), 150, rounds=300, seed=seed)
        missed += not low <= 1.0 <= high
    assert missed <= 18


def test_bootstrap_without_any_finite_round_bounds_nothing():
    assert stats.paired_bootstrap(lambda at: math.nan, 30, rounds=5) == (-math.inf, math.inf)


def test_signed_rank_bounds_follow_the_published_table():
    # two-sided 5 % critical values of Wilcoxon's W (largest W that is significant), as tables have them
    for n, critical in ((6, 0), (8, 3), (10, 8), (12, 13), (15, 25), (20, 52), (25, 89)):
        assert stats._signed_rank(n, 0.025) == critical
    assert stats._signed_rank(5, 0.025) == -1


def test_signed_rank_bounds_cover_and_are_narrower_than_the_sign_test():
    rng = np.random.default_rng(0)
    missed, narrower = 0, 0
    for _ in range(300):
        x = 0.3 + rng.standard_t(3, 30)
        low, high = stats.signed_rank_bounds(x, 0.95)
        wide = stats.median_bounds(x, 0.95)
        missed += not low <= 0.3 <= high
        narrower += high - low < wide[1] - wide[0]
    assert stats.clopper_pearson(missed, 300, 0.99)[0] <= 0.05
    assert narrower > 200
    assert stats.signed_rank_bounds(np.array([1.0, 2.0]), 0.99) == (-np.inf, np.inf)


@pytest.mark.parametrize(("k", "low", "high"), [(0, 0.0, 3.688879), (1, 0.025318, 5.571643), (10, 4.795389, 18.390356)])
def test_poisson_bounds_are_those_of_tables(k: int, low: float, high: float) -> None:
    """Exact limits of Garwood, as tables of them have (Ulm 1990)."""
    assert stats.poisson_bounds(k) == (pytest.approx(low, abs=1e-5), pytest.approx(high, abs=1e-5))


def test_poisson_bounds_of_large_counts_are_those_of_the_normal_distribution() -> None:
    low, high = stats.poisson_bounds(10_000)
    assert low == pytest.approx(10_000 - 196, abs=5) and high == pytest.approx(10_000 + 196, abs=5)
