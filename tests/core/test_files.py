"""Files are whole or absent, and paths stay inside their folder."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeft.core import files
from edgeft.core.errors import BundleError, SystemFailure, UsageError


def everything(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    files.write_text(path, "one")
    files.write_text(path, "zwei ü")
    assert path.read_text(encoding="utf-8") == "zwei ü"
    assert everything(path.parent) == ["b.txt"]


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    files.write_bytes(path, b"old")

    def full(temporary: Path) -> None:
        temporary.write_bytes(b"ha")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(SystemFailure) as caught:
        files.write_with(path, full)
    assert caught.value.exit_code == 6
    assert "No space left" in caught.value.message
    assert caught.value.where == str(path)
    assert path.read_bytes() == b"old"
    assert everything(tmp_path) == ["model.bin"]

    def broken(temporary: Path) -> None:
        temporary.write_bytes(b"ha")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        files.write_with(path, broken)
    assert everything(tmp_path) == ["model.bin"]


def test_a_kill_before_the_rename_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.json"
    files.write_json(path, {"a": 1})

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        files.write_json(path, {"a": 2})
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert everything(tmp_path) == ["summary.json"]


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The calls of fsync and rename in their order, each with the inode of what it is about."""
    noted: list[tuple[str, int]] = []
    fsync, replace, rename = os.fsync, os.replace, os.rename

    def noting_fsync(handle: int) -> None:
        noted.append(("fsync", os.fstat(handle).st_ino))
        fsync(handle)

    def noting(move: Any) -> Any:
        def moved(source: Path, place: Path) -> None:
            noted.append(("replace", os.stat(source).st_ino))
            move(source, place)

        return moved

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "replace", noting(replace))
    monkeypatch.setattr(os, "rename", noting(rename))
    return noted


def test_a_file_is_on_the_disk_before_it_takes_its_name(tmp_path: Path, events: list[tuple[str, int]]) -> None:
    """Otherwise a power cut may leave the new name with nothing behind it."""
    files.write_text(tmp_path / "x", "1")
    file, folder = os.stat(tmp_path / "x").st_ino, os.stat(tmp_path).st_ino
    assert events == [("fsync", file), ("replace", file), ("fsync", folder)]


def test_a_folder_is_on_the_disk_before_it_takes_its_name(tmp_path: Path, events: list[tuple[str, int]]) -> None:
    staging, final = staged(tmp_path)
    (staging / "inner").mkdir()
    (staging / "inner" / "deep").write_text("deep")
    files.publish(staging, final)
    inside = {os.stat(path).st_ino for path in (final, *final.rglob("*"))}
    assert len(inside) == 4 and {inode for _, inode in events[:4]} == inside
    assert events[4:] == [("replace", os.stat(final).st_ino), ("fsync", os.stat(tmp_path).st_ino)]


def test_contents_are_on_the_disk_before_they_take_their_names(tmp_path: Path, events: list[tuple[str, int]]) -> None:
    with files.whole_out(tmp_path / "out", overwrite=False) as staging:
        (staging / "a").write_text("a")
        (staging / "b").mkdir()
        (staging / "b" / "c").write_text("c")
    inode = {name: os.stat(tmp_path / "out" / name).st_ino for name in ("a", "b", "b/c")}
    moved = events.index(next(event for event in events if event[0] == "replace"))
    assert set(inode.values()) <= {number for kind, number in events[:moved] if kind == "fsync"}
    assert events[-1] == ("fsync", os.stat(tmp_path / "out").st_ino)


def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def refuse(code: int) -> None:
        def fsync(handle: int) -> None:
            if os.path.isdir(f"/proc/self/fd/{handle}"):
                raise OSError(code, os.strerror(code))
            real(handle)

        monkeypatch.setattr(os, "fsync", fsync)

    refuse(errno.EINVAL)
    files.write_text(tmp_path / "x", "1")
    assert (tmp_path / "x").read_text() == "1"
    refuse(errno.EIO)
    with pytest.raises(SystemFailure):
        files.write_text(tmp_path / "y", "1")


def test_json_is_strict(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "r.json", {"x": float("nan")})
    assert everything(tmp_path) == []


@given(st.binary(max_size=3000))
def test_sha256(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("hash") / "f"
    files.write_bytes(path, data)
    assert files.sha256(path) == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("name", ["model.onnx", "baseline/model.bin", "a..b", "...", "./x", "a//b"])
def test_inside_takes_what_stays_inside(tmp_path: Path, name: str) -> None:
    assert files.inside(tmp_path, name).resolve().is_relative_to(tmp_path.resolve())


@pytest.mark.parametrize(
    "name", ["", ".", "./", "/etc/passwd", "..", "../x", "a/../../x", "a/..", "..\\x", "a\x00b", "//server/x"]
)
def test_inside_refuses_what_leaves(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError) as caught:
        files.inside(tmp_path, name)
    assert caught.value.exit_code == 3


def test_inside_refuses_links_that_leave_or_circle(tmp_path: Path) -> None:
    root = tmp_path / "bundle"
    root.mkdir()
    (root / "out").symlink_to(tmp_path)
    (root / "here").symlink_to(root)
    (root / "circle").symlink_to("circle")
    with pytest.raises(BundleError, match="through a link"):
        files.inside(root, "out/secret")
    assert files.inside(root, "here/model") == root / "here" / "model"
    try:
        assert files.inside(root, "circle/x").parts[-1] == "x"  # Python 3.13 no longer objects: it opens nothing
    except BundleError as error:
        assert "cannot be followed" in error.message


@given(st.text(max_size=20))
def test_inside_of_anything_stays_inside_or_is_refused(name: str) -> None:
    root = Path("/nowhere/at/all")
    try:
        path = files.inside(root, name)
    except BundleError:
        return
    assert path != root
    assert os.path.normpath(path).startswith("/nowhere/at/all/")


def test_claim_out(tmp_path: Path) -> None:
    assert files.claim_out(tmp_path / "new" / "deep", overwrite=False).is_dir()
    assert files.claim_out(tmp_path / "new" / "deep", overwrite=False).is_dir()
    (tmp_path / "new" / "deep" / "x").write_text("")
    with pytest.raises(UsageError, match="not empty") as caught:
        files.claim_out(tmp_path / "new" / "deep", overwrite=False)
    assert caught.value.exit_code == 2
    assert "--overwrite" in caught.value.remedy
    assert files.claim_out(tmp_path / "new" / "deep", overwrite=True) == tmp_path / "new" / "deep"
    (tmp_path / "file").write_text("")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="not a folder"):
            files.claim_out(tmp_path / "file", overwrite=overwrite)
    with pytest.raises(SystemFailure):
        files.claim_out(tmp_path / "file" / "below", overwrite=False)


def test_claim_out_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(SystemFailure, match="ermission denied"):
        files.claim_out(tmp_path / "a", overwrite=False)

    def closed(self: Path) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", closed)
    with pytest.raises(SystemFailure, match="Permission denied"):
        files.claim_out(tmp_path, overwrite=False)


def staged(tmp_path: Path) -> tuple[Path, Path]:
    staging, final = tmp_path / ".staging", tmp_path / "bundle"
    staging.mkdir()
    (staging / "new").write_text("new")
    return staging, final


def test_publish_new_empty_and_old(tmp_path: Path) -> None:
    for prepare in ("absent", "empty", "old"):
        room = tmp_path / prepare
        room.mkdir()
        staging, final = staged(room)
        if prepare != "absent":
            final.mkdir()
        if prepare == "old":
            (final / "old").write_text("old")
        files.publish(staging, final)
        assert everything(final) == ["new"]
        assert everything(room) == ["bundle"]


def test_a_publish_that_fails_puts_the_old_folder_back(tmp_path: Path) -> None:
    final = tmp_path / "bundle"
    final.mkdir()
    (final / "old").write_text("old")
    with pytest.raises(SystemFailure):
        files.publish(tmp_path / "never-made", final)
    assert everything(final) == ["old"]
    assert everything(tmp_path) == ["bundle"]


def test_an_old_folder_stays_where_its_replacement_cannot_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out" / "part").mkdir(parents=True)
    (tmp_path / "out" / "part" / "old").write_text("old")
    replace = os.replace

    def refusing(source: Path, place: Path) -> None:
        if Path(source).parent.suffix == ".tmp":
            raise OSError(errno.EIO, "Input/output error")
        replace(source, place)

    monkeypatch.setattr(os, "replace", refusing)
    with pytest.raises(SystemFailure), files.whole_out(tmp_path / "out", overwrite=True) as staging:
        (staging / "part").mkdir()
        (staging / "part" / "new").write_text("new")
    assert everything(tmp_path / "out") == ["part"] and everything(tmp_path / "out" / "part") == ["old"]
