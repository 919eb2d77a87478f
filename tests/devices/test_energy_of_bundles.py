"""Energy of a bundle by a meter whose figure is known: in `bench`, in `verify`, and where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_bundle

import edgeft
from edgeft.measure import energy, meters
from edgeft.report import text
from edgeft.verify import run as verify

pytestmark = pytest.mark.board
CHIP = "class/hwmon/hwmon0"
#: what the sensor says, in microwatts
POWER = 2_000_000


@pytest.fixture
def sensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that draws two watts, whatever it does."""
    chip = tmp_path / "sys" / CHIP
    chip.mkdir(parents=True)
    (chip / "name").write_text("ina226\n")
    (chip / "power1_input").write_text(f"{POWER}\n")
    monkeypatch.setattr(meters, "SYS", tmp_path / "sys")
    monkeypatch.setattr(energy, "BLOCK", 0.03)
    monkeypatch.setattr(energy, "IDLE", 0.05)
    return chip


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    tiny_bundle.usable("litert")
    return tiny_bundle.build(tmp_path / "tiny")


def test_bench_gives_joules(bundle: Path, sensor: Path) -> None:
    result = edgeft.bench(bundle, seconds=0.2)
    spent = result["energy"]
    assert spent["meter"] == "hwmon ina226 power1" and spent["idle_w"] == pytest.approx(2, rel=1e-6)
    # two watts for the time of a run, which is measured beside it, where others may disturb either
    assert 0.1 < spent["mj"] / (2 * result["p50_ms"]) < 10
    assert spent["mj_ci99"][0] <= spent["mj"] <= spent["mj_ci99"][1]
    assert "ina226 power1" in text.bench(result)


def test_bench_says_that_there_is_no_meter(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters, "SYS", tmp_path / "nothing")
    result = edgeft.bench(bundle, seconds=0.2)
    assert "no meter of energy here" in result["energy"]["absent"]
    assert "energy: not measured; no meter of energy here" in text.bench(result)


@pytest.mark.parametrize(("budget", "verdict"), [(1000.0, "pass"), (1e-9, "fail")])
def test_verify_judges_a_budget(tmp_path: Path, sensor: Path, budget: float, verdict: str) -> None:
    """In this process: the meter is a file of the test."""
    tiny_bundle.usable("litert")
    place = tiny_bundle.build(
        tmp_path / "limited", target="host-litert", gates={"energy_mj": budget, "min_speedup": 0.0}
    )
    report = verify.run(place, max_seconds=0.3)
    gate = next(gate for gate in report["gates"] if gate["name"] == "energy")
    assert (gate["verdict"], gate["required"], gate["unit"]) == (verdict, True, "mJ"), gate
    assert report["energy"]["quantized_mj"] == gate["quantized"] and report["energy"]["float_mj"] > 0
    assert report["verdict"] == "fail" or verdict == "pass"
    assert "hwmon ina226 power1" in text.render(report)


def test_verify_without_a_meter_is_unverified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters, "SYS", tmp_path / "nothing")
    tiny_bundle.usable("litert")
    place = tiny_bundle.build(tmp_path / "limited", gates={"energy_mj": 1.0, "min_speedup": 0.0})
    report = verify.run(place, max_seconds=0.3)
    gate = next(gate for gate in report["gates"] if gate["name"] == "energy")
    assert gate["verdict"] == "unverified" and "no meter" in report["energy"]["absent"]
    assert "meter" in report["unverified"]
