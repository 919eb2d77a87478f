"""What every command shares: near misses, exit codes, and one JSON object on stdout whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeft.cli import entry
from edgeft.cli.entry import run
from edgeft.cli.failures import explain
from edgeft.cli.frame import Console, Outcome
from edgeft.core.errors import InternalError, SystemFailure, UsageError
from edgeft.core.strict_json import plain


def one_object(capfd: pytest.CaptureFixture[str]) -> tuple[dict, str]:
    out, err = capfd.readouterr()
    assert out.count("\n") == 1, out
    return json.loads(out), err


@pytest.mark.parametrize(
    ("argv", "answer"),
    [
        (["tune", "--ot", "x"], "did you mean '--out'?"),
        (["export", "--tarqet", "rpi5"], "did you mean '--target'?"),
        (["tun"], "did you mean 'tune'?"),
        (["targets", "shwo", "rpi5"], "did you mean 'show'?"),
        (["targets", "show", "rpi55"], "did you mean 'rpi5'?"),
        (["export", "--target", "jetsn"], "did you mean 'jetson'?"),
        (["init", "clasify"], "did you mean 'classify'?"),
        (["--versoin"], "did you mean '--version'?"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_nearest(
    argv: list[str], answer: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run([*argv, "--json"]) == 2
    found, err = one_object(capfd)
    assert found["remedy"] == answer
    assert found["error"] == "UsageError" and found["exit_code"] == 2
    assert answer in err

    assert run(argv) == 2
    out, err = capfd.readouterr()
    assert out == "" and answer in err


def test_a_command_of_a_later_version_is_unknown_like_any_other(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["fleet", "list"]) == 2
    assert "no such command 'fleet' in this version" in capfd.readouterr().err


@pytest.mark.parametrize("argv", [[], ["predict"], ["verify"], ["tune", "--set"], ["bench", "x", "--threads", "none"]])
def test_incomplete_commands_are_usage_errors(argv: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run([*argv, "--json"]) == 2
    found, _ = one_object(capfd)
    assert found["exit_code"] == 2 and found["message"] and found["remedy"]


@pytest.mark.parametrize("name", list(entry.FILES))
def test_every_command_has_help_json_and_verbosity(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run([name, "-h"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    for option in ("--json", "-v, --verbose", "-q, --quiet", "-h, --help"):
        assert option in out
    assert "..." not in out.splitlines()[2]  # the sentence of the help is whole


def test_help_and_version_as_json(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--version", "--json"]) == 0
    assert one_object(capfd)[0] == {"version": entry.__version__}
    assert run(["tune", "--help", "--json"]) == 0
    assert "--dry-run" in one_object(capfd)[0]["help"]


def test_json_may_stand_before_or_after_the_command(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--json", "targets"]) == 0
    before, _ = one_object(capfd)
    assert run(["targets", "list", "--json"]) == 0
    after, _ = one_object(capfd)
    assert before == after
    assert {"jetson-orin-nano", "rpi5", "intel-nuc"} <= {board["name"] for board in after["targets"]}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch):
    """Make `edgeft doctor` do what the test says: the frame is under test, not the command."""

    def use(function) -> None:
        from edgeft.cli.frame import command

        monkeypatch.setattr(entry.edgeft, "get_command", lambda ctx, name: command("doctor")(function))

    return use


def test_prints_of_c_libraries_do_not_reach_stdout(answers, capfd: pytest.CaptureFixture[str]) -> None:
    def noisy(console: Console) -> Outcome:
        print("from python")
        os.write(1, b"from C\n")
        subprocess.run(["echo", "from a child"], check=True)
        return Outcome({"found": float("nan")}, "for people")

    answers(noisy)
    assert run(["doctor", "--json"]) == 0
    found, err = one_object(capfd)
    assert found == {"found": None}
    for words in ("from python", "from C", "from a child", "for people"):
        assert words in err
    os.write(1, b"stdout is back\n")
    assert capfd.readouterr().out == "stdout is back\n"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UsageError("wrong", where="here", remedy="do this"), 2, "here: wrong\n  → do this"),
        (OSError(28, "No space left on device", "/data/model"), 6, "/data/model"),
        (PermissionError(13, "Permission denied", "/data"), 6, "Permission denied"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), 6, "No space left"),
        (MemoryError(), 6, "out of memory"),
        (ZeroDivisionError("division by zero"), 70, "report"),
        (FileNotFoundError(2, "No such file", "x"), 70, "unexpected FileNotFoundError"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_every_exception_has_its_exit_code_and_no_traceback(
    error: BaseException, code: int, words: str, answers, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(console: Console) -> Outcome:
        raise error

    answers(fails)
    assert run(["doctor", "--json"]) == code
    found, err = one_object(capfd)
    assert found["exit_code"] == code
    assert words in err and "Traceback" not in err

    assert run(["doctor"]) == code
    out, err = capfd.readouterr()
    assert out == "" and words in err and "Traceback" not in err


@pytest.mark.parametrize("argv", [["--debug", "doctor"], ["doctor", "--debug"], ["doctor", "--debug", "--json"]])
def test_debug_shows_the_traceback(argv: list[str], answers, capfd: pytest.CaptureFixture[str]) -> None:
    def fails(console: Console) -> Outcome:
        raise ZeroDivisionError("division by zero")

    answers(fails)
    assert run(argv) == 70
    assert "Traceback" in capfd.readouterr().err


def test_a_system_failure_below_another_error_is_still_one() -> None:
    try:
        try:
            raise OSError(28, "No space left on device")
        except OSError as problem:
            raise RuntimeError("could not save") from problem
    except RuntimeError as error:
        assert isinstance(explain(error), SystemFailure)
    assert isinstance(explain(RuntimeError("could not save")), InternalError)


def test_ctrl_c_inside_generated_code_still_exits_130(tmp_path: Path) -> None:
    (tmp_path / "generated.py").write_text("""
from edgeft.cli import entry
from edgeft.cli.frame import command

@command("doctor")
def interrupted(console):
    exec("raise KeyboardInterrupt")

entry.edgeft.get_command = lambda ctx, name: interrupted
entry.main()
""")
    # Only `python -m` ends by the signal.
    argv = [sys.executable, "-m", "generated", "doctor"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 130 and "interrupted" in done.stderr


def test_an_interrupted_import_is_an_interruption() -> None:
    try:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as signal:
            raise ImportError("half imported") from signal
    except ImportError as error:
        assert explain(error).exit_code == 130


def test_quiet_says_only_the_result_and_verbose_the_details(answers, capfd: pytest.CaptureFixture[str]) -> None:
    def talks(console: Console) -> Outcome:
        console.say("working")
        return Outcome({}, "result", details="the long story")

    answers(talks)
    assert run(["doctor"]) == 0
    assert capfd.readouterr() == ("result\n", "working\n")
    assert run(["doctor", "-q"]) == 0
    assert capfd.readouterr() == ("result\n", "")
    assert run(["doctor", "-v"]) == 0
    assert capfd.readouterr() == ("result\nthe long story\n", "working\n")


def test_a_closed_pipe_is_no_traceback() -> None:
    script = f"{sys.executable} -m edgeft targets list --json | true"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stderr.count("Traceback") == 0


def test_plain_makes_strict_json() -> None:
    import numpy as np

    value = {
        "path": Path("a/b"),
        "array": np.arange(3),
        "scalar": np.float32(0.5),
        "infinite": float("inf"),
        "tuple": (1, None, True),
        "outcome": Outcome({}, "text"),
    }
    assert plain(value) == {
        "path": "a/b",
        "array": [0, 1, 2],
        "scalar": 0.5,
        "infinite": None,
        "tuple": [1, None, True],
        "outcome": {"payload": {}, "text": "text", "code": 0, "details": "", "silent": False},
    }
