"""Peak memory and processor time of opening data sets of 1 to 10 million rows and of training steps on them.

    python benchmarks/large_data.py [--rows 1000000 3000000 10000000] [--kinds ratings table texts] [--steps 500]

The files are written to a temporary folder first, and the rows of large tables are kept there, too. Each figure is of a
process of its own, beside what interpreter and libraries take: `edgeft.data.open`, the checks and the fingerprint of
the data, the choice of calibration samples, and of an epoch in a drawn order the first steps with batches of 256
(texts: a thousand samples from all over the training split). The table is opened twice, since the second time its rows
are found in the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

#: rows that are written at a time
CHUNK = 100_000
BATCH = 256
READ = """
import importlib, json, resource, sys, time
import numpy as np, torch
from edgeft import data, tasks
from edgeft.config import recipe
torch.set_num_threads(1)
table, steps, batch = json.loads(sys.argv[1])
spec = recipe.from_table(table, "the benchmark")
task, net = tasks.get(spec.task), torch.nn.Linear(7, 2)
learning = task.learning()
optimizer = torch.optim.AdamW(net.parameters())
learning.loss(net(torch.zeros(2, 7)), torch.ones(2, dtype=torch.int64) if spec.task == "tabular" else
              torch.ones(2, 2)).backward()
optimizer.step()
figures = {}
def state(): return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in open("/proc/self/status")
                     if line.startswith(("VmHWM", "RssAnon"))}
before, clock = state(), time.process_time
def measured(name, begun):
    now = state()
    figures[name] = {"seconds": round(clock() - begun, 2), "peak": now["VmHWM"] - before["VmHWM"],
                     "held": now["RssAnon"] - before["RssAnon"]}
begun = clock()
dataset = data.open(spec.data, spec.task)
measured("open", begun)
begun = clock()
data.examine(dataset, task)
data.fingerprint(dataset)
train = dataset.split("train")
data.calibration_indices(train, 512, avoid=dataset.split("test"))
measured("checks", begun)
if spec.task == "text-classify":
    begun = clock()
    for number in np.linspace(0, len(train) - 1, 1000).astype(int):
        train.raw(int(number))
    measured("samples", begun)
else:
    preprocess = task.configure(spec.data, {}, dataset.facts, print)
    begun = clock()
    batches = iter(learning.loader(train, preprocess, batch, seed=0, shuffle=True))
    next(batches)
    measured("first batch", begun)
    begun, waited = clock(), 0.0
    for _ in range(min(steps, len(train) // batch - 1)):
        loading = clock()
        inputs, targets = next(batches)
        waited += clock() - loading
        if spec.task == "tabular":
            optimizer.zero_grad()
            learning.loss(net(*inputs), targets).backward()
            optimizer.step()
    measured("steps", begun)
    figures["loading_us_a_row"] = round(waited * 1e6 / batch / min(steps, len(train) // batch - 1), 1)
figures["train"] = len(train)
print(json.dumps(figures))
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


def measured(kind: str, count: int, folder: Path, steps: int, again: bool) -> list[dict[str, object]]:
    """The figures of one data set, which is written and removed; `again` opens it twice."""
    lines, task, keys = KINDS[kind]
    path = folder / f"{kind}.csv"
    with path.open("w", encoding="utf-8") as file:
        for part in lines(count):
            file.write(part)

    recipe_table = {"task": task, "data": {**keys, "path": str(path), "split": [0.8, 0.1, 0.1]}}
    if kind == "ratings":
        del recipe_table["data"]["split"]  # type: ignore[attr-defined]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    words = [sys.executable, "-c", READ, json.dumps([recipe_table, steps, BATCH])]

    try:
        figures = []
        for _ in range(1 + again):
            done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr[-3000:])
            figures.append(json.loads(done.stdout.splitlines()[-1]))
    finally:
        path.unlink()
        shutil.rmtree(folder / "cache", ignore_errors=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 3_000_000, 10_000_000])
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--folder", help="where the files are written; default: the system's temporary folder")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for kind in arguments.kinds:
            for count in arguments.rows:
                results = measured(kind, count, Path(folder), arguments.steps, kind == "table")
                for number, figures in enumerate(results, 1):
                    print(json.dumps({"kind": kind, "rows": count, "time": number, **figures}), flush=True)


if __name__ == "__main__":
    main()
