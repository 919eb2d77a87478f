"""Records of runtimes: checked when they are made, and the only place that names a runtime."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from typing import Any

import pytest

import edgeft
from edgeft import backends
from edgeft.backends import Backend, BoardInstall, Form
from edgeft.config.target import Target
from edgeft.core.errors import InvalidInput, Missing, UsageError

PACKAGE = Path(edgeft.__file__).parent
ORT = backends.get("onnxruntime")


def own_words() -> dict[str, str]:
    """{word that only a runtime's own package may compare with: that package}."""
    words = {}
    for record in backends.builtin():
        words[record.name] = record.name
        for form in record.forms:
            words |= {word: record.name for word in (form.name, form.compiler) if word not in ("", Form().name)}
    return words


def named_elsewhere(source: str, package: str = "") -> list[str]:
    """The string constants of a module that are words of another runtime's package than `package`."""
    words = own_words()
    texts = [n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return [text for text in texts if words.get(text, package) != package]


@pytest.mark.board
def test_no_module_outside_its_package_names_a_runtime() -> None:
    modules = sorted(PACKAGE.rglob("*.py"))
    assert len(modules) > 200 and {"onnxruntime", "openvino", "litert", "tensorrt", "trtexec"} <= set(own_words())
    for path in modules:
        room, *inner = path.relative_to(PACKAGE).parts
        package = inner[0] if room == "backends" and len(inner) > 1 else ""
        assert not named_elsewhere(path.read_text(encoding="utf-8"), package), path


@pytest.mark.board
def test_a_comparison_with_a_name_is_noticed() -> None:
    assert named_elsewhere('form = "qdq" if backend == "litert" else "int"') == ["litert"]
    assert named_elsewhere('if target.compiler == "trtexec": pass') == ["trtexec"]
    assert named_elsewhere('TABLE = {"openvino": 1}', "onnxruntime") == ["openvino"]
    assert not named_elsewhere('"""Of litert and trtexec."""\nNAME = "openvino"', "openvino")


@pytest.mark.board
@pytest.mark.parametrize("record", backends.builtin(), ids=lambda record: record.name)
def test_a_package_holds_its_record(record: Backend) -> None:
    assert backends.get(record.name) is record and record.extra
    assert record.probe_files() and next(iter(record.probe_files())).endswith(record.suffix)
    assert "def open_model(path, threads, options):" in record.loader_text()
    assert any(install.name == record.name for install in record.boards)


@pytest.mark.board
def test_exactly_one_runtime_is_the_default_of_profiles() -> None:
    assert [record.name for record in backends.builtin() if record.default] == [Target(name="t", title="t").backend]


@pytest.mark.board
@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", "ONNX Runtime", "small letters"),
        ("title", "", "title is empty"),
        ("suffix", "onnx", "is not a file suffix"),
        ("companions", ("bin",), "is not a file suffix"),
        ("lowering", "float", "none of int, qdq"),
        ("checks", ("opsets",), "none of opset"),
        ("forms", (), "`forms`"),
        ("forms", (Form(), Form()), "names a form twice"),
        ("forms", (Form(activation_storage="i8"),), "int8 or uint8"),
        ("forms", (Form(compiler="c", scripts="a.b"),), "is not of the form"),
        ("session", "", "is not a dotted name"),
        ("loader", "edgeft/backends/loader.py", "is not a dotted name"),
        ("probe", "edgeft.backends", "is not of the form"),
        ("modules", (), "`modules`"),
        ("extra", "", "what pip installs"),
    ],
)
def test_a_wrong_record_is_refused_when_it_is_made(field: str, value: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match="record of the runtime") as caught:
        dataclasses.replace(ORT, **{field: value})
    assert words in str(caught.value)


@pytest.mark.board
def test_a_part_that_is_absent_or_lacks_a_function_is_named() -> None:
    absent = dataclasses.replace(ORT, session="edgeft.backends.no_such_module", extra="", packages=("a-b>=1", "c"))
    with pytest.raises(Missing, match="no_such_module") as caught:
        absent.version()
    assert caught.value.remedy == "pip install 'a-b>=1' c"
    with pytest.raises(InvalidInput, match="lacks the function 'version'"):
        dataclasses.replace(ORT, session="edgeft.backends.values").version()
    with pytest.raises(InvalidInput, match="no source text"):
        dataclasses.replace(ORT, loader="edgeft.backends.no_such_module").loader_text()


@pytest.mark.board
def test_who_decides_how_activations_are_stored() -> None:
    storages = {(r.name, form.name): form.activation_storage for r in backends.builtin() for form in r.forms}
    assert storages == {
        ("onnxruntime", "integer"): "uint8",
        ("onnxruntime", "tensorrt"): "int8",
        ("openvino", "integer"): "uint8",
        ("litert", "integer"): "int8",
        ("executorch", "integer"): "int8",
    }
    with pytest.raises(UsageError, match="has no form 'tensort'") as caught:
        ORT.form("tensort")
    assert caught.value.remedy == "did you mean 'tensorrt'?"


@pytest.mark.board
def test_files_of_an_artifact_and_installs_of_a_board() -> None:
    vino, litert = backends.get("openvino"), backends.get("litert")
    assert vino.files_of("baseline/model.xml") == ("baseline/model.xml", "baseline/model.bin")
    assert vino.files_of("model.onnx") == ("model.onnx",) == ORT.files_of("model.onnx")
    assert litert.board_install("armv7").name == "tflite-runtime"
    assert litert.board_install("aarch64").name == "litert"
    assert dataclasses.replace(litert, boards=()).board_install("aarch64") is None
    only = BoardInstall("x", ("x",), isas=("armv7",))
    assert dataclasses.replace(litert, boards=(only,)).board_install("aarch64") is None
