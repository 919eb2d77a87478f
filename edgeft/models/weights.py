"""Weights from local files, without running anything in them: .safetensors, .pth/.pt/.th/.bin state dicts, .npz.

A pickle is only ever read by `torch.load(weights_only=True)`, which knows tensors and plain containers. Of a folder its
safetensors are preferred; shards are read by their index. Names that are no path are in `named.py`.
"""

from __future__ import annotations

import difflib
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from ..config import recipe
from ..core import npz, strict_json
from ..core.errors import BundleError, ModelError
from . import checkpoint, folder, named, sharded

#: what the arrays of an .npz may take together, unpacked
_MOST_BYTES = 64 << 30
SUFFIXES = (".safetensors", ".pth", ".pt", ".th", ".bin", ".ckpt", ".tar", ".npz")
#: what a repository of the hub is called
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WRAPPERS = ("module.", "_orig_mod.")
#: first components of names that may stand before those of a module: `model.net.module.`
_DEEPEST = 4


def find(weights: str) -> Path:
    """The file of weights that a path, a folder or an installed package ("pip:name") holds; of shards their index.

    Raises `ModelError` where there is none or several, and what `named.locate` raises.
    """
    if named.prefix_of(weights):
        located = named.locate(recipe.Model(weights=weights), False)
        assert located is not None
        return find(str(located.path))

    path = Path(weights)
    if path.is_dir():
        return _in_folder(path)

    if not path.is_file():
        hub = f'; of the hub it is "hub:{weights}"' if _REPOSITORY.fullmatch(weights) else ""
        raise ModelError("no such weights file", where=weights, remedy=f"check model.weights{hub}")

    return path


def _in_folder(path: Path) -> Path:
    candidates = folder.weights_among(entry.name for entry in path.iterdir() if entry.is_file())
    if not candidates:
        raise ModelError(
            "holds no weights",
            where=str(path),
            remedy=f"readable: {', '.join(folder.SUFFIXES)}; or name the file itself",
        )

    if len(candidates) > 1:
        raise ModelError(
            f"holds several files of weights: {', '.join(candidates[:5])}",
            where=str(path),
            remedy=f"name the file: {path / candidates[0]}",
        )

    return path / candidates[0]


def read(path: Path) -> checkpoint.StateDict:
    """The tensors of a weights file on the CPU, by name without `module.`; runs no code. Raises `ModelError`.

    Of an index (`model.safetensors.index.json`) those of all its shards.
    """
    state = sharded.read(path, _tensors) if path.name.endswith(folder.INDEX) else _tensors(path)
    notes = state.notes
    averaged = checkpoint.averaged(state)
    if averaged:
        notes += ("the checkpoint has a moving average of the weights (EMA) beside them: it is taken",)

    return checkpoint.StateDict({_unwrapped(name): tensor for name, tensor in (averaged or state).items()}, notes)


def _tensors(path: Path) -> checkpoint.StateDict:
    """The tensors of one file by their names in it."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ModelError(
            f"cannot read weights from {suffix or 'a file without a suffix'}",
            where=str(path),
            remedy=f"readable: {', '.join(SUFFIXES)}",
        )

    checkpoint.refuse_other_files(path)
    if suffix == ".safetensors":
        return checkpoint.StateDict(_read_safetensors(path))
    if suffix == ".npz":
        return checkpoint.StateDict(_read_npz(path))

    return checkpoint.StateDict(*checkpoint.read(path))


def _unwrapped(name: str) -> str:
    while name.startswith(_WRAPPERS):
        name = name.split(".", 1)[1]
    return name


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
        return tensors
    except (SafetensorError, OSError, ValueError) as error:
        raise checkpoint.broken(path, error) from error


def _read_npz(path: Path) -> dict[str, torch.Tensor]:
    try:
        return {name: torch.from_numpy(values) for name, values in npz.read(path, limit=_MOST_BYTES).items()}
    except BundleError as error:
        raise checkpoint.broken(path, ValueError(error.message)) from error
    except TypeError as error:  # torch has no tensor for some types of numpy
        raise checkpoint.broken(path, error) from error


def load(module: nn.Module, state: Mapping[str, torch.Tensor], head: str, where: str) -> tuple[str, ...]:
    """Load `state` into `module`, all of it or nothing; returns notes.

    Only the classifier `head` may differ: where its size is another, or it is absent, the fresh one stays and a note
    says so. Counters that BatchNorm does not need may be absent. Raises `ModelError` that lists the first names which
    do not fit.
    """
    expected_state = module.state_dict()
    read_notes = state.notes if isinstance(state, checkpoint.StateDict) else ()
    state, root_notes = _same_root(state, expected_state, head)
    mine = {name for name in expected_state if name == head or name.startswith(f"{head}.")}
    notes: tuple[str, ...] = (*read_notes, *root_notes)
    fits = all(name in state and state[name].shape == expected_state[name].shape for name in mine)

    if not fits:
        theirs = [tuple(state[name].shape) for name in sorted(mine) if name in state and state[name].dim() > 1]
        what = f"has {theirs[0][0]} classes" if theirs else "is not in the file"
        notes += (f"the weights' own classifier {what}: a new one is trained",)
        state = {name: tensor for name, tensor in state.items() if name not in mine}

    state, gray = _for_other_channels(state, expected_state)
    notes += gray
    needed = set(expected_state) if fits else set(expected_state) - mine
    missing = [n for n in expected_state if n in needed and n not in state and not n.endswith("num_batches_tracked")]
    unexpected = [n for n in state if n not in expected_state]
    shapes = [n for n in state if n in expected_state and state[n].shape != expected_state[n].shape]
    if missing or unexpected or shapes:
        raise _misfit(type(module).__name__, missing, unexpected, shapes, state, expected_state, where)

    bad = [n for n, t in state.items() if t.is_floating_point() and not bool(torch.isfinite(t).all())]
    if bad:
        raise ModelError(f"the weights hold values that are not finite, first in {bad[0]!r}", where=where)

    module.load_state_dict(_of_this_version(state, module), strict=False)
    return notes


def _of_this_version(state: Mapping[str, torch.Tensor], module: nn.Module) -> Mapping[str, torch.Tensor]:
    """The tensors with the versions of the module's layers: files of tensors alone have none, and some layers
    (torchvision's MNASNet) refuse what has none. That names and shapes fit is checked already."""
    versioned = OrderedDict(state)
    versioned._metadata = getattr(module.state_dict(), "_metadata", {})  # type: ignore[attr-defined]
    return versioned


def _for_other_channels(
    state: Mapping[str, torch.Tensor], expected_state: Mapping[str, torch.Tensor]
) -> tuple[Mapping[str, torch.Tensor], tuple[str, ...]]:
    """Weights made for colour, in a net built for other channels: the first layer's are summed over the three.

    For one channel that is what the colour net computes from a picture with three equal channels (given one mean and
    std for all of them), without filters whose colour weights cancel: those become noise when each weight is rounded.
    Of a stack of gray frames each has an equal share of the sum, so that a scene at rest gives what one frame of it
    would.
    """
    first = next((name for name, tensor in expected_state.items() if tensor.dim() == 4), "")
    if (
        first not in state
        or expected_state[first].shape[1] == 3
        or tuple(state[first].shape) != _with_channels(expected_state[first], 3)
    ):
        return state, ()

    count = expected_state[first].shape[1]
    summed = {**state, first: state[first].sum(1, keepdim=True).repeat(1, count, 1, 1) / count}
    divided = f" and divided among {count}" if count > 1 else ""
    return summed, (f"the weights were made for colour: {first} is summed over its three channels{divided}",)


def _with_channels(weight: torch.Tensor, channels: int) -> tuple[int, ...]:
    return weight.shape[0], channels, *weight.shape[2:]


def _same_root(
    state: Mapping[str, torch.Tensor], expected_state: Mapping[str, torch.Tensor], head: str
) -> tuple[Mapping[str, torch.Tensor], tuple[str, ...]]:
    """The entries below one root (`model.`, `net.backbone.`) without it, where the names only fit so.

    What stands beside that root (a loss, a metric, a teacher) is left out with a note, if the root has all that the
    module needs but the classifier.
    """
    needed = {n for n in expected_state if not n.startswith(f"{head}.") and not n.endswith("num_batches_tracked")}
    root, stripped = _rooted(state, expected_state, needed, _DEEPEST) or ("", state)
    others = [name for name in state if root and not name.startswith(f"{root}.")]
    if not others:
        return stripped, ()

    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return stripped, (f"of the checkpoint only {root}.* is taken; left out: {', '.join(others[:3])}{more}",)


def _rooted(
    state: Mapping[str, torch.Tensor], expected_state: Mapping[str, torch.Tensor], needed: set[str], depth: int
) -> tuple[str, Mapping[str, torch.Tensor]] | None:
    """The root below which names are those of the module, and its entries; None where there is none."""
    if any(name in expected_state for name in state):
        return "", state

    roots = dict.fromkeys(name.partition(".")[0] for name in state if "." in name)
    for root in roots if depth else ():
        inner = {n.partition(".")[2]: t for n, t in state.items() if n.startswith(f"{root}.")}
        below = _rooted(inner, expected_state, needed, depth - 1)
        if below is None:
            continue
        path, stripped = below
        if len(inner) == len(state) or (needed and needed <= stripped.keys()):
            return f"{root}.{path}".rstrip("."), stripped

    return None


def _model_type(config: Path) -> str:
    """What the config.json of a model of transformers calls its architecture; "" for any other file, or none."""
    try:
        table = strict_json.loads(config.read_bytes())
    except (OSError, ValueError):
        return ""

    kind = table.get("model_type") if isinstance(table, dict) else None
    return kind if isinstance(kind, str) else ""


def _misfit(
    net: str,
    missing: list[str],
    unexpected: list[str],
    shapes: list[str],
    state: Mapping[str, torch.Tensor],
    expected_state: Mapping[str, torch.Tensor],
    where: str,
) -> ModelError:
    parts = [
        f"{kind} {', '.join(names[:3])}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        for kind, names in (("missing", missing), ("unexpected", unexpected))
        if names
    ]

    if shapes:
        name = shapes[0]
        parts.append(f"{name} is {tuple(state[name].shape)} where the model has {tuple(expected_state[name].shape)}")

    remedy = "these are weights of another network: check model.name and model.args"
    if kind := _model_type(Path(where).parent / "config.json"):
        remedy = f"the folder is a {kind!r} of the package transformers: "
        remedy += 'set model.source = "transformers" and leave model.name out'
    elif missing and unexpected:
        near = difflib.get_close_matches(missing[0], unexpected, n=3, cutoff=0.0)
        remedy += f"; nearest to {missing[0]!r} in the file: {', '.join(near)}"

    return ModelError(f"the checkpoint does not fit {net}: {'; '.join(parts)}", where=where, remedy=remedy)
