"""Policies of stable-baselines3: the .zip that `model.save` writes, read without that package and without a pickle.

The weights are `policy.pth`, by `torch.load(weights_only=True)`; spaces and settings are read from the plain part
of the JSON in `data`, whose pickles (`:serialized:`) are never opened. The net is rebuilt from the names and shapes of
its weights (Raffin et al. 2021, "Stable-Baselines3", JMLR 22).
"""

from __future__ import annotations

import io
import itertools
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..core.errors import ModelError, RecipeError, nearest
from ..core.npy import BROKEN
from ..tasks.control.decoding import NAME as CONTROL
from . import pickled_names
from .built import Built
from .request import ModelRequest, ModelSource

_ARGS = ("activation", "low", "high", "normalization")
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU, "leaky_relu": nn.LeakyReLU, "gelu": nn.GELU, "silu": nn.SiLU,
}  # fmt: skip
#: bytes of a member beyond which a zip is no policy of rows of numbers
_LARGEST = 512 * 2**20
#: what the mean of a policy with state-dependent exploration is clipped to, unless its settings say otherwise
_CLIP_MEAN = 2.0
#: of VecNormalize, unless the file with the statistics says otherwise
_EPSILON, _CLIP = 1e-8, 10.0
#: figures of a column that no data tell, and the spread below which a column is constant
_OF_DATA, _SMALLEST_STD = (("mean", 0.0), ("std", 1.0)), 1e-6


@dataclass(frozen=True)
class Kind:
    """A family of algorithms: how its weights are called, and what its policy does with them.

    `layers` is the beginning of the hidden layers' names, `head` that of the last one ("" = the last of `layers`);
    `squashed` policies end with tanh and are scaled to the range of the actions.
    """

    name: str
    layers: tuple[str, ...]
    head: str
    activation: str
    squashed: bool = False


#: the first whose names are there
KINDS = (
    Kind("SAC", ("actor.latent_pi.",), "actor.mu", "relu", squashed=True),
    Kind("TD3", ("actor.mu.",), "", "relu", squashed=True),
    Kind("DQN", ("q_net.q_net.",), "", "relu"),
    Kind("PPO or A2C", ("mlp_extractor.shared_net.", "mlp_extractor.policy_net."), "action_net", "tanh"),
)


class Policy(nn.Module):
    """Linear layers with an activation between them; `half` and `middle` (A,) scale a policy that ends with tanh.

    `limit` clips the normalized observation, `clip` the mean, as VecNormalize and gSDE do; 0 = not.
    """

    def __init__(
        self, sizes: Sequence[int], activation: str, squash: tuple[np.ndarray, np.ndarray] | None, clip: float = 0.0,
        limit: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes[:-1]))
        self.head = nn.Linear(sizes[-2], sizes[-1])
        self.activation, self.clip, self.limit = _ACTIVATIONS[activation](), clip, limit
        self.squashed = squash is not None
        half, middle = squash if squash is not None else (np.ones(1), np.zeros(1))
        self.half: float | torch.Tensor
        self.middle: float | torch.Tensor

        for name, values in (("half", half), ("middle", middle)):
            if np.ptp(values) == 0:
                setattr(self, name, float(values[0]))
            else:
                self.register_buffer(name, torch.as_tensor(values, dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Observations (N, K) -> actions, or a number a choice (N, A)."""
        if self.limit:
            x = torch.clamp(x, -self.limit, self.limit)
        for layer in self.hidden:
            x = self.activation(layer(x))
        x = self.head(x)
        if self.clip:
            x = torch.clamp(x, -self.clip, self.clip)
        return torch.tanh(x) * self.half + self.middle if self.squashed else x


def build(request: ModelRequest) -> Built:
    """The policy in the zip `model.name`, for rows of numbers.

    `model.args`: `activation` between the layers (as the file says it, else the algorithm's default), `low` and `high`
    of the actions (a number, or one a control) where the file does not say them, `normalization` (an .npz with `mean`
    and `var` of observations, `epsilon`, `clip`). Raises `RecipeError` for arguments, `ModelError` for the file.
    """
    model, path = request.model, Path(request.model.name)
    for name in model.args:
        if name not in _ARGS and name not in request.of_data:
            raise RecipeError(f"unknown argument {name!r}", where="model.args", remedy=nearest(name, _ARGS))

    settings, state = read(path)
    kind = _kind(state, path)
    layers = _layers(state, kind, path)
    sizes = [layers[0][0].shape[1], *(weight.shape[0] for weight, _ in layers)]
    _refuse_others(settings, sizes, request, path)

    notes: list[str] = []
    activation = _activation(model.args, settings, kind, notes)
    squash = _squash(model.args, settings, kind, sizes[-1], path, notes)
    clip = _CLIP_MEAN if f"{kind.head}.0.weight" in state else 0.0
    mean, std, limit = _normalization(model.args, request.facts, sizes[0])
    policy = Policy(sizes, activation, squash, clip, limit)

    with torch.no_grad():
        for layer, (weight, bias) in zip([*policy.hidden, policy.head], layers):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        if "normalization" not in model.args:
            _take_normalized(policy.hidden[0] if len(policy.hidden) else policy.head, mean, std)

    notes.insert(0, f"a policy of {kind.name}: {' -> '.join(map(str, sizes))}, {activation} between its layers")
    spec = {"kind": "vector", "size": [sizes[0]], "input": "x", "mean": mean, "std": std, "fixed": True}
    return Built(policy.eval(), "head", spec, sizes[-1], True, tuple(notes))


def read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The plain settings and the weights of a zip; raises `ModelError` for what is no policy."""
    if path.suffix == ".pkl":
        raise ModelError(
            "is a pickle, which would run code",
            where=str(path),
            remedy="name the .zip that model.save wrote; what VecNormalize learned is read from an .npz "
            "(model.args.normalization, see docs/control.md)",
        )

    if not path.is_file():
        raise ModelError("no such file", where=str(path), remedy="model.name is the path of a .zip of model.save")

    try:
        with zipfile.ZipFile(path) as archive:
            for name in ("data", "policy.pth"):
                if archive.getinfo(name).file_size > _LARGEST:
                    raise ModelError(f"its {name} is too large for a policy of rows of numbers", where=str(path))
            settings = json.loads(archive.read("data"))
            pickled = io.BytesIO(archive.read("policy.pth"))
            pickled_names.check(pickled, str(path))
            pickled.seek(0)
            state = torch.load(pickled, map_location="cpu", weights_only=True)
    except KeyError as error:
        raise ModelError(
            f"is no policy of stable-baselines3: {error.args[0]}", where=str(path), remedy="save it by model.save"
        ) from error
    except Exception as error:  # zipfile, json and torch.load raise errors of many types for damaged files
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"cannot be read ({line[:200]})", where=str(path)) from error

    fine = isinstance(state, dict) and all(isinstance(value, torch.Tensor) for value in state.values())
    if not fine or not isinstance(settings, dict):
        raise ModelError("holds no weights by name", where=str(path))

    return settings, {str(name): value.float() for name, value in state.items()}


def _kind(state: Mapping[str, torch.Tensor], path: Path) -> Kind:
    recurrent = any("lstm" in name for name in state)
    pictures = any(value.dim() > 2 for value in state.values())
    several = any("features_extractor" in name for name in state)

    if recurrent or pictures or several:
        what = "recurrent layers" if recurrent else "convolutions" if pictures else "a features extractor with weights"
        raise ModelError(
            f"has {what}: policies of linear layers are read (MlpPolicy)",
            where=str(path),
            remedy="export the policy to ONNX as stable-baselines3 documents it, and take model.source = 'onnx'",
        )

    for kind in KINDS:
        if any(name.startswith(kind.layers[-1]) for name in state) and (not kind.head or _head_of(state, kind)):
            return kind

    if "action_net.weight" in state:
        return KINDS[-1]
    raise ModelError(
        f"has no policy that is known: its weights are {', '.join(list(state)[:4])} ...",
        where=str(path),
        remedy=f"read are {', '.join(kind.name for kind in KINDS)} (and DDPG, which is TD3's)",
    )


def _head_of(state: Mapping[str, torch.Tensor], kind: Kind) -> str:
    """The name of the last layer; gSDE wraps it once more."""
    return next((name for name in (kind.head, f"{kind.head}.0") if f"{name}.weight" in state), "")


def _layers(state: Mapping[str, torch.Tensor], kind: Kind, path: Path) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(weight (out, in), bias (out,)) of each layer in order."""
    names = []
    for start in kind.layers:
        numbers = sorted(
            int(match[1]) for name in state if (match := re.fullmatch(re.escape(start) + r"(\d+)\.weight", name))
        )
        names += [f"{start}{number}" for number in numbers]

    names += [_head_of(state, kind)] if kind.head else []
    try:
        layers = [(state[f"{name}.weight"], state[f"{name}.bias"]) for name in names]
    except KeyError as error:
        raise ModelError(f"lacks the weights {error.args[0]}", where=str(path)) from error

    for number, (weight, bias) in enumerate(layers):
        before = layers[number - 1][0].shape[0] if number else weight.shape[-1]
        if weight.dim() != 2 or weight.shape[1] != before or bias.shape != weight.shape[:1]:
            raise ModelError(f"has layers that do not fit each other at {names[number]}", where=str(path))

    return layers


def _refuse_others(settings: Mapping[str, Any], sizes: Sequence[int], request: ModelRequest, path: Path) -> None:
    space = settings.get("action_space")
    kind = str(space.get(":type:", "")) if isinstance(space, dict) else ""
    if "MultiDiscrete" in kind or "MultiBinary" in kind:
        raise ModelError(f"acts in a space of several choices ({kind}), which the task has not", where=str(path))

    inputs = request.facts.get("inputs")
    if inputs is not None and int(inputs) != sizes[0]:
        raise ModelError(f"takes {sizes[0]} numbers, and the data has {inputs} a row", where=str(path))

    if request.outputs != sizes[-1]:
        raise ModelError(
            f"gives {sizes[-1]} numbers, and the data has {request.outputs} controls ({', '.join(request.labels)})",
            where=str(path),
            remedy='observations of its own environment fit it: data.format = "environment"',
        )


def _activation(args: Mapping[str, Any], settings: Mapping[str, Any], kind: Kind, notes: list[str]) -> str:
    if "activation" in args:
        name = str(args["activation"])
        if name not in _ACTIVATIONS:
            raise RecipeError(f"is {name!r}", where="model.args.activation", remedy=nearest(name, _ACTIVATIONS))
        return name

    table = settings.get("policy_kwargs")
    stated = str(table.get("activation_fn", "")) if isinstance(table, dict) else ""
    if stated:
        known = {kind_.__name__: name for name, kind_ in _ACTIVATIONS.items()}
        written = stated.rstrip("'>").rpartition(".")[2]
        if written not in known:
            raise ModelError(
                f"its settings name the activation {stated}", remedy=f"read are {', '.join(sorted(_ACTIVATIONS))}"
            )
        return known[written]

    notes.append(f"the file names no activation: {kind.activation}, the default of {kind.name} (model.args.activation)")
    return kind.activation


def _squash(
    args: Mapping[str, Any], settings: Mapping[str, Any], kind: Kind, controls: int, path: Path, notes: list[str]
) -> tuple[np.ndarray, np.ndarray] | None:
    """(half of the range, its middle) of each action where the policy ends with tanh; None for one that does not."""
    table = settings.get("policy_kwargs")
    if not kind.squashed and not (isinstance(table, dict) and table.get("squash_output") is True):
        return None

    space = settings.get("action_space")
    bounds = []
    for key in ("low", "high"):
        values = _numbers(args[key] if key in args else space.get(key) if isinstance(space, dict) else None)
        if len(values) == 1:
            values = np.repeat(values, controls)
        if len(values) != controls or not np.isfinite(values).all():
            raise ModelError(
                f"does not say the {key}est value of its {controls} actions in plain numbers",
                where=str(path),
                remedy=f"set model.args.{key}: a number, or one an action",
            )
        bounds.append(values)

    low, high = bounds
    if not (high > low).all():
        raise RecipeError("the actions' low must be below their high", where="model.args")

    notes.append(f"it ends with tanh, scaled to actions from {_shown(low)} to {_shown(high)}")
    return (high - low) / 2, (high + low) / 2


def _numbers(value: Any) -> np.ndarray:
    """Numbers of a list, or of text as numpy prints an array ("[-2. 2.]"); empty where there is anything else."""
    if isinstance(value, str):
        words = value.replace("[", " ").replace("]", " ").replace(",", " ").split()
        if not all(re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", word) for word in words):
            return np.zeros(0)
        value = [float(word) for word in words]
    try:
        return np.asarray([] if value is None else value, np.float64).reshape(-1)
    except (TypeError, ValueError):
        return np.zeros(0)


def _shown(values: np.ndarray) -> str:
    return f"{values[0]:g}" if np.ptp(values) == 0 else ", ".join(f"{value:g}" for value in values)


def _normalization(
    args: Mapping[str, Any], facts: Mapping[str, Any], size: int
) -> tuple[list[float], list[float], float]:
    """(mean, std, limit) of observations: those that the policy was trained with, else those of the data, limit 0."""
    if "normalization" not in args:
        means, spreads = (list(map(float, facts.get(key, [value] * size))) for key, value in _OF_DATA)
        return means, [value if value > _SMALLEST_STD else 1.0 for value in spreads], 0.0

    path = Path(str(args["normalization"]))
    where = f"model.args.normalization, {path}"
    if path.suffix == ".pkl":
        raise ModelError(
            "is a pickle of VecNormalize, which would run code: it is not read",
            where=where,
            remedy="write its numbers where stable-baselines3 is: np.savez('norm.npz', mean=env.obs_rms.mean, "
            "var=env.obs_rms.var, epsilon=env.epsilon, clip=env.clip_obs)",
        )

    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: np.asarray(file[key], np.float64).reshape(-1) for key in file.files}
    except BROKEN as error:
        raise ModelError(f"cannot be read ({error})", where=where) from error

    mean, variance = arrays.get("mean", np.zeros(0)), arrays.get("var", np.zeros(0))
    if len(mean) != size or len(variance) != size or not (variance >= 0).all() or not np.isfinite(mean).all():
        raise ModelError(f"needs `mean` and `var` of {size} numbers each", where=where)

    epsilon, clip = (float(arrays.get(key, [value])[0]) for key, value in (("epsilon", _EPSILON), ("clip", _CLIP)))
    return mean.tolist(), np.sqrt(variance + epsilon).tolist(), clip


def _take_normalized(layer: nn.Linear, mean: Sequence[float], std: Sequence[float]) -> None:
    """Change a first layer that takes raw numbers so that it computes the same of (x - mean) / std."""
    weight = layer.weight.double()
    layer.bias.copy_(layer.bias.double() + weight @ torch.tensor(mean, dtype=torch.float64))
    layer.weight.copy_(weight * torch.tensor(std, dtype=torch.float64))


SOURCE = ModelSource(
    "sb3",
    "A policy of stable-baselines3, of the .zip that it saves.",
    build,
    tasks=(CONTROL,),
    own_weights=True,
    knows=lambda name: name.endswith(".zip"),
)
