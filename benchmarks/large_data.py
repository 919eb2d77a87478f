"""Peak memory and time of opening a data set of 1 and of 10 million rows, each in a process of its own.

    python benchmarks/large_data.py [--rows 1000000 10000000] [--kinds ratings table texts]

The files are written to a temporary folder first. A kind's figure is that of `edgeft.data.open` and of reading a
thousand samples from all over the training split, as an epoch does; interpreter and libraries are subtracted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

#: rows that are written at a time
CHUNK = 100_000
READ = """
import json, resource, sys, time
import numpy as np
from edgeft import data
from edgeft.config import recipe
from edgeft.core import errors
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
spec = recipe.from_table(json.loads(sys.argv[1]), "the benchmark")
before, begun = peak(), time.monotonic()
dataset = data.open(spec.data, spec.task)
seconds = time.monotonic() - begun
train = dataset.split("train")
for number in np.linspace(0, len(train) - 1, 1000).astype(int):
    train.raw(int(number)) if hasattr(train, "raw") else train[int(number)]
print(json.dumps({"bytes": peak() - before, "seconds": seconds, "train": len(train)}))
"""


def ratings(count: int) -> Iterator[str]:
    """userId,movieId,rating,timestamp: twenty items a user, the items by a power law."""
    rng = np.random.default_rng(0)
    yield "userId,movieId,rating,timestamp\n"
    for start in range(0, count, CHUNK):
        number = np.arange(start, min(start + CHUNK, count))
        items = (20_000 * rng.random(len(number)) ** 3).astype(int)
        lines = zip(number // 20, items, rng.integers(1, 6, len(number)), number)
        yield "".join(f"u{user},i{item},{stars},{time}\n" for user, item, stars, time in lines)


def table(count: int) -> Iterator[str]:
    """Four numbers, a word, and a class."""
    rng = np.random.default_rng(0)
    yield "a,b,c,d,colour,label\n"
    for start in range(0, count, CHUNK):
        values = rng.standard_normal((min(CHUNK, count - start), 4)).round(4)
        words = np.array(["red", "green", "blue"])[rng.integers(0, 3, len(values))]
        classes = np.where(values[:, 0] > 0, "yes", "no")
        yield "".join(f"{a},{b},{c},{d},{word},{kind}\n" for (a, b, c, d), word, kind in zip(values, words, classes))


def texts(count: int) -> Iterator[str]:
    """A sentence of twelve words, and a class."""
    rng = np.random.default_rng(0)
    yield "text,label\n"
    for start in range(0, count, CHUNK):
        words = rng.integers(0, 50_000, (min(CHUNK, count - start), 12))
        yield "".join(f"{' '.join(f'w{word}' for word in row)},{'good' if row[0] % 2 else 'bad'}\n" for row in words)


#: kind -> (lines, task, its [data])
KINDS: dict[str, tuple[Callable[[int], Iterator[str]], str, dict[str, object]]] = {
    "ratings": (ratings, "recommend", {"format": "ratings"}),
    "table": (table, "tabular", {"format": "table", "label": "label"}),
    "texts": (texts, "text-classify", {"format": "csv", "text": ["text"], "label": "label"}),
}


def measured(kind: str, count: int, folder: Path) -> dict[str, float]:
    """{"bytes", "seconds", "train"} of one data set, which is written and removed."""
    lines, task, keys = KINDS[kind]
    path = folder / f"{kind}.csv"
    with path.open("w", encoding="utf-8") as file:
        for part in lines(count):
            file.write(part)

    recipe_table = {"task": task, "data": {**keys, "path": str(path), "split": [0.8, 0.1, 0.1]}}
    if kind == "ratings":
        del recipe_table["data"]["split"]  # type: ignore[attr-defined]
    try:
        done = subprocess.run(
            [sys.executable, "-c", READ, json.dumps(recipe_table)], capture_output=True, text=True, check=False
        )
    finally:
        path.unlink()
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return dict(json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    arguments = parser.parse_args()

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in arguments.kinds:
            for count in arguments.rows:
                rows.append({"kind": kind, "rows": count, **measured(kind, count, Path(folder))})
                print(json.dumps(rows[-1]), flush=True)


if __name__ == "__main__":
    main()
