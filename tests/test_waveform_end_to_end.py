"""Sounds by a tiny wav2vec 2.0: its front end of convolutions in the graph, run.py from raw samples."""

from __future__ import annotations

import json
from pathlib import Path

import benchmark_nets
import end_to_end
import pytest
import runners
import torch

import edgeft
from edgeft.core.errors import ModelError

TARGETS = end_to_end.quick("host")

end_to_end.need("transformers")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> end_to_end.Made:
    folder = tmp_path_factory.mktemp("waveforms")
    return end_to_end.tuned(folder, benchmark_nets.recipe("wav2vec2", folder, ("host",)))


def test_it_learns_in_float_and_in_integers(made: end_to_end.Made) -> None:
    assert made.run["float"] >= 0.9 and made.run["quantized"] >= 0.85 and made.run["chance"] <= 0.4


@pytest.mark.parametrize("name", TARGETS)
def test_the_bundle_is_verified(made: end_to_end.Made, name: str) -> None:
    report = made.reports[name]
    assert report["verdict"] == "pass", [gate["why"] for gate in report["gates"] if gate["verdict"] == "fail"]
    assert report["int8_share"] > 0.8
    spec = edgeft.load(report["path"]).manifest["preprocess"]
    assert (spec["kind"], spec["rate"], spec["length"], spec["normalize"]) == ("waveform", 8000, 4000, True)


def test_predict_and_the_runner_say_the_same_of_a_file(made: end_to_end.Made) -> None:
    checked = runners.call(made.bundle("host"))
    assert checked.returncode == 0 and "DIFFERS" not in checked.stdout, checked.stdout + checked.stderr
    files = [str(made.folder / "sounds" / "test" / label / "000.wav") for label in ("fall", "rise", "tone")]
    asked = runners.call(made.bundle("host"), *files)
    told = edgeft.predict(made.bundle("host"), files)
    lines = [line.rsplit(": ", 1)[1].split()[0] for line in asked.stdout.splitlines()]
    assert lines == [row["label"] for row in told] == ["fall", "rise", "tone"]


def test_weight_norm_becomes_a_plain_weight_of_the_same_value(tmp_path: Path) -> None:
    import builds
    from transformers import AutoModelForAudioClassification

    from edgeft.config import recipe

    folder = benchmark_nets.module().write("wav2vec2", tmp_path / "model")
    built = builds.build(recipe.Model("transformers", "wav2vec2", str(folder)), 2, task="keyword")
    theirs = AutoModelForAudioClassification.from_pretrained(folder).eval()
    assert not [name for name, _ in built.module.named_parameters() if "parametrizations" in name]
    samples = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(built.module(samples), theirs(samples).logits, atol=1e-4)


def test_models_of_features_are_refused(tmp_path: Path) -> None:
    import builds
    from transformers import ASTConfig, ASTForAudioClassification

    from edgeft.config import recipe

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    ASTForAudioClassification(ASTConfig(**sizes, max_length=64, num_mel_bins=16)).save_pretrained(tmp_path / "ast")
    model = recipe.Model("transformers", "audio-spectrogram-transformer", str(tmp_path / "ast"))
    with pytest.raises(ModelError, match="reads features of a sound"):
        builds.build(model, 2, task="keyword")

    folder = benchmark_nets.module().write("wav2vec2", tmp_path / "model")
    table = {"feature_extractor_type": "SpeechT5FeatureExtractor", "sampling_rate": 8000}
    (folder / "preprocessor_config.json").write_text(json.dumps(table))
    with pytest.raises(ModelError, match="hands on no waveform"):
        builds.build(recipe.Model("transformers", "wav2vec2", str(folder)), 2, task="keyword")


@pytest.mark.slow
def test_hubert_becomes_a_verified_bundle(tmp_path: Path) -> None:
    whole = end_to_end.tuned(tmp_path, benchmark_nets.recipe("hubert", tmp_path, ("host",)), ("host",))
    report = whole.reports["host"]
    assert whole.run["float"] >= 0.8
    assert report["verdict"] == "pass", [gate["why"] for gate in report["gates"] if gate["verdict"] == "fail"]
