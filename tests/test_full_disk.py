"""A disk that is full or broken at one of the calls that write: exit code 6, and every file is whole or absent."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeft import gate
from edgeft.core.errors import SystemFailure
from edgeft.trust import environment


def refuse(patch: pytest.MonkeyPatch, name: str, call: int, code: int) -> list[int]:
    """Let the `call`-th call of a function of `os` fail; the calls so far."""
    calls: list[int] = []
    real: Callable[..., object] = getattr(os, name)

    def counted(*arguments: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == call:
            raise OSError(code, os.strerror(code))
        return real(*arguments, **options)

    patch.setattr(os, name, counted)
    return calls


@pytest.mark.parametrize(("name", "code"), [("fsync", errno.EIO), ("replace", errno.ENOSPC)])
def test_the_folder_of_a_gate(name: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each call in turn, until one is made whose number is beyond the last."""
    for call in range(1, 20):
        folder = tmp_path / f"{call}"
        folder.mkdir()
        with monkeypatch.context() as patch:
            calls = refuse(patch, name, call, code)
            try:
                gate.write(folder, [], [])
            except SystemFailure as error:
                assert error.exit_code == 6 and "could not write" in error.message
            else:
                assert len(calls) < call
        left = sorted(path.name for path in folder.iterdir())
        assert not [left_name for left_name in left if left_name.endswith(".tmp")]
        if gate.RESULTS in left:
            assert json.loads((folder / gate.RESULTS).read_text()) == {"reports": [], "bench": []}
        if len(calls) < call:
            assert call > 4 and gate.PAGE in left
            return
    raise AssertionError("it never ended")


def test_the_request_of_a_signature_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(SystemFailure, match="No space left"):
        environment._request({"bundle": "b"})
    assert list(tmp_path.iterdir()) == []
