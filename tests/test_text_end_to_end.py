"""Reviews as a user walks it: a tiny BERT is tuned, exported to every runtime, verified, and asked without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapes_run
import text_run
from end_to_end import alterations_are_caught, exported_in, quick, tuned

import edgeft
from edgeft.config import recipe

for package in ("torch", "accelerate", "tokenizers", "onnxscript", "onnxruntime", "openvino", "litert_torch"):
    pytest.importorskip(package, reason=f"texts from end to end need {package}")

ALL = pytest.mark.parametrize("name", quick("host", "host-openvino"))
HOST = ("torch", "onnx", "onnxscript", "litert_torch", "accelerate", "safetensors", "transformers", "sklearn")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, dict[str, Any]]]:
    """(folder of the bundles, the run's summary, reports by target)."""
    folder = tmp_path_factory.mktemp("texts")
    whole = tuned(folder, text_run.recipe_of(folder), text_run.TARGETS)
    return folder / "bundles", whole.run, whole.reports


def test_it_learns_in_float_and_in_integers(made) -> None:
    summary = made[1]
    assert summary["float"] >= 0.9 and summary["quantized"] >= 0.85 and summary["chance"] <= 0.55
    assert summary["schemes"][shapes_run.HOST]["integer_weights"] == 7, "six linears a layer, and the head"


@ALL
def test_the_artifact_is_the_graph(made, name: str) -> None:
    report = made[2][name]
    failed = [g["why"] for g in report["gates"] if g["verdict"] == "fail"]
    assert report["verdict"] == "pass", failed
    assert report["int8_share"] > 0.7
    kinds = [kind.lower() for kind in report["int8"]["ops"]]
    assert not [kind for kind in kinds if "softmax" in kind and ("int8" in kind or "i8" in kind)], kinds
    assert name == "host-openvino" or [kind for kind in kinds if "softmax" in kind], "attention stays float"


@pytest.mark.slow
def test_the_table_of_words_may_be_int8(made, tmp_path: Path) -> None:
    """Of the word table alone: positions and the segment are looked up by no input, and stay float."""
    asked = {"ptq": True, "overrides": ["quantize.embeddings=int8"]}
    for report in edgeft.export(made[0].parent / "run", text_run.TARGETS, tmp_path / "int8", **asked):
        failed = [g["why"] for g in report["gates"] if g["verdict"] == "fail"]
        assert report["verdict"] == "pass", failed
        names = edgeft.load(report["path"]).manifest["integer_weights"]
        assert len(names) == 8 and names["bert.embeddings.word_embeddings.weight"]["shape"] == [40, 32]


@pytest.mark.slow
def test_fp16_halves_an_encoder_and_its_table_of_words(made, tmp_path: Path) -> None:
    for report in exported_in("fp16", made[0].parent / "run", ("host", "host-litert"), tmp_path / "fp16"):
        weights = edgeft.load(report["path"]).manifest["integer_weights"]
        assert len(weights) == 8 and {weight["dtype"] for weight in weights.values()} == {"float16"}
        assert weights["bert.embeddings.word_embeddings.weight"]["shape"] == [40, 32]
        assert report["int8_share"] is None and "int8" not in report


@pytest.mark.slow
def test_w8_of_an_encoder_multiplies_by_integers_with_scales(made, tmp_path: Path) -> None:
    for report in exported_in("w8", made[0].parent / "run", text_run.TARGETS, tmp_path / "w8"):
        weights = edgeft.load(report["path"]).manifest["integer_weights"]
        assert len(weights) == 7 and report["int8_share"] is None
        accuracy = next(gate for gate in report["gates"] if gate["name"] == "accuracy")
        assert abs(accuracy["quantized"] - accuracy["float"]) <= 0.02
        alterations_are_caught(report, tmp_path / report["target"])


@pytest.mark.slow
def test_w4_of_an_encoder_is_a_fraction_of_the_size(made, tmp_path: Path) -> None:
    for report in exported_in("w4", made[0].parent / "run", ("host", "host-openvino"), tmp_path / "w4"):
        accuracy = next(gate for gate in report["gates"] if gate["name"] == "accuracy")
        assert abs(accuracy["quantized"] - accuracy["float"]) <= 0.02
        weights = edgeft.load(report["path"]).manifest["integer_weights"]
        assert len(weights) == 7
        alterations_are_caught(report, tmp_path / report["target"])


@pytest.mark.slow
def test_int16x8_of_an_encoder_leaves_the_gelu_in_float(made, tmp_path: Path) -> None:
    for report in exported_in("int16x8", made[0].parent / "run", ("host-litert", "host"), tmp_path / "int16x8"):
        accuracy = next(gate for gate in report["gates"] if gate["name"] == "accuracy")
        assert abs(accuracy["quantized"] - accuracy["float"]) <= 0.02
        if report["backend"] == "litert":
            assert report["int8"]["ops"]["FULLY_CONNECTED int16"] == 7 and "GELU" in report["int8"]["float_ops"]
            alterations_are_caught(report, tmp_path)


@ALL
def test_padding_makes_no_difference(made, name: str) -> None:
    bundle = edgeft.load(made[2][name]["path"])
    session = bundle.session()
    feeds = bundle.task.preprocess("this soft fabric is lovely", bundle.preprocess)
    assert list(feeds) == ["input_ids", "attention_mask"] and feeds["attention_mask"].sum() == 7
    assert feeds["input_ids"].dtype == np.int32 and feeds["input_ids"].shape == (1, text_run.LENGTH)
    (before,) = session.run(feeds).values()
    ids = np.where(feeds["attention_mask"] == 1, feeds["input_ids"], 9)
    (after,) = session.run({**feeds, "input_ids": ids}).values()
    assert np.array_equal(before, after), "what stands behind the mask is not read"
    (seen,) = session.run({**feeds, "attention_mask": np.ones_like(ids), "input_ids": ids}).values()
    assert not np.allclose(before, seen), "without the mask it would be"


@ALL
def test_the_bundle_carries_its_tokenizer(made, name: str, tmp_path: Path) -> None:
    bundle = edgeft.load(made[2][name]["path"])
    assert bundle.manifest["preprocess"]["files"] == {"tokenizer": "preprocess/tokenizer.json"}
    assert "preprocess/tokenizer.json" in bundle.manifest["files"]
    assert bundle.samples()["raw_0"].dtype.kind == "U"


@ALL
def test_words_are_judged_without_torch(made, name: str, tmp_path: Path) -> None:
    (tmp_path / "review.txt").write_text("This cheap, torn shirt!\n")
    words = ["Great dress: lovely, perfect", str(tmp_path / "review.txt")]
    script = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({HOST!r}))\n"
        "from edgeft.cli.entry import run\n"
        f"sys.exit(run(['predict', {made[2][name]['path']!r}, *{words!r}, '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [seen["label"] for seen in json.loads(done.stdout)["predictions"]] == ["yes", "no"]


def test_the_stand_alone_runner_reads_texts_too(made) -> None:
    folder = Path(made[2]["host"]["path"])
    checked = subprocess.run([sys.executable, str(folder / "run.py")], capture_output=True, text=True, timeout=120)
    assert checked.returncode == 0 and "DIFFERS" not in checked.stdout, checked.stdout + checked.stderr
    assert "decisions alike" in checked.stdout and "preprocessing: largest difference 0: ok" in checked.stdout
    asked = subprocess.run(
        [sys.executable, str(folder / "run.py"), "great lovely dress", "an awful, itchy thing"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = asked.stdout.splitlines()
    assert asked.returncode == 0 and [line.split(": ")[-1].split()[0] for line in lines] == ["yes", "no"], asked.stderr


def test_verify_with_data_judges_the_test_split(made) -> None:
    found = edgeft.verify(edgeft.load(made[2]["host"]["path"]), made[0].parent / "reviews.csv")
    (gate,) = [g for g in found["gates"] if g["name"] == "accuracy"]
    assert gate["n"] == made[1]["n"] and gate["quantized"] == pytest.approx(made[2]["host"]["gates"][0]["quantized"])


def test_an_altered_tokenizer_is_refused(made, tmp_path: Path) -> None:
    import shutil

    from edgeft.core.errors import BundleError

    copy = tmp_path / "bundle"
    shutil.copytree(made[2]["host"]["path"], copy)
    file = copy / "preprocess" / "tokenizer.json"
    file.write_text(file.read_text().replace('"great"', '"awfu1"'))
    with pytest.raises(BundleError, match="altered"):
        edgeft.load(copy)


@pytest.mark.parametrize(
    ("policy", "moves"), [("head", ("classifier.",)), ("last", ("classifier.", "bert.encoder.layer.0."))]
)
def test_a_policy_moves_what_it_says_and_no_other_weight(tmp_path: Path, policy: str, moves: tuple[str, ...]) -> None:
    from safetensors.torch import load_file

    table = text_run.recipe_of(
        tmp_path, train={"epochs": 4, "lr": 3e-3}, export={"targets": ["host"]}, update={"policy": policy}
    )
    edgeft.tune(table, tmp_path / "run")
    before = load_file(tmp_path / "encoder" / "model.safetensors")
    for name in ("float", f"quantized.{shapes_run.HOST}"):
        after = load_file(tmp_path / "run" / f"{name}.safetensors")
        changed = {f"bert.{k}" for k, v in before.items() if not after[f"bert.{k}"].equal(v)}
        assert all(k.startswith(moves) for k in changed), changed
        assert bool(changed) == (policy == "last"), "the new head is not among the encoder's weights"


def test_a_finished_run_says_nothing_of_the_weights_it_began_with(made) -> None:
    from edgeft.session.session import open_session

    run, heard = made[0].parent / "run", {True: list[str](), False: list[str]()}
    for trained, lines in heard.items():
        open_session(recipe.load(run / "recipe.toml"), trained=trained, say=lines.append)

    about = {trained: [line for line in lines if "a new one is trained" in line] for trained, lines in heard.items()}
    assert about == {False: ["the weights' own classifier is not in the file: a new one is trained"], True: []}
