"""What both stages, the dry run and the export share of a recipe: task, data, model and preprocessing, read once."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import data, models, tasks
from ..config import recipe, target
from ..config.recipe import Recipe
from ..config.scheme import Scheme
from ..config.target import Target
from ..core import files
from ..core.errors import EdgeftError, ModelError, RecipeError
from ..core.progress import phase
from ..learning import Learning
from ..models import Built, ModelRequest, outputs
from ..plugins import BACKENDS, MODEL_SOURCES, TASKS
from ..quantize.parts import CapturedParts, capture_parts
from . import environment, streaming, unlabelled

Say = Callable[[str], None]
#: folder of a run with the files that its task derived from the training data (a tokenizer)
LEARNED = "preprocess"
#: training samples, spread evenly, that a task's `measure` looks at: a thousand give a mean and std to two digits
MEASURED = 2000


def silent(text: str) -> None:
    """Discard a message."""


@dataclass
class Session:
    """Everything that both stages, the dry run and the export share: read once, passed on."""

    recipe: Recipe
    task: Any
    learning: Learning
    dataset: data.Dataset
    built: Built
    spec: dict[str, Any]
    targets: list[Target]
    example: tuple[torch.Tensor, ...]
    #: of the feeds that the task makes, in the order of the model's inputs
    input_names: tuple[str, ...]
    #: files derived from the training data (a tokenizer), by their names in preprocessing
    learned: dict[str, Path] = dataclasses.field(default_factory=dict)
    _scratch: Any = None  # where they lie until a run directory has them
    #: the model is the caller's own object
    own_model: bool = False
    #: what was found in the data
    findings: data.Findings | None = None

    @property
    def schemes(self) -> dict[str, Scheme]:
        """By name, in the order of the recipe's targets."""
        return {t.scheme.name: t.scheme for t in self.targets}

    @property
    def policy(self) -> str:
        return self.recipe.update.policy

    @property
    def pretrained(self) -> bool:
        """Whether the weights are pretrained, as far as is known: a module of the caller may have such weights."""
        return self.built.pretrained or self.own_model or MODEL_SOURCES.get(self.recipe.model.source).own_weights

    def capture(self, module: nn.Module) -> CapturedParts:
        """The graphs of the float model, in normal form."""
        parts = None if self.learning.parts is None else self.learning.parts(module, self.spec)
        captured = capture_parts(module, self.example, parts, self.task.outputs_apart)
        if self.recipe.export.stream:
            streaming.check(self.recipe, self.task, self.spec, captured, self.targets)
        return captured

    def keep_learned(self, folder: Path) -> None:
        """Copy the derived files into `folder`, and read them from there."""
        for key, path in self.learned.items():
            destination = folder / path.name
            if destination != path:
                files.write_bytes(destination, path.read_bytes())
            self.learned[key] = destination
        self.point_to_learned()

    def point_to_learned(self) -> None:
        if self.learned:
            self.spec["files"] = {**self.spec.get("files", {}), **{k: str(p) for k, p in self.learned.items()}}


def _examined(dataset: data.Dataset | None, recipe_: Recipe, task: Any, say: Say) -> tuple[data.Dataset, data.Findings]:
    """The data of a recipe unless they are given, and what a user should know of them, which is printed."""
    with phase("reading the data"):
        dataset = dataset or data.open(recipe_.data, recipe_.task)
        findings = data.examine(dataset, task)
    for warning in findings.lines():
        say(f"warning: {warning}")
    return dataset, findings


def open_session(
    recipe_: Recipe,
    *,
    allow_code: bool = False,
    allow_download: bool = False,
    model: nn.Module | None = None,
    dataset: data.Dataset | None = None,
    learned: Path | None = None,
    trained: bool = False,
    warn: bool = True,
    say: Say = silent,
) -> Session:
    """Read data and model of a recipe; `model` and `dataset` replace the recipe's own (the Python API).

    `learned` is the folder in which an earlier run keeps the files that its task computed from the training data (a
    tokenizer); without it they are computed again, into a temporary folder. `trained` says that the caller loads a
    finished run's tensors into the model, so that the weights it began with need not be there. `warn` prints what the
    checks of the data report; the session has it as `findings`.
    The session's recipe names the weights that were used at one revision, with their digests.
    """
    task = tasks.get(recipe_.task)
    learning = task.learning()
    _refuse_keys(recipe_, task)
    opened = _targets(recipe_, say)
    dataset, findings = _examined(dataset, recipe_, task, say if warn else silent)
    brings_files = task.learn is not None and model is None and _brings_files(recipe_)
    learned_files, scratch = _learned(task, recipe_, dataset, learned, brings_files, say)
    if learned_files or brings_files:
        dataset = _with_files(dataset, learned_files)

    environment.seed_everything(recipe_.train.seed)
    built = _built(recipe_, task, dataset, model, (allow_code, allow_download, trained), say)
    if built.files and not learned_files:
        learned_files, scratch = _written(built.files)
        dataset = _with_files(dataset, learned_files)
    if built.labels:
        dataset = data.relabelled(dataset, task, built.labels)
    recipe_ = _of_built(recipe_, built)
    defaults = {**built.spec, "pretrained": built.pretrained, "size_stated": "size" in recipe_.model.args}
    spec = task.configure(recipe_.data, defaults, dataset.facts, say)
    if model is None and not trained:
        _advise(recipe_, built, spec["kind"], len(dataset.split("train")), say)
    if task.measure is not None:
        with phase("measuring the inputs"):
            spec = task.measure(spec, _measured_samples(dataset.split("train")))
    dataset = data.windowed_data(dataset, task, spec)
    feeds = task.preprocess(dataset.split("train").raw(0), spec)
    example = tuple(torch.from_numpy(np.concatenate([v, v])) for v in feeds.values())
    built = _settled(built, example, learning, recipe_, learning.outputs(dataset), say)
    dataset = data.located_data(dataset, task, spec)
    if dataset.unlabelled:
        random_actions = dataset.facts
        dataset = unlabelled.answered(dataset, task, learning, built.module, spec, recipe_)
        if built.spec.get("fixed") and dataset.facts != random_actions:
            # Folded into its first layer are figures of what random actions see: the policy goes elsewhere.
            built = _built(recipe_, task, dataset, model, (allow_code, allow_download, trained), silent)
            spec = task.configure(recipe_.data, {**defaults, **built.spec}, dataset.facts, silent)
            built = _settled(built, example, learning, recipe_, learning.outputs(dataset), silent)
    of_model = (dataset, built, spec, opened, example, tuple(feeds), learned_files, scratch, model is not None)
    return Session(recipe_, task, learning, *of_model, findings)


def _with_files(dataset: data.Dataset, learned_files: dict[str, Path]) -> data.Dataset:
    """The data with the files that preprocessing reads among their facts."""
    return dataclasses.replace(dataset, facts={**dataset.facts, "files": learned_files})


def _of_built(recipe_: Recipe, built: Any) -> Recipe:
    """The recipe with its weights at the revision that was used, the network that they say they are, and the layers
    that the model wants in float where the recipe names none."""
    model = models.resolved(recipe_.model, built.origin)
    recipe_ = dataclasses.replace(recipe_, model=dataclasses.replace(model, name=built.name or model.name))
    if not built.keep_float or recipe_.quantize.keep_float:
        return recipe_
    return dataclasses.replace(recipe_, quantize=dataclasses.replace(recipe_.quantize, keep_float=built.keep_float))


def _built(
    recipe_: Recipe,
    task: Any,
    dataset: data.Dataset,
    model: nn.Module | None,
    allow: tuple[bool, bool, bool],
    say: Say,
) -> Any:
    """The recipe's model, or the caller's own; its notes are said. `allow` permits code, downloads, absent weights."""
    learning = task.learning()
    outputs = learning.outputs(dataset)
    if model is None:
        of_data = learning.model_args(recipe_.data, dataset)
        args = _with_args(recipe_.model, of_data)
        with phase("building the model"):
            request = ModelRequest(
                args,
                recipe_.task,
                outputs,
                dataset.facts,
                labels=tuple(dataset.labels),
                of_data=frozenset(of_data) - set(recipe_.model.args),
                allow_code=allow[0],
                allow_download=allow[1],
                trained=allow[2],
                any_outputs=task.any_outputs,
            )
            built = models.build(request)
    else:
        built = models.from_module(model, outputs, whole=task.any_outputs)

    if not allow[2]:  # notes are about the weights to start from; a finished run has its own
        for note in built.notes:
            say(note)

    return built


def _advise(recipe_: Recipe, built: Any, kind: str, samples: int, say: Say) -> None:
    """Say what is known of random weights with so few samples whose inputs are of this kind."""
    random = models.advice.of_random_weights(recipe_.model, built, samples, kind)
    few = models.advice.of_few_steps(recipe_.model, built, recipe_.train, samples, kind)
    for warning in filter(None, (random, few)):
        say(warning)


def _refuse_keys(recipe_: Recipe, task: Any) -> None:
    """Raise `RecipeError` where a closed loop is asked of a task without actions, or windows of one that has none."""
    if recipe_.data.windows == "yes" and task.windows_of is None:
        raise RecipeError(
            f'is "yes", and the task {recipe_.task!r} sees its samples whole',
            where="data.windows",
            remedy="leave it out, or set data.size for a larger picture",
        )
    if recipe_.gates.environment and task.action is None:
        raise RecipeError(f"is set, and the task {recipe_.task!r} has no actions", where="gates.environment")


def _targets(recipe_: Recipe, say: Say) -> list[Target]:
    """The profiles of the recipe's targets, in its number format, with its embeddings where a profile allows them."""
    embeddings, number_format = recipe_.quantize.embeddings, recipe_.quantize.format
    profiles = [target.requested(target.load(name), number_format, embeddings) for name in recipe_.export.targets]
    for profile in profiles:
        if profile.scheme.embeddings != embeddings:
            why = (
                f"{profile.compiler} decides how they are stored"
                if profile.compiler
                else f"a file of {BACKENDS.get(profile.backend).title} has no lookup in a table of integers"
            )
            other = TASKS.get(recipe_.task).float_tables
            way = f"; `edgeft init {recipe_.task} --target {profile.name}` writes a recipe for that" if other else ""
            say(f"{profile.name}: embeddings stay {profile.scheme.embeddings}, since {why}{way}")

    return profiles


def _measured_samples(train: data.Split) -> Iterator[Any]:
    """Raw training samples, spread evenly, at most `MEASURED`."""
    positions = np.unique(np.linspace(0, len(train) - 1, min(len(train), MEASURED)).astype(int))
    return (train.raw(int(i)) for i in positions)


def _settled(
    built: Built, example: tuple[torch.Tensor, ...], learning: Learning, recipe_: Recipe, size: int, say: Say
) -> Built:
    """The model with the one output that the task takes, tried on samples before anything is trained.

    Raises `ModelError` where it cannot take them or has another number of outputs, `RecipeError` where
    `model.output` must be set or is wrong.
    """
    outputs.check_finite(built.module)
    name = recipe_.model.output
    if not learning.one_output:
        if name:
            message = f"is set, and the task {recipe_.task!r} takes all outputs of its model"
            raise RecipeError(message, where="model.output")
        if built.spec.get("kind") == "image":
            _try(built, example)
        return built

    try:
        module, notes = outputs.select(built.module, example, name, size)
    except EdgeftError:
        raise
    except Exception as error:  # the caller's own code may raise anything
        raise _cannot_take(built, example, error) from error

    for note in notes:
        say(note)

    return dataclasses.replace(built, module=module)


def _try(built: Built, example: tuple[torch.Tensor, ...]) -> None:
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            built.module(*example)
    except (RuntimeError, AssertionError, ValueError, TypeError, IndexError) as error:
        raise _cannot_take(built, example, error) from error


def _cannot_take(built: Built, example: tuple[torch.Tensor, ...], error: Exception) -> ModelError:
    """The error of a model that cannot take a sample: too small to be pooled so often, say."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    shapes = " and ".join(str(tuple(x.shape[1:])) for x in example)
    input_size = "x".join(map(str, built.spec.get("size", ()))) or "other"
    remedy = f"it was made for {input_size} pixels: set data.size, or fit model.args to the size"

    if isinstance(error, TypeError) and "argument" in line:
        remedy = (
            f"its forward gets {len(example)} tensor{'s' * (len(example) > 1)} (samples, ...): wrap it in a module "
        )
        remedy += "whose forward takes them and calls it with what it needs"
    elif "channels" in line:
        remedy = "pictures come as (samples, channels, height, width) with data.channels = 1 or 3: set it, or permute "
        remedy += "in forward for a model that takes channels last"
    elif not isinstance(error, (RuntimeError, AssertionError, ValueError, TypeError, IndexError)):
        line = f"{type(error).__name__}: {line}"

    return ModelError(
        f"the model cannot take a sample of shape {shapes}: {line}",
        where=type(built.module).__name__,
        remedy=remedy,
    )


def _learned(
    task: Any, recipe_: Recipe, dataset: data.Dataset, earlier: Path | None, brings_files: bool, say: Say
) -> tuple[dict[str, Path], Any]:
    """The files that an earlier run kept, or that a task with `learn` computes from the training data, and the
    temporary folder that holds them."""
    if earlier is not None and earlier.is_dir():
        stored = {path.stem: path for path in sorted(earlier.iterdir()) if path.is_file()}
        if stored:
            return stored, None

    if task.learn is None or brings_files:
        return {}, None

    with phase("learning what the task takes from the training data"):
        contents = task.learn(recipe_.data, dataset, say)

    return _written(contents)


def _brings_files(recipe_: Recipe) -> bool:
    source = recipe_.model.source
    return source in MODEL_SOURCES and MODEL_SOURCES.get(source).own_files


class _Scratch:
    """A temporary folder that is removed with the session that holds it, at the latest when the process ends."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="edgeft-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def _written(contents: Mapping[str, bytes]) -> tuple[dict[str, Path], Any]:
    """Files by name in a temporary folder, and that folder."""
    scratch = _Scratch()
    files_by_name = {}
    for key, content in contents.items():
        files_by_name[key] = scratch.path / f"{key}.json"
        files.write_bytes(files_by_name[key], content)
    return files_by_name, scratch


def _with_args(model: recipe.Model, args: Mapping[str, Any]) -> recipe.Model:
    """The model table with what the data says of the model's form, where the recipe does not say otherwise."""
    return dataclasses.replace(model, args={**args, **model.args})
