"""Semantic search as a user walks it: a tiny BERT learns synonyms, is verified, and searches without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import benchmark_nets
import end_to_end
import numpy as np
import pytest
import runners

import edgeft

TARGETS = end_to_end.quick("host")
QUERY = "where is the red boat near town"
HOST = ("torch", "onnx", "onnxscript", "litert_torch", "accelerate", "safetensors", "transformers", "sklearn")

end_to_end.need("transformers", "tokenizers")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> end_to_end.Made:
    folder = tmp_path_factory.mktemp("search")
    recipe = benchmark_nets.recipe("bert-vectors", folder, ("host",))
    recipe["train"]["epochs"] = 5
    recipe["gates"]["min_agreement"] = 0.9
    return end_to_end.tuned(folder, recipe)


@pytest.fixture(scope="module")
def passages(made: end_to_end.Made) -> Path:
    path = made.folder / "passages.txt"
    path.write_text("an ancient hound lies after the mount\na crimson ship lies by the city\n\na tiny home\n")
    return path


def test_it_learns_in_float_and_in_integers(made: end_to_end.Made) -> None:
    assert made.run["metric"] == "recall@1" and made.run["chance"] == pytest.approx(1 / 70) and made.run["n"] == 140
    assert made.run["float"] >= 0.9 and made.run["quantized"] >= 0.85


@pytest.mark.parametrize("name", TARGETS)
def test_the_bundle_is_verified(made: end_to_end.Made, name: str) -> None:
    report = made.reports[name]
    assert report["verdict"] == "pass", [gate["why"] for gate in report["gates"] if gate["verdict"] == "fail"]
    assert report["int8_share"] > 0.8 and report["extra_metrics"]["MRR@10"]["float"] >= 0.9


@pytest.mark.parametrize("name", TARGETS)
def test_a_query_finds_its_passage_without_torch(made: end_to_end.Made, passages: Path, name: str) -> None:
    words = [QUERY, "a crimson ship lies by the city", str(passages)]
    script = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({HOST!r}))\n"
        "from edgeft.cli.entry import run\n"
        f"sys.exit(run(['predict', {str(made.bundle(name))!r}, *{words!r}, '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    query, text, file = json.loads(done.stdout)["predictions"]
    assert np.linalg.norm(query["embedding"]) == pytest.approx(1, abs=1e-3) and len(query["embedding"]) == 32
    assert file["passages"][0]["line"] == 2 and len(file["passages"]) == 3
    assert text["similarity"] == pytest.approx(file["passages"][0]["similarity"]) and text["similarity"] > 0.7


def test_the_stand_alone_runner_says_the_same(made: end_to_end.Made, passages: Path) -> None:
    checked = runners.call(made.bundle("host"))
    assert checked.returncode == 0 and "DIFFERS" not in checked.stdout, checked.stdout + checked.stderr
    assert "16 of 16 decisions alike" in checked.stdout
    inputs = [QUERY, "a crimson ship lies by the city", str(passages)]
    asked = runners.call(made.bundle("host"), *inputs)
    told = edgeft.predict(made.bundle("host"), inputs)
    assert asked.stdout.splitlines() == [f"{row['input']}: {row['label']}" for row in told]


def test_verify_with_data_ranks_the_test_split(made: end_to_end.Made) -> None:
    report = edgeft.verify(made.bundle("host"), made.folder / "search")
    gates = {gate["name"]: gate for gate in report["gates"] if gate["name"] in ("accuracy", "agreement")}
    assert gates["accuracy"]["n"] == 140 and gates["accuracy"]["verdict"] == "pass"
    assert gates["agreement"]["quantized"] >= 0.9
