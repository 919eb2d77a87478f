"""From an opened run to verified bundles in their staging folders: the order of an export's steps."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..config.target import Target
from ..core.errors import EdgeftError, InternalError, write_refused
from . import aside, prove
from .candidates import chooses, name
from .compiling import compile_target
from .convert import Conversion, conversion, convert
from .pack import PackedTarget, pack
from .quantized_run import QuantizedRun, Say
from .reference import references

#: a target, its staging folder, and its bundle there or what prevented it
Outcome = tuple[Target, Path, PackedTarget | EdgeftError]


def packed_targets(run: QuantizedRun, places: Sequence[tuple[Target, Path]], say: Say) -> Iterator[Outcome]:
    """Convert, prove and pack every (target, staging folder), in that order; a bundle at a time, as it is done.

    What fails of one target does not end the others.
    """
    open_places = [place for place in places if place[0].scheme.name in run.schemes]
    jobs = [functools.partial(_converted, conversion(run, *place)) for place in open_places]
    say(", ".join(f"{profile.name}: exporting to {_title(run, profile)}" for profile, _ in open_places))

    with aside.all_of(jobs) as results:
        reference_of, failed = references(run)  # while the conversions run aside
        ready = [(place, result) for place, result in zip(open_places, results) if place[0].scheme.name in reference_of]
        converted, evidence, errors = prove.observed(
            run, [place for place, _ in ready], [result for _, result in ready], reference_of, say
        )

    made = {part.staging: (part, outputs) for part, outputs in zip(converted, evidence)}
    for profile, staging in places:
        scheme = profile.scheme.name
        if staging not in made:
            yield profile, staging, errors.get(staging) or failed.get(scheme) or run.refused[scheme]
            continue

        say(f"{profile.name}: verifying in {_title(run, profile)}")
        part, outputs = made[staging]
        try:
            compiled = compile_target(run, part, outputs, say)
            yield profile, staging, pack(run, part, outputs, compiled)
        except EdgeftError as error:
            yield profile, staging, error


def _title(run: QuantizedRun, variant: Target) -> str:
    """What messages call a target's artifact: its runtime, and its number format where there are several."""
    return name(variant) if chooses(run.recipe) else variant.backend


def _converted(job: Conversion) -> list[dict[str, Any]]:
    """`convert`, whose faults are errors too: a converter that stumbles ends its own target, and no other."""
    try:
        return convert(job)
    except EdgeftError:
        raise
    except Exception as error:
        if write_refused(error):
            raise
        raise InternalError(f"the converter failed: {type(error).__name__}: {error}", where=job.target.name) from error
