"""Annotation files that are damaged: they are read, or refused with one of our errors that has a remedy.

Bytes are changed at random, and values of JSON are replaced by values of other types.
"""

from __future__ import annotations

import functools
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import draws
import numpy as np
import pytest
import test_annotation_tools as tools
import test_outlines as outlined
import test_roboflow_exports as roboflow

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError, RecipeError

pytestmark = pytest.mark.random
TRIALS = draws.trials(15)
#: what is written, how it is read, and for which task
DATA: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    **{name: (write, form, "detect") for name, (form, write) in tools.WRITERS.items()},
    **{
        name: (functools.partial(roboflow.write, name=name), form, "detect")
        for name, (form, _) in roboflow.EXPORTS.items()
    },
    "coco masks": (outlined.write, "coco-masks", "segment"),
    "yolo masks": (outlined.write_yolo, "yolo-masks", "segment"),
    "labelme masks": (tools.write_labelme, "labelme-masks", "segment"),
}
VALUES = (None, True, -1, 0, 10**30, 1e308, float("nan"), "", "x" * 50, "../../a", [], [[]], {}, {"a": []}, [1, "b"])


def annotations(root: Path) -> list[Path]:
    """The files that are damaged: the first few that are no pictures."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.suffix != ".png")
    return files[:3]


def damaged(content: bytes, random_: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random_.randint(1, 4)):
        at = random_.randrange(len(changed) + 1)
        kind = random_.randrange(4)
        if kind == 0 and at < len(changed):
            changed[at] = random_.randrange(256)
        elif kind == 1:
            del changed[at : at + random_.randrange(40)]
        elif kind == 2:
            changed[at:at] = random_.choice([b'"', b"[", b"}", b"-", b"9" * 400, b"\0", b"\xff", b"nan", b",", b"\n"])
        else:
            changed = changed[:at] or bytearray(b" ")
    return bytes(changed)


def replaced(table: Any, random_: random.Random) -> Any:
    """A copy of JSON with one value replaced, wherever it stands."""
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in items:
            places.append((value, key))
            walk(inner)

    whole = {"": json.loads(json.dumps(table))}
    walk(whole)
    holder, key = random_.choice(places)
    holder[key] = random_.choice(VALUES)
    return whole[""]


def read(root: Path, form: str, task: str) -> None:
    try:
        dataset = data.open(Data(format=form, path=str(root)), task)
        for name in dataset.splits:
            for _, target in dataset.split(name):
                np.asarray(target)
    except (DataError, RecipeError) as error:
        assert error.message and (error.remedy or error.where), error


@pytest.mark.parametrize("name", DATA)
def test_a_damaged_file_is_read_or_refused(name: str, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    write, form, task = DATA[name]
    write(tmp_path / "whole") if form == "yolo-masks" else write(_made(tmp_path / "whole"))
    random_ = draws.generator(name, pytestconfig)
    for file in annotations(tmp_path / "whole"):
        original = file.read_bytes()
        for trial in range(TRIALS):
            content = damaged(original, random_)
            if file.suffix == ".json" and trial % 2:
                content = json.dumps(replaced(json.loads(original), random_)).encode()
            file.write_bytes(content)
            read(tmp_path / "whole", form, task)
        file.write_bytes(original)
    shutil.rmtree(tmp_path / "whole")


def _made(root: Path) -> Path:
    root.mkdir()
    return root
