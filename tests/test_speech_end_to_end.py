"""Speech from recordings with transcripts to three runtimes and back: tune, export, verify, predict, run.py."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sounds
from end_to_end import Made, ask, need, tuned

import edgeft
from edgeft.config import recipe
from edgeft.inputs.resampling import resample

pytestmark = pytest.mark.slow  # what its nets share with others is in the quick tests

ROOT = Path(__file__).parent.parent
TARGETS = ("host", "host-openvino", "host-litert")
ALL = pytest.mark.parametrize("name", TARGETS)
#: what a board does not have
HOST = ("torch", "accelerate", "safetensors", "kornia", "onnx", "onnxscript", "soundfile", "scipy", "PIL")
RECIPE = """
task = "speech"
name = "chirps"
[model]
name = "quartznet"
args = { width = 24, blocks = 1, dropout = 0.0 }
[data]
format = "wav-folder"
path = "sounds"
units = "words"
sound = { seconds = 1.2, hop = 0.02, window = 0.03, mels = 24 }
[train]
epochs = 10
lr = 1e-2
batch_size = 8
augment = "light"
[quantize]
epochs = 1
calibration = "minmax"
[export]
targets = ["host", "host-openvino", "host-litert"]
stream = 0.08
[gates]
max_drop = 0.05
min_speedup = 0.0
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    need()
    folder = tmp_path_factory.mktemp("sentences")
    sounds.write_sentences(folder / "sounds", {"train": 128, "val": 24, "test": 40})
    return tuned(folder, RECIPE.replace('"sounds"', json.dumps(str(folder / "sounds"))), TARGETS)


def test_the_run_learned(made: Made) -> None:
    assert made.run["metric"] == "word error rate" and made.run["n"] == 40
    assert made.run["chance"] > 0.6 and made.run["chance_is"] == "the best constant answer"
    assert made.run["float"] <= 0.1 and made.run["quantized"] <= 0.1
    spec = made.run["preprocess"]
    assert spec["place"] == "start" and spec["rate"] == 8000 and len(spec["mean"]) == 24


@ALL
def test_every_bundle_passes(made: Made, name: str) -> None:
    report = made.reports[name]
    assert not [(g["name"], g["why"]) for g in report["gates"] if g["required"] and g["verdict"] != "pass"]
    manifest = json.loads((Path(report["path"]) / "manifest.json").read_text())
    assert manifest["preprocess"] == made.run["preprocess"] and manifest["labels"] == list(sounds.LABELS)
    assert report["int8_share"] == 1.0
    assert set(report["per_class"]) == set(sounds.LABELS) and report["worst_class"]["label"] in sounds.LABELS
    gates = {g["name"]: g for g in report["gates"]}
    assert gates["accuracy"]["ci95"] and gates["agreement"]["n"] == 40


@ALL
def test_verify_with_data_judges_again(made: Made, capfd: Any, name: str) -> None:
    code, found, _ = ask(capfd, "verify", made.reports[name]["path"], "--data", made.folder / "sounds")
    gates = {g["name"]: g for g in found["gates"]}
    before = {g["name"]: g for g in made.reports[name]["gates"]}
    assert code == 0 and gates["accuracy"]["verdict"] == "pass" and gates["accuracy"]["n"] == 40
    assert gates["accuracy"]["quantized"] == before["accuracy"]["quantized"]


@ALL
def test_a_board_reads_sentences_off_wav_files_without_the_host_half(made: Made, tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(7)
    paths, said = [], []
    for i in range(6):  # another rate and two channels, as a user's own recorder makes them
        clip, labels = sounds.sentence(rng)
        finer = resample(clip.astype(float), 8000, 44_100, 0, len(clip) * 44_100 // 8000)
        samples = np.round(finer).clip(-32768, 32767).astype(np.int16)
        paths.append(str(sounds.write(tmp_path / f"{i}.wav", np.stack([samples, samples], axis=1), 44_100)))
        said.append(" ".join(labels))
    script = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({HOST!r}))\n"  # None there: importing it is an ImportError
        "from edgeft.cli.entry import run\n"
        f"sys.exit(run(['predict', {made.reports[name]['path']!r}, *{paths!r}, '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(done.stdout)["predictions"]
    assert sum(each["label"] == words for each, words in zip(seen, said)) >= 5, [each["label"] for each in seen]
    times = [word["seconds"] for word in seen[0]["words"]]
    assert times == sorted(times) and all(0 <= t <= 1.2 for t in times)


@ALL
def test_run_py_checks_itself_and_hears_the_same(made: Made, tmp_path: Path, capfd: Any, name: str) -> None:
    board = tmp_path / "board"
    shutil.copytree(made.reports[name]["path"], board)
    samples, _ = sounds.sentence(np.random.default_rng(3))
    clip = sounds.write(tmp_path / "clip.wav", samples)
    code, found, _ = ask(capfd, "predict", board, clip)
    label = found["predictions"][0]["label"]
    assert code == 0 and label
    line = [sys.executable, "-I", str(board / "run.py")]
    for arguments, words in (
        ((), ("decisions alike: ok", "preprocessing: largest difference 0")),
        ((clip,), (f"clip.wav: {label}\n",)),
    ):
        done = subprocess.run(
            [*line, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "PYTHONUTF8": "1"},
        )
        assert done.returncode == 0 and all(word in done.stdout for word in words), done.stdout + done.stderr
    long = sounds.write(tmp_path / "long.wav", np.zeros(16_000, np.int16))
    done = subprocess.run([*line, str(long)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 3 and "at most 1.20 s" in done.stderr and "Traceback" not in done.stderr


@ALL
def test_a_stream_has_the_words_of_its_recordings(made: Made, tmp_path: Path, capfd: Any, name: str) -> None:
    """Sentences behind each other, at another rate, in two channels, through predict and run.py; far beyond the window
    that the model hears at once."""
    bundle = made.reports[name]["path"]
    gates = {g["metric"]: g for g in made.reports[name]["gates"]}
    assert gates["streaming graph"]["verdict"] == "pass" and gates["streaming graph"]["n"] == 16
    assert ("bit for bit" in gates["streaming graph"]["why"]) == (name != "host-openvino")
    assert made.reports[name]["stream"]["delay_seconds"] == pytest.approx(0.4)

    rng, spoken, labels = np.random.default_rng(11), [], []
    for _ in range(6):
        clip, said = sounds.sentence(rng)
        spoken += [clip, np.zeros(2400, np.int16)]
        labels += said
    samples = np.concatenate(spoken)
    path = sounds.write(tmp_path / "long.wav", samples)
    code, found, _ = ask(capfd, "predict", bundle, "--stream", path)
    events = found["streams"][0]["detections"]
    words = [event["label"] for event in events]
    assert code == 0 and found["streams"][0]["text"] == " ".join(words)
    assert abs(len(words) - len(labels)) <= 1 and sum(a == b for a, b in zip(words, labels)) >= len(labels) - 2

    clip = sounds.write(tmp_path / "clip.wav", spoken[0])
    code, whole, _ = ask(capfd, "predict", bundle, clip)
    code, found, _ = ask(capfd, "predict", bundle, "--stream", clip)
    assert " ".join(e["label"] for e in found["streams"][0]["detections"]) == whole["predictions"][0]["label"]

    line = [sys.executable, "-I", str(Path(bundle) / "run.py"), "--stream"]
    done = subprocess.run([*line, str(path)], capture_output=True, text=True, timeout=120)
    told = [row.split() for row in done.stdout.splitlines()]
    assert [row[2] for row in told] == words, done.stderr
    assert [float(row[0]) for row in told] == [event["seconds"] for event in events]
    chunks = (samples[at : at + 700] for at in range(0, len(samples), 700))
    assert list(edgeft.listen(bundle, chunks, rate=8000)) == events
    code, found, _ = ask(capfd, "predict", bundle, "--stream", clip, "--step", "0.2")
    assert code == 2 and "streams of keywords" in found["message"]


def test_a_stream_that_is_not_the_whole_graph_fails(made: Made, tmp_path: Path, capfd: Any) -> None:
    """States that are not held at zero before the first frame, and a manifest whose states do not fit the graph."""
    code, found, _ = _altered(made, tmp_path / "cold", capfd, "warmup", 0)
    gates = {g["metric"]: g for g in found["gates"]}
    assert code == 1 and gates["streaming graph"]["verdict"] == "fail", gates["streaming graph"]
    assert "of the values differ from the whole graph's" in gates["streaming graph"]["why"]

    for key, value, message in (("shape", [1, 24, 7, 1], "another shape"), ("input", "none", "no input 'none'")):
        code, found, _ = _altered(made, tmp_path / key, capfd, key, value)
        assert code == 3 and message in found["message"] and "stream.states" in found["where"]


def _altered(made: Made, folder: Path, capfd: Any, key: str, value: Any) -> Any:
    shutil.copytree(made.reports["host"]["path"], folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["stream"]["states"][1][key] = value
    content = json.dumps(manifest).encode()
    (folder / "manifest.json").write_bytes(content)
    (folder / "manifest.sha256").write_text(hashlib.sha256(content).hexdigest())
    return ask(capfd, "verify", folder)


def test_silence_has_no_words(made: Made, tmp_path: Path, capfd: Any) -> None:
    path = sounds.write(tmp_path / "silence.wav", np.zeros(800, np.int16))
    code, found, _ = ask(capfd, "predict", made.reports["host"]["path"], path)
    assert code == 0 and found["predictions"][0]["label"] == ""


def test_bad_input_is_named(made: Made, tmp_path: Path, capfd: Any) -> None:
    bundle = made.reports["host"]["path"]
    (tmp_path / "words.wav").write_text("no sound")
    sounds.write(tmp_path / "long.wav", np.zeros(16_000, np.int16))
    for name, message in (("words.wav", "not readable"), ("absent.wav", "no such file"), ("long.wav", "2.00 s long")):
        code, found, _ = ask(capfd, "predict", bundle, tmp_path / name)
        assert code == 3 and name in found["where"] and message in found["message"]
    dry = ("tune", made.folder / "recipe.toml", "--dry-run", "--set")
    code, found, _ = ask(capfd, *dry, "data.sound={melz=3}")
    assert code == 3 and "did you mean 'mels'" in found["remedy"]
    code, found, _ = ask(capfd, *dry, "data.units=word")
    assert code == 3 and "did you mean 'words'" in found["remedy"]
    code, found, _ = ask(capfd, *dry, "data.sound={seconds=0.5}")
    assert code == 3 and "more than data.sound.seconds = 0.5" in found["message"] and "metadata.csv:" in found["where"]


def test_recordings_without_transcripts_are_told_apart(made: Made, tmp_path: Path, capfd: Any) -> None:
    sounds.write_folder(tmp_path / "classes", {"train": 2, "val": 1, "test": 1})
    dry = ("tune", made.folder / "recipe.toml", "--dry-run", "--set", f"data.path={tmp_path / 'classes'}")
    code, found, _ = ask(capfd, *dry, "--set", "data.units=")
    assert code == 3 and "no transcripts" in found["message"] and "data.units" in found["remedy"]
    code, found, _ = ask(capfd, *dry)
    assert code == 3 and "holds no transcripts" in found["message"]
    code, found, _ = ask(capfd, *dry[:2], "--dry-run", "--set", "task=keyword", "--set", "model.name=ds_cnn")
    assert code == 3, found


def test_the_template_is_a_recipe_that_a_user_can_fill(made: Made, tmp_path: Path, capfd: Any) -> None:
    path = tmp_path / "recipe.toml"
    assert ask(capfd, "init", "speech", "--out", path)[0] == 0
    path.write_text(path.read_text().replace('path = "data"', f"path = {json.dumps(str(made.folder / 'sounds'))}"))
    code, plan, _ = ask(capfd, "tune", path, "--dry-run")
    assert code == 0 and plan["samples"] == {"train": 128, "val": 24, "test": 40}
    assert plan["labels"] == list(sounds.LABELS) and not plan["objections"]["rpi5"]
    assert plan["preprocess"]["coefficients"] == 0 and plan["preprocess"]["length"] in (9600, 8800)


def test_the_page_draws_waveforms_and_marks_wrong_words(made: Made) -> None:
    page = (Path(made.reports["host"]["path"]) / "report.html").read_text()
    assert "data:image/png" in page and "word error rate" in page


def test_the_example_is_a_recipe() -> None:
    path = ROOT / "examples" / "speech" / "recipe.toml"
    if not path.is_file():
        pytest.skip("no checkout with examples")
    loaded = recipe.load(path)
    assert (loaded.task, loaded.model.name, loaded.data.units) == ("speech", "quartznet", "words")
