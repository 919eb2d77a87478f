"""Formats recognize their data by names and contents, and nothing else does."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import interactions_data
import mask_shapes
import numbers_run
import numpy as np
import pytest
import scenes
import shapes_run
import sounds
import text_run
import tomllib
from draws import draws
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from edgeft import starting_recipe
from edgeft.config import recipe, starting_recipes
from edgeft.core.errors import DataError
from edgeft.data.understand import understand

COUNTS = {"train": 3, "val": 2, "test": 2}


def _pictures(root: Path) -> Path:
    for split in ("Train", "Validation"):
        for label in ("cat", "dog"):
            scenes.save(root / split / label / "a.png", np.zeros((8, 8, 3), np.uint8))
    return root


def _flat_sounds(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for label in ("hi", "lo"):
        for speaker in ("ann", "bob"):
            for take in range(2):
                sounds.write(root / f"{label}_{speaker}_{take}.wav", sounds.clip("tone", rng))
    return root


def _opus(root: Path) -> Path:
    root.mkdir()
    for language in ("de", "en"):
        with gzip.open(root / f"Tatoeba.de-en.{language}.gz", "wt") as file:
            file.write("a b\n")
    (root / "README.md").write_text("words")
    return root


def _nested(root: Path) -> Path:
    root.mkdir()
    row = json.dumps({"translation": {"en": "a", "de": "b"}})
    (root / "train.jsonl").write_text(f"{row}\n{row}\n")
    return root


def _texts(root: Path) -> Path:
    for label in ("neg", "pos"):
        (root / "train" / label).mkdir(parents=True)
        _written(root / "train" / label / "0.txt", "a film")
    return root


def _steps(root: Path, **keys: str) -> Path:
    names = {"obs": "obs", "acts": "acts", **keys}
    np.savez(root, **{names["obs"]: np.zeros((4, 2), np.float32), names["acts"]: np.zeros((4, 1), np.float32)})
    return root


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _rows(path: Path, header: str, row: Callable[[int], str], count: int = 60) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *map(row, range(count))]) + "\n")
    return path


def _saved(root: Path, pictures: bool) -> Path:
    """What the package datasets writes beside its tables; the tables themselves are not looked at."""
    kind = {"image": {"_type": "Image"}, "label": {"names": ["a", "b"], "_type": "ClassLabel"}}
    texts = {"sentence": {"dtype": "string", "_type": "Value"}, "label": {"dtype": "int64", "_type": "Value"}}
    root.mkdir()
    _written(root / "state.json", "{}")
    _written(root / "dataset_info.json", json.dumps({"features": kind if pictures else texts}))
    return root


def _named_pictures(root: Path) -> Path:
    """A competition's table of ids without endings, beside a folder of pictures."""
    for i in range(20):
        scenes.save(root / "train" / f"{i:08x}.png", np.zeros((8, 8, 3), np.uint8))
    _rows(root / "labels.csv", "id,breed", lambda i: f"{i:08x},{('beagle', 'boxer')[i % 2]}", 20)
    return root


def _one_hot(root: Path) -> Path:
    for i in range(8):
        scenes.save(root / "train" / f"{i}.png", np.zeros((8, 8, 3), np.uint8))
    _rows(root / "train" / "_classes.csv", "filename, rock, paper", lambda i: f"{i}.png, {i % 2}, {1 - i % 2}", 8)
    return root


#: tables of numbers as data collections have them: header, row
IRIS = ("Id,SepalLengthCm,PetalLengthCm,Species", lambda i: f"{i + 1},{5 + i % 7 / 10},{1 + i % 3},Iris-{'abc'[i % 3]}")
MACHINES = (
    "UDI,Product ID,Type,Air temperature [K],Torque [Nm],Machine failure",
    lambda i: f"{i + 1},M{14860 + i},{'LMH'[i % 3]},{298 + i % 9 / 10},{40 + i % 13},{int(i % 20 == 0)}",
)
HOUSES = (
    "Id,Area,Rooms,Street,SalePrice",
    lambda i: f"{i},{40 + i},{1 + i % 5},{('Pave', 'Grvl')[i % 2]},{90000 + 17 * i}",
)
BEARINGS = ("rms,kurtosis,state", lambda i: f"{i / 7:.3f},{i / 3:.3f},{'normal' if i % 6 else 'inner_race'}")
PASSENGERS = (
    "PassengerId,Survived,Pclass,Name,Sex,Age,Fare",
    lambda i: (
        f'{i + 1},{i % 2},{1 + i % 3},"Braund{i}, Mr. Owen Harris",'
        f"{('male', 'female')[i % 2]},{20 + i % 40},{7 + i / 3:.4f}"
    ),
)
TWEETS = (
    "tweet_id,airline_sentiment,confidence,reason,airline,text,tweet_created",
    lambda i: (
        f'5703{i},{("neutral", "positive", "negative")[i % 3]},1.0,,Virgin,"@air What they said {i}.",2015-02-24 11:35'
    ),
)

WRITERS: dict[str, tuple[Callable[[Path], Path], str, str, dict[str, object]]] = {
    "npz": (lambda p: shapes_run.write_data(p / "d.npz"), "npz", "classify", {}),
    "class folders": (lambda p: _pictures(p / "d"), "image-folder", "classify", {}),
    "yolo": (lambda p: scenes.write_yolo(p / "d", COUNTS), "yolo", "detect", {}),
    "data.yaml": (lambda p: scenes.write_yolo(p / "d", COUNTS) / "data.yaml", "yolo", "detect", {}),
    "coco": (lambda p: scenes.write_coco(p / "d", COUNTS), "coco", "detect", {}),
    "masks": (lambda p: mask_shapes.write_folder(p / "d", COUNTS), "masks", "segment", {}),
    "sound folders": (lambda p: sounds.write_folder(p / "d", COUNTS), "wav-folder", "keyword", {}),
    "sound names": (
        lambda p: _flat_sounds(p / "d"),
        "wav-folder",
        "keyword",
        {"pattern": "{label}_{speaker}_{take}"},
    ),
    "transcripts": (
        lambda p: sounds.write_sentences(p / "d", COUNTS),
        "wav-folder",
        "speech",
        {"units": "characters"},
    ),
    "ratings": (lambda p: interactions_data.write_ratings(p / "ratings.csv"), "ratings", "recommend", {}),
    "MovieLens 1M": (lambda p: _written(p / "x.dat", "1::2::5::978300000\n"), "ratings", "recommend", {}),
    "plays": (lambda p: _written(p / "x.tsv", "user_id\tartistid\tplays\na\tb\t3\n"), "ratings", "recommend", {}),
    "parallel texts": (
        lambda p: numbers_run.write_folder(p / "d"),
        "pairs",
        "translate",
        {"pairs": {"source": "en", "target": "de"}},
    ),
    "OPUS": (lambda p: _opus(p / "d"), "pairs", "translate", {"pairs": {"source": "en", "target": "de"}}),
    "nested JSON": (lambda p: _nested(p / "d"), "pairs", "translate", {"pairs": {"source": "en", "target": "de"}}),
    "reviews": (
        lambda p: text_run.reviews(p / "r.csv"),
        "csv",
        "text-classify",
        {"text": ("review",), "label": "liked"},
    ),
    "other columns": (
        lambda p: _written(p / "r.csv", 'Id;Review Text;Sentiment\n1;"a; long text";pos\n2;b of many words;neg\n'),
        "csv",
        "text-classify",
        {"text": ("Review Text",), "label": "Sentiment"},
    ),
    "JSON lines": (
        lambda p: _written(p / "r.jsonl", '{"text": "good thing", "label": "a"}\n'),
        "jsonl",
        "text-classify",
        {},
    ),
    "texts in folders": (lambda p: _texts(p / "d"), "text-folder", "text-classify", {}),
    "Parquet": (lambda p: _written(p / "d.parquet", "PAR1"), "parquet", "text-classify", {}),
    "table of pictures": (lambda p: _named_pictures(p / "d"), "image-table", "classify", {"label": "breed"}),
    "one-hot table": (lambda p: _one_hot(p / "d"), "image-table", "classify", {}),
    "numbers": (
        lambda p: _rows(p / "iris.csv", *IRIS),
        "table",
        "tabular",
        {"label": "Species", "ignore": ("Id",)},
    ),
    "machines": (
        lambda p: _rows(p / "d.csv", *MACHINES),
        "table",
        "tabular",
        {"label": "Machine failure", "ignore": ("UDI", "Product ID")},
    ),
    "passengers": (
        lambda p: _rows(p / "d.csv", *PASSENGERS),
        "table",
        "tabular",
        {"label": "Survived", "ignore": ("PassengerId", "Name")},
    ),
    "prices": (
        lambda p: _rows(p / "d.csv", *HOUSES),
        "table-values",
        "tabular-values",
        {"label": "SalePrice", "ignore": ("Id",)},
    ),
    "bearings": (
        lambda p: _rows(p / "d.csv", *BEARINGS),
        "table-anomaly",
        "tabular-anomaly",
        {"label": "state", "normal": "normal"},
    ),
    "tweets": (lambda p: _rows(p / "d.csv", *TWEETS), "csv", "text-classify", {"label": "airline_sentiment"}),
    "sentences without a header": (
        lambda p: _rows(
            p / "deu.tsv", "Go.  Now.\tGeh jetzt.\tCC-BY", lambda i: f"Go there {i}.\tGeh hin {i}.\tCC-BY {i}"
        ),
        "pairs",
        "translate",
        {"pairs": {"source": "0", "target": "1"}, "header": "no"},
    ),
    "Tatoeba": (
        lambda p: _rows(
            p / "d.tsv", "1\tLet us go.\t2\tGehen wir.", lambda i: f"{i}\tGo to {i}.\t{9 + i}\tGeh zu {i}."
        ),
        "pairs",
        "translate",
        {"pairs": {"source": "1", "target": "3"}, "header": "no"},
    ),
    "datasets with pictures": (lambda p: _saved(p / "d", True), "hf", "classify", {}),
    "datasets with texts": (lambda p: _saved(p / "d", False), "hf", "text-classify", {}),
    "episodes": (lambda p: _steps(p / "d.npz"), "trajectories", "control", {}),
    "D4RL": (lambda p: _steps(p / "d.npz", obs="observations", acts="actions"), "trajectories", "control", {}),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_data_is_recognized_by_itself(kind: str, tmp_path: Path) -> None:
    write, format_name, task, keys = WRITERS[kind]
    understood = understand(write(tmp_path))
    assert (understood.data.format, understood.task) == (format_name, task)
    assert dict(understood.keys) == keys
    assert understood.why


@pytest.mark.parametrize("kind", WRITERS)
def test_a_recipe_for_data_reads_what_was_recognized(kind: str, tmp_path: Path) -> None:
    write, format_name, task, keys = WRITERS[kind]
    path = write(tmp_path)
    text, understood = starting_recipe.for_data(path, targets=["intel-nuc"])
    file = _written(tmp_path / "recipe.toml", text)

    loaded = recipe.load(file)
    assert (loaded.task, loaded.data.format, loaded.data.path) == (task, format_name, str(path))
    assert loaded.export.targets == ("intel-nuc",)
    for key, value in keys.items():
        stated = getattr(loaded.data, key, None)
        if isinstance(value, dict):
            assert value.items() <= stated.items()
        elif key in loaded.data.options:
            assert tuple(loaded.data.options[key]) == tuple(value)
        else:
            assert stated == value
    template, written = (
        {line.rpartition(" # ")[2] for line in toml.splitlines() if " # " in line}
        for toml in (starting_recipes.template(task), text)
    )
    assert understood.why and template == written, "its comments stay"


def test_values_replace_lines_where_they_stand() -> None:
    text = '[data]\npath = "data"   # where\n# split = [0.7]  # shares\n\n[train]\n# path = 1\n'
    changed = starting_recipe.with_values(text, "data", {"path": "a longer name", "split": [0.5], "label": 'a "b"'})
    data_table = '[data]\npath = "a longer name"  # where\nsplit = [0.5]    # shares\nlabel = "a \\"b\\""\n'
    assert changed == data_table + "\n[train]\n# path = 1\n"
    assert starting_recipe.with_values("x = 1\n", "new", {"k": 2}) == "x = 1\n\n[new]\nk = 2\n"


def test_a_table_of_numbers_with_an_id_has_no_boxes(tmp_path: Path) -> None:
    table = _rows(
        tmp_path / "d.csv", "id,x,y,w,h,label", lambda i: f"{i},{i / 7},{i / 3},{i % 5}.5,{i % 4}.1,{'ab'[i % 2]}"
    )
    assert understand(table).data.format == "table"
    scenes.save(tmp_path / "pictures" / "0.png", np.zeros((8, 8, 3), np.uint8))
    assert understand(tmp_path).data.format == "box-table", "beside pictures they are boxes"


def test_a_word_of_the_user_counts_more(tmp_path: Path) -> None:
    folder = sounds.write_sentences(tmp_path / "d", COUNTS)
    assert understand(folder, task="keyword").task == "keyword"
    assert understand(_pictures(tmp_path / "p"), format_name="masks").data.format == "masks"


def test_what_nothing_recognizes_is_refused_with_the_option_to_say_it(tmp_path: Path) -> None:
    (tmp_path / "notes.bin").write_bytes(b"\x00\x01")
    with pytest.raises(DataError) as refused:
        understand(tmp_path)
    assert "--format" in refused.value.remedy and "coco" in refused.value.remedy
    with pytest.raises(DataError, match="no such file"):
        understand(tmp_path / "absent")


def test_a_damaged_file_is_not_recognized_and_raises_nothing_else(tmp_path: Path) -> None:
    for name in ("d.npz", "d.json", "d.yaml", "d.csv", "d.jsonl"):
        (tmp_path / name).write_bytes(b'\xff\xfe\x00"{[,\n\x00')
        with pytest.raises(DataError):
            understand(tmp_path / name)


_CELLS = st.one_of(
    st.sampled_from(
        ["", "id", "label", "text", "filename", "a.png", "b.wav", "normal", "0", "1", "nan", "-1e9", "1,5", '"', "é"]
    ),
    st.text(max_size=12),
    st.integers().map(str),
    st.floats().map(repr),
)


@given(
    name=st.sampled_from(
        ["d.csv", "d.tsv", "train.csv", "meta/d.csv", "d.json", "d.jsonl", "annotations.xml", "d.txt", "labels/0.txt"]
    ),
    rows=st.lists(st.lists(_CELLS, max_size=6), max_size=12),
    joint=st.sampled_from([",", "\t", ";", " ", "|"]),
    pictures=st.booleans(),
)
@draws(100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_recognized_or_refused(
    name: str, rows: list[list[str]], joint: str, pictures: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("any")
    file = root / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(joint.join(row) for row in rows), encoding="utf-8", errors="surrogateescape")
    if pictures:
        (root / "images").mkdir()
        (root / "images" / "0.png").write_bytes(b"")
    for path in (root, file):
        try:
            understood = understand(path)
        except DataError as refused:
            assert refused.remedy
            continue
        text, _ = starting_recipe.for_data(path)
        assert recipe.from_table(tomllib.loads(text), "it").data.format == understood.data.format
