"""A vision transformer and a segmenter of the package transformers from their folders to verified bundles."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import benchmark_nets
import end_to_end
import pytest

TARGETS = end_to_end.quick("host-litert")

end_to_end.need("transformers")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> end_to_end.Made:
    folder = tmp_path_factory.mktemp("vit")
    recipe = benchmark_nets.recipe("vit", folder, ("host-litert",))
    recipe["train"]["epochs"] = 5
    return end_to_end.tuned(folder, recipe)


def test_it_learns_in_float_and_in_integers(made: end_to_end.Made) -> None:
    assert made.run["float"] >= 0.9 and made.run["quantized"] >= 0.9 and made.run["chance"] <= 0.4


@pytest.mark.parametrize("name", TARGETS)
def test_the_bundle_is_verified(made: end_to_end.Made, name: str) -> None:
    report = made.reports[name]
    assert report["verdict"] == "pass", [gate["why"] for gate in report["gates"] if gate["verdict"] == "fail"]
    assert report["int8_share"] > 0.8


@pytest.mark.parametrize("name", TARGETS)
def test_the_runner_answers_alike_without_the_package(made: end_to_end.Made, name: str) -> None:
    code = "import sys; sys.modules.update(dict.fromkeys(('torch', 'transformers', 'edgeft'))); import runpy; "
    code += f"sys.argv[0] = {str(made.bundle(name) / 'run.py')!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "DIFFERS" not in done.stdout, done.stdout + done.stderr


def test_a_segmenter_becomes_a_verified_bundle(tmp_path: Path) -> None:
    recipe = benchmark_nets.recipe("segformer-segment", tmp_path, ("host",))
    recipe["train"]["epochs"] = 6
    whole = end_to_end.tuned(tmp_path, recipe, ("host",))
    report = whole.reports["host"]
    assert whole.run["float"] >= 0.6 and whole.run["quantized"] >= 0.6, "a mean IoU of plain scenes"
    assert report["verdict"] == "pass", [gate["why"] for gate in report["gates"] if gate["verdict"] == "fail"]
    assert report["int8_share"] > 0.9
