"""The pytest plug-in, in pytest processes of its own, and the example that is made with it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import tiny_bundle

import edgeft

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "ci"


def pytest_in(folder: Path, *argv: str, **environ: str) -> tuple[int, str]:
    """(exit code, output) of `pytest ARGV` there."""
    (folder / "pytest.ini").touch()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", *argv],
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle.build(tmp_path)


def test_every_gate_is_a_test(bundle: Path, tmp_path: Path):
    code, told = pytest_in(
        tmp_path, "--edgeft-bundle", str(bundle), "--junitxml", "r.xml", "--edgeft-markdown", "summary.md"
    )
    assert "edgeft/bundle::parity" in told and "PASSED" in told, told
    cases = {case.get("name"): case for case in ET.parse(tmp_path / "r.xml").iter("testcase")}
    assert {"integer", "parity", "accuracy", "latency", "size"} <= set(cases)
    accuracy = cases["accuracy"].find("skipped")
    assert accuracy is not None and "no data was given" in str(accuracy.get("message"))
    assert code in (0, 1)  # the tiny model's integer share may fail a gate; each gate then says so
    assert "| host |" in (tmp_path / "summary.md").read_text()
    code, told = pytest_in(tmp_path, "--edgeft-bundle", str(bundle), "-k", "parity")
    assert code == 0 and "1 passed" in told, told


@pytest.mark.slow
def test_a_damaged_or_absent_bundle_fails_every_test(bundle: Path, tmp_path: Path):
    (bundle / "model.tflite").write_bytes(b"no model")
    for place in (bundle, tmp_path / "nowhere"):
        code, told = pytest_in(tmp_path, "--edgeft-bundle", str(place))
        assert code == 1 and " passed" not in told, told
        assert "Traceback" not in told
    code, told = pytest_in(tmp_path, "--edgeft-bundle", str(bundle), "-k", "size")
    assert "model.tflite" in told


def test_without_a_baseline_the_fixture_fails(bundle: Path, tmp_path: Path):
    (tmp_path / "test_it.py").write_text(f"def test_latency(edgeft_bench):\n    edgeft_bench({str(bundle)!r})\n")
    code, told = pytest_in(tmp_path)
    assert code == 1 and "nothing to compare with" in told and "--accept" in told, told


@pytest.mark.slow
def test_inconclusive_is_skipped_with_the_reason_and_fails_under_strict(bundle: Path, tmp_path: Path):
    # 0.0001 % cannot be told on any machine
    line = f"    edgeft_bench({str(bundle)!r}, {str(bundle)!r}, tolerance=0.0001, seconds=3)\n"
    (tmp_path / "test_it.py").write_text(f"def test_latency(edgeft_bench):\n{line}")
    code, told = pytest_in(tmp_path)
    if "1 failed" not in told:  # such a tolerance may also find the machine's own asymmetry
        assert code == 0 and ("inconclusive" in told or "1 passed" in told), told
    code, told = pytest_in(tmp_path, "--edgeft-strict")
    assert code == (0 if "1 passed" in told else 1), told


def test_the_plug_in_loads_nothing_heavy():
    code = "import sys, edgeft.pytest_plugin; print([m for m in ('torch', 'numpy', 'edgeft.api') if m in sys.modules])"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "[]"


def test_the_example_passes_unchanged_and_fails_with_a_block_twice(exported, tmp_path: Path):
    spec = importlib.util.spec_from_file_location("prepare", EXAMPLE / "prepare.py")
    assert spec is not None and spec.loader is not None
    prepare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(prepare)

    shutil.copytree(EXAMPLE / "tests", tmp_path / "tests")
    shutil.copytree(exported.bundle("host"), tmp_path / "bundles" / "host")
    (tmp_path / "slower").mkdir()
    prepare.duplicate_block(tmp_path / "bundles" / "host", tmp_path / "slower" / "host")
    edgeft.bench(tmp_path / "bundles" / "host", accept=True, baselines=tmp_path / "baselines", seconds=0.2)

    code, told = pytest_in(tmp_path)
    assert code == 0 and ("1 passed" in told or "inconclusive" in told), told
    code, told = pytest_in(tmp_path, BUNDLE="slower/host")
    assert code == 1 and "1 failed" in told and "slower" in told, told
