"""Policies of stable-baselines3 from zips in its layout, against the same layers in torch; and what is refused."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import sb3_policies as policies
import torch
from torch import nn

from edgeft.config.recipe import Model
from edgeft.core.errors import ModelError, RecipeError
from edgeft.models import ModelRequest, build

FACTS = {"inputs": 3, "mean": [0.1, -0.2, 2.0], "std": [0.5, 2.0, 3.0]}


def request(path: Path, controls: int = 1, facts: dict = FACTS, **args: object) -> ModelRequest:
    return ModelRequest(Model("sb3", str(path), args=args), "control", controls, facts)


def normalized(x: torch.Tensor, mean: list[float], std: list[float]) -> torch.Tensor:
    return (x - torch.tensor(mean)) / torch.tensor(std)


#: algorithm -> (beginning of the hidden layers' names, name of the last, activation, ends with tanh)
ALGORITHMS = {
    "SAC": ("actor.latent_pi.", "actor.mu", nn.ReLU, True),
    "TD3": ("actor.mu.", "", nn.ReLU, True),
    "DQN": ("q_net.q_net.", "", nn.ReLU, False),
    "PPO": ("mlp_extractor.policy_net.", "action_net", nn.Tanh, False),
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_it_computes_what_the_layers_do(name: str, tmp_path: Path) -> None:
    hidden, head, activation, squashed = ALGORITHMS[name]
    net = policies.net((3, 8, 6, 1), activation)
    path = policies.write(tmp_path / "p.zip", policies.of_names(net, hidden, head), policies.PENDULUM)
    built = build(request(path))
    assert name in built.notes[0] and "3 -> 8 -> 6 -> 1" in built.notes[0]
    assert any("names no activation" in note for note in built.notes)

    x = torch.randn(9, 3) * 3
    with torch.no_grad():
        expected = 2 * torch.tanh(net(x)) if squashed else net(x)
        ours = built.module(normalized(x, built.spec["mean"], built.spec["std"]))
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_settings_of_the_file_and_keys_of_the_recipe(tmp_path: Path) -> None:
    net = policies.net((3, 8, 2), nn.ELU)
    state = policies.of_names(net, "actor.latent_pi.", "actor.mu")
    space = {**policies.PENDULUM, "low": "[-2. -1.]", "high": "[2.e+00 3.0]"}
    settings = {"policy_kwargs": {"activation_fn": "<class 'torch.nn.modules.activation.ELU'>"}}
    built = build(request(policies.write(tmp_path / "p.zip", state, space, **settings), 2))
    x = torch.randn(5, 3)
    with torch.no_grad():
        expected = torch.tanh(net(x)) * torch.tensor([2.0, 2.0]) + torch.tensor([0.0, 1.0])
        ours = built.module(normalized(x, built.spec["mean"], built.spec["std"]))
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)

    bare = policies.write(tmp_path / "bare.zip", state, {"low": "[-2. ... -1.]", ":serialized:": policies.SERIALIZED})
    with pytest.raises(ModelError, match="lowest value of its 2 actions") as caught:
        build(request(bare, 2))
    assert "model.args.low" in caught.value.remedy
    assert "from -1 to 1" in build(request(bare, 2, low=-1, high=[1, 1])).notes[-1]
    with pytest.raises(RecipeError, match="below their high"):
        build(request(bare, 2, low=1, high=1))
    with pytest.raises(RecipeError, match="'rellu'") as wrong:
        build(request(bare, 2, low=-1, high=1, activation="rellu"))
    assert "relu" in wrong.value.remedy
    with pytest.raises(RecipeError, match="unknown argument 'activaton'"):
        build(request(bare, 2, activaton="relu"))


def test_normalization_that_the_policy_was_trained_with(tmp_path: Path) -> None:
    net = policies.net((3, 8, 1), nn.ReLU)
    path = policies.write(tmp_path / "p.zip", policies.of_names(net, "q_net.q_net."))
    mean, variance = np.array([1.0, 2.0, 3.0]), np.array([4.0, 0.25, 1.0])
    np.savez(tmp_path / "norm.npz", mean=mean, var=variance, epsilon=1e-8, clip=2.0)
    built = build(request(path, normalization=str(tmp_path / "norm.npz")))
    x = torch.randn(20, 3) * 10
    with torch.no_grad():
        seen = normalized(x, mean.tolist(), np.sqrt(variance).tolist()).float()
        ours = built.module(normalized(x, built.spec["mean"], built.spec["std"]))
        torch.testing.assert_close(ours, net(seen.clamp(-2, 2)))
    assert built.spec["fixed"]

    (tmp_path / "vec_normalize.pkl").write_bytes(b"x")
    with pytest.raises(ModelError, match="pickle of VecNormalize") as caught:
        build(request(path, normalization=str(tmp_path / "vec_normalize.pkl")))
    assert "np.savez" in caught.value.remedy
    np.savez(tmp_path / "short.npz", mean=mean[:2], var=variance)
    with pytest.raises(ModelError, match="3 numbers each"):
        build(request(path, normalization=str(tmp_path / "short.npz")))


class Harm:
    """Writes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def test_no_pickle_is_opened(tmp_path: Path) -> None:
    import base64

    harm, sign = pickle.dumps(Harm(tmp_path / "sign")), tmp_path / "sign"
    net = policies.net((3, 8, 1), nn.ReLU)
    space = {**policies.PENDULUM, ":serialized:": base64.b64encode(harm).decode()}
    path = policies.write(tmp_path / "p.zip", policies.of_names(net, "actor.latent_pi.", "actor.mu"), space)
    build(request(path))
    assert not sign.exists()

    torch.save({"actor.mu.weight": Harm(sign)}, buffer := io.BytesIO())
    with zipfile.ZipFile(tmp_path / "harm.zip", "w") as archive:
        archive.writestr("data", json.dumps({}))
        archive.writestr("policy.pth", buffer.getvalue())
    with pytest.raises(ModelError, match="cannot be read"):
        build(request(tmp_path / "harm.zip"))
    assert not sign.exists()


def test_zips_that_are_refused(tmp_path: Path) -> None:
    good = policies.of_names(policies.net((3, 8, 1), nn.ReLU), "q_net.q_net.")
    cases = {
        "lstm": (good | {"lstm_actor.weight_ih_l0": torch.zeros(4, 4)}, "recurrent layers"),
        "pictures": (good | {"q_net.features_extractor.cnn.0.weight": torch.zeros(4, 3, 3, 3)}, "convolutions"),
        "several": (good | {"q_net.features_extractor.x.weight": torch.zeros(4, 3)}, "features extractor"),
        "unknown": ({"net.0.weight": torch.zeros(2, 3)}, "no policy that is known"),
        "torn": ({**good, "q_net.q_net.2.weight": torch.zeros(1, 5)}, "do not fit each other"),
        "lacking": ({n: t for n, t in good.items() if n != "q_net.q_net.0.bias"}, "lacks the weights"),
    }
    for name, (state, words) in cases.items():
        with pytest.raises(ModelError, match=words):
            build(request(policies.write(tmp_path / f"{name}.zip", state)))
    choices = {":type:": "<class 'gymnasium.spaces.multi_discrete.MultiDiscrete'>"}
    with pytest.raises(ModelError, match="several choices"):
        build(request(policies.write(tmp_path / "multi.zip", good, choices)))
    path = policies.write(tmp_path / "p.zip", good)
    with pytest.raises(ModelError, match="takes 3 numbers, and the data has 5"):
        build(request(path, facts={"inputs": 5}))
    with pytest.raises(ModelError, match="gives 1 numbers, and the data has 2 controls") as caught:
        build(request(path, 2))
    assert 'data.format = "environment"' in caught.value.remedy
    path.write_bytes(path.read_bytes()[:200])
    (tmp_path / "p.pkl").write_bytes(b"x")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme", "no policy")
    faults = {"p.zip": "cannot be read", "p.pkl": "pickle", "absent.zip": "no such file", "other.zip": "no policy of"}
    for name, words in faults.items():
        with pytest.raises(ModelError, match=words):
            build(request(tmp_path / name))
