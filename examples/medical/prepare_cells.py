"""Single blood cells out of the BCCD photographs: `python prepare_cells.py BCCD_Dataset [FOLDER]`.

`cells.txt` beside this script names the cells: split, class, then image and number of the object in its annotation.
A cell is the square of 128 pixels around the middle of its box, moved into the picture where it would stick out, and
brought to 64 pixels. The split is the data set's own: train.txt is train, val.txt is test.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from PIL import Image

SQUARE, SIDE = 128, 64


def box(annotation: Path, number: int) -> tuple[str, int, int]:
    """Class and middle of an object."""
    item = ET.parse(annotation).getroot().findall("object")[number]
    at = {name: int(float(item.findtext(f"bndbox/{name}", "0"))) for name in ("xmin", "ymin", "xmax", "ymax")}
    return item.findtext("name", ""), (at["xmin"] + at["xmax"]) // 2, (at["ymin"] + at["ymax"]) // 2


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)

    root, out = Path(sys.argv[1]) / "BCCD", Path(sys.argv[2] if len(sys.argv) > 2 else "bccd_cells")
    if not root.is_dir():
        sys.exit(f"{root}: no such folder; git clone https://github.com/Shenggan/BCCD_Dataset")

    count = 0
    for line in (Path(__file__).parent / "cells.txt").read_text().splitlines():
        split, label, *names = line.split()
        (out / split / label).mkdir(parents=True, exist_ok=True)
        for name in names:
            picture, number = name.split("_")
            stem = f"BloodImage_{int(picture):05}"
            found, x, y = box(root / "Annotations" / f"{stem}.xml", int(number))
            if found != label:
                sys.exit(f"{stem}: object {number} is a {found}, not a {label}: this is another edition of the data")
            with Image.open(root / "JPEGImages" / f"{stem}.jpg") as image:
                left = min(max(x - SQUARE // 2, 0), image.width - SQUARE)
                top = min(max(y - SQUARE // 2, 0), image.height - SQUARE)
                cell = image.convert("RGB").crop((left, top, left + SQUARE, top + SQUARE))
            cell = cell.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
            cell.save(out / split / label / f"{stem}_{number}.jpg", quality=92)
            count += 1

    print(f"{out}: {count} cells")


if __name__ == "__main__":
    main()
