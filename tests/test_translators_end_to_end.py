"""Tiny Marian and T5 of transformers, from their folders to verified bundles that translate without the package."""

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

TARGETS = end_to_end.quick("host-openvino")
SENTENCES = ("one two three", "six four five two", "three six")

end_to_end.need("transformers", "sentencepiece", "sacrebleu")


def recipe_of(kind: str, folder: Path, targets: tuple[str, ...], beam: int) -> dict[str, Any]:
    recipe = benchmark_nets.recipe(kind, folder, targets)
    recipe["data"]["pairs"] = {"beam": beam}
    return recipe


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> end_to_end.Made:
    folder = tmp_path_factory.mktemp("marian")
    return end_to_end.tuned(folder, recipe_of("marian", folder, end_to_end.TARGETS, 2))


def test_it_learns_in_float_and_in_integers(made: end_to_end.Made) -> None:
    assert made.run["metric"] == "BLEU" and made.run["float"] >= 70 and made.run["quantized"] >= 65
    assert sorted(path.name for path in (made.folder / "run" / "preprocess").iterdir()) == [
        "target.json",
        "tokenizer.json",
    ]


@pytest.mark.parametrize("name", TARGETS)
def test_the_bundle_is_verified(made: end_to_end.Made, name: str) -> None:
    report = made.reports[name]
    assert report["verdict"] == "pass", [gate["why"] for gate in report["gates"] if gate["verdict"] == "fail"]
    assert report["int8_share"] > 0.8
    spec = edgeft.load(report["path"]).manifest["preprocess"]
    assert (spec["pad"], spec["start"], spec["end"], spec["suppress"], spec["force_end"]) == (59, 59, 0, [59], True)
    assert spec["length_penalty"] == 1.0 and set(spec["files"]) == {"tokenizer", "target"}


@pytest.mark.parametrize("name", TARGETS)
def test_the_runner_says_the_same_without_the_packages(made: end_to_end.Made, name: str) -> None:
    checked = runners.call(made.bundle(name))
    assert checked.returncode == 0 and "DIFFERS" not in checked.stdout, checked.stdout + checked.stderr
    assert "decoder/logits: 8 samples" in checked.stdout and "8 of 8 decisions alike" in checked.stdout
    assert checked.stdout.count("decisions alike") == 1, "keys and values decide nothing"
    code = "import sys; sys.modules.update(dict.fromkeys(('torch', 'transformers', 'sentencepiece', 'edgeft'))); "
    code += f"import runpy; sys.argv[:] = [{str(made.bundle(name) / 'run.py')!r}, *{SENTENCES!r}]; "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    predictions = edgeft.predict(made.bundle(name), list(SENTENCES))
    lines = [line.rsplit(": ", 1)[1] for line in done.stdout.splitlines()]
    assert done.returncode == 0 and lines == [row["label"] for row in predictions], done.stdout + done.stderr
    assert lines[0] == "zwei drei eins"


def test_a_resumed_run_reads_the_tokenizers_that_it_kept(made: end_to_end.Made, capfd: Any) -> None:
    kept = made.folder / "run" / "preprocess" / "target.json"
    before = kept.read_bytes()
    code, answer, _ = end_to_end.ask(capfd, "tune", "--resume", made.folder / "run")
    assert code == 0 and kept.read_bytes() == before, answer


def test_what_does_not_fit_is_said(made: end_to_end.Made, tmp_path: Path, capfd: Any) -> None:
    dry = ("tune", made.folder / "run" / "recipe.toml", "--dry-run", "--set")
    for setting, message in (
        ("data.length=200", "the model takes 3 to 16 tokens"),
        ("data.length=3", "pairs are longer than 3 tokens"),
        ("data.pairs={prefx='to German: '}", "unknown key 'prefx'"),
        ("task=text-classify", ""),
    ):
        command = dry[:2] if "=3" in setting else dry[:3]
        out = ("--out", tmp_path / "run") if "=3" in setting else ()
        code, answer, _ = end_to_end.ask(capfd, *command, *out, "--set", setting)
        assert code == 3 and message in answer["message"], answer


@pytest.mark.slow
def test_t5_becomes_a_verified_bundle(tmp_path: Path) -> None:
    recipe = recipe_of("t5", tmp_path, ("host",), 1)
    recipe["data"]["pairs"]["prefix"] = "six: "
    recipe["train"]["epochs"] = 14
    whole = end_to_end.tuned(tmp_path, recipe, ("host",))
    report = whole.reports["host"]
    assert whole.run["float"] >= 10
    assert report["verdict"] == "pass", [gate["why"] for gate in report["gates"] if gate["verdict"] == "fail"]
    checked = runners.call(whole.bundle("host"))
    assert checked.returncode == 0 and "DIFFERS" not in checked.stdout, checked.stdout + checked.stderr
