"""Calibration presets."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeft.config import calibration
from edgeft.config.calibration import Calibration
from edgeft.core.errors import RecipeError


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "edgeft" / "calibration"


def test_shipped_presets_load_under_their_names() -> None:
    assert {"mse", "minmax", "percentile", "moving_average", "quick", "reconstruct"} <= set(calibration.names())
    for name in calibration.names():
        assert calibration.load(name).name == name


def test_the_default_preset_is_what_the_class_says() -> None:
    assert calibration.load("mse") == Calibration()
    assert (Calibration().estimator, Calibration().samples, Calibration().choose) == ("mse", 256, "stratified")


def test_presets_differ_in_their_estimator() -> None:
    assert calibration.load("percentile").estimator == "percentile"
    assert calibration.load("minmax").weights == "minmax"
    assert calibration.load("reconstruct").reconstruct and not calibration.load("mse").reconstruct
    assert calibration.load("quick").samples < calibration.load("mse").samples


def test_own_presets_and_paths(tmp_path: Path, own_folder: Path) -> None:
    own_folder.mkdir(parents=True)
    (own_folder / "mine.toml").write_text("samples = 8\n")
    assert "mine" in calibration.names()
    assert calibration.load("mine") == Calibration(name="mine", samples=8)
    (tmp_path / "other.toml").write_text('percentile = 99\nestimator = "percentile"\n')
    assert calibration.load(str(tmp_path / "other.toml")).percentile == 99.0


def test_unknown_preset_offers_the_nearest() -> None:
    with pytest.raises(RecipeError) as caught:
        calibration.load("percentil")
    assert caught.value.remedy == "did you mean 'percentile'?"
    with pytest.raises(RecipeError, match="cannot be read"):
        calibration.load("absent.toml")


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ("\nsample = 3\n", "unknown key 'sample'", "did you mean 'samples'?"),
        ("\nsamples = 0\n", "'samples' must be at least 1, not 0", ""),
        ("\nsamples = 1.5\n", "'samples' must be a whole number", ""),
        ("\nbatch_size = 0\n", "'batch_size' must be at least 1", ""),
        ("\nchoose = 'stratify'\n", "'choose' cannot be 'stratify'", "did you mean 'stratified'?"),
        ("\nestimator = 'max'\n", "'estimator' cannot be 'max'", "minmax"),
        ("\nweights = 'percentile'\n", "'weights' cannot be 'percentile'", "known: minmax, mse"),
        ("\npercentile = 50\n", "'percentile' must be above 50", ""),
        ("\npercentile = 100.5\n", "'percentile' must be above 50 and at most 100", ""),
        ("\nseed = -1\n", "'seed' must not be negative", ""),
        ("\nsamples = = 1\n", "not valid TOML", ""),
    ],
)
def test_mistakes_name_file_and_line(tmp_path: Path, text: str, message: str, remedy: str) -> None:
    path = tmp_path / "preset.toml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        calibration.load(str(path))
    assert caught.value.where == f"{path}:2"
    assert message in caught.value.message
    assert remedy in caught.value.remedy
