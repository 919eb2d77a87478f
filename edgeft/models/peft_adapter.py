"""LoRA adapters that the package PEFT saved, merged into the weights of their base model: the package is not needed.

A layer's update is B A times alpha / r (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021), or
alpha / sqrt(r) where the adapter is rank-stabilized (Kalajdzievski 2023). Layers that were trained whole
(`modules_to_save`, a classifier for one) are taken as they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..core import strict_json
from ..core.errors import ModelError, nearest
from . import weights
from .hf_folder import ADAPTER as CONFIG

FILES = ("adapter_model.safetensors", "adapter_model.bin")
#: settings of PEFT that change what an adapter computes in a way that is not read here
_OTHER_KINDS = (
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "velora_config",
    "megatron_config",
)
_LORA = re.compile(r"(.*)\.lora_(A|B|embedding_A|embedding_B)(?:\.default)?(?:\.(weight|bias))?")


@dataclass(frozen=True)
class Adapter:
    """The settings of an adapter's folder."""

    folder: Path
    table: Mapping[str, Any]

    def scale(self, layer: str, rank: int) -> float:
        """What B A of a layer is multiplied with; `alpha_pattern` has the layers that differ."""
        alpha = _number(self.table.get("lora_alpha"), "lora_alpha", self.folder)
        patterns = self.table.get("alpha_pattern")
        for pattern, value in (patterns if isinstance(patterns, dict) else {}).items():
            if layer == pattern or layer.endswith(f".{pattern}"):
                alpha = _number(value, f"alpha_pattern.{pattern}", self.folder)
        return alpha / (math.sqrt(rank) if self.table.get("use_rslora") else rank)


def read(folder: Path) -> Adapter:
    """The adapter in a folder; raises `ModelError` for another folder, and for a kind of adapter that is not read."""
    path = folder / CONFIG
    if not path.is_file():
        raise ModelError(
            f"holds no {CONFIG}", where=str(folder), remedy="name the folder that PEFT's save_pretrained wrote"
        )

    try:
        table = strict_json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"is not readable ({error})", where=str(path)) from error

    if not isinstance(table, dict) or table.get("peft_type") != "LORA":
        kind = table.get("peft_type") if isinstance(table, dict) else None
        raise ModelError(
            f"peft_type is {kind!r}", where=str(path), remedy="LoRA adapters are read; merge others with PEFT"
        )

    other = next((key for key in _OTHER_KINDS if table.get(key)), "")
    if other:
        raise ModelError(
            f"{other} is set, which is not read",
            where=str(path),
            remedy="merge it with PEFT: model.merge_and_unload().save_pretrained(...), and name that folder",
        )

    return Adapter(folder, table)


def merge(module: nn.Module, folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Merge the adapter of `folder` into a model of transformers, in place.

    Returns notes for the user, and the names of the layers that were taken whole. Raises `ModelError` naming the tensor
    that has no place in the model or another shape; a layer of another number of outputs (a classifier) is left out.
    """
    adapter = read(folder)
    path = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if path is None:
        raise ModelError(f"holds no {' or '.join(FILES)}", where=str(folder))

    factors: dict[str, dict[str, torch.Tensor]] = {}
    whole: dict[str, torch.Tensor] = {}
    for name, tensor in weights.read(path).items():
        match = _LORA.fullmatch(_plain(name))
        if match:
            factors.setdefault(match[1], {})[match[2].removeprefix("embedding_") + (match[3] == "bias") * "_bias"] = (
                tensor
            )
        else:
            whole[_plain(name)] = tensor

    if not factors and not whole:
        raise ModelError("holds no tensors", where=str(path))

    places = dict(_places(module))
    with torch.no_grad():
        for layer, parts in factors.items():
            _add(module, _place(layer, places, path), layer, parts, adapter, path)
        taken, notes = _take(module, whole, path)

    rank = adapter.table.get("r")
    return (f"the LoRA adapter {folder} (rank {rank}) is merged into {len(factors)} layers", *notes), taken


def _plain(name: str) -> str:
    """A name of the base model: without the wrappers of PEFT."""
    name = re.sub(r"^(base_model\.)?(model\.)?", "", name, count=1)
    return re.sub(r"\.(base_layer|modules_to_save\.default|modules_to_save)(?=\.)", "", name)


def _places(module: nn.Module) -> Iterator[tuple[str, str]]:
    """(name in an adapter, name in the module) of each layer: with the base model's prefix and without it."""
    prefix = str(getattr(module, "base_model_prefix", ""))
    for name, _ in module.named_modules():
        yield name, name
        if prefix:
            yield f"{prefix}.{name}", name
            yield name.removeprefix(f"{prefix}."), name


def _place(layer: str, places: Mapping[str, str], path: Path) -> str:
    if layer not in places:
        raise ModelError(
            f"the base model has no layer {layer!r}",
            where=str(path),
            remedy=f"set model.weights to the model that the adapter was trained on; {nearest(layer, list(places))}",
        )
    return places[layer]


def _add(
    module: nn.Module, place: str, layer: str, parts: Mapping[str, torch.Tensor], adapter: Adapter, path: Path
) -> None:
    target = module.get_submodule(place)
    if not {"A", "B"} <= parts.keys() or not isinstance(getattr(target, "weight", None), torch.Tensor):
        raise ModelError(f"{layer!r} has no weight, or not both factors", where=str(path))

    a, b = parts["A"].float(), parts["B"].float()
    if min(a.dim(), b.dim()) < 2 or a.shape[0] < 1 or b.shape[1] != a.shape[0]:
        raise ModelError(f"the factors of {layer!r} are {tuple(a.shape)} and {tuple(b.shape)}", where=str(path))

    update = _product(a, b, isinstance(target, nn.Embedding))
    if adapter.table.get("fan_in_fan_out") and update.dim() == 2:
        update = update.T

    if update.shape != target.weight.shape:
        raise ModelError(
            f"the update of {layer!r} is {tuple(update.shape)}, its weight {tuple(target.weight.shape)}",
            where=str(path),
            remedy="set model.weights to the model that the adapter was trained on",
        )

    scale = adapter.scale(layer, a.shape[0])
    target.weight += scale * update
    if "B_bias" in parts:
        if target.bias is None:
            raise ModelError(f"{layer!r} has no bias to add to", where=str(path))
        target.bias += scale * parts["B_bias"].float()


def _product(a: torch.Tensor, b: torch.Tensor, lookup: bool) -> torch.Tensor:
    """B A as a weight: of a linear layer, a convolution (A has its kernel), or an embedding."""
    if lookup:
        return (b @ a).T
    if a.dim() == 2:
        return b @ a
    kernel = a.flatten(1)
    return (b.flatten(1) @ kernel).reshape(b.shape[0], *a.shape[1:])


def _take(module: nn.Module, whole: Mapping[str, torch.Tensor], path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Layers that were trained whole; (their names, notes on those of another size)."""
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    prefix = f"{getattr(module, 'base_model_prefix', '')}."
    names: dict[str, None] = {}
    notes = []

    for name, tensor in whole.items():
        place = next((n for n in (name, prefix + name, name.removeprefix(prefix)) if n in state), "")
        layer = name.rpartition(".")[0]
        if not place:
            notes.append(f"{layer} of the adapter has no place in the model and is left out")
        elif state[place].shape != tensor.shape:
            notes.append(f"{layer} of the adapter has {tensor.shape[0]} outputs and is left out")
        else:
            state[place].copy_(tensor)
            names[place.rpartition(".")[0]] = None

    return tuple(names), tuple(dict.fromkeys(notes))


def _number(value: Any, key: str, folder: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ModelError(f"{key} is {value!r}, expected a number", where=str(folder / CONFIG))
    return float(value)
