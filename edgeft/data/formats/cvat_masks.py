"""Masks from CVAT's XML: the shapes of each picture, drawn over `background` (`outline_entries.py`)."""

from __future__ import annotations

from ...config import recipe
from .. import outline_entries, recognize_tools
from ..pictures import KEYS
from ..record import Format
from ..samples import Dataset
from . import cvat


def open(spec: recipe.Data) -> Dataset:
    """What `cvat.read` reads; labels are the background and the classes of the shapes.

    Raises as `cvat.open`, and `Missing` without pycocotools.
    """
    entries, finders, labels, name, notes, _ = cvat.read(spec)
    return outline_entries.opened(entries, finders, labels, spec, name, notes)


FORMAT = Format(
    name="cvat-masks",
    description="Pictures with polygons, brushed masks and boxes in an annotations.xml of CVAT, drawn as masks.",
    open=open,
    keys=KEYS,
    recognize=recognize_tools.cvat_masks,
)
