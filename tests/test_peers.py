"""The figures of `benchmarks/peers` on outputs that are computed by hand, and the section that is written of them."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks" / "peers"


MODULES = ("common", "figures", "section")


@pytest.fixture
def load(monkeypatch):
    """A module of the bench by its name."""
    if not FOLDER.is_dir():
        pytest.skip("no checkout with benchmarks")
    for folder in (FOLDER.parent, FOLDER):
        monkeypatch.syspath_prepend(str(folder))
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)

    yield importlib.import_module
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def figures(load):
    return load("figures")


def test_figures_of_outputs(figures):
    reference = np.array([[3.0, 0.0], [0.0, 4.0], [2.0, 1.0], [1.0, 2.0]])
    outputs = np.array([[3.0, 0.0], [0.0, 4.0], [1.0, 2.0], [1.0, 2.0]])
    labels = np.array([0, 1, 0, 0])

    row = figures.row(outputs, reference, reference, labels)

    assert (row["metric"], row["agreement"]) == (50.0, 75.0)
    assert row["sqnr_db"] == pytest.approx(10 * np.log10(35 / 2))  # 9 + 16 + 5 + 5 over 1 + 1
    gain, low, high = row["gain_of_edgeft"]
    assert gain == 25.0 and low < 25.0 < high


def test_equal_outputs_have_finite_figures(figures):
    outputs = np.eye(4)
    row = figures.row(outputs, outputs, outputs, np.arange(4))
    assert np.isfinite(row["sqnr_db"]) and row["gain_of_edgeft"][0] == 0.0


def test_size_counts_the_weights_of_an_ir(figures, tmp_path):
    for name, size in (("model.xml", 10), ("model.bin", 90), ("model.onnx", 40)):
        (tmp_path / name).write_bytes(bytes(size))
    assert figures.size(tmp_path / "model.xml") == 100
    assert figures.size(tmp_path / "model.onnx") == 40


@pytest.mark.parametrize(
    ("gain", "ratio", "behind"),
    [
        ([-2.0, -3.0, -1.0], 1.1, ["x is more accurate by 2.00 points"]),
        ([-2.0, -4.1, 0.1], 1.1, []),
        ([0.0, -1.0, 1.0], 0.9, ["x is faster: 0.90 of its speed"]),
        ([0.0, -1.0, 1.0], 0.98, []),
    ],
)
def test_losses(figures, gain, ratio, behind):
    own = {"tool": "edgeft", "gain_of_edgeft": [0.0, 0.0, 0.0], "speed": None}
    speed = {"ratio": ratio, "ratio_of_least": ratio}
    peer = {"tool": "nncf", "title": "x", "gain_of_edgeft": gain, "speed": speed}
    assert figures.losses([own, peer]) == behind


def test_the_published_section_is_that_of_the_published_figures(load):
    results = FOLDER.parent / "results"
    record = json.loads((results / "peers.json").read_text())
    assert load("section").section(record).strip() == (results / "peers.md").read_text().strip()
    assert all(result["n"] > 0 and result["rows"] for result in record["nets"].values())
