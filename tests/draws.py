"""How many inputs the random tests draw, and which.

By default they are the same ones in every run (`derandomize`), so that a change is judged by what it changes and not by
luck. With `EDGEFT_RANDOM=20` every test draws twenty times as many, from the seed of `--hypothesis-seed`:

    EDGEFT_RANDOM=20 python -m pytest -m random tests/core --hypothesis-seed=7

A nightly workflow does that (`scripts/test --random`) with a new seed. What it finds is kept beside the test as an
`@example`.
"""

from __future__ import annotations

import os
import random
from typing import Any

from hypothesis import HealthCheck, settings

#: how many times as many inputs as usual are drawn; 0: the usual ones, the same in every run
TIMES = int(os.environ.get("EDGEFT_RANDOM") or 0)
#: what hypothesis draws where a test does not say
USUAL = 100


def load_profile() -> None:
    """The profile of all tests: `fixed`, or `random` where `EDGEFT_RANDOM` asks for it. On a busy machine no
    input is too slow."""
    common: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
    settings.register_profile("fixed", derandomize=True, max_examples=USUAL, **common)
    settings.register_profile("random", max_examples=trials(USUAL), print_blob=True, **common)
    settings.load_profile("random" if TIMES else "fixed")


def draws(number: int, **more: Any) -> settings:
    """A decorator of a random test: so many inputs, or as many times more as the environment asks for."""
    return settings(max_examples=trials(number), **more)


def trials(number: int) -> int:
    return number * max(TIMES, 1)


def generator(name: str, config: Any) -> random.Random:
    """A generator for tests that draw without hypothesis: of the test's name, and of the seed where one is given."""
    seed = config.getoption("--hypothesis-seed", None) if TIMES else None
    return random.Random(f"{name} {seed}" if seed is not None else name)
