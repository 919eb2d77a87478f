"""A board over ssh that builds its own engine, with a stand-in for the vendor's tool there."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
import sshd
import trtexec_stand_in

import edgeft
from edgeft.devices import setup


@pytest.mark.slow
def test_a_board_over_ssh_builds_its_engine(exported, tmp_path, monkeypatch):
    tool = trtexec_stand_in.executable(tmp_path)
    before = {*Path(tempfile.gettempdir()).glob("edgeft-engine-*")}

    with sshd.serving(tmp_path / "server", tmp_path / "board", environment={"TRTEXEC": str(tool)}) as server:
        for key, value in server.environ.items():
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        setup.setup(server.url, python=sshd.PYTHON)
        report = edgeft.verify(exported.bundle("jetson-orin-nano"), device=server.url)

    assert report["engine"]["name"] == "TensorRT 10.3.0" and report["engine"]["outputs"] == 16
    assert json.dumps(report["gates"]).count("TensorRT 10.3.0") >= 2
    assert {*Path(tempfile.gettempdir()).glob("edgeft-engine-*")} == before, "engines are removed"
