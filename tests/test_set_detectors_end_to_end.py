"""A detector of the package transformers that answers with a set (YOLOS) from its folder to three runtimes and back."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import benchmark_nets
import end_to_end
import pytest

TARGETS = end_to_end.quick("host")

end_to_end.need("transformers", "pycocotools", "scipy")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> end_to_end.Made:
    folder = tmp_path_factory.mktemp("yolos")
    recipe = benchmark_nets.recipe("yolos", folder, ("host",))
    recipe["train"]["epochs"] = 18
    return end_to_end.tuned(folder, recipe)


def test_it_learns_in_float_and_in_integers(made: end_to_end.Made) -> None:
    assert made.run["metric"] == "AP50" and made.run["labels"] == ["circle", "square"]
    assert made.run["float"] >= 0.5 and made.run["quantized"] >= made.run["float"] - 0.05
    assert made.run["preprocess"]["kind"] == "letterbox"


@pytest.mark.parametrize("name", TARGETS)
def test_the_bundle_is_verified(made: end_to_end.Made, name: str) -> None:
    report = made.reports[name]
    assert report["verdict"] == "pass", [gate["why"] for gate in report["gates"] if gate["verdict"] == "fail"]
    assert report["int8_share"] > 0.7
    manifest = json.loads((made.bundle(name) / "manifest.json").read_text())
    shapes = [tensor["shape"][1:] for tensor in manifest["graphs"][0]["outputs"]]
    assert shapes == [[2, 2], [2, 1], [2, 4]], 'class logits, "no object", boxes of two queries'


@pytest.mark.parametrize("name", TARGETS)
def test_a_board_says_the_same_without_the_packages(made: end_to_end.Made, name: str, capfd: Any) -> None:
    picture = made.folder / "boxes" / "images" / "test" / "0003.png"
    code, said, _ = end_to_end.ask(capfd, "predict", made.bundle(name), picture)
    assert code == 0 and {box["label"] for box in said["predictions"][0]["boxes"]} <= {"circle", "square"}
    script = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'transformers', 'edgeft', 'scipy'))); import runpy; "
    )
    script += f"sys.argv = [{str(made.bundle(name) / 'run.py')!r}, *sys.argv[1:]]; "
    script += "runpy.run_path(sys.argv[0], run_name='__main__')"
    for arguments, words in (
        ((), "preprocessing: largest difference 0: ok"),
        ((str(picture),), said["predictions"][0]["found"]),
    ):
        line = [sys.executable, "-c", script, *arguments]
        done = subprocess.run(line, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and words in done.stdout, done.stdout + done.stderr


def test_verify_with_data_judges_again(made: end_to_end.Made, capfd: Any) -> None:
    code, again, _ = end_to_end.ask(capfd, "verify", made.bundle("host"), "--data", made.folder / "boxes")
    before, after = (
        next(gate for gate in gates if gate["name"] == "accuracy")
        for gates in (made.reports["host"]["gates"], again["gates"])
    )
    assert code == 0 and after["n"] == 32 and after["quantized"] == before["quantized"]
