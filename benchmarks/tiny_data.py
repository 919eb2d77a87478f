"""Tiny data sets from fixed seeds, one for each kind of data: what a few epochs of a small network can learn.

Each `write_*` function writes one data set in a format that edgeft reads and returns its path. The files depend on
nothing but numpy's and Python's generators, so two checkouts train on the same bytes.
"""

from __future__ import annotations

import json
import random
import wave
from pathlib import Path
from typing import Any

import numpy as np

LANGUAGES = {
    "en": ["one", "two", "three", "four", "five", "six"],
    "de": ["eins", "zwei", "drei", "vier", "fünf", "sechs"],
}
WORDS = {
    "no": ["awful", "cheap", "itchy", "torn", "disappointing", "ugly"],
    "yes": ["great", "lovely", "perfect", "soft", "comfortable", "flattering"],
    "": ["the", "dress", "this", "shirt", "is", "was", "and", "it", "very", "fabric", "i", "wore", "color", "size"],
}


def picture(
    rng: np.random.Generator,
    height: int,
    width: int,
    shapes: list[str],
    radii: tuple[int, int] = (7, 11),
    colors: dict[str, tuple[int, int, int]] | None = None,
) -> tuple[np.ndarray, list[Any]]:
    """Shapes without overlap on a noisy ground: uint8 (height, width, 3), and (shape, bool mask) of each."""
    rows, columns = np.mgrid[:height, :width]
    pixels = rng.integers(70, 110, (height, width, 3)).astype(np.uint8)
    covered, masks = np.zeros((height, width), bool), []

    for shape in shapes:
        radius = rng.uniform(*radii)
        y, x = rng.uniform(radius, height - radius), rng.uniform(radius, width - radius)
        dy, dx = abs(rows - y), abs(columns - x)
        mask = {
            "circle": np.hypot(dy, dx) < radius,
            "square": np.maximum(dy, dx) < radius * 0.85,
            "cross": ((dy < radius / 3) | (dx < radius / 3)) & (np.maximum(dy, dx) < radius),
        }[shape]
        if not (mask & covered).any():
            color = colors[shape] if colors else rng.uniform(140, 230, 3)
            pixels[mask] = np.clip(color + rng.normal(0, 12, (int(mask.sum()), 3)), 0, 255)
            masks.append((shape, mask))
            covered |= mask

    return pixels, masks


def write_image(path: Path, pixels: np.ndarray) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_pictures(path: Path) -> Path:
    """An .npz of pictures of one shape each."""
    rng, labels = np.random.default_rng(0), ["circle", "cross", "square"]
    arrays: dict[str, Any] = {"labels": np.array(labels)}
    for split, count in {"train": 240, "val": 45, "test": 90}.items():
        targets = rng.permutation(np.arange(count) % 3)
        arrays[f"{split}_images"] = np.stack([picture(rng, 36, 36, [labels[t]])[0] for t in targets])
        arrays[f"{split}_labels"] = targets
    np.savez(path.with_suffix(".npz"), **arrays)
    return path.with_suffix(".npz")


def write_boxes(root: Path) -> Path:
    """Scenes of one or two shapes, with YOLO's text files of their boxes."""
    return _write_scenes(root, {"train": 64, "val": 12, "test": 24}, (60, 100), 2)


def write_single_boxes(root: Path) -> Path:
    """Scenes of one shape, whose colour tells its class, with YOLO's text files: easy for a net without pretraining."""
    colors = {"circle": (220, 70, 60), "square": (60, 80, 220)}
    return _write_scenes(root, {"train": 200, "val": 12, "test": 32}, (48, 64), 1, (8, 14), colors)


def _write_scenes(
    root: Path,
    counts: dict[str, int],
    size: tuple[int, int],
    most: int,
    radii: tuple[int, int] = (7, 11),
    colors: dict[str, tuple[int, int, int]] | None = None,
) -> Path:
    rng, labels, (height, width) = np.random.default_rng(0), ["circle", "square"], size
    for split, count in counts.items():
        (root / "labels" / split).mkdir(parents=True)
        for i in range(count):
            shapes = [labels[k] for k in rng.integers(2, size=rng.integers(1, most + 1))]
            pixels, masks = picture(rng, height, width, shapes, radii, colors)
            write_image(root / "images" / split / f"{i:04}.png", pixels)
            lines = []
            for shape, mask in masks:
                y, x = np.nonzero(mask)
                center = ((x.min() + x.max() + 1) / 2 / width, (y.min() + y.max() + 1) / 2 / height)
                share = (np.ptp(x) + 1) / width, (np.ptp(y) + 1) / height
                lines.append(" ".join([str(labels.index(shape)), *(f"{v:.6f}" for v in (*center, *share))]))
            (root / "labels" / split / f"{i:04}.txt").write_text("\n".join(lines) + "\n")

    (root / "data.yaml").write_text("path: .\nnames:\n  0: circle\n  1: square\n")
    return root


def write_masks(root: Path) -> Path:
    """Scenes of two shapes, a color each, with their label masks."""
    rng, classes = np.random.default_rng(0), ["ground", "circle", "square"]
    colors = {"circle": (220, 170, 60), "square": (40, 70, 190)}
    for split, count in {"train": 64, "val": 8, "test": 16}.items():
        for i in range(count):
            shapes = [str(shape) for shape in rng.permutation(classes[1:])]
            pixels, masks = picture(rng, 64, 64, shapes, (11, 16), colors)
            ids = np.zeros((64, 64), np.uint8)
            for shape, mask in masks:
                ids[mask] = classes.index(shape)
            write_image(root / split / "images" / f"{i:03}.png", pixels)
            write_image(root / split / "labels" / f"{i:03}.png", ids)

    (root / "classes.txt").write_text("\n".join(classes) + "\n")
    return root


def write_encoder(root: Path) -> Path:
    """A random BERT of one layer as Hugging Face writes a model: config.json, weights, tokenizer.json."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    rng, width, inner = np.random.default_rng(0), 32, 64
    layer = "encoder.layer.0."
    linears = {f"{layer}attention.self.{name}": (width, width) for name in ("query", "key", "value")}
    linears[f"{layer}attention.output.dense"] = (width, width)
    linears |= {f"{layer}intermediate.dense": (inner, width), f"{layer}output.dense": (width, inner)}
    state = {f"{name}.weight": rng.normal(0, 0.15, shape) for name, shape in linears.items()}
    state |= {f"{name}.bias": np.zeros(shape[0]) for name, shape in linears.items()}
    for name, count in {"word": 40, "position": 24, "token_type": 2}.items():
        state[f"embeddings.{name}_embeddings.weight"] = rng.normal(0, 1, (count, width))

    for name in ("embeddings.", f"{layer}attention.output.", f"{layer}output."):
        state |= {f"{name}LayerNorm.weight": np.ones(width), f"{name}LayerNorm.bias": np.zeros(width)}

    root.mkdir(parents=True)
    save_file({name: array.astype(np.float32) for name, array in state.items()}, root / "model.safetensors")
    config = {"model_type": "bert", "vocab_size": 40, "hidden_size": width, "num_hidden_layers": 1}
    config |= {"num_attention_heads": 4, "intermediate_size": inner, "max_position_embeddings": 24, "pad_token_id": 0}
    config |= {"hidden_act": "gelu", "layer_norm_eps": 1e-12}
    (root / "config.json").write_text(
        json.dumps({**config, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0})
    )
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(word for words in WORDS.values() for word in words)]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    pair = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=pair)
    tokenizer.save(str(root / "tokenizer.json"))

    return root


def write_reviews(path: Path) -> Path:
    """A .csv of texts, no two the same, each with a word or two that tell its class."""
    rng, texts = np.random.default_rng(0), {}
    while len(texts) < 240:
        label = ("no", "yes")[len(texts) % 2]
        words = [*rng.choice(WORDS[""], rng.integers(4, 10)), *rng.choice(WORDS[label], rng.integers(1, 3))]
        texts.setdefault(" ".join(rng.permutation(words)), label)
    lines = ["review,liked", *(f"{text},{label}" for text, label in texts.items())]
    path.with_suffix(".csv").write_text("\n".join(lines) + "\n")
    return path.with_suffix(".csv")


#: names by type: the first piece of each, and what stands behind it
NAMES = {
    "PER": ("ann a", "bo ris", "ca rla", "dm itri", "ed ith", "fe lix", "gr eta", "hu go"),
    "LOC": ("ar del", "bri sk", "cor mo", "dun ley", "ess el", "fal un"),
    "ORG": ("ac me", "glo bex", "ini tech", "umb rella"),
}
#: sentences: PER is one name or two, ORG a name alone or before "bank"
SENTENCES = (
    "PER moved to LOC last year .", "ORG hired PER .", "the mayor of LOC met PER and PER .", "ORG sold a factory in LOC .",
    "it rained in LOC again .", "PER works for ORG in LOC .", "last year ORG met the mayor .", "a factory moved again .",
)  # fmt: skip


def write_entities(root: Path) -> Path:
    """train.conll, valid.conll and test.conll of sentences by the grammar of SENTENCES and NAMES, no two the same."""
    rng, seen = random.Random(0), set()
    root.mkdir(parents=True)
    for split, count in {"train": 240, "valid": 30, "test": 60}.items():
        lines: list[str] = []
        while count:
            rows: list[tuple[str, str]] = []
            for word in rng.choice(SENTENCES).split():
                if word not in NAMES:
                    rows.append((word, "O"))
                    continue
                names = ["".join(rng.choice(NAMES[word]).split()).title()]
                names += (
                    ["".join(rng.choice(NAMES[word]).split()).title()] if word == "PER" and rng.random() < 0.4 else []
                )
                names += ["Bank"] if word == "ORG" and rng.random() < 0.4 else []
                rows += [(name, f"{'I' if k else 'B'}-{word}") for k, name in enumerate(names)]
            if tuple(rows) not in seen:
                seen.add(tuple(rows))
                count -= 1
                lines += [*(f"{word} {tag}" for word, tag in rows), ""]
        (root / f"{split}.conll").write_text("\n".join(lines) + "\n")

    return root


def write_pieces(path: Path) -> Path:
    """tokenizer.json in which names are two pieces (WordPiece, lower case)."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    plain = sorted({word for line in SENTENCES for word in line.split() if word not in NAMES} | {"bank"})
    pairs = [name.split() for names in NAMES.values() for name in names]
    pieces = [*dict.fromkeys(first for first, _ in pairs), *dict.fromkeys(f"##{second}" for _, second in pairs)]
    vocabulary = dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *plain, *pieces])
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pair = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=pair)
    tokenizer.save(str(path))

    return path


#: things as a query calls them, and as a passage does
SYNONYMS = (
    {"red": "crimson", "blue": "azure", "small": "tiny", "old": "ancient", "fast": "quick"},
    {"boat": "ship", "car": "vehicle", "house": "home", "dog": "hound", "shop": "store", "road": "street"},
    {"near": "by", "in": "inside", "behind": "after"},
    {"town": "city", "forest": "wood", "sea": "ocean", "hill": "mount"},
)


def write_search(root: Path) -> Path:
    """train.csv, val.csv and test.csv of queries "where is the red boat near town" with the passage that says the same
    in other words, "a crimson ship lies by the city"; every combination of SYNONYMS is in one split."""
    rng = random.Random(0)
    combined = [(a, b, c, d) for a in SYNONYMS[0] for b in SYNONYMS[1] for c in SYNONYMS[2] for d in SYNONYMS[3]]
    rng.shuffle(combined)
    root.mkdir(parents=True)

    for split, rows in {"train": combined[:240], "val": combined[240:290], "test": combined[290:]}.items():
        lines = ["query,positive"]
        for words in rows:
            first = "where is the {} {} {} {}".format(*words)
            second = "a {} {} lies {} the {}".format(*(table[word] for table, word in zip(SYNONYMS, words)))
            lines.append(f"{first},{second}")
        (root / f"{split}.csv").write_text("\n".join(lines) + "\n")

    return root


def write_words(path: Path) -> Path:
    """tokenizer.json with a token a word of `write_search`."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "where", "is", "the", "a", "lies"]
    words += [word for table in SYNONYMS for pair in table.items() for word in pair]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    pair = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=pair)
    tokenizer.save(str(path))

    return path


def write_pairs(root: Path) -> Path:
    """Numbers in English words and in German ones, the first of them last."""
    rng = random.Random(0)
    root.mkdir(parents=True)
    for split, count in {"train": 500, "val": 20, "test": 40}.items():
        rows = [[rng.randrange(6) for _ in range(rng.randint(2, 4))] for _ in range(count)]
        for language, order in (("en", rows), ("de", [row[1:] + row[:1] for row in rows])):
            lines = (" ".join(LANGUAGES[language][i] for i in row) + "\n" for row in order)
            (root / f"{split}.{language}").write_text("".join(lines), encoding="utf-8")
    return root


def clip(label: str, rng: np.random.Generator, seconds: float) -> np.ndarray:
    """int16 (8000 * seconds,): a chirp or a tone of random pitch and loudness, in noise."""
    low, high, sweep = rng.uniform(300, 700), rng.uniform(1800, 3000), np.linspace(0, 1, int(8000 * seconds))
    share = {"rise": sweep, "fall": 1 - sweep, "tone": np.full_like(sweep, 0.5)}[label]
    phase = 2 * np.pi * np.cumsum(low + (high - low) * share) / 8000
    samples = rng.uniform(0.1, 0.5) * np.hanning(len(sweep)) * np.sin(phase) + 0.01 * rng.standard_normal(len(sweep))
    return np.round(32767 * samples.clip(-1, 1)).astype(np.int16)


def write_wav(path: Path, samples: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.tobytes())


def write_keywords(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, count in {"train": 30, "val": 6, "test": 12}.items():
        for label in ("fall", "rise", "tone"):
            for i in range(count):
                write_wav(root / split / label / f"{i:03}.wav", clip(label, rng, 0.5))
    return root


def write_sentences(root: Path) -> Path:
    """Recordings of one to three clips in a row, with their transcripts."""
    rng = np.random.default_rng(0)
    for split, count in {"train": 96, "val": 16, "test": 24}.items():
        lines = ["file,text"]
        for i in range(count):
            labels = [str(label) for label in rng.choice(["fall", "rise", "tone"], rng.integers(1, 4))]
            silence = np.zeros(600, np.int16)
            write_wav(
                root / split / f"{i:04}.wav",
                np.concatenate([silence, *(clip(label, rng, 0.25) for label in labels), silence]),
            )
            lines.append(f"{i:04}.wav,{' '.join(labels)}")
        (root / split / "metadata.csv").write_text("\n".join(lines) + "\n")

    return root


def write_ratings(path: Path) -> Path:
    """Users of four kinds, each of whom takes a quarter of the items."""
    rng, lines = np.random.default_rng(0), ["userId,movieId,rating,timestamp"]
    for user in range(60):
        for second, item in enumerate(rng.choice(np.arange(user % 4, 80, 4), 14, replace=False)):
            lines.append(f"u{user},i{item},{rng.integers(1, 6)},{1000 + second}")
    path.with_suffix(".csv").write_text("\n".join(lines) + "\n")
    return path.with_suffix(".csv")


def write_episodes(path: Path) -> Path:
    """Two controls that are smooth functions of a state of four numbers; forty episodes of twenty steps."""
    states = np.random.default_rng(0).normal(size=(800, 4)).astype(np.float32)
    controls = np.stack([np.tanh(states[:, 0] - states[:, 1]), 30 * np.tanh(states[:, 2])], axis=1)
    arrays = {"obs": states, "acts": controls.astype(np.float32), "indices": np.arange(20, 800, 20)}
    np.savez(path.with_suffix(".npz"), **arrays)
    return path.with_suffix(".npz")
