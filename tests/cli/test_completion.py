"""Completions, as a real shell asks for them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgeft.cli.entry import FILES, run
from edgeft.config import target


@pytest.fixture
def shell_environment(tmp_path: Path) -> dict[str, str]:
    """An environment where `edgeft` is on the path."""
    program = tmp_path / "edgeft"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "from edgeft.cli import main; main()" "$@"\n')
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}


def completed(environment: dict[str, str], *words: str) -> list[str]:
    """What bash offers behind `words`, the last of which is begun."""
    listed = " ".join(f"'{word}'" for word in words)
    script = f"""eval "$(edgeft completion bash)"
        COMP_WORDS=({listed}) COMP_CWORD={len(words) - 1}
        _edgeft_completion edgeft
        printf '%s\\n' "${{COMPREPLY[@]}}" """
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert not done.stderr, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
def test_bash_completes_commands_options_boards_and_tasks(shell_environment: dict[str, str]) -> None:
    assert completed(shell_environment, "edgeft", "") == list(FILES)
    assert completed(shell_environment, "edgeft", "export", "--over") == ["--overwrite"]
    boards = completed(shell_environment, "edgeft", "export", "--target", "rpi")
    assert boards == [name for name in target.names() if name.startswith("rpi")] and "rpi5" in boards
    assert completed(shell_environment, "edgeft", "targets", "show", "jetson-o") == [
        name for name in target.names() if name.startswith("jetson-o")
    ]
    assert completed(shell_environment, "edgeft", "init", "key") == ["keyword"]


def test_the_shell_is_that_of_the_user_where_none_is_named(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert run(["completion", "--json"]) == 0
    answer = json.loads(capfd.readouterr().out)
    assert answer["shell"] == "fish" and "complete" in answer["script"]
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert run(["completion"]) == 2
    assert "no completions for the shell 'tcsh'" in capfd.readouterr().err


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_read_their_script(shell: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    script = capfd.readouterr().out
    assert "_EDGEFT_COMPLETE" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True, timeout=60)
