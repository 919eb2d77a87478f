"""Comparisons of real artifacts in real processes. What is asserted holds whatever the machine does meanwhile: a model
three times as slow never passes, and one that is the same never fails."""

from __future__ import annotations

import json
from pathlib import Path

import burning
import pytest
import tiny_bundle

import edgeft
from edgeft.bundle import reader as bundles
from edgeft.cli.entry import run as main
from edgeft.core.errors import BundleError, InvalidInput, UsageError
from edgeft.devices import compare as sides
from edgeft.measure import store

KEYS = {"schema", "verdict", "estimate_pct", "ci99_pct", "tolerance_pct", "clock", "samples", "p50_ms", "min_ms"}
KEYS |= {"looks", "throttled", "fingerprint", "path", "target", "backend"}


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return burning.build(tmp_path_factory.mktemp("once"), 2)


@pytest.fixture(scope="module")
def thrice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return burning.build(tmp_path_factory.mktemp("thrice"), 6)


def test_three_times_the_work_never_passes(
    once: Path, thrice: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    files = ["--junit", "j.xml", "--markdown", "m.md"]
    assert main(["bench", str(thrice), "--against", str(once), "--seconds", "20", "--json", *files]) == 1
    result = json.loads(capfd.readouterr().out)
    assert result["verdict"] == "fail", result
    assert result["estimate_pct"] > 50 and result["ci99_pct"][0] > 2
    assert set(result) >= KEYS
    assert result["old_p50_ms"] < result["p50_ms"] and "float_p50_ms" in result
    assert result["fingerprint"]["runtime"]["name"] == "onnxruntime"
    assert "<failure" in Path("j.xml").read_text()
    told = Path("m.md").read_text()
    assert "❌ fail" in told and "| float |" in told and "| old |" in told and "| new |" in told


@pytest.mark.slow
def test_the_faster_one_passes_and_the_same_one_never_fails(once: Path, thrice: Path, tmp_path: Path):
    assert edgeft.bench(once, thrice, baselines=tmp_path, seconds=20)["verdict"] == "pass"
    assert edgeft.bench(once, once, baselines=tmp_path, seconds=10)["verdict"] in ("pass", "inconclusive")


def test_accept_then_compare(once: Path, thrice: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    kept = ["--baselines", str(tmp_path)]
    assert main(["bench", str(once), "--accept", "--seconds", "0.2", *kept]) == 0
    name = store.digest(bundles.open(once))
    assert f"is now {name[:12]}" in capfd.readouterr().err
    assert main(["bench", str(thrice), "--seconds", "20", *kept]) == 1
    (line,) = store.history(tmp_path)
    assert line["verdict"] == "fail" and line["artifact"] == store.digest(bundles.open(thrice))
    assert line["baseline"] == name

    # another kind of machine: refused, or advisory
    pointer = next((tmp_path / "accepted").glob("*/*.json"))
    pointer.parent.rename(pointer.parent.with_name("0123456789ab"))
    with pytest.raises(InvalidInput, match="another kind of machine"):
        edgeft.bench(thrice, baselines=tmp_path, seconds=5)
    advised = edgeft.bench(thrice, baselines=tmp_path, seconds=5, cross_host=True)
    assert advised["verdict"] == "advisory" and "another kind of machine" in advised["why"]


@pytest.mark.slow
def test_a_machine_is_never_asked_for_less_than_its_own_spread(once: Path, tmp_path: Path):
    found = edgeft.bench(once, calibrate=True, baselines=tmp_path, seconds=12)
    assert found["verdict"] == "advisory" and 0 < found["spread"] < 1 and len(found["pairs_pct"]) >= 3
    here = bundles.open(once)
    kept = store.spread(tmp_path, found["fingerprint"], "onnxruntime", 1)
    assert kept == found["spread"]
    result = sides.compare(here, here, tolerance=0.0001, spread=9.0, max_seconds=20, singles=False)
    assert result["tolerance_pct"] == 900 and result["asked_pct"] == 0.01 and result["verdict"] == "pass"
    assert any("differs from itself by 900.00 %" in note for note in result["notes"])


def test_mistakes(once: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="calibrate measures the machine"):
        edgeft.bench(once, once, calibrate=True, baselines=tmp_path)
    with pytest.raises(UsageError, match="something to compare with"):
        edgeft.bench(once, tolerance=3, baselines=tmp_path)
    with pytest.raises(BundleError, match="no such folder"):
        edgeft.bench(once, tmp_path / "nowhere", baselines=tmp_path)
    other = burning.build(tmp_path, 2, runtime={**burning.manifest_of(once)["runtime"], "threads": 2})
    with pytest.raises(UsageError, match="2 and 1 threads"):
        edgeft.bench(other, once, baselines=tmp_path)
    assert main(["bench", str(once), "--tolerance", "3", "--baselines", str(tmp_path)]) == 2
    assert main(["bench", str(once), "--against", str(once), "--tolerance", "0"]) == 2
    damaged = burning.copied(once, tmp_path / "damaged")
    (damaged / "model.onnx").write_bytes(b"no model")
    with pytest.raises(BundleError, match=r"model\.onnx"):
        edgeft.bench(once, damaged, baselines=tmp_path)


@pytest.mark.slow
def test_other_runtimes_too(tmp_path: Path):
    for backend in ("litert", "openvino"):
        made = tiny_bundle.build(tmp_path / backend, backend)
        result = sides.compare(bundles.open(made), bundles.open(made), tolerance=0.5, max_seconds=8, singles=False)
        assert result["verdict"] in ("pass", "inconclusive")
        assert result["fingerprint"]["runtime"]["name"] == backend
