"""Folders of sounds: class folders and file names, groups that stay whole, broken files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sounds

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError, RecipeError

NAMES = "{label}_{speaker}_{take}"


def of(path: Path, **keys: Any) -> Data:
    return Data(format="wav-folder", path=str(path), **keys)


def tiny(seed: int, n: int = 80) -> np.ndarray:
    return np.random.default_rng(seed).integers(-999, 999, n).astype(np.int16)


def flat(root: Path, speakers: int = 5, takes: int = 4) -> Path:
    """root/<label>_<speaker>_<take>.wav, every file of its own content."""
    for label in "01":
        for speaker in range(speakers):
            for take in range(takes):
                name = f"{label}_s{speaker}_{take}.wav"
                sounds.write(root / name, tiny(int(label) * 1000 + speaker * 10 + take))
    return root


def sources(made: data.Dataset, split: str) -> list[str]:
    return [Path(made.split(split).source(i)).stem for i in range(len(made.split(split)))]


def test_split_and_class_folders(tmp_path: Path) -> None:
    root = sounds.write_folder(tmp_path / "d", {"train": 4, "validation": 1, "test": 2})
    made = data.open(of(root))
    assert made.labels == sounds.LABELS and made.notes == []
    assert {name: len(made.split(name)) for name in made.splits} == {"train": 12, "val": 3, "test": 6}
    split = made.split("train")
    raw = split.raw(0)
    assert raw["rate"] == 8000 and raw["samples"].dtype == np.int16 and raw["samples"].shape == (4000,)
    for i in range(len(split)):
        assert Path(split.source(i)).parent.name == made.labels[split.targets[i]]
    assert made.facts == {"kind": "sound", "rate": 8000, "seconds": 0.5}
    assert data.fingerprint(made) == data.fingerprint(data.open(of(root)))
    assert data.check(made) == []


def test_class_folders_alone_are_divided_by_class(tmp_path: Path) -> None:
    root = sounds.write_folder(tmp_path, {"train": 10}) / "train"
    made = data.open(of(root))
    assert {name: len(made.split(name)) for name in made.splits} == {"train": 21, "val": 3, "test": 6} or (
        sum(len(made.split(name)) for name in made.splits) == 30
    )
    for name in made.splits:
        assert set(made.split(name).targets.tolist()) == {0, 1, 2}


def test_flat_folders_have_their_label_in_the_name(tmp_path: Path) -> None:
    made = data.open(of(flat(tmp_path), pattern=NAMES))
    assert made.labels == ("0", "1")
    for name in made.splits:
        assert [stem[0] for stem in sources(made, name)] == [made.labels[t] for t in made.split(name).targets]


@pytest.mark.parametrize("group", ["speaker", "take"])
def test_a_group_never_spans_two_splits(tmp_path: Path, group: str) -> None:
    spec = of(flat(tmp_path), pattern=NAMES, group=group, split=(0.5, 0.25, 0.25))
    made = data.open(spec)
    at = {"speaker": 1, "take": 2}[group]
    homes = [{stem.split("_")[at] for stem in sources(made, name)} for name in ("train", "val", "test")]
    assert not (homes[0] & homes[1] or homes[0] & homes[2] or homes[1] & homes[2]) and all(homes)
    assert sum(map(len, (made.split(name) for name in made.splits))) == 40
    assert any("whole" in note and group in note for note in made.notes)
    again = data.open(spec)
    assert sources(again, "val") == sources(made, "val")


def test_val_comes_out_of_train_and_shared_speakers_are_said(tmp_path: Path) -> None:
    flat(tmp_path / "train")
    flat(tmp_path / "test", speakers=3, takes=1)
    made = data.open(of(tmp_path, pattern=NAMES, group="speaker"))
    train, val = ({stem.split("_")[1] for stem in sources(made, name)} for name in ("train", "val"))
    assert len(made.split("test")) == 6 and len(train) == 4 and len(val) == 1
    assert any("3 of 3 values of 'speaker' in test/ are also in train/" in note for note in made.notes)


def test_the_class_from_the_folder_and_the_group_from_the_name(tmp_path: Path) -> None:
    for label in ("no", "yes"):
        for speaker in ("ab", "cd", "ef"):
            for take in range(3):
                seed = len(label) * 100 + ord(speaker[0]) * 10 + take
                sounds.write(tmp_path / label / f"{speaker}_nohash_{take}.wav", tiny(seed))
    sounds.write(tmp_path / "_background_noise_" / "hum.wav", tiny(1))
    made = data.open(of(tmp_path, pattern="{speaker}_nohash_{take}", group="speaker"))
    assert made.labels == ("no", "yes") and any("_background_noise_" in note for note in made.notes)
    assert [len({s[:2] for s in sources(made, name)}) for name in ("train", "val", "test")] == [1, 1, 1]


def test_lists_of_files_state_the_division(tmp_path: Path) -> None:
    for label in ("no", "yes"):
        for i in range(6):
            sounds.write(tmp_path / label / f"{i}.wav", tiny(len(label) * 10 + i))
    (tmp_path / "validation_list.txt").write_text("no/0.wav\nyes/1.wav\n\nyes/absent.wav\n")
    (tmp_path / "testing_list.txt").write_text("no/5.wav\nyes/5.wav\n")
    made = data.open(of(tmp_path))
    assert {name: len(made.split(name)) for name in made.splits} == {"train": 8, "val": 2, "test": 2}
    assert sources(made, "val") == ["0", "1"] and sources(made, "test") == ["5", "5"]
    assert any("1 of 3 files are not there, for example yes/absent.wav" in note for note in made.notes)
    (tmp_path / "validation_list.txt").unlink()
    assert len(data.open(of(tmp_path)).split("test")) == 2
    (tmp_path / "validation_list.txt").write_text("no/5.wav\n")
    with pytest.raises(DataError, match=r"no/5\.wav is in two splits"):
        data.open(of(tmp_path))


def test_rates_and_channels_may_differ(tmp_path: Path) -> None:
    for label in "ab":
        for i, rate in enumerate((8000, 8000, 44_100, 8000)):
            samples = tiny(ord(label) * 10 + i, rate // 20)
            sounds.write(tmp_path / label / f"{i}.wav", np.stack([samples, samples], 1) if i == 1 else samples, rate)
    made = data.open(of(tmp_path, split=(0.5, 0.25, 0.25)))
    assert made.facts["rate"] == 8000
    rates = {raw["rate"] for name in made.splits for raw, _ in made.split(name)}
    assert rates == {8000, 44_100}


# -- what is wrong ---------------------------------------------------------------------------------------------------
def test_a_few_broken_files_are_left_out_and_named(tmp_path: Path) -> None:
    root = sounds.write_folder(tmp_path, {"train": 10, "val": 2, "test": 2})
    (root / "train" / "rise" / "003.wav").write_bytes(b"no sound at all, whatever the name says")
    (root / "train" / "readme.txt").write_text("outside of the classes")
    (root / "train" / "rise" / "notes.txt").write_text("words")
    made = data.open(of(root))
    assert len(made.split("train")) == 29 and made.facts["rate"] == 8000
    text = "\n".join(made.notes)
    assert "003.wav" in text and "skipped 1 of 30 sounds" in text and "notes.txt" in text


def test_many_broken_files_stop_the_run(tmp_path: Path) -> None:
    root = sounds.write_folder(tmp_path, {"train": 10, "val": 2, "test": 2})
    for i in range(2):
        path = root / "train" / "tone" / f"00{i}.wav"
        path.write_bytes(path.read_bytes()[:-1])
    made = data.open(of(root))
    with pytest.raises(DataError, match=r"2 of 30 sounds \(7%\) cannot be read: .*000\.wav: truncated"):
        made.split("train")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"group": "speaker"}, r"data\.group"),
        ({"pattern": "label"}, "has no {part}"),
        ({"pattern": "{label}{take}"}, "nothing between"),
        ({"pattern": "{label}_{label}"}, "name of its own"),
        ({"pattern": "{label}_{}"}, "brace"),
        ({"pattern": "{label}/{take}"}, "slash"),
        ({"pattern": NAMES, "group": "speakr"}, "did you mean 'speaker'"),
    ],
)
def test_a_pattern_that_cannot_be_used(tmp_path: Path, keys: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        data.open(of(flat(tmp_path), **keys))


def test_names_that_do_not_fit_the_pattern(tmp_path: Path) -> None:
    root = flat(tmp_path)
    sounds.write(root / "hum.wav", tiny(7))
    made = data.open(of(root, pattern=NAMES))
    assert any("1 of 41 file names do not fit" in note and "hum.wav" in note for note in made.notes)
    for i in range(9):
        sounds.write(root / f"hum{i}.wav", tiny(i))
    with pytest.raises(DataError, match=r"10 of 50 file names do not fit the pattern"):
        data.open(of(root, pattern=NAMES))


def test_what_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(DataError, match=r"no such folder|holds no sounds"):
            data.open(of(path))
    with pytest.raises(DataError, match="no data folder"):
        data.open(Data(format="wav-folder"))
    sounds.write(tmp_path / "one" / "a.wav", tiny(0))
    with pytest.raises(DataError, match="only one class"):
        data.open(of(tmp_path))
    with pytest.raises(DataError, match="without parting one"):
        data.open(of(flat(tmp_path / "flat", speakers=2), pattern=NAMES, group="speaker"))
