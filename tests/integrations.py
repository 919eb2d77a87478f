"""What CI servers do with our files: steps of action.yml, the script of the GitLab component, the hook of pre-commit.

Their YAML is read, expressions are filled in, and the shell that they hold is run as the server runs it.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Job:
    """What a job came to: its exit code, log, step summary and outputs."""

    code: int
    log: str
    summary: str
    outputs: Mapping[str, str]


def yaml_documents(path: Path) -> list[Any]:
    yaml = pytest.importorskip("yaml", reason="pip install pyyaml")
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """That of a job: `edgeft` and `python` are those of the tests."""
    programs = folder / ".programs"
    programs.mkdir(exist_ok=True)
    for name, command in (("edgeft", "-m edgeft"), ("python", "")):
        file = programs / name
        file.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {command} "$@"\n')
        file.chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}


def shell(folder: Path, argv: list[str], script: str, **variables: str) -> tuple[int, str]:
    """Exit code and log of a script in a file, as a runner starts it."""
    file = folder / ".script.sh"
    file.write_text(script)
    done = subprocess.run(
        [*argv, str(file)],
        cwd=folder,
        env=environment(folder, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout


def action(folder: Path, **given: str) -> Job:
    """The `run:` steps of action.yml, in order, until one fails; `uses:` steps are those of GitHub and are left out."""
    (table,) = yaml_documents(ROOT / "action.yml")
    for name, entry in table["inputs"].items():
        assert name in given or not entry.get("required"), name
    inputs = {name: entry.get("default", "") for name, entry in table["inputs"].items()} | given
    contexts = {f"inputs.{name}": str(value) for name, value in inputs.items()}
    contexts["github.action_path"] = str(ROOT)

    def filled(text: str) -> str:
        return re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda match: contexts[match.group(1)], text)

    summary, output = folder / ".summary", folder / ".output"
    for file in (summary, output):
        file.write_text("")
    code, log = 0, ""
    for step in table["runs"]["steps"]:
        if "run" not in step or not _runs(step.get("if", ""), inputs):
            continue
        assert "${{" not in step["run"], "an input in a script could be code: pass it in env"
        assert step["shell"] == "bash"
        variables = {key: filled(value) for key, value in step.get("env", {}).items()}
        variables |= {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_OUTPUT": str(output)}
        code, text = shell(folder, ["bash", "--noprofile", "--norc", "-eo", "pipefail"], step["run"], **variables)
        log += text
        if code:
            break
    outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
    return Job(code, log, summary.read_text(), outputs)


def _runs(condition: str, inputs: Mapping[str, Any]) -> bool:
    """The conditions that action.yml has: none, or an input that differs from a word."""
    if not condition:
        return True
    match = re.fullmatch(r"inputs\.(\w+) != '(\w*)'", condition)
    assert match, condition
    return bool(inputs[match.group(1)] != match.group(2))


def component(folder: Path, **given: str) -> Job:
    """The script of templates/gate.yml in the plainest shell that GitLab's runner uses."""
    spec, jobs = yaml_documents(ROOT / "templates" / "gate.yml")
    inputs = {}
    for name, entry in spec["spec"]["inputs"].items():
        assert name in given or "default" in entry, name
        value = given.get(name, entry.get("default"))
        inputs[name] = str(value).lower() if isinstance(value, bool) else str(value)
    ((name, job),) = jobs.items()
    assert name == "$[[ inputs.job ]]"

    def filled(text: str) -> str:
        return re.sub(r"\$\[\[ inputs\.(\w+) \]\]", lambda match: inputs[match.group(1)], text)

    lines = [*job["before_script"], *job["script"]]
    assert not any("$[[" in line for line in lines), "an input in a script could be code: pass it in variables"
    variables = {key: filled(value) for key, value in job["variables"].items()}
    code, log = shell(folder, ["sh", "-e"], "\n".join(lines), **variables)
    allowed = job["allow_failure"]["exit_codes"]
    return Job(code, log, "", {"allowed": str(code in allowed), "report": filled(job["artifacts"]["paths"][0])})


def hook(folder: Path, *arguments: str) -> tuple[int, str]:
    """The entry of the hook with the `args` of a user, in the root of a repository."""
    ((table,),) = yaml_documents(ROOT / ".pre-commit-hooks.yaml")
    assert table["language"] == "python" and table["pass_filenames"] is False
    return shell(folder, ["bash", "-e"], shlex.join([*shlex.split(table["entry"]), *arguments]))
