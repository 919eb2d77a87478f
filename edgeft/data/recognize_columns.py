"""How formats of tables recognize columns of numbers, of pictures' names and of sentences: see `recognize.py`."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from ..core import files
from ..inputs import moments, number_text
from ..inputs.column_summary import is_missing
from ..inputs.columns import number
from .box_columns import BOX, CORNERS, FILES
from .glimpse import MOST_OF_FOLDER, Glimpse, ending
from .recognize import PICTURES, SOUNDS, objects_of, tables_of
from .record import Recognized
from .samples import split_named

_LANGUAGE = re.compile(r"[a-z]{2,3}([-_][A-Za-z]{2,4})?")
#: names of columns, in lower case
_TARGETS = (
    "label",
    "class",
    "category",
    "target",
    "species",
    "outcome",
    "diagnosis",
    "dx",
    "quality",
    "state",
    "fault",
    "failure",
    "machine failure",
    "anomaly",
    "attack",
    "activity",
    "dx",
    "breed",
    "survived",
    "churn",
    "income",
    "result",
    "y",
)
_VALUES = ("price", "value", "y", "target", "rul", "mpg", "cnt", "count", "consumption")
_NORMAL = ("normal", "ok", "good", "healthy", "inlier")
_IDS = ("index", "udi", "", "unnamed: 0", "timestamp", "date", "datetime", "time", "name")
#: classes that a column of numbers may have, and the share of rows that may differ
_MOST_CLASSES, _DISTINCT = 20, 0.5
#: words that a sentence has on average, and more of them than a name has
_WORDS, _NAME = 1.5, 6


@dataclass(frozen=True)
class _Columns:
    """The beginning of a table: its names, and the values of each column."""

    names: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    label: str = ""
    header: bool = True

    def numeric(self, at: int) -> bool:
        return self._notation(at) is not None

    def whole(self, at: int) -> bool:
        """Whether the numbers of a column are all whole; texts are none."""
        written = self._notation(at)
        return written is None or all(float(number_text.plain(t, written)).is_integer() for t in self._present(at))

    def _present(self, at: int) -> list[str]:
        return [text for text in self.values[at] if not is_missing(text)]

    def _notation(self, at: int) -> dict[str, str] | None:
        return number_text.notation(self._present(at))

    def moment(self, at: int) -> bool:
        """Whether a column holds dates or times."""
        return not self.numeric(at) and moments.order_of(self._present(at)) is not None

    def words(self, at: int) -> float:
        """Words of a field on average."""
        return sum(len(text.split()) for text in self.values[at]) / max(1, len(self.values[at]))

    def distinct(self, at: int) -> int:
        return len({text.strip() for text in self.values[at]})


def _columns(view: Glimpse, file: PurePosixPath) -> _Columns | None:
    """The columns of a delimited text: its first line names them, or is a row as the others; None for another file."""
    rows = view.rows(file, most=200) if ending(file) in (".csv", ".tsv", ".data") else []
    names = tuple(name.strip() for name in rows[0]) if rows else ()
    full = [row for row in rows[1:] if len(row) == len(names)]
    if len(names) < 2 or len(full) < 2:
        return None

    header = all(number(name) is None for name in names)
    if not header:
        # years may name columns: of a row one value at an end is a class, which other rows have too
        if not any(names[at] in {row[at].strip() for row in full} for at in (0, -1)):
            return None
        full, names = [rows[0], *full], tuple(map(str, range(len(names))))

    if len(set(names)) < len(names):
        return None
    return _Columns(names, tuple(tuple(text.strip() for text in column) for column in zip(*full)), view.label, header)


def table(view: Glimpse) -> Recognized | None:
    """Columns of numbers, and one of classes."""
    return _numbers(view, "classes")


def table_values(view: Glimpse) -> Recognized | None:
    """Columns of numbers, of which one with many values is to be predicted."""
    return _numbers(view, "values")


def table_anomaly(view: Glimpse) -> Recognized | None:
    """Columns of numbers, and one that says which rows are normal."""
    return _numbers(view, "normal")


def _numbers(view: Glimpse, kind: str) -> Recognized | None:
    unnamed = [view.files[0]] if not view.folder and ending(view.path) == ".data" else []
    for file in tables_of(view) or unnamed:
        columns = _columns(view, file)
        if columns is None:
            continue
        ids = [name for i, name in enumerate(columns.names) if name != columns.label and _is_id(columns, i)]
        inputs = [i for i, name in enumerate(columns.names) if name not in ids and not columns.moment(i)]
        if sum(map(columns.numeric, inputs)) < 2 or any(columns.words(i) > _NAME for i in range(len(columns.names))):
            return None
        at, held = _target(columns, inputs)
        counted = kind == "values" and held == "classes" and columns.numeric(at)  # grades, numbers of pieces
        if held == kind or (kind == "classes" and held == "normal") or counted:
            return _recognized(columns, at, kind, ids, guess=held != kind)
        return None

    return None


def _recognized(columns: _Columns, at: int, kind: str, ids: Sequence[str], guess: bool) -> Recognized:
    """`guess`: another format fits the same column better."""
    name = columns.names[at]
    keys: dict[str, object] = {"label": name} if name != "label" else {}
    keys |= {} if columns.header else {"header": "no"}
    options: dict[str, object] = {"ignore": tuple(ids)} if ids else {}
    if kind == "normal":
        options["normal"] = next(text for text in columns.values[at] if text.lower() in _NORMAL)

    what = {"classes": "the classes of", "values": "the numbers of", "normal": "normal rows and others by"}[kind]
    place = repr(name) if columns.header else f"column {name}, without a header"
    return Recognized(f"columns of numbers, and {what} {place}", 1 if guess else 2, keys, options=options)


def _is_id(columns: _Columns, at: int) -> bool:
    """Whether a column says which row it is: by its name, or a text that hardly any two rows share."""
    filled = [text for text in columns.values[at] if not is_missing(text)]
    if columns.moment(at):
        return False  # its reader takes the hour, the day of the week and of the year
    if _few(columns, at):
        return False

    name = columns.names[at].lower()
    called = name in _IDS or re.search(r"(^|[ _-])id$", name) is not None or columns.names[at].endswith("Id")
    different = columns.distinct(at) > _DISTINCT * len(columns.values[at]) or len(filled) < _DISTINCT * len(
        columns.values[at]
    )

    return called or (different and not columns.numeric(at) and len(columns.values[at]) > _MOST_CLASSES)


def _few(columns: _Columns, at: int) -> bool:
    count = len(columns.values[at])
    return 2 <= columns.distinct(at) <= min(_MOST_CLASSES, max(2, int(_DISTINCT * count)))


def _target(columns: _Columns, inputs: Sequence[int]) -> tuple[int, str]:
    """The column that is predicted, and whether it holds "classes", "values" or "normal" rows; "" where none is."""
    lowered = [name.lower() for name in columns.names]
    named = [lowered.index(name) for name in (*_TARGETS, *_VALUES) if name in lowered]
    ends = [at for at in (inputs[-1], inputs[0]) if not columns.numeric(at)]
    likely = [at for at in dict.fromkeys([*named, *ends, inputs[-1]]) if at in inputs]
    if columns.label:
        likely = [at for at, name in enumerate(columns.names) if name == columns.label]

    for at in likely:
        if {text.lower() for text in columns.values[at]} & set(_NORMAL) and not columns.numeric(at):
            return at, "normal"
        if _few(columns, at) and columns.whole(at):
            return at, "classes"
        if columns.numeric(at):
            return at, "values"

    return inputs[-1], ""


#: names of columns that files may stand in, and anything else
_ANY_FILE = {"id", "name"}


def box_table(view: Glimpse) -> Recognized | None:
    """A table of corners beside the names of pictures."""
    for file in _all_tables(view):
        rows = view.rows(file, most=50) if ending(file) in (".csv", ".tsv") else []
        if not rows:
            continue
        names = {name.strip().lower() for name in rows[0]}
        corners = next((known for known, _ in CORNERS if set(known) <= names), ()) or [n for n in BOX if n in names]
        pictures = any(ending(place) in PICTURES for place in view.files)
        # a table of numbers may have an id or a name beside columns x and y
        if corners and names & (set(FILES) if pictures else set(FILES) - _ANY_FILE):
            return Recognized(f"{file} has columns {', '.join(corners)} of boxes", 3)
        numbers = [all(number(text) is not None for text in row[1:5]) for row in rows if len(row) == 6]
        named = [row[0].lower().endswith(tuple(PICTURES)) for row in rows]
        if len(numbers) == len(rows) and all(numbers) and all(named):
            return Recognized(f"{file} has rows of a picture, four numbers and a class", 3)
    return None


def image_table(view: Glimpse) -> Recognized | None:
    """A table that names pictures, and the class of each."""
    return _files(view, PICTURES, "pictures")


def sound_table(view: Glimpse) -> Recognized | None:
    """A table that names sounds, and the class of each."""
    return _files(view, SOUNDS, "sounds")


def _files(view: Glimpse, suffixes: frozenset[str], what: str) -> Recognized | None:
    shown = [file for file in view.files if ending(file) in suffixes]
    present = {file.name.lower() for file in shown}
    stems = {name.rpartition(".")[0] for name in present}
    folders, endings = {str(file.parent) for file in shown}, {ending(file) for file in shown}
    for file in _all_tables(view):
        columns = _columns(view, file)
        if columns is None:
            continue
        for at in range(len(columns.names)):
            fields = [text.strip().lower().replace("\\", "/").rpartition("/")[2] for text in columns.values[at]]
            named = sum(text.endswith(tuple(suffixes)) for text in fields)
            there = sum(text in present or text in stems for text in fields)
            # a glimpse shows the first files of a folder alone
            if view.folder and not there and len(shown) >= MOST_OF_FOLDER:
                there = sum(_is_there(view, text, folders, endings) for text in columns.values[at])
            if max(named, there) * 2 > len(fields) and (there or not view.folder):
                return _classes_of_files(file, columns, at, what, folders)

    return None


def _is_there(view: Glimpse, text: str, folders: Collection[str], endings: Collection[str]) -> bool:
    """Whether a field names a file in one of the folders, with its ending or without."""
    name = PurePosixPath(text.strip().replace("\\", "/")).name
    tries = (view.path / folder / (name + end) for folder in folders for end in ("", *endings))
    return bool(name) and any(files.is_file(path) for path in tries)


def _classes_of_files(
    file: PurePosixPath, columns: _Columns, at: int, what: str, folders: Collection[str]
) -> Recognized | None:
    """What a table with names of files in column `at` says; likelier than the files' folders where there are several
    and none is called like a class of the table or like a split."""
    name = columns.names[at]
    others = [i for i in range(len(columns.names)) if i != at]
    lowered = [text.lower() for text in columns.names]
    labels = [lowered.index(text) for text in _TARGETS if text in lowered and lowered.index(text) != at]
    if not labels and all(set(columns.values[i]) <= {"0", "1", "0.0", "1.0"} for i in others):
        return Recognized(f"{file} names {what} in {name!r} and has a column of 0 and 1 for each class", 2)

    labels = labels or sorted((i for i in others if _few(columns, i)), key=columns.distinct)
    if not labels:
        return None

    label = columns.names[labels[0]]
    classes = {text.strip().lower() for text in columns.values[labels[0]]}
    parts = {part.lower() for folder in folders for part in PurePosixPath(folder).parts}
    apart = len(folders) > 1 and not parts & classes and not any(map(split_named, parts))
    certainty = 3 if apart else 2
    return Recognized(f"{file} names {what} in {name!r}", certainty, {} if label == "label" else {"label": label})


def _all_tables(view: Glimpse) -> list[PurePosixPath]:
    """The tables at the top, and those of the folders of splits."""
    nested = [file for file in view.files if len(file.parts) == 2 and ending(file) in (".csv", ".tsv")]
    return [*tables_of(view), *nested[:3]]


def pairs(view: Glimpse) -> Recognized | None:
    """Parallel texts, or a table whose columns are languages."""
    texts: dict[str, list[str]] = {}
    for file in view.files:
        kind = ending(file).lstrip(".")
        if view.folder and len(file.parts) == 1 and _LANGUAGE.fullmatch(kind) and kind not in _NO_LANGUAGE:
            bare = file.name.removesuffix(".gz")
            texts.setdefault(bare[: -len(kind) - 1], []).append(kind)

    for stem, kinds in texts.items():
        if len(kinds) == 2:
            source, target = sorted(kinds, key=lambda kind: (kind != "en", kind))
            why = f"parallel texts {stem}.{kinds[0]} and {stem}.{kinds[1]}"
            return Recognized(why, 3, {"pairs": {"source": source, "target": target}})

    for file in view.files:
        if len(file.parts) == 1 and ending(file) == ".tmx":
            return _memory(view, file)

    for file in tables_of(view):
        objects = objects_of(view, file)
        nested = objects[0].get("translation") if objects else None
        rows = [] if objects else view.rows(file)
        header = list(nested or objects[0]) if objects else (rows or [[]])[0]
        # short names are also those of measurements (lat, lon), whose values have no letters
        columns = [[row[k] for row in rows[1:] if len(row) > k] for k in range(len(header))]
        wordless = {k for k, values in enumerate(columns) if rows[1:] and not any(map(str.isalpha, "".join(values)))}
        languages = [
            name.strip()
            for k, name in enumerate(header)
            if _LANGUAGE.fullmatch(name.strip()) and name.strip() != "id" and k not in wordless
        ]
        if len(languages) == 2:
            keys = {"pairs": {"source": languages[0], "target": languages[1]}}
            return Recognized(f"columns {languages[0]} and {languages[1]}", 3, keys)
    return None


def _memory(view: Glimpse, file: PurePosixPath) -> Recognized | None:
    """A translation memory of two languages or more: that of its header, or the first, and the next one."""
    head = view.head(file)
    spoken = list(dict.fromkeys(code.lower() for code in re.findall(r"<tuv[^>]*\blang=[\"']([\w-]+)", head)))
    stated = re.search(r"\bsrclang=[\"']([\w-]+)", head)
    languages = list(dict.fromkeys(code.split("-")[0] for code in spoken))
    source = stated[1].lower().split("-")[0] if stated else ""
    languages.sort(key=lambda code: code != source)
    if len(languages) < 2:
        return None
    keys = {"pairs": {"source": languages[0], "target": languages[1]}}
    return Recognized(f"{file} is a translation memory of {', '.join(languages[:4])}", 3, keys)


#: endings of two or three letters that are no languages
_NO_LANGUAGE = frozenset("md txt csv tsv wav npz png jpg gif zip tar xml dat toml py yml npy mp au".split())  # noqa: SIM905


def headerless_pairs(view: Glimpse) -> Recognized | None:
    """Two columns of sentences without a header, as WMT, Tatoeba and ManyThings have them."""
    for file in tables_of(view):
        rows = view.rows(file, most=100) if ending(file) == ".tsv" else []
        widths = {len(row) for row in rows}
        if len(rows) < 2 or len(widths) != 1 or not 2 <= min(widths) <= 4:
            continue
        columns = _Columns(tuple(map(str, range(min(widths)))), tuple(zip(*rows)))
        if min(widths) == 4:  # an id before each sentence
            sentences = (1, 3)
            ids = columns.numeric(0) and columns.numeric(2)
        else:
            sentences, ids = (0, 1), True
        differ = all(columns.distinct(at) > _DISTINCT * len(rows) for at in sentences)
        if ids and differ and all(columns.words(at) >= _WORDS for at in sentences):
            keys = {"pairs": {"source": str(sentences[0]), "target": str(sentences[1])}, "header": "no"}
            return Recognized(f"sentences in columns {sentences[0]} and {sentences[1]} of {file}", 2, keys)
    return None
