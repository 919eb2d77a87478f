"""A bundle for a board that builds its own engine, verified with a stand-in that obeys trtexec's options and files."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import schemas
import trtexec_stand_in

from edgeft.backends.onnxruntime import trtexec
from edgeft.config import target as targets
from edgeft.core.errors import SystemFailure
from edgeft.verify.run import run

BOARD = "jetson-orin-nano"


@pytest.fixture
def tool(tmp_path, monkeypatch) -> Path:
    """The stand-in as an executable, which `TRTEXEC` names."""
    path = trtexec_stand_in.executable(tmp_path)
    monkeypatch.setenv("TRTEXEC", str(path))
    return path


@pytest.fixture
def on_board(monkeypatch) -> None:
    monkeypatch.setattr(targets, "cpu_is", lambda profile: True)


def verified(bundle: Path, **options):
    report = run(bundle, measure_latency=options.pop("timed", False), **options)
    rows = {(gate["name"], gate["metric"]): gate for gate in report["gates"]}
    assert schemas.problems("report", report) == []
    return report, rows


def test_the_boards_engine_is_built_run_and_timed(exported, tool, on_board):
    report, rows = verified(exported.bundle(BOARD), timed=True)

    compatible = rows["compatibility", "rules broken"]
    assert compatible["verdict"] == "pass" and "TensorRT 10.3.0 builds it on this board" in compatible["why"]
    assert report["unverified"] == [] and report["engine"]["name"] == "TensorRT 10.3.0"
    outputs = rows["parity", "engine"]
    assert outputs["verdict"] == "pass" and outputs["required"] and outputs["n"] == report["engine"]["outputs"] == 16
    speed = rows["latency", "speedup"]
    assert speed["required"] and speed["n"] == 8 and "not the target" not in speed["why"]
    assert report["latency"]["quads"] == 8 and "engine's own times" in report["latency"]["why"]


@pytest.mark.parametrize("version", ["8601", "101600", "110100"])
def test_options_are_those_that_a_version_knows(exported, tool, on_board, monkeypatch, version):
    monkeypatch.setenv("TRTEXEC_VERSION", version)
    _, rows = verified(exported.bundle(BOARD))
    if version == "8601":  # older parsers refuse int8 weights that are stored as integers
        assert rows["compatibility", "rules broken"]["verdict"] == "fail"
        assert "TensorRT 8.6.1 cannot read int8 weights" in rows["compatibility", "rules broken"]["why"]
    else:
        assert (
            rows["compatibility", "rules broken"]["verdict"] == "pass" and rows["parity", "engine"]["verdict"] == "pass"
        )


def test_a_refusal_fails_and_names_the_node(exported, tool, on_board, monkeypatch):
    monkeypatch.setenv("TRTEXEC_REFUSES", "Gemm")
    report, rows = verified(exported.bundle(BOARD))
    why = rows["compatibility", "rules broken"]["why"]
    assert rows["compatibility", "rules broken"]["verdict"] == report["verdict"] == "fail"
    assert "refuses the model" in why and "While parsing node" in why and "[Gemm ->" in why
    assert ("parity", "engine") not in rows and report["engine"]["refusal"]


def test_an_engine_that_computes_something_else_fails(exported, tool, on_board, monkeypatch):
    monkeypatch.setenv("TRTEXEC_WRONG", "3.0")
    report, rows = verified(exported.bundle(BOARD))
    assert rows["parity", "engine"]["verdict"] == report["verdict"] == "fail"
    monkeypatch.setenv("TRTEXEC_WRONG", "nan")
    report, rows = verified(exported.bundle(BOARD))
    assert report["verdict"] == "fail" and "does not run" in rows["compatibility", "rules broken"]["why"]


@pytest.mark.parametrize(
    "content",
    [
        '{"name": "x"}',
        '{"name": "x", "dimensions": "1xa", "values": [1]}',
        "[" * 9000,
        '{"name": "x", "values": 3}',
        "3",
    ],
)
def test_outputs_that_cannot_be_read_are_a_fail(exported, tool, on_board, monkeypatch, content):
    monkeypatch.setenv("TRTEXEC_BROKEN", content)
    report, rows = verified(exported.bundle(BOARD))
    assert report["verdict"] == "fail" and "does not run" in rows["compatibility", "rules broken"]["why"]


def test_a_builder_that_hangs_is_ended_with_what_it_started(exported, tool, on_board, tmp_path, monkeypatch):
    monkeypatch.setenv("TRTEXEC_HANGS", str(tmp_path / "process"))
    monkeypatch.setattr(trtexec, "BUILD_SECONDS", 3)
    _, rows = verified(exported.bundle(BOARD))
    assert "did not end within 3 s" in rows["compatibility", "rules broken"]["why"]
    status = Path("/proc", (tmp_path / "process").read_text(), "stat")
    assert not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_a_disk_that_is_full_is_no_verdict(exported, tool, on_board, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(trtexec, "build", refuse)
    with pytest.raises(SystemFailure, match="No space left"):
        verified(exported.bundle(BOARD))


def test_an_engine_slower_than_float_is_named(exported, tool, on_board, monkeypatch):
    monkeypatch.setenv("TRTEXEC_SLOW", "50")
    _, rows = verified(exported.bundle(BOARD), timed=True)
    speed = rows["latency", "speedup"]
    assert speed["quantized"] < 0.5 and "slower than float" in speed["why"] and speed["limit"] == 0


def test_another_machines_compiler_decides_nothing(exported, tool, monkeypatch):
    monkeypatch.setenv("TRTEXEC_WRONG", "3.0")
    report, rows = verified(exported.bundle(BOARD))
    assert "not the board, TensorRT 10.3.0 builds it" in rows["compatibility", "rules broken"]["why"]
    assert rows["compatibility", "rules broken"]["verdict"] == "unverified" and report["unverified"]
    assert rows["parity", "engine"]["verdict"] == "advisory" and not report["engine"]["on_board"]


def test_nothing_is_asked_where_there_is_no_tool(exported, tmp_path, monkeypatch):
    monkeypatch.setenv("TRTEXEC", str(tmp_path / "absent"))
    report, rows = verified(exported.bundle(BOARD))
    assert "engine" not in report and ("parity", "engine") not in rows
