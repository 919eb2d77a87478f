"""A vision transformer of the package transformers from its folder to three verified bundles."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import end_to_end
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TARGETS = ("host", "host-openvino", "host-litert")

end_to_end.need("transformers")
if not BENCHMARKS.is_dir():
    pytest.skip("no checkout with benchmarks", allow_module_level=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> end_to_end.Made:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import source_nets
    finally:
        sys.path.remove(str(BENCHMARKS))

    folder = tmp_path_factory.mktemp("vit")
    recipe: dict[str, Any] = source_nets.recipe("vit", folder, TARGETS)
    recipe["train"]["epochs"] = 5
    return end_to_end.tuned_and_exported(folder, recipe, TARGETS)


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
