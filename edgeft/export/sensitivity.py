"""`edgeft sensitivity`: what quantizing each layer of a run costs, on validation samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..config import target
from ..session.sensitivity import SAMPLES, sensitivity
from .quantized_run import Say, open_run


def of_run(
    run: Path,
    name: str,
    *,
    ptq: bool = False,
    samples: int = SAMPLES,
    overrides: Sequence[str] = (),
    allow_code: bool = False,
    allow_download: bool = False,
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """The layers of the run in folder `run` as it is quantized for the target `name`, the most sensitive first.

    `ptq` calibrates anew in place of taking the run's own quantized model. Returns what `edgeft.sensitivity` says.
    Raises `RunError` for a damaged or unfinished run, `UsageError` for a scheme that it lacks, `DataError` for data
    without validation samples.
    """
    profile = target.load(name)
    opened = open_run(
        run,
        [profile],
        [name],
        ptq=ptq,
        overrides=[*overrides, "export.choose=asked"],
        allow_code=allow_code,
        allow_download=allow_download,
        model=None,
        dataset=None,
        say=say,
    )
    scheme = opened.scheme_of(opened.targets[0])
    measured = sensitivity(opened, scheme.graphs, samples)
    metric = opened.task.metric

    return {
        "schema": 1,
        "run": str(run),
        "target": profile.name,
        "scheme": scheme.name,
        "method": scheme.method,
        "keep_float": list(opened.recipe.quantize.keep_float),
        "metric": metric.name,
        "metric_record": metric.as_dict(),
        **measured.as_dict(),
    }
