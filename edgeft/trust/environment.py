"""The interpreter that has model-signing: this one where it is installed, else one of an environment of its own.

The package builds on sigstore, whose pins clash with those of LiteRT's converter (typing-extensions). So a host that
exports to LiteRT keeps it apart: `edgeft sign --setup` makes `cache/sign/<digest>/`, digest of requirements and Python.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..core import environment, files, interpreter, once
from ..core.errors import BundleError, EdgeftError, Missing, from_dict

#: model-signing 1.1.1 imports OpenSSL, which sigstore stopped to bring with 4.3
REQUIREMENTS = ("model-signing==1.1.1", "pyopenssl>=25")
SETUP = "edgeft sign --setup"
#: seconds that signing or checking a bundle may take
SECONDS = 600.0
_NAME = "model-signing"
_CODE = """
import json, sys
from edgeft.trust import tool
with open(sys.argv[2], encoding="utf-8") as handle:
    answer = tool.run(sys.argv[1], json.load(handle))
print("@edgeft " + json.dumps(answer))
"""


def place() -> Path:
    """The folder of the environment, whether it is there or not."""
    text = "\n".join([*REQUIREMENTS, f"{sys.version_info[0]}.{sys.version_info[1]}"])
    return environment.cache("sign") / hashlib.sha256(text.encode()).hexdigest()[:12]


def python() -> str | None:
    """The interpreter that has model-signing: "" for this one, None where there is none."""
    if importlib.util.find_spec("model_signing") is not None and importlib.util.find_spec("OpenSSL") is not None:
        return ""
    own = place() / "bin" / "python"
    return str(own) if own.exists() else None


def setup(say: Callable[[str], None] = lambda text: None) -> str:
    """Make the environment where model-signing is not at hand yet; returns the interpreter as `python` does.

    Raises `Missing` with pip's error, `SystemFailure` where the system refuses; nothing is left of one that fails.
    """
    at_hand = python()
    if at_hand is not None:
        return at_hand

    def fill(folder: Path) -> None:
        say(f"{_NAME}: making an environment with {', '.join(REQUIREMENTS)}")
        environment.make(folder, REQUIREMENTS, where=_NAME)

    once.folder(place(), fill, lambda folder: (folder / "bin" / "python").exists())
    return str(place() / "bin" / "python")


def call(function: str, job: Mapping[str, Any], *, where: Path) -> dict[str, Any]:
    """What `tool.run` answers for the job. Raises what it met, and `Missing` where model-signing is not installed."""
    interpreter_path = python()
    if interpreter_path is None:
        raise Missing(
            "the package model-signing, which checks and makes signatures, is not installed here",
            where=str(where),
            remedy=f"{SETUP} installs it into an environment of its own",
        )

    package = str(Path(__file__).resolve().parents[1])
    request = _request(job)
    try:
        if interpreter_path:
            command = interpreter.there(interpreter_path, package, _CODE, function, str(request))
        else:
            command = interpreter.here(_CODE, function, str(request))
        done = environment.run(command, SECONDS)
    finally:
        shutil.rmtree(request.parent, ignore_errors=True)

    return _answered(done.stdout, done.stderr, where)


def _request(job: Mapping[str, Any]) -> Path:
    import tempfile

    with files.system_errors(tempfile.gettempdir()):
        folder = Path(tempfile.mkdtemp(prefix="edgeft-sign-"))
        try:
            (folder / "job.json").write_text(json.dumps({**job, "scratch": str(folder)}), encoding="utf-8")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    return folder / "job.json"


def _answered(output: str, complaint: str, where: Path) -> dict[str, Any]:
    lines = [line for line in output.splitlines() if line.startswith("@edgeft ")]
    if not lines:
        last = (complaint.strip().splitlines() or ["it said nothing"])[-1]
        raise BundleError(f"the signature could not be checked: {last[:300]}", where=str(where), remedy=SETUP)

    answer = json.loads(lines[-1].removeprefix("@edgeft "))
    if "error" in answer:
        error: EdgeftError = from_dict(answer)
        if isinstance(error, Missing):
            error.remedy = error.remedy or SETUP
        raise error

    return dict(answer)
