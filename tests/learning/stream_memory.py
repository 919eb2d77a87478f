"""Run as a script in a process of its own: the peak memory of reading a small and a large data set of each kind.

    stream_memory.py FOLDER

Prints one JSON object: kind -> {"bytes": of the large data set, "small", "large": peak in bytes}. Under "kept" pictures
are read once more with room for all of them: the measure has to see that.
"""

from __future__ import annotations

import json
import sys
import threading
import wave
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgeft import data
from edgeft.config import recipe
from edgeft.learning import batches, tensors
from edgeft.models.built import image_spec
from edgeft.tasks.classify import learning as classify
from edgeft.tasks.keyword import decoding as task
from edgeft.tasks.keyword import learning as keyword

SMALL, LARGE = 40, 250
SIDE, RATE, LETTERS = 256, 48_000, 100_000
ROOM = 4 * 2**20  # instead of CACHE_BYTES


def pictures(folder: Path, n: int) -> int:
    rng = np.random.default_rng(n)
    header = f"P6 {SIDE} {SIDE} 255\n".encode()
    for i in range(n):
        place = folder / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i}.ppm").write_bytes(header + rng.bytes(3 * SIDE * SIDE))
    return n * 3 * SIDE * SIDE


def sounds(folder: Path, n: int) -> int:
    rng = np.random.default_rng(n)
    for i in range(n):
        place = folder / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        with wave.open(str(place / f"{i}.wav"), "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            file.writeframes(rng.bytes(2 * RATE))
    return n * 2 * RATE


def texts(folder: Path, n: int) -> int:
    rng = np.random.default_rng(n)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "texts.csv").open("w") as file:
        file.write("text,label\n")
        for i in range(n):
            file.write(f"{rng.bytes(LETTERS // 2).hex()},{'ab'[i % 2]}\n")
    return n * LETTERS


def read_pictures(dataset: data.Dataset) -> None:
    for _ in classify.loader(dataset.split("train"), image_spec((SIDE, SIDE)), 2, shuffle=True):
        pass


def read_sounds(dataset: data.Dataset) -> None:
    spec = task.configure(recipe.Data(sound={"fmax": 8000.0}), {}, dataset.facts, lambda _: None)
    spec = task.measure(spec, (raw for raw, _ in dataset.split("train")))
    for _ in keyword.loader(dataset.split("train"), spec, 8, "light", shuffle=True):
        pass


def read_texts(dataset: data.Dataset) -> None:
    for _ in dataset.split("train"):
        pass


def peak(work: Callable[[], Any]) -> int:
    """The most memory of its own that this process held while `work` was done: the least of three times.

    The allocator keeps ten megabytes more at one time and fewer at another; data that are kept show every time.
    """
    return min(_peak_once(work) for _ in range(3))


def _peak_once(work: Callable[[], Any]) -> int:
    ended, most = threading.Event(), [_held()]

    def watch() -> None:
        while not ended.wait(0.003):
            most.append(max(most.pop(), _held()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        ended.set()
        watcher.join()
    return max(most[0], _held())


def _held() -> int:
    """Anonymous memory in bytes, with what is swapped out: pages of files come and go with the machine's own needs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "VmSwap")))


def read(form: str, folder: Path, how: Callable[[data.Dataset], None]) -> None:
    dataset = data.open(recipe.Data(format=form, path=str(folder), text=("text",), label="label"))
    data.check(dataset)
    data.fingerprint(dataset)
    data.calibration_indices(dataset.split("train"), 16, avoid=dataset.split("test"))
    how(dataset)


def main() -> None:
    root = Path(sys.argv[1])
    kinds: dict[str, tuple[Callable[[Path, int], int], Callable[[data.Dataset], None]]] = {
        "image-folder": (pictures, read_pictures),
        "wav-folder": (sounds, read_sounds),
        "csv": (texts, read_texts),
    }
    batches.CACHE_BYTES = tensors.CACHE_BYTES = ROOM
    found: dict[str, Any] = {}
    for form, (write, how) in kinds.items():
        small, large = root / form / "small", root / form / "large"
        write(small, SMALL)
        size = write(large, LARGE)
        read(form, small, how)  # whatever is imported and set up on the way
        found[form] = {"bytes": size, **{p.name: peak(partial(read, form, p, how)) for p in (small, large)}}
    batches.CACHE_BYTES = 2**30
    found["kept"] = peak(lambda: read("image-folder", root / "image-folder" / "large", read_pictures))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
