"""A few test pictures of each class as one small PNG: `python benchmarks/contact_sheet.py OUT.png` with EDGEFT_DATA.

PneumoniaMNIST (MedMNIST v2, Yang et al. 2023, after Kermany et al. 2018; CC BY 4.0) and blood cells cut from BCCD
(Shenggan/BCCD_Dataset, MIT): both may be shown.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from edgeft import data
from edgeft.config import recipe

SIDE, GAP, COLUMNS, MARGIN = 64, 4, 8, 84
NAMES = {"0": "healthy", "1": "pneumonia"}


def rows(spec: recipe.Data) -> list[tuple[str, list[Image.Image]]]:
    """(class, its first test pictures spread evenly)."""
    split = data.open(spec)
    found, test = [], split.split("test")
    for number, label in enumerate(split.labels):
        at = np.flatnonzero(test.targets == number)
        chosen = at[np.linspace(0, len(at) - 1, COLUMNS).astype(int)]
        pictures = [Image.fromarray(test.raw(int(i))).convert("RGB").resize((SIDE, SIDE)) for i in chosen]
        found.append((NAMES.get(label, label), pictures))
    return found


def main() -> None:
    root = Path(os.environ["EDGEFT_DATA"]) / "01_image_medical"
    lines = [
        *rows(recipe.Data(format="npz", path=str(root / "pneumoniamnist_28.npz"))),
        *rows(recipe.Data(format="image-folder", path=str(root / "bccd_cells"))),
    ]
    step = SIDE + GAP
    sheet = Image.new("RGB", (MARGIN + COLUMNS * step, len(lines) * step), "white")
    draw = ImageDraw.Draw(sheet)

    for y, (label, pictures) in enumerate(lines):
        draw.text((6, y * step + SIDE // 2 - 6), label, fill="black")
        for x, picture in enumerate(pictures):
            sheet.paste(picture, (MARGIN + x * step, y * step))

    sheet.quantize(128).save(sys.argv[1], optimize=True)


if __name__ == "__main__":
    main()
