"""Weights in several files, as Hugging Face writes large ones: an index says which file holds which tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import torch

from ..core import strict_json
from ..core.errors import ModelError
from .checkpoint import StateDict, broken

#: bytes of an index, and files that it may name
MAX_INDEX, MAX_SHARDS = 64 << 20, 4096


def read(index: Path, read_file: Callable[[Path], StateDict]) -> StateDict:
    """The tensors of all shards of `model.safetensors.index.json`, each read by `read_file`.

    Raises `ModelError` for an index that cannot be read, a shard that is missing or lies elsewhere, and tensors that a
    shard lacks.
    """
    map_of = _weight_map(index)
    tensors: dict[str, torch.Tensor] = {}
    notes: list[str] = []

    for shard in sorted(set(map_of.values())):
        path = index.parent / shard
        if not path.is_file():
            raise ModelError(f"the shard {shard} is missing", where=str(index), remedy="fetch all files of the folder")
        state = read_file(path)
        missing = [name for name, file in map_of.items() if file == shard and name not in state]
        if missing:
            raise ModelError(
                f"{shard} lacks {len(missing)} tensors of the index, first {missing[0]!r}",
                where=str(index),
                remedy="the shards are not those of this index: fetch the folder again",
            )
        notes += [note for note in state.notes if note not in notes]
        tensors |= {name: tensor for name, tensor in state.items() if map_of.get(name) == shard}

    return StateDict(tensors, notes)


def _weight_map(index: Path) -> Mapping[str, str]:
    """{tensor: file}; every file is a plain name, so that it lies beside the index."""
    try:
        if index.stat().st_size > MAX_INDEX:
            raise ValueError("it is too large")
        table = strict_json.loads(index.read_text(encoding="utf-8"))
        map_of = table["weight_map"] if isinstance(table, dict) else None
        if not isinstance(map_of, dict) or not map_of or not all(isinstance(file, str) for file in map_of.values()):
            raise ValueError("its weight_map is no table of file names")
    except KeyError as error:
        raise ModelError("has no weight_map", where=str(index), remedy="it is no index of shards") from error
    except (OSError, ValueError, RecursionError) as error:
        raise broken(index, error) from error

    names = set(map_of.values())
    elsewhere = [name for name in names if PurePosixPath(name).name != name or "\\" in name or name in (".", "..")]
    if elsewhere or len(names) > MAX_SHARDS:
        raise ModelError(
            f"names a file outside its folder: {elsewhere[0]!r}" if elsewhere else f"names {len(names)} files",
            where=str(index),
            remedy="the shards of an index lie beside it",
        )

    return map_of
