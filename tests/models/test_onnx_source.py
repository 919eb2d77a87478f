"""Files that torch exports here, imported, held against ONNX Runtime and captured; and files that are refused."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgeft.config.recipe import Model
from edgeft.core.errors import ModelError, RecipeError
from edgeft.graph.from_torch import capture_float
from edgeft.models import ModelRequest, build
from edgeft.models.onnx import agree, importer

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
helper, T = onnx.helper, onnx.TensorProto


def export(net: nn.Module, example: torch.Tensor, path: Path, opset: int = 17, batch: bool = True) -> Path:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(), (example,), str(path), dynamo=False, opset_version=opset, input_names=["x"],
            dynamic_axes={"x": {0: "batch"}} if batch else None,
        )  # fmt: skip
    return path


def model(nodes, inputs, outputs, weights=(), opset=17) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(name, T.FLOAT, None) for name in outputs],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def save(proto: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(proto.SerializeToString())
    return path


def request(path: Path, classes: int = 5, **args) -> ModelRequest:
    return ModelRequest(Model("onnx", str(path), args=args), "classify", classes)


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.gate = nn.Conv2d(8, 8, 1)
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.hardswish(self.norm(self.stem(x)))
        y = F.relu6(self.depthwise(x)) * F.hardsigmoid(self.gate(x.mean((2, 3), keepdim=True)))
        y = F.interpolate(self.up(y), scale_factor=0.5) + x
        y = torch.cat([F.max_pool2d(y, 3, 2, 1), F.avg_pool2d(y, 2)], 1)
        return self.head(y.mean((2, 3)))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.norm, self.norm2 = nn.LayerNorm(16), nn.LayerNorm(16)
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.up, self.down, self.head = nn.Linear(16, 32), nn.Linear(32, 16), nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        b, n, _ = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(b, n, 3, 2, 8).permute(2, 0, 3, 1, 4)
        mixed = (q @ k.transpose(-2, -1) / 8**0.5).softmax(-1) @ v
        x = x + self.out(mixed.transpose(1, 2).reshape(b, n, 16))
        return self.head((x + self.down(F.gelu(self.up(self.norm2(x)))))[:, 0])


def _alive(net: nn.Module) -> nn.Module:
    """Statistics that a fresh BatchNorm does not have, so that folding them matters."""
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    return net


@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize("net", [Convolutional, Attention])
def test_a_file_of_torch_computes_the_same_for_any_batch(net, opset, tmp_path):
    torch.manual_seed(0)
    module = _alive(net())
    path = export(module, torch.rand(1, 3, 32, 32), tmp_path / "net.onnx", opset)
    imported = importer.load(path)
    assert agree.check(imported, path, {}) == "" and imported.notes == ()
    x = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(imported.module(x), module(x), rtol=1e-4, atol=1e-5)
    captured = capture_float(imported.module, (x,))
    assert captured.dynamic


def test_what_exporters_write_out_becomes_one_op_again(tmp_path):
    torch.manual_seed(0)
    path = export(Attention(), torch.rand(1, 3, 32, 32), tmp_path / "net.onnx", 13)
    assert "Erf" in importer.load(path).operators
    captured = capture_float(importer.load(path).module, (torch.rand(2, 3, 32, 32),))
    ops = [str(node.target) for node in captured.module.graph.nodes]
    assert ops.count("aten.gelu.default") == 1 and ops.count("aten.layer_norm.default") == 2
    assert ops.count("aten.linear.default") == 5 and "aten.erf.default" not in ops


def test_layers_keep_their_names_and_weights_are_parameters(tmp_path):
    path = export(Convolutional(), torch.rand(1, 3, 32, 32), tmp_path / "net.onnx")
    built = build(request(path))
    names = dict(built.module.named_parameters())
    assert "depthwise.weight" in names and built.head == "head"
    assert all(parameter.requires_grad for parameter in names.values())


def test_a_batch_that_the_file_fixes_to_one_becomes_free(tmp_path):
    torch.manual_seed(0)
    net = Attention()
    path = export(net, torch.rand(1, 3, 32, 32), tmp_path / "net.onnx", batch=False)
    x = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(importer.load(path).module(x), net(x), rtol=1e-4, atol=1e-5)


def test_a_graph_that_mixes_samples_takes_them_one_by_one(tmp_path):
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=1, axes=[0, 1]),
        helper.make_node("Sub", ["x", "mean"], ["z"]),
        helper.make_node("Mul", ["z", "graph"], ["y"]),
    ]
    weight = np.full((1, 4), 2, np.float32)
    path = save(model(nodes, [("x", T.FLOAT, ["n", 4])], ["y"], [("graph", weight)]), tmp_path / "net.onnx")
    imported = importer.load(path)
    assert "one after another" in " ".join(imported.notes)
    x = torch.rand(3, 4)
    expected = 2 * (x - x.mean(1, keepdim=True))
    captured = capture_float(imported.module, (x,))
    with torch.no_grad():
        torch.testing.assert_close(imported.module(x), expected)
        torch.testing.assert_close(captured.module(x), expected)


def test_a_classifier_of_another_size_is_replaced_and_the_softmax_left_out(tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5), nn.Softmax(1))
    path = export(net, torch.rand(1, 3, 16, 16), tmp_path / "net.onnx")
    kept, new = build(request(path)), build(request(path, 3))
    x = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(kept.module(x), net[:-1](x))
        assert new.module(x).shape == (2, 3)
    assert any("softmax" in note for note in kept.notes) and any("had 5 outputs" in note for note in new.notes)
    assert kept.spec["mean"] == [0.0] * 3 and kept.spec["size"] == [16, 16]


def test_channels_last_are_taken_first(tmp_path):
    weights = [("w", np.random.default_rng(0).normal(size=(5, 3, 3, 3)).astype(np.float32))]
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["y"]),
    ]
    path = save(model(nodes, [("x", T.FLOAT, [1, 12, 10, 3])], ["y"], weights), tmp_path / "net.onnx")
    built = build(request(path))
    assert built.spec["size"] == [12, 10] and built.spec["channels"] == 3
    x = torch.rand(2, 3, 12, 10)
    with torch.no_grad():
        expected = F.conv2d(x, torch.from_numpy(weights[0][1])).mean((2, 3))
        torch.testing.assert_close(built.module(x), expected)
    assert not [node for node in built.module.graph.nodes if node.target is torch.permute]


def test_an_open_size_is_asked_for_or_taken_as_224(tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    path = tmp_path / "net.onnx"
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("GlobalAveragePool", ["c"], ["y"])]
    save(model(nodes, [("x", T.FLOAT, ["n", 3, "h", "w_"])], ["y"], [("w", net[0].weight.detach().numpy())]), path)
    assert build(request(path, size=[32, 48])).spec["size"] == [32, 48]
    built = build(request(path))
    assert built.spec["size"] == [224, 224] and any("open" in note for note in built.notes)
    with pytest.raises(RecipeError, match="pixels or"):
        build(request(path, size="large"))


def test_a_quantized_model_is_taken_back_to_float(tmp_path):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    torch.manual_seed(0)
    net = _alive(Convolutional())
    path = export(net, torch.rand(1, 3, 32, 32), tmp_path / "float.onnx", 13)

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.rows = iter(torch.rand(8, 1, 3, 32, 32).numpy())

        def get_next(self):
            row = next(self.rows, None)
            return None if row is None else {"x": row}

    quantize_static(str(path), str(tmp_path / "int8.onnx"), Reader(), quant_format=QuantFormat.QDQ)
    imported = importer.load(tmp_path / "int8.onnx")
    assert imported.quantized and any("taken back to float" in note for note in imported.notes)
    x = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        got, expected = imported.module(x), net(x)
    assert float((got - expected).abs().max()) < 0.1 * float(expected.abs().max())
    kinds = [str(node.target) for node in capture_float(imported.module, (x,)).module.graph.nodes]
    assert not any("quant" in kind for kind in kinds)


def test_external_data_are_read_from_the_folder_alone(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    source = export(Convolutional(), torch.rand(1, 3, 32, 32), tmp_path / "net.onnx")
    proto = onnx.load(source)
    path = folder / "net.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="net.data", size_threshold=0)
    reference = importer.load(source).module
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(importer.load(path).module(x), reference(x))

    data = folder / "net.data"
    data.rename(tmp_path / "net.data")
    with pytest.raises(ModelError, match="absent"):
        importer.load(path)
    os.symlink(tmp_path / "net.data", data)
    with pytest.raises(ModelError, match="not a plain file in the model's folder"):
        importer.load(path)
    data.unlink()
    data.write_bytes((tmp_path / "net.data").read_bytes()[:100])
    with pytest.raises(ModelError, match=r"net\.data has 100 bytes"):
        importer.load(path)

    outside = onnx.load(path, load_external_data=False)
    for tensor in outside.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../net.data"
    with pytest.raises(ModelError, match="not a plain file in the model's folder"):
        importer.load(save(outside, path))


def test_what_cannot_be_read_is_told_with_its_node(tmp_path):
    path = tmp_path / "net.onnx"
    x = [("x", T.FLOAT, [1, 3, 8, 8])]
    cases = [
        (model([helper.make_node("StringNormalizer", ["x"], ["y"], name="text")], x, ["y"]), "StringNormalizer"),
        (model([helper.make_node("Softmax", ["x"], ["y"])], x, ["y"], opset=8), "opset 8"),
        (model([helper.make_node("Reshape", ["x", "s"], ["y"], name="flat")], x, ["y"], [("s", np.array([7]))]),
         "'flat'"),
        (model([helper.make_node("Relu", ["x"], ["y"])], [("x", T.STRING, [1, 2])], ["y"]), "no tensor of numbers"),
        (model([helper.make_node("Relu", ["x"], ["y"])], [("x", T.FLOAT, [8, 2])], ["y"]), "takes 8 samples"),
    ]  # fmt: skip
    for proto, message in cases:
        with pytest.raises(ModelError, match=message) as caught:
            importer.load(save(proto, path))
        assert caught.value.exit_code == 3
    custom = model([helper.make_node("Magic", ["x"], ["y"], name="wand", domain="com.acme")], x, ["y"])
    custom.opset_import.append(helper.make_opsetid("com.acme", 1))
    with pytest.raises(ModelError, match=r"Magic of the domain 'com.acme'"):
        importer.load(save(custom, path))
    path.write_bytes(b"not a model")
    with pytest.raises(ModelError, match="no ONNX model"):
        importer.load(path)
    path.write_bytes(export(Convolutional(), torch.rand(1, 3, 32, 32), tmp_path / "w.onnx").read_bytes()[:3000])
    with pytest.raises(ModelError):
        importer.load(path)
    with pytest.raises(ModelError, match="no such file"):
        importer.load(tmp_path / "none.onnx")


def test_an_import_that_computes_something_else_is_refused(tmp_path, monkeypatch):
    path = export(Convolutional(), torch.rand(1, 3, 32, 32), tmp_path / "net.onnx")
    imported = importer.load(path)
    with torch.no_grad():
        imported.module.get_submodule("head").weight.add_(0.1)
    with pytest.raises(ModelError, match="something else than ONNX Runtime"):
        agree.check(imported, path, {})


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("basic_pitch_nmp.onnx", {}),
        ("magika_standard_v3_3.onnx", {}),
        ("ppocr_cls.onnx", {"x": (1, 3, 48, 192)}),
        ("ppocr_v4_det.onnx", {"x": (1, 3, 96, 96)}),
        ("onnx_light/light_squeezenet.onnx", {}),
        ("onnx_light/light_shufflenet.onnx", {}),
    ],
)
def test_files_of_others_agree_with_onnx_runtime(name, shapes):
    folder = Path(os.environ.get("EDGEFT_DATA", "")) / "11_third_party_onnx"
    if not (folder / name).is_file():
        pytest.skip("the third-party ONNX files are not here (EDGEFT_DATA)")
    assert agree.check(importer.load(folder / name, shapes=shapes), folder / name, {}) == ""


def test_an_input_whose_first_axis_is_no_batch_is_refused_with_the_way_round(tmp_path):
    """The state of a recurrent net, (2, batch, 8), as an array of a sample has it: (2, 1, 8)."""
    mean = helper.make_node("ReduceMean", ["state"], ["m"], axes=[0], keepdims=0)
    nodes = [mean, helper.make_node("Add", ["x", "m"], ["y"])]
    inputs = [("x", T.FLOAT, ["batch", 8]), ("state", T.FLOAT, [2, "batch", 8])]
    path = save(model(nodes, inputs, ["y"]), tmp_path / "state.onnx")
    facts = {"tensors": ({"name": "x", "shape": (8,)}, {"name": "state", "shape": (2, 1, 8)})}
    with pytest.raises(ModelError, match=r"whose first axis is no batch") as caught:
        build(ModelRequest(Model("onnx", str(path)), "regress", 0, facts, any_outputs=True))
    assert "'state'" in caught.value.where and "(batch, ...)" in caught.value.remedy


def test_a_file_of_scikit_learn_is_refused_with_the_way_round(tmp_path):
    node = helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[0.0], scale=[1.0])
    path = save(model([node], [("x", T.FLOAT, ["batch", 4])], ["y"]), tmp_path / "scaler.onnx")
    with pytest.raises(ModelError, match=r"Scaler of the domain 'ai\.onnx\.ml'") as caught:
        build(request(path))
    assert "edgeft init tabular" in caught.value.remedy
