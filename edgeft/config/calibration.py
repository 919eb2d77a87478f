"""calibration/*.toml -> Calibration: how many samples are looked at, how they are chosen, how ranges are estimated."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.errors import RecipeError, nearest
from . import shipped, tables

CHOICES: dict[str, tuple[str, ...]] = {
    "choose": ("random", "stratified", "first"),
    "estimator": ("auto", "minmax", "mse", "percentile", "moving_average"),
    "weights": ("minmax", "mse"),
}


@dataclass(frozen=True)
class Calibration:
    """A calibration preset.

    `samples` training samples are drawn: "stratified" (the classes in their proportion), "random" or the "first" ones,
    by `seed`, and run in batches of `batch_size`. Activation ranges by `estimator`: the extremes ("minmax"), the range
    with the least squared quantization error ("mse"), the central `percentile` percent of the values ("percentile"),
    the extremes averaged over batches ("moving_average"), or whichever of these leaves the least noise in the outputs
    of these samples ("auto"). Weight ranges by `weights`. `reconstruct`: which way each weight is rounded is chosen by
    the outputs of its layer.
    """

    name: str = "mse"
    samples: int = 256
    choose: str = "stratified"
    seed: int = 0
    estimator: str = "mse"
    percentile: float = 99.99
    batch_size: int = 32
    weights: str = "mse"
    reconstruct: bool = False


def names() -> tuple[str, ...]:
    """The presets that come with edgeft and those in `~/.config/edgeft/calibration/`."""
    return tuple(shipped.files("calibration"))


def load(name_or_path: str) -> Calibration:
    """A preset by name, or from a `.toml` file; raises `RecipeError` naming the file, the line and the nearest name."""
    known = shipped.files("calibration")
    if name_or_path in known:
        path = str(known[name_or_path])
    elif name_or_path.endswith(".toml"):
        path = name_or_path
    else:
        raise RecipeError(f"unknown calibration preset {name_or_path!r}", remedy=nearest(name_or_path, known))

    source = tables.read(path, RecipeError)
    table = tables.parse(source)
    table.setdefault("name", path.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".toml"))
    preset = tables.build(Calibration, table, source)

    for key, allowed in CHOICES.items():
        value = getattr(preset, key)
        if value not in allowed:
            raise source.fail((key,), f"{key!r} cannot be {value!r}", nearest(value, allowed))

    for key in ("samples", "batch_size"):
        if getattr(preset, key) < 1:
            raise source.fail((key,), f"{key!r} must be at least 1, not {getattr(preset, key)}")

    if preset.seed < 0:
        raise source.fail(("seed",), f"'seed' must not be negative, not {preset.seed}")
    if not 50 < preset.percentile <= 100:
        raise source.fail(("percentile",), f"'percentile' must be above 50 and at most 100, not {preset.percentile}")

    return preset
