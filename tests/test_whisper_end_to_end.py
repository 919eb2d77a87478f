"""A tiny Whisper of transformers, from its folder to verified bundles that transcribe without the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import benchmark_nets
import end_to_end
import pytest
import runners

import edgeft

TARGETS = ("host", "host-openvino", "host-litert")

end_to_end.need("transformers", "tokenizers")
pytestmark = pytest.mark.slow  # minutes: training, and a search over both splits for each artifact


def recipe_of(folder: Path) -> dict[str, Any]:
    recipe = benchmark_nets.recipe("whisper", folder, TARGETS)
    recipe["model"]["args"] = {"language": "german", "beam": 2}
    return recipe


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> end_to_end.Made:
    folder = tmp_path_factory.mktemp("whisper")
    return end_to_end.tuned(folder, recipe_of(folder), TARGETS)


def recordings(made: end_to_end.Made) -> list[str]:
    return [str(made.folder / "recordings" / "test" / f"{i:04}.wav") for i in range(4)]


def test_it_learns_in_float_and_in_integers(made: end_to_end.Made) -> None:
    assert made.run["metric"] == "word error rate" and made.run["chance"] > 0.6
    assert made.run["float"] <= 0.35 and made.run["quantized"] <= 0.4
    assert [path.name for path in (made.folder / "run" / "preprocess").iterdir()] == ["tokenizer.json"]


@pytest.mark.parametrize("name", TARGETS)
def test_the_bundle_is_verified(made: end_to_end.Made, name: str) -> None:
    report = made.reports[name]
    assert report["verdict"] == "pass", [gate["why"] for gate in report["gates"] if gate["verdict"] == "fail"]
    assert report["int8_share"] > 0.8
    manifest = edgeft.load(report["path"]).manifest
    spec = manifest["preprocess"]
    assert (spec["kind"], spec["rate"], spec["length"], manifest["labels"]) == ("log_mel", 8000, 8000, [])
    assert spec["search"]["start"] == [259, 261, 263, 267] and spec["search"]["beam"] == 2
    assert [graph["name"] for graph in manifest["graphs"]] == ["encoder", "decoder"]


@pytest.mark.parametrize("name", TARGETS)
def test_the_runner_writes_the_same_without_the_packages(made: end_to_end.Made, name: str) -> None:
    checked = runners.call(made.bundle(name))
    assert checked.returncode == 0 and "DIFFERS" not in checked.stdout, checked.stdout + checked.stderr
    assert checked.stdout.count("decisions alike") == 1, "keys and values decide nothing"
    code = "import sys; absent = ('torch', 'transformers', 'tokenizers', 'edgeft'); "
    code += "sys.modules.update(dict.fromkeys(absent)); "
    code += f"import runpy; sys.argv[:] = [{str(made.bundle(name) / 'run.py')!r}, *{recordings(made)!r}]; "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    predictions = edgeft.predict(made.bundle(name), recordings(made))
    lines = [line.rsplit(": ", 1)[1] for line in done.stdout.splitlines()]
    assert done.returncode == 0 and lines == [row["label"] for row in predictions], done.stdout + done.stderr
    assert len({*lines}) > 1


def test_the_bundle_judges_the_data_again(made: end_to_end.Made, capfd: Any) -> None:
    code, answer, _ = end_to_end.ask(capfd, "verify", made.bundle("host"), "--data", made.folder / "recordings")
    gates = {gate["name"]: gate for gate in answer["gates"]}
    assert code == 0 and gates["accuracy"]["n"] == 24


def test_a_resumed_run_reads_the_tokenizer_that_it_kept(made: end_to_end.Made, capfd: Any) -> None:
    kept = made.folder / "run" / "preprocess" / "tokenizer.json"
    before = kept.read_bytes()
    code, answer, _ = end_to_end.ask(capfd, "tune", "--resume", made.folder / "run")
    assert code == 0 and kept.read_bytes() == before, answer


def test_what_does_not_fit_is_said(made: end_to_end.Made, capfd: Any) -> None:
    dry = ("tune", made.folder / "run" / "recipe.toml", "--dry-run", "--set")
    for setting, message in (
        ("data.units=characters", "this model writes texts by its own tokenizer"),
        ("data.sound={seconds=1.5}", "the model hears at most 1 s"),
        ("data.sound={mels=80}", "has 'mels', which belongs to features"),
        ("model.args={language='germn'}", "unknown language 'germn'"),
    ):
        code, answer, _ = end_to_end.ask(capfd, *dry, setting)
        assert code == 3 and message in answer["message"], answer
