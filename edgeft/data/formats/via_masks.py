"""Masks from an export of VIA: the shapes of each picture, drawn over `background` (`outline_entries.py`)."""

from __future__ import annotations

from ...config import recipe
from .. import outline_entries, recognize_tools
from ..pictures import KEYS
from ..record import Format
from ..samples import Dataset
from . import via


def open(spec: recipe.Data) -> Dataset:
    """What `via.read` reads; labels are the background and the classes of the shapes.

    Raises as `via.open`, and `Missing` without pycocotools.
    """
    entries, finders, labels, name, notes, _ = via.read(spec)
    return outline_entries.opened(entries, finders, labels, spec, name, notes)


FORMAT = Format(
    name="via-masks",
    description="Pictures with polygons and other shapes in a JSON or CSV export of VIA, drawn as masks.",
    open=open,
    keys=KEYS,
    recognize=recognize_tools.via_masks,
)
