"""The bytes that one training step keeps for its backward pass, measured by autograd's saved-tensor hooks."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


class SavedBytes:
    """Counts, while it is entered, the bytes of the distinct storages that autograd saves for backward.

    Parameters are not counted: they exist anyway. Storages are held until `close`, so none is freed and counted twice.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._own = {p.untyped_storage().data_ptr() for p in parameters}
        self._seen: dict[int, torch.UntypedStorage] = {}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)
        self.total = 0

    def _pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._own:
            self._seen[storage.data_ptr()] = storage
        return tensor

    def __enter__(self) -> SavedBytes:
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._hooks.__exit__(*error)
        self.total = sum(s.nbytes() for s in self._seen.values())
        self._seen.clear()


def moving_bytes(module: nn.Module, optimizer_slots: int) -> int:
    """Gradients, optimizer state (`optimizer_slots` tensors per parameter: AdamW 2, SGD 1) and trainable weights."""
    moving = sum(p.numel() * p.element_size() for p in module.parameters() if p.requires_grad)
    total: int = moving * (2 + optimizer_slots)
    return total
