"""Real sentences, English to German: a part of the data and a small network, through every runtime."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import real_data

from edgeft.config import recipe as recipes
from edgeft.predict import predict

TARGETS = ["host", "host-openvino", "host-litert"]
#: sentences of each split
TAKEN = {"train": 4000, "val": 100, "test": 150}


def part(root: Path, folder: Path) -> Path:
    """The first sentences of each split."""
    folder.mkdir()
    for path in sorted(root.glob("*.gz")):
        split = path.name.split(".")[0].split("_")[0]
        with gzip.open(path, "rt", encoding="utf-8") as file:
            lines = file.read().splitlines()[: TAKEN[split]]
        with gzip.open(folder / path.name, "wt", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    return folder


@pytest.mark.slow
def test_sentences_are_translated_in_every_runtime(tmp_path: Path) -> None:
    root, recipe = real_data.folder("07_translation/multi30k"), real_data.example("translation/recipe.toml")
    pytest.importorskip("sacrebleu")
    import edgeft

    made = recipes.as_table(recipes.load(recipe))
    made["data"]["path"] = str(part(root, tmp_path / "data"))
    made["data"]["pairs"]["vocabulary"] = 1000
    made["data"]["length"] = 60  # a smaller vocabulary cuts words into more tokens
    made["model"]["args"] = {"width": 96, "hidden": 192, "encoder_layers": 1, "decoder_layers": 1, "dropout": 0.1}
    made["train"]["epochs"] = 9
    made["quantize"] |= {"method": "ptq"}
    made["export"] = {"targets": TARGETS}
    made["gates"] = {"min_speedup": 0.0, "max_drop": 1.5}
    summary = edgeft.tune(made, tmp_path / "run")
    assert summary["float"] > summary["chance"] + 2, summary  # one sentence for all is what chance is here
    for report in edgeft.export(tmp_path / "run", TARGETS, tmp_path / "bundles"):
        gates = {g["name"]: g for g in reversed(report["gates"])}
        assert gates["accuracy"]["verdict"] == "pass", gates["accuracy"]["why"]
        assert gates["integer"]["verdict"] == "pass"
    (seen,) = predict(tmp_path / "bundles" / "host", ["a man is riding a bicycle ."])
    assert seen["label"]
