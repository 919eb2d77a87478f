"""Speech in the layouts of the field: LibriSpeech, LJSpeech, Common Voice, Kaldi and NeMo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sounds

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError

TEXTS = ("GO LEFT", "Stop now", "go right", "left")


def wav(path: Path, seed: int, seconds: float = 0.5, rate: int = 8000) -> Path:
    samples = np.random.default_rng(seed).integers(-999, 999, int(rate * seconds)).astype(np.int16)
    return sounds.write(path, samples, rate)


def of(path: Path, **keys: Any) -> Data:
    return Data(format="wav-folder", path=str(path), **{"units": "words", **keys})


def sizes(dataset: data.Dataset) -> dict[str, int]:
    return {name: len(dataset.split(name)) for name in dataset.splits}


def spoken(dataset: data.Dataset) -> dict[str, str]:
    return {
        Path(split.source(i)).name: split.targets[i]["text"]
        for split in dataset.splits.values()
        for i in range(len(split))
    }


def librispeech(root: Path, speakers: tuple[str, ...], count: int = 6) -> None:
    for at, speaker in enumerate(speakers):
        folder = root / speaker / "121"
        names = [f"{speaker}-121-{i:04}" for i in range(count)]
        for i, name in enumerate(names):
            wav(folder / f"{name}.wav", 100 * at + i + sum(root.name.encode()))
        lines = [f"{name} {TEXTS[i % 4].upper()}" for i, name in enumerate(names)]
        (folder / f"{speaker}-121.trans.txt").write_text("\n".join([*lines, ""]))


def test_librispeech(tmp_path: Path) -> None:
    librispeech(tmp_path, ("84", "174", "251"), 8)
    dataset = data.open(of(tmp_path))
    assert sum(sizes(dataset).values()) == 24 and spoken(dataset)["84-121-0001.wav"] == "stop now"
    assert any('data.group = "speaker"' in note for note in dataset.notes)
    dataset = data.open(of(tmp_path, group="speaker", split=(0.4, 0.3, 0.3)))
    speakers = [{Path(s.source(i)).name.partition("-")[0] for i in range(len(s))} for s in dataset.splits.values()]
    assert sorted(map(len, speakers)) == [1, 1, 1] and len(set.union(*speakers)) == 3


def test_the_folders_of_librispeech_are_its_splits(tmp_path: Path) -> None:
    for name, speakers in (("train-clean-100", ("1", "2")), ("train-other-500", ("3",)), ("dev-clean", ("4",))):
        librispeech(tmp_path / name, speakers)
    librispeech(tmp_path / "test-clean", ("5",))
    (tmp_path / "SPEAKERS.TXT").write_text("1 | F")
    (tmp_path / "test-clean" / "5" / "121" / "5-121.trans.txt").write_text("5-121-0000 GO LEFT\n5-121-0001 LEFT\n")
    dataset = data.open(of(tmp_path))
    assert sizes(dataset) == {"train": 18, "val": 6, "test": 2}
    assert any(note == "train: train-clean-100/, train-other-500/" for note in dataset.notes)
    assert any("4 of 6 recordings are left out" in note and "5-121-0002.wav" in note for note in dataset.notes)


def test_ljspeech(tmp_path: Path) -> None:
    """A quotation mark is a character; the normalized text counts, where there is one."""
    lines = []
    for i in range(20):
        wav(tmp_path / "wavs" / f"LJ001-{i:04}.wav", i)
        lines.append(f'LJ001-{i:04}|"{TEXTS[i % 4]} No. {i}|{TEXTS[i % 4] if i else ""}')
    (tmp_path / "metadata.csv").write_text("\n".join([*lines, "LJ001-9999|gone|gone", ""]))
    dataset = data.open(of(tmp_path))
    assert sum(sizes(dataset).values()) == 20 and spoken(dataset)["LJ001-0005.wav"] == "stop now"
    assert spoken(dataset)["LJ001-0000.wav"] == "go left no 0"
    assert any("metadata.csv:21: there is no file wavs/LJ001-9999.wav" in note for note in dataset.notes)


def common_voice(root: Path, name: str, first: int, count: int) -> None:
    lines = ["client_id\tpath\tsentence\tup_votes"]
    for i in range(first, first + count):
        wav(root / "clips" / f"common_voice_{i}.wav", i)
        lines.append(f'c{i // 2}\tcommon_voice_{i}.wav\t"{TEXTS[i % 4]}\t2')
    (root / f"{name}.tsv").write_text("\n".join([*lines, ""]))


def test_common_voice(tmp_path: Path) -> None:
    common_voice(tmp_path, "validated", 0, 24)
    dataset = data.open(of(tmp_path, group="speaker"))
    assert sum(sizes(dataset).values()) == 24 and any("there is no train.tsv" in note for note in dataset.notes)
    for name, first, count in (("train", 0, 12), ("dev", 12, 4), ("test", 16, 5)):
        common_voice(tmp_path, name, first, count)
    dataset = data.open(of(tmp_path))
    assert sizes(dataset) == {"train": 12, "val": 4, "test": 5}
    assert any("3 of 24 recordings are left out" in note for note in dataset.notes)


def test_kaldi(tmp_path: Path) -> None:
    """Absolute paths, parts of long recordings, speakers; and a command in wav.scp is not run."""
    for at, (name, count) in enumerate((("train", 16), ("dev", 4), ("test", 4))):
        long = wav(tmp_path / "sounds" / f"{name}.wav", at, seconds=count / 2)
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        (folder / "wav.scp").write_text(f"rec {long}\nodd touch {tmp_path}/run |\n")
        ids = [f"utt{i:02}" for i in range(count)]
        (folder / "text").write_text("".join(f"{u} {TEXTS[i % 4]}\n" for i, u in enumerate(ids)))
        (folder / "segments").write_text("".join(f"{u} rec {i / 2} {i / 2 + 0.5}\n" for i, u in enumerate(ids)))
        (folder / "utt2spk").write_text("".join(f"{u} s{i % 4}\n" for i, u in enumerate(ids)))
    dataset = data.open(of(tmp_path / "data"))
    assert sizes(dataset) == {"train": 16, "val": 4, "test": 4}
    train = dataset.split("train")
    whole = sounds.wave.open(str(tmp_path / "sounds" / "train.wav")).readframes(64_000)
    assert train.raw(3)["samples"].tobytes() == whole[2 * 12_000 : 2 * 16_000], "from 1.5 s to 2 s"
    folder = tmp_path / "data" / "train"
    (folder / "segments").unlink()
    (folder / "text").write_text("rec go left\nodd stop now\n")
    with pytest.raises(DataError, match=r"text:2: wav\.scp has a command, which is not run"):
        data.open(of(folder))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("moved", [False, True])
def test_nemo(tmp_path: Path, moved: bool) -> None:
    for at, (name, count) in enumerate((("train", 12), ("val", 4), ("test", 4))):
        lines = []
        for i in range(count):
            path = wav(tmp_path / "audio" / f"{name}{i}.wav", 100 * at + i)
            stated = Path("/mnt/elsewhere/corpus/audio") / path.name if moved else path
            lines.append(json.dumps({"audio_filepath": str(stated), "duration": 0.5, "text": TEXTS[i % 4]}))
        (tmp_path / f"{name}_manifest.json").write_text("\n".join(lines))
    dataset = data.open(of(tmp_path))
    assert sizes(dataset) == {"train": 12, "val": 4, "test": 4} and spoken(dataset)["train1.wav"] == "stop now"
    lines = [json.dumps({"audio_filepath": "/etc/passwd", "duration": 0.5, "text": "go"}), *lines]
    (tmp_path / "test_manifest.json").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"test_manifest\.json:1: '/etc/passwd' is no sound file"):
        data.open(of(tmp_path))


def test_parts_of_a_recording_in_a_manifest(tmp_path: Path) -> None:
    wav(tmp_path / "long.wav", 0, seconds=10)
    rows = [{"audio_filepath": "long.wav", "offset": i / 2, "duration": 0.5, "text": TEXTS[i % 4]} for i in range(20)]
    (tmp_path / "manifest.json").write_text("\n".join(map(json.dumps, rows)))
    dataset = data.open(of(tmp_path))
    assert sum(sizes(dataset).values()) == 20 and dataset.split("train").raw(0)["samples"].shape == (4000,)
    assert dataset.facts["longest"] == 0.5
