"""`export`: a run becomes one verified bundle per target, each proved on the artifact in its own runtime."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
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
from . import aside, pack, prove
from .compiling import compile_target
from .convert import conversion, convert
from .quantized_run import QuantizedRun, Say, open_model, open_run
from .reference import references


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
    say: Say = lambda text: None,
) -> list[dict[str, Any]]:
    """Lower the run in folder `run` to each target and verify the artifact there; returns the reports with `path`.

    A bundle is built in a staging folder beside `out/<target>` and renamed when it is whole. Raises `RunError` for a
    run that is incomplete or of another model, `UsageError` for a scheme that the run lacks (unless `ptq`), `Missing`
    before any work when a runtime is not installed. Where a target cannot be converted, the bundles of the others are
    written before its error is raised.
    """
    profiles = [target.load(name) for name in targets]
    finals = [_final(profile, Path(out), overwrite) for profile in profiles]
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

    return _bundles(opened, finals, say)


def export_model(
    asked: Recipe,
    targets: Sequence[str],
    out: Path,
    *,
    overwrite: bool = False,
    allow_code: bool = False,
    say: Say = lambda text: None,
) -> list[dict[str, Any]]:
    """Quantize the finished model of a recipe without training, as `export` does a run."""
    profiles = [target.load(name) for name in targets]
    finals = [_final(profile, Path(out), overwrite) for profile in profiles]
    opened = open_model(asked, profiles, targets, allow_code=allow_code, say=say)
    return _bundles(opened, finals, say)


def _bundles(opened: QuantizedRun, finals: Sequence[Path], say: Say) -> list[dict[str, Any]]:
    """Convert, prove and pack every target of an opened run; `finals` are the folders of their bundles."""
    with contextlib.ExitStack() as stack:
        stagings = [stack.enter_context(pack.staging(final)) for final in finals]
        places = list(zip(opened.targets, stagings))
        jobs = [functools.partial(convert, conversion(opened, *place)) for place in places]
        say(", ".join(f"{profile.name}: exporting to {profile.backend}" for profile in opened.targets))
        results = stack.enter_context(aside.all_of(jobs))
        reference_of = references(opened)  # while the conversions run aside
        converted, evidence, errors = prove.observed(opened, places, results, reference_of, say)

        reports, final_of = [], dict(zip((profile.name for profile in opened.targets), finals))
        for converted_target, outputs in zip(converted, evidence):
            name = converted_target.target.name
            say(f"{name}: verifying in {converted_target.target.backend}")
            try:
                compiled = compile_target(opened, converted_target, outputs, say)
                reports.append(pack.pack(opened, converted_target, outputs, compiled, final_of[name]))
            except EdgeftError as error:
                errors[name] = error

        if errors:
            raise _worst(errors, reports)

    return reports


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
