"""Meters in trees of the kernel's own form, and the joules that come out where the true figure is known."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeft.config.recipe import Gates
from edgeft.core.verdict import ADVISORY, FAIL, INCONCLUSIVE, PASS, UNVERIFIED
from edgeft.devices.worker import Worker
from edgeft.measure import energy, meters
from edgeft.measure.energy import Energy
from edgeft.measure.meters import Absent, Counter, Meter
from edgeft.report import energy as in_words
from edgeft.verify import energy as gate

pytestmark = pytest.mark.board


def tree(root: Path, **values: object) -> Path:
    """Files below `root`; a name has "/" for its folders, and every value ends in a newline as the kernel writes it."""
    for name, value in values.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return root


def rapl(root: Path, start: int = 1_000_000, span: int = 262_143_328_850) -> Path:
    """As a notebook shows it: one package with its parts, and psys beside it."""
    folder = "class/powercap"
    return tree(
        root,
        **{
            f"{folder}/intel-rapl/enabled": 1,
            f"{folder}/intel-rapl:0/name": "package-0",
            f"{folder}/intel-rapl:0/energy_uj": start,
            f"{folder}/intel-rapl:0/max_energy_range_uj": span,
            f"{folder}/intel-rapl:0:0/name": "core",
            f"{folder}/intel-rapl:0:0/energy_uj": 7,
            f"{folder}/intel-rapl:0:0/max_energy_range_uj": span,
            f"{folder}/intel-rapl:1/name": "psys",
            f"{folder}/intel-rapl:1/energy_uj": 9,
            f"{folder}/intel-rapl:1/max_energy_range_uj": span,
        },
    )


def orin(root: Path) -> Path:
    """The INA3221 of a Jetson Orin Nano: three rails, and the kernel's sum of them."""
    chip = "class/hwmon/hwmon1"
    rails = [("VDD_IN", 4968, 944), ("VDD_CPU_GPU_CV", 4960, 144), ("VDD_SOC", 4960, 288)]
    values: dict[str, object] = {f"{chip}/name": "ina3221", "class/hwmon/hwmon0/name": "soc_thermal"}
    for number, (label, millivolts, milliamperes) in enumerate(rails, 1):
        values |= {f"{chip}/in{number}_label": label, f"{chip}/in{number}_enable": 1}
        values |= {f"{chip}/in{number}_input": millivolts, f"{chip}/curr{number}_input": milliamperes}
    values |= {f"{chip}/curr4_input": 1376, f"{chip}/curr4_label": "sum of shunt voltages", f"{chip}/in4_input": 8}
    return tree(root, **values)


@contextmanager
def drawing(root: Path, watts: Callable[[], float], span: int = 10**12) -> Iterator[None]:
    """The package's counter moves as under a load of so many watts, in microjoules from real time, and wraps."""
    file, ended = root / "class/powercap/intel-rapl:0/energy_uj", threading.Event()
    staging = root / "next"
    state = float(file.read_text())

    def advance() -> None:
        nonlocal state
        before = time.perf_counter()
        while not ended.wait(0.0005):
            now = time.perf_counter()
            state = (state + 1e6 * watts() * (now - before)) % (span + 1)
            before = now
            staging.write_text(f"{int(state)}\n")
            os.replace(staging, file)

    thread = threading.Thread(target=advance)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def found(root: Path) -> Meter:
    meter = meters.find(root)
    assert isinstance(meter, Meter), meter
    return meter


def test_the_package_counts_and_its_parts_do_not(tmp_path: Path) -> None:
    meter = found(rapl(tmp_path))
    assert (meter.name, len(meter.counters)) == ("rapl package-0", 1)
    assert meter.counters[0].read() == 1_000_000


def test_two_sockets_are_added(tmp_path: Path) -> None:
    root = tree(
        rapl(tmp_path), **{"class/powercap/intel-rapl:2/name": "package-1", "class/powercap/intel-rapl:2/energy_uj": 5}
    )
    assert found(root).rails == ("package-0", "package-1")


def test_a_board_is_read_by_the_rail_of_the_whole_board(tmp_path: Path) -> None:
    meter = found(orin(tmp_path))
    assert meter.name == "hwmon VDD_IN"
    assert meter.sensors[0].read() == 4968 * 944  # microwatts
    spent, seconds = meter.measured(lambda: time.sleep(0.1))
    assert spent == pytest.approx(4968 * 944 * seconds, rel=1e-9)


def test_boards_without_such_a_rail_are_added_up(tmp_path: Path) -> None:
    chip = "class/hwmon/hwmon2"
    root = tree(
        tmp_path, **{f"{chip}/name": "ina226", f"{chip}/power1_input": 1_500_000, f"{chip}/power2_input": 500_000}
    )
    meter = found(root)
    assert meter.rails == ("ina226 power1", "ina226 power2")
    assert sum(sensor.read() for sensor in meter.sensors) == 2_000_000


def test_a_jetson_nano_and_a_counting_sensor(tmp_path: Path) -> None:
    folder = "bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    root = tree(
        tmp_path / "a",
        **{f"{folder}/in_power0_input": 2413, f"{folder}/rail_name_0": "POM_5V_IN", f"{folder}/in_power1_input": 400},
    )
    meter = found(root)
    assert (meter.name, meter.sensors[0].read()) == ("iio POM_5V_IN", 2_413_000)
    chip = "class/hwmon/hwmon0"
    root = tree(tmp_path / "b", **{f"{chip}/name": "ina228", f"{chip}/energy1_input": 77})
    assert found(root).counters == (Counter(root / f"{chip}/energy1_input"),)


def test_a_channel_that_is_off_or_torn_is_left_out(tmp_path: Path) -> None:
    root = orin(tmp_path)
    (root / "class/hwmon/hwmon1/in1_enable").write_text("0\n")
    assert found(root).rails == ("VDD_CPU_GPU_CV", "VDD_SOC")
    (root / "class/hwmon/hwmon1/curr2_input").write_text("no number\n")
    assert isinstance(meters.find(root), Absent)


def test_no_meter_is_said(tmp_path: Path) -> None:
    answer = meters.find(tmp_path)
    assert isinstance(answer, Absent) and "no meter of energy here" in answer.why


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="a system without users")
def test_permission_denied_is_said_with_the_remedy(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    root = rapl(tmp_path)
    file = root / "class/powercap/intel-rapl:0/energy_uj"
    file.chmod(0o400)
    if os.geteuid() == 0:
        parents = [tmp_path, *list(tmp_path.parents)[:3]]
        modes = {folder: folder.stat().st_mode for folder in parents if str(folder) != "/"}
        for folder in modes:
            folder.chmod(0o755 if folder != Path("/tmp") else 0o1777)
        os.seteuid(65534)
        try:
            answer = meters.find(root)
        finally:
            os.seteuid(0)
            for folder, mode in modes.items():
                folder.chmod(mode & 0o7777)
    else:
        file.chmod(0)
        answer = meters.find(root)
    assert isinstance(answer, Absent) and "read by root alone" in answer.why and str(file) in answer.why


@given(st.integers(1, 10**12), st.data())
@settings(max_examples=200, deadline=None)
def test_a_counter_that_wraps(span: int, data: st.DataObject) -> None:
    before = data.draw(st.integers(0, span))
    spent = data.draw(st.integers(0, span))
    after = (before + spent) % (span + 1)
    assert Counter(Path("x"), span).between(before, after) == spent


def test_a_counter_that_goes_down_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="went down from 5 to 4"):
        Counter(tmp_path / "x").between(5, 4)
    assert Counter(tmp_path / "x").between(5, 9) == 4


@given(st.lists(st.floats(0.001, 0.5), min_size=2, max_size=30), st.floats(1, 1e7), st.floats(-1e6, 1e6))
@settings(max_examples=200, deadline=None)
def test_the_integral_of_a_ramp_is_exact(steps: list[float], base: float, slope: float) -> None:
    at = np.cumsum(steps)
    power = base + slope * at
    begin, end = at[0] + 0.25 * (at[-1] - at[0]), at[0] + 0.75 * (at[-1] - at[0])
    exact = base * (end - begin) + slope * (end**2 - begin**2) / 2
    scale = (abs(base) + abs(slope) * at[-1]) * (end - begin)
    assert abs(meters.integrate(at, power, begin, end) - exact) <= 1e-9 * scale


def test_joules_of_a_known_load(tmp_path: Path) -> None:
    """Two sides under 10 and 20 W, as long a run: 20 and 40 mJ, twice as much; the counter wraps again and again."""
    span = 3_000_000
    root = rapl(tmp_path, start=span - 1000, span=span)
    watts = 5.0

    def run(power: float) -> None:
        nonlocal watts
        watts = power
        time.sleep(0.002)

    with drawing(root, lambda: watts, span):
        meter = found(root)
        assert energy.idle(meter, 0.2) == pytest.approx(5, rel=0.2)
        sides = [partial(energy.block, meter, partial(run, power), 0.05) for power in (10.0, 20.0)]
        result = energy.compare(meter.name, sides, 5.0, rng=np.random.default_rng(0))
    assert isinstance(result, Energy) and result.blocks == 16
    assert result.ratio == pytest.approx(2, rel=0.25) and result.ci99 is not None
    assert result.ci99[0] < result.ratio < result.ci99[1] and result.ci99[0] > 1.3
    assert result.mj[1] / result.mj[0] == pytest.approx(2, rel=0.3)


def test_a_dead_counter_measures_nothing(tmp_path: Path) -> None:
    meter = found(rapl(tmp_path))
    result = energy.compare(meter.name, [partial(energy.block, meter, lambda: None, 0.002)], None)
    assert isinstance(result, Absent) and "does not move" in result.why


def test_a_meter_that_vanishes_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = rapl(tmp_path)
    monkeypatch.setattr(meters, "SYS", root)

    def run() -> None:
        (root / "class/powercap/intel-rapl:0/energy_uj").unlink(missing_ok=True)

    result = energy.here([run])
    assert isinstance(result, Absent) and "could not be read all through" in result.why


def test_a_worker_reads_the_meter_of_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Session:
        def invoke(self) -> None:
            time.sleep(0.001)

    worker = Worker()
    worker.session = Session()
    monkeypatch.setattr(meters, "SYS", tmp_path)
    assert "no meter" in worker.answer({"do": "energy", "seconds": 0.01})["absent"]
    orin(tmp_path)
    answer = worker.answer({"do": "energy", "seconds": 0.05})
    assert answer["meter"] == "hwmon VDD_IN" and answer["runs"] >= 5
    assert answer["uj"] == pytest.approx(4968 * 944 * answer["seconds"], rel=1e-6)
    answer = worker.answer({"do": "energy", "seconds": 0.05, "idle": True})
    assert answer["uj"] / answer["seconds"] == pytest.approx(4968 * 944, rel=1e-6)


def energies(mj: float, bounds: tuple[float, float] | None) -> Energy:
    return Energy("hwmon VDD_IN", (2 * mj, mj), ((2 * mj, 2 * mj), bounds), 0.5, (0.4, 0.6), 2.0, 16)


@pytest.mark.parametrize(
    ("mj", "bounds", "decide", "verdict"),
    [
        (0.9, (0.8, 1.1), "point", PASS),
        (1.1, (0.8, 1.2), "point", FAIL),
        (0.9, (0.8, 0.95), "bound", PASS),
        (0.9, (0.8, 1.1), "bound", INCONCLUSIVE),
        (1.2, (1.1, 1.3), "bound", FAIL),
        (0.9, None, "bound", INCONCLUSIVE),
    ],
)
def test_the_gate(mj: float, bounds: tuple[float, float] | None, decide: str, verdict: str) -> None:
    gates = Gates(energy_mj=1.0, decide=decide)
    judged = gate.budget(energies(mj, bounds), gates, on_target=True)
    assert (judged.verdict, judged.required, judged.unit, judged.n) == (verdict, True, "mJ", 16)
    elsewhere = gate.budget(energies(mj, bounds), gates, on_target=False)
    assert (elsewhere.verdict, elsewhere.required) == (ADVISORY, False)


def test_the_gate_without_a_meter_is_unverified() -> None:
    judged = gate.budget(Absent("no meter of energy here"), Gates(energy_mj=1.0), on_target=True)
    assert (judged.verdict, judged.required) == (UNVERIFIED, False)
    assert "no meter" in judged.why and "--device" in judged.remedy


def test_in_words() -> None:
    table = energy.as_result(energies(1.5, (1.4, 1.6)), "float", "quantized")
    text = in_words.line(table)
    assert text.startswith("energy: float 3 mJ [3, 3], quantized 1.5 mJ [1.4, 1.6] a run, 0.5 times as much [0.4, 0.6]")
    assert text.endswith("(hwmon VDD_IN, idle 2 W; intervals of 99 %)")
    assert in_words.line(energy.as_result(Absent("no meter"), "")) == "energy: not measured; no meter"
    assert in_words.line(None) == ""
