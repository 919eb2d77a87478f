"""The weights of a model's folder in a network of the package `transformers`: what fits, what is new, what is left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..core.errors import EdgeftError, ModelError, need
from ..core.quiet import quiet as silence
from . import hf_folder, weights
from .nets import attention

#: parts of an encoder that checkpoints of another purpose lack, or that no output of a classifier reads
_OPTIONAL = ("pooler.", "position_ids")
#: what a note says where the head is not the checkpoint's
NEW_HEAD = "a new one is trained"
#: names that a message lists
_LISTED = 3


def load(kind: Any, config: Any, folder: Path, own_classes: int = 0) -> tuple[nn.Module, tuple[str, ...]]:
    """The network of the class `kind` that `config` describes, with the folder's weights, and notes for the user.

    In eval mode and float32. A head of another size is a new one; where the checkpoint's number of classes is stated
    (`own_classes`), so is each tensor that differs by it alone, wherever it is. Raises `ModelError` that lists the
    first names which do not fit, or says why the package cannot build the network.
    """
    path = weights.find(str(folder))
    state = weights.read(path)
    with quiet("transformers cannot build the model", str(folder / hf_folder.CONFIG)):
        module, report = kind.from_pretrained(
            None,
            config=config,
            state_dict=dict(state),
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            attn_implementation=attention.register(),
            dtype=torch.float32,
        )

    network = Network(module)
    mismatched = {name: (tuple(theirs), tuple(ours)) for name, theirs, ours in report["mismatched_keys"]}
    gray = _for_gray(network, mismatched, state)
    missing, unexpected = set(report["missing_keys"]), set(report["unexpected_keys"])
    new = _of_classes(mismatched, own_classes, config.num_labels) if own_classes else set()
    inner = {name: shapes for name, shapes in mismatched.items() if name not in new}
    _refuse_misfit(network, missing, unexpected, inner, str(path))
    notes = _notes(network, missing, unexpected, inner)
    if new:
        notes = (f"the weights' own classifier has {own_classes} classes: {NEW_HEAD}", *notes)

    return module.eval(), (*state.notes, *gray, *notes)


def _of_classes(mismatched: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]], before: int, after: int) -> set[str]:
    """Tensors whose shapes (the checkpoint's, the network's) differ by the number of classes alone, with or without a
    row for "no object"."""
    return {
        name
        for name, (theirs, ours) in mismatched.items()
        if theirs[1:] == ours[1:] and theirs[0] - before == ours[0] - after and theirs[0] - before in (0, 1)
    }


def package() -> Any:
    """The package `transformers`, whose models are imported in silence: they try what they do not need, torchao's
    compiled kernels for one, and log what is missing. Raises `Missing`."""
    with silence():
        need("transformers.modeling_utils", "transformers")
    return need("transformers", "transformers")


def languages() -> dict[str, str]:
    """English names of the languages that Whisper knows, and the codes of them."""
    table = need("transformers.models.whisper.tokenization_whisper", "transformers").TO_LANGUAGE_CODE
    return {str(name): str(code) for name, code in table.items()}


@contextlib.contextmanager
def quiet(what: str, where: str) -> Iterator[None]:
    """No progress bars and warnings of the package; what it raises becomes a `ModelError` that begins with `what`."""
    package = need("transformers.utils.logging", "transformers")
    verbosity, bars = package.get_verbosity(), package.is_progress_bar_enabled()
    package.set_verbosity_error()
    package.disable_progress_bar()

    try:
        yield
    except (EdgeftError, KeyboardInterrupt):
        raise
    except Exception as error:  # the package and the code of a model raise anything
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        message = f"{what}: {type(error).__name__}: {(lines or [''])[0][:300]}"
        raise ModelError(message, where=where, remedy="look at the keys of config.json") from error
    finally:
        package.set_verbosity(verbosity)
        if bars:
            package.enable_progress_bar()


class Network:
    """A network of the package, and which of its names belong to the base model: the rest is its head."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.prefix = f"{module.base_model_prefix}."
        self.base = getattr(module, module.base_model_prefix, module)
        parts = [*self.base.named_children(), *self.base.named_parameters(recurse=False)]
        self.parts = tuple(name for name, _ in parts)

    def in_base(self, name: str) -> bool:
        """Does a name, of the network or of a checkpoint, belong to the base model?"""
        if self.base is not self.module and name.startswith(self.prefix):
            return True
        return self._of_checkpoint(name) and (self.base is self.module or name.partition(".")[0] not in self._head())

    def _of_checkpoint(self, name: str) -> bool:
        return name.removeprefix(self.prefix).partition(".")[0] in self.parts

    def _head(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.module.named_children())


def _refuse_misfit(
    network: Network,
    missing: Iterable[str],
    unexpected: Iterable[str],
    mismatched: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
    where: str,
) -> None:
    """Raise `ModelError` where the base model lacks weights, or has no place for some of the checkpoint."""
    parts = []
    for kind, names in (("missing", missing), ("unexpected", unexpected)):
        bad = sorted(n for n in names if network.in_base(n) and not any(part in n for part in _OPTIONAL))
        if bad:
            parts.append(f"{kind} {_listed(bad)}")

    shapes = sorted(name for name in mismatched if network.in_base(name))
    if shapes:
        theirs, ours = mismatched[shapes[0]]
        parts.append(f"{shapes[0]} is {theirs} where config.json makes it {ours}")

    if parts:
        raise ModelError(
            f"the checkpoint does not fit {type(network.module).__name__}: {'; '.join(parts)}",
            where=where,
            remedy="config.json and the weights are of different models: take both from one folder",
        )


def _notes(
    network: Network,
    missing: Iterable[str],
    unexpected: Iterable[str],
    mismatched: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
) -> tuple[str, ...]:
    """What is new in the head, and what of the checkpoint has no place in it."""
    notes: tuple[str, ...] = ()
    classes = [theirs[0] for name, (theirs, _) in mismatched.items() if not network.in_base(name)]
    new = sorted({name.rpartition(".")[0] for name in missing if not name.endswith("position_ids")})

    if classes:
        notes += (f"the weights' own classifier has {classes[0]} classes: {NEW_HEAD}",)
    elif new:
        notes += (f"the weights' own classifier is not in the file: {NEW_HEAD} ({_listed(new)})",)

    left = sorted({name.partition(".")[0] for name in unexpected if not network.in_base(name)})
    if left:
        notes += (f"of the checkpoint these are left out: {_listed([f'{name}.*' for name in left])}",)

    return notes


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _for_gray(
    network: Network,
    mismatched: dict[str, tuple[tuple[int, ...], tuple[int, ...]]],
    state: Mapping[str, torch.Tensor],
) -> tuple[str, ...]:
    """A first convolution for colour in a network of one channel: its weights are summed over the three colours."""
    for name, (theirs, ours) in mismatched.items():
        if len(ours) != 4 or ours[1] != 1 or theirs != (ours[0], 3, *ours[2:]):
            continue
        stored = state.get(name, state.get(name.removeprefix(network.prefix)))
        if stored is None:
            continue
        with torch.no_grad():
            network.module.get_parameter(name).copy_(stored.sum(1, keepdim=True))
        del mismatched[name]
        return (f"the weights were made for colour: {name} is summed over its three channels",)

    return ()
