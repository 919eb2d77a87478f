"""How the formats of edgeft recognize their data from a `Glimpse`; each function is the `recognize` of one record.

A guess that a setting may be needed for (columns, the parts of a file's name) is in `keys` and is shown to the user.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from .glimpse import Glimpse, ending, split_of
from .rating_lines import column_names
from .record import Recognized
from .samples import split_named
from .sniff import is_number

PICTURES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jfif",
        ".png",
        ".bmp",
        ".webp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".gif",
        ".heic",
        ".heif",
        ".avif",
        ".npy",
    )
)
SOUNDS = frozenset([".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".m4a"])
#: names of columns, in the order in which they are preferred
_TEXTS = ("text", "sentence", "review", "review text", "content", "comment", "tweet", "title", "question", "body")
_LABELS = ("label", "class", "category", "sentiment", "target", "intent", "labels", "y", "rating", "stars", "score")
#: columns that a table of users and items has for another purpose
_NO_RATINGS = ("label", "class", "category", "sentiment", "target", "intent", "churn", "fraud", "is_fraud")
_JSON = (".jsonl", ".ndjson", ".json")


def npz(view: Glimpse) -> Recognized | None:
    """Arrays of pictures and class numbers."""
    if view.folder or ending(view.path) != ".npz":
        return None
    names = view.members()
    arrays = sorted(n for n in names if re.fullmatch(r"(train|val|test)_(images|labels)|[xy]_(train|val|test)", n))
    return Recognized(f"arrays {', '.join(arrays)}", 3) if len(arrays) >= 2 else None


def idx(view: Glimpse) -> Recognized | None:
    """Files of pictures and labels as MNIST names them."""
    pairs = view.named(r"(raw/)?[^/]*(train|t10k|test|val)[-_](images[-.]idx3|labels[-.]idx1)-ubyte(\.gz)?")
    return Recognized(f"{pairs[0]} is an IDX file", 3) if len(pairs) > 1 else None


def coco(view: Glimpse) -> Recognized | None:
    """A json file of images, categories and annotations."""
    files = [view.files[0]] if not view.folder else view.named(r"(annotations/.*|.*_annotations\.coco|[^/]+)\.json")
    for file in files[:20]:
        head = view.head(file) if ending(file) == ".json" else ""
        keys = [key for key in ("images", "annotations", "categories") if f'"{key}"' in head]
        if len(keys) > 1 or "_annotations.coco" in file.name or file.name.startswith("instances_"):
            return Recognized(f"{file} is a COCO file of annotations", 3)
    return None


def yolo(view: Glimpse) -> Recognized | None:
    """A data.yaml, or text files of boxes beside or opposite to pictures."""
    if not view.folder:
        names = (
            re.search(r"^\s*names\s*:", view.head(), re.MULTILINE) if ending(view.path) in (".yaml", ".yml") else None
        )
        return Recognized("a YAML file that names classes", 3) if names else None
    boxes = [file for file in view.files if ending(file) == ".txt" and _is_boxes(view, file)][:1]
    pictures = any(ending(file) in PICTURES for file in view.files)
    if boxes and pictures:
        return Recognized(f"{boxes[0]} has boxes in YOLO's form", 3)
    return None


def _is_boxes(view: Glimpse, file: PurePosixPath) -> bool:
    """Whether the first lines of a text are a class number and shares of a picture's sides."""
    if "labels" not in file.parts and not any(file.with_suffix(suffix) in view.files for suffix in PICTURES):
        return False
    lines = [line.split() for line in view.head(file).split("\n")[:3] if line.strip()]
    try:
        return bool(lines) and all(len(line) >= 5 and float(line[0]).is_integer() for line in lines)
    except ValueError:
        return False


def masks(view: Glimpse) -> Recognized | None:
    """Folders of pictures, and beside them folders of masks."""
    pairs = (
        (("images", "image"), ("labels", "masks", "mask", "annotations"), False),
        (("jpegimages",), ("segmentationclass",), True),
        (("leftimg8bit",), ("gtfine",), True),
    )
    by_part: dict[str, str] = {}
    for folder, endings in view.folders.items():
        if endings & PICTURES:
            by_part |= {part.lower(): part for part in folder.split("/") if part.lower() not in by_part}
    for images, labels, stated in pairs:
        first, second = (
            next((by_part[part] for name in names for part in by_part if part == name or _of_kind(part, name)), "")
            for names in (images, labels)
        )
        if first and second:
            keys = {"masks": {"images": first, "labels": second}} if stated else {}
            return Recognized(f"pictures in {first}/ and masks in {second}/", 3, keys)
    return None


def _of_kind(part: str, name: str) -> bool:
    """Whether a folder is a variant of SegmentationClass (SegmentationClassAug, SegmentationClassContext)."""
    return name == "segmentationclass" and part.startswith(name)


def image_folder(view: Glimpse) -> Recognized | None:
    """A folder of pictures for each class."""
    classes = _class_folders(view, PICTURES)
    return Recognized(f"pictures in folders: {_listed(classes)}", 2) if len(classes) > 1 else None


def wav_folder(view: Glimpse) -> Recognized | None:
    """Sounds with transcripts, in folders of classes, or with the class in the file's name."""
    sounds = [file for file in view.files if ending(file) in SOUNDS]
    if not sounds:
        return None
    tables = view.named(r"(.*/)?(metadata|transcripts|validated|train|test|dev)\.(csv|tsv|jsonl)")
    tables += view.named(r"(.*/)?(.*\.trans\.txt|wav\.scp|.*manifest.*\.jsonl?)")
    texts = [sound for sound in sounds[:50] if sound.with_suffix(".txt") in view.files]
    if tables or texts:
        return Recognized(f"sounds with transcripts in {[*tables, *texts][0]}", 3, {"units": "characters"})

    classes = _class_folders(view, SOUNDS)
    if len(classes) > 1:
        return Recognized(f"sounds in folders: {_listed(classes)}", 2)
    pattern = _pattern([sound.stem for sound in sounds])
    if pattern:
        return Recognized(f"sounds called like {sounds[0].name}", 1, {"pattern": pattern})
    return None


def _pattern(stems: Sequence[str]) -> str:
    """The parts of file names that "_" or "-" divides: the first is taken for the class where it repeats."""
    for mark in ("_", "-"):
        parts = [stem.split(mark) for stem in stems]
        widths = {len(part) for part in parts}
        if len(widths) == 1 and 2 <= min(widths) <= 4:
            counts = Counter(part[0] for part in parts)
            if 2 <= len(counts) <= len(stems) // 2:
                names = ("{label}", "{speaker}", "{take}", "{part}") if min(widths) > 2 else ("{label}", "{take}")
                return mark.join(names[: min(widths)])
    return ""


def ratings(view: Glimpse) -> Recognized | None:
    """Lines of user, item, rating and time."""
    named = view.named(r"(ratings?\.(csv|tsv|dat)|u\.data)" + ("" if view.folder else r"|u[1-5ab]\.base"))
    if view.folder:
        return Recognized(f"{named[0]}", 3) if named else None
    if named or "::" in view.head()[:200]:
        return Recognized("named or written as MovieLens does", 3)
    objects = objects_of(view, view.files[0])
    header = list(objects[0]) if objects else (view.rows() or [[]])[0]
    names, lowered = column_names(header), [name.strip().lower() for name in header]
    if "user" not in names or "item" not in names or _first((*_TEXTS, *_NO_RATINGS), lowered):
        return None
    return Recognized(f"columns {names['user'].strip()!r} and {names['item'].strip()!r}", 3)


def csv(view: Glimpse) -> Recognized | None:
    """A table with a column of texts and one of classes."""
    for file in tables_of(view):
        if ending(file) not in (".csv", ".tsv"):
            continue
        rows = view.rows(file)
        columns = _columns(view, rows[0], rows[1:]) if len(rows) > 1 else None
        if columns and (sign := _headerless(rows, columns)):
            return sign
        if columns:
            return _text_table(columns)
    return None


def _headerless(rows: Sequence[Sequence[str]], columns: tuple[str, str]) -> Recognized | None:
    """A table of texts whose first line is a record: its "name" of the classes is one of them, and it has a text."""
    names = [name.strip() for name in rows[0]]
    text, label = (names.index(name) for name in columns)
    full = [row for row in rows[1:] if len(row) == len(names)]
    words = sum(len(row[text].split()) for row in full) / len(full)
    if names[label] not in {row[label].strip() for row in full} or len(names[text].split()) < max(2.0, words / 4):
        return None
    keys = {"text": (str(text),), "label": str(label), "header": "no"}
    return Recognized(f"texts in column {text} and classes in column {label}, without a header", 1, keys)


def objects_of(view: Glimpse, file: PurePosixPath, most: int = 20) -> list[Mapping[str, Any]]:
    """The first objects of a file that holds several: one a line, or one array of them."""
    objects = view.objects(file, most) if ending(file) in _JSON else []
    return objects if len(objects) > 1 or ending(file) != ".json" else []


def _written(value: object) -> str:
    """A value of JSON as a table would have it; nothing for none."""
    return "" if value is None else str(value)


def jsonl(view: Glimpse) -> Recognized | None:
    """Objects with a text and a class, one a line."""
    for file in tables_of(view):
        objects = objects_of(view, file, most=50)
        plain = [name for name in (objects[0] if objects else ()) if not isinstance(objects[0][name], (dict, list))]
        if "translation" in (objects[0] if objects else ()):
            continue
        columns = _columns(view, plain, [[_written(row.get(name)) for name in plain] for row in objects])
        if columns:
            return _text_table(columns)
    return None


def conll(view: Glimpse) -> Recognized | None:
    """Lines of a word and a tag, and a blank line behind a sentence."""
    universal = [file for file in view.files if len(file.parts) == 1 and ending(file) == ".conllu"]
    if universal:
        return Recognized(f"{universal[0]} is a file of Universal Dependencies", 3)

    for file in view.files:
        if len(file.parts) > 1 or ending(file) in (".csv", ".jsonl", ".ndjson", ".json", ".html", ".md"):
            continue
        lines = view.head(file).split("\n")[:200]
        rows = [re.split(r"\t| +", line.rstrip()) for line in lines if line.strip() and not line.startswith("#")]
        tags = [row[-1] for row in rows if len(row) > 1]
        entities = [tag for tag in tags if _ENTITY.fullmatch(tag)]
        if len(tags) >= 3 and entities and all(tag == "O" or _ENTITY.fullmatch(tag) for tag in tags[:-1]):
            return Recognized(f"lines of a word and a tag such as {entities[0]} in {file}", 3)

        # tags without prefixes (parts of speech) are known by the file's ending and by lines between sentences
        several = any(not line.strip() for line in lines[:-1])
        if ending(file) in _TAGGED and several and len(tags) >= 3 and len({len(row) for row in rows[:-1]}) == 1:
            return Recognized(f"lines of a word and a tag such as {tags[0]} in {file}", 2)
    return None


_ENTITY = re.compile(r"[BIESLU]-\S+")
_TAGGED = (".conll", ".iob", ".iob2", ".bio", ".ner")


def tokens(view: Glimpse) -> Recognized | None:
    """Objects with a list of words and a list of as many tags, one a line."""
    for file in tables_of(view):
        objects = objects_of(view, file)
        for words in ("tokens", "words"):
            for tags in ("ner_tags", "tags", "ner", "labels"):
                first, second = (objects[0].get(name) if objects else None for name in (words, tags))
                if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
                    return Recognized(f"lists {words!r} and {tags!r}", 3)
    return None


#: how the columns of queries and of passages may be called
PAIR_COLUMNS = {
    "query": ("query", "anchor", "question", "sentence1"),
    "passage": ("passage", "positive", "pos", "document", "answer", "sentence2"),
}


def text_pairs(view: Glimpse) -> Recognized | None:
    """A table with a column of queries and one of passages."""
    for file in tables_of(view):
        objects = objects_of(view, file)
        names = list(objects[0]) if objects else [name.strip() for name in (view.rows(file) or [[]])[0]]
        query, passage = (_first(usual, names) for usual in PAIR_COLUMNS.values())
        labelled = any(name in names for name in ("label", "score", "gold_label"))
        if query and passage and not labelled:
            return Recognized(f"columns {query!r} and {passage!r}", 3)
    return None


def parquet(view: Glimpse) -> Recognized | None:
    """A Parquet file, whose columns its reader looks up."""
    files = [file for file in view.files if len(file.parts) == 1 and ending(file) == ".parquet"]
    return Recognized(f"{files[0]} is a Parquet file", 2) if files else None


def text_folder(view: Glimpse) -> Recognized | None:
    """A folder of text files for each class."""
    classes = _class_folders(view, frozenset((".txt", ".text")))
    others = any(ending(file) in PICTURES | SOUNDS for file in view.files)
    return Recognized(f"texts in folders: {_listed(classes)}", 2) if len(classes) > 1 and not others else None


def _text_table(columns: tuple[str, str]) -> Recognized:
    text, label = columns
    keys = {**({"text": (text,)} if text != "text" else {}), **({"label": label} if label != "label" else {})}
    certainty = (2 if keys else 3) if text.lower() in _TEXTS else 1
    return Recognized(f"columns {text!r} and {label!r}", certainty, keys)


def _columns(view: Glimpse, header: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[str, str] | None:
    """(column of texts, column of classes): by their usual names, else the longest texts and what repeats most."""
    names = [name.strip() for name in header]
    full = [row for row in rows if len(row) == len(names)]
    lowered = [name.lower() for name in names]
    stated = view.label.lower() if view.label in names else ""
    others = [name for name in lowered if name != stated]
    if not full or not others or len(set(lowered)) < len(lowered) or (view.label and view.label not in names):
        return None

    length = [sum(len(row[k]) for row in full) / len(full) for k in range(len(names))]
    text = _first(_TEXTS, others) or max(others, key=lambda name: length[lowered.index(name)])
    classes = [name for k, name in enumerate(lowered) if name != text and not _is_measure([row[k] for row in full])]
    label = stated or _first(_LABELS, classes) or _repeating(lowered, full, text)
    texts = [row[lowered.index(text)] for row in full]
    if length[lowered.index(text)] < 3 or not label or not _are_texts(texts, text in _TEXTS):
        return None
    return names[lowered.index(text)], names[lowered.index(label)]


def _are_texts(values: Sequence[str], called_so: bool) -> bool:
    """Whether fields are words and no numbers or names of files; sentences, where the column is not called a text."""
    kinds = tuple(PICTURES | SOUNDS)
    if all(is_number(value) or value.strip().lower().endswith(kinds) for value in values):
        return False
    blanks = sum(value.isascii() and " " not in value.strip() for value in values)
    return called_so or blanks * 2 < len(values)


def _is_measure(values: Sequence[str]) -> bool:
    """Whether a column holds numbers with fractions, of which many differ: a score that is measured, no classes."""
    filled = [value for value in values if value.strip()]
    if not filled or not all(map(is_number, filled)) or len(set(filled)) <= _MOST_GRADES:
        return False
    return any(not float(value).is_integer() for value in filled)


#: grades with fractions that a column of classes may have (stars of 0.5 to 5.0)
_MOST_GRADES = 11


def _repeating(names: Sequence[str], rows: Sequence[Sequence[str]], text: str) -> str:
    """The column beside the texts that has fewest different values, where they repeat, or ""."""
    distinct = {name: len({row[k] for row in rows}) for k, name in enumerate(names) if name != text}
    fitting = {name: count for name, count in distinct.items() if 2 <= count <= min(20, len(rows) // 2)}
    return min(fitting, key=lambda name: fitting[name], default="")


def tables_of(view: Glimpse) -> list[PurePosixPath]:
    """The tables of a folder, those that are called like a split first; or the file itself."""
    kinds = (".csv", ".tsv", *_JSON)
    files = [file for file in view.files if len(file.parts) == 1 and ending(file) in kinds]
    return sorted(files, key=lambda file: (split_of(file) != "train", not split_of(file), str(file)))


def _class_folders(view: Glimpse, kinds: frozenset[str]) -> list[str]:
    """The names of folders that hold files of these kinds and are no splits."""
    names = [folder.rsplit("/", 1)[-1] for folder, endings in view.folders.items() if folder and endings & kinds]
    return sorted({name for name in names if not split_named(name) and not _NO_CLASS.fullmatch(name.lower())})


#: folders of all samples of a kind or of a split, which are no classes
_NO_CLASS = re.compile(
    r"jpegimages|segmentation(class|object)\w*|gtfine|leftimg8bit"
    r"|((stage\d*|all)[-_])?(train|test|val|valid|dev)[-_]?(images?|imgs?|jpe?g|png|pics|pictures|audio|wavs?|clips|data|set)"
)


def _first(names: Iterable[str], present: Sequence[str]) -> str:
    return next((name for name in names if name in present), "")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
