"""A board over ssh that builds its own engine, with a stand-in for the vendor's tool there."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
import sshd
import trtexec_stand_in

import edgeft


@pytest.mark.slow
def test_a_board_over_ssh_builds_its_engine(exported, tmp_path, monkeypatch):
    tool = trtexec_stand_in.executable(tmp_path)
    before = {*Path(tempfile.gettempdir()).glob("edgeft-engine-*")}

    with sshd.board(tmp_path, monkeypatch, {"TRTEXEC": str(tool)}) as server:
        report = edgeft.verify(exported.bundle("jetson-orin-nano"), device=server.url)

    assert report["engine"]["name"] == "TensorRT 10.3.0" and report["engine"]["outputs"] == 16
    assert json.dumps(report["gates"]).count("TensorRT 10.3.0") >= 2
    assert {*Path(tempfile.gettempdir()).glob("edgeft-engine-*")} == before, "engines are removed"
