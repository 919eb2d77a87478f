"""A model that ends its runtime, takes all memory or never ends is a gate that fails; whoever asked goes on."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle
from shapes_run import seal

import edgeft
from edgeft.bundle import reader
from edgeft.core import interpreter, limits
from edgeft.core.errors import BundleError
from edgeft.verify import isolated

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def held(code: str) -> subprocess.CompletedProcess[str]:
    command = interpreter.here("from edgeft.core import limits\n" + code)
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(limits.resource is None, reason="limits of processes need POSIX")
def test_memory_and_time_of_a_process_are_limited() -> None:
    take = "limits.apply(1 << 30, 60)\nheld = bytearray({size})\nprint('taken')"
    assert held(take.format(size=64 << 20)).stdout == "taken\n"
    assert "MemoryError" in held(take.format(size=3 << 30)).stderr
    lifted = take.replace("\n", "\nlimits.lift()\n", 1)
    assert held(lifted.format(size=3 << 30)).stdout == "taken\n"
    endless = "limits.apply(1 << 30, 1)\nsum(range(1 << 62))"  # in C, where no handler of Python's would run
    assert held(endless).returncode == -14


def test_data_may_take_more_memory_than_a_model() -> None:
    assert limits.memory(1 << 20) == limits.LEAST + (limits.TIMES << 20)
    assert limits.memory(1 << 20, data=True) >= limits.memory(1 << 20)


def altered(bundle: Path, nodes: list, initializers: list = ()) -> Path:
    """The bundle with other nodes behind its network, on the way to its output, hashed again."""
    model = onnx.load(bundle / "model.onnx")
    last = next(node for node in model.graph.node if "logits" in node.output)
    last.output[0] = "before"
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(initializers)
    onnx.save(model, bundle / "model.onnx")
    return seal(bundle)


def greedy(bundle: Path) -> Path:
    """64 GiB of zeros are summed up and added to the logits."""
    helper, numbers = onnx.helper, onnx.numpy_helper.from_array
    nodes = [
        helper.make_node("ConstantOfShape", ["huge"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["none"], keepdims=0),
        helper.make_node("Add", ["before", "none"], ["logits"]),
    ]
    return altered(bundle, nodes, [numbers(np.array([1 << 17, 1 << 17], np.int64), "huge")])


def endless(bundle: Path) -> Path:
    """A loop of 2^62 rounds stands before the logits."""
    helper, numbers = onnx.helper, onnx.numpy_helper.from_array
    scalar = [("round", onnx.TensorProto.INT64), ("go", onnx.TensorProto.BOOL)]
    inputs = [helper.make_tensor_value_info(name, kind, []) for name, kind in scalar]
    value = helper.make_tensor_value_info("in", onnx.TensorProto.FLOAT, None)
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["in"], ["out"])],
        "body",
        [*inputs, value],
        [
            helper.make_tensor_value_info("on", onnx.TensorProto.BOOL, []),
            helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, None),
        ],
    )
    node = helper.make_node("Loop", ["rounds", "yes", "before"], ["logits"], body=body)
    return altered(bundle, [node], [numbers(np.array(1 << 62, np.int64), "rounds"), numbers(np.array(True), "yes")])


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle.build(tmp_path, "onnxruntime")


def test_a_model_that_takes_all_memory_fails_by_name(bundle: Path) -> None:
    greedy(bundle)
    with pytest.raises(BundleError) as caught:
        edgeft.predict(bundle, [str(picture(bundle.parent))], untrusted=True)
    assert "memory" in caught.value.message
    with pytest.raises(BundleError, match="memory"):  # the runtime itself says that it got none
        edgeft.verify(bundle)


def test_a_model_that_never_ends_fails_by_name(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endless(bundle)
    monkeypatch.setattr(isolated, "_CODE", "from edgeft.core import limits\nlimits.SECONDS = 8\n" + isolated._CODE)
    report = edgeft.verify(bundle)
    (gate, *_) = report["gates"]
    assert report["verdict"] == "fail" and gate["name"] == "compatibility" and "did not end" in gate["why"]


def picture(folder: Path) -> Path:
    pillow = pytest.importorskip("PIL.Image")
    pillow.fromarray(tiny_bundle.pixels(200)).save(folder / "bright.png")
    return folder / "bright.png"


def test_a_prediction_apart_is_the_same(bundle: Path) -> None:
    names = [str(picture(bundle.parent)), "no-such-file.png"]
    assert edgeft.predict(bundle, names, untrusted=True) == edgeft.predict(bundle, names)


def test_a_signal_is_a_gate_that_fails(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crash = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
    monkeypatch.setattr(isolated, "_CODE", crash + isolated._CODE)
    report = edgeft.verify(bundle)
    assert report["verdict"] == "fail" and "SIGSEGV" in report["gates"][0]["why"]
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_a_bundle_that_changes_before_the_process_opens_it_is_refused(bundle: Path) -> None:
    opened = reader.open(bundle)
    seal(bundle, labels=["a", "b", "c"])
    with pytest.raises(BundleError, match="altered while it was verified"):
        isolated.checked(opened)


def test_a_model_that_changes_between_hashing_and_opening_is_noticed(bundle: Path) -> None:
    opened = reader.open(bundle)
    model = onnx.load(bundle / "model.onnx")
    model.doc_string = "another file of the same network"
    onnx.save(model, bundle / "model.onnx")
    with pytest.raises(BundleError, match=r"model\.onnx was altered while it was opened"):
        opened.session()


@pytest.mark.parametrize("backend", tiny_bundle.BACKENDS)
def test_mutated_models_end_nothing(backend: str, tmp_path: Path) -> None:
    """Random bytes of a model altered, removed and repeated: each copy is opened in a process within limits, and the
    answer is a result or one of our errors."""
    bundle = tiny_bundle.build(tmp_path, backend)
    name = reader.open(bundle).graph()["file"]
    code = MUTATE.format(bundle=str(bundle), name=name, seed=7)
    outcomes: dict[str, int] = {}
    first, tries = 0, 120
    while first < tries:
        command = interpreter.here(code, str(first), str(tries))
        done = subprocess.run(command, capture_output=True, text=True, timeout=400)
        lines = done.stdout.splitlines()
        for line in lines:
            outcomes[line.split()[1]] = outcomes.get(line.split()[1], 0) + 1
        assert not any("foreign" in line for line in lines), "\n".join(lines)
        first = int(lines[-1].split()[0]) + 1 if lines else first + 1
        if done.returncode:  # a crash: of the child alone; go on behind it
            assert done.returncode < 0, done.stderr
            first += 1
    print(backend, outcomes)
    assert sum(outcomes.values()) > tries / 2 and outcomes["refused"] and outcomes["ran"], outcomes


MUTATE = """
import shutil, sys
import numpy as np
from edgeft.bundle import reader
from edgeft.core import limits
from edgeft.core.errors import EdgeftError
from pathlib import Path
bundle, name = Path({bundle!r}), {name!r}
opened = reader.open(bundle)
original = (bundle / name).read_bytes()
place = bundle.parent / "mutated"
shutil.copytree(bundle, place, dirs_exist_ok=True)
for number in range(int(sys.argv[1]), int(sys.argv[2])):
    random = np.random.default_rng([{seed}, number])
    data = bytearray(original)
    for _ in range(int(random.integers(9)) if number else 0):
        at, kind = int(random.integers(len(data))), int(random.integers(3))
        if kind == 0:
            data[at] = int(random.integers(256))
        elif kind == 1:
            del data[at : at + int(random.integers(1, 9))]
        else:
            data[at:at] = data[at : at + 8]
    (place / name).write_bytes(data)
    limits.apply(4 << 30, 60)
    try:
        session = opened.runtime.load(place / name, threads=1, options=None)
        session.run({{t.name: np.zeros([max(side, 1) for side in t.shape], np.float32) for t in session.inputs}})
        word = "ran"
    except EdgeftError:
        word = "refused"
    except MemoryError:
        word = "memory"
    except Exception as error:
        word = "foreign " + type(error).__name__ + " " + str(error)[:200].replace(chr(10), " ")
    print(number, word, flush=True)
"""
