"""What is known of a task, in one record: its metric, its numpy functions, and where its other halves lie.

A package offers one in the entry-point group `edgeft.tasks`; those of edgeft are `TASK` of each package in this room.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from ..core import installation
from ..core.errors import InvalidInput, Missing, UsageError
from ..core.metric import Metric
from ..core.records import require_functions, require_together

Outputs = Mapping[str, np.ndarray]
Spec = Mapping[str, Any]
Say = Callable[[str], None]
#: {output: one LSB of it, or one of each of its channels}
Steps = Mapping[str, float | Sequence[float]]
#: kinds of answers, see `Task.answer`
ANSWERS = ("", "class", "boxes", "mask", "values", "text", "arrays")
#: fields that name a resource as "package:file"
_RESOURCES = ("template", "run_part", "stream_part")


@dataclass(frozen=True)
class Decisions:
    """The decisions of two sets of outputs, one by one, where a sample has any number of them (the boxes of a picture).

    All have K elements: `sample` int64, which sample each belongs to; `equal` bool, whether both outputs come to it;
    `margin` float64, how far it is from flipping; `counted` bool, whether agreement counts it (a decision so close to a
    limit that any other number format may flip it does not count).
    """

    sample: np.ndarray
    equal: np.ndarray
    margin: np.ndarray
    counted: np.ndarray


@dataclass(frozen=True)
class LabelCounts:
    """How often each label occurs in targets: `counts` (len(labels),) of `unit` ("samples", "boxes", "pixels").

    `balance` says whether rare labels are a risk that a user should know of: letters of a language are uneven, and
    that is no fault of the data.
    """

    unit: str
    counts: np.ndarray
    balance: bool = True


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task. Its functions are numpy, the same on host and board.

    A *raw* sample is what a user has: an image's pixels as uint8 (H, W[, C]), a string, an array of numbers, or a
    mapping of such values. `spec` is the manifest's `preprocess` table (plain JSON values only), `outputs` are
    {name: array (N, ...)} of a batch, `targets` (N, ...) what is true of it.

    A function that is None is one that the task does not need. Raises `InvalidInput` where a field cannot be.
    """

    name: str
    metric: Metric
    #: (data, defaults, facts, say) -> the `preprocess` table, from the recipe's [data], the model's defaults and the
    #: data's facts
    configure: Callable[[Any, Spec, Spec, Say], dict[str, Any]]
    #: (path, spec) -> a raw sample from what a user names (a file, or the text itself); raises `DataError`, `Missing`
    read: Callable[[str, Spec], Any]
    #: (raw, spec) -> one feed of a batch of one per input of the graph, in the order of the model's inputs; of a sample
    #: that is seen in windows (`windows_of`) a row a window
    preprocess: Callable[[Any, Spec], dict[str, np.ndarray]]
    #: (outputs, labels, top=5) -> per sample a table of JSON values and arrays; `label` is its short form for people
    decode: Callable[..., list[dict[str, Any]]]
    #: (target, labels) -> a target as `decode` would call it in `label`
    describe: Callable[[Any, Sequence[str]], str]
    #: (raw, decoded) -> a sample for the report: {"image": uint8 pixels} or {"text": words}
    draw: Callable[[Any, Mapping[str, Any]], dict[str, Any]]
    #: (targets, our labels, their labels, where) -> targets of data as those of a bundle, by name; raises `DataError`
    join: Callable[[np.ndarray, Sequence[str], Sequence[str], str], np.ndarray]
    #: (outputs, targets) -> the metric
    score: Callable[[Outputs, Any], float]
    #: (outputs, targets) -> scores (N,) whose mean is the metric, or None where it is no mean: it is bootstrapped then
    per_sample: Callable[[Outputs, Any], np.ndarray | None]
    #: outputs -> what was decided, (N, ...): class numbers, or the values themselves
    decisions: Callable[[Outputs], np.ndarray]
    #: (outputs, others) -> bool (N, ...): where both come to the same decision (values: within the task's tolerance)
    alike: Callable[[Outputs, Outputs], np.ndarray]
    #: outputs -> how far each element of `alike` is from flipping, same shape, in output units
    margins: Callable[[Outputs], np.ndarray]
    #: (outputs, targets, labels) -> {label: {"metric": recall or the like, "n": samples}}
    per_class: Callable[[Outputs, Any, Sequence[str]], dict[str, dict[str, float]]]
    #: targets -> the metric of the best answer that looks at no input; `metric.chance` names it
    chance: Callable[[Any], float]

    #: the module of the learning half, in torch, whose `LEARNING` is an `edgeft.learning.Learning`;
    #: "" = cannot be trained
    learning_module: str = ""
    #: "package:file" of the commented recipe that `edgeft init` writes, and of the task's part of run.py; "" = none
    template: str = ""
    run_part: str = ""
    #: models of the task begin with a lookup in a table of embeddings, which boards of integer ops alone do not have
    embeddings: bool = False
    #: settings ("table.key=value") of the recipe for targets that keep tables of embeddings in float, where the
    #: template's model has little else to quantize
    float_tables: tuple[str, ...] = ()
    #: (kind of `preprocess`, "package:file") of models with another part of run.py
    run_part_of: tuple[tuple[str, str], ...] = ()
    #: the loss of a training step on a device: cross-entropy, mse, ranking; "" = no tail of this task is trained there
    step_loss: str = ""

    #: data formats that the task takes, beside those whose record names it (`edgeft.data.Format.tasks`); () = any
    formats: tuple[str, ...] = ()
    #: the pip extra that brings what reading samples and the metric need beside numpy, and these packages
    extra: str = ""
    packages: tuple[str, ...] = ()
    #: what the Hugging Face hub calls the task (`pipeline_tag` of a model card); "" where it has no name for it
    hub_tag: str = ""
    #: the Auto class of the package transformers whose models the task takes ("" = none); what they read: text (one
    #: answer), words (an answer a token), lines (texts whose vector is the answer), waveform, frames (a waveform, an
    #: answer a frame), image (an answer a picture or pixel), scene (a picture whose answer is a set of boxes),
    #: pairs (a text whose answer is another one)
    auto_class: str = ""
    auto_reads: str = ""
    #: further Auto classes, for models of another form, each with what they read: spectrum (of a sound, whose answer is
    #: a text)
    further_auto: tuple[tuple[str, str], ...] = ()
    #: settings ("table.key=value") of the recipe that `edgeft init` writes for a model of that package, where those of
    #: the template are meant for another kind of network
    auto_settings: tuple[str, ...] = ()
    #: "module:name" of the `edgeft.models.nets.pyramid.PyramidHead` that makes the task's networks on backbones of
    #: torchvision and timm; "" = their classifiers are the task's networks
    pyramid_head: str = ""
    #: the task of a recipe that names none; true of one task of edgeft
    default: bool = False

    #: answers are choices; of values parity asks only how many steps two outputs differ by
    discrete: bool = True
    #: the outputs are values with units of their own, which the quantizer does not lay on one grid
    outputs_apart: bool = False
    #: the model is taken whole, whatever the number and shape of its outputs: it gets no new head, and a softmax at its
    #: end stays
    any_outputs: bool = False
    #: answers are due at a rate: reports tell the one that the 99th percentile of a call allows
    real_time: bool = False

    #: (outputs of an artifact on the validation split, their targets, spec) -> keys that the `preprocess` table of its
    #: bundle gets (a threshold); (outputs, targets, spec) -> what these give on other samples, for the report: plain
    #: values, and shares as (count, of how many)
    settle: Callable[[Outputs, Any, Spec], dict[str, Any]] | None = None
    settled: Callable[[Outputs, Any, Spec], dict[str, Any]] | None = None
    #: (outputs of one sample, action space of gymnasium) -> the action that an environment takes; None = the task acts
    #: in none
    action: Callable[[Outputs, Any], Any] | None = None
    #: (outputs, others, {output: LSB} or None) -> every decision of a sample of many, with margins in LSB where the
    #: LSBs are given; None = `alike` and `margins` are the decisions. `decision_unit` names one of them, in the plural
    compare: Callable[[Outputs, Outputs, Steps | None], Decisions] | None = None
    decision_unit: str = "decisions"
    #: outputs -> names of those (N, Q, ...) whose second axis is a set: rows in no order, which are compared with the
    #: rows of another set that they are closest to (`metrics.sets.in_order_of`); () = every value has its place
    sets: Callable[[Outputs], Sequence[str]] | None = None

    #: records of what `extra_metrics` gives
    further_metrics: tuple[Metric, ...] = ()
    #: (outputs, targets) -> {name: value}: further metrics for the report, which do not affect the verdict
    extra_metrics: Callable[[Outputs, Any], dict[str, float]] | None = None
    #: (outputs, targets) -> int (C, C): which class is taken for which
    confusion: Callable[[Outputs, Any], np.ndarray] | None = None
    #: (outputs, targets) -> a sequence with one entry a sample, and the metric of any selection of them: a bootstrap
    #: of a metric that is no mean looks at outputs once
    statistics: Callable[[Outputs, Any], Any] | None = None
    metric_of: Callable[[Any], float] | None = None
    #: (what `tell` gave for each of several inputs, in order): adds to each what it has to do with the first
    relate: Callable[[Sequence[dict[str, Any]]], None] | None = None
    #: (outputs, raw, spec, labels, top=5) -> `decode` of one sample in the sample's own terms (names of its candidates)
    tell: Callable[..., dict[str, Any]] | None = None
    #: (height, width, spec) -> the windows (`inputs.windows.Window`) that a picture is seen in, where the table asks
    #: for windows: they are then the samples of every split; None = samples are always seen whole
    windows_of: Callable[[int, int, Spec], Sequence[Any]] | None = None
    #: (raw, decoded, target) -> as `draw`, with what is true (true boxes, true masks)
    draw_beside: Callable[[Any, Mapping[str, Any], Any], dict[str, Any]] | None = None
    #: keys of [data] -> whether data that need them are for this task, where several tasks take a format; None: yes
    suits: Callable[[Mapping[str, Any]], bool] | None = None
    #: (split, i, labels) -> sample `i` of a `data.Split` with its true answer for a page: the keys of `draw`, `caption`
    #: (words), `rows` [(name, words)], `legend` {label: (r, g, b)}, `sound` {"samples", "rate"}; None: the raw sample
    show_sample: Callable[[Any, int, Sequence[str]], dict[str, Any]] | None = None
    #: (split, labels) -> how often each label occurs; None: samples of each class, where targets are classes
    count_labels: Callable[[Any, Sequence[str]], LabelCounts] | None = None
    #: (raw, decoded) -> {name: uint8 pixels} that a user may want as files
    pictures: Callable[[Any, Mapping[str, Any]], dict[str, np.ndarray]] | None = None
    #: decoded -> {name: array} that a user may want as .npy files
    arrays: Callable[[Mapping[str, Any]], dict[str, np.ndarray]] | None = None
    #: (raw, target, spec) -> the target with the places of its answers in the outputs, where preprocessing decides them
    #: (the token that a word begins with); None = targets are complete
    locate: Callable[[Any, Any, Spec], Any] | None = None
    #: (target, spec) -> the target with what preprocessing decides for all samples alike (the size of the network's
    #: input); None = targets are complete
    complete_target: Callable[[Any, Spec], Any] | None = None
    #: (outputs, targets) -> bool (N, ...): which elements of `alike` answer something; None = all do
    answered: Callable[[Outputs, Any], np.ndarray] | None = None
    #: (spec, raw samples) -> the spec completed by what preprocessing takes from the training samples
    measure: Callable[[Spec, Iterable[Any]], dict[str, Any]] | None = None
    #: (data, dataset, say) -> {name: bytes} of files that are computed from the training data (a tokenizer)
    learn: Callable[[Any, Any, Say], dict[str, bytes]] | None = None
    #: what `tell` gives, for programs that take typed messages: "class" (`top` of label and confidence), "boxes"
    #: (`boxes` of label, score and box), "mask" (`mask`), "values" (`controls`), "text" (`label`), "arrays"
    #: (`array:NAME` of each output); "" = its own table
    answer: str = ""
    #: (words, spec) -> a raw sample from the words themselves, as `read` takes them beside files, where no file may be
    #: opened by its name (`edgeft serve`); None: inputs are files alone
    parse: Callable[[str, Spec], Any] | None = None
    #: (path, spec) -> (a name, the raw sample) of each sample of a file that holds several, empty for anything else;
    #: None: an input is one sample
    rows: Callable[[str, Spec], list[tuple[str, Any]]] | None = None
    #: (facts, spec, where) raises `DataError` where data hold names that a model has to have seen (users)
    refuse_unseen: Callable[..., None] | None = None
    #: (run of a batch of one, chunks of samples, their rate, spec, labels, options) -> an iterator of what is detected
    #: in a stream, each {"seconds", "label", "confidence"}; (labels, options) -> the labels that can be; None: the task
    #: answers single inputs. `stream_part` is "package:file" of its part of run.py
    listen: Callable[..., Any] | None = None
    detectable: Callable[[Sequence[str], Mapping[str, Any]], Sequence[str]] | None = None
    stream_part: str = ""
    #: `listen` runs the bundle's streaming graph (`export.stream`) in place of the model, and `spec["stream"]` is the
    #: manifest's table of it
    listens_in_steps: bool = False
    #: (sessions by graph, spec) -> one session, of a model of several graphs; how parity judges a graph by its name;
    #: (stored samples) -> how often each graph runs for one sample
    compose: Callable[..., Any] | None = None
    part: Callable[[str], Any] | None = None
    calls: Callable[[Mapping[str, np.ndarray]], dict[str, float]] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch(r"[a-z][a-z0-9-]*", self.name):
            raise InvalidInput(
                f"{self.name!r} cannot be the name of a task: only lower-case letters, digits, hyphens", where="Task"
            )

        where = f"Task {self.name}"
        if not isinstance(self.metric, Metric):
            raise InvalidInput(f"`metric` is {type(self.metric).__name__}, expected a Metric", where=where)

        require_functions(self, where)
        require_together(self, ("compose", "part", "calls"), where)
        require_together(self, ("statistics", "metric_of"), where)
        require_together(self, ("settle", "settled"), where)
        require_together(self, ("listen", "detectable"), where)
        if self.answer not in ANSWERS:
            raise InvalidInput(f"`answer` is {self.answer!r}, expected one of {ANSWERS}", where=where)

        for name in _RESOURCES:
            value = getattr(self, name)
            if value and not re.fullmatch(r"[\w.]+:[\w./]+", value):
                raise InvalidInput(f"`{name}` is {value!r}, expected 'package:file'", where=where)

    def learning(self) -> Any:
        """The record of the learning half, an `edgeft.learning.Learning`.

        Raises `UsageError` where the task has none, `Missing` where a package that it needs is not installed, and
        `InvalidInput` where the module has no such record.
        """
        if not self.learning_module:
            raise UsageError(f"nothing can be trained for the task {self.name!r}", where="task")

        try:
            module = importlib.import_module(self.learning_module)
            kind = importlib.import_module("edgeft.learning").Learning  # torch: not for the board
        except ImportError as error:
            raise Missing(
                f"the learning half of the task {self.name!r} does not import ({error})",
                where=self.learning_module,
                remedy=f"{installation.command('tune')}, or update the package that brings the task",
            ) from error

        record = getattr(module, "LEARNING", None)
        if not isinstance(record, kind):
            raise InvalidInput(
                f"`LEARNING` of the task {self.name!r} is {type(record).__name__}, expected a Learning record",
                where=self.learning_module,
                remedy="import it from edgeft.learning; CONTRIBUTING.md lists its fields",
            )

        return record

    def template_text(self) -> str:
        """The commented recipe; raises `UsageError` where the task has none."""
        if not self.template:
            raise UsageError(f"the task {self.name!r} has no template", remedy="write recipe.toml yourself")
        return _text(self.template)

    def run_part_text(self, kind: str = "") -> str:
        """The task's part of run.py for inputs of `kind`, or ""."""
        place = dict(self.run_part_of).get(kind, self.run_part)
        return _text(place) if place else ""

    def stream_part_text(self) -> str:
        """The task's part of run.py for streams, or ""."""
        return _text(self.stream_part) if self.stream_part else ""


def _text(place: str) -> str:
    package, _, name = place.partition(":")
    return resources.files(package).joinpath(*name.split("/")).read_text(encoding="utf-8")
