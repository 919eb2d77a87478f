"""The n-th write, fsync, rename or unlink of a command fails, in whatever process: nothing is lost, and it says so."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import tiny_bundle

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The scripts, the compiled library, and a bundle that is accepted as a baseline."""
    if not BENCHMARKS.is_dir() or not sys.platform.startswith("linux"):
        pytest.skip("no checkout with benchmarks, or no Linux")
    if not (shutil.which("cc") or shutil.which("gcc")):
        pytest.skip("no C compiler")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import trust_kills
    import trust_writes

    bundle = tiny_bundle.build(tmp_path)
    base = trust_kills.Base(tmp_path, [], bundle, tmp_path, tmp_path)
    return trust_kills, trust_writes, base, trust_writes.library(tmp_path)


def broken(prepared, name: str, folder: Path, at: int, full: bool) -> tuple[int, list[str]]:
    """Exit code of a command whose call number `at` fails, and what was lost or left."""
    kills, writes, base, shim = prepared
    victim = kills.COMMANDS[name](base, folder)
    code, calls, said = writes.failing(shim, victim.command, victim.folder, at, full)
    assert "Traceback" not in said, said
    assert calls >= at, "the command has fewer calls"
    return code, kills.faults(name, victim)


@pytest.mark.parametrize(("at", "full"), [(1, True), (2, False)])
def test_a_baseline_stays_where_a_call_fails(prepared, tmp_path: Path, at: int, full: bool) -> None:
    """The first calls write the record and sync it."""
    code, faults = broken(prepared, "edgeft bench --accept", tmp_path / "broken", at, full)
    assert code == 6 and not faults


@pytest.mark.slow
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", ["edgeft bench --accept", "edgeft personalize"])
def test_nothing_is_lost_whichever_call_fails(prepared, tmp_path: Path, name: str, full: bool) -> None:
    kills, writes, base, shim = prepared
    whole = kills.COMMANDS[name](base, tmp_path / "whole")
    code, calls, said = writes.failing(shim, whole.command, whole.folder, 0, full)
    assert code in (0, 1) and calls >= 5, said

    codes = set()
    for at in range(1, calls + 1):
        code, faults = broken(prepared, name, tmp_path / str(at), at, full)
        assert code in (0, 1, 6) and not faults, (at, faults)
        codes.add(code)
    assert 6 in codes
