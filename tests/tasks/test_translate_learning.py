"""Learning to translate: the loss, batches of teacher forcing, distillation, and the search over torch modules."""

from __future__ import annotations

from typing import Any

import numbers_run
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from edgeft import data, tasks
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError
from edgeft.data.samples import Dataset
from edgeft.metrics import beam_search as search
from edgeft.models.nets.seq2seq import Seq2Seq
from edgeft.tasks.translate import decoding as task
from edgeft.tasks.translate import learning as translate

LENGTH = 6


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, dict[str, Any]]:
    """The toy language and its `preprocess` table."""
    pytest.importorskip("tokenizers", reason="sentences are tokens")
    folder = tmp_path_factory.mktemp("numbers")
    asked = Data(format="pairs", path=str(numbers_run.write_folder(folder)), length=LENGTH, pairs={"vocabulary": 310})
    dataset = data.open(asked)
    (folder / "tokenizer.json").write_bytes(task.learn(asked, dataset)["tokenizer"])
    dataset.facts["files"] = {"tokenizer": folder / "tokenizer.json"}
    return dataset, task.configure(asked, {}, dataset.facts, print)


def net(vocabulary: int, seed: int = 0) -> Seq2Seq:
    """Untrained. Not tied: such a net would repeat its last token. The end is likely enough to be said now and then."""
    torch.manual_seed(seed)
    sizes = {"width": 16, "heads": 2, "hidden": 16, "encoder_layers": 1, "decoder_layers": 2}
    made = Seq2Seq(vocabulary, **sizes, longest=LENGTH, tied=False).eval()
    with torch.no_grad():
        made.decoder.head.bias[task.END] += 0.6
        made.decoder.head.bias[task.PAD] -= 10.0  # no target holds it, so that a trained one does not say it
    return made


def test_the_loss_is_smoothed_and_ignores_padding() -> None:
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[1, 4, 2], [3, translate.IGNORED, translate.IGNORED]])
    logs = F.log_softmax(logits, -1)
    told = [(0, 0), (0, 1), (0, 2), (1, 0)]
    by_hand = [-0.9 * logs[i, t, targets[i, t]] - 0.1 * logs[i, t].mean() for i, t in told]
    found = translate.loss(logits, targets)
    assert float(found) == pytest.approx(float(torch.stack(by_hand).mean()), rel=1e-5)
    other = logits.clone()
    other[1, 1:] = 100 * torch.randn(2, 5)
    assert torch.equal(translate.loss(other, targets), found)
    other[1, 0] += torch.arange(5.0)
    assert not torch.equal(translate.loss(other, targets), found)


def test_a_student_like_its_teacher_has_nothing_to_learn_and_padding_teaches_nothing() -> None:
    teacher = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([[1, 4, 2], [3, translate.IGNORED, translate.IGNORED]])
    assert float(translate.distill(teacher, teacher, targets, weight=1.0)) == pytest.approx(0, abs=1e-6)
    student = teacher.clone()
    student[1, 1:] += torch.randn(2, 5)
    assert float(translate.distill(student, teacher, targets, weight=1.0)) == pytest.approx(0, abs=1e-6)
    student = teacher + torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(2))
    soft = translate.distill(student, teacher, targets, weight=1.0)
    mixed = translate.distill(student, teacher, targets, weight=0.7)
    assert float(soft) > 0
    assert float(mixed) == pytest.approx(float(0.7 * soft + 0.3 * translate.loss(student, targets)), rel=1e-5)


def test_a_batch_tells_every_token_after_those_before_it(numbers: tuple[Dataset, dict[str, Any]]) -> None:
    dataset, spec = numbers
    assert tasks.get("translate").learning() is translate.LEARNING
    val = dataset.split("val")
    (source, mask, before), after = next(iter(translate.loader(val, spec, 8)))
    assert (source.dtype, mask.dtype, before.dtype, after.dtype) == (torch.int32,) * 3 + (torch.int64,)
    for i in range(8):
        ours, theirs = task.ids(val.raw(i), spec), task.ids(str(val.targets[i]), spec)
        assert source[i, : len(ours) + 1].tolist() == [*ours, spec["end"]]
        assert mask[i].tolist() == [1] * (len(ours) + 1) + [0] * (source.shape[1] - len(ours) - 1)
        assert before[i, : len(theirs) + 1].tolist() == [spec["start"], *theirs]
        assert after[i, : len(theirs) + 1].tolist() == [*theirs, spec["end"]]
        assert set(after[i, len(theirs) + 1 :].tolist()) <= {translate.IGNORED}
    assert source.shape[1] == int(mask.sum(1).max()), "no wider than its longest sentence"


def test_batches_follow_from_seed_and_epoch_and_hold_every_pair(numbers: tuple[Dataset, dict[str, Any]]) -> None:
    dataset, spec = numbers
    train = dataset.split("train")

    def drawn(seed: int, epoch: int, workers: int = 0) -> list[list[list[int]]]:
        made = translate.loader(train, spec, 25, seed=seed, shuffle=True, workers=workers)
        made.set_epoch(epoch)
        return [source.tolist() for (source, _, _), _ in made]

    first = drawn(0, 1)
    assert first == drawn(0, 1) and len(first) == 20
    assert first != drawn(0, 2) and first != drawn(1, 1)
    bare = lambda batches: sorted(tuple(t for t in row if t) for batch in batches for row in batch)  # noqa: E731
    plain = [source.tolist() for (source, _, _), _ in translate.loader(train, spec, 25)]
    assert bare(first) == bare(plain)
    assert sum(len(b[0]) for b in first) < sum(len(b[0]) for b in plain), "sentences of like lengths are together"


def test_what_fills_no_batch_is_dropped_and_nothing_else(numbers: tuple[Dataset, dict[str, Any]]) -> None:
    dataset, spec = numbers
    made = translate.loader(dataset.split("val"), spec, 8, shuffle=True, drop_last=True)
    assert [len(after) for _, after in made] == [8, 8, 8]


def test_long_pairs_are_left_out_and_none_that_is_short_is_an_error(numbers: tuple[Dataset, dict[str, Any]]) -> None:
    dataset, spec = numbers
    train = dataset.split("train")
    assert len(translate.Pairs(train, spec)) == 500
    kept = translate.Pairs(train, {**spec, "length": 4})
    assert 0 < len(kept) < 500 and all(len(s) <= 4 and len(t) < 4 for s, t in kept.pairs)
    with pytest.raises(DataError, match="no pair is short enough") as caught:
        translate.Pairs(train, {**spec, "length": 1})
    assert caught.value.where == "data.length"


def test_outputs_are_the_vocabulary_and_other_data_is_refused(numbers: tuple[Dataset, dict[str, Any]]) -> None:
    dataset, spec = numbers
    size = translate.outputs(dataset)
    every = [t for i in range(500) for t in task.ids(str(dataset.split("train").targets[i]), spec)]
    assert max(every) < size <= 310
    with pytest.raises(DataError, match="no sentence pairs"):
        translate.outputs(Dataset("pictures", (), dataset.splits, [], {}))


@pytest.mark.parametrize("beam", [1, 2])
def test_predictions_are_in_order_and_alone_as_together(numbers: tuple[Dataset, dict[str, Any]], beam: int) -> None:
    dataset, spec = numbers
    spec, val, made = {**spec, "beam": beam}, dataset.split("val"), net(translate.outputs(dataset))
    made.train()
    found = translate.predict(made, val, spec)
    assert made.training and found["tokens"].shape == (30, LENGTH) and found["text"].shape == (30,)
    made.eval()
    for i in (0, 7, 29):
        alone = translate.composed(made, spec).run(task.preprocess(val.raw(i), spec))
        assert np.array_equal(alone["tokens"][0], found["tokens"][i]) and alone["text"][0] == found["text"][i]


def test_a_greedy_translation_is_what_the_whole_model_finds_likeliest(numbers: tuple[Dataset, dict[str, Any]]) -> None:
    """The decoder with its cache, step by step, against the model that sees the sentence at once."""
    dataset, spec = numbers
    val, made = dataset.split("val"), net(translate.outputs(dataset))
    found = translate.predict(made, val, spec)["tokens"]
    lengths = (found != spec["pad"]).sum(axis=1)
    assert len(np.unique(found)) > 4 and lengths.min() < LENGTH <= lengths.max(), "such that there is something to see"
    for i in range(len(val)):
        feeds = {key: torch.from_numpy(v) for key, v in task.preprocess(val.raw(i), spec).items()}
        said = [t for t in found[i].tolist() if t != spec["pad"]]
        before = torch.tensor([[spec["start"], *said][:LENGTH]], dtype=torch.int32)
        with torch.no_grad():
            likeliest = made(feeds["source"], feeds["source_mask"], before)[0].argmax(1).tolist()
        assert likeliest == ([*said, spec["end"]] if len(said) < LENGTH else said)


def test_recorded_steps_are_those_of_the_translation(numbers: tuple[Dataset, dict[str, Any]]) -> None:
    dataset, spec = numbers
    made, some = net(translate.outputs(dataset)), dataset.split("val").subset([0, 1, 2])
    seen = translate.record(made, some, spec)
    parts = translate.parts(made, spec)
    assert {name: tuple(feeds) for name, feeds in seen.items()} == {n: p.inputs for n, p in parts.items()}
    assert len(seen["encoder"]["source"]) == 3 and len(seen["decoder"]["tokens"]) > 3
    for name, feeds in seen.items():
        for key, example in zip(parts[name].inputs, parts[name].example):
            assert feeds[key].shape[1:] == tuple(example.shape[1:]), (name, key)
    step = seen["decoder"]
    filled = step["mask"][:, 0, :-1].sum(axis=1)
    assert np.array_equal(filled, step["positions"][:, 0])
    assert (filled == 0).sum() == 3 and (step["tokens"][filled == 0] == spec["start"]).all()
    behind = np.arange(LENGTH)[None] >= filled[:, None]
    assert not step["cache"].transpose(0, 2, 1, 3)[behind].any(), "places that are not filled are zero"
    assert search.names(2) == parts["encoder"].outputs == parts["decoder"].outputs[1:]
