"""`tune`: a recipe becomes a run directory: float baseline, PTQ and QAT of every scheme its targets need."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from torch import nn

from .. import data
from ..config import recipe
from ..config.recipe import Recipe
from ..core import files
from ..core.errors import DataError
from ..core.progress import phase
from ..session.calibration_data import TryConversion, calibration_samples, check_graph
from ..session.session import LEARNED, Say, Session, open_session, silent
from . import tracking
from .plan import dry
from .processes import accelerator_of, connected
from .scheme_stage import scheme_stage
from .start import check_same_training, remove_earlier
from .training_run import Run
from .watch import Watch


def tune(
    recipe_: Recipe,
    out: Path,
    *,
    resume: bool = False,
    allow_code: bool = False,
    allow_download: bool = False,
    dry_run: bool = False,
    page: Path | None = None,
    model: nn.Module | None = None,
    dataset: data.Dataset | None = None,
    say: Say = silent,
    try_conversion: TryConversion | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Fine-tune by a recipe into the run directory `out`; returns summary.json's content (or the plan, dry).

    `try_conversion` says before training which targets cannot convert the model; `watch` is told how the run goes, and
    may end it. Raises the errors of recipe, data,
    model and target; `DataError` when the loss stops being finite.
    """
    started, out = time.monotonic(), Path(out)
    accelerator = accelerator_of(recipe_, out, dry_run)
    say = say if accelerator.is_main_process else silent  # one voice, however many processes
    session = open_session(
        recipe_,
        allow_code=allow_code,
        allow_download=allow_download,
        model=model,
        dataset=dataset,
        learned=out / LEARNED if resume else None,
        warn=not dry_run,  # the plan has it
        say=say,
    )
    if dry_run:
        return dry(session, page, try_conversion)

    _try_first(session, try_conversion if accelerator.is_main_process else None, say)
    if watch is not None:
        watch.opened(session)

    run = Run(session, out, accelerator, say, watch)  # refuses a recipe that leaves nothing trainable
    if resume:
        check_same_training(recipe_, session.recipe, out)
    with connected(accelerator, out):
        return _trained(run, resume, started)


def _trained(run: Run, resume: bool, started: float) -> dict[str, Any]:
    """Begin, train and measure; the content of summary.json, which the main process writes."""
    accelerator, recipe_, out = run.accelerator, run.s.recipe, run.out
    try:
        _begin(run, resume)
        summary = run.summary(_stages(run, resume), time.monotonic() - started)
        if accelerator.is_main_process:
            files.write_json(out / "summary.json", summary)
        if recipe_.train.tracker:
            tracking.finished(accelerator, recipe_, out, summary)
    except FloatingPointError as error:
        raise DataError(str(error), remedy="lower train.lr or quantize.lr, and look for NaN in the data") from error
    finally:
        accelerator.end_training()  # ends the trackers and the exchange between processes
    return summary


def _begin(run: Run, resume: bool) -> None:
    """Make the run directory: no files of an earlier run, the recipe, and the task's files (a tokenizer)."""
    accelerator, session, out = run.accelerator, run.s, run.out
    if accelerator.is_main_process and not resume:
        remove_earlier(out)

    accelerator.wait_for_everyone()
    # a machine that does not see the first one's folder has them in its own, so that it can resume
    apart = accelerator.is_local_main_process and not (out / "recipe.toml").exists()
    if accelerator.is_main_process or apart:
        files.write_text(out / "recipe.toml", recipe.dumps(session.recipe))
        session.keep_learned(out / LEARNED)
    if session.recipe.train.tracker:
        tracking.begin(accelerator, session.recipe, out)


def _stages(run: Run, resume: bool) -> dict[str, Any]:
    """Train in float and in every scheme; the results by the scheme's name."""
    run.initialize()
    run.choose(resume)
    if not resume and run.accelerator.num_processes == 1:
        run.say_expected_time()
    run.float_stage()
    return {name: scheme_stage(run, scheme) for name, scheme in run.s.schemes.items()}


def _try_first(session: Session, try_conversion: TryConversion | None, say: Say) -> None:
    """Refuse before the float stage what calibration or all targets would refuse after it."""
    if session.recipe.quantize.method == "none":
        return

    with phase("choosing calibration samples"):
        calibration_samples(session)
    for name, error in check_graph(session, try_conversion).items():
        say(f"warning: {name} cannot convert this model, and gets no bundle: {error}")
