"""Entities as a user walks it: a tiny BERT is tuned, exported to every runtime, verified, and asked without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import benchmark_nets
import end_to_end
import pytest
import runners

import edgeft

TARGETS = end_to_end.quick("host")
TEXT = "Anna met the mayor of Brisk. Acme Bank hired Boris!"
HOST = ("torch", "onnx", "onnxscript", "litert_torch", "accelerate", "safetensors", "transformers", "sklearn")

end_to_end.need("transformers", "tokenizers")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> end_to_end.Made:
    folder = tmp_path_factory.mktemp("entities")
    recipe = benchmark_nets.recipe("bert-entities", folder, ("host",))
    recipe["train"] |= {"epochs": 5, "lr": 1e-2}
    return end_to_end.tuned(folder, recipe)


def words_of(made: end_to_end.Made) -> int:
    """The words of the test split."""
    return len((made.folder / "entities" / "test.conll").read_text().split()) // 2


def test_it_learns_in_float_and_in_integers(made: end_to_end.Made) -> None:
    assert made.run["metric"] == "entity F1" and made.run["chance"] < 0.3
    assert made.run["float"] >= 0.9 and made.run["quantized"] >= 0.85


@pytest.mark.parametrize("name", TARGETS)
def test_the_bundle_is_verified(made: end_to_end.Made, name: str) -> None:
    report = made.reports[name]
    assert report["verdict"] == "pass", [gate["why"] for gate in report["gates"] if gate["verdict"] == "fail"]
    assert report["int8_share"] > 0.8 and set(report["per_class"]) == {"LOC", "ORG", "PER"}
    (agreement,) = (gate for gate in report["gates"] if gate["name"] == "agreement")
    assert f"{words_of(made)} tokens in 60 samples" in agreement["why"], "words, without other pieces and the padding"


@pytest.mark.parametrize("name", TARGETS)
def test_entities_are_told_without_torch(made: end_to_end.Made, name: str) -> None:
    script = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({HOST!r}))\n"
        "from edgeft.cli.entry import run\n"
        f"sys.exit(run(['predict', {str(made.bundle(name))!r}, {TEXT!r}, '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (told,) = json.loads(done.stdout)["predictions"]
    assert [(row["text"], row["label"]) for row in told["entities"]] == [
        ("Anna", "PER"),
        ("Brisk", "LOC"),
        ("Acme Bank", "ORG"),
        ("Boris", "PER"),
    ]
    assert all(TEXT[row["start"] : row["end"]] == row["text"] and row["score"] > 0.5 for row in told["entities"])


def test_the_stand_alone_runner_says_the_same(made: end_to_end.Made) -> None:
    checked = runners.call(made.bundle("host"))
    assert checked.returncode == 0 and "DIFFERS" not in checked.stdout, checked.stdout + checked.stderr
    assert "preprocessing: largest difference 0: ok" in checked.stdout
    long = f"{TEXT} {TEXT}"
    asked = runners.call(made.bundle("host"), TEXT, long)
    told = edgeft.predict(made.bundle("host"), [TEXT, long])
    assert asked.stdout.splitlines() == [f"{row['input']}: {row['label']}" for row in told]
    assert told[1]["unread"], "the words behind the model's length are named"


def test_verify_with_data_judges_words_of_the_test_split(made: end_to_end.Made) -> None:
    report = edgeft.verify(made.bundle("host"), made.folder / "entities")
    gates = {gate["name"]: gate for gate in report["gates"] if gate["name"] in ("accuracy", "agreement")}
    assert gates["accuracy"]["n"] == 60
    assert gates["accuracy"]["quantized"] == pytest.approx(made.run["quantized"], abs=0.03)
    assert f"{words_of(made)} tokens" in gates["agreement"]["why"]


@pytest.mark.slow
def test_distilbert_becomes_a_verified_bundle(tmp_path: Path) -> None:
    whole = end_to_end.tuned(tmp_path, benchmark_nets.recipe("distilbert-entities", tmp_path, ("host",)), ("host",))
    report = whole.reports["host"]
    assert whole.run["float"] >= 0.85, "a tiny net on a grammar"
    assert report["verdict"] == "pass", [gate["why"] for gate in report["gates"] if gate["verdict"] == "fail"]
