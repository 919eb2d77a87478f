"""The command that installs an extra works for how edgeft was installed: a checkout, a wheel, an index."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edgeft.core import installation

ROOT = Path(installation.__file__).resolve().parents[2]


def answer(site: Path, extra: str) -> list[str]:
    """The words of `command` in an interpreter whose edgeft is the one below `site`."""
    script = (
        "import sys\nsys.path.insert(0, sys.argv[1])\nfrom edgeft.core import installation\n"
        "print(installation.command(sys.argv[2]))"
    )
    line = [sys.executable, "-I", "-S", "-c", script, str(site), extra]
    return shlex.split(subprocess.run(line, capture_output=True, text=True, check=True, timeout=60).stdout)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A site-packages folder as pip leaves it: the package, apart from its checkout, and what pip recorded of it."""
    site = tmp_path / "site packages"
    for name in ("__init__.py", "core/__init__.py", "core/installation.py"):
        (site / "edgeft" / name).parent.mkdir(parents=True, exist_ok=True)
        source = ROOT / "edgeft" / name
        (site / "edgeft" / name).write_text(source.read_text("utf-8") if name.endswith("installation.py") else "")
    information = site / "edgeft-0.1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: edgeft\nVersion: 0.1.0\n")
    return site


def record(site: Path, url: str) -> None:
    (site / "edgeft-0.1.0.dist-info" / "direct_url.json").write_text(json.dumps({"url": url}))


def test_a_checkout_is_named_with_its_pins() -> None:
    words = shlex.split(installation.command("onnx"))
    assert words == ["pip", "install", "--constraint", str(ROOT / "constraints.txt"), "-e", f"{ROOT}[onnx]"]
    assert shlex.split(installation.command("", "--force-reinstall", "--no-deps"))[-2:] == ["-e", str(ROOT)]


def test_a_wheel_is_named_by_its_file(installed: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "my wheels" / "edgeft-0.1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    zipfile.ZipFile(wheel, "w").close()
    record(installed, wheel.as_uri())
    assert answer(installed, "litert") == ["pip", "install", f"{wheel}[litert]"]
    wheel.unlink()
    assert answer(installed, "litert") == ["pip", "install", "edgeft[litert]"]


def test_a_folder_that_was_installed_is_named_as_a_checkout(installed: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "check out"
    (checkout / "edgeft").mkdir(parents=True)
    (checkout / "pyproject.toml").touch()
    record(installed, checkout.as_uri())
    assert answer(installed, "tune") == ["pip", "install", "-e", f"{checkout}[tune]"]


@pytest.mark.parametrize("url", ["", "https://index.example/edgeft.whl", "file://[", "file:///no/such/file.whl"])
def test_anything_else_is_an_index(installed: Path, url: str) -> None:
    record(installed, url)
    assert answer(installed, "tune") == ["pip", "install", "edgeft[tune]"]
