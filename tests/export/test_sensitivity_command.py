"""`edgeft sensitivity`: the layers of a run by what their quantization costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import shapes_run

import edgeft
from edgeft.cli.entry import run as command
from edgeft.config import recipe


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a net that was not trained, quantized after training."""
    folder = tmp_path_factory.mktemp("sensitive")
    data = shapes_run.write_data(folder / "shapes.npz")
    table = shapes_run.recipe_of(
        data, train={"epochs": 0}, quantize={"method": "ptq", "keep_float": ["fc"]}, export={"targets": ["host"]}
    )
    edgeft.tune(table, folder / "run")
    return folder / "run"


def test_the_layers_of_a_run_are_ranked(finished: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command(["sensitivity", str(finished), "--samples", "6", "--json"]) == 0
    result = json.loads(capfd.readouterr().out)
    assert result["n"] == 6 and result["split"] == "val" and result["scheme"] == shapes_run.HOST
    names = [row["name"] for row in result["layers"]]
    assert len(names) == 9 and "fc" not in names, "what the run keeps in float has no noise"
    noise = [row["sqnr_db"] for row in result["layers"]]
    assert [round(value) for value in noise] == sorted(round(value) for value in noise)
    assert result["float"]["metric"] is not None and result["layers"][0]["weights"]["loss"] > 0
    # the names are those that keep_float takes
    again = edgeft.sensitivity(finished, samples=2, ptq=True, overrides=[f'quantize.keep_float=["fc", "{names[0]}"]'])
    assert {row["name"] for row in again["layers"]} == set(names[1:])

    page = finished.parent / "page.html"
    assert command(["sensitivity", str(finished), "--samples", "2", "--page", str(page)]) == 0
    assert "<svg" in page.read_text()
    out = capfd.readouterr().out
    assert command(["sensitivity", str(finished), "--page", str(page)]) == 2, "what is there is not replaced"
    assert f"layer, alone in {shapes_run.HOST}" in out and 'keep_float=["' in out and "2 validation samples" in out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--target", "rpi55"], 2, "rpi5"),
        (["--target", "jetson-orin-nano"], 2, "or pass --ptq"),
        (["--set", "train.epochs=3"], 2, "at export only"),
        (["--samples", "0"], 2, "--samples"),
        (["--set", "quantize.keep_float=['conv9']", "--ptq"], 3, "conv1"),
    ],
)
def test_wrong_input_is_answered(
    finished: Path, words: list[str], code: int, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command(["sensitivity", str(finished), *words]) == code
    err = capfd.readouterr().err
    assert message in err and "Traceback" not in err


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command(["sensitivity", str(tmp_path)]) in (2, 3)
    assert "Traceback" not in capfd.readouterr().err
    text = shapes_run.recipe_of(tmp_path / "x.npz")
    (tmp_path / "recipe.toml").write_text(recipe.dumps(recipe.from_table(text, "x")))
    assert command(["sensitivity", str(tmp_path)]) in (2, 3)
    assert "is not a finished run" in capfd.readouterr().err
