"""`edgeft export --auto --device ssh://...`: the candidates made here are timed on the board, one is shipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sshd
import steering

import edgeft
from edgeft.core.errors import EdgeftError, UsageError

for _package in ("torch", "onnxruntime", "onnxscript"):
    pytest.importorskip(_package, reason=f"{_package} is not installed")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small perceptron that steers."""
    return steering.tuned(tmp_path_factory.mktemp("arm"), {"method": "ptq"})


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sshd.Server]:
    with sshd.board(tmp_path, monkeypatch) as made:
        yield made


def test_candidates_are_timed_on_the_board(run: Path, server: sshd.Server, tmp_path: Path) -> None:
    options = {"auto": True, "device": server.url, "seconds": 2.0}
    (report,) = edgeft.export(run, ["host"], tmp_path / "bundles", **options)
    choice = report["choice"]
    assert (choice["where"], choice["device"]) == ("device", server.url) and not choice["unmeasured"]
    timed = [row for row in choice["candidates"] if row["in_choice"] and not row["yardstick"]]
    assert timed and all(row["speedup"] > 0 for row in timed)
    assert choice["chosen"].startswith("onnxruntime") and edgeft.load(report["path"]).manifest["backend"]
    assert list((server.root / "bundles").iterdir()), "the board got what it timed"


def test_a_board_that_breaks_off_leaves_no_bundle(
    run: Path, server: sshd.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeft.export import fastest

    def gone(*given: object, **words: object) -> object:
        server.hang_up()
        server.process.kill()
        return whole(*given, **words)  # type: ignore[arg-type]

    whole = fastest.speed
    monkeypatch.setattr(fastest, "speed", gone)
    said: list[str] = []
    options = {"auto": True, "device": server.url, "seconds": 2.0, "say": said.append}
    (report,) = edgeft.export(run, ["host"], tmp_path / "bundles", **options)
    rows = {row["name"]: row for row in report["choice"]["candidates"]}
    assert not rows["onnxruntime int8"]["in_choice"], "a speed that was not measured"
    assert report["choice"]["chosen"] == "onnxruntime fp32", "float is shipped where nothing was timed"
    assert any("could not be measured" in line for line in said), said


def test_another_kind_of_board_is_refused_before_anything_is_made(
    run: Path, server: sshd.Server, tmp_path: Path
) -> None:
    said: list[str] = []
    with pytest.raises(UsageError, match="has the instruction set"):
        edgeft.export(run, ["rpi5"], tmp_path / "bundles", auto=True, device=server.url, say=said.append)
    assert not any("calibrating" in line or "verifying" in line for line in said), said
    assert not (tmp_path / "bundles").exists()
    with pytest.raises(EdgeftError, match="is not set up"):
        edgeft.export(run, ["host"], tmp_path / "bundles", auto=True, device="ssh://nobody@127.0.0.1:9")
    assert not (tmp_path / "bundles").exists()
