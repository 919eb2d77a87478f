"""The run directory that `tune` fills: what its stages hand to each other, and what they share."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import save
from torch import nn

from .. import data
from ..core import files, strict_json
from ..core.errors import DataError, RecipeError
from ..core.progress import phase
from ..quantize.parts import CapturedParts
from ..session import environment
from ..session.calibration_data import as_tuple
from ..session.session import Say, Session
from ..verify.accuracy import check_baseline, drop_limit
from . import auto, estimate, lora, plan_text, sparse, unfreezing, updates
from .fit import Fitted, Stage, fit
from .frugal import Frugal
from .memory import moving_bytes
from .plan import rates, weighted_loss
from .processes import agreed, of_main
from .start import PLAN
from .watch import Watch

#: samples of one evaluation batch: what a cache holds is faster than what memory holds
EVALUATED = 32


class Run:
    """One run directory being filled. Holds what the stages hand to each other, nothing else."""

    def __init__(
        self, session: Session, out: Path, accelerator: Accelerator, say: Say, watch: Watch | None = None
    ) -> None:
        self.s, self.out, self.accelerator, self.say, self.watch = session, out, accelerator, say, watch
        self.module = session.built.module.to(accelerator.device)
        self.trainable = unfreezing.begin(
            self.module, session.built.head, session.recipe, session.example, pretrained=session.pretrained
        )
        self.rows: list[dict[str, Any]] = []
        self.fitted: list[Fitted] = []
        self.weighted = weighted_loss(session)
        self.saved = 0
        self.updated = 0
        self.captured: CapturedParts | None = None
        self.planned: dict[str, Any] = {}  # what PLAN holds
        self.adapted: list[str] = []  # layers whose adapters were merged

    def loss(self, outputs: Any, targets: Any) -> torch.Tensor:
        """The task's loss, with the weights of its classes."""
        if self.weighted is not None:
            return self.weighted(outputs, targets)
        return self.s.learning.loss(outputs, targets)

    # -- shared pieces -------------------------------------------------------------------------------------------
    def metric(self, module: nn.Module, split: str) -> float:
        with phase(f"evaluating on {split}"):
            return agreed(self.accelerator, lambda: self.own_metric(module, split))

    def own_metric(self, module: nn.Module, split: str) -> float:
        """The metric as this process computes it."""
        return float(self.s.task.score(self._outputs(module, split), self.s.dataset.split(split).targets))

    def _outputs(self, module: nn.Module, split: str) -> dict[str, Any]:
        outputs = self.s.learning.predict(module, self.s.dataset.split(split), self.s.spec, EVALUATED)
        return outputs if isinstance(outputs, dict) else {"output": outputs}

    def _float_on_test(self) -> float:
        """The float model's metric on the test split, with a warning where an export would refuse it."""

        def judged() -> float:
            task, targets = self.s.task, self.s.dataset.split("test").targets
            outputs = self._outputs(self.module, "test")
            value = float(task.score(outputs, targets))

            if not self.s.dataset.unlabelled and len(targets) and math.isfinite(value):
                try:
                    check_baseline(task, outputs, targets, value)
                    drop_limit(task, self.s.recipe.gates, value, task.chance(targets))
                except (DataError, RecipeError) as error:
                    self.say(f"warning: an export of this run would be refused: {error.message}; {error.remedy}")

            return value

        with phase("evaluating on test"):
            return agreed(self.accelerator, judged)

    def batches(self, stage: str) -> Callable[[int], Any]:
        """One loader a stage (it may keep decoded pixels); an epoch's order follows from seed and epoch.

        Every batch is whole, so that the processes' shares are equal and the mean of their gradients is the batch's.
        """
        t = self.s.recipe.train
        world = self.accelerator.num_processes
        size = min(t.batch_size, len(self.s.dataset.split("train"))) // world * world
        if not size:
            raise DataError(f"the train split is too small for {world} processes")

        loader = self.s.learning.loader(
            self.s.dataset.split("train"),
            self.s.spec,
            size,
            t.augment,
            seed=t.seed + (0 if stage == "float" else 1),
            workers=t.workers,
            shuffle=True,
            drop_last=True,
        )
        prepared = self.accelerator.prepare(loader)

        def epoch_of(epoch: int) -> Any:
            prepared.set_epoch(epoch)  # the prepared loader's own count starts anew in a resumed run
            return prepared

        return epoch_of

    def fit(
        self,
        module: nn.Module,
        stage: Stage,
        loss_of: Callable[[nn.Module, Any], torch.Tensor],
        state_file: str = "",
    ) -> Fitted:
        """Train a stage. Its state is kept in `state_file` of the checkpoints, by default that of the stage's name."""

        def frugal(model: nn.Module, batch: Any) -> torch.Tensor:
            with Frugal():
                return loss_of(model, batch)

        fitted = fit(
            module,
            stage,
            batches=self.batches(stage.name),
            loss_of=loss_of if self.s.policy == "full" else frugal,
            validate=lambda: self.metric(module, "val"),
            accelerator=self.accelerator,
            state_file=self.out / "checkpoints" / (state_file or f"{stage.name}.pt"),
            say=self.say,
            on_epoch=self.watch.epoch if self.watch is not None else None,
        )
        self.rows += fitted.rows
        self.fitted.append(fitted)
        self.saved = max(self.saved, fitted.saved_bytes + moving_bytes(module, 1 if stage.optimizer == "sgd" else 2))
        self._log()

        return fitted

    def _log(self) -> None:
        if self.accelerator.is_main_process:
            files.write_text(self.out / "metrics.jsonl", "".join(json.dumps(r) + "\n" for r in self.rows))

    def save(self, module: nn.Module, name: str) -> None:
        if self.accelerator.is_main_process:
            state = {k: v.detach().cpu().contiguous().clone() for k, v in module.state_dict().items()}
            files.write_bytes(self.out / name, save(state))  # whose own writer hides the operating system's error

    def initialize(self) -> None:
        """What the task computes from the training data where the model begins at random."""
        if self.s.learning.initialize is not None and not self.s.pretrained:
            self.s.learning.initialize(self.module, self.s.dataset, self.say)

    def choose(self, resume: bool) -> None:
        """The trainable parameters of a plan: a new one, that of the recipe, or that of the resumed run."""
        path, planned = self.out / PLAN, None
        if self.s.policy == "auto":
            stored = of_main(
                self.accelerator, lambda: strict_json.loads(path.read_text()) if resume and path.exists() else None
            )
            if stored is not None:
                update_plan = sparse.plan(self.module, stored["biases"], stored["weights"], exact=True)
                planned = auto.Planned(update_plan, stored)
            else:
                self.say("auto: planning the trainable parameters")
                with phase("auto: planning"):
                    planned = auto.planned(self.s, self.loss, self.accelerator, lambda m: self.own_metric(m, "val"))
            self.trainable = unfreezing.begin(
                self.module, self.s.built.head, self.s.recipe, self.s.example,
                pretrained=self.s.pretrained, plan=planned.plan,
            )  # fmt: skip
        elif self.s.policy == "sparse" and self.trainable.plan is not None:
            record = auto.account(self.s, self.trainable.plan, self.loss, self.accelerator)
            planned = auto.Planned(self.trainable.plan, record)

        if planned is not None:
            self.planned = planned.record
            for line in plan_text.lines(planned.record, self.s.task.metric):
                self.say(line)
            if self.accelerator.is_main_process:
                files.write_json(path, planned.record)

    def say_expected_time(self) -> None:
        """Where the time will go, from a few timed steps."""
        with phase("timing a few steps"):
            parts = estimate.phases(self.s, self.module, self.loss)
        for line in estimate.lines(parts):
            self.say(line)

    # -- stages --------------------------------------------------------------------------------------------------
    def float_stage(self) -> None:
        """Fine-tune in float under the update policy, keep the best validation epoch."""
        t = self.s.recipe.train
        trainable = self.trainable
        for note in trainable.notes(t.epochs):
            self.say(note)

        groups = self.s.learning.groups(self.module, self.s.built.head, **rates(t))
        stage = Stage(
            "float",
            t.epochs,
            groups,
            t.schedule,
            t.optimizer,
            t.patience,
            t.seed,
            self.s.task.metric,
            "freeze" if self.s.policy in updates.PLANNED else t.norm_stats,
            ema=t.ema,
            max_grad_norm=t.max_grad_norm,
            opens=(lambda epoch: updates.apply(self.module, trainable.at(epoch))) if trainable.every else None,
        )

        def loss_of(model: nn.Module, batch: Any) -> torch.Tensor:
            inputs, targets = batch
            return self.loss(model(*as_tuple(inputs)), targets)

        fitted = self.fit(self.module, stage, loss_of)
        self._warn_of_chance(fitted.best)
        trainable_names = trainable.at(fitted.rows[-1]["epoch"])
        self.updated = sum(p.numel() for n, p in self.module.named_parameters() if n in trainable_names)
        self.adapted = lora.merge(self.module)
        self.save(self.module, "float.safetensors")
        with phase("capturing the graph"):
            self.captured = self.s.capture(self.module.cpu())

    def _warn_of_chance(self, best: float) -> None:
        """Say that a model answers no better than without looking at its inputs, before more time goes into it."""
        metric, val = self.s.task.metric, self.s.dataset.split("val")
        if not len(val) or self.s.dataset.unlabelled:
            return

        chance = float(self.s.task.chance(val.targets))
        if math.isfinite(chance) and not metric.better(best, chance):
            self.say(
                f"warning: the float model's validation {metric.name} is {metric.format(best)}, no better than "
                f"{metric.chance} ({metric.format(chance)}): train longer, try another train.lr, or check that the "
                "labels fit the samples; an export of this run would be refused"
            )

    def summary(self, results: dict[str, dict[str, Any]], seconds: float) -> dict[str, Any]:
        test = self.s.dataset.split("test")
        first = next(iter(results.values()), {})
        metric = self.s.task.metric
        return {
            "schema": 1,
            "name": self.s.recipe.name,
            "task": self.s.recipe.task,
            "metric": metric.name,
            "metric_record": metric.as_dict(),
            "float": self._float_on_test(),
            "ptq": first.get("ptq"),
            "quantized": first.get("quantized"),
            **({"validation": self.fitted[0].best} if self.fitted else {}),
            "n": len(test),
            "chance": float(self.s.task.chance(test.targets)),
            "chance_is": metric.chance,
            "baselines": self.s.learning.baselines(self.s.dataset) if self.s.learning.baselines else {},
            "policy": self.s.policy,
            **({"plan": self.planned} if self.planned else {}),
            "adapted_layers": self.adapted,
            "updated_parameters": self.updated,
            "total_parameters": sum(p.numel() for p in self.module.parameters()),
            "peak_training_bytes": self.saved,
            "seconds": seconds,
            "steps": sum(f.steps for f in self.fitted),
            "seed": self.s.recipe.train.seed,
            "schemes": results,
            "labels": list(self.s.dataset.labels),
            "preprocess": self.s.spec,
            "data": data.fingerprint(self.s.dataset),
            **({"unlabelled": True} if self.s.dataset.unlabelled else {}),
            **(self.s.findings.leak() if self.s.findings else {}),
            "versions": environment.versions(self.s.recipe),
        }
