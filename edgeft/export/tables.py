"""The manifest's tables of a graph's inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..backends import Tensor


def tensor_tables(
    border: Sequence[Tensor],
    names: Sequence[str],
    layout: str | None,
    steps: Mapping[str, float | list[float]] | None = None,
    reach: Mapping[str, tuple[float, float]] | None = None,
) -> list[dict[str, Any]]:
    """The manifest's entries of a graph's border: our names, the artifact's own shapes and grids, by position.

    `steps` adds the quantization step of a value that the artifact hands out as float, `reach` how many steps rounding
    alone moves it (median, 99 %).
    """
    tensor_of = {t.name: t for t in border}
    ordered = [tensor_of[name] for name in names] if set(tensor_of) == set(names) else list(border)
    return [
        {
            "name": name,
            "shape": list(t.shape),
            "dtype": t.dtype,
            "layout": layout,
            "scale": t.scale,
            "zero_point": t.zero_point,
            **({"step": steps[name]} if steps and name in steps else {}),
            **({"rounding": list(reach[name])} if reach and name in reach else {}),
        }
        for name, t in zip(names, ordered)
    ]
