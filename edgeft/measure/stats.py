"""Statistics that assume no distribution: order statistics, binomial and paired intervals, a seeded bootstrap.

Only numpy and the standard library: a board measures too, and has no scipy.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

#: quantile -> how many samples it takes before an order statistic can bound it from above with 95 % confidence:
#: the smallest n with 1 - q^n >= 0.95 (Wilks 1941, "Determination of sample sizes for setting tolerance limits").
QUANTILE_NEEDS = {0.5: 1, 0.9: 29, 0.95: 59, 0.99: 299}


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function I_x(a, b), a and b > 0, to about 1e-12.

    Continued fraction evaluated by the modified Lentz method (Thompson & Barnett 1986; DLMF 8.17.22).
    """
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast below this point only
        return 1.0 - beta_cdf(1 - x, b, a)

    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    value = d

    for m in range(1, 10_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 + term * d
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = 1.0 + term / c
            c = c if abs(c) > tiny else tiny
            value *= c * d

        if abs(c * d - 1) < 1e-14:
            break

    return front * value / a


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(X <= k) for X ~ Binomial(n, p)."""
    if k < 0:
        return 0.0
    if k >= n:
        return 1.0

    return beta_cdf(1 - p, n - k, k + 1)


def clopper_pearson(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of a proportion k/n (Clopper & Pearson 1934); n = 0 gives (0, 1)."""
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is not a proportion")
    if n == 0:
        return 0.0, 1.0

    tail = (1 - confidence) / 2
    low = 0.0 if k == 0 else _bisect(lambda p: 1 - binomial_cdf(k - 1, n, p) - tail, 0.0, k / n)
    high = 1.0 if k == n else _bisect(lambda p: tail - binomial_cdf(k, n, p), k / n, 1.0)
    return low, high


def poisson_bounds(k: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of the mean of a Poisson variable that was k (Garwood 1936)."""
    tail = (1 - confidence) / 2
    most = 10 + k + 10 * math.sqrt(k + 1)  # beyond any bound of a usual confidence
    low = 0.0 if k == 0 else _bisect(lambda mean: 1 - _poisson_cdf(k - 1, mean) - tail, 0.0, float(k))
    return low, _bisect(lambda mean: tail - _poisson_cdf(k, mean), float(k), most)


def _poisson_cdf(k: int, mean: float) -> float:
    """P(X <= k) for X ~ Poisson(mean)."""
    if mean <= 0:
        return 1.0
    return math.fsum(math.exp(i * math.log(mean) - mean - math.lgamma(i + 1)) for i in range(k + 1))


def _bisect(rising: Callable[[float], float], low: float, high: float) -> float:
    """The root of a function that rises from below 0 at `low` to above 0 at `high`."""
    for _ in range(80):
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle

    return (low + high) / 2


def quantile_bounds(x: np.ndarray, q: float, confidence: float) -> tuple[float, float]:
    """Bounds on the q-quantile of the population that `x` (n,) is an independent sample of; no distribution assumed.

    Two order statistics whose ranks come from Binomial(n, q) (Conover, "Practical Nonparametric Statistics", 3.2).
    Where n is too small for one at this confidence, that side is infinite.
    """
    x = np.sort(np.asarray(x, dtype=np.float64))
    n, tail = len(x), (1 - confidence) / 2
    # The lower bound x[r] is above the quantile when at most r samples lie below it; the upper one mirrors that.
    below = _largest_rank(n, q, tail)
    above = _largest_rank(n, 1 - q, tail)
    low = float(x[below]) if below >= 0 else -math.inf
    high = float(x[n - 1 - above]) if above >= 0 else math.inf

    return low, high


def _largest_rank(n: int, q: float, tail: float) -> int:
    """The largest r with P(Binomial(n, q) <= r) <= tail, or -1."""
    low, high = -1, n
    while high - low > 1:
        middle = (low + high) // 2
        if binomial_cdf(middle, n, q) <= tail:
            low = middle
        else:
            high = middle

    return low


def median_bounds(x: np.ndarray, confidence: float) -> tuple[float, float]:
    """Bounds on the median (the inverted sign test); at 99 % it takes 8 samples before they are finite."""
    return quantile_bounds(x, 0.5, confidence)


def signed_rank_bounds(x: np.ndarray, confidence: float) -> tuple[float, float]:
    """Bounds on the centre of a symmetric population by the inverted signed-rank test (Hodges & Lehmann 1963).

    Order statistics of the averages of all pairs of `x` (n,); their ranks come from the exact distribution of
    Wilcoxon's statistic. Nothing is assumed but symmetry, which the log ratios of interleaved quads have: both sides
    meet the same noise. Needs a third less data than `median_bounds`; infinite where n is too small.
    """
    x = np.asarray(x, dtype=np.float64)
    n = len(x)
    rank = _signed_rank(n, (1 - confidence) / 2)
    if rank < 0:
        return -math.inf, math.inf

    first, second = np.triu_indices(n)
    averages = np.sort((x[first] + x[second]) / 2)
    return float(averages[rank]), float(averages[len(averages) - 1 - rank])


@functools.lru_cache(maxsize=512)
def _signed_rank(n: int, tail: float) -> int:
    """The largest r with P(W <= r) <= tail for Wilcoxon's signed-rank statistic W of n values, or -1."""
    chances = np.zeros(n * (n + 1) // 2 + 1)
    chances[0] = 1.0

    for k in range(1, n + 1):
        moved = np.zeros_like(chances)
        moved[k:] = chances[: len(chances) - k]
        chances = (chances + moved) / 2

    return int(np.searchsorted(np.cumsum(chances), tail, side="right")) - 1


def percentiles(x: np.ndarray) -> dict[str, float]:
    """{"min", "p50", "p90", ...}: the percentiles that len(x) supports (see `QUANTILE_NEEDS`); {} for no samples."""
    x = np.asarray(x, dtype=np.float64)
    if not len(x):
        return {}

    quantiles = {"min": float(x.min())}
    for q, needs in QUANTILE_NEEDS.items():
        if len(x) >= needs:
            quantiles[f"p{round(q * 100)}"] = float(np.quantile(x, q))

    return quantiles


def paired_proportions(lost: float, gained: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of p(lost) - p(gained) when the same n samples were judged twice.

    `lost` were right before and wrong after, `gained` the other way round. Asymptotic score interval of Tango (1998),
    Statistics in Medicine 17:891-908: keeps its coverage where discordant pairs are few, and is never of width zero.
    Expected counts of a study that is planned may be fractions.
    """
    if n <= 0 or min(lost, gained) < 0 or lost + gained > n:
        raise ValueError(f"{lost} lost and {gained} gained of {n} is impossible")

    z = NormalDist().inv_cdf(1 - (1 - confidence) / 2)

    def score(delta: float) -> float:
        a = 2 * n
        b = -lost - gained + (2 * n - lost + gained) * delta
        c = -gained * delta * (1 - delta)
        q = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
        variance = n * (2 * q + delta * (1 - delta))
        gap = lost - gained - n * delta

        if variance <= 0:
            return math.copysign(math.inf, gap) if gap else 0.0

        return gap / math.sqrt(variance)

    point = (lost - gained) / n
    low = -1.0 if point == -1 else _bisect(lambda d: z - score(d), -1.0, point)
    high = 1.0 if point == 1 else _bisect(lambda d: -z - score(d), point, 1.0)
    return low, high


def paired_bootstrap(
    statistic: Callable[[np.ndarray], float], n: int, *, confidence: float = 0.95, rounds: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of `statistic(indices)` over resampled sample indices (n,); the same seed, the same interval.

    Paired because the statistic takes both artifacts' answers at the same indices (Efron & Tibshirani 1993, ch. 13).
    Rounds whose statistic is not finite (a resample without some class) are left out.
    """
    rng = np.random.default_rng(seed)
    values = np.array([statistic(rng.integers(0, n, n)) for _ in range(rounds)])
    values = values[np.isfinite(values)]
    if not len(values):
        return -math.inf, math.inf

    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
