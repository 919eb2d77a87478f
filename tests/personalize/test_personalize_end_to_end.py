"""A bundle learns another voice and a new class in each runtime, without the host half; and what it refuses."""

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

import edgeft
import edgeft.core.errors
from edgeft.cli.entry import run as command

TARGETS = ("host", "host-openvino", "host-litert")
ALL = pytest.mark.parametrize("name", TARGETS)
#: what a board does not have
HOST = ("torch", "accelerate", "safetensors", "kornia", "onnx", "onnxscript", "soundfile", "scipy", "PIL", "tensorflow")


def ask(capfd: Any, *argv: object) -> tuple[int, dict[str, Any], str]:
    """Exit code, the one JSON object on stdout, and stderr."""
    code = command([*map(str, argv), "--json"])
    out, err = capfd.readouterr()
    assert out.count("\n") == 1 and "Traceback" not in err, (out, err)
    return code, json.loads(out), err


def alone(*argv: object) -> dict[str, Any]:
    """The command in a fresh interpreter that can import nothing of the host; its JSON."""
    script = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({HOST!r}))\n"  # None there: importing it is an ImportError
        "from edgeft.cli.entry import run\n"
        f"sys.exit(run([*{[str(word) for word in argv]!r}, '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@ALL
def test_export_proves_trunk_tail_and_step(voices: Any, name: str) -> None:
    report = voices.reports[name]
    assert report["verdict"] == "pass"
    found = {g["metric"]: g for g in report["gates"] if g["name"] == "personalize"}
    assert found["agreement"]["quantized"] >= 0.98 and found["agreement"]["n"] == 60
    assert found["training step"]["quantized"] <= 1e-5
    manifest = json.loads((Path(report["path"]) / "manifest.json").read_text())
    assert [g["name"] for g in manifest["graphs"]] == ["main", "trunk", "tail", "step"]


@ALL
def test_a_board_learns_a_voice_then_a_class_then_goes_back(voices: Any, tmp_path: Path, name: str) -> None:
    bundle = shutil.copytree(voices.bundle(name), tmp_path / "board")
    first = alone("personalize", bundle, "--data", voices.other)
    assert (first["verdict"], first["version"]) == ("pass", 1)
    assert first["new"]["after"] > first["new"]["before"]
    assert first["reference"]["before"] - first["reference"]["after"] <= 0.05 + 1e-9
    second = alone("personalize", bundle, "--data", voices.buzz)
    assert (second["verdict"], second["version"]) == ("pass", 2)
    assert second["labels"] == [*sounds.LABELS, "buzz"] and second["new"]["per_class"]["buzz"]["after"] == 1
    clip = voices.buzz / "buzz" / "0.wav"
    (seen,) = alone("predict", bundle, clip)["predictions"]
    assert (seen["label"], seen["version"]) == ("buzz", 2)
    (report,) = [alone("verify", bundle)]
    assert [g["verdict"] for g in report["gates"] if g["name"] == "personalize"] == ["pass"]
    assert alone("personalize", bundle, "--rollback")["version"] == 1
    assert alone("predict", bundle, clip)["predictions"][0]["label"] in sounds.LABELS
    assert alone("personalize", bundle, "--rollback")["version"] == 0
    assert "version" not in alone("predict", bundle, clip)["predictions"][0]


@pytest.fixture(scope="module")
def by_means(voices: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, exported to learn features that part the classes (prototypes)."""
    out = tmp_path_factory.mktemp("by_means")
    settings = ["personalize.loss=prototype", "personalize.tail=last"]
    reports = edgeft.export(voices.folder / "run", TARGETS, out, overrides=settings)
    assert [(g["name"], g["why"]) for r in reports for g in r["gates"] if g["verdict"] == "fail"] == []
    return out


@pytest.mark.slow
@ALL
def test_prototypes_learn_a_voice_and_a_class(by_means: Path, voices: Any, tmp_path: Path, name: str) -> None:
    bundle = shutil.copytree(by_means / name, tmp_path / "board")
    first = alone("personalize", bundle, "--data", voices.other, "--steps", "30")
    assert first["verdict"] == "pass" and first["new"]["after"] > first["new"]["before"]
    assert first["loss"][1] < first["loss"][0]
    second = alone("personalize", bundle, "--data", voices.buzz, "--steps", "30")
    assert second["verdict"] == "pass" and second["new"]["per_class"]["buzz"]["after"] == 1
    assert second["reference"]["before"] - second["reference"]["after"] <= 0.05 + 1e-9


def test_prototypes_need_layers_that_learn(voices: Any, tmp_path: Path) -> None:
    with pytest.raises(edgeft.core.errors.RecipeError, match="classifier and trainable layers before it"):
        edgeft.export(voices.folder / "run", ["host"], tmp_path, overrides=["personalize.loss=prototype"])
    with pytest.raises(edgeft.core.errors.RecipeError, match="'mse' is not a loss of the task keyword"):
        edgeft.export(voices.folder / "run", ["host"], tmp_path, overrides=["personalize.loss=mse"])


@ALL
def test_fifty_steps_end_where_torch_ends(voices: Any, name: str) -> None:
    from edgeft.bundle import reader as bundle
    from edgeft.config import recipe
    from edgeft.config.target import load
    from edgeft.quantize.parts import insert_parts
    from edgeft.session.session import open_session
    from edgeft.training_step import proof as personal_proof
    from edgeft.training_step.trainable_tail import trainable_tail

    made = recipe.load(voices.folder / "run" / "recipe.toml")
    session = open_session(made)
    graph = insert_parts(session.capture(session.built.module), load(name).scheme, ())
    graph.set_mode("off")
    assert made.personalize is not None
    built = trainable_tail(session, graph, made.personalize, lambda text: None)
    step = bundle.open(voices.bundle(name)).session(name="step")
    assert personal_proof.distance(built.step, built.learning, step, made.personalize, 50) <= 1e-5


def test_a_stream_teaches_as_a_folder_does(voices: Any, tmp_path: Path) -> None:
    from edgeft.inputs import sound_file

    bundle = shutil.copytree(voices.bundle("host"), tmp_path / "board")
    pairs = ((sound_file.read(p), p.parent.name) for p in sorted(voices.other.rglob("*.wav")))
    found = edgeft.personalize(bundle, stream=pairs, state=tmp_path / "elsewhere.npz")
    assert found["verdict"] == "pass" and (tmp_path / "elsewhere.npz").exists()
    assert not (bundle / "state.npz").exists()


# --- with nothing but numpy, click and a LiteRT interpreter -----------------------------------------------------------


@pytest.mark.board
def test_a_bundle_learns_with_numpy_and_one_runtime(chirps: Path, heard: tuple[Path, Path], capfd: Any) -> None:
    code, found, _ = ask(capfd, "personalize", chirps, "--data", heard[0])
    assert code == 0 and found["new"]["after"] > found["new"]["before"]
    code, found, _ = ask(capfd, "personalize", chirps, "--data", heard[1])
    assert code == 0 and found["labels"][-1] == "buzz"
    page = (chirps / "state.html").read_text()
    assert "buzz" in page and "forgetting" in page and "<svg" in page
    code, found, _ = ask(capfd, "predict", chirps, heard[1] / "buzz" / "3.wav")
    assert code == 0 and found["predictions"][0]["label"] == "buzz"


@pytest.mark.board
def test_personalizing_loads_nothing_of_the_host(chirps: Path, heard: tuple[Path, Path]) -> None:
    script = (
        "import json, sys\n"
        "from edgeft.cli.entry import run\n"
        f"code = run(['personalize', {str(chirps)!r}, '--data', {str(heard[0])!r}])\n"
        "print('\\n' + json.dumps([code, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    code, names = json.loads(done.stdout.splitlines()[-1])
    assert code == 0, done.stdout + done.stderr
    loaded = {name.partition(".")[0] for name in names}
    assert not loaded & {"torch", "onnx", "tensorflow", "scipy", "onnxruntime", "openvino", "litert_torch", "PIL"}
    assert not {"edgeft.tune", "edgeft.export", "edgeft.quantize", "edgeft.models"} & set(names)


@pytest.mark.board
def test_what_is_not_better_is_not_kept(chirps: Path, tmp_path: Path, capfd: Any) -> None:
    rng = np.random.default_rng(5)
    for label in sounds.LABELS:  # the voice that it knows: nothing can be gained
        for i in range(6):
            sounds.write(tmp_path / "known" / label / f"{i}.wav", sounds.clip(label, rng))
    code, found, _ = ask(capfd, "personalize", chirps, "--data", tmp_path / "known")
    assert code == 1 and found["verdict"] == "fail" and "no improvement" in found["why"]
    assert not (chirps / "state.npz").exists()
    for label, other in zip(sounds.LABELS, sounds.LABELS[1:] + sounds.LABELS[:1]):  # lies about the voice that it knows
        for i in range(12):
            sounds.write(tmp_path / "lies" / other / f"{i}.wav", sounds.clip(label, rng))
    code, found, _ = ask(capfd, "personalize", chirps, "--data", tmp_path / "lies", "--steps", 300, "--rate", 0.3)
    assert code == 1 and any(word in found["why"] for word in ("forgets", "no improvement", "improvement is too small"))
    assert not (chirps / "state.npz").exists()


@pytest.mark.board
def test_class_means_alone_without_a_step(chirps: Path, heard: tuple[Path, Path], capfd: Any) -> None:
    code, found, _ = ask(capfd, "personalize", chirps, "--data", heard[1], "--steps", 0)
    assert found["steps"] == 0 and found["new"]["per_class"]["buzz"]["after"] == 1
    assert (code, found["verdict"]) in ((0, "pass"), (1, "fail"))  # whether the old classes bear it is for the gate


@pytest.mark.board
@pytest.mark.parametrize("kind", ["one sample", "unknown label", "no sound", "no folder", "a file", "empty"])
def test_samples_that_cannot_teach_are_refused(
    chirps: Path, heard: tuple[Path, Path], tmp_path: Path, capfd: Any, kind: str
) -> None:
    data, rng = tmp_path / "new", np.random.default_rng(0)
    where = ""
    if kind == "one sample":
        sounds.write(data / "rise" / "0.wav", sounds.clip("rise", rng))
    elif kind == "unknown label":
        for label in ("one", "two"):
            for i in range(3):
                sounds.write(data / label / f"{i}.wav", sounds.clip("rise", rng))
        where = "one"
    elif kind == "no sound":
        for i in range(4):
            (data / "rise").mkdir(parents=True, exist_ok=True)
            (data / "rise" / f"{i}.wav").write_text("no sound")
        where = "wav"
    elif kind == "a file":
        data.write_text("x")
    elif kind == "empty":
        data.mkdir()
    code, found, _ = ask(capfd, "personalize", chirps, "--data", data)
    assert code == 3 and found["remedy"] and where in json.dumps(found)
    assert not (chirps / "state.npz").exists()


@pytest.mark.board
def test_one_class_alone_can_teach_or_is_refused_by_the_gate(
    chirps: Path, heard: tuple[Path, Path], capfd: Any
) -> None:
    data = chirps.parent / "only"
    shutil.copytree(heard[0] / "rise", data / "rise")
    code, found, _ = ask(capfd, "personalize", chirps, "--data", data)
    assert (code, found["verdict"]) in ((0, "pass"), (1, "fail"), (5, "inconclusive"))
    assert (chirps / "state.npz").exists() == (code == 0)


@pytest.mark.board
def test_a_stream_of_sounds_that_are_not_finite_is_refused(chirps: Path) -> None:
    bad = {"samples": np.full(4000, np.nan, np.float32), "rate": 8000}
    with pytest.raises(edgeft.core.errors.DataError) as caught:
        edgeft.personalize(chirps, stream=[(bad, "rise"), (bad, "rise")])
    assert "sample 0" in str(caught.value)
    assert not (chirps / "state.npz").exists()


@pytest.mark.board
def test_a_rate_that_diverges_changes_nothing(chirps: Path, heard: tuple[Path, Path], capfd: Any) -> None:
    code, found, _ = ask(capfd, "personalize", chirps, "--data", heard[0], "--rate", 1e38, "--steps", 50)
    assert code == 3 and not (chirps / "state.npz").exists()
    assert "diverged" in found["message"] and "--rate" in found["remedy"]


@pytest.mark.board
def test_options_that_contradict_each_other(chirps: Path, heard: tuple[Path, Path], capfd: Any) -> None:
    assert ask(capfd, "personalize", chirps)[0] == 2
    assert ask(capfd, "personalize", chirps, "--data", heard[0], "--rollback")[0] == 2
    assert ask(capfd, "personalize", chirps, "--rollback")[0] == 2
    assert ask(capfd, "predict", chirps, "x.wav", "--state", chirps / "absent.npz")[0] in (2, 3)


@pytest.mark.board
def test_a_bundle_without_personalization_says_how_to_get_it(
    tmp_path: Path, heard: tuple[Path, Path], capfd: Any
) -> None:
    import tiny_bundle

    code, found, _ = ask(capfd, "personalize", tiny_bundle.build(tmp_path), "--data", heard[0])
    assert code == 3 and "[personalize]" in found["remedy"]


@pytest.mark.board
@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/self").exists(), reason="needs a folder that refuses writing")
def test_a_place_that_cannot_be_written_is_told_before_learning(
    chirps: Path, heard: tuple[Path, Path], capfd: Any
) -> None:
    code, found, _ = ask(capfd, "personalize", chirps, "--data", heard[0], "--state", "/proc/self/state.npz")
    assert code == 6 and "--state" in found["remedy"]
