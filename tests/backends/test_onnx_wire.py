from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from draws import draws
from runtime_artifacts import attention, quantized

from edgeft.backends.onnxruntime import wire as _onnx_wire
from edgeft.core.errors import BundleError

onnx = pytest.importorskip("onnx", reason="the package onnx is what the reader is compared with")
hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

FIELDS = [
    np.float32,
    np.float64,
    np.int8,
    np.uint8,
    np.int16,
    np.uint16,
    np.int32,
    np.int64,
    np.uint64,
    np.float16,
    bool,
]


@pytest.mark.parametrize("maker", [quantized, attention])
def test_same_as_the_onnx_package(tmp_path: Path, maker) -> None:
    path = tmp_path / "m.onnx"
    maker(path)
    mine, theirs = _onnx_wire.read(path), onnx.load(path)
    assert mine.ir_version == theirs.ir_version
    assert mine.opsets == {o.domain: o.version for o in theirs.opset_import}
    assert [(n.op, n.name, n.inputs, n.outputs) for n in mine.graph.nodes] == [
        (n.op_type, n.name, tuple(n.input), tuple(n.output)) for n in theirs.graph.node
    ]
    for a, b in zip(mine.graph.nodes, theirs.graph.node):
        assert a.attributes == {x.name: onnx.helper.get_attribute_value(x) for x in b.attribute}
    for tensor in theirs.graph.initializer:
        got = mine.array(mine.graph.initializers[tensor.name])
        assert (
            np.array_equal(got, onnx.numpy_helper.to_array(tensor))
            and got.dtype == onnx.numpy_helper.to_array(tensor).dtype
        )


@pytest.mark.parametrize("dtype", FIELDS)
@pytest.mark.parametrize("raw", [True, False])
def test_every_way_to_store_numbers(tmp_path: Path, dtype: str, raw: bool) -> None:
    values = np.array([[0, 1, 100], [7, 3, 2]]).astype(dtype)
    if np.dtype(dtype).kind in "if":
        values = -values
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    data = values.tobytes() if raw else values.flatten().tolist()
    tensor = onnx.helper.make_tensor("t", kind, values.shape, data, raw=raw)
    graph = onnx.helper.make_graph([], "g", [], [], [tensor])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)]), tmp_path / "m.onnx")
    model = _onnx_wire.read(tmp_path / "m.onnx")
    got = model.array(model.graph.initializers["t"])
    assert got.dtype == values.dtype and np.array_equal(got, values)


def test_constants_inside_branches_are_seen(tmp_path: Path) -> None:
    helper, number = onnx.helper, onnx.TensorProto
    out = helper.make_tensor_value_info("y", number.INT8, [2])
    value = onnx.numpy_helper.from_array(np.int8([3, 4]), "inner")
    branch = helper.make_graph([helper.make_node("Identity", ["inner"], ["y"])], "b", [], [out], [value])
    other = helper.make_graph([helper.make_node("Constant", [], ["y"], value=value)], "o", [], [out])
    node = helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=other)
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("c", number.BOOL, [])], [])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), tmp_path / "m.onnx")
    model = _onnx_wire.read(tmp_path / "m.onnx")
    assert sorted(n.op for n in model.nodes()) == ["Constant", "Identity", "If"]
    assert {n: model.array(t).tolist() for n, t in model.tensors().items()} == {"inner": [3, 4], "y": [3, 4]}


def external(path: Path, location: str, **place: int) -> Path:
    """A model whose only initializer (4 float32) lies in another file."""
    tensor = onnx.TensorProto(name="t", data_type=1, dims=[4], data_location=onnx.TensorProto.EXTERNAL)
    for key, value in {"location": location, **place}.items():
        tensor.external_data.add(key=key, value=str(value))
    graph = onnx.helper.make_graph([], "g", [], [], [tensor])
    path.write_bytes(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)]).SerializeToString()
    )
    return path


def test_external_data_inside_the_folder(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32)
    (tmp_path / "w.bin").write_bytes(values.tobytes())
    model = _onnx_wire.read(external(tmp_path / "m.onnx", "w.bin", offset=8, length=16))
    assert np.array_equal(model.array(model.graph.initializers["t"]), values[2:])
    model = _onnx_wire.read(external(tmp_path / "m.onnx", "w.bin", offset=16, length=16))
    with pytest.raises(BundleError, match="does not fit"):
        model.array(model.graph.initializers["t"])


@pytest.mark.parametrize("location", ["../w.bin", "/etc/hostname", "link.bin", "*/_ORT_MEM_ADDR_/*", "absent.bin", ""])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(16))
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    path = external(folder / "m.onnx", location)
    with pytest.raises(BundleError):
        _onnx_wire.read(path)
    from edgeft import backends as runtime

    for name in ("onnxruntime", "openvino"):
        if importlib.util.find_spec(name) is None:
            continue
        with pytest.raises(BundleError):
            runtime.get(name).load(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("onnx") / "m.onnx"
    quantized(path)
    return path.read_bytes()


@draws(150)
@hypothesis.given(data=st.data())
def test_broken_files_are_bundle_errors_and_nothing_else(whole: bytes, tmp_path_factory, data) -> None:
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    path = tmp_path_factory.getbasetemp() / "broken.onnx"
    path.write_bytes(bytes(content[:cut]))
    try:
        model = _onnx_wire.read(path)
        for tensor in model.tensors().values():
            model.array(tensor)
    except BundleError:
        pass


def test_not_onnx_at_all(tmp_path: Path) -> None:
    for content in (b"", b"\x00" * 64, b"hello world", b"\xff" * 99):
        (tmp_path / "x.onnx").write_bytes(content)
        with pytest.raises(BundleError):
            _onnx_wire.read(tmp_path / "x.onnx")
