"""Models of torchvision, timm and the user's own files."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import builds
import pytest
import torch
from torch import nn

from edgeft import models
from edgeft.config import recipe
from edgeft.core import installation
from edgeft.core.errors import Missing, ModelError, RecipeError
from edgeft.inputs import image
from edgeft.models import ModelRequest, heads

torch.set_num_threads(1)
TORCHVISION = [
    "resnet18", "alexnet", "squeezenet1_1", "shufflenet_v2_x0_5", "densenet121", "mobilenet_v3_small", "regnet_y_400mf",
    "convnext_tiny", "vit_b_32", "efficientnet_b0", "googlenet",
]  # fmt: skip


def check(built: models.Built, classes: int) -> None:
    image.check(built.spec)
    assert heads.width(built.module, built.head) == classes and not built.module.training
    for mode in (False, True):
        with torch.no_grad():
            y = built.module.train(mode)(torch.randn(2, built.spec["channels"], *built.spec["size"]))
        assert isinstance(y, torch.Tensor) and y.shape == (2, classes)


@pytest.mark.peer("torchvision")
@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision(name: str) -> None:
    check(builds.build(recipe.Model(source="torchvision", name=name), 7), 7)


@pytest.mark.peer("torchvision")
@pytest.mark.parametrize("name", ["resnet18", "alexnet", "googlenet"])
def test_torchvision_takes_gray_pictures_and_weights_for_colour(name: str, tmp_path: Path) -> None:
    gray = builds.build(recipe.Model(source="torchvision", name=name, args={"channels": 1}), 3)
    assert gray.spec["channels"] == 1 and len(gray.spec["mean"]) == 1
    check(gray, 3)
    colour = builds.build(recipe.Model(source="torchvision", name=name), 3)
    torch.save(colour.module.state_dict(), tmp_path / "w.pth")
    made = recipe.Model(source="torchvision", name=name, args={"channels": 1}, weights=str(tmp_path / "w.pth"))
    loaded = builds.build(made, 3)
    x = torch.randn(2, 1, 96, 96)
    if name == "googlenet":
        colour.module.transform_input = False
    torch.testing.assert_close(loaded.module(x), colour.module(x.expand(-1, 3, -1, -1)), atol=1e-4, rtol=1e-4)


@pytest.mark.peer("torchvision")
def test_torchvisions_own_arguments_reach_it() -> None:
    built = builds.build(recipe.Model(source="torchvision", name="alexnet", args={"dropout": 0.2}), 3)
    assert [m.p for m in built.module.modules() if isinstance(m, nn.Dropout)] == [0.2, 0.2]
    with pytest.raises(RecipeError, match="how many frames a stack has"):
        builds.build(recipe.Model(source="torchvision", name="alexnet", args={"channels": 0}), 3)


@pytest.mark.peer("timm")
@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "convnext_atto", "vit_tiny_patch16_224"])
def test_timm(name: str) -> None:
    built = builds.build(recipe.Model(source="timm", name=name), 7)
    check(built, 7)
    check(builds.build(recipe.Model(source="timm", name=name, args={"channels": 1}), 3), 3)
    assert built.spec["mean"] == ([0.5] * 3 if "vit" in name else [0.485, 0.456, 0.406])


@pytest.mark.peer("torchvision", "timm")
@pytest.mark.parametrize(("source", "name"), [("torchvision", "resnet18"), ("timm", "resnet10t")])
def test_local_weights_and_mistakes(tmp_path: Path, source: str, name: str) -> None:
    state = builds.build(recipe.Model(source=source, name=name), 9).module.state_dict()
    torch.save(state, tmp_path / "w.pth")
    loaded = builds.build(recipe.Model(source=source, name=name, weights=str(tmp_path / "w.pth")), 4)
    assert loaded.pretrained and "has 9 classes" in loaded.notes[0]
    assert torch.equal(
        loaded.module.state_dict()["conv1.weight"]
        if source == "torchvision"
        else loaded.module.state_dict()["layer1.0.conv1.weight"],
        state["conv1.weight"] if source == "torchvision" else state["layer1.0.conv1.weight"],
    )
    with pytest.raises(RecipeError, match="did you mean"):
        builds.build(recipe.Model(source=source, name=name + "x"), 4)
    with pytest.raises(RecipeError, match=r"model\.args"):
        builds.build(recipe.Model(source=source, name=name, args={"no_such": 1}), 4)


@pytest.mark.parametrize("source", ["torchvision", "timm"])
def test_a_missing_package_names_the_command(source: str) -> None:
    if importlib.util.find_spec(source) is not None:
        pytest.skip(f"{source} is installed here")
    with pytest.raises(Missing, match=re.escape(installation.command("vision"))) as error:
        builds.build(recipe.Model(source=source, name="resnet18"), 4)
    assert error.value.exit_code == 4


FILE = """
from torch import nn

def with_classes(n_classes, width=4):
    body = [nn.Conv2d(1, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*body, nn.Linear(width, n_classes))

def fixed():
    return with_classes(10), {"size": 28, "channels": 1, "mean": [0.1], "std": [0.3]}

def convolutional():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())

def wrong():
    return 3

def broken():
    raise ValueError("no luck")

def headless():
    return nn.ReLU()
"""


def python(path: Path, function: str, **changes: object) -> recipe.Model:
    path.write_text(FILE)
    return recipe.Model(source="python", name=f"{path}:{function}", **changes)  # type: ignore[arg-type]


def test_code_runs_only_when_allowed(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text("raise SystemExit('it ran')\n")
    with pytest.raises(ModelError, match="--allow-code") as error:
        builds.build(recipe.Model(source="python", name=f"{file}:make"), 3)
    assert error.value.exit_code == 3


def test_functions_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    made = builds.build(python(file, "with_classes", args={"width": 6}), 3, allow_code=True)
    assert (
        made.head == "4" and made.module(torch.zeros(1, 1, 9, 9)).shape == (1, 3) and made.module[0].out_channels == 6
    )
    fixed = builds.build(python(file, "fixed"), 3, allow_code=True)
    assert fixed.spec["size"] == [28, 28] and fixed.spec["channels"] == 1 and fixed.spec["mean"] == [0.1]
    assert "had 10 outputs" in fixed.notes[0] and fixed.module(torch.zeros(1, 1, 9, 9)).shape == (1, 3)
    convolutional = builds.build(python(file, "convolutional"), 3, allow_code=True)
    assert convolutional.head == "1" and convolutional.module(torch.zeros(1, 3, 9, 9)).shape == (1, 3)


def test_what_the_data_say_is_passed_where_the_function_takes_it(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\n"
        "def plain(n_classes): return nn.Sequential(nn.Flatten(), nn.Linear(12, n_classes))\n"
        "def sized(n_classes, size): return nn.Sequential(nn.Flatten(), nn.Linear(size[0], n_classes))\n"
        "def open(**facts): return nn.Sequential(nn.Flatten(), nn.Linear(*facts['size'], facts['channels']))\n"
    )

    def inputs(function: str, of_data: frozenset[str]) -> int:
        model = recipe.Model(source="python", name=f"{file}:{function}", args={"size": [7], "channels": 3})
        request = ModelRequest(model, "tabular", 3, allow_code=True, of_data=of_data)
        return int(models.build(request).module[1].in_features)

    known = frozenset({"size", "channels"})
    assert [inputs(function, known) for function in ("plain", "sized", "open")] == [12, 7, 7]
    with pytest.raises(ModelError, match="unexpected keyword argument 'size'"):  # the recipe itself asks for it
        inputs("plain", frozenset({"channels"}))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("wrong", "returned a int"),
        ("broken", "ValueError: no luck"),
        ("headless", "no classifier"),
        ("with_class", "did you mean 'with_classes'"),
    ],
)
def test_what_a_file_does_wrong(tmp_path: Path, function: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        builds.build(python(tmp_path / "net.py", function), 3, allow_code=True)


def test_bad_names_of_files(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"file\.py:function"):
        builds.build(recipe.Model(source="python", name="net.py"), 3, allow_code=True)
    with pytest.raises(ModelError, match="no such file"):
        builds.build(recipe.Model(source="python", name=f"{tmp_path}/none.py:f"), 3, allow_code=True)
    (tmp_path / "syntax.py").write_text("def f(:\n")
    with pytest.raises(ModelError, match="SyntaxError"):
        builds.build(recipe.Model(source="python", name=f"{tmp_path}/syntax.py:f"), 3, allow_code=True)


def test_the_callers_own_module() -> None:
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).train()
    built = models.from_module(module, 3)
    assert built.head == "2" and built.module is module and not module.training and not built.notes
    assert models.from_module(module, 5, head="2", spec={"channels": 1}).module[2].out_features == 5
    with pytest.raises(ModelError, match="has no layer 'fc'"):
        models.from_module(module, 3, head="fc")
    with pytest.raises(RecipeError, match="did you mean 'mean'"):
        models.from_module(module, 3, spec={"meen": [0]})


@pytest.mark.parametrize(
    ("source", "name", "other"),
    [
        ("builtin", "net.keras", "keras"),
        ("builtin", "models/net.onnx", "onnx"),
        ("builtin", "yolov8n.pt", "ultralytics"),
        pytest.param("builtin", "mobilenetv3_small_050", "timm", marks=pytest.mark.peer("timm")),
        pytest.param("torchvision", "efficientnet_lite0", "builtin", marks=pytest.mark.peer("torchvision")),
        pytest.param("builtin", "resnet34", "torchvision", marks=pytest.mark.peer("torchvision")),
    ],
)
def test_a_name_of_another_source_gets_that_source(source: str, name: str, other: str) -> None:
    with pytest.raises(RecipeError) as error:
        builds.build(recipe.Model(source=source, name=name), 3)
    assert error.value.where == "model.name" and f'model.source = "{other}"' in error.value.remedy, error.value


def test_a_folder_of_transformers_under_another_source_is_named(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"embeddings.word_embeddings.weight": torch.zeros(4, 4)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(ModelError, match="does not fit") as error:
        builds.build(recipe.Model(name="resnet8", weights=str(tmp_path)), 3)
    assert "'vit'" in error.value.remedy and 'model.source = "transformers"' in error.value.remedy

    (tmp_path / "config.json").write_text('{"architecture": "resnet18"}')
    with pytest.raises(ModelError, match="does not fit") as error:
        builds.build(recipe.Model(name="resnet8", weights=str(tmp_path)), 3)
    assert "another network" in error.value.remedy
