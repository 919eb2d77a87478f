"""A small recipe for each task, each with the data of tiny_data.py that it trains on in a few epochs.

Between them they take every runtime, most calibration presets and several update policies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tiny_data

#: a profile a runtime
HOST = ("host", "host-openvino", "host-litert")
#: a profile of another quantization scheme and form of graph
JETSON = "jetson-orin-nano"
#: what every recipe ends with; whether a gate passes is not the question here
COMMON = """
[quantize]
epochs = 1
calibration = "{calibration}"
[gates]
max_drop{relative} = 0.05
min_speedup = 0.0
min_int8_share = 0.0
"""


@dataclass(frozen=True)
class Recipe:
    """recipe.toml without paths and without what all have in common, and what writes the data that it trains on."""

    text: str
    data: Callable[[Path], Path]
    targets: tuple[str, ...] = HOST
    weights: Callable[[Path], Path] | None = None  # writes the folder that `model.weights` names
    calibration: str = "minmax"
    relative: bool = False  # the gate is a share of the metric

    def toml(self) -> str:
        return self.text + COMMON.format(calibration=self.calibration, relative="_relative" if self.relative else "")


RECIPES = {
    "classify": Recipe(
        """
task = "classify"
name = "classify"
[model]
name = "resnet8"
[data]
format = "npz"
[train]
epochs = 2
lr = 5e-3
batch_size = 20
augment = "light"
""",
        tiny_data.write_pictures,
        targets=(*HOST, JETSON),
        calibration="mse",
    ),
    "personalize": Recipe(
        """
task = "classify"
name = "personalize"
[model]
name = "resnet8"
[data]
format = "npz"
[train]
epochs = 2
lr = 5e-3
batch_size = 20
augment = "none"
[update]
policy = "last"
[personalize]
tail = "head"
spare_classes = 1
steps = 20
""",
        tiny_data.write_pictures,
    ),
    "detect": Recipe(
        """
task = "detect"
name = "detect"
[model]
name = "yolo_plain"
args = { size = [64, 96], base = 8, width = 16 }
[data]
format = "yolo"
[train]
epochs = 3
lr = 3e-3
batch_size = 4
""",
        tiny_data.write_boxes,
    ),
    "segment": Recipe(
        """
task = "segment"
name = "segment"
[model]
name = "lraspp"
args = { size = 64, stride = 4, width = 0.5, depth = 0.3, stages = 3, head_width = 16, dropout = 0.0 }
[data]
format = "masks"
[train]
epochs = 8
lr = 5e-3
batch_size = 4
""",
        tiny_data.write_masks,
        calibration="percentile",
    ),
    "text-classify": Recipe(
        """
task = "text-classify"
name = "text-classify"
[model]
source = "transformers"
name = "bert"
[data]
format = "csv"
text = ["review"]
label = "liked"
length = 16
[train]
epochs = 3
lr = 1e-2
batch_size = 16
[update]
policy = "lora"
""",
        tiny_data.write_reviews,
        weights=tiny_data.write_encoder,
        calibration="quick",
    ),
    "translate": Recipe(
        """
task = "translate"
name = "translate"
[model]
name = "seq2seq"
args = { width = 32, heads = 2, hidden = 64, encoder_layers = 1, decoder_layers = 1, dropout = 0.0 }
[data]
format = "pairs"
length = 6
pairs = { vocabulary = 310 }
[train]
epochs = 14
lr = 1e-2
batch_size = 25
""",
        tiny_data.write_pairs,
    ),
    "speech": Recipe(
        """
task = "speech"
name = "speech"
[model]
name = "quartznet"
args = { width = 24, blocks = 1, dropout = 0.0 }
[data]
format = "wav-folder"
units = "words"
sound = { seconds = 1.2, hop = 0.02, window = 0.03, mels = 24 }
[train]
epochs = 10
lr = 1e-2
batch_size = 6
augment = "light"
""",
        tiny_data.write_sentences,
    ),
    "keyword": Recipe(
        """
task = "keyword"
name = "keyword"
[model]
name = "ds_cnn"
args = { width = 16, blocks = 2, dropout = 0.0 }
[data]
format = "wav-folder"
sound = { seconds = 0.5, hop = 0.03, mels = 24, coefficients = 10 }
[train]
epochs = 2
lr = 1e-2
batch_size = 10
""",
        tiny_data.write_keywords,
        calibration="moving_average",
    ),
    "recommend": Recipe(
        """
task = "recommend"
name = "recommend"
[model]
name = "neumf"
args = { factors = 8, hidden = [16, 8] }
[data]
format = "ratings"
[train]
epochs = 4
lr = 2e-2
batch_size = 4
""",
        tiny_data.write_ratings,
    ),
    "control": Recipe(
        """
task = "control"
name = "control"
[model]
name = "mlp"
args = { hidden = [32, 32] }
[data]
format = "trajectories"
[train]
epochs = 6
lr = 2e-2
batch_size = 16
""",
        tiny_data.write_episodes,
        relative=True,
    ),
}
