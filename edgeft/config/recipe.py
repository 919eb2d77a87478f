"""recipe.toml -> Recipe. Strict: an unknown key is an error that names the file, the line and the nearest key.

The dataclasses are the schema (types and defaults); `CHOICES` and `RANGES` below say which values are right.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from ..core.errors import RecipeError, UsageError, nearest
from ..plugins import DATA_FORMATS, MODEL_SOURCES, NUMBER_FORMATS, TASKS, Registry
from . import data_keys, recipe_paths, tables, trackers
from .scheme import EMBEDDINGS


@dataclass(frozen=True)
class Model:
    source: str = "builtin"  # builtin | timm | torchvision | transformers | python | (plug-in)
    name: str = "mobilenet_v2"  # which one: of builtin, timm, torchvision; a file.py:function; a .onnx or .keras file
    weights: str = ""  # a file or folder, "hub:owner/name@revision", "timm:...", "torchvision:...", "pip:name"
    args: dict[str, Any] = field(default_factory=dict)  # passed to the model's constructor
    output: str = ""  # of a model with several outputs: the key, field or number of the one that the task takes
    allow_download: bool = False  # weights by name that are not on this machine may be downloaded
    sha256: dict[str, str] = field(default_factory=dict)  # digests by file that the weights must have; a run notes them


@dataclass(frozen=True)
class Data:
    format: str = "image-folder"  # how the files are laid out; `edgeft init --data DIR` finds it
    path: str = ""  # folder or file of the data, relative to the recipe
    size: int = 0  # input pixels a side; 0 = the model's own default
    channels: int = 3  # 3 = colour, 1 = gray
    mean: tuple[float, ...] = ()  # empty = the weights' own default
    std: tuple[float, ...] = ()  # as mean
    resize: str = ""  # bilinear | bicubic | nearest; "" = the model's own default
    windows: str = "auto"  # auto (large pictures) | yes | no: of pictures the model sees windows, at their own scale
    overlap: float = 0.25  # share of a window's side that two neighbours have in common, 0 to 0.75
    max_pixels: int = 89_478_485  # pictures of more pixels are not read
    value_range: tuple[float, ...] = ()  # values that become black and white in pictures of more than 8 bits; [] = auto
    text: tuple[str, ...] = ("text",)  # columns of a table, joined by a space
    label: str = "label"  # column of a table
    actions: str = "auto"  # auto (whole numbers are refused) | continuous | discrete: what recorded actions are
    delimiter: str = ""  # between the columns of a table: ",", ";", "\t", "|", "::"; "" = found in the file
    encoding: str = ""  # of a table: utf-8, latin-1, cp1251, utf-16, ...; "" = found in the file
    quoting: str = "auto"  # auto (by the delimiter; not with tabs) | csv | none: fields of a table in quotation marks
    header: str = "auto"  # auto | yes | no (columns are then called by number, from 0): does a table name its columns
    length: int = 0  # tokens of a text; 0 = the model's own default
    split: tuple[float, ...] = (0.7, 0.15, 0.15)  # train, val, test; only where the data has no folders of its own
    split_seed: int = 0  # another number divides the samples in another way
    pattern: str = ""  # parts of a file's name, such as "{label}_{speaker}_{take}"
    group: str = ""  # the part of the pattern whose files stay in one split
    units: str = ""  # words | characters | text (the model has a tokenizer): tokens of transcripts; "" = classes
    sound: dict[str, Any] = field(default_factory=dict)  # rate, seconds, window, hop, mels, ... of a sound's features
    masks: dict[str, Any] = field(default_factory=dict)  # images, labels, classes, void of a folder of label masks
    pairs: dict[str, Any] = field(default_factory=dict)  # source, target, vocabulary, beam of sentence pairs
    min_interactions: int = 0  # of a user of ratings, fewer leave the user out; at least 3, as two are held out
    allow_leak: bool = False  # accept that more than 1 % of the test samples are also in the training split
    columns: dict[str, str] = field(default_factory=dict)  # what the format reads -> the file's own name of the column
    options: dict[str, Any] = field(default_factory=dict)  # values of the keys that the format declares of its own


@dataclass(frozen=True)
class Train:
    epochs: int = 10  # 0 = the weights are taken as they are
    lr: float = 1e-3  # learning rate
    head_lr: float = 0.0  # 0 = lr
    layer_decay: float = 1.0  # learning rate of each block relative to the block above it; 1 = the same for all
    unfreeze: int = 0  # epochs after which one more block is unfrozen, from the top; 0 = none is frozen
    batch_size: int = 32  # samples a step
    seed: int = 0  # same machine, versions and seed give the same weights
    schedule: str = "cosine"  # cosine | step | constant
    optimizer: str = "adamw"  # adamw | sgd
    weight_decay: float = 0.01  # of adamw and sgd
    norm_stats: str = "update"  # update | freeze: running statistics of BatchNorm
    class_weights: str = "none"  # none | balanced: every class has the same weight in the loss | root: its square root
    augment: str = "light"  # none | light | strong
    max_grad_norm: float = 0.0  # of the gradient of all weights, which is scaled down to it; 0 = as it is
    ema: float = 0.0  # decay of a moving average of the weights, validated and kept in their place; 0 = none
    patience: int = 0  # epochs without a better validation metric before training stops; 0 = never
    workers: int = 0  # processes that read data; 0 = none beside the training
    tracker: str = ""  # tensorboard | mlflow | wandb | another tracker of accelerate


@dataclass(frozen=True)
class Update:
    policy: str = "full"  # full | head | last | last:N | bias | norm | lora | sparse | auto
    rank: int = 8  # of lora: rank of an adapter
    alpha: float = 16.0  # of lora: scale of an adapter's output, alpha / rank
    dropout: float = 0.0  # of an adapter's input
    layers: tuple[str, ...] = ()  # patterns of the layers with adapters; empty = every linear layer and 1x1 convolution
    memory_budget: str = ""  # of auto: what training on the device may take, e.g. "64MiB"
    biases: tuple[str, ...] = ()  # of sparse: patterns of the layers with trainable biases
    weights: dict[str, float] = field(default_factory=dict)  # of sparse: pattern of layers -> share of input channels


@dataclass(frozen=True)
class Quantize:
    method: str = "qat"  # qat | ptq | auto (ptq, else qat, else layers in float, until the gates hold) | none
    format: str = ""  # number format of weights and activations; "" = that of each target's profile
    calibration: str = "mse"  # a preset (mse, auto, minmax, percentile, moving_average, quick, reconstruct) or a path
    epochs: int = 3  # of quantization-aware training
    lr: float = 1e-4  # learning rate of it
    distill: bool = True  # the float model is the teacher
    equalize: bool = True  # channels of very different size are brought near each other where that helps
    keep_float: tuple[str, ...] = ()  # patterns of layers that stay float, e.g. ["classifier*"]
    embeddings: str = "float"  # float | int8: tables that are looked up


@dataclass(frozen=True)
class Export:
    targets: tuple[str, ...] = ("host",)  # boards; `edgeft targets list` shows them
    choose: str = "asked"  # asked: the format of [quantize] or of the profile | fastest: of the candidates that pass
    stream: float = 0.0  # seconds of sound that a step of the streaming graph takes; 0 = the bundle has none


@dataclass(frozen=True)
class Personalize:
    """On-device training of a model's tail; without this table a bundle has none."""

    tail: str = "head"  # head | last | the name of the lowest trainable layer
    max_forget: float = 0.01  # of the task's metric, on the reference samples in the bundle
    steps: int = 300  # training steps; 0 = the means of the classes
    rate: float = 0.02  # learning rate
    loss: str = ""  # "" = the task's | prototype: the features before the last layer are trained to separate classes
    optimizer: str = "sgd"  # sgd (with momentum) | adam
    clip: float = 1.0  # maximum norm of the gradients of a step; 0 = no clipping
    batch_size: int = 16  # samples a step, replayed ones among them
    replay: int = 50  # stored samples of each class in the bundle, as latents
    spare_classes: int = 0  # additional outputs for classes that are added later


@dataclass(frozen=True)
class Gates:
    max_drop: float | None = None  # None = the task's default
    max_drop_relative: float = 0.0  # for metrics without bounds, as a share of the float one; 0 = not asked
    decide: str = "point"  # point: the drop itself | bound: its 95 % interval, which may be inconclusive
    min_speedup: float = 1.0  # quantized over float in the same runtime, where this host is the target's kind of CPU
    min_int8_share: float = 0.5  # of the multiply-accumulates, those that run in integer kernels
    min_coverage: float = 0.95  # of the multiply-accumulates on the accelerator, where a vendor's compiler ran
    min_agreement: float = 0.0  # share of samples with the same decision in float and quantized
    environment: str = ""  # of the closed loop: a gymnasium id, such as "Pendulum-v1"; "" = none is run
    episodes: int = 100  # of the environment, the same ones for float and quantized
    max_return_drop: float = 0.02  # of the mean return, as a share of the float baseline's
    latency_ms: float = 0.0  # p95 on the device that is measured; 0 = no budget
    size_mb: float = 0.0  # of the quantized model file; 0 = no budget
    energy_mj: float = 0.0  # of one run, where the machine has a meter


def default_task() -> str:
    """The task of a recipe that names none."""
    return next(name for name in TASKS.builtin if TASKS.get(name).default)


@dataclass(frozen=True)
class Recipe:
    task: str = field(default_factory=default_task)  # what is predicted
    name: str = "model"  # of the run and of its bundles
    model: Model = field(default_factory=Model)
    data: Data = field(default_factory=Data)
    train: Train = field(default_factory=Train)
    update: Update = field(default_factory=Update)
    quantize: Quantize = field(default_factory=Quantize)
    export: Export = field(default_factory=Export)
    gates: Gates = field(default_factory=Gates)
    personalize: Personalize | None = None


#: the values of a key. The Python API writes `module` and `dataset` for objects of the caller.
CHOICES: dict[str, tuple[str, ...]] = {
    "data.actions": ("auto", "continuous", "discrete"),
    "data.header": ("auto", "yes", "no"),
    "data.quoting": ("auto", "csv", "none"),
    "data.resize": ("", "bilinear", "bicubic", "nearest"),
    "data.windows": ("auto", "yes", "no"),
    "data.units": ("", "words", "characters", "text"),
    "train.schedule": ("cosine", "step", "constant"),
    "train.optimizer": ("adamw", "sgd"),
    "train.norm_stats": ("update", "freeze"),
    "train.class_weights": ("none", "balanced", "root"),
    "train.augment": ("none", "light", "strong"),
    "train.tracker": ("", *trackers.PACKAGES),
    "update.policy": ("full", "head", "last", "bias", "norm", "lora", "sparse", "auto"),
    "quantize.method": ("qat", "ptq", "auto", "none"),
    "quantize.embeddings": EMBEDDINGS,
    "export.choose": ("asked", "fastest"),
    "gates.decide": ("point", "bound"),
    "personalize.loss": ("", "cross-entropy", "mse", "prototype", "ranking"),
    "personalize.optimizer": ("sgd", "adam"),
}

#: registries whose names a key may have
REGISTRIES: dict[str, Registry[Any]] = {
    "task": TASKS,
    "data.format": DATA_FORMATS,
    "model.source": MODEL_SOURCES,
    "quantize.format": NUMBER_FORMATS,
}
OPTIONAL_NAMES = ("quantize.format",)  # of these keys, those that may be empty

#: gates that are shares, from 0 to 1
SHARES = ("max_drop_relative", "max_return_drop", "min_int8_share", "min_coverage", "min_agreement")

#: lowest and highest value, both included
RANGES: dict[str, tuple[float, float]] = {
    "data.size": (0, 8192),
    "data.overlap": (0, 0.75),
    "data.length": (0, 8192),
    "data.min_interactions": (0, 1_000_000),
    "data.max_pixels": (1, 2**32 - 1),
    "data.split_seed": (0, 2**32 - 1),
    **dict.fromkeys(("train.epochs", "train.unfreeze", "train.patience"), (0, 100_000)),
    **dict.fromkeys(("train.lr", "train.head_lr", "quantize.lr", "personalize.rate"), (0, 10)),
    "train.layer_decay": (0, 1),
    "train.batch_size": (1, 65_536),
    "train.seed": (0, 2**32 - 1),
    "train.weight_decay": (0, 1),
    "train.max_grad_norm": (0, 1_000_000),
    "train.ema": (0, 0.99999),
    "train.workers": (0, 256),
    "update.rank": (1, 4096),
    "update.alpha": (0, 10_000),
    "update.dropout": (0, 0.9),
    "quantize.epochs": (0, 100_000),
    "export.stream": (0, 10),
    "personalize.max_forget": (0, 1e6),
    "personalize.steps": (0, 1_000_000),
    "personalize.clip": (0, 1e6),
    "personalize.batch_size": (2, 4096),
    "personalize.replay": (0, 100_000),
    "personalize.spare_classes": (0, 4096),
    "gates.max_drop": (0, 100),
    **{f"gates.{key}": (0, 1) for key in SHARES},
    "gates.min_speedup": (0, 1000),
    "gates.episodes": (2, 100_000),
    **dict.fromkeys(("gates.latency_ms", "gates.size_mb", "gates.energy_mj"), (0, 1e9)),
}
#: keys that must not be zero
POSITIVE = ("train.lr", "train.layer_decay", "update.alpha", "quantize.lr", "personalize.rate")


def load(path: Path | str) -> Recipe:
    """The recipe of a TOML file; raises `RecipeError` naming file, line and the nearest key."""
    source = tables.read(path, RecipeError)
    return from_table(tables.parse(source), source.name, text=source.text)


def from_table(table: Mapping[str, Any], where: str, *, text: str = "") -> Recipe:
    """A recipe from a parsed table. `where` names its origin in errors, `text` (its TOML) gives the line numbers.

    Raises `RecipeError` for an unknown table or key, a wrong type, and a value that is out of range or not allowed.
    """
    source = tables.Source(where, text, RecipeError)
    known = tables.hints(Recipe)
    for key, value in table.items():
        elsewhere = [name for name, kind in known.items() if isinstance(kind, type) and key in keys_of(kind)]
        if key not in known and elsewhere and not isinstance(value, dict):
            places = " or ".join(f"[{name}]" for name in elsewhere)
            raise source.fail((key,), f"unknown key {key!r}", f"it belongs into {places}")

    recipe: Recipe = recipe_paths.at_home(tables.build(Recipe, data_keys.parted(table, keys_of(Data), source), source))
    _check(recipe, source)
    return recipe


def keys_of(kind: type) -> tuple[str, ...]:
    """The keys of a table of the recipe, whatever the data format is; none where `kind` is no table."""
    names = tables.hints(kind) if dataclasses.is_dataclass(kind) else ()
    return tuple(name for name in names if kind is not Data or name != "options")


def value_of(recipe: Recipe, dotted: str) -> Any:
    """The value of a key; None for one of a table that is left out."""
    value: Any = recipe
    for part in dotted.split("."):
        value = None if value is None else getattr(value, part)
    return value


def _check(recipe: Recipe, source: tables.Source) -> None:
    def fail(dotted: str, message: str, remedy: str = "") -> RecipeError:
        error = source.fail(tuple(dotted.split(".")), f"{dotted!r} {message}", remedy)
        assert isinstance(error, RecipeError)
        return error

    for key, allowed in CHOICES.items():
        value = value_of(recipe, key)
        if value in allowed or value is None or (key == "update.policy" and re.fullmatch(r"last:[1-9]\d?", value)):
            continue
        raise fail(key, f"cannot be {value!r}", nearest(value, allowed))
    for key, registry in REGISTRIES.items():
        value = value_of(recipe, key)
        if (value or key not in OPTIONAL_NAMES) and value not in registry:
            raise fail(key, f"cannot be {value!r}", nearest(value, registry.names()))
    for key, (low, high) in RANGES.items():
        value = value_of(recipe, key)
        if value is not None and not low <= value <= high:
            raise fail(key, f"must be from {low:g} to {high:g}, not {value if abs(value) < 1e15 else 'so large'}")
    for key in POSITIVE:
        if value_of(recipe, key) == 0:
            raise fail(key, "must be above 0")
    recipe_paths.check(recipe, fail)
    data_keys.check(recipe.data, fail)
    if not re.fullmatch(r"\w[\w. -]{0,99}", recipe.name):
        raise fail("name", f"cannot be {recipe.name!r}: it names folders", "use letters, digits, '-', '_', '.', spaces")
    if not recipe.model.name.strip():
        raise fail("model.name", "must not be empty")
    budget = recipe.update.memory_budget
    if budget and not re.fullmatch(r"[1-9][0-9]*(\.[0-9]+)? ?(B|[KMG]i?B)", budget):
        raise fail("update.memory_budget", f"must be a size such as '64MiB', not {budget!r}")
    if recipe.personalize is not None and not recipe.personalize.tail.strip():
        raise fail("personalize.tail", "must not be empty", "head, last, or the name of a layer")
    targets = recipe.export.targets
    if not targets or "" in targets:
        raise fail("export.targets", "must name at least one target", "edgeft targets list shows them")
    if len(set(targets)) < len(targets):
        raise fail("export.targets", f"names a target twice: {', '.join(targets)}")


def as_table(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values for `from_table`; None is left out, since TOML has no such value."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(item) for key, item in value.items() if item is not None}
        return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value

    table: dict[str, Any] = plain(dataclasses.asdict(recipe))
    table["data"] |= table["data"].pop("options")
    return table


def override(recipe: Recipe, settings: Iterable[str], where: str = "--set") -> Recipe:
    """The recipe with each `table.key=value` of `settings` in place.

    A value is read as TOML (`0.1`, `true`, `["rpi5"]`), and as a bare string where it is none or where the key wants
    a string. Raises `UsageError` where a setting has not that form, `RecipeError` where the key or value is wrong.
    """
    for setting in settings:
        name, equals, raw = setting.partition("=")
        path = tuple(part.strip() for part in name.split("."))
        if not equals or not all(tables.BARE.fullmatch(part) for part in path):
            raise UsageError(
                f"{setting!r} is not of the form table.key=value",
                where=where,
                remedy="for example --set train.epochs=3",
            )
        table = as_table(recipe)
        inner = table
        for part in path[:-1]:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise RecipeError(f"{part!r} in {name!r} is not a table", where=f"{where} {setting}")
        if path == ("data", "format"):  # another format has other keys of its own
            inner_options = recipe.data.options if raw.strip() != recipe.data.format else {}
            table["data"] = {key: value for key, value in table["data"].items() if key not in inner_options}
            inner = table["data"]
        inner[path[-1]] = _setting(raw.strip(), path, recipe.data.format)
        recipe = from_table(table, f"{where} {setting}")
    return recipe


def _setting(raw: str, path: tuple[str, ...], data_format: str) -> Any:
    try:
        parsed = tables.parse(tables.Source("", f"value = {raw}", RecipeError))
    except RecipeError:
        return raw
    if set(parsed) != {"value"}:  # a line break in the value must not smuggle in a second key
        return raw
    hint: Any = Recipe
    for part in path:
        hint = next(
            (option for option in get_args(hint) if option is not type(None)), hint
        )  # of a table that may be left out
        known = tables.hints(hint) if isinstance(hint, type) and dataclasses.is_dataclass(hint) else {}
        known = {**known, **data_keys.types(data_format)} if hint is Data else known
        hint = known.get(part)
    return raw if hint is str and not isinstance(parsed["value"], str) else parsed["value"]


def dumps(recipe: Recipe) -> str:
    """The recipe as TOML with every key resolved; `load` of it gives an equal recipe."""
    scalars, sections = [], []
    for name, value in ((f.name, getattr(recipe, f.name)) for f in dataclasses.fields(recipe)):
        if value is None:
            continue
        if not dataclasses.is_dataclass(value):
            scalars.append(f"{name} = {tables.value_text(value)}")
            continue
        lines = [f"\n[{name}]"]
        items = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        items |= items.pop("options", {})
        for key, item in items.items():
            lines.append(f"# {key}: the task's default" if item is None else f"{key} = {tables.value_text(item)}")
        sections += lines
    return "\n".join(scalars + sections) + "\n"
