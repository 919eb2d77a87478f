from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tiny_bundle

from edgeft.bundle import reader as bundle
from edgeft.core.errors import BundleError, InvalidInput, SystemFailure
from edgeft.measure import store

HERE: dict[str, Any] = {"cpu": "Cortex-A72", "isa": "aarch64", "flags": ["asimd"], "cores": 4}
THERE = {**HERE, "cpu": "Cortex-A76"}


@pytest.fixture
def opened(tmp_path: Path) -> bundle.Bundle:
    return bundle.open(tiny_bundle.build(tmp_path))


def test_what_was_accepted_is_found_whole(opened: bundle.Bundle, tmp_path: Path):
    root = tmp_path / "store"
    assert store.find(root, opened, HERE) is None
    (opened.path / "state.npz").write_bytes(b"learned on a device")
    name = store.accept(root, opened, HERE, {"p50_ms": 1.5})
    shutil.rmtree(opened.path)  # the copy stands alone
    found = store.find(root, opened, HERE)
    assert found is not None and not found.cross_host
    assert found.path.name == name and found.record["p50_ms"] == 1.5
    assert store.digest(bundle.open(found.path)) == name
    assert not (found.path / "state.npz").exists()
    assert not list((root / "objects").glob(".*")), "nothing half-written stays"


def test_the_same_content_is_kept_once(opened: bundle.Bundle, tmp_path: Path):
    root = tmp_path / "store"
    assert store.accept(root, opened, HERE) == store.accept(root, opened, THERE)
    assert len(list((root / "objects").iterdir())) == 1
    assert len(list((root / "accepted").glob("*/*.json"))) == 2


def test_a_baseline_of_another_host_is_refused_unless_asked_for(opened: bundle.Bundle, tmp_path: Path):
    root = tmp_path / "store"
    store.accept(root, opened, THERE)
    with pytest.raises(InvalidInput, match=r"another kind of machine \(Cortex-A76; this is Cortex-A72\)"):
        store.find(root, opened, HERE)
    found = store.find(root, opened, HERE, cross_host=True)
    assert found is not None and found.cross_host


def test_a_damaged_store_is_named(opened: bundle.Bundle, tmp_path: Path):
    root = tmp_path / "store"
    store.accept(root, opened, HERE)
    pointer = next((root / "accepted").glob("*/*.json"))
    good = pointer.read_text()
    for bad in ("{", "[]", "{}", json.dumps({"object": "../../etc"}), ""):
        pointer.write_text(bad)
        with pytest.raises(BundleError) as caught:
            store.find(root, opened, HERE)
        assert str(pointer) in str(caught.value)
    pointer.write_text(good)
    found = store.find(root, opened, HERE)
    assert found is not None
    (found.path / "model.tflite").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"model\.tflite"):
        bundle.open(found.path)


def _accept(place: str, root: str) -> None:
    for _ in range(5):
        store.accept(Path(root), bundle.open(Path(place)), HERE)
        store.remember(Path(root), {"pid": os.getpid(), "padding": "x" * 300})


def test_two_jobs_at_once_leave_whole_files(opened: bundle.Bundle, tmp_path: Path):
    root = tmp_path / "store"
    context = multiprocessing.get_context("spawn")
    jobs = [context.Process(target=_accept, args=(str(opened.path), str(root))) for _ in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
        assert job.exitcode == 0
    found = store.find(root, opened, HERE)
    assert found is not None and bundle.open(found.path)
    assert len(store.history(root)) == 15
    assert len(list((root / "objects").iterdir())) == 1


def test_history_survives_a_torn_line(tmp_path: Path):
    store.remember(tmp_path, {"n": 1})
    with (tmp_path / "history.jsonl").open("ab") as handle:
        handle.write(b'{"n": 2, "torn')
    store.remember(tmp_path, {"n": 3})
    assert [entry["n"] for entry in store.history(tmp_path)] == [1, 3]
    assert all(entry["at"].endswith("Z") for entry in store.history(tmp_path))


def test_the_spread_of_a_host(tmp_path: Path):
    assert store.spread(tmp_path, HERE, "litert", 1) is None
    path = store.keep_spread(tmp_path, HERE, "litert", 1, {"spread": 0.013})
    assert store.spread(tmp_path, HERE, "litert", 1) == 0.013
    assert store.spread(tmp_path, HERE, "litert", 2) is None
    assert store.spread(tmp_path, THERE, "litert", 1) is None
    path.write_text('{"spread": "wide"}')
    with pytest.raises(BundleError, match="calibrate again"):
        store.spread(tmp_path, HERE, "litert", 1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_store_is_an_error(opened: bundle.Bundle, tmp_path: Path):
    root = tmp_path / "store"
    root.mkdir(mode=0o500)
    with pytest.raises(SystemFailure):
        store.accept(root, opened, HERE)


def test_a_line_of_which_the_disk_takes_a_part_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store.remember(tmp_path, {"verdict": "pass"})
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:5]))
    with pytest.raises(SystemFailure, match="No space left"):
        store.remember(tmp_path, {"verdict": "fail"})
    monkeypatch.undo()
    store.remember(tmp_path, {"verdict": "pass", "n": 2})
    assert [entry["verdict"] for entry in store.history(tmp_path)] == ["pass", "pass"]
