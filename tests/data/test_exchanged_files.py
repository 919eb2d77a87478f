"""Files as their fields exchange them: recognized and read as what they are, or refused with what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError
from edgeft.data import brush
from edgeft.data.boxes import Wrong
from edgeft.data.understand import Understood, understand


def opened(path: Path) -> tuple[Understood, data.Dataset]:
    seen = understand(path)
    return seen, data.open(seen.data, seen.task)


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 10, 3), np.uint8)).save(path)


TEXTS = [{"text": f"a film of number {i}", "label": ("bad", "good")[i % 2]} for i in range(40)]
PAIRS = [{"translation": {"en": f"the house {i} is small", "de": f"das Haus {i} bleibt klein"}} for i in range(30)]
TAKEN = [
    {"reviewerID": f"A{u}", "asin": f"B{i}", "overall": 5.0, "unixReviewTime": u + i} for u in (1, 2) for i in (1, 2)
]


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize(("rows", "task"), [(TEXTS, "text-classify"), (PAIRS, "translate"), (TAKEN, "recommend")])
def test_a_json_file_is_recognized_by_its_objects(tmp_path: Path, lines: bool, rows: Any, task: str) -> None:
    path = tmp_path / "data.json"
    path.write_text("\n".join(map(json.dumps, rows)) if lines else json.dumps(rows, indent=1))
    assert understand(path).task == task
    if task != "recommend":
        _, dataset = opened(path)
        assert sum(map(len, dataset.splits.values())) == len(rows)


def test_a_translation_memory_is_recognized_with_its_languages(tmp_path: Path) -> None:
    units = "".join(
        f'<tu><tuv xml:lang="de-DE"><seg>das Haus {i}</seg></tuv>'
        f'<tuv xml:lang="EN-us"><seg>the house {i}</seg></tuv></tu>'
        for i in range(20)
    )
    header = '<header srclang="en-US" segtype="sentence"/>'
    (tmp_path / "memory.tmx").write_text(f'<?xml version="1.0"?><tmx version="1.4">{header}<body>{units}</body></tmx>')
    seen, dataset = opened(tmp_path)
    assert seen.data.pairs == {"source": "en", "target": "de"}
    assert dataset.split("train").raw(0).startswith("the house")


def test_folders_of_splits_and_of_kinds_are_no_classes(tmp_path: Path) -> None:
    for i in range(20):
        picture(tmp_path / "train_images" / f"{i:05d}.png", i)
    for i in range(20, 26):
        picture(tmp_path / "test_images" / f"{i:05d}.png", i)
    with pytest.raises(DataError, match="holds no data that a format recognizes"):
        understand(tmp_path)

    (tmp_path / "train.csv").write_text("id_code,diagnosis\n" + "".join(f"{i:05d},{i % 2}\n" for i in range(20)))
    (tmp_path / "test.csv").write_text("id_code\n" + "".join(f"{i:05d}\n" for i in range(20, 26)))
    seen, dataset = opened(tmp_path)
    assert seen.data.format == "image-table" and dataset.labels == ("0", "1")
    assert sum(map(len, dataset.splits.values())) == 20
    assert any("test.csv: has no 'diagnosis': it is left out" in note for note in dataset.notes)


def test_masks_of_a_voc_like_set_are_no_class_and_its_numbered_names_are_read(tmp_path: Path) -> None:
    for i in range(10):
        picture(tmp_path / "JPEGImages" / f"{i}.jpg", i)
        (tmp_path / "SegmentationClassContext").mkdir(exist_ok=True)
        mask = np.full((8, 10), i % 3, np.uint8)
        Image.fromarray(mask).save(tmp_path / "SegmentationClassContext" / f"{i}.png")
    (tmp_path / "labels.txt").write_text("0: background\n1: aeroplane\n2: bird\n")
    seen, dataset = opened(tmp_path)
    assert (seen.task, dataset.labels) == ("segment", ("background", "aeroplane", "bird"))


SENTENCE = "1\tThe\tthe\tDET\t_\t_\t2\tdet\t_\t_\n2-3\tdogs'\t_\t_\t_\t_\t_\t_\t_\t_\n"
SENTENCE += "2\tdog{i}\tdog\tNOUN\t_\t_\t0\troot\t_\t_\n2.1\tx\tx\tX\t_\t_\t_\t_\t_\t_\n\n"


def test_universal_dependencies_have_words_and_parts_of_speech(tmp_path: Path) -> None:
    for part in ("train", "dev", "test"):
        text = "".join(
            f"# sent_id = {part}{i}\n# text = O\n" + SENTENCE.replace("{i}", part + str(i)) for i in range(6)
        )
        (tmp_path / f"en_ewt-ud-{part}.conllu").write_text(text)
    seen, dataset = opened(tmp_path)
    assert (seen.task, len(dataset.split("test"))) == ("token-classify", 6)
    assert {"B-DET", "B-NOUN"} <= set(dataset.labels) and "B-X" not in dataset.labels
    assert len(dataset.split("val").raw(0)["words"]) == 2
    assert any("parts of speech (UPOS" in note for note in dataset.notes)


def test_splits_are_told_by_words_between_digits(tmp_path: Path) -> None:
    for name in ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated"):
        rows = "".join(f"@sam{i}{name[9]}\tO\nParis\tB-location\n\n" for i in range(5))
        (tmp_path / name).write_text(rows)
    _, dataset = opened(tmp_path)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 5, "val": 5, "test": 5}


def test_containers_of_other_programs_are_refused_with_what_to_do(tmp_path: Path) -> None:
    for i in range(2):
        (tmp_path / f"train-{i:05d}-of-00002.tfrecord").write_bytes(b"\x00\x01")
    with pytest.raises(DataError) as caught:
        understand(tmp_path)
    assert "a TFRecord, which TensorFlow alone reads: write its pictures into a folder" in caught.value.remedy


def test_an_encoding_that_changes_is_refused_with_its_key(tmp_path: Path) -> None:
    lines = [f"Das Brot war sch\u00f6n {i},{('gut', 'schlecht')[i % 2]}" for i in range(40)]
    content = b"".join((line + "\n").encode("utf-8" if i < 20 else "cp1252") for i, line in enumerate(lines))
    (tmp_path / "reviews.csv").write_bytes(b"text,label\n" + content)
    with pytest.raises(DataError, match="is not UTF-8") as caught:
        data.open(Data(format="csv", path=str(tmp_path / "reviews.csv")))
    assert "data.encoding" in caught.value.remedy


@pytest.mark.parametrize("prefix", ["data/obj/", "/content/darknet/data/obj/", "C:\\\\work\\\\obj\\\\", "obj/"])
def test_lists_of_darknet_name_pictures_of_another_folder(tmp_path: Path, prefix: str) -> None:
    for i in range(12):
        picture(tmp_path / "obj" / f"{i}.jpg", i)
        (tmp_path / "obj" / f"{i}.txt").write_text(f"{i % 2} 0.5 0.5 0.2 0.3\n")
    (tmp_path / "obj.names").write_text("cat\ndog\n")
    for part, numbers in (("train", range(9)), ("valid", range(9, 12))):
        (tmp_path / f"{part}.txt").write_text("".join(f"{prefix}{i}.jpg\n" for i in numbers))
    _, dataset = opened(tmp_path)
    assert dataset.labels == ("cat", "dog") and len(dataset.split("val")) == 3
    assert sum(map(len, dataset.splits.values())) == 12


def packed(mask: np.ndarray, same: bool = True) -> list[int]:
    """A mask as Label Studio writes brushes, in runs of one value or in runs whose values are all written."""
    values, bits = np.repeat(mask.ravel().astype(int) * 255, 4), ""
    bits += f"{len(values):032b}{7:05b}" + "".join(f"{width - 1:04b}" for width in (3, 4, 8, 16))
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    for begin, end in pairwise(edges):
        kind = next(k for k, width in enumerate((3, 4, 8, 16)) if end - begin <= 1 << width)
        bits += f"{int(same)}{kind:02b}" + f"{end - begin - 1:0{(3, 4, 8, 16)[kind]}b}"
        bits += "".join(f"{value:08b}" for value in (values[begin : begin + 1] if same else values[begin:end]))
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


@pytest.mark.parametrize("same", [True, False])
def test_brushes_of_label_studio_are_masks(tmp_path: Path, same: bool) -> None:
    mask = np.zeros((8, 10), np.uint8)
    mask[2:6, 3:9] = 1
    mask[3, 4] = 0
    tasks = []
    for i in range(12):
        picture(tmp_path / f"{i}.png", i)
        value = {"format": "rle", "rle": packed(mask, same), "brushlabels": [("cell", "bug")[i % 2]]}
        result = {"type": "brushlabels", "original_width": 10, "original_height": 8, "value": value}
        tasks.append({"data": {"image": f"/data/upload/1/0123abcd-{i}.png"}, "annotations": [{"result": [result]}]})
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    seen, dataset = opened(tmp_path)
    assert (seen.task, dataset.labels) == ("segment", ("background", "bug", "cell"))
    for split in dataset.splits.values():
        for target in split.targets:
            assert ((np.asarray(target) > 0) == mask).all()
    boxes = data.open(Data(format="label-studio", path=str(tmp_path)), "detect")
    assert boxes.split("train").targets[0]["boxes"].tolist() == [[3, 2, 9, 6]]


BROKEN: list[Callable[[list[int]], list[int]]] = [
    lambda runs: runs[:9],
    lambda runs: [*runs[:3], runs[3] + 4, *runs[4:]],
    lambda runs: [300, *runs],
    lambda runs: [],
]


@pytest.mark.parametrize("broken", BROKEN)
def test_brushes_that_do_not_fit_are_refused(broken: Callable[[list[int]], list[int]]) -> None:
    with pytest.raises(Wrong, match="a brush"):
        brush.mask(broken(packed(np.eye(6, dtype=np.uint8))), (6, 6), "here")


def test_tags_of_several_words_are_several_labels(tmp_path: Path) -> None:
    tags = ("clear primary", "haze primary water", "clear", "haze")
    for i in range(20):
        picture(tmp_path / "train" / f"{i}.png", i)
    rows = [f"{i},{tags[i % 4]}" for i in range(20)]
    (tmp_path / "train.csv").write_text("\n".join(["image_name,tags", *rows]))
    with pytest.raises(DataError, match="2 labels are several in one, such as 'clear primary'"):
        data.open(Data(format="image-table", path=str(tmp_path), label="tags"), "classify")
    (tmp_path / "train.csv").write_text("\n".join(["image_name,label", *rows]))
    assert len(data.open(Data(format="image-table", path=str(tmp_path)), "classify").labels) == 4


def test_ids_of_open_images_get_their_names(tmp_path: Path) -> None:
    rows = ["ImageID,LabelName,XMin,XMax,YMin,YMax"]
    for i in range(12):
        picture(tmp_path / "train" / f"{i:04x}.png", i)
        rows.append(f"{i:04x},/m/0{('1g317', 'k4j')[i % 2]},0.1,0.5,0.2,0.7")
    (tmp_path / "train-annotations-bbox.csv").write_text("\n".join(rows))
    names = tmp_path / "class-descriptions-boxable.csv"
    names.write_text('/m/01g317,Person\n/m/0k4j,"Car, any"\n/m/0x,Other\n')
    _, dataset = opened(tmp_path)
    assert dataset.labels == ("Car, any", "Person")
    assert not any("not read" in note for note in dataset.notes)
    names.write_text("/m/01g317,Car\n/m/0k4j,Car\n")
    assert opened(tmp_path)[1].labels == ("/m/01g317", "/m/0k4j")


def test_comment_lines_and_packed_sounds_are_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("# logger 2.1\nheat,load,fault\n" + "".join(f"{i}.5,{i},{i % 2}\n" for i in range(30)))
    with pytest.raises(DataError) as caught:
        understand(path)
    assert "begins with '# logger 2.1': take comment lines out" in caught.value.remedy
    for name in ("yes", "no"):
        (tmp_path / "sounds" / name).mkdir(parents=True)
        (tmp_path / "sounds" / name / "a.m4a").write_bytes(b"ftyp")
    with pytest.raises(DataError, match=r"holds sounds such as a\.m4a") as caught:
        data.open(Data(format="wav-folder", path=str(tmp_path / "sounds")))
    assert "ffmpeg -i a.m4a a.wav" in caught.value.remedy
