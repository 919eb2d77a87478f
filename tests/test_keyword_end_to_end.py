"""Keywords from .wav files to three runtimes and back: tune, export, predict, run.py."""

from __future__ import annotations

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
from end_to_end import Made, ask, need, quick, tuned

import edgeft
from edgeft.config import recipe
from edgeft.core.errors import UsageError
from edgeft.inputs import sound_file, sound_stream
from edgeft.inputs.resampling import resample

TARGETS = ("host", "host-openvino", "host-litert")
ALL = pytest.mark.parametrize("name", quick("host", "host-litert"))
#: what a board does not have
HOST = ("torch", "accelerate", "safetensors", "kornia", "onnx", "onnxscript", "soundfile", "scipy", "PIL")
RECIPE = """
task = "keyword"
name = "chirps"
[model]
name = "ds_cnn"
args = { width = 16, blocks = 2, dropout = 0.0 }
[data]
format = "wav-folder"
path = "sounds"
sound = { seconds = 0.5, hop = 0.03, mels = 24, coefficients = 0, level_floor = 1e-3 }
[train]
epochs = 15
lr = 1e-2
batch_size = 20
[quantize]
epochs = 1
calibration = "minmax"
[export]
targets = ["host", "host-openvino", "host-litert"]
[gates]
max_drop = 0.05
min_speedup = 0.0
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    need()
    folder = tmp_path_factory.mktemp("chirps")
    sounds.write_folder(folder / "sounds", {"train": 30, "val": 8, "test": 16})
    return tuned(folder, RECIPE.replace('"sounds"', json.dumps(str(folder / "sounds"))), TARGETS)


def test_the_run_learned_and_measured_its_features(made: Made) -> None:
    assert made.run["float"] >= 0.9 and made.run["quantized"] >= 0.9 and made.run["n"] == 48
    spec = made.run["preprocess"]
    assert spec["kind"] == "sound" and spec["rate"] == 8000 and len(spec["mean"]) == 24
    assert set(spec["std"]) != {1.0}


@ALL
def test_every_bundle_passes(made: Made, name: str) -> None:
    report = made.reports[name]
    assert not [(g["name"], g["why"]) for g in report["gates"] if g["required"] and g["verdict"] != "pass"]
    manifest = json.loads((Path(report["path"]) / "manifest.json").read_text())
    assert manifest["preprocess"] == made.run["preprocess"] and manifest["labels"] == list(sounds.LABELS)


@ALL
def test_verify_with_data_judges_again(made: Made, capfd: Any, name: str) -> None:
    code, found, _ = ask(capfd, "verify", made.reports[name]["path"], "--data", made.folder / "sounds")
    gates = {g["name"]: g for g in found["gates"]}
    assert code == 0 and gates["accuracy"]["verdict"] == "pass" and gates["accuracy"]["n"] == 48


@ALL
def test_a_board_predicts_from_wav_files_without_the_host_half(made: Made, tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(7)
    paths = []
    for label in sounds.LABELS:  # another rate and two channels, as a user's own recorder makes them
        clip = sounds.clip(label, rng)
        finer = resample(clip.astype(float), 8000, 44_100, 0, 22_050)
        samples = np.round(finer).clip(-32768, 32767).astype(np.int16)
        paths.append(str(sounds.write(tmp_path / f"{label}.wav", np.stack([samples, samples], axis=1), 44_100)))
    script = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({HOST!r}))\n"  # None there: importing it is an ImportError
        "from edgeft.cli.entry import run\n"
        f"sys.exit(run(['predict', {made.reports[name]['path']!r}, *{paths!r}, '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(done.stdout)["predictions"]
    assert [each["label"] for each in seen] == list(sounds.LABELS)


@ALL
def test_run_py_checks_itself_and_hears_the_same(made: Made, tmp_path: Path, name: str) -> None:
    board = tmp_path / "board"
    shutil.copytree(made.reports[name]["path"], board)
    clip = sounds.write(tmp_path / "clip.wav", sounds.clip("rise", np.random.default_rng(3)))
    line = [sys.executable, "-I", str(board / "run.py")]
    for arguments, words in (
        ((), ("decisions alike: ok", "preprocessing: largest difference 0")),
        ((clip,), (": rise ",)),
    ):
        done = subprocess.run(
            [*line, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "PYTHONUTF8": "1"},
        )
        assert done.returncode == 0 and all(word in done.stdout for word in words), done.stdout + done.stderr
    (tmp_path / "words.wav").write_text("no sound")
    done = subprocess.run([*line, str(tmp_path / "words.wav")], capture_output=True, text=True, timeout=120)
    assert done.returncode == 3 and "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def long(made: Made) -> tuple[Path, Path]:
    """Twelve chirps in a recording, two seconds apart, and its label track."""
    rng = np.random.default_rng(11)
    parts, lines = [np.zeros(8000, np.int16)], []
    for i in range(12):
        label = sounds.LABELS[i % 3]
        start = sum(map(len, parts)) / 8000
        lines.append(f"{start}\t{start + 0.5}\t{label}")
        parts += [sounds.clip(label, rng), np.zeros(12_000, np.int16)]
    hiss = rng.normal(0, 30, sum(map(len, parts)))
    path = sounds.write(made.folder / "long.wav", (np.concatenate(parts) + hiss).astype(np.int16))
    (made.folder / "long.txt").write_text("\n".join(lines) + "\n")
    return path, made.folder / "long.txt"


@ALL
def test_a_stream_is_answered_as_its_clips_are_and_run_py_says_the_same(
    made: Made, long: tuple[Path, Path], capfd: Any, name: str
) -> None:
    bundle, (path, truth) = made.reports[name]["path"], long
    code, result, _ = ask(capfd, "predict", bundle, "--stream", path, "--truth", truth, "--threshold", 0.6)
    (stream,) = result["streams"]
    assert code == 0 and stream["seconds"] == pytest.approx(25.0) and len(stream["detections"]) >= 10
    judged = stream["judged"]
    # four of twelve by chance; the model has no class for what lies between words, and half a chirp is another word
    assert judged["events"] == 12 and judged["detected"] >= 7 and judged["hours"] == pytest.approx(25 / 3600)
    low, high = judged["detection_rate_interval"]
    assert low < judged["detection_rate"] == judged["detected"] / 12 <= high
    assert judged["detected"] + judged["false_alarms"] == len(stream["detections"])

    samples = sound_file.read(path)["samples"]
    opened = edgeft.load(bundle)
    session, hop, length = opened.session(), opened.preprocess["hop"], opened.preprocess["length"]
    for seconds, feeds in list(sound_stream.windows([samples], 8000, opened.preprocess, 0.25))[3:20:5]:
        start = round(seconds * 8000) - length // 2
        assert round(seconds * 8000) % hop == 0
        clip = {"samples": samples[start : start + length], "rate": 8000}
        outputs = session.run(feeds), session.run(opened.task.preprocess(clip, opened.preprocess))
        assert all(np.array_equal(outputs[0][key], outputs[1][key]) for key in outputs[0])

    chunks = np.split(samples, np.arange(777, len(samples), 777))
    heard = list(edgeft.listen(bundle, chunks, rate=8000, threshold=0.6))
    assert heard == stream["detections"] == list(edgeft.listen(bundle, path, threshold=0.6))
    expected = [f"{d['seconds']:9.3f} s  {d['label']}  {100 * d['confidence']:.1f} %" for d in heard]
    command = [sys.executable, "-I", str(Path(bundle) / "run.py"), "--stream", "--threshold", "0.6"]
    for source, content in ((str(path), b""), ("-", samples.tobytes()), ("-", path.read_bytes())):
        done = subprocess.run([*command, source], input=content, capture_output=True, timeout=120)
        assert done.returncode == 0 and done.stdout.decode().splitlines() == expected, done.stderr


def test_detections_are_printed_as_they_come(made: Made, long: tuple[Path, Path]) -> None:
    """Through a pipe that stays open: a line is there while the recorder still runs."""
    command = [sys.executable, "-m", "edgeft", "predict", made.reports["host"]["path"], "--stream", "-"]
    with subprocess.Popen([*command, "--threshold", "0.6"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdin.write(sound_file.read(long[0])["samples"].tobytes()[: 2 * 8000 * 8])
        process.stdin.flush()
        assert b" s  " in process.stdout.readline()
        rest, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and rest.decode().splitlines()[-1].startswith("-: 8.0 s heard, ")


def test_streams_that_cannot_be_listened_to(made: Made, tmp_path: Path, long: tuple[Path, Path], capfd: Any) -> None:
    bundle = made.reports["host"]["path"]
    (tmp_path / "words.wav").write_text("no sound")
    (tmp_path / "words.txt").write_text("no label track")
    for arguments, expected, words in (
        ([tmp_path / "words.wav"], 3, "words.wav"),
        ([tmp_path / "absent.wav"], 3, "absent.wav"),
        ([long[0], "--rate", 16_000], 3, "--rate says 16000 Hz"),
        ([long[0], "--truth", tmp_path / "words.txt"], 3, "words.txt:1"),
        ([long[0], "--step", 0], 2, "--step"),
        ([long[0], "--step", 0.7], 2, "leave out sound"),
        ([long[0], "--ignore", "up"], 2, "no label 'up'"),
        ([long[0], "--untrusted"], 2, "--untrusted does not go with --stream"),
    ):
        code, result, _ = ask(capfd, "predict", bundle, "--stream", *arguments)
        assert code == expected and words in json.dumps(result), result
    code, result, _ = ask(capfd, "predict", bundle, long[0], "--threshold", 0.5)
    assert code == 2 and "--threshold is for a stream" in result["message"]
    with pytest.raises(UsageError, match="chunks of samples have no rate"):
        edgeft.listen(bundle, [np.zeros(100, np.int16)])
    done = subprocess.run([sys.executable, "-I", str(Path(bundle) / "run.py"), "--stream"], capture_output=True)
    assert done.returncode == 2


def test_bad_input_is_named(made: Made, tmp_path: Path, capfd: Any) -> None:
    bundle = made.reports["host"]["path"]
    (tmp_path / "words.wav").write_text("no sound")
    for path in (tmp_path / "words.wav", tmp_path / "absent.wav"):
        code, found, _ = ask(capfd, "predict", bundle, path)
        assert code == 3 and path.name in found["where"]
    code, found, _ = ask(capfd, "tune", made.folder / "recipe.toml", "--dry-run", "--set", "data.sound={melz=3}")
    assert code == 3 and "did you mean 'mels'" in found["remedy"]
    code, found, _ = ask(capfd, "tune", made.folder / "recipe.toml", "--dry-run", "--set", "data.group=speaker")
    assert code == 3 and found["where"] == "data.group"


def test_the_template_is_a_recipe_that_a_user_can_fill(made: Made, tmp_path: Path, capfd: Any) -> None:
    path = tmp_path / "recipe.toml"
    assert ask(capfd, "init", "keyword", "--out", path)[0] == 0
    path.write_text(path.read_text().replace('path = "data"', f"path = {json.dumps(str(made.folder / 'sounds'))}"))
    code, plan, _ = ask(capfd, "tune", path, "--dry-run")
    assert (
        code == 0 and plan["samples"] == {"train": 90, "val": 24, "test": 48} and plan["labels"] == list(sounds.LABELS)
    )
    assert plan["preprocess"]["coefficients"] == 10 and not plan["objections"]["rpi5"]


def test_the_page_draws_waveforms(made: Made) -> None:
    assert "data:image/png" in (Path(made.reports["host"]["path"]) / "report.html").read_text()


def test_the_example_is_a_recipe() -> None:
    path = Path(__file__).parent.parent / "examples" / "keywords" / "recipe.toml"
    if not path.is_file():
        pytest.skip("no checkout with examples")
    loaded = recipe.load(path)
    assert (loaded.task, loaded.model.name, loaded.data.group) == ("keyword", "ds_cnn", "take")
