"""A car learns another light: frames as they come from its camera, with what the driver did.

    python examples/personalize_camera.py [BUNDLE TUB]

BUNDLE was exported from a recipe of the task `control` with [personalize], TUB is a recorded drive (Donkeycar's
format). Without them the script makes a bundle from the drive that `EDGEFT_DATA` names (see control/README.md), and
dims that drive's own frames to stand in for the evening. Making needs the host half; `car` needs numpy, click, pillow
and the bundle's runtime.
"""

from __future__ import annotations

import os
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np


def camera(tub: Path, every: int = 3, light: float = 1.0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(frame uint8 (H, W, 3), what the driver did) one after another."""
    from edgeft import data
    from edgeft.config import recipe

    drive = data.open(recipe.Data(format="trajectories", path=str(tub), split=data.WHOLE)).split("train")
    for i in range(0, len(drive), every):
        yield np.round(np.asarray(drive.raw(i), np.float32) * light).astype(np.uint8), drive.targets[i]


def car(bundle: Path, tub: Path, light: float = 1.0) -> None:
    import edgeft

    found = edgeft.personalize(bundle, stream=camera(tub, light=light))
    print(found["why"])
    print(f"version {found['version']} is in use" if found["version"] else "the model as exported is in use")


def make(folder: Path) -> tuple[Path, Path]:
    """A bundle that knows the drive as it was recorded, and the drive."""
    import edgeft

    if "EDGEFT_DATA" not in os.environ:
        raise SystemExit("name a bundle and a tub, or the folder with the data: EDGEFT_DATA=...")

    packed = Path(os.environ["EDGEFT_DATA"]) / "08_robotics" / "donkeycar_tub" / "tub.tar.gz"
    with tarfile.open(packed) as archive:
        members = [m for m in archive.getmembers() if not Path(m.name).name.startswith("._")]
        archive.extractall(folder, members=members, filter="data")

    tub = folder / "tub"
    recipe = {
        "task": "control",
        "name": "drive",
        "model": {"name": "resnet8"},
        "data": {"format": "trajectories", "path": str(tub), "size": 32},
        "train": {"epochs": 12, "lr": 3e-3},
        "quantize": {"epochs": 2},
        "gates": {"min_speedup": 0.0},
        "personalize": {"tail": "last", "rate": 0.001, "steps": 200, "max_forget": 0.02},
    }
    edgeft.tune(recipe, folder / "run", say=print)
    (report,) = edgeft.export(folder / "run", ["host-litert"], folder / "bundles", say=print)

    return Path(report["path"]), tub


def main() -> None:
    if len(sys.argv) == 3:
        car(Path(sys.argv[1]), Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as scratch:
        car(*make(Path(scratch)), light=0.4)


if __name__ == "__main__":
    main()
