"""Small inputs, each with the property of a public report, and what is right for it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from small_cases import CASES, CELLS, REFUSED, folder, opened

from edgeft import data
from edgeft.config import recipe
from edgeft.core.errors import DataError
from edgeft.inputs import run_clip, run_picture_file


def samples(dataset: data.Dataset) -> list[tuple[data.Split, int]]:
    return [(dataset.split(name), i) for name in dataset.splits for i in range(len(dataset.split(name)))]


def test_every_input_is_named() -> None:
    assert {path.name for path in folder().iterdir() if path.is_dir()} == {*CASES, *REFUSED}


@pytest.mark.parametrize("name", CASES)
def test_it_is_understood(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case, dataset = CASES[name], opened(name, monkeypatch)
    assert tuple(len(dataset.split(part)) for part in ("train", "val", "test")) == case.counts
    assert case.labels is None or tuple(dataset.labels) == case.labels

    notes = "\n".join(dataset.notes)
    for words in case.notes:
        assert words in notes
    for words in case.silent:
        assert words not in notes.replace("the one without annotations (id 0) is left out", "")


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(("c_", "cc_", "y_"))])
def test_boxes_lie_on_their_objects(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects are squares of the colour that their class is called by; where classes are numbers, 0 is red.

    Some squares hide others, so that one box in twenty may show another colour.
    """
    right = []
    for split, i in samples(opened(name, monkeypatch)):
        pixels, target = np.asarray(split.raw(i)).astype(int), split.targets[i]
        for (x1, y1, x2, y2), label in zip(np.round(target["boxes"]).astype(int), target["classes"]):
            inside = pixels[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].mean(axis=(0, 1))
            right.append(int(inside[:2].argmax()) == int(label) and np.ptp(inside[:2]) > 20)

    assert len(right) >= 40 and np.mean(right) >= 0.95


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("s_")])
def test_masks_lie_on_their_objects(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects are red on gray."""
    for split, i in samples(opened(name, monkeypatch)):
        pixels, mask = np.asarray(split.raw(i)).astype(int), np.asarray(split.targets[i])
        red = pixels[..., 0] - pixels[..., 1] > 90
        share = (red & (mask == CELLS.index("object"))).sum() / (red | (mask == CELLS.index("object"))).sum()
        assert set(np.unique(mask)) == {0, 1} and share > 0.85


@pytest.mark.parametrize(("name", "count"), [("p_q2", 2), ("v_q3", 3), ("t_tsvq", 6)])
def test_quotes_of_a_tab_separated_file_are_letters(name: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line is a sample; a quote that nothing closes stays where texts are kept as they are."""
    dataset = opened(name, monkeypatch)
    assert sum(map(len, dataset.splits.values())) == {"p_q2": 200, "v_q3": 100, "t_tsvq": 60}[name]
    if name == "v_q3":
        return

    texts = [str(split.raw(i)) for split, i in samples(dataset)]
    assert len(set(texts)) == len(texts) and sum('"' in text for text in texts) == count


def test_a_table_of_recordings_names_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = opened("v_q3", monkeypatch)
    assert {Path(split.source(i)).name for split, i in samples(dataset)} == {f"a{i:03d}.wav" for i in range(100)}


def test_missing_values_are_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = opened("t_nan", monkeypatch)
    assert not [text for split, i in samples(dataset) if (text := str(split.raw(i))).lower() == "nan"]


def test_words_of_an_old_encoding_keep_their_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = opened("t_lat", monkeypatch)
    assert all("café" in str(split.raw(i)) for split, i in samples(dataset))


def test_pictures_of_twelve_bits_keep_their_contrast(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = opened("i_12bit", monkeypatch)
    spec = {"value_range": list(dataset.facts["value_range"])}
    assert spec["value_range"] == [0, 4095]
    for split, i in samples(dataset)[:5]:
        assert np.asarray(split.raw(i)).max() > 50, "the upper byte of 12 bits is at most 15"
        assert (run_picture_file.read(split.source(i), spec) == np.asarray(split.raw(i))).all(), "as the board reads it"


@pytest.mark.parametrize("name", ["k_pipe", "k_wavex"])
def test_the_board_reads_the_sounds_that_training_reads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for split, i in samples(opened(name, monkeypatch))[:6]:
        here, there = split.raw(i), run_clip.read(split.source(i))
        assert len(here["samples"]) and here["rate"] == there["rate"]
        assert (np.asarray(here["samples"]) == np.asarray(there["samples"])).all()


def test_no_episode_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("o_done", "o_d4"):
        homes: dict[int, set[str]] = {}
        for split, i in samples(opened(name, monkeypatch)):
            step = int(split.source(i).rpartition("[")[2].rstrip("]"))
            homes.setdefault(step // 60, set()).add(split.name)
        assert len(homes) == 10 and all(len(parts) == 1 for parts in homes.values())


def test_four_frames_reach_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = opened("o_fs2", monkeypatch)
    stored = np.load("d.npz")["obs"]
    for split, i in samples(dataset)[:20]:
        step = int(split.source(i).rpartition("[")[2].rstrip("]"))
        assert (split.raw(i) == stored[step]).all()


def test_choices_are_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="numbers of choices") as raised:
        opened("o_dt", monkeypatch)
    assert 'task = "control-discrete"' in str(raised.value.remedy)

    stated = dataclasses.replace(recipe.load(Path("recipe.toml")).data, actions="discrete")
    dataset = data.open(stated, "control-discrete")
    assert tuple(dataset.labels) == ("0", "1", "2", "3") and dataset.split("train").classes is not None


def test_pictures_that_are_none_are_counted_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stubs of .heic end the run; without them .jfif and .avif are read."""
    pytest.importorskip("pillow_heif")
    with pytest.raises(DataError, match="30 of 97 images") as raised:
        opened("i_heic", monkeypatch).split("train")
    assert "IMG_0.HEIC" in str(raised.value) and ".avif" not in str(raised.value)

    source = folder() / "i_heic"
    for path in source.rglob("*"):
        if path.is_file() and path.suffix != ".HEIC":
            (tmp_path / path.relative_to(source).parent).mkdir(parents=True, exist_ok=True)
            os.symlink(path, tmp_path / path.relative_to(source))
    monkeypatch.chdir(tmp_path)
    loaded = recipe.load(Path("recipe.toml"))
    readable = [path for path in tmp_path.rglob("*") if path.suffix in (".png", ".jfif", ".avif")]
    dataset = data.open(loaded.data, loaded.task)
    assert sum(map(len, dataset.splits.values())) == len(readable) == 100


def test_an_hdf5_that_is_cut_short_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole files of D4RL and Minari are read: test_episodes.py."""
    pytest.importorskip("h5py")
    with pytest.raises(DataError, match="not a readable HDF5 file"):
        opened("o_d_hdf5", monkeypatch)
