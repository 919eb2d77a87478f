"""Files that Keras saves here, imported, held against Keras and captured; and files that are refused."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

if any(importlib.util.find_spec(package) is None for package in ("keras", "h5py")):  # not imported: of what backend?
    pytest.skip("keras is not installed (extra keras)", allow_module_level=True)

import keras_nets
from keras_nets import NETS, L, functional, keras, save, sequence

from edgeft.config.recipe import Model
from edgeft.core.errors import ModelError, RecipeError
from edgeft.graph.from_torch import capture_float
from edgeft.models import ModelRequest, build
from edgeft.models.keras import agree, importer, loading

_MOVES = ("permute", "aten.transpose", "movedim")


def request(path: Path, classes: int = 5, *, allow_code: bool = False, **args: object) -> ModelRequest:
    return ModelRequest(Model("keras", str(path), args=args), "classify", classes, allow_code=allow_code)


def moves(graph: torch.fx.Graph) -> int:
    """How many nodes of a captured graph move axes."""
    return sum(any(word in str(node.target) for word in _MOVES) for node in graph.nodes)


@pytest.mark.parametrize("name", NETS)
def test_a_net_computes_what_keras_does_and_moves_no_axes(name: str, tmp_path: Path) -> None:
    make, most = NETS[name]
    path = save(make(), tmp_path / "net.keras")
    imported = importer.load(loading.load(path), path)
    agree.check(loading.load(path), imported, path)

    inputs = tuple(importer.example(item, 2, taken=True) for item in imported.inputs)
    captured = capture_float(imported.module.eval(), inputs)
    if name != "attention":  # whose heads are turned by every implementation
        assert moves(captured.module.graph) <= most
    with torch.no_grad():
        expected = imported.module(*inputs)
        (result,) = torch.utils._pytree.tree_leaves(captured.module(*inputs))
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["padding", "within", "flattened"])
def test_an_h5_file_is_the_same_model(name: str, tmp_path: Path) -> None:
    model = NETS[name][0]()
    first, second = (build(request(save(model, tmp_path / f"net.{suffix}"))) for suffix in ("keras", "h5"))
    x = torch.rand(2, 3, 12, 12)
    with torch.no_grad():
        torch.testing.assert_close(first.module(x), second.module(x))


def test_a_module_that_differs_is_refused(tmp_path: Path) -> None:
    path = save(NETS["padding"][0](), tmp_path / "net.keras")
    model = loading.load(path)
    imported = importer.load(model, path)
    layer = next(module for module in imported.module.modules() if isinstance(module, nn.Linear))
    with torch.no_grad():
        layer.weight[:, 0] += 1
    with pytest.raises(ModelError, match="something else than Keras"):
        agree.check(model, imported, path)


def test_a_softmax_is_left_out_and_another_number_of_classes_gets_a_new_head(tmp_path: Path) -> None:
    path = save(keras_nets.colours(), tmp_path / "net.keras")
    built = build(request(path, 3))
    assert any("softmax" in note for note in built.notes) and built.module.get_submodule(built.head).out_features == 3
    wider = build(request(path, 7))
    assert any("had 3 outputs: a new one has 7" in note for note in wider.notes)
    assert wider.module(torch.rand(2, 3, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize("last", [lambda: L.Flatten(), lambda: L.Reshape((3,))])
def test_a_classifier_that_is_a_convolution_can_have_other_classes(last, tmp_path: Path) -> None:
    body = L.Conv2D(8, 3), L.GlobalAveragePooling2D(keepdims=True), L.Conv2D(3, 1), last(), L.Softmax()
    built = build(request(save(sequence(*body), tmp_path / "net.keras"), 7))
    assert built.module(torch.rand(2, 3, 12, 12)).shape == (2, 7)


def test_scaling_in_the_net_becomes_preprocessing_once(tmp_path: Path) -> None:
    normal = L.Normalization(mean=[0.1, 0.2, 0.3], variance=[0.5, 0.4, 0.3])
    body = (L.Rescaling(1 / 127.5, -1), normal, L.Conv2D(4, 3), L.GlobalAveragePooling2D(), L.Dense(5))
    model = sequence(*body)
    built = build(request(save(model, tmp_path / "net.keras")))
    assert not any(node.op == "call_function" and "mul" in str(node.target) for node in built.module.graph.nodes)

    pixels = torch.randint(0, 256, (2, 12, 12, 3)).float()
    mean, std = (torch.tensor(built.spec[key])[:, None, None] for key in ("mean", "std"))
    with torch.no_grad():
        ours = built.module((pixels.movedim(-1, 1) / 255 - mean) / std)
        theirs = loading.load(tmp_path / "net.keras")(pixels)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_one_number_behind_a_sigmoid_becomes_two_classes(tmp_path: Path) -> None:
    model = sequence(L.Conv2D(4, 3), L.GlobalAveragePooling2D(), L.Dense(1, activation="sigmoid"))
    path = save(model, tmp_path / "net.keras")
    built = build(request(path, 2))
    x = torch.rand(3, 12, 12, 3)
    with torch.no_grad():
        shares = torch.softmax(built.module(x.movedim(-1, 1)), 1)[:, 1:]
        torch.testing.assert_close(shares, loading.load(path)(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "mean", "std"), [("mobilenetv2_1.00_96", 0.5, 0.5), ("vgg16", 123.68 / 255, 1 / 255), ("mine", 0.0, 1.0)]
)
def test_nets_of_keras_applications_get_their_scaling(name: str, mean: float, std: float, tmp_path: Path) -> None:
    first = keras.Input((12, 12, 3))
    model = keras.Model(first, L.Dense(5)(L.GlobalAveragePooling2D()(L.Conv2D(4, 3)(first))), name=name)
    path = save(model, tmp_path / "net.keras")
    built = build(request(path))
    assert built.spec["mean"][0] == pytest.approx(mean) and built.spec["std"][0] == pytest.approx(std)
    if name == "vgg16":  # which takes BGR
        x = torch.rand(1, 3, 12, 12)
        with torch.no_grad():
            theirs = loading.load(path)(x.flip(1).movedim(1, -1))
            torch.testing.assert_close(built.module(x), theirs, rtol=1e-4, atol=1e-5)


def test_pictures_of_open_size(tmp_path: Path) -> None:
    model = sequence(
        L.Conv2D(4, 3, strides=2, padding="same"), L.GlobalAveragePooling2D(), L.Dense(5), shape=(None, None, 3)
    )
    path = save(model, tmp_path / "net.keras")
    assert build(request(path)).spec["size"] == [224, 224]
    assert build(request(path, size=[20, 30])).spec["size"] == [20, 30]
    with pytest.raises(RecipeError, match="expected pixels"):
        build(request(path, size="large"))
    with pytest.raises(RecipeError, match="unknown argument 'sise'"):
        build(request(path, sise=3))


def test_code_runs_with_permission_alone(tmp_path: Path) -> None:
    path = save(
        functional(lambda x: L.Dense(5)(L.GlobalAveragePooling2D()(L.Lambda(lambda y: y * 2)(x)))), tmp_path / "l.keras"
    )
    with pytest.raises(ModelError, match="Lambda") as caught:
        build(request(path))
    assert "--allow-code" in caught.value.remedy
    built = build(request(path, allow_code=True))
    assert built.module(torch.rand(2, 3, 12, 12)).shape == (2, 5)


def test_a_class_of_the_users_own_is_named_and_read_from_its_file(tmp_path: Path) -> None:
    code = tmp_path / "layers.py"
    code.write_text(
        "import keras\nclass Double(keras.layers.Layer):\n"
        "    def call(self, x):\n        return keras.ops.multiply(x, 2.0)\n"
    )
    double = loading.run_file(code, "test").Double
    path = save(functional(lambda x: L.Dense(5)(L.GlobalAveragePooling2D()(double()(x)))), tmp_path / "net.keras")
    with pytest.raises(ModelError, match="'Double', which is no part of Keras"):
        build(request(path))
    with pytest.raises(ModelError, match="not allowed"):
        build(request(path, code=str(code)))
    built = build(request(path, allow_code=True, code=str(code)))
    assert any("Double" in note for note in built.notes)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own
def test_files_that_are_refused(tmp_path: Path) -> None:
    path = save(NETS["flattened"][0](), tmp_path / "net.keras")
    cut = tmp_path / "cut.keras"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    weights = tmp_path / "net.weights.h5"
    NETS["flattened"][0]().save_weights(str(weights))
    (tmp_path / "x.tflite").write_bytes(b"\x00\x00\x00\x00TFL3" + bytes(20))
    (tmp_path / "x.txt").write_text("no model")
    (tmp_path / "saved_model").mkdir()
    for name, words in {
        "cut.keras": "damaged", "net.weights.h5": "weights alone", "x.tflite": "TensorFlow Lite", "x.txt": "neither",
        "saved_model": "SavedModel", "absent.keras": "no such file",
    }.items():  # fmt: skip
        with pytest.raises(ModelError, match=words) as caught:
            build(request(tmp_path / name))
        assert caught.value.remedy or name == "cut.keras"


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (lambda: sequence(L.Masking(), L.LSTM(4), shape=(6, 4)), "masks"),
        (lambda: sequence(L.Embedding(9, 4, mask_zero=True), L.LSTM(4), shape=(6,)), "mask_zero"),
        (lambda: sequence(L.LSTM(4, activation="relu"), shape=(6, 4)), "other activations"),
        (lambda: sequence(L.LSTM(4, go_backwards=True), shape=(6, 4)), "go_backwards"),
        (lambda: sequence(L.GRU(4, reset_after=False), shape=(6, 4)), "reset_after"),
    ],
)
def test_layers_that_are_refused(layer, words: str, tmp_path: Path) -> None:
    path = save(layer(), tmp_path / "net.keras")
    with pytest.raises(ModelError, match=words) as caught:
        build(request(path))
    assert caught.value.where.startswith("layer '")


def test_a_model_without_a_graph_of_layers(tmp_path: Path) -> None:
    code = tmp_path / "own.py"
    code.write_text(
        "import keras\nclass Own(keras.Model):\n    def __init__(self, **kw):\n        super().__init__(**kw)\n"
        "        self.dense = keras.layers.Dense(5)\n    def call(self, x):\n        return self.dense(x)\n"
    )
    model = loading.run_file(code, "test").Own()
    model(torch.rand(2, 4))
    path = save(model, tmp_path / "own.keras")
    with pytest.raises(ModelError, match="class of its own"):
        build(request(path, allow_code=True, code=str(code)))
    empty = save(keras.Sequential([L.Dense(5)]), tmp_path / "empty.keras")
    with pytest.raises(ModelError, match="before its layers had weights") as caught:
        build(request(empty))
    assert "model.build" in caught.value.remedy


def test_a_configuration_that_names_other_code_or_files(tmp_path: Path) -> None:
    path = save(NETS["flattened"][0](), tmp_path / "net.keras")

    def changed(name: str, change) -> Path:
        with zipfile.ZipFile(path) as archive:
            members = {item: archive.read(item) for item in archive.namelist()}
        config = json.loads(members["config.json"])
        change(config["config"]["layers"])
        members["config.json"] = json.dumps(config).encode()
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for item, content in members.items():
                archive.writestr(item, content)
        return tmp_path / name

    def other_module(layers: list) -> None:
        layers[1] |= {"module": "os", "class_name": "system", "registered_name": "system"}

    def saved_model(layers: list) -> None:
        layers[1] |= {"class_name": "TFSMLayer", "config": {"filepath": "/etc"}}

    with pytest.raises(ModelError, match="no part of Keras"):
        build(request(changed("other.keras", other_module)))
    with pytest.raises(ModelError, match="brings code of its own"):
        build(request(changed("tfsm.keras", saved_model), allow_code=True))


def test_numbers_of_another_file_are_not_read(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = save(NETS["flattened"][0](), tmp_path / "net.h5")
    with h5py.File(path, "a") as file:
        file["elsewhere"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
    with pytest.raises(ModelError, match="link to another place"):
        build(request(path))


def test_keras_gets_its_backend_in_the_loader_alone(tmp_path: Path) -> None:
    """The environment stays as it is, nothing is written into the home folder, and another backend is refused."""
    script = (
        "import os, sys\n"
        "import edgeft.models\n"
        "assert 'keras' not in sys.modules\n"
        "from edgeft.models.keras import loading\n"
        "keras = loading.keras()\n"
        "assert keras.config.backend() == 'torch' and os.environ['KERAS_BACKEND'] == 'jax'\n"
        "assert not os.path.exists(os.path.expanduser('~/.keras'))\n"
        "keras.config.backend = lambda: 'jax'\n"
        "from edgeft.core.errors import Missing\n"
        "try:\n    loading.keras()\nexcept Missing as error:\n    print(error.message, error.remedy)\n"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "imported Keras with the backend 'jax'" in done.stdout and "KERAS_BACKEND=torch" in done.stdout


def test_the_published_resnet_of_mlperf_tiny() -> None:
    """Against the same weights put into a torch net by hand (benchmarks/keras_resnet8.py)."""
    path = Path(os.environ.get("EDGEFT_DATA", "")) / "09_mlperf_tiny/models/pretrainedResnet.h5"
    benchmarks = Path(__file__).parents[2] / "benchmarks"
    if not path.is_file() or not benchmarks.is_dir():
        pytest.skip("EDGEFT_DATA with 09_mlperf_tiny, or the benchmarks, are absent")
    sys.path.insert(0, str(benchmarks))
    try:
        import keras_resnet8
    finally:
        sys.path.remove(str(benchmarks))
    built = build(request(path, 10))
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (16, 3, 32, 32)).astype(np.float32))
    with torch.no_grad():
        torch.testing.assert_close(built.module(pixels), keras_resnet8.load(path)(pixels), rtol=1e-4, atol=1e-3)


@pytest.mark.slow
def test_the_published_resnet_of_mlperf_tiny_has_its_accuracy() -> None:
    """87.19 % of CIFAR-10's ten thousand test pictures, as published."""
    root = Path(os.environ.get("EDGEFT_DATA", ""))
    pictures = root / "10_standard_images/cifar10_test10k_train5k.npz"
    if not pictures.is_file():
        pytest.skip("EDGEFT_DATA with 10_standard_images is absent")
    module = build(request(root / "09_mlperf_tiny/models/pretrainedResnet.h5", 10)).module
    with np.load(pictures) as file, torch.no_grad():
        pixels, labels = torch.from_numpy(file["x_test"]), file["y_test"]
        batches = pixels.movedim(-1, 1).float().split(500)
        answers = torch.cat([module(batch).argmax(1) for batch in batches]).numpy()
    assert (answers == labels).mean() == pytest.approx(0.8719, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "ConvNeXtTiny", "DenseNet121"])
def test_nets_of_keras_applications(name: str, tmp_path: Path) -> None:
    model = getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3), classes=10)
    path = tmp_path / "net.keras"
    model.save(str(path))
    built = build(request(path, 4))
    assert built.module(torch.rand(2, 3, 64, 64)).shape == (2, 4)
    if name != "ConvNeXtTiny":  # whose norms are over the channels of each pixel
        assert not any(node.target is torch.permute for node in built.module.graph.nodes)
