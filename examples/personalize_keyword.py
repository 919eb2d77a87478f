"""A robot adapts to a new voice: recordings as they come from a microphone, and a bundle that is trained on them.

    python examples/personalize_keyword.py [BUNDLE FOLDER]

BUNDLE was exported from a recipe with [personalize], FOLDER holds one folder of .wav files a word. Without them the
script makes both from FSDD (the folder that `EDGEFT_DATA` names, see keywords/README.md): a model of three speakers,
and ten recordings a digit by the fourth. Making needs the host half; what stands in `robot` needs numpy, click and the
bundle's runtime.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def microphone(folder: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """(recording, word) one after another; on a robot: what was heard, and what the user says that it was."""
    from edgeft.inputs import sound_file

    for path in sorted(folder.glob("*/*.wav")):
        yield sound_file.read(path), path.parent.name


def robot(bundle: Path, folder: Path) -> None:
    import edgeft

    found = edgeft.personalize(bundle, stream=microphone(folder))
    print(found["why"])
    if found["verdict"] == "pass":
        print(f"version {found['version']} is in use from now on; `edgeft personalize {bundle} --rollback` undoes it")
    else:
        print("nothing was changed")


def make(folder: Path, speaker: str = "jackson") -> tuple[Path, Path]:
    """A bundle that does not know `speaker`, and recordings by that one; links instead of copies."""
    import edgeft

    if "EDGEFT_DATA" not in os.environ:
        raise SystemExit("name a bundle and a folder, or the folder with the data: EDGEFT_DATA=...")

    source = Path(os.environ["EDGEFT_DATA"]) / "05_speech" / "fsdd"
    for path in sorted(source.glob("*/*.wav")):
        label, who, take = path.stem.split("_")
        if who != speaker:
            target = folder / "known" / path.parent.name / path.name
        elif path.parent.name == "train" and int(take) < 15:
            target = folder / "new" / label / path.name
        else:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path.resolve())

    recipe = {
        "task": "keyword",
        "name": "digits",
        "model": {"name": "ds_cnn"},
        "data": {
            "format": "wav-folder",
            "path": str(folder / "known"),
            "pattern": "{label}_{speaker}_{take}",
            "group": "take",
        },
        "train": {"epochs": 20, "lr": 3e-3},
        "quantize": {"epochs": 2},
        "gates": {"min_speedup": 0.0},
        "personalize": {"tail": "head", "max_forget": 0.02},
    }
    edgeft.tune(recipe, folder / "run", say=print)
    (report,) = edgeft.export(folder / "run", ["host-litert"], folder / "bundles", say=print)

    return Path(report["path"]), folder / "new"


def main() -> None:
    if len(sys.argv) == 3:
        robot(Path(sys.argv[1]), Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as scratch:
        robot(*make(Path(scratch)))


if __name__ == "__main__":
    main()
