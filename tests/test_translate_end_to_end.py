"""Sentence pairs to three runtimes and back: tune, export of two graphs, verify, predict, run.py."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numbers_run
import numpy as np
import pytest
import shapes_run
from end_to_end import Made, ask, need, tuned

from edgeft.bundle import reader as bundles
from edgeft.config import recipe
from edgeft.tasks.translate import composed
from edgeft.tasks.translate import decoding as translate

pytestmark = pytest.mark.slow  # what its nets share with others is in the quick tests

ALL = pytest.mark.parametrize("name", numbers_run.TARGETS)
#: what a board does not have
HOST = ("torch", "accelerate", "safetensors", "kornia", "onnx", "onnxscript", "soundfile", "scipy", "PIL", "sacrebleu")
SENTENCE = "two three four"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    need("tokenizers", "sacrebleu")
    folder = tmp_path_factory.mktemp("numbers")
    numbers_run.write_folder(folder / "pairs")
    return tuned(folder, numbers_run.recipe_of(folder / "pairs"), numbers_run.TARGETS)


def test_the_run_learned_and_keeps_its_tokenizer(made: Made) -> None:
    assert made.run["float"] > 60 > 20 > made.run["chance"] and made.run["n"] == 40
    tokenizer = Path(made.run["preprocess"]["files"]["tokenizer"])
    assert tokenizer == made.folder / "run" / "preprocess" / "tokenizer.json" and tokenizer.is_file()
    assert set(made.run["schemes"]) == {shapes_run.HOST}
    assert made.run["schemes"][shapes_run.HOST]["integer_weights"] == 17


@ALL
def test_every_bundle_passes(made: Made, name: str) -> None:
    report = made.reports[name]
    assert not [(g["name"], g["why"]) for g in report["gates"] if g["required"] and g["verdict"] != "pass"]
    manifest = bundles.open(made.bundle(name)).manifest
    assert [graph["name"] for graph in manifest["graphs"]] == ["encoder", "decoder"]
    assert manifest["preprocess"]["files"] == {"tokenizer": "preprocess/tokenizer.json"}
    assert report["int8_share"] > 0.9 and report["size"]["quantized_bytes"] > 0
    parities = [g["why"].split(":")[0] for g in report["gates"] if g["name"] == "parity" and "rounding" in g["why"]]
    assert {"encoder", "decoder"} <= set(parities)


@ALL
def test_verify_with_data_judges_again(made: Made, capfd: Any, name: str) -> None:
    code, found, _ = ask(capfd, "verify", made.bundle(name), "--data", made.folder / "pairs")
    gates = {g["name"]: g for g in found["gates"]}
    assert code == 0 and gates["accuracy"]["verdict"] == "pass" and gates["accuracy"]["n"] == 40
    before = {g["name"]: g for g in made.reports[name]["gates"]}["accuracy"]
    assert gates["accuracy"]["quantized"] == pytest.approx(before["quantized"])


@ALL
def test_a_board_translates_without_the_host_half(made: Made, name: str) -> None:
    script = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({HOST!r}))\n"  # None there: importing it is an ImportError
        "from edgeft.cli.entry import run\n"
        f"sys.exit(run(['predict', {str(made.bundle(name))!r}, {SENTENCE!r}, '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (seen,) = json.loads(done.stdout)["predictions"]
    assert seen["label"] == "drei vier zwei" and seen["tokens"] == 3


@ALL
def test_run_py_checks_itself_and_says_the_same(made: Made, tmp_path: Path, name: str) -> None:
    board = tmp_path / "board"
    shutil.copytree(made.bundle(name), board)
    (tmp_path / "words.txt").write_text(SENTENCE)
    line = [sys.executable, "-I", str(board / "run.py")]
    for arguments, words in (
        ((), ("decoder/logits: 8 samples", "8 of 8 decisions alike: ok", "preprocessing: largest difference 0")),
        ((SENTENCE,), (f"{SENTENCE}: drei vier zwei",)),
        ((tmp_path / "words.txt",), (": drei vier zwei",)),
    ):
        done = subprocess.run(
            [*line, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "PYTHONUTF8": "1"},
        )
        assert done.returncode == 0 and all(word in done.stdout for word in words), done.stdout + done.stderr


@pytest.mark.parametrize("beam", [1, 3])
def test_run_py_searches_as_the_library_does(made: Made, beam: int) -> None:
    path = made.bundle(numbers_run.TARGETS[0])
    found = importlib.util.spec_from_file_location("runner_of_numbers", path / "run.py")
    assert found is not None and found.loader is not None
    runner = importlib.util.module_from_spec(found)
    found.loader.exec_module(runner)
    opened = bundles.open(path)
    spec = {**opened.preprocess, "beam": beam}
    session = composed.compose(opened.sessions(), spec)
    manifest = runner.load_manifest()
    calls = {graph["name"]: runner.load(manifest, 0, k) for k, graph in enumerate(manifest["graphs"])}
    alone = runner.compose(calls, {**manifest["preprocess"], "beam": beam})
    for words in ("one", "two three", "six five four one", "four four", "one two three", "</s>"):
        want = session.run(translate.preprocess(words, spec))["tokens"][0]
        got = alone(runner.feeds(words, manifest["preprocess"]))["tokens"]
        assert got == [t for t in want.tolist() if t != spec["pad"]]


def test_what_is_altered_in_one_graph_is_found(made: Made, tmp_path: Path, capfd: Any) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(made.bundle("host-litert"), broken)
    content = bytearray((broken / "decoder" / "model.tflite").read_bytes())
    content[-1] ^= 1
    (broken / "decoder" / "model.tflite").write_bytes(bytes(content))
    code, found, _ = ask(capfd, "verify", broken)
    assert code == 3 and "model.tflite" in found["where"]


def test_a_resumed_run_keeps_its_tokenizer(made: Made, tmp_path: Path, capfd: Any) -> None:
    run = tmp_path / "run"
    shutil.copytree(made.folder / "run", run)
    kept = run / "preprocess" / "tokenizer.json"
    text = kept.read_text().replace('"version":"1.0"', '"version": "1.0"')  # the same, and yet another file
    kept.write_text(text)
    code, _, _ = ask(capfd, "tune", "--resume", run)
    assert code == 0 and kept.read_text() == text


def test_bad_input_is_named(made: Made, tmp_path: Path, capfd: Any) -> None:
    bundle = made.bundle("host-litert")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    for given, where in ((tmp_path / "latin.txt", "latin.txt:1"), (" ", "")):
        code, found, _ = ask(capfd, "predict", bundle, given)
        assert code == 3 and where in found["where"]
    dry = ("tune", made.folder / "recipe.toml", "--dry-run", "--set")
    for setting, words in (
        ("data.pairs={targt='de'}", "did you mean 'target'"),
        ("data.pairs={vocabulary=100}", ""),
        ("data.length=3", "data.length"),
        ("quantize.keep_float=['head']", "decoder."),
    ):
        code, found, _ = ask(capfd, *dry, setting)
        assert code == 3 and words in found["remedy"], found


def test_the_dry_run_tells_the_plan(made: Made, capfd: Any) -> None:
    code, plan, _ = ask(capfd, "tune", made.folder / "recipe.toml", "--dry-run")
    assert code == 0 and plan["samples"] == {"train": 500, "val": 30, "test": 40}
    assert plan["preprocess"]["kind"] == "pairs" and plan["updated_parameters"] == plan["total_parameters"]


def test_a_layer_may_stay_float(made: Made, tmp_path: Path) -> None:
    from edgeft.config import target
    from edgeft.quantize.parts import insert_parts
    from edgeft.session.session import open_session

    session = open_session(recipe.load(made.folder / "recipe.toml"), learned=made.folder / "run" / "preprocess")
    captured = session.capture(session.built.module)
    scheme = target.load("host-litert").scheme
    every = insert_parts(captured, scheme).weights()
    fewer = insert_parts(captured, scheme, ["decoder.head", "encoder.memory.*"]).weights()
    assert set(every) - set(fewer) == {"decoder.head.weight", "encoder.memory.0.weight", "encoder.memory.1.weight"}


def test_the_report_shows_sentences(made: Made) -> None:
    page = (made.bundle("host-litert") / "report.html").read_text(encoding="utf-8")
    assert "fünf" in page and "up to 8 words" in page


def test_samples_of_each_graph_are_carried(made: Made) -> None:
    samples = bundles.open(made.bundle("host-litert")).samples()
    assert samples["input/encoder/source"].shape == (16, 6) and samples["output/text"].shape == (16,)
    assert samples["output/decoder/logits"].shape[:2] == (8, 1)
    assert np.array_equal(samples["input/source"], samples["input/encoder/source"])


def test_the_example_is_a_recipe() -> None:
    path = Path(__file__).parent.parent / "examples" / "translation" / "recipe.toml"
    if not path.is_file():
        pytest.skip("no checkout with examples")
    loaded = recipe.load(path)
    assert (loaded.task, loaded.model.name, loaded.data.format) == ("translate", "seq2seq", "pairs")
