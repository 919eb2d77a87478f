"""How many samples a decision about a drop would take, from those that were judged.

What is extrapolated is the 95 % interval that the same share of changed answers would have on more samples. It is an
estimate from a few samples, and as rough as they are few.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..measure import stats

Interval = tuple[float, float]
#: the interval of a drop if so many samples were judged
IntervalAt = Callable[[int], Interval]
#: a bootstrap of fewer samples says nothing about its own tails
BOOTSTRAP_NEEDS = 20
#: an estimate of more samples than this is none
MOST = 10_000_000
_Z95 = 1.96


def of_pairs(lost: int, gained: int, n: int) -> IntervalAt:
    """Of samples that are right or wrong: Tango's interval with the same shares of lost and gained answers."""
    return lambda m: stats.paired_proportions(lost * m / n, gained * m / n, m)


def of_interval(drop: float, interval: Interval, n: int) -> IntervalAt:
    """Of an interval of `n` samples: it narrows around the drop with the root of their number."""
    low, high = interval
    return lambda m: (drop - (drop - low) * math.sqrt(n / m), drop + (high - drop) * math.sqrt(n / m))


def of_leaving_out(drop_at: Callable[[np.ndarray], float], n: int, reach: float) -> IntervalAt | None:
    """Of fewer samples than a bootstrap needs: the jackknife's standard error of `drop_at(indices)`.

    Where no sample changes anything it is that which `m` samples could have missed, each by `reach`. None for fewer
    than two samples. Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 11.
    """
    if n < 2:
        return None

    everything = np.arange(n)
    drop = drop_at(everything)
    values = np.array([drop_at(np.delete(everything, i)) for i in range(n)])
    values = values[np.isfinite(values)]
    if len(values) < 2 or not math.isfinite(drop):
        return None

    error = math.sqrt((len(values) - 1) * float(np.mean((values - values.mean()) ** 2)))

    def interval(m: int) -> Interval:
        half = max(_Z95 * error * math.sqrt(n / m), stats.clopper_pearson(0, m)[1] * reach if not error else 0.0)
        return drop - half, drop + half

    return interval


def deciding(interval_at: IntervalAt | None, limit: float, n: int) -> int:
    """The smallest number of samples above `n` whose expected interval does not hold `limit`; 0 where none would.

    Without `interval_at` it is what an interval needs at least.
    """
    if interval_at is None:
        return max(BOOTSTRAP_NEEDS, n + 1)

    def decides(m: int) -> bool:
        low, high = interval_at(m)
        return high <= limit or low > limit

    low = high = n
    while not decides(high):
        low, high = high, 2 * high
        if high > MOST:
            return 0

    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)

    return max(high, n + 1)
