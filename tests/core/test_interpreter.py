"""Python processes that edgeft starts import nothing from the current folder; one module makes their commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_bundle

import edgeft
from edgeft.core import interpreter

PACKAGE = Path(edgeft.__file__).parent
#: what `python -m NAME` of any package imports itself after the current folder is on the path
OF_PYTHON = {
    *("runpy", "importlib", "pkgutil", "warnings", "contextlib", "collections", "keyword", "operator", "reprlib"),
    *(
        "functools",
        "types",
        "inspect",
        "zipimport",
        "linecache",
        "codeop",
        "re",
        "enum",
        "typing",
        "weakref",
        "copyreg",
    ),
}
CONSOLE = ["-I", "-c", "import sys; from edgeft.cli import main; main()"]


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder of modules that leave a mark when they are imported: the whole standard library, and packages."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    code = f"open({str(tmp_path / 'imported')!r}, 'a').write(__name__ + ' ')\nraise SystemExit(66)\n"
    for name in {*sys.stdlib_module_names, "numpy", "click", "onnxruntime", "openvino", "sitecustomize"} - OF_PYTHON:
        if name not in sys.builtin_module_names:
            (folder / f"{name}.py").write_text(code)
    return folder


def run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, env={**os.environ, **environment}
    )
    mark = folder.parent / "imported"
    assert not mark.exists(), mark.read_text()
    return done


@pytest.mark.parametrize(
    "started",
    [pytest.param(CONSOLE, id="console script", marks=pytest.mark.slow), pytest.param(["-m", "edgeft"], id="module")],
)
def test_commands_execute_nothing_of_the_current_folder(tmp_path: Path, hostile: Path, started: list[str]) -> None:
    bundle = str(tiny_bundle.build(tmp_path))
    for words, allowed in (
        (["bench", bundle, "--against", bundle, "--tolerance", "100"], (0, 5)),
        (["verify", bundle], (0, 1, 5)),  # a tiny net has no speed to gain
        (["doctor"], (0,)),
    ):
        done = run([sys.executable, *started, *words], hostile)
        assert done.returncode in allowed, done.stderr


def test_an_isolated_process_imports_what_this_process_imports(
    tmp_path: Path, hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "a_plugin.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path / "plugins")
    monkeypatch.syspath_prepend("")
    monkeypatch.chdir(hostile)
    code = "import sys, a_plugin, random, numpy, edgeft.core.errors; print(edgeft.__file__, *sys.argv[1:])"
    done = run(interpreter.here(code, "a word", "-c"), hostile, PYTHONPATH="")
    assert done.stdout.split(" ", 1) == [str(PACKAGE / "__init__.py"), "a word -c\n"], done.stderr


def test_a_board_takes_edgeft_from_its_folder_and_packages_of_its_user(tmp_path: Path, hostile: Path) -> None:
    python = str(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info[1]}")
    if not Path(python).is_file():
        pytest.skip("no interpreter of the system is here")
    folder = tmp_path / "home" / ".local" / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
    folder.mkdir(parents=True)
    (folder / "of_the_user.py").write_text("")
    (hostile / "lib").symlink_to(PACKAGE.parent)
    code = "import random, of_the_user, edgeft.core.errors; print(edgeft.__file__, end='')"
    done = run(interpreter.there(python, "lib/edgeft", code), hostile, HOME=str(tmp_path / "home"))
    assert done.stdout == str(hostile / "lib" / "edgeft" / "__init__.py"), done.stderr


def test_modules_are_run_isolated(hostile: Path) -> None:
    assert run(interpreter.module("platform"), hostile).returncode == 0
    assert run(interpreter.script("import random; print('done')"), hostile).stdout == "done\n"


def test_no_other_place_starts_a_python() -> None:
    pattern = re.compile(
        r"""sys\.executable|PYTHONPATH|PYTHONHOME|["']-[a-zA-Z]*[cm]["']|python[\w./}]* -[a-zA-Z]*[cm]\b"""
    )
    started = {"core/interpreter.py", "__init__.py", "__main__.py"}  # the one place, and words about being started
    places = [
        f"{path.relative_to(PACKAGE).as_posix()}:{number}"
        for path in PACKAGE.rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line) and path.relative_to(PACKAGE).as_posix() not in started
    ]
    assert places == []
