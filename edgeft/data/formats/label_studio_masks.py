"""Masks from Label Studio's exports: the shapes of each picture, drawn over `background` (`outline_entries.py`)."""

from __future__ import annotations

from ...config import recipe
from .. import outline_entries, recognize_tools
from ..pictures import KEYS
from ..record import Format
from ..samples import Dataset
from . import label_studio


def open(spec: recipe.Data) -> Dataset:
    """What `label_studio.read` reads; labels are the background and the classes of the shapes.

    Raises as `label_studio.open`, and `Missing` without pycocotools.
    """
    entries, finders, labels, name, notes, _ = label_studio.read(spec)
    return outline_entries.opened(entries, finders, labels, spec, name, notes)


FORMAT = Format(
    name="label-studio-masks",
    description="Pictures with polygons and other shapes in a JSON or JSON-MIN export of Label Studio, drawn as masks.",
    open=open,
    keys=KEYS,
    recognize=recognize_tools.label_studio_masks,
)
