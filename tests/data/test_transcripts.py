"""Recordings with transcripts: tables, texts beside files, vocabularies, and every kind of bad line by its number."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sounds

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError, EdgeftError, RecipeError

TEXTS = ("no yes", "Yes, no!", "no", "stop no", "yes stop", "no stop yes")


def of(path: Path, **keys: Any) -> Data:
    return Data(format="wav-folder", path=str(path), **{"units": "words", **keys})


def recordings(folder: Path, count: int, rate: int = 8000, seconds: float = 0.5, first: int = 0) -> list[str]:
    """Names of new files, each of its own content."""
    names = []
    for i in range(first, first + count):
        rng = np.random.default_rng(sum(folder.name.encode()) * 1000 + i)
        samples = rng.integers(-999, 999, int(rate * seconds)).astype(np.int16)
        names.append(sounds.write(folder / f"{i:03}.wav", samples, rate).name)
    return names


def table(folder: Path, count: int = 30, extra: str = "", name: str = "metadata.csv") -> Path:
    lines = [f"{wav},{json.dumps(TEXTS[i % 6])}" for i, wav in enumerate(recordings(folder, count))]
    (folder / name).write_text("\n".join(["file,text", *lines]) + "\n" + extra)
    return folder


def test_a_table_in_each_split_folder(tmp_path: Path) -> None:
    for split, count in (("train", 30), ("valid", 4), ("test", 6)):
        table(tmp_path / split, count)
    made = data.open(of(tmp_path))
    assert made.labels == ("no", "stop", "yes") and made.notes == []
    assert {name: len(made.split(name)) for name in made.splits} == {"train": 30, "val": 4, "test": 6}
    split = made.split("train")
    assert split.classes is None and split.targets[1]["text"] == "yes no"
    assert split.targets[1]["tokens"].tolist() == [3, 1] and split.targets[1]["separator"] == 0
    assert split.raw(1)["samples"].shape == (4000,) and Path(split.source(1)).name == "001.wav"
    assert made.facts == {"kind": "sound", "units": "words", "rate": 8000, "longest": 0.5}
    assert data.fingerprint(made) == data.fingerprint(data.open(of(tmp_path))) and data.check(made) == []


def test_characters_have_a_space_among_them(tmp_path: Path) -> None:
    made = data.open(of(table(tmp_path), units="characters"))
    assert made.labels == tuple(" enopsty") and made.facts["units"] == "characters"
    target = made.split("train").targets[0]
    assert "".join(made.labels[t - 1] for t in target["tokens"]) == target["text"] and target["separator"] == 1


def test_one_folder_is_divided_at_random_with_its_seed(tmp_path: Path) -> None:
    made, again, other = (data.open(of(table(tmp_path), split_seed=seed)) for seed in (0, 0, 1))
    sizes = {name: len(made.split(name)) for name in made.splits}
    assert sum(sizes.values()) == 30 and min(sizes.values()) >= 4 and any("at random" in note for note in made.notes)
    names = [[d.split("test").source(i) for i in range(4)] for d in (made, again, other)]
    assert names[0] == names[1] != names[2]


def test_a_column_groups_recordings(tmp_path: Path) -> None:
    names = recordings(tmp_path, 24)
    lines = [f"{wav}\t{TEXTS[i % 6]}\ts{i % 4}" for i, wav in enumerate(names)]
    (tmp_path / "transcripts.tsv").write_text("\n".join(["path\tsentence\tspeaker", *lines]))
    made = data.open(of(tmp_path, group="speaker", split=(0.5, 0.25, 0.25)))
    homes = {
        split: {int(Path(made.split(split).source(i)).stem) % 4 for i in range(len(made.split(split)))}
        for split in made.splits
    }
    assert sorted(speaker for group in homes.values() for speaker in group) == [0, 1, 2, 3]
    with pytest.raises(DataError, match="has no column 'take', only 'path', 'sentence', 'speaker'"):
        data.open(of(tmp_path, group="take"))


def test_json_lines_and_columns_by_their_own_names(tmp_path: Path) -> None:
    lines = [json.dumps({"clip": wav, "said": "ja nein", "n": 1}) for wav in recordings(tmp_path, 8)]
    (tmp_path / "metadata.jsonl").write_text("\n".join([*lines, ""]))
    made = data.open(of(tmp_path, columns={"file": "clip", "text": "said"}))
    assert made.labels == ("ja", "nein")
    with pytest.raises(DataError, match=r"has no column 'file', only 'clip', 'said', 'n'") as caught:
        data.open(of(tmp_path))
    assert str(caught.value.where).endswith("metadata.jsonl:1")
    with pytest.raises(RecipeError, match="unknown column 'txt'") as wrong:
        data.open(of(tmp_path, columns={"txt": "said"}))
    assert "did you mean 'text'" in str(wrong.value.remedy)


def test_a_text_beside_every_recording(tmp_path: Path) -> None:
    for i, wav in enumerate(recordings(tmp_path / "a" / "b", 24)):
        (tmp_path / "a" / "b" / wav).with_suffix(".txt").write_text(TEXTS[i % 6] + "\n")
    made = data.open(of(tmp_path))
    assert made.labels == ("no", "stop", "yes") and sum(len(made.split(name)) for name in made.splits) == 24
    (tmp_path / "a" / "b" / "000.txt").unlink()
    assert "there is no 000.txt beside it" in " ".join(data.open(of(tmp_path)).notes)


BAD = {
    "a file that does not exist": ("absent.wav,no", "there is no file absent.wav"),
    "an empty text": ("good.wav,", "the text is empty"),
    "a text of punctuation": ("good.wav,...", r"the text '...' has no words"),
    "too many fields": ("good.wav,no,yes", "has 3 fields where the header has 2"),
    "no file": (",no", "no file is named"),
    "a broken quote": ('good.wav,"no', "is not a line of a table"),
    "a file outside": ("../good.wav,no", "is not inside the folder"),
    "an absolute file": ("/etc/passwd,no", "is not inside the folder"),
    "a file twice": ("003.wav,no", r"listed a second time, after .*metadata.csv:5"),
    "no UTF-8": ("good.wav,n\udcff", "not UTF-8"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_line_is_named_and_left_out(tmp_path: Path, kind: str) -> None:
    line, message = BAD[kind]
    folder = table(tmp_path)
    recordings(folder, 1, first=99)
    (folder / "099.wav").rename(folder / "good.wav")
    content = (folder / "metadata.csv").read_bytes()
    (folder / "metadata.csv").write_bytes(b"\xef\xbb\xbf" + content)  # UTF-8 whatever its lines hold
    with (folder / "metadata.csv").open("ab") as file:
        file.write(line.encode("utf-8", "surrogateescape") + b"\n")
    made = data.open(of(folder))
    assert sum(len(made.split(name)) for name in made.splits) == 30
    (note,) = [note for note in made.notes if "cannot be used" in note]
    assert f"{folder / 'metadata.csv'}:32: " in note and re.search(message, note)


def test_too_many_bad_lines_stop_the_run(tmp_path: Path) -> None:
    folder = table(tmp_path, extra="a.wav,no\nb.wav,no\n")
    with pytest.raises(DataError, match=r"2 of 32 transcripts cannot be used: .*metadata\.csv:32: there is no file a"):
        data.open(of(folder))


def bad_sound(tmp_path: Path, count: int) -> Path:
    """Recordings of which `count` are too long, too short for their text, truncated and no sound, in turn."""
    folder = table(tmp_path, 90)
    lines = []
    for i in range(count):
        name = f"bad{i}.wav"
        if i % 4 == 0:
            sounds.write(folder / name, np.full(16_000, i, np.int16))
        elif i % 4 == 1:
            sounds.write(folder / name, np.full(300, i, np.int16))
        elif i % 4 == 2:
            whole = sounds.write(folder / name, np.full(800, i, np.int16))
            whole.write_bytes(whole.read_bytes()[:-100])
        else:
            (folder / name).write_text("no sound")
        lines.append(f"{name},no no yes")
    with (folder / "metadata.csv").open("a") as file:
        file.write("\n".join(lines) + "\n")
    return folder


def test_recordings_that_cannot_be_what_their_text_says_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    bad_sound(tmp_path / "train", 4)
    table(tmp_path / "test", 6)
    table(tmp_path / "val", 6)
    made = data.open(of(tmp_path, sound={"seconds": 1.0}))
    assert len(made.split("train")) == 90
    (note,) = [note for note in made.notes if "skipped" in note]
    for words in (
        "skipped 4 of 94 recordings",
        "metadata.csv:92: bad0.wav is 2.00 s long, more than data.sound.seconds = 1",
        "metadata.csv:93: the text needs 4 frames of 20 ms, and bad1.wav is 0.04 s long",
        "metadata.csv:94): truncated",
        "metadata.csv:95): not readable as a sound",
    ):
        assert words in note, note


def test_too_many_bad_recordings_stop_the_run(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    bad_sound(tmp_path / "train", 8)
    made = data.open(of(tmp_path, sound={"seconds": 1.0}))
    with pytest.raises(DataError, match=r"train: \d+ of \d+ recordings \(\d+%\) cannot be read"):
        data.check(made)


def test_words_of_the_test_that_nobody_learned_are_said(tmp_path: Path) -> None:
    table(tmp_path / "train")
    table(tmp_path / "val", 6)
    recordings(tmp_path / "test", 1, first=99)
    table(tmp_path / "test", 29, extra="099.wav,oh no\n")
    made = data.open(of(tmp_path))
    assert made.split("test").targets[-1]["tokens"].tolist() == [-1, 1] and len(made.split("test")) == 30
    (note,) = made.notes
    assert "1 of 30 texts hold what no training text has, for example 'oh no'" in note and "metadata.csv:31" in note
    table(tmp_path / "test", 6, extra="")
    recordings(tmp_path / "test", 1, first=99)
    with (tmp_path / "test" / "metadata.csv").open("a") as file:
        file.write("099.wav,oh no\n")
    with pytest.raises(DataError, match="1 of 7 texts hold"):
        data.open(of(tmp_path))


def _make(name: str, folder: Path) -> dict[str, Any]:
    """Something that is wrong as a whole; what else the recipe says."""
    if name == "two tables":
        table(folder), table(folder, name="transcripts.csv")
    elif name == "no transcripts":
        recordings(folder, 3)
    elif name == "empty table":
        recordings(folder, 3)
        (folder / "metadata.csv").write_text("")
    elif name == "only bad lines":
        recordings(folder, 3)
        (folder / "metadata.csv").write_text("file,text\n")
    elif name == "too many words":
        recordings(folder, 1)
        (folder / "metadata.csv").write_text("file,text\n000.wav," + " ".join(f"w{i}" for i in range(5001)))
    elif name == "column twice":
        recordings(folder, 1)
        (folder / "metadata.csv").write_text("file,text,text\n000.wav,no,no")
    elif name == "a pattern":
        table(folder)
        return {"pattern": "{label}_{speaker}"}
    elif name == "group without a table":
        (folder / recordings(folder, 1)[0]).with_suffix(".txt").write_text("no")
        return {"group": "speaker"}
    return {}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("two tables", "both metadata.csv and transcripts.csv"),
        ("no transcripts", "holds no transcripts"),
        ("empty table", "is empty"),
        ("only bad lines", "holds no transcripts that can be used"),
        ("too many words", "5001 different words"),
        ("column twice", "twice the column 'text'"),
        ("a pattern", "recordings that are classes"),
        ("group without a table", "there is no table"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(EdgeftError, match=message):
        data.open(of(tmp_path, **_make(name, tmp_path)))


def test_no_folder(tmp_path: Path) -> None:
    for path in ("", str(tmp_path / "absent")):
        with pytest.raises(DataError, match="folder"):
            data.open(Data(format="wav-folder", path=path, units="words"))
