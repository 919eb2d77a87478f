"""Speech by a tiny wav2vec 2.0 with a head of letters (CTC): tuned, exported, and asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import benchmark_nets
import end_to_end
import numpy as np
import pytest
import runners

import edgeft

TARGETS = end_to_end.quick("host")

end_to_end.need("transformers")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> end_to_end.Made:
    folder = tmp_path_factory.mktemp("letters")
    table = benchmark_nets.recipe("wav2vec2-speech", folder, ("host",))
    table["train"]["epochs"] = 18
    return end_to_end.tuned(folder, table)


def test_it_learns_in_float_and_in_integers(made: end_to_end.Made) -> None:
    assert made.run["metric"] == "word error rate" and made.run["chance"] > 0.6
    assert made.run["float"] <= 0.25 and made.run["quantized"] <= 0.3


@pytest.mark.parametrize("name", TARGETS)
def test_the_bundle_is_verified_and_has_the_letters_of_the_folder(made: end_to_end.Made, name: str) -> None:
    report = made.reports[name]
    assert report["verdict"] == "pass", [gate["why"] for gate in report["gates"] if gate["verdict"] == "fail"]
    assert report["int8_share"] > 0.8
    manifest = edgeft.load(report["path"]).manifest
    assert manifest["labels"] == [" ", *"aefilnorstz"], "letters that no transcript has are still there"
    spec = manifest["preprocess"]
    assert (spec["kind"], spec["place"], spec["rate"], spec["length"]) == ("waveform", "start", 8000, 7200)


def test_predict_and_the_runner_hear_the_same(made: end_to_end.Made) -> None:
    checked = runners.call(made.bundle("host"))
    assert checked.returncode == 0 and "DIFFERS" not in checked.stdout, checked.stdout + checked.stderr
    assert "preprocessing: largest difference" in checked.stdout
    files = [str(made.folder / "recordings" / "test" / f"{i:04}.wav") for i in range(4)]
    asked = runners.call(made.bundle("host"), *files)
    predictions = edgeft.predict(made.bundle("host"), files)
    lines = [line.rsplit(": ", 1)[1] for line in asked.stdout.splitlines()]
    assert lines == [row["label"] for row in predictions] and len({*lines}) > 1
    assert all(0 <= word["seconds"] <= 0.9 for row in predictions for word in row["words"])


def test_a_recording_that_is_too_long_is_refused(made: end_to_end.Made, tmp_path: Path, capfd: Any) -> None:
    import sounds

    long = sounds.write(tmp_path / "long.wav", np.zeros(16_000, np.int16))
    code, answer, _ = end_to_end.ask(capfd, "predict", made.bundle("host"), long)
    assert code == 3 and "2.00 s long" in answer["message"]
    asked = runners.call(made.bundle("host"), str(long))
    assert asked.returncode == 3 and "at most 0.90 s" in asked.stderr


def test_the_bundle_judges_the_data_again_in_its_own_letters(made: end_to_end.Made, capfd: Any) -> None:
    code, answer, _ = end_to_end.ask(capfd, "verify", made.bundle("host"), "--data", made.folder / "recordings")
    gates = {gate["name"]: gate for gate in answer["gates"]}
    assert code == 0 and gates["accuracy"]["n"] == 24


def test_settings_of_features_have_no_place_here(made: end_to_end.Made, capfd: Any) -> None:
    dry = ("tune", made.folder / "run" / "recipe.toml", "--dry-run", "--set")
    code, answer, _ = end_to_end.ask(capfd, *dry, "data.sound={mels=40}")
    assert code == 3 and "has 'mels', which belongs to features" in answer["message"]
    code, answer, _ = end_to_end.ask(capfd, *dry, "train.augment=loud")
    assert code == 3, answer


@pytest.mark.slow
def test_hubert_becomes_a_verified_bundle(tmp_path: Path) -> None:
    whole = end_to_end.tuned(tmp_path, benchmark_nets.recipe("hubert-speech", tmp_path, ("host",)), ("host",))
    report = whole.reports["host"]
    assert whole.run["float"] <= 0.3
    assert report["verdict"] == "pass", [gate["why"] for gate in report["gates"] if gate["verdict"] == "fail"]
