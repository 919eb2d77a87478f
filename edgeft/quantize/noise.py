"""How much of a network's outputs is quantization error, and which estimator of ranges leaves the least of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from .ranges import Ranges, in_pieces, reduced, set_ranges

Batches = Callable[[], Iterable[tuple[torch.Tensor, ...]]]
#: batches on which the outputs are compared
MEASURED = 8
#: what another estimator must bring the outputs to be taken in place of the first one, in dB
GAIN = 0.5


def signal_to_noise(module: nn.Module, set_mode: Callable[[str], None], batches: Batches) -> float:
    """The mean over outputs of the ratio of the float values' energy to that of the quantization error, in dB.

    `set_mode` switches the fake-quantize modules of `module`. Measured on the first batches, of all processes.
    """
    return _ratios(module, set_mode, batches, {"": lambda: None})[""]


def ratio_between(reference: nn.Module, module: nn.Module, batches: Iterable[tuple[torch.Tensor, ...]]) -> float:
    """As `signal_to_noise`, of `module` as it is against another network, over all of `batches`."""
    energies = torch.zeros(2, 0, dtype=torch.float64)
    with torch.no_grad():
        for batch in itertools.chain.from_iterable(map(in_pieces, batches)):
            energies = _added(energies, _outputs(reference(*batch)), _outputs(module(*batch)))

    return _decibels(energies)


def chosen(
    module: nn.Module, set_mode: Callable[[str], None], batches: Batches, candidates: Mapping[str, Ranges]
) -> dict[str, float]:
    """Set the ranges among `candidates` that leave the least noise in the outputs; {estimator: dB}, that one first.

    The first candidate stays unless another one is better by `GAIN`.
    """
    settings = {name: partial(set_ranges, module, ranges) for name, ranges in candidates.items()}
    ratios = _ratios(module, set_mode, batches, settings)
    first = next(iter(ratios))
    best = max(ratios, key=lambda name: ratios[name] - (0.0 if name == first else GAIN))
    set_ranges(module, candidates[best])

    return {best: ratios[best], **ratios}


def _ratios(
    module: nn.Module, set_mode: Callable[[str], None], batches: Batches, settings: Mapping[str, Callable[[], Any]]
) -> dict[str, float]:
    """{setting: dB} of the network behind each of the calls."""
    energies = {name: torch.zeros(2, 0, dtype=torch.float64) for name in settings}
    with torch.no_grad():
        first = itertools.islice(batches(), MEASURED)
        for batch in itertools.chain.from_iterable(map(in_pieces, first)):
            set_mode("off")
            reference = _outputs(module(*batch))
            set_mode("quantize")
            for name, apply in settings.items():
                apply()
                energies[name] = _added(energies[name], reference, _outputs(module(*batch)))

    return {name: _decibels(energy) for name, energy in energies.items()}


def _added(energies: torch.Tensor, reference: Sequence[torch.Tensor], values: Sequence[torch.Tensor]) -> torch.Tensor:
    """(2, outputs): the energies of signal and noise so far and of these outputs."""
    rows = [[float(a.double().pow(2).sum()), float((b - a).double().pow(2).sum())] for a, b in zip(reference, values)]
    added = torch.tensor(rows, dtype=torch.float64).T
    return added if energies.shape[1] == 0 else energies + added


def _decibels(energies: torch.Tensor) -> float:
    signal, noise = torch.from_numpy(reduced(energies.numpy(), "sum")).clamp(min=1e-30)
    return float((10 * (signal / noise).log10()).mean())


def _outputs(value: object) -> list[torch.Tensor]:
    values = value if isinstance(value, (tuple, list)) else [value]
    return [v for v in values if isinstance(v, torch.Tensor) and v.is_floating_point()]
