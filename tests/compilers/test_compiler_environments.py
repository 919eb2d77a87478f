"""Environments of compilers: what is refused, what is damaged, and a compiler that does not behave."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest
import stand_in

from edgeft import compilers
from edgeft.cli.entry import run as main
from edgeft.compilers import compilation, environment
from edgeft.compilers.call import CompilerStopped, call
from edgeft.compilers.compiler import Compiler, together
from edgeft.config import target
from edgeft.config.target import Target
from edgeft.core import progress
from edgeft.core.errors import InvalidInput, Missing, UsageError
from edgeft.devices import known


@pytest.fixture(scope="module")
def badly(tmp_path_factory: pytest.TempPathFactory) -> environment.Environment:
    return stand_in.environment(tmp_path_factory.mktemp("stand_in"))


def compiled(badly: environment.Environment, how: str, folder: Path) -> compilers.Compilation:
    profile = Target(name="board", title="a board", compiler="badly", compile={"how": how})
    artifact = folder / "model.onnx"
    artifact.write_bytes(b"")
    made = folder / "made"
    return compilation.asked(badly, profile, artifact, made)[0]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("signal", "ended by signal SIGSEGV"),
        ("exit", "exit code 3 and no answer"),
        ("raise", "no such kernel"),
        ("refuse", "CONV_2D at 'conv_3': scale of 0"),
        ("partial", "ended by signal SIGKILL"),
        ("absent", "Badly says that it wrote 'weights.bin', which is not there"),
        ("climb", "Badly says that it wrote '../job.json', which points outside the folder"),
        ("empty", "Badly says that it wrote 'model.bin', which is empty"),
        ("silent", "Badly says that it compiled the model and names no file"),
    ],
)
def test_what_a_compiler_ends_in_is_a_refusal_with_its_reason(badly, tmp_path: Path, how: str, words: str):
    made = compiled(badly, how, tmp_path)
    assert not made.accepted and words in str(made.refusal)
    assert not (tmp_path / "made").exists()


def test_a_package_that_is_gone_is_missing(badly, tmp_path: Path):
    with pytest.raises(Missing, match="a_package_that_is_not_there"):
        compiled(badly, "import", tmp_path)


def test_a_compiler_that_hangs_is_stopped_with_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    slow = stand_in.environment(tmp_path, seconds=2.0)
    monkeypatch.setenv("BADLY_PID", str(tmp_path / "pid"))
    job = {"model": "m", "folder": str(tmp_path), "settings": {"how": "hang"}}
    with pytest.raises(CompilerStopped, match="did not end within 2 s and was stopped, after printing 'compiling m'"):
        call(slow.python, slow.compiler, "compile", job, seconds=2.0)
    child = Path("/proc") / (tmp_path / "pid").read_text() / "stat"
    end = time.monotonic() + 20.0  # a busy machine takes a while to deliver a signal
    while _runs(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _runs(child), "it outlived its compiler"


def _runs(stat: Path) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_only_what_a_compiler_lists_comes_into_the_folder(badly, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    made = compiled(badly, "litter", tmp_path)
    assert made.accepted and made.files == ("model.bin",)
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["model.bin"]
    assert not (tmp_path / "beside.txt").exists()


def test_a_record_pins_its_packages():
    with pytest.raises(InvalidInput, match="is not pinned"):
        Compiler(name="loose", title="Loose", module="loose", requirements=("loose>=1",), versions=("1",))


def test_a_compiler_is_named_by_itself_or_by_a_target():
    assert environment.named("compile:vela") == environment.named("compile:imx93") == compilers.get("vela")
    with pytest.raises(UsageError, match="edgetpu_compiler, cannot be run"):
        environment.named("compile:coral")
    with pytest.raises(UsageError, match="rpi5 has no compiler"):
        environment.named("compile:rpi5")
    with pytest.raises(UsageError, match="did you mean 'vela'"):
        environment.named("compile:vella")


def test_settings_are_those_of_the_compiler():
    vela = compilers.get("vela")
    with pytest.raises(InvalidInput, match="no setting 'core'"):
        vela.settings_of({"core": "ethos-u65-256"}, "board")
    with pytest.raises(InvalidInput, match="does not take accelerator = 'ethos-u66-256'"):
        vela.settings_of({"accelerator": "ethos-u66-256"}, "board")


def test_every_profile_with_a_known_compiler_has_its_settings():
    for profile in map(target.load, target.names()):
        record = compilers.of_target(profile.compiler)
        assert not profile.compile or record is not None, profile.name
        if record is not None:
            record.settings_of(profile.compile, profile.name)


def test_a_profile_is_verified_by_the_compiler_that_it_names_in_a_known_version():
    for profile in map(target.load, target.names()):
        record = compilers.of_target(profile.compiler)
        known_versions = {f"{record.title} {version}" for version in record.versions} if record else set()
        assert profile.verified_by in {"", *known_versions}, profile.name


def test_an_environment_that_is_gone_or_of_another_version_is_missing(nothing_set_up: Path):
    vela = compilers.get("vela")
    assert environment.installed(vela) is None

    record = {"python": str(nothing_set_up / "python"), "version": "5.2.0", "requirements": list(vela.requirements)}
    known.write("compile:vela", record)
    with pytest.raises(Missing, match="does not exist") as error:
        environment.installed(vela)
    assert error.value.remedy == "edgeft device setup compile:vela"

    known.write("compile:vela", {**record, "python": sys.executable, "requirements": ["ethos-u-vela==9.9"]})
    with pytest.raises(Missing, match=r"this edgeft knows 5\.2\.0"):
        environment.installed(vela)


def test_an_installation_that_fails_leaves_nothing(nothing_set_up: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    lines: list[str] = []
    shown = progress.shown(lines.append, interval=0.0, wait=lambda ended, seconds: ended.wait(min(seconds, 0.02)))
    with shown, pytest.raises(Missing) as error:
        environment.setup(compilers.get("vela"), say=lines.append)
    assert lines[0] == "Vela: making an environment, about 0.1 GB, with ethos-u-vela==5.2.0"
    assert lines[1].startswith("compile:vela: installing packages: running for")
    assert "ethos-u-vela" in error.value.message
    assert not list((nothing_set_up / "cache").rglob("*vela*")) and known.read("compile:vela") is None


def test_another_python_is_asked_for_by_its_version(nothing_set_up: Path):
    old = Compiler("old", "Old", "edgeft.compilers.vela", ("old==1.0",), ("1.0",), pythons=((3, 6), (3, 8)))
    with pytest.raises(Missing, match=r"has wheels for Python 3\.6 to 3\.8, this is"):
        environment.setup(old)
    with pytest.raises(Missing, match="no Python that starts"):
        environment.setup(compilers.get("vela"), python=os.devnull)


def test_targets_are_listed_with_the_state_of_their_compiler(nothing_set_up: Path, capfd: pytest.CaptureFixture[str]):
    assert main(["targets", "list", "--json"]) == 0
    state_of = {t["name"]: t["compiler_state"] for t in json.loads(capfd.readouterr().out)["targets"]}
    assert (state_of["imx93"], state_of["coral"], state_of["rpi5"]) == ("not set up", "not run", "")
    assert state_of["jetson-orin-nano"] == "on the board", "`edgeft verify` has it build the engine"
    assert main(["targets", "list"]) == 0
    listed = capfd.readouterr().out
    assert "vela (not set up)" in listed and "trtexec (on the board)" in listed
    assert "edgetpu_compiler (not run by edgeft)" in listed
    columns = {line.split()[0]: line for line in listed.splitlines()}
    assert "Vela 5.2.0" in columns["imx93"] and "LiteRT alone" in columns["coral"] and "alone" not in columns["rpi5"]
    assert main(["device", "check", "compile:vela"]) == 4
    assert "edgeft device setup compile:vela" in capfd.readouterr().err


def test_several_graphs_are_weighted_by_their_operations():
    first = compilers.Compilation("c", "1", coverage_ops=1.0, coverage_macs=1.0, operations=30, macs=900)
    second = compilers.Compilation(
        "c", "1", coverage_ops=0.5, coverage_macs=0.0, operations=10, macs=100, estimate={"sram_bytes": 4.0}
    )
    both = together({"encoder": first, "step": second})
    assert (both.coverage_ops, both.coverage_macs, both.estimate) == (0.875, 0.9, {"sram_bytes": 4.0})
    refused = compilers.Compilation("c", "1", refusal=compilers.Refusal("no"))
    assert not together({"encoder": first, "step": refused}).accepted
