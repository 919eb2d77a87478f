"""Weights that torchvision and timm publish: from an address or the hub, with the servers of the tests."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import errno
import hashlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import hub_server
import pytest
import torch
from safetensors.torch import save_file

from edgeft import models
from edgeft.config import recipe
from edgeft.core import once
from edgeft.core.errors import Missing, ModelError, RecipeError, SystemFailure
from edgeft.models import Built, ModelRequest, by_url

CONTENT = bytes(range(256)) * 12_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = f"net-{DIGEST[:8]}.pth"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_server.Hub]:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with hub_server.running() as hub:
        hub_server.use(hub, tmp_path, monkeypatch)
        hub.published(NAME, CONTENT)
        yield hub


def cached(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "torch").rglob("*") if path.is_file())


def test_a_file_comes_once_with_permission(server: hub_server.Hub, tmp_path: Path) -> None:
    url = server.published(NAME, CONTENT)
    with pytest.raises(Missing, match="net of acme is not on this machine") as caught:
        by_url.fetch(url, "net of acme", allow=False)
    assert caught.value.option == "--allow-download" and url in caught.value.remedy
    assert str(tmp_path / "torch" / "hub" / "checkpoints" / NAME) in caught.value.remedy and server.requests == []

    path, digest = by_url.fetch(url, "net of acme", allow=True)
    assert path.read_bytes() == CONTENT and digest == DIGEST and cached(tmp_path) == [NAME]
    assert by_url.fetch(url, "net of acme", allow=False) == (path, digest) and len(server.requests) == 1


def test_a_transfer_goes_on_where_it_broke_off(server: hub_server.Hub, tmp_path: Path) -> None:
    server.truncate[NAME] = [1_500_000, 700_000]
    path, _ = by_url.fetch(server.published(NAME, CONTENT), "net", allow=True)
    assert path.read_bytes() == CONTENT and cached(tmp_path) == [NAME]
    assert [text for _, _, text in server.requests] == ["", "bytes=1500000-", "bytes=2200000-"]


def test_what_does_not_come_whole_leaves_nothing(server: hub_server.Hub, tmp_path: Path) -> None:
    url = server.published(NAME, CONTENT)
    server.truncate[NAME] = [1_500_000, *[0] * 20]
    with pytest.raises(SystemFailure, match=r"could not be downloaded \(it ended after 1500000 bytes") as caught:
        by_url.fetch(url, "net", allow=True)
    assert caught.value.exit_code == 6 and cached(tmp_path) == []

    server.truncate.clear()
    server.replaced[NAME] = CONTENT[::-1]
    with pytest.raises(ModelError, match="its digest is another one"):
        by_url.fetch(url, "net", allow=True)
    assert cached(tmp_path) == []

    server.down = 503
    with pytest.raises(SystemFailure, match="HTTP 503"):
        by_url.fetch(url, "net", allow=True)
    server.down = 404
    with pytest.raises(ModelError, match="HTTP 404"):
        by_url.fetch(url, "net", allow=True)
    with pytest.raises(SystemFailure, match="refused"):
        by_url.fetch(f"http://127.0.0.1:9/{NAME}", "net", allow=True)  # where nobody listens
    assert cached(tmp_path) == []


def test_a_second_process_takes_what_the_first_one_brings(server: hub_server.Hub, tmp_path: Path) -> None:
    url, path = server.published(NAME, CONTENT), tmp_path / "torch" / "hub" / "checkpoints" / NAME
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with once.alone(path):
            left = path.with_name(f".{NAME}.0123abcd.tmp")
            left.write_bytes(b"of a process that was killed")
            fetched = pool.submit(by_url.fetch, url, "net", allow=True)
            lock = path.with_name(f".{NAME}.lock")
            while opened(lock) < 2 and not server.requests:
                assert not fetched.done()
            path.write_bytes(CONTENT)
        assert fetched.result() == (path, DIGEST) and server.requests == []
    assert cached(tmp_path) == [NAME]


def opened(path: Path) -> int:
    """How many descriptors of this process are of a file."""
    names = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            names.append(os.readlink(link))
    return names.count(str(path))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", ["replace", "fsync", "write"])
def test_a_disk_that_refuses_leaves_nothing(
    server: hub_server.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(code, os.strerror(code))

    patched = {"replace": Path, "fsync": os, "write": by_url}[call]
    monkeypatch.setattr(patched, "_write" if call == "write" else call, refuse)
    with pytest.raises(SystemFailure, match=f"could not write: {os.strerror(code)}"):
        by_url.fetch(server.published(NAME, CONTENT), "net", allow=True)
    assert cached(tmp_path) == []


def build(source: str, name: str, weights: str, allow: bool = False) -> Built:
    torch.manual_seed(3)
    model = recipe.Model(source=source, name=name, weights=weights)
    return models.build(ModelRequest(model, "classify", 1000, allow_download=allow))


@pytest.mark.parametrize("source", ["torchvision", "timm"])
def test_without_the_package_the_message_installs_it(source: str) -> None:
    if importlib.util.find_spec(source):
        pytest.skip(f"{source} is installed")
    with pytest.raises(Missing, match=r"pip install .*vision") as caught:
        build("builtin", "mobilenet_v2", f"{source}:DEFAULT")
    assert caught.value.exit_code == 4


@pytest.mark.peer("torchvision")
def test_published_weights_of_torchvision(
    server: hub_server.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import models as published

    net = published.mobilenet_v3_small(weights=None)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    digest = hashlib.sha256((tmp_path / "net.pth").read_bytes()).hexdigest()
    member = published.MobileNet_V3_Small_Weights.IMAGENET1K_V1
    url = server.published(f"small-{digest[:8]}.pth", tmp_path / "net.pth")
    monkeypatch.setattr(member, "_value_", dataclasses.replace(member.value, url=url))

    with pytest.raises(Missing, match="is not on this machine"):
        build("torchvision", "mobilenet_v3_small", "torchvision:DEFAULT")
    built = build("torchvision", "mobilenet_v3_small", "torchvision:DEFAULT", allow=True)
    name = "torchvision:MobileNet_V3_Small_Weights.IMAGENET1K_V1"
    assert built.origin == models.Origin(name, {f"small-{digest[:8]}.pth": digest}) and built.pretrained
    assert torch.equal(built.module.state_dict()["classifier.3.weight"], net.state_dict()["classifier.3.weight"])
    assert build("torchvision", "mobilenet_v3_small", name).origin == built.origin
    with pytest.raises(RecipeError, match="did you mean 'IMAGENET1K_V1'"):
        build("torchvision", "mobilenet_v3_small", "torchvision:IMAGENET1K_V3")
    with pytest.raises(RecipeError, match=r"did you mean 'ResNet18_Weights\.IMAGENET1K_V1'"):
        build("torchvision", "resnet18", "torchvision:ResNet18_Weight.IMAGENET1K_V1")
    with pytest.raises(RecipeError, match="in full"):
        build("builtin", "resnet8", "torchvision:DEFAULT")


@pytest.mark.peer("timm")
def test_published_weights_of_timm(server: hub_server.Hub, tmp_path: Path) -> None:
    import timm

    name, tag = "mobilenetv4_conv_small_050", "e3000_r224_in1k"
    net = timm.create_model(name, pretrained=False)
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    files = {"model.safetensors": tmp_path / "model.safetensors", "config.json": b"{}"}
    commit = server.repository(f"timm/{name}.{tag}", files).refs["main"]

    with pytest.raises(Missing, match="nothing is downloaded"):
        build("timm", name, "timm:DEFAULT")
    built = build("timm", f"{name}.{tag}", "timm:DEFAULT", allow=True)
    assert built.origin is not None and built.origin.weights == f"timm:{tag}@{commit}" and built.pretrained
    assert torch.equal(built.module.state_dict()["conv_stem.weight"], net.state_dict()["conv_stem.weight"])
    server.requests.clear()
    for weights in (built.origin.weights, f"timm:{name}.{tag}@{commit}"):
        assert build("timm", name, weights).origin == built.origin
    assert server.requests == []
    with pytest.raises(RecipeError, match="did you mean 'e3000_r224_in1k'"):
        build("timm", name, "timm:e3000_r24_in1k", allow=True)
    with pytest.raises(RecipeError, match="did you mean 'mobilenetv4_conv_small_050'"):
        build("timm", "mobilenetv4_conv_small_05", "timm:DEFAULT")
