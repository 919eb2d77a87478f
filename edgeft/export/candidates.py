"""The candidates of a board: every runtime that its profile lists, in every number format that the runtime writes.

Nothing here knows a runtime or a format: profiles, the records of runtimes (`Form.formats`) and the registry of number
formats do, so that a new format or runtime is a candidate as soon as its record is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .. import backends
from ..config import target, target_runtimes
from ..config.recipe import Quantize, Recipe
from ..config.target import Target
from ..core.errors import TargetError


def candidates(profile: Target, asked: Quantize) -> tuple[Target, ...]:
    """The variants of `profile`, what a plain export would make first, then its runtime's other formats.

    Raises `TargetError` where the runtime of the profile does not have the format that the recipe asks for.
    """
    first = target.requested(profile, asked.format, asked.embeddings)
    return first, *(variant for variant in _variants(profile, asked) if name(variant) != name(first))


def chooses(asked: Recipe) -> bool:
    """Whether a recipe wants the fastest of all candidates, not what it or the profile names."""
    return asked.export.choose == "fastest"


def name(variant: Target) -> str:
    """What tables call a candidate: "onnxruntime int8"."""
    return f"{variant.backend} {variant.scheme.format}"


def expanded(profiles: Sequence[Target], asked: Quantize) -> tuple[Target, ...]:
    """The candidates of all boards, board by board."""
    return tuple(variant for profile in profiles for variant in candidates(profile, asked))


def _variants(profile: Target, asked: Quantize) -> Iterator[Target]:
    for runtime in target_runtimes.runtimes(profile):
        there = target_runtimes.in_runtime(profile, runtime)
        for number_format in backends.get(runtime).form(there.form).formats:
            try:
                yield target.requested(there, number_format, asked.embeddings)
            except TargetError:
                continue  # the board has no such values
