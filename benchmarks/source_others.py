"""Models of Keras and of stable-baselines3 for sources.py: the files, and the recipes that read them.

Networks of `keras.applications` have random weights and are fine-tuned on the tiny pictures. The policies have known
behaviour (`tests/sb3_policies.py`) and are calibrated on what they see in their environment.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import source_nets
from source_nets import SIDE, Net

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))


def _application(title: str, function: str, **config: Any) -> Net:
    return Net(title, "classify", config, kind=f"keras.applications.{function}")


def _policy(title: str, algorithm: str, writer: str, environment: str) -> Net:
    """`writer` is the function of `tests/sb3_policies.py` that writes the zip."""
    return Net(title, "control", {"writer": writer, "environment": environment}, kind=f"stable_baselines3.{algorithm}")


#: by names of their own; `kind` is what the page calls them
NETS: dict[str, Net] = {
    "keras-mobilenet_v2": _application("MobileNetV2", "MobileNetV2", alpha=0.35),
    "keras-mobilenet_v3": _application("MobileNetV3-Small", "MobileNetV3Small", alpha=0.75),
    "keras-efficientnet": _application("EfficientNet-B0", "EfficientNetB0"),
    "sb3-ppo": _policy("PPO on CartPole", "PPO", "balancing", "CartPole-v1"),
    "sb3-sac": _policy("SAC on Pendulum", "SAC", "swinging", "Pendulum-v1"),
}


def recipe(kind: str, folder: Path, targets: tuple[str, ...]) -> dict[str, Any]:
    """The recipe of a net, whose file and data are written into `folder`."""
    net = NETS[kind]
    return _of_policy(net, folder, targets) if net.task == "control" else _of_application(net, folder, targets)


def _of_application(net: Net, folder: Path, targets: tuple[str, ...]) -> dict[str, Any]:
    import torch

    from edgeft.models.keras import loading

    keras = loading.keras()
    keras.utils.set_random_seed(0)
    function = getattr(keras.applications, net.kind.rpartition(".")[2])
    classes = len(source_nets.COLORS)
    model = function(input_shape=(SIDE, SIDE, 3), weights=None, classes=classes, **net.config)
    model.save(str(folder / "net.keras"))
    torch.manual_seed(0)

    return {
        "task": net.task,
        "name": "keras",
        "model": {"source": "keras", "name": str(folder / "net.keras")},
        "data": {"format": "npz", "path": str(source_nets.write_colors(folder / "colors")), "size": SIDE},
        "train": {"epochs": net.epochs, "lr": net.lr, "batch_size": net.batch_size, "augment": net.augment},
        "quantize": {"epochs": 1, "lr": 1e-4, "calibration": "quick"},
        "export": {"targets": list(targets)},
        "gates": {"min_speedup": 0.0, "max_drop": 0.05},
    }


def _of_policy(net: Net, folder: Path, targets: tuple[str, ...]) -> dict[str, Any]:
    import sb3_policies

    path, environment = folder / "policy.zip", net.config["environment"]
    getattr(sb3_policies, net.config["writer"])(path)
    return {
        "task": net.task,
        "name": "policy",
        "model": {"source": "sb3", "name": str(path)},
        "data": {"format": "environment", "environment": environment, "episodes": 10},
        "train": {"epochs": 0},
        "quantize": {"method": "ptq"},
        "export": {"targets": list(targets)},
        "gates": {"min_speedup": 0.0, "environment": environment, "episodes": 10},
    }


def returns(report: dict[str, Any]) -> tuple[float, float] | None:
    """Mean returns of the closed loop of float and of the artifact, where the bundle has that gate."""
    gate = next((gate for gate in report["gates"] if gate["name"] == "return"), None)
    return None if gate is None else (float(gate["float"]), float(gate["quantized"]))
