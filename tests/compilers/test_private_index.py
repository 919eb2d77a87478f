"""`edgeft device setup compile:...` where packages come from a private index that pip's own configuration names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import obedient
import pytest

from edgeft.cli.entry import run as main
from edgeft.devices import known

SETUP = ["device", "setup", "compile:obedient"]


@pytest.fixture
def index(nothing_set_up: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[obedient.Index]:
    with obedient.served("1.0") as served:
        obedient.configure_pip(nothing_set_up / "pip", served, monkeypatch)
        yield served


def left(folder: Path) -> list[str]:
    """What stands below the user's cache, and the record of the device."""
    record = ["record"] if known.read("compile:obedient") else []
    return [str(path) for path in (folder / "cache").rglob("*obedient*")] + record


def test_a_compiler_is_installed_from_the_index_of_pips_configuration(
    index: obedient.Index, nothing_set_up: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    obedient.record(nothing_set_up / "site", monkeypatch)
    assert main([*SETUP, "--json"]) == 0
    answer = json.loads(capfd.readouterr().out)
    assert answer["version"] == "1.0" and answer["packages"] == {"obedient": "1.0"}
    assert Path(answer["python"]).is_relative_to(nothing_set_up / "cache")
    assert "/simple/obedient/" in index.asked and "/files/obedient-1.0-py3-none-any.whl" in index.asked

    before = list(index.asked)
    assert main([*SETUP]) == 0 and main(["device", "check", "compile:obedient"]) == 0
    assert index.asked == before, "what is there is not installed again"


@pytest.mark.parametrize(
    ("pinned", "harm", "message"),
    [
        ("2.0", "", "satisfies the requirement obedient==2.0 (from versions: 1.0)"),
        ("1.0", "digest", "THESE PACKAGES DO NOT MATCH THE HASHES"),
        ("1.0", "half", "obedient"),
        ("1.1", "unknown", "Obedient 1.1 is installed, this edgeft knows 1.0"),
    ],
)
def test_an_index_that_has_not_what_is_pinned_leaves_nothing(
    index: obedient.Index,
    nothing_set_up: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    pinned: str,
    harm: str,
    message: str,
) -> None:
    """No such version, another content than stated, a file that ends early, a version whose reports nobody knows."""
    (name,) = index.wheels
    if harm == "digest":
        index.digests[name] = "0" * 64
    if harm == "half":
        index.wheels[name] = index.wheels[name][:200]
    if harm == "unknown":
        index.wheels["obedient-1.1-py3-none-any.whl"] = obedient.wheel("1.1")
    obedient.record(nothing_set_up / "site", monkeypatch, version=pinned)

    assert main(SETUP) == 4
    error = capfd.readouterr().err
    assert message in error and "Traceback" not in error
    assert left(nothing_set_up) == []
