"""How the formats of labelling tools and of Hugging Face's `datasets` recognize their files: see `recognize.py`."""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath
from typing import Any

from ..core import strict_json
from . import recognize
from .glimpse import Glimpse, ending
from .record import Recognized

#: columns of words with a tag each, which the format `tokens` reads
_OF_WORDS = {"ner_tags", "tokens"}
#: files of a kind that are looked into
_OPENED = 20
#: by the kind of a column in `datasets`: what the hub calls the task of its rows
_TAGS = {"Translation": "translation", "Image": "image-classification", "Audio": "audio-classification"}


def voc(view: Glimpse) -> Recognized | None:
    """An XML file of boxes beside each picture."""
    if not view.folder:
        return None
    for file in view.named(r".*\.xml")[:_OPENED]:
        if "<annotation>" in view.head(file):
            return Recognized(f"{file} is an annotation of Pascal VOC", 3)
    return None


def cvat(view: Glimpse) -> Recognized | None:
    """One XML file of all pictures."""
    files = view.named(r"annotations\.xml") if view.folder else view.named(r".*\.xml")
    for file in files:
        head = view.head(file)
        if "<annotations>" in head and any(part in head for part in ("<image ", "<track ", "<meta>")):
            return Recognized(f"{file} is an export of CVAT", 3)
    return None


def via(view: Glimpse) -> Recognized | None:
    """A project or export with attributes of shapes and regions."""
    for file in _single(view, (".json", ".csv")):
        head = view.head(file)
        if all(part in head for part in ("shape_attributes", "region_attributes")) or '"_via_settings"' in head:
            return Recognized(f"{file} is an export of VIA", 3)
    return None


def label_studio(view: Glimpse) -> Recognized | None:
    """A list of tasks with results, or with rectangles beside the picture."""
    for file in _single(view, (".json",)):
        head = view.head(file)
        listed = head.lstrip().startswith("[")
        full = '"result"' in head and any(f'"{key}"' in head for key in ("annotations", "completions"))
        if listed and (full or '"rectanglelabels"' in head):
            brushed = '"brushlabels"' in head and '"rectanglelabels"' not in head
            return Recognized(f"{file} is an export of Label Studio", 2 if brushed else 3)
    return None


def createml(view: Glimpse) -> Recognized | None:
    """A list of pictures with the middles of boxes."""
    for file in view.named(r"([^/]+/)?[^/]+\.json")[:_OPENED]:
        head = view.head(file)
        if head.lstrip().startswith("[") and '"coordinates"' in head and re.search(r'"image(filename)?"\s*:', head):
            return Recognized(f"{file} is a list of CreateML", 3)
    return None


def box_lines(view: Glimpse) -> Recognized | None:
    """Lines of a picture and its boxes."""
    line = re.compile(r"\S.*\.\w{3,4}(\s+-?[\d.]+(,-?[\d.]+){3},\d+)+\s*")
    for file in view.named(r"([^/]+/)?[^/]+\.txt")[:_OPENED]:
        lines = [text for text in view.head(file).split("\n")[:20] if "," in text]
        if lines and all(line.fullmatch(text) for text in lines):
            return Recognized(f"{file} has lines of a picture and its boxes", 3)
    return None


def cvat_masks(view: Glimpse) -> Recognized | None:
    """CVAT's file with polygons or brushed masks: boxes of the same file are the likelier wish."""
    return _drawn(view, cvat(view), (".xml",), ("<polygon ", "<mask "))


def via_masks(view: Glimpse) -> Recognized | None:
    """VIA's file with polygons."""
    return _drawn(view, via(view), (".json", ".csv"), ("all_points_x",))


def label_studio_masks(view: Glimpse) -> Recognized | None:
    """Label Studio's file with polygons or brushes; of brushes alone masks are the likelier wish."""
    boxes = label_studio(view)
    drawn = _drawn(view, boxes, (".json",), ('"polygonlabels"', '"brushlabels"'))
    if drawn is None or boxes is None or boxes.certainty > 2:
        return drawn
    return Recognized(f"{boxes.why} with brushes", 3)


def _drawn(
    view: Glimpse, boxes: Recognized | None, kinds: tuple[str, ...], signs: tuple[str, ...]
) -> Recognized | None:
    if boxes is None:
        return None
    files = [file for file in view.files if len(file.parts) == 1 and ending(file) in kinds][:_OPENED]
    drawn = any(sign in view.head(file) for file in files for sign in signs)
    return Recognized(f"{boxes.why} with polygons", 2) if drawn else None


def coco_masks(view: Glimpse) -> Recognized | None:
    """A COCO file whose objects have outlines: boxes of the same file are the likelier wish."""
    boxes = recognize.coco(view)
    if boxes is None:
        return None
    files = [view.files[0]] if not view.folder else view.named(r"(.*/)?[^/]+\.json")
    drawn = re.compile(r'"segmentation"\s*:\s*(\[\s*\[|\{)')
    outlined = any(drawn.search(view.head(file)) for file in files[:_OPENED])
    return Recognized(f"{boxes.why} with outlines", 2) if outlined else None


def yolo_masks(view: Glimpse) -> Recognized | None:
    """Text files whose lines are outlines: boxes around them are the likelier wish."""
    boxes = recognize.yolo(view)
    if boxes is None or not view.folder:
        return None
    for file in [file for file in view.files if ending(file) == ".txt" and "labels" in file.parts][:_OPENED]:
        widths = {len(line.split()) for line in view.head(file).split("\n")[:10] if line.strip()}
        if widths and min(widths) >= 7 and all(width % 2 for width in widths):
            return Recognized(f"{file} has outlines in YOLO's form", 2)
    return None


def labelme(view: Glimpse) -> Recognized | None:
    """JSON files with shapes of points, one beside each picture."""
    if not view.folder:
        return None
    for file in view.named(r"(.*/)?[^/]+\.json")[:_OPENED]:
        if all(f'"{key}"' in view.head(file) for key in ("shapes", "imagePath")):
            return Recognized(f"{file} is a file of labelme", 3)
    return None


def labelme_masks(view: Glimpse) -> Recognized | None:
    """Files of labelme with polygons."""
    boxes = labelme(view)
    files = view.named(r"(.*/)?[^/]+\.json")[:_OPENED] if boxes else []
    drawn = any('"polygon"' in view.head(file) for file in files)
    return Recognized(f"{boxes.why} with polygons", 2) if boxes and drawn else None


def kitti(view: Glimpse) -> Recognized | None:
    """Text files of fifteen fields a line in label_2/ or labels/."""
    for file in view.named(r"(.*/)?(label_2|labels?)/[^/]+\.txt")[:_OPENED]:
        lines = [line.split() for line in view.head(file).split("\n") if line.strip()]
        if lines and all(len(words) in (15, 16) and not words[0][:1].isdigit() for words in lines[:5]):
            return Recognized(f"{file} has boxes in KITTI's form", 3)
    return None


def _single(view: Glimpse, kinds: tuple[str, ...]) -> list[PurePosixPath]:
    """The file itself, or the only one of its kind at the top of a folder."""
    files = [file for file in view.files if len(file.parts) == 1 and ending(file) in kinds]
    return files if len(files) == 1 else []


def hf(view: Glimpse) -> Recognized | None:
    """What `save_to_disk` writes, or Parquet files that the hub's tools named."""
    file, features = _datasets(view)
    if file is None or set(features) & _OF_WORDS:
        return None
    why, kinds = f"{file}, written by the package datasets", set(features.values())
    if "Audio" in kinds and "ClassLabel" not in kinds:
        return Recognized(why, 3, {"units": "characters"}, hub_tag="automatic-speech-recognition")
    tag = next((_TAGS[kind] for kind in _TAGS if kind in kinds), "text-classification" if kinds else "")
    return Recognized(why, 3, hub_tag=tag)


def hf_tokens(view: Glimpse) -> Recognized | None:
    """The same with a column of words and one of their tags."""
    file, features = _datasets(view)
    if file is None or not set(features) & _OF_WORDS:
        return None
    return Recognized(f"{file}, written by the package datasets, with words and their tags", 3)


def _datasets(view: Glimpse) -> tuple[PurePosixPath | None, dict[str, str]]:
    """The file by which a folder of `datasets` is known, None for another one, and {column: its kind}."""
    saved = view.named(r"dataset_dict\.json") or (
        view.named(r"state\.json") if view.named(r"dataset_info\.json") else []
    )
    shards = view.named(r"(.*/)?[a-z]+-\d{5}-of-\d{5}(-[0-9a-f]+)?\.parquet") if view.folder else []
    if not view.folder or not (saved or shards):
        return None, {}
    return (saved or shards)[0], _features(view, shards)


def _features(view: Glimpse, shards: list[PurePosixPath]) -> dict[str, str]:
    """{column: its kind}: of dataset_info.json, or of what `datasets` leaves in the footer of a Parquet file."""
    for file in view.named(r"(.*/)?dataset_info\.json"):
        try:
            return _kinds(strict_json.loads(view.head(file)).get("features"))
        except (ValueError, AttributeError, RecursionError):
            continue

    for file in shards[:1]:
        _, begins, rest = view.tail(file).partition('{"info"')
        try:
            table, _ = json.JSONDecoder().raw_decode(begins + rest)
            return _kinds(table["info"]["features"])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue

    return {}


def _kinds(features: Any) -> dict[str, str]:
    entries = features.items() if isinstance(features, dict) else []
    return {str(name): str(entry.get("_type")) for name, entry in entries if isinstance(entry, dict)}
