"""The figures of `benchmarks/peers` on outputs that are computed by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks" / "peers"


@pytest.fixture
def figures(monkeypatch):
    if not FOLDER.is_dir():
        pytest.skip("no checkout with benchmarks")
    monkeypatch.syspath_prepend(str(FOLDER))
    import figures

    yield figures
    del sys.modules["figures"]


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
