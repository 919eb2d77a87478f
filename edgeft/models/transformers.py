"""Models of the package `transformers` from a local folder: config.json, weights, and a tokenizer or image processor.

`AutoConfig` and the Auto class of the task build the network. Code in the folder runs only where it was allowed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..config import recipe
from ..core.errors import ModelError, RecipeError, nearest
from ..core.files import user_path
from ..inputs import text
from ..plugins import TASKS
from . import (
    heads,
    hf_folder,
    letters,
    listeners,
    outputs,
    peft_adapter,
    pretrained,
    set_detectors,
    transcribers,
    translators,
)
from .built import Built
from .nets.encoder import MeanOfTokens, TextVector
from .request import ModelRequest, ModelSource

#: tokens that a text is cut or padded to, unless the recipe says otherwise
LENGTH = 128
#: tokens of the shortest batch that a graph is open for
SHORTEST = 3
#: the largest size that a config.json may state
LARGEST = 10_000_000
#: what `model.args` may change of a config beside `pooling`: regularization, which no weight depends on
_CHANGEABLE = "drop"
#: what of a config draws at random within a forward, outside of dropout: it cannot be captured
_STILL = {"layerdrop": 0.0, "apply_spec_augment": False}
#: tables of the package that are not named as the Auto class is
_MAPPINGS = {
    "AutoModelForSeq2SeqLM": "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING",
    "AutoModelForSpeechSeq2Seq": "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING",
}
#: `model.args.pooling`: the head of the Auto class, or a linear layer on the mean of the tokens
POOLING = ("head", "mean")
#: of a model of vectors: the mean of the tokens, or the first token
VECTOR_POOLING = ("mean", "cls")


@dataclass(frozen=True)
class Form:
    """What a task takes of the package: an Auto class (`Task.auto_class`), and what completes the model.

    `complete(module, folder, config, request)` returns the module, its preprocessing and notes.
    """

    automatic: str
    complete: Callable[..., tuple[nn.Module, dict[str, Any], tuple[str, ...]]]
    #: what `model.args.pooling` may be; the first is the usual one where nothing else says it
    pooling: tuple[str, ...] = POOLING[:1]
    #: the answer is the encoder's vector of a text: there is no head
    vector: bool = False
    #: the answer is a set of boxes: several outputs, and layers that score classes in more than one place
    boxes: bool = False
    #: the answer is a text, by an encoder and a decoder: there is no head
    pairs: bool = False
    #: the answer is a letter or the blank of CTC for every frame
    frames: bool = False
    #: names of `model.args` that `complete` reads
    args: tuple[str, ...] = ()


def build(request: ModelRequest) -> Built:
    """The network of the folder `model.weights` with a head of `request.outputs` outputs.

    `model.name` is the `model_type` of config.json. `model.args` may change dropout, for texts `pooling`, for boxes
    `size`, for Whisper `language`, `task`, `beam` and `length`, and name the folder of a LoRA `adapter` that PEFT
    saved. Raises `RecipeError` for an unknown name or argument, `ModelError` naming the file and key of what does not
    fit, code in the folder that was not allowed included, and `Missing` without `transformers` or `tokenizers`.
    """
    package = pretrained.package()
    known = package.CONFIG_MAPPING.keys()
    named = request.model.name
    folder = hf_folder.find(request.model.weights) if request.model.weights or named in known else None
    if folder is None:
        raise RecipeError(f"unknown architecture {named!r}", where="model.name", remedy=nearest(named, known))

    table = hf_folder.read_config(folder)
    _refuse_table(table, folder, request, known)
    form = _form(package, request.task, table["model_type"])
    args = {name: value for name, value in request.model.args.items() if name not in form.args}
    usual = hf_folder.pooling(folder) if form.vector else _pooling(table)
    pooling = args.pop("pooling", usual) if len(form.pooling) > 1 else form.pooling[0]
    if pooling not in form.pooling:
        raise RecipeError(f"is {pooling!r}", where="model.args.pooling", remedy=f"known: {', '.join(form.pooling)}")

    adapter = _adapter(args, request)
    config = _config(package, folder, request, args)
    own_labels = [str(name) for _, name in sorted((config.id2label or {}).items())]
    module, notes = _network(package, form, config, folder, request, pooling, adapter)
    head = "" if form.pairs else _head(module, form, request.outputs)
    labels: tuple[str, ...] = ()
    if form.frames:
        labels, more = letters.head(module, folder, config, request, any(pretrained.NEW_HEAD in note for note in notes))
        notes = (*(note for note in notes if pretrained.NEW_HEAD not in note), *more)
    elif head and not any(pretrained.NEW_HEAD in note for note in notes):
        notes += _labels_in_order(module, head, form, own_labels, request.labels)
    network, spec, more = form.complete(module, folder, config, request)
    files = {name: content.encode() for name, content in spec.pop("contents", {}).items()}
    prefix = next((f"{name}." for name, part in network.named_children() if part is module), "")
    head = f"{prefix}{head}" if head else ""
    size = len(labels) + 1 if labels else request.outputs
    net = Built(network.eval(), head, spec, size, True, (*notes, *more), labels=labels, files=files)
    return replace(net, keep_float=set_detectors.choosing_layers(network) if form.boxes else (), name=config.model_type)


def _form(package: Any, task: str, kind: str) -> Form:
    """How the task takes models of `kind`: the first of its forms whose Auto class knows it, else the first."""
    configs, forms = package.CONFIG_MAPPING, FORMS[task]  # a mapping that imports lazily, whose `get` does not
    able = [form for form in forms if kind in configs and configs[kind] in architectures(package, form.automatic)]
    return (able or forms)[0]


def _head(module: nn.Module, form: Form, outputs: int) -> str:
    """Dotted name of the layer that scores the classes; "" where there is none."""
    if form.vector:
        return ""
    return (set_detectors.find_head(module, outputs) if form.boxes else "") or heads.find(module, outputs)


def _refuse_table(table: dict[str, Any], folder: Path, request: ModelRequest, known: Sequence[str]) -> None:
    """Raise for code that was not allowed, another architecture than the recipe's, and sizes beyond reason."""
    path, kind = str(folder / hf_folder.CONFIG), table["model_type"]
    if table.get("auto_map") and not request.allow_code:
        raise ModelError(
            f"the model {kind!r} would run code of its folder (auto_map), which was not allowed",
            where=path,
            remedy="read that code, and if you trust it, pass --allow-code",
        )
    if kind not in known and not table.get("auto_map"):
        raise ModelError(f"model_type is {kind!r}", where=path, remedy=nearest(kind, known))

    named = request.model.name
    if named not in ("", kind, recipe.Model.name):
        remedy = f'leave model.name out, since the folder says it, or set model.name = "{kind}"'
        if named not in known:
            raise RecipeError(f"unknown architecture {named!r}: it is {kind!r}", where="model.name", remedy=remedy)
        raise ModelError(f"model_type is {kind!r}, and model.name says {named!r}", where=path, remedy=remedy)
    if table.get("quantization_config"):
        raise ModelError(
            "the weights are quantized already (quantization_config)", where=path, remedy="take the float model"
        )
    for key, value in table.items():
        if type(value) is int and key != "initializer_range" and not -LARGEST <= value <= LARGEST:
            raise ModelError(f"{key} is {value}", where=path)


def _pooling(table: dict[str, Any]) -> str:
    """ "head" where the checkpoint was made with a head, "mean" for a bare encoder (of sentences)."""
    names = table.get("architectures")
    with_head = isinstance(names, list) and any("For" in str(name) for name in names)
    return POOLING[0] if with_head else POOLING[1]


def _config(package: Any, folder: Path, request: ModelRequest, args: dict[str, Any]) -> Any:
    """The package's config with the outputs, channels and arguments that are asked for."""
    path = folder / hf_folder.CONFIG
    with pretrained.quiet("transformers cannot read it", str(path)):
        config = package.AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=request.allow_code
        )

    channels = args.pop("channels", None)
    if channels is not None and channels not in (1, 3):
        raise RecipeError(f"is {channels!r}, expected 1 or 3", where="model.args.channels")
    parts: list[Any] = [config, getattr(config, "backbone_config", None)]
    for part in parts:
        if channels is not None and hasattr(part, "num_channels"):
            part.num_channels = channels

    for key, value in _STILL.items():
        if hasattr(config, key):
            setattr(config, key, value)

    able = [key for key in config.to_dict() if _CHANGEABLE in key]
    for key, value in args.items():
        if key not in able and key in request.of_data:
            continue
        if key not in able:
            remedy = f"leave it out, since config.json says it; {nearest(key, able)}"
            raise RecipeError(f"cannot change {key!r}", where="model.args", remedy=remedy)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
            raise RecipeError(f"is {value!r}, expected 0 to below 1", where=f"model.args.{key}")
        setattr(config, key, value)

    return config


def _network(
    package: Any, form: Form, config: Any, folder: Path, request: ModelRequest, pooling: str, adapter: Path | None
) -> tuple[nn.Module, tuple[str, ...]]:
    bare = form.vector or pooling == "mean"
    own_classes = len(config.id2label or ()) if form.boxes else 0
    if not bare or getattr(config, "is_encoder_decoder", False):
        _refuse_architecture(package, config, folder, request, form)
    if not bare and not form.pairs:
        config.num_labels = request.outputs
    automatic = "AutoModel" if bare else form.automatic
    kind = _class(package, automatic, config, request.allow_code)
    module, notes = pretrained.load(kind, config, folder, own_classes)
    if adapter is not None:
        merged, whole = peft_adapter.merge(module, adapter)
        notes = (*(note for note in notes if not whole or pretrained.NEW_HEAD not in note), *merged)
    if not bare:
        if not form.boxes:
            module.register_forward_hook(outputs.OneOutput("logits"))
        return module, notes

    if getattr(module, "pooler", None) is not None:
        module.pooler = None  # no output of the classifier depends on it
    if form.vector:
        return TextVector(module, module.base_model_prefix, pooling), notes
    dropout = getattr(config, "hidden_dropout_prob", getattr(config, "dropout", 0.1))
    wrapped = MeanOfTokens(module, module.base_model_prefix, config.hidden_size, request.outputs, float(dropout))
    notes = tuple(note for note in notes if pretrained.NEW_HEAD not in note)  # they speak of the pooler that is gone
    return wrapped, (*notes, f"the weights' own classifier is not in the file: {pretrained.NEW_HEAD}")


def _adapter(args: dict[str, Any], request: ModelRequest) -> Path | None:
    """The folder of the adapter that `model.args.adapter` names; a finished run has it merged already."""
    named = args.pop("adapter", "")
    if not isinstance(named, str):
        raise RecipeError(f"is {named!r}, expected the path of a folder", where="model.args.adapter")
    return user_path(named) if named and not request.trained else None


def architectures(package: Any, automatic: str) -> Mapping[type, Any]:
    """The package's table of an Auto class, by config: MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING and so on."""
    words = re.findall("[A-Z]+(?![a-z])|[A-Z][a-z]*", automatic.removeprefix("Auto"))
    table: Mapping[type, Any] = getattr(package, _MAPPINGS.get(automatic, "_".join([*words, "mapping"]).upper()))
    return table


def _class(package: Any, automatic: str, config: Any, allow_code: bool) -> Any:
    """The class that the Auto class `automatic` takes for `config`; that of code in the folder where it is allowed."""
    table = architectures(package, automatic)
    if type(config) not in table:
        with pretrained.quiet("its code does not work", hf_folder.CONFIG):
            return type(getattr(package, automatic).from_config(config, trust_remote_code=allow_code))

    kinds = table[type(config)]
    kinds = kinds if isinstance(kinds, (list, tuple)) else (kinds,)
    return next((kind for kind in kinds if kind.__name__ in (config.architectures or ())), kinds[0])


def _refuse_architecture(package: Any, config: Any, folder: Path, request: ModelRequest, form: Form) -> None:
    """Raise `ModelError` for an architecture without a model of the task, with the Auto classes that it has."""
    code = getattr(config, "auto_map", None) or ()
    known = type(config) in architectures(package, form.automatic) or form.automatic in code
    if known and (form.pairs or form.boxes or not config.is_encoder_decoder):  # DETR's kind decodes queries, no texts
        return

    automatics = [(task, other.automatic) for task, forms in FORMS.items() for other in forms]
    tables = {f"{automatic} ({task})": architectures(package, automatic) for task, automatic in automatics}
    able = [name for name, table in tables.items() if type(config) in table and form.automatic not in name.split()]
    raise ModelError(
        f"a {config.model_type!r} is no model for {request.task}: "
        + ("it is an encoder-decoder" if known else f"{form.automatic} does not know it"),
        where=str(folder / hf_folder.CONFIG),
        remedy=f"it has {', '.join(able)}" if able else "take a folder of another architecture",
    )


def _labels_in_order(
    module: nn.Module, head: str, form: Form, own_labels: Sequence[str], labels: Sequence[str]
) -> tuple[str, ...]:
    """The checkpoint's own classifier `head` with its rows in the order of the data's classes, where both have the same
    names; a note says which classes it has."""
    places = {name.lower(): row for row, name in enumerate(own_labels)}
    lowered = [label.lower() for label in labels]
    if sorted(places) != sorted(lowered):
        return (f"the weights' own classifier is kept; its classes are {', '.join(own_labels[:10])}",)

    rows = [places[label] for label in lowered]
    layers = set_detectors.scoring_layers(module, len(rows)) if form.boxes else [head]
    with torch.no_grad():
        for layer in layers:
            for parameter in module.get_submodule(layer).parameters():
                order = [*rows, *range(len(rows), len(parameter))]  # "no object" of a detector stays the last
                parameter.copy_(parameter[order].clone())

    return (f"the weights' own classifier is kept, for the classes {', '.join(labels[:10])}",)


def _for_texts(
    module: Any, folder: Path, config: Any, request: ModelRequest, kind: str = "text"
) -> tuple[nn.Module, dict[str, Any], tuple[str, ...]]:
    """Token ids and masks, int32 (N, L), from the folder's tokenizer.json, for inputs of `kind`."""
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.is_file():
        raise ModelError(
            "has no tokenizer.json",
            where=str(folder),
            remedy="write it with a fast tokenizer of transformers: AutoTokenizer.from_pretrained(...).save_pretrained",
        )

    embeddings = next((layer for layer in module.modules() if isinstance(layer, nn.Embedding)), None)
    words, highest = config.vocab_size, text.highest_id(str(tokenizer))
    if highest >= words or (embeddings is not None and highest >= embeddings.num_embeddings):
        problem = f"the tokenizer gives ids up to {highest}, the model knows {words} tokens"
        raise ModelError(problem, where=str(tokenizer), remedy="take the tokenizer of this model's own folder")

    positions = _positions(module, config)
    module.open_axes = {1: (SHORTEST, positions)}
    spec = {
        "kind": kind,
        "length": min(LENGTH, positions),
        "longest": positions,
        "inputs": ["input_ids", "attention_mask"],
        "pad": config.pad_token_id or 0,
        "files": {"tokenizer": str(tokenizer)},
    }
    return module, spec, ()


def _positions(module: nn.Module, config: Any) -> int:
    """Tokens of the longest text. RoBERTa's kin count positions from the padding's number on."""
    for name, layer in module.named_modules():
        if name.endswith("position_embeddings") and isinstance(layer, nn.Embedding):
            start = 0 if layer.padding_idx is None else layer.padding_idx + 1
            return int(layer.num_embeddings) - start

    return int(config.max_position_embeddings)


def _for_pictures(
    module: nn.Module, folder: Path, config: Any, request: ModelRequest
) -> tuple[nn.Module, dict[str, Any], tuple[str, ...]]:
    """Pictures (N, channels, h, w) by the folder's image processor."""
    spec, notes, flipped = hf_folder.image_preprocessing(folder, config, config.num_channels)
    if flipped and config.num_channels == 3:
        first = next(layer for layer in module.modules() if isinstance(layer, nn.Conv2d))
        with torch.no_grad():
            first.weight.copy_(first.weight.flip(1))
        notes += ("the weights were made for pictures as BGR: the first convolution is turned to RGB",)

    return module, spec, notes


#: `Task.auto_reads` -> what completes the model
_COMPLETE: dict[str, Callable[..., tuple[nn.Module, dict[str, Any], tuple[str, ...]]]] = {
    "text": _for_texts,
    "words": functools.partial(_for_texts, kind="words"),
    "lines": functools.partial(_for_texts, kind="lines"),
    "waveform": listeners.complete,
    "frames": listeners.complete_frames,
    "image": _for_pictures,
    "scene": set_detectors.complete,
    "pairs": translators.complete,
    "spectrum": transcribers.complete,
}
#: what `model.args.pooling` may be where texts are read
_POOLING = {"text": POOLING, "lines": VECTOR_POOLING}
#: arguments that completing a model reads
_ARGS = {"scene": ("size",), "spectrum": transcribers.ARGS}


def _form_of(automatic: str, reads: str) -> Form:
    return Form(
        automatic,
        _COMPLETE[reads],
        _POOLING.get(reads, POOLING[:1]),
        vector=reads == "lines",
        boxes=reads == "scene",
        frames=reads == "frames",
        pairs=reads in ("pairs", "spectrum"),
        args=_ARGS.get(reads, ()),
    )


#: by task, what it takes of the package: models of the first form, and of others
FORMS = {
    task.name: tuple(_form_of(*pair) for pair in ((task.auto_class, task.auto_reads), *task.further_auto))
    for task in map(TASKS.get, TASKS.builtin)
    if task.auto_class
}

SOURCE = ModelSource(
    "transformers", "Models of the package transformers from a local folder.", build, tasks=tuple(FORMS), own_files=True
)
