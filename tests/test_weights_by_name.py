"""Weights by name on the command line: permission, pins in the run and the manifest, a run that is repeated offline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import hub_server
import pytest
import shapes_run

from edgeft.cli.entry import run as command
from edgeft.config import recipe

FILE = "model.safetensors"


@dataclass(frozen=True)
class Published:
    """A repository of the hub that the test serves, and the file of its weights."""

    hub: hub_server.Hub
    commit: str
    digest: str


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Published]:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    from edgeft.models.nets.resnet import ResNet8

    torch.manual_seed(0)
    save_file(ResNet8(10).state_dict(), tmp_path / FILE)
    with hub_server.running() as hub:
        hub_server.use(hub, tmp_path, monkeypatch)
        commit = hub.repository("acme/resnet8", {FILE: tmp_path / FILE, "config.json": b"{}"}, "v1").refs["v1"]
        yield Published(hub, commit, hub_server.digests_of(tmp_path / FILE)[0])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def write_recipe(data: Path, **model: object) -> Path:
    table = shapes_run.recipe_of(
        data,
        model={"weights": "hub:acme/resnet8@v1", **model},
        train={"epochs": 20, "batch_size": 12},
        export={"targets": ["host"]},
        gates={"max_drop": 0.1},
    )
    Path("in.toml").write_text(recipe.dumps(recipe.from_table(table, "the test")))
    return Path("in.toml")


def test_nothing_comes_without_permission_and_the_command_is_said(
    published: Published, here: Path, small: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_recipe(small)
    for words in (
        ["tune", "in.toml", "--out", "my run"],
        ["tune", "in.toml", "--dry-run"],
        ["targets", "check", "host", "in.toml"],
    ):
        assert command([*words, "--json"]) == 4
        streams = capfd.readouterr()
        answer = json.loads(streams.out)
        quoted = " ".join(f"'{word}'" if " " in word else word for word in words)
        assert answer["remedy"].startswith(f"edgeft {quoted} --allow-download; or set model.allow_download = true")
        assert answer["error"] == "Missing" and "acme/resnet8 (revision v1)" in answer["message"]
    assert published.hub.requests == [] and sorted(os.listdir()) == ["in.toml"]

    assert command(["tune", "in.toml", "--dry-run", "--allow-download"]) == 0
    assert command(["targets", "check", "host", "in.toml"]) == 0  # it is in the cache now
    write_recipe(small, weights="hub:acme/resnet8@v2", allow_download=True)
    assert command(["tune", "in.toml", "--dry-run"]) == 3
    assert "did you mean 'v1'?" in capfd.readouterr().err


def test_a_run_records_what_came_and_needs_no_network_afterwards(
    published: Published, here: Path, small: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_recipe(small)
    assert command(["tune", "in.toml", "--out", "run", "--allow-download", "-q"]) == 0
    model = recipe.load("run/recipe.toml").model
    assert model.weights == f"hub:acme/resnet8@{published.commit}"
    assert model.sha256[FILE] == published.digest and set(model.sha256) == {FILE, "config.json"}

    published.hub.down = 503
    published.hub.requests.clear()
    assert command(["export", "run", "--out", "bundles", "-q"]) in (0, 1)  # of 60 samples a few may flip
    manifest = json.loads(Path("bundles/host/manifest.json").read_text())
    assert manifest["provenance"]["weights"]["name"] == f"hub:acme/resnet8@{published.commit}"
    assert manifest["provenance"]["weights"]["files"][FILE] == {"sha256": published.digest}
    assert command(["tune", "--resume", "run", "-q"]) == 0
    assert command(["tune", "run/recipe.toml", "--out", "again", "-q", "--set", "quantize.method=none"]) == 0
    assert Path("again/float.safetensors").read_bytes() == Path("run/float.safetensors").read_bytes()
    assert published.hub.requests == []

    (blob,) = [path for path in (tmp_path / "cache").rglob(published.digest) if path.is_file()]
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    capfd.readouterr()
    assert command(["tune", "--resume", "run"]) == 3
    assert "its digest is another one" in capfd.readouterr().err
    assert command(["tune", "--resume", "run"]) == 4
    assert "edgeft tune --resume run --allow-download; or" in capfd.readouterr().err
    assert command(["export", "run", "--out", "more", "-q"]) in (0, 1)  # the run has its own tensors
    more = json.loads(Path("more/host/manifest.json").read_text())
    assert more["provenance"]["weights"] == manifest["provenance"]["weights"]
    assert more["integer_weights"] == manifest["integer_weights"]
    published.hub.down = 0
    assert command(["tune", "--resume", "run", "--allow-download", "-q"]) == 0


@pytest.mark.slow
def test_the_environment_of_the_hub_is_heard(published: Published, here: Path, small: Path, tmp_path: Path) -> None:
    """In processes of their own, since the client reads it once: HF_ENDPOINT, HF_HOME, HF_TOKEN, HF_HUB_OFFLINE."""
    published.hub.repositories["acme/resnet8"].token = "hf_secret"
    write_recipe(small)

    def tried(*options: str, **environment: str) -> tuple[int, str]:
        base = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        done = subprocess.run(
            [sys.executable, "-m", "edgeft", "tune", "in.toml", "--dry-run", *options],
            env={**base, "HF_ENDPOINT": published.hub.url, "HF_HOME": str(tmp_path / "home"), **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    assert tried("--allow-download")[0] == 3  # private
    code, err = tried("--allow-download", HF_TOKEN="hf_secret", HF_HUB_OFFLINE="1")
    assert code == 4 and "HF_HUB_OFFLINE is set" in err
    assert tried("--allow-download", HF_TOKEN="hf_secret")[0] == 0
    assert (tmp_path / "home" / "hub" / "models--acme--resnet8" / "snapshots" / published.commit / FILE).exists()
    assert tried(HF_HUB_OFFLINE="1")[0] == 0
