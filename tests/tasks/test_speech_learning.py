"""Learning speech: the loss against its definition, batches of texts, distillation, and the net's form."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import sounds
import torch
from builds import build

from edgeft import tasks
from edgeft.config.recipe import Data, Model
from edgeft.core.errors import DataError, ModelError, RecipeError
from edgeft.data.samples import Dataset, Split
from edgeft.metrics import ctc
from edgeft.models.nets.quartznet import QuartzNet
from edgeft.tasks.speech import decoding as task
from edgeft.tasks.speech import learning as speech
from edgeft.tasks.speech import transcript


class Sentences:
    def __init__(self, n: int) -> None:
        rng = np.random.default_rng(0)
        self.sentences = [sounds.sentence(rng) for _ in range(n)]

    def __len__(self) -> int:
        return len(self.sentences)

    def raw(self, i: int) -> dict[str, Any]:
        return {"samples": self.sentences[i][0], "rate": 8000}

    def source(self, i: int) -> str:
        return f"sentence {i}"


def split(n: int = 12) -> Split:
    pool = Sentences(n)
    targets = np.empty(n, object)
    targets[:] = [transcript.target(words, "words", sounds.LABELS) for _, words in pool.sentences]
    return Split("train", pool, np.arange(n), targets)


def spec() -> dict[str, Any]:
    table = task.configure(Data(sound={"seconds": 1.2, "hop": 0.02}), {}, {"rate": 8000}, print)
    return task.measure(table, (split().raw(i) for i in range(12)))


def test_the_loss_is_minus_the_log_of_all_paths_that_say_the_text() -> None:
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32))
    texts = ([1, 1], [2])
    found = speech.loss(logits, speech.texts([{"tokens": np.array(tokens)} for tokens in texts]))
    wanted = []
    for shares, tokens in zip(torch.softmax(logits, 1), texts):
        paths = [p for p in itertools.product(range(3), repeat=4) if ctc.collapse(np.array(p)).tolist() == tokens]
        total = sum(float(torch.prod(shares[list(p), torch.arange(4)])) for p in paths)
        wanted.append(-np.log(total) / len(tokens))
    assert float(found) == pytest.approx(np.mean(wanted), rel=1e-5)


def test_a_text_that_no_number_of_frames_can_say_is_refused() -> None:
    texts = speech.texts([{"tokens": np.arange(1, 6)}])
    with pytest.raises(ModelError, match="5 tokens, and the model has 4 frames"):
        speech.loss(torch.zeros(1, 7, 4), texts)
    with pytest.raises(ModelError, match="expected"):
        speech.loss(torch.zeros(1, 7), texts)


def test_batches_are_features_and_padded_tokens() -> None:
    assert tasks.get("speech").learning() is speech.LEARNING
    ((features,), (tokens, lengths)) = next(iter(speech.loader(split(), spec(), 12)))
    assert features.shape == (12, 1, 59, 40) and features.dtype == torch.float32
    for row, length, target in zip(tokens, lengths, split().targets):
        assert row[:length].tolist() == target["tokens"].tolist() and not row[length:].any()


def test_augmentation_is_drawn_from_seed_and_epoch() -> None:
    loader = speech.loader(split(), spec(), 4, "strong", seed=3, shuffle=True)
    loader.set_epoch(1)
    first = [inputs[0].clone() for inputs, _ in loader]
    again = speech.loader(split(), spec(), 4, "strong", seed=3, shuffle=True)
    again.set_epoch(1)
    assert all(torch.equal(a, inputs[0]) for a, (inputs, _) in zip(first, again))
    loader.set_epoch(2)
    assert not torch.equal(first[0], next(iter(loader))[0][0])
    with pytest.raises(RecipeError, match="did you mean 'strong'"):
        speech.augmentation("stron", spec())


def test_the_teacher_is_followed_frame_by_frame() -> None:
    teacher = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    assert float(speech.distill(teacher, teacher)) == pytest.approx(0, abs=1e-6)
    student = torch.zeros_like(teacher)
    p, q = torch.softmax(teacher, 1), torch.softmax(student, 1)
    assert float(speech.distill(student, teacher)) == pytest.approx(float((p * (p / q).log()).sum() / 8), rel=1e-5)
    texts = speech.texts([{"tokens": np.array([1])}, {"tokens": np.array([2])}])
    mixed = speech.distill(student, teacher, texts, weight=0.25)
    parts = 0.25 * speech.distill(student, teacher) + 0.75 * speech.loss(student, texts)
    assert float(mixed) == pytest.approx(float(parts), rel=1e-5)


def test_outputs_and_the_form_of_the_net() -> None:
    made = Dataset("d", ("no", "yes"), {}, facts={"units": "words"})
    assert speech.outputs(made) == 3
    with pytest.raises(DataError, match="no transcripts"):
        speech.outputs(Dataset("d", ("no", "yes"), {}))
    assert speech.model_args(Data(), made) == {"features": 40}
    assert speech.model_args(Data(sound={"mels": 24, "coefficients": 0}), made) == {"features": 24}
    built = build(Model(name="quartznet", args={"features": 24, "width": 8, "blocks": 1}), 3)
    assert built.module(torch.zeros(2, 1, 61, 24)).shape == (2, 3, 31) and built.head == "head"
    speech.set_head(built.module, built.head, 5)
    assert built.module(torch.zeros(2, 1, 60, 24)).shape == (2, 5, 30)
    with pytest.raises(RecipeError, match="no middle"):
        build(Model(name="quartznet", args={"kernel": 8}), 3)


def test_predict_is_in_order_and_changes_nothing() -> None:
    torch.manual_seed(0)
    net = QuartzNet(4, width=8, blocks=1).train()
    once, again = (speech.predict(net, split(), spec(), size) for size in (5, 12))
    assert np.allclose(once, again, atol=1e-5) and np.asarray(once).shape == (12, 4, 30) and net.training


def test_a_fresh_head_says_the_blank_in_most_frames() -> None:
    torch.manual_seed(0)
    net = QuartzNet(11, width=16, blocks=1).eval()
    for _ in range(2):
        share = torch.softmax(net(torch.randn(4, 1, 60, 40)), dim=1)[:, 0].mean()
        assert 0.8 < float(share.detach()) < 0.97
        speech.set_head(net, "head", 5)
