"""The processes that train together, on one machine or several: what they share, and what is said where one is gone.

Every machine opens the recipe and the data itself; of a run directory the files of the first process count. The other
machines may see the same folder or one of their own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import (
    DataLoaderConfiguration,
    DistributedDataParallelKwargs,
    broadcast,
    broadcast_object_list,
)

from ..config.recipe import Recipe
from ..core import interrupt
from ..core.errors import RecipeError, RunError, UsageError
from ..session import trackers

#: words of gloo and NCCL for a connection that broke: gloo's errors are plain RuntimeErrors
_BROKEN = ("gloo", "connection closed", "connection reset", "broken pipe", "timed out waiting", "nccl")


def accelerator_of(recipe_: Recipe, out: Path, dry_run: bool) -> Accelerator:
    """The global batch is split over the processes; a model may have parameters that its forward does not use.

    Raises `UsageError` where processes were started that accelerate does not connect, and `RecipeError` for a batch
    that cannot be divided.
    """
    tracker = (recipe_.train.tracker or None) if not dry_run else None
    if tracker:
        trackers.require(tracker)

    world = int(os.environ.get("WORLD_SIZE", "1"))
    accelerator = Accelerator(
        # without this accelerate connects no processes on CPUs: each would train by itself on the whole batch
        cpu=world > 1 and not (torch.cuda.is_available() or torch.xpu.is_available()),
        dataloader_config=DataLoaderConfiguration(split_batches=True, even_batches=False),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        log_with=tracker,
        project_dir=str(out / "trackers") if tracker else None,
    )

    if recipe_.train.batch_size % accelerator.num_processes:
        raise RecipeError(
            f"train.batch_size = {recipe_.train.batch_size} cannot be divided over {accelerator.num_processes} "
            "processes",
            remedy=f"it is the batch of all processes together: give a multiple of {accelerator.num_processes}",
        )

    if accelerator.num_processes != world:
        raise UsageError(
            f"WORLD_SIZE says that {world} processes train together, and {accelerator.num_processes} are connected",
            remedy="start them with torchrun or accelerate launch, or unset WORLD_SIZE",
        )

    return accelerator


def agreed(accelerator: Accelerator, compute: Callable[[], float]) -> float:
    """What the main process computes, on every process: a metric in its last bit must not part them."""
    value = torch.tensor([compute() if accelerator.is_main_process else 0.0], dtype=torch.float64)
    return float(broadcast(value.to(accelerator.device)))


def of_main(accelerator: Accelerator, read: Callable[[], Any]) -> Any:
    """What the main process reads of the run directory, on every process."""
    values = [read() if accelerator.is_main_process else None]
    if accelerator.num_processes > 1:
        broadcast_object_list(values)
    return values[0]


@contextlib.contextmanager
def connected(accelerator: Accelerator, out: Path) -> Iterator[None]:
    """Training whose other processes may go: raises `RunError` where they do, `KeyboardInterrupt` where this one is to
    end, too."""
    try:
        yield
    except RuntimeError as error:
        text = str(error).lower()
        broken = isinstance(error, torch.distributed.DistError) or any(word in text for word in _BROKEN)
        if accelerator.num_processes == 1 or not broken:
            raise

        interrupt.check()
        raise RunError(
            "the connection to the other processes of this training broke: one of them ended, or the network failed",
            where=str(out),
            remedy=f"see what the others print, then start all of them again with `edgeft tune --resume {out}`",
        ) from error
