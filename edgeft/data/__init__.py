"""Data: one file a format. A format opens to a `Dataset` of lazy splits; numpy, and pillow where images are decoded.

    image_folder.py   train/ val/ test/ with one folder a class, or class folders alone
    npz.py            one .npz file with images and labels
    embedded.py       data that comes with an installed package
    trajectories.py   recorded control: an .npz of episodes, or a Donkeycar tub
    wav_folder.py     train/ val/ test/ of sounds by class folder or by file name
    transcripts.py    the same with transcripts instead of classes
    similar.py        near duplicates of pictures; similar_sounds.py those of sounds
    folders.py        what formats of files in class folders share
    ratings.py        who rated what and when: MovieLens' ratings.csv or u.data (rows are made by interactions.py)
    yolo.py, coco.py  pictures with boxes: YOLO's text files, COCO's json (boxes.py has what both share)
    table.py          texts with a class: csv (or tab-separated) and JSON lines

`open(spec)` finds the format, `checks.py` says whether the data can be trusted.
"""

from __future__ import annotations

import importlib

from ..config import recipe
from ..core.errors import RecipeError, nearest
from .again import source
from .checks import calibration_indices, check, fingerprint, overlap, require_disjoint
from .samples import WHOLE, Dataset, Split

__all__ = [
    "FORMATS",
    "WHOLE",
    "Dataset",
    "Split",
    "calibration_indices",
    "check",
    "fingerprint",
    "open",
    "overlap",
    "require_disjoint",
    "source",
]

#: format name in a recipe -> module of this package
FORMATS = {
    "image-folder": "image_folder",
    "npz": "npz",
    "embedded": "embedded",
    "trajectories": "trajectories",
    "wav-folder": "wav_folder",
    "ratings": "ratings",
    "csv": "table",
    "jsonl": "table",
    "yolo": "yolo",
    "coco": "coco",
    "masks": "masks",
    "pairs": "pairs",
}


def open(spec: recipe.Data) -> Dataset:
    """The data set that `spec` names.

    Raises `RecipeError` for an unknown format (with the nearest one), `DataError` for data that is absent or cannot
    be used, and `Missing` where a package is needed that is not installed.
    """
    if spec.format not in FORMATS:
        raise RecipeError(f"unknown format {spec.format!r}", where="data.format", remedy=nearest(spec.format, FORMATS))
    return importlib.import_module(f".{FORMATS[spec.format]}", __package__).open(spec)
