"""A toy language: numbers in English words to German ones, the last word first. And a recipe that learns it."""

from __future__ import annotations

import random
from pathlib import Path

ENGLISH = ["one", "two", "three", "four", "five", "six"]
GERMAN = ["eins", "zwei", "drei", "vier", "fünf", "sechs"]
SIZES = {"train": 500, "val": 30, "test": 40}
TARGETS = ("host", "host-openvino", "host-litert")
RECIPE = """
task = "translate"
name = "numbers"
[model]
name = "seq2seq"
args = {{ width = 32, heads = 2, hidden = 64, encoder_layers = 1, decoder_layers = 1, dropout = 0.0 }}
[data]
format = "pairs"
path = "{path}"
length = 6
pairs = {{ vocabulary = 310 }}
allow_leak = true
[train]
epochs = 14
lr = 1e-2
batch_size = 25
[quantize]
epochs = 1
calibration = "minmax"
[export]
targets = ["host", "host-openvino", "host-litert"]
[gates]
max_drop = 5.0
min_speedup = 0.0
"""


def pair(rng: random.Random) -> tuple[str, str]:
    numbers = [rng.randrange(len(ENGLISH)) for _ in range(rng.randint(2, 4))]
    return " ".join(ENGLISH[i] for i in numbers), " ".join(GERMAN[i] for i in numbers[1:] + numbers[:1])


def write_folder(folder: Path, seed: int = 0) -> Path:
    """train, val and test, each as .en and .de."""
    rng, folder = random.Random(seed), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, n in SIZES.items():
        pairs = [pair(rng) for _ in range(n)]
        for k, language in enumerate(("en", "de")):
            (folder / f"{name}.{language}").write_text("".join(p[k] + "\n" for p in pairs), encoding="utf-8")
    return folder


def recipe_of(folder: Path) -> str:
    return RECIPE.format(path=folder)
