"""What `scripts/` promises: the order of long tests, rooms that run at once, and the floor of coverage."""

from __future__ import annotations

import datetime
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [f"tests/test_{name}.py" for name in "abcdefghijklmn"]


ordered = runpy.run_path(str(ROOT / "scripts" / "slow_order.py"))["ordered"]
#: how `tests/conftest.py` ends the reason of a skipped peer
OF_PEERS = runpy.run_path(str(ROOT / "scripts" / "summary.py"))["PEER"]


def test_no_long_test_is_always_left_out() -> None:
    """A run once a week that has time for five of fourteen files has begun each of them within half a year."""
    weeks = [ordered(FILES, datetime.date(2026, 1, 5) + datetime.timedelta(weeks=week)) for week in range(26)]
    assert all(sorted(week) == FILES for week in weeks)
    assert {name for week in weeks for name in week[:5]} == set(FILES)


def test_the_order_of_a_day_does_not_depend_on_the_machine() -> None:
    day = datetime.date(2026, 11, 30)
    assert ordered(FILES, day) == ordered(FILES[::-1], day) != ordered(FILES, day + datetime.timedelta(days=1))


ROOMS = ("devices", "export", "personalize", "tune", "small")
SETTINGS = """
[tool.pytest.ini_options]
addopts = "-m 'not slow'"
markers = ["slow: long", "peer: elsewhere"]
[tool.coverage.run]
source_pkgs = ["edgeft"]
parallel = true
[tool.coverage.report]
fail_under = 75
"""
TEST = """
import pytest
from edgeft import twice
def test_it(): assert twice(2) == 4
@pytest.mark.slow
def test_long(): assert twice(3) == 6
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small project with our `scripts/test`, a test a room, and an environment that has everything."""
    pytest.importorskip("coverage", reason="scripts/test --coverage measures it")
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    programs = {
        "scripts/lint": "#!/bin/sh\n",
        ".venv-test/bin/pip": "#!/bin/sh\n",
        ".venv-test/bin/python": f'#!/bin/sh\nPYTHONPATH=. exec "{sys.executable}" "$@"\n',
    }
    for name, text in programs.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "pyproject.toml").write_text(SETTINGS)
    (tmp_path / "edgeft").mkdir()
    (tmp_path / "edgeft" / "__init__.py").write_text("def twice(x):\n    return 2 * x\n")
    for room in ROOMS:
        (tmp_path / "tests" / room).mkdir(parents=True)
        (tmp_path / "tests" / room / f"test_{room}.py").write_text(TEST)
    (tmp_path / "tests" / "test_top.py").write_text(TEST)
    return tmp_path


def run(checkout: Path, *arguments: str, **variables: str) -> tuple[int, str]:
    """Exit code and output of `scripts/test` there."""
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "EDGEFT_DATA": "here", **variables}
    command = ["bash", str(checkout / "scripts" / "test"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


def test_rooms_run_at_once_and_each_is_shown_whole(checkout: Path) -> None:
    code, output = run(checkout, "--slow-until", "40", JOBS="2")
    assert code == 0, output
    parts = re.split(r"^== (\S+)\n", output, flags=re.MULTILINE)
    blocks = dict(zip(parts[1::2], parts[2::2]))
    names = ["tests", *(f"tests/{room}" for room in ROOMS)]
    names += [f"slow-tests/{name}" for name in ("test_top.py", *(f"{room}/test_{room}.py" for room in ROOMS))]
    assert all("1 passed, 1 deselected" in blocks[name] for name in names), output
    assert output.rstrip().endswith("12 passed, 0 failed, 0 skipped")


def python(path: Path, minor: int) -> Path:
    """This interpreter with the version 3.`minor`, as far as a script can ask for it."""
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "import sys; sys.version_info = (3, {minor}, 0); $2"\n')
    path.chmod(0o755)
    return path


def test_another_python_gets_an_environment_of_its_own(checkout: Path, tmp_path: Path) -> None:
    newer = sys.version_info.minor + 1
    shutil.copytree(checkout / ".venv-test", checkout / f".venv-test-3.{newer}")
    _, output = run(checkout, "-k", "nothing", PYTHON=str(python(tmp_path / "newer", newer)))
    assert f"environment .venv-test-3.{newer} (" in output, output
    _, output = run(checkout, "-k", "nothing", PYTHON=sys.executable)
    assert "environment .venv-test (" in output, output


@pytest.mark.parametrize("name", ["nowhere", "older"])
def test_a_python_that_is_asked_for_is_not_replaced_by_another(checkout: Path, tmp_path: Path, name: str) -> None:
    """A suite on 3.11 where 3.13 was asked for would show nothing of 3.13."""
    interpreter = python(tmp_path / name, 9) if name == "older" else tmp_path / name
    code, output = run(checkout, PYTHON=str(interpreter))
    assert code == 1 and f"PYTHON={interpreter} is no Python 3.11 or newer" in output, output


@pytest.mark.slow
def test_a_failed_room_fails_the_run(checkout: Path) -> None:
    (checkout / "tests" / "small" / "test_small.py").write_text("def test_it():\n    assert 1 == 2\n")
    code, output = run(checkout, "-k", "test_it", JOBS="1")
    assert code != 0 and "5 passed, 1 failed, 0 skipped" in output, output


@pytest.mark.slow
def test_a_lowered_coverage_fails_the_run_and_long_tests_without_time_are_named(checkout: Path) -> None:
    (checkout / "edgeft" / "unused.py").write_text("print()\n")  # two of three lines are less than 75 %
    script = checkout / "scripts" / "test"
    script.write_text(script.read_text().replace("minutes=$2", "minutes=1 SECONDS=60"))
    code, output = run(checkout, "--coverage", "--slow-until", "1")
    assert code != 0 and "less than fail-under" in output and "6 passed, 0 failed" in output, output
    assert output.count("left out after 1 minutes: tests/") == 6, output


PEER = """
import sys
import pytest
@pytest.mark.peer("elsewhere")
def test_it(): assert __import__("os").environ.get("IN_VISION"), "runs in the other environment"
@pytest.mark.slow
@pytest.mark.peer("elsewhere")
def test_long(): assert __import__("os").environ.get("IN_VISION"), "runs in the other environment"
"""


@pytest.fixture
def few(checkout: Path) -> Path:
    """The same with two rooms."""
    for room in ROOMS[:-1]:
        shutil.rmtree(checkout / "tests" / room)
    return checkout


def test_peers_run_in_an_environment_of_their_own_and_nowhere_else(few: Path) -> None:
    python = few / ".venv-vision" / "bin" / "python"
    shutil.copytree(few / ".venv-test", few / ".venv-vision")
    python.write_text(python.read_text().replace("PYTHONPATH", "IN_VISION=yes PYTHONPATH"))
    (few / "tests" / "small" / "test_peer.py").write_text(PEER)
    code, output = run(few, "--peers", "--slow-until", "40")
    assert code == 0, output
    assert "== peer-tests/small/test_peer.py" in output and "== slow-peer-tests/small/test_peer.py" in output
    assert output.rstrip().endswith("6 passed, 0 failed, 0 skipped")

    code, output = run(few, "--vision")
    assert code == 0, output
    assert output.rstrip().endswith("2 passed, 0 failed, 0 skipped")


def test_an_environment_that_cannot_be_installed_is_said_and_leaves_the_rest(few: Path) -> None:
    (few / ".venv-vision" / "bin").mkdir(parents=True)
    pip = few / ".venv-vision" / "bin" / "pip"
    pip.write_text("#!/bin/sh\necho no wheel of torchvision >&2\nexit 1\n")
    pip.chmod(0o755)
    skipping = f"{PEER}\n@pytest.fixture(autouse=True)\ndef skipped(): pytest.skip('x is not installed {OF_PEERS}')\n"
    (few / "tests" / "small" / "test_peer.py").write_text(skipping)
    code, output = run(few, "--peers", "--most-skips", "0", "-k", "test_it")
    assert code == 0, output
    assert "no wheel of torchvision" in output and "NOT RUN: the tests marked `peer`" in output
    assert "2 passed, 0 failed, 1 skipped" in output and OF_PEERS in (ROOT / "tests" / "conftest.py").read_text()
    code, output = run(few, "--vision")
    assert code == 1 and "passed" not in output


def test_more_skips_than_are_allowed_fail_the_run(few: Path) -> None:
    skipping = "import pytest\npytest.skip('none', allow_module_level=True)\n"
    (few / "tests" / "small" / "test_small.py").write_text(skipping)
    code, output = run(few, "--most-skips", "1", "-k", "test_it")
    assert code == 0, output
    code, output = run(few, "--most-skips", "0", "-k", "test_it")
    assert code == 1 and "FAILED: 1 tests were skipped, 0 at most may be" in output


def test_what_compares_with_a_peer_is_marked_so() -> None:
    """A test that skips by itself where a peer is absent would run in no environment of CI."""
    pattern = re.compile(r"importorskip\(\s*\"(torchvision|timm|ultralytics|librosa|stable_baselines3)\b")
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    assert len(files) > 100
    assert [str(file) for file in files if pattern.search(file.read_text())] == []
