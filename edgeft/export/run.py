"""`export`: a run becomes one verified bundle per target, each proved on the artifact in its own runtime."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from .. import backends as runtime
from .. import data
from ..compilers import compilation
from ..config import target
from ..config.recipe import Recipe
from ..config.target import Target
from ..core.errors import EdgeftError, UsageError
from ..devices.device import Here
from ..devices.speeds import unmeasured
from ..session import trackers
from . import pack
from .candidates import chooses
from .fastest import CandidateResult, Measurement, fastest
from .pack import PackedTarget
from .packed import Outcome, packed_targets
from .quantized_run import QuantizedRun, Say, open_model, open_run


def export(
    run: Path,
    targets: Sequence[str],
    out: Path,
    *,
    ptq: bool = False,
    strict: bool = False,
    overwrite: bool = False,
    overrides: Sequence[str] = (),
    allow_code: bool = False,
    allow_download: bool = False,
    model: nn.Module | None = None,
    dataset: data.Dataset | None = None,
    measurement: Measurement | None = None,
    say: Say = lambda text: None,
) -> list[dict[str, Any]]:
    """Lower the run in folder `run` to each target and verify the artifact there; returns the reports with `path`.

    A bundle is built in a staging folder beside `out/<target>` and renamed when it is whole. Raises `RunError` for a
    run that is incomplete or of another model, `UsageError` for a scheme that the run lacks (unless `ptq`), `Missing`
    before any work when a runtime is not installed. Where a target cannot be converted, the bundles of the others are
    written before its error is raised. Where the recipe's `export.choose` asks for the fastest, every candidate of a
    target is made, `measurement` says where and how long they are timed (None: here), and one is written.
    """
    profiles = [target.load(name) for name in targets]
    finals = [_final(profile, Path(out), overwrite) for profile in profiles]
    _measurable(profiles, measurement)
    opened = open_run(
        Path(run),
        profiles,
        targets,
        ptq=ptq,
        overrides=overrides,
        allow_code=allow_code,
        allow_download=allow_download,
        model=model,
        dataset=dataset,
        say=say,
    )

    reports = _bundles(opened, profiles, finals, measurement, say)
    trackers.exported(Path(run), opened.recipe.train.tracker, reports, say)
    return reports


def export_model(
    asked: Recipe,
    targets: Sequence[str],
    out: Path,
    *,
    overwrite: bool = False,
    allow_code: bool = False,
    measurement: Measurement | None = None,
    say: Say = lambda text: None,
) -> list[dict[str, Any]]:
    """Quantize the finished model of a recipe without training, as `export` does a run."""
    profiles = [target.load(name) for name in targets]
    finals = [_final(profile, Path(out), overwrite) for profile in profiles]
    _measurable(profiles, measurement)
    opened = open_model(asked, profiles, targets, allow_code=allow_code, say=say)
    return _bundles(opened, profiles, finals, measurement, say)


def _bundles(
    opened: QuantizedRun,
    profiles: Sequence[Target],
    finals: Sequence[Path],
    measurement: Measurement | None,
    say: Say,
) -> list[dict[str, Any]]:
    """Convert, prove and pack every target of an opened run; `finals` are the folders of the bundles of `profiles`."""
    final_of = dict(zip((profile.name for profile in profiles), finals))
    reports: list[dict[str, Any]] = []
    errors: dict[str, EdgeftError] = {}

    with contextlib.ExitStack() as stack:
        stagings = [stack.enter_context(pack.staging(final_of[variant.name])) for variant in opened.targets]
        outcomes = packed_targets(opened, list(zip(opened.targets, stagings)), say)
        for profile, packed in _shipped(opened, profiles, outcomes, measurement, say):
            if isinstance(packed, EdgeftError):
                errors[profile.name] = packed
            else:
                reports.append(pack.publish(opened, packed, final_of[profile.name]))
        if errors:
            raise _worst(errors, reports)

    return reports


def _measurable(profiles: Sequence[Target], measurement: Measurement | None) -> None:
    """Raise where the device cannot time the candidates of a target, before any of them is made."""
    if measurement is not None:
        for profile in profiles:
            unmeasured(profile, measurement.device)


def _shipped(
    opened: QuantizedRun,
    profiles: Sequence[Target],
    outcomes: Iterator[Outcome],
    measurement: Measurement | None,
    say: Say,
) -> Iterator[tuple[Target, PackedTarget | EdgeftError]]:
    """What is written for each target: its bundle or its error; of several candidates the one that is chosen."""
    if not chooses(opened.recipe):
        yield from ((variant, packed) for variant, _, packed in outcomes)
        return

    # all of them first: nothing is timed beside a conversion
    results = [CandidateResult(variant, packed) for variant, _, packed in outcomes]
    for profile in profiles:
        mine = [candidate for candidate in results if candidate.variant.name == profile.name]
        try:
            yield profile, fastest(opened, profile, mine, measurement or Measurement(Here()), say)
        except EdgeftError as error:
            yield profile, error


def _worst(errors: dict[str, EdgeftError], reports: Sequence[dict[str, Any]]) -> EdgeftError:
    """The error of the target that failed worst, with what became of the others."""
    name, error = max(errors.items(), key=lambda item: item[1].exit_code)
    others = [f"{other} failed too: {errors[other].message}" for other in errors if other != name]
    others += [f"{report['target']}: {report['verdict']}, written to {report['path']}" for report in reports]
    if name not in f"{error.where}{error.message}":
        error.message = f"{name}: {error.message}"
    error.remedy = "; ".join(filter(None, [error.remedy, *others]))
    return error


def _final(profile: Target, out: Path, overwrite: bool) -> Path:
    """The folder of a target's bundle; raises `Missing` for its runtime or its compiler's damaged environment, and
    `UsageError` for what is in the way."""
    runtime.get(profile.backend).version()
    compilation.environment_of(profile)
    final = out / profile.name
    if final.exists() and not final.is_dir():
        raise UsageError(f"{final} is a file, not a folder", remedy="choose another --out")
    if final.exists() and any(final.iterdir()) and not overwrite:
        raise UsageError(f"{final} exists and is not empty", remedy="choose another --out, or pass --overwrite")
    return final
