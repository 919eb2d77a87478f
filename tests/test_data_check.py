"""`edgeft data check`: what it says of each task's data, its page, and what it answers to a wrong call."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import cartpole
import interactions_data
import mask_shapes
import numbers_run
import numpy as np
import pytest
import scenes
import shapes_run
import sounds
import text_run

from edgeft import tasks
from edgeft.cli.entry import run
from edgeft.data.samples import Split
from edgeft.data_check import check_data
from edgeft.tasks import LabelCounts

COUNTS = {"train": 6, "val": 3, "test": 3}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def recording(path: Path) -> Path:
    """Steps of a control that is nearly always zero, in four episodes."""
    rng = np.random.default_rng(0)
    acts = np.where(rng.random((200, 1)) < 0.9, 0.0, rng.uniform(-1, 1, (200, 1))).astype(np.float32)
    ends = np.arange(200) % 50 == 49
    np.savez(path, obs=rng.normal(size=(200, 3)).astype(np.float32), acts=acts, dones=ends)
    return path


def columns(folder: Path, task: str, form: str) -> Path:
    """The recipe of a table of two numbers and a category, and what is predicted from them."""
    numbers = np.random.default_rng(0).normal(size=(60, 2)).round(4)
    lines = ["width,height,colour,target"]
    for i, (width, height) in enumerate(numbers):
        target = {"tabular": "up" if width > 0 else "down", "tabular-values": width}.get(
            task, "normal" if i % 6 else "worn"
        )
        lines.append(f"{width},{height},{'red' if height > 0 else 'blue'},{target}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    data = {"format": form, "path": str(folder / "table.csv"), "label": "target"}
    text = f'task = "{task}"\n[data]\n' + "".join(f"{key} = {json.dumps(value)}\n" for key, value in data.items())
    (folder / "recipe.toml").write_text(text)
    return folder / "recipe.toml"


def uneven_boxes(root: Path) -> Path:
    """Pictures with thirteen boxes of one class and one of another each."""
    rng = np.random.default_rng(0)
    for split, count in COUNTS.items():
        for i in range(count):
            pixels = rng.integers(70, 110, (60, 100, 3)).astype(np.uint8)
            boxes = [scenes.line((int(k == 0), 7 * k, 5, 7 * k + 6, 20)) for k in range(14)]
            scenes.save(root / "images" / split / f"{i}.png", pixels)
            (root / "labels" / split).mkdir(parents=True, exist_ok=True)
            (root / "labels" / split / f"{i}.txt").write_text("\n".join(boxes))
    (root / "data.yaml").write_text("names: [red, platelet]\n")
    return root


def tagged(path: Path) -> Path:
    """Sentences of a name and a verb each, in CoNLL's form."""
    path.write_text("\n".join(f"Anna{i} B-PER\nslept O\n" for i in range(30)))
    return path


def maps(path: Path) -> Path:
    """Noisy pictures as arrays, and what they were."""
    clean = np.random.default_rng(0).random((40, 1, 8, 8)).astype(np.float32)
    np.savez(path, inputs=clean + 0.1, targets=clean)
    return path


def questions(path: Path) -> Path:
    """Queries with a passage each."""
    path.write_text("query,positive\n" + "".join(f"where is it {i},it is at {i}\n" for i in range(40)))
    return path


WRITERS = {
    "classify": lambda p: shapes_run.write_data(p / "d.npz"),
    "detect": lambda p: scenes.write_yolo(p / "d", COUNTS),
    "segment": lambda p: mask_shapes.write_folder(p / "d", COUNTS),
    "keyword": lambda p: sounds.write_folder(p / "d", COUNTS),
    "speech": lambda p: sounds.write_sentences(p / "d", COUNTS),
    "text-classify": lambda p: text_run.reviews(p / "r.csv"),
    "embed": lambda p: questions(p / "d.csv"),
    "token-classify": lambda p: tagged(p / "d.conll"),
    "translate": lambda p: numbers_run.write_folder(p / "d"),
    "recommend": lambda p: interactions_data.write_ratings(p / "ratings.csv"),
    "regress": lambda p: maps(p / "d.npz"),
    "control": lambda p: recording(p / "d.npz"),
    "control-discrete": lambda p: cartpole.write_rollouts(p / "d.npz", 6),
    "tabular": lambda p: columns(p, "tabular", "table"),
    "tabular-values": lambda p: columns(p, "tabular-values", "table-values"),
    "tabular-anomaly": lambda p: columns(p, "tabular-anomaly", "table-anomaly"),
}


def test_every_task_of_edgeft_is_tried_here() -> None:
    assert set(WRITERS) == set(tasks.BUILTIN)


@pytest.mark.parametrize("task", WRITERS)
def test_a_page_of_every_task_has_ten_samples_with_labels(task: str, tmp_path: Path) -> None:
    result = check_data(WRITERS[task](tmp_path), out=tmp_path / "page.html")
    assert result["task"] == task and list(result["splits"]) == ["train", "val", "test"]
    page = (tmp_path / "page.html").read_text()
    figures = re.findall(r"<figure.*?</figure>", page, re.DOTALL)
    assert len(figures) == min(10, sum(result["splits"].values()))
    assert {re.search(r">(train|val|test): ", figure)[1] for figure in figures} == {"train", "val", "test"}  # type: ignore[index]
    assert not re.search(r'(src|href)="(?!data:|#)', page), "something is loaded from outside"
    assert all('alt="sample' in image for image in re.findall(r"<img[^>]*>", page))


def shown(task: str, tmp_path: Path) -> dict[str, Any]:
    """The first training sample as the page shows it."""
    from edgeft import data
    from edgeft.data.understand import understand

    understood = understand(WRITERS[task](tmp_path))
    dataset = data.open(understood.data, task)
    return tasks.show_sample(tasks.get(task), dataset.split("train"), 0, dataset.labels)


def test_boxes_and_masks_are_drawn_in_the_colours_of_their_legend(tmp_path: Path) -> None:
    for task in ("detect", "segment"):
        (tmp_path / task).mkdir()
        sample = shown(task, tmp_path / task)
        pixels = np.asarray(sample["image"]).reshape(-1, 3).astype(int)
        assert sample["legend"] and sample["caption"]
        for colour in sample["legend"].values():
            # a mask lies over the picture at six tenths; a box is drawn in its colour
            expected = np.array(colour) if task == "detect" else 0.6 * np.array(colour)
            reach = 0 if task == "detect" else 0.4 * 255
            assert ((pixels >= expected - 1) & (pixels <= expected + reach + 1)).all(axis=1).any(), (task, colour)


def test_a_sound_can_be_heard_as_it_is(tmp_path: Path) -> None:
    import wave

    check_data(WRITERS["keyword"](tmp_path), out=tmp_path / "page.html", samples=1)
    encoded = re.search(r'src="data:audio/wav;base64,([^"]+)"', (tmp_path / "page.html").read_text())
    assert encoded is not None
    with wave.open(io.BytesIO(base64.b64decode(encoded[1]))) as file:
        assert (file.getframerate(), file.getnframes()) == (8000, 4000)
        assert np.abs(np.frombuffer(file.readframes(4000), "<i2").astype(int)).max() > 500


def test_thirteen_to_one_is_told_of_boxes(tmp_path: Path) -> None:
    result = check_data(uneven_boxes(tmp_path / "d"), samples=0)
    assert result["counts"]["unit"] == "boxes"
    assert result["counts"]["by_label"]["red"]["train"] == 13 * COUNTS["train"]
    assert any("13:1" in line and "platelet" in line for line in result["imbalance"])
    assert result["page"] is None


def test_the_same_is_told_before_training(tmp_path: Path) -> None:
    from edgeft import data
    from edgeft.config import recipe

    dataset = data.open(recipe.Data(format="yolo", path=str(uneven_boxes(tmp_path / "d"))), "detect")
    assert any("13:1" in line for line in data.check(dataset, tasks.get("detect")))


def test_values_that_hardly_change_are_told(tmp_path: Path) -> None:
    result = check_data(recording(tmp_path / "d.npz"), samples=0)
    assert any("of the values of action lie between" in line for line in result["imbalance"])
    assert result["values"]["action"]["min"] < 0 < result["values"]["action"]["max"]


def test_a_speaker_in_two_splits_is_a_leak(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split, takes in (("train", 6), ("test", 2)):
        for label in sounds.LABELS:
            for speaker in ("ann", "bob"):
                for take in range(takes):
                    name = f"{label}_{speaker}_{split}{take}.wav"
                    sounds.write(tmp_path / "d" / split / name, sounds.clip(label, rng))
    result = check_data(tmp_path / "d", samples=0)
    assert any("'speaker' in test are also in train (ann, bob)" in line for line in result["leaks"])
    assert run(["data", "check", str(tmp_path / "d"), "--samples", "0"]) == 0
    assert run(["data", "check", str(tmp_path / "d"), "--samples", "0", "--strict"]) == 1


def test_exact_copies_are_a_leak_and_files_left_out_are_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 40), ("test", 4)):
        for label in ("cat", "dog"):
            for i in range(count):
                scenes.save(tmp_path / "d" / split / label / f"{i}.png", rng.integers(0, 255, (16, 16, 3), np.uint8))
    copy = (tmp_path / "d" / "train" / "cat" / "0.png").read_bytes()
    (tmp_path / "d" / "test" / "cat" / "0.png").write_bytes(copy)
    (tmp_path / "d" / "train" / "dog" / "broken.png").write_bytes(b"no picture")
    result = check_data(tmp_path / "d", samples=0)
    assert any(line.startswith("leak: 1 of 8 test samples are also in train") for line in result["leaks"])
    assert any("broken.png" in line for line in result["left_out"])


def test_a_plug_in_task_without_hooks_is_shown_plainly(tmp_path: Path) -> None:
    plain = dataclasses.replace(tasks.get("keyword"), show_sample=None, count_labels=None)

    class Pool:
        def __len__(self) -> int:
            return 4

        def raw(self, i: int) -> Any:
            return np.array([1.5, i], np.float32)

        def source(self, i: int) -> str:
            return f"row {i}"

    split = Split("train", Pool(), np.arange(4), np.array([0, 1, 1, 1]))
    assert tasks.show_sample(plain, split, 1, ("a", "b")) == {"text": "1.5 1", "caption": "b"}
    counts = tasks.count_labels(plain, split, ("a", "b"))
    assert isinstance(counts, LabelCounts) and counts.counts.tolist() == [1, 3]


# -- the command -----------------------------------------------------------------------------------------------------
def ask(capfd: pytest.CaptureFixture[str], *argv: object) -> tuple[int, dict[str, Any]]:
    code = run([*map(str, argv), "--json"])
    out, err = capfd.readouterr()
    assert out.count("\n") == 1 and "Traceback" not in err, (out, err)
    return code, json.loads(out)


def test_a_recipe_is_checked_by_its_own_keys(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    table = sounds.write_sentences(tmp_path / "d", COUNTS)
    file = tmp_path / "recipe.toml"
    file.write_text(f'task = "speech"\n[data]\nformat = "wav-folder"\nunits = "words"\npath = "{table.as_posix()}"\n')
    code, result = ask(capfd, "data", "check", file)
    assert code == 0 and result["counts"]["unit"] == "tokens"
    assert set(result["labels"]) == set(sounds.LABELS)
    assert Path(result["page"]).name == f"data-{tmp_path.name}.html" and Path(result["page"]).is_file()
    assert ask(capfd, "data", "check", file)[0] == 0, "a page of an earlier check is replaced"
    Path(result["page"]).write_text("mine")
    code, refused = ask(capfd, "data", "check", file)
    assert code == 2 and "--overwrite" in refused["remedy"] and Path(result["page"]).read_text() == "mine"
    assert ask(capfd, "data", "check", file, "--task", "keyword")[0] == 2


def test_wrong_calls_have_the_exit_codes_of_the_contract(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, refused = ask(capfd, "data", "check", tmp_path / "absent")
    assert code == 3 and "no such file or folder" in refused["message"]
    code, refused = ask(capfd, "data", "check", shapes_run.write_data(tmp_path / "d.npz"), "--format", "npzz")
    assert code == 2 and "npz" in refused["remedy"]
    code, refused = ask(capfd, "data", "check", tmp_path / "d.npz", "--set", "data.split=[1]")
    assert code == 3
    assert ask(capfd, "data")[0] == 2
    assert list(Path.cwd().iterdir()) == [], "nothing is written where a check fails"


def test_people_read_what_was_understood(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "check", str(uneven_boxes(tmp_path / "d"))]) == 0
    out = capfd.readouterr().out
    assert "yolo, for detect" in out and "13:1" in out and "page: data-d.html" in out
    assert re.search(r"BOXES +train +val +test", out)


def test_the_dry_run_shows_the_data_and_writes_its_page(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from edgeft.config import recipe

    data = shapes_run.write_data(tmp_path / "d.npz")
    table = recipe.from_table(shapes_run.recipe_of(data), "table")
    file = tmp_path / "recipe.toml"
    file.write_text(recipe.dumps(table))
    code, result = ask(capfd, "tune", file, "--dry-run", "--page", tmp_path / "page.html")
    assert code == 0 and result["data"]["format"] == "npz" and result["data"]["splits"] == result["samples"]
    assert "<figure" in (tmp_path / "page.html").read_text()
    assert ask(capfd, "tune", file, "--page", tmp_path / "page.html")[0] == 2
    assert run(["tune", str(file), "--dry-run"]) == 0
    captured = capfd.readouterr()
    warnings = [line for line in captured.err.splitlines() if "warning" in line]
    assert re.search(r"SAMPLES +train +val +test", captured.out)
    assert len(warnings) == 1 and "the weights begin at random" in warnings[0], "nothing is wrong with the data"


def test_answers_of_another_task_are_refused_with_the_sample(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = sounds.write_folder(tmp_path / "sounds", {"train": 2, "val": 1, "test": 1})
    assert run(["data", "check", str(folder), "--task", "speech", "--format", "wav-folder", "--json"]) == 3
    refusal = json.loads(capfd.readouterr().out)
    assert refusal["error"] == "DataError" and ".wav" in refusal["where"] and "speech" in refusal["message"]
