"""Meters of energy that Linux shows as files: counters of the CPU package, and sensors of power on boards.

    RAPL    /sys/class/powercap/intel-rapl:0/energy_uj   microjoules, wraps at max_energy_range_uj (Intel and AMD)
    hwmon   /sys/class/hwmon/hwmon3/energy1_input        microjoules
            /sys/class/hwmon/hwmon3/power1_input         microwatts (INA219, INA226, INA260 and others)
            .../in1_input, curr1_input, in1_label        millivolts and milliamperes of a rail (INA3221, every Jetson)
    iio     /sys/bus/i2c/drivers/ina3221x/.../in_power0_input, rail_name_0     milliwatts (Jetsons with Linux 4.9)

A counter is read before and after the work. A sensor of power is read all through it by a thread, and integrated by the
trapezoidal rule. tegrastats prints what the last two say. Where a chip has a rail that feeds the whole board
(`WHOLE_BOARD`), that one counts; else the sum of all rails that it names.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..core.files import text_of_sensor

SYS = Path("/sys")
#: labels of rails that feed the whole board: Jetson Orin and Xavier, Nano and TX2
WHOLE_BOARD = ("VDD_IN", "POM_5V_IN", "VIN_SYS_5V0", "VDD_IN_5V", "POM_5V_SYS")
#: seconds between two readings of a sensor of power
INTERVAL = 0.01


@dataclass(frozen=True)
class Absent:
    """No meter, and why in a sentence with what to do."""

    why: str


@dataclass(frozen=True)
class Counter:
    """One counter of microjoules; `wraps` is the value after which it begins at 0 again, 0 where it never does."""

    file: Path
    wraps: int = 0

    def read(self) -> int:
        return int(self.file.read_text())

    def between(self, before: int, after: int) -> int:
        """Microjoules from one reading to the next, the counter having wrapped at most once.

        Raises `ValueError` where it went down and does not wrap.
        """
        if after >= before:
            return after - before
        if not self.wraps:
            raise ValueError(f"{self.file} went down from {before} to {after}")
        return after - before + self.wraps + 1


@dataclass(frozen=True)
class Sensor:
    """One rail: microwatts as the product of its files' values times `scale`."""

    files: tuple[Path, ...]
    scale: float = 1.0

    def read(self) -> float:
        return self.scale * float(np.prod([int(file.read_text()) for file in self.files]))


@dataclass(frozen=True)
class Meter:
    """Where energy is read. `kind` is "rapl", "hwmon" or "iio", `rails` the names of what is added up."""

    kind: str
    rails: tuple[str, ...]
    counters: tuple[Counter, ...] = ()
    sensors: tuple[Sensor, ...] = field(default=())

    @property
    def name(self) -> str:
        return f"{self.kind} {' + '.join(self.rails)}"

    def measured(self, work: Callable[[], object]) -> tuple[float, float]:
        """(microjoules, seconds) while `work` runs. Raises `OSError` or `ValueError` where a reading fails."""
        if self.counters:
            before = [counter.read() for counter in self.counters]
            begun = time.perf_counter()
            work()
            seconds = time.perf_counter() - begun
            spent = [counter.between(b, counter.read()) for counter, b in zip(self.counters, before)]
            return float(sum(spent)), seconds
        return self._integrated(work)

    def _integrated(self, work: Callable[[], object]) -> tuple[float, float]:
        ended, readings, problems = threading.Event(), [self._power()], []

        def sample() -> None:
            while not ended.wait(INTERVAL):
                try:
                    readings.append(self._power())
                except (OSError, ValueError) as error:
                    problems.append(error)
                    return

        thread = threading.Thread(target=sample, daemon=True)
        thread.start()
        begun = time.perf_counter()

        try:
            work()
        finally:
            seconds = time.perf_counter() - begun
            ended.set()
            thread.join()

        if problems:
            raise problems[0]

        at, watts = zip(*[*readings, self._power()])
        return integrate(np.array(at), np.array(watts), begun, begun + seconds), seconds

    def _power(self) -> tuple[float, float]:
        """(the clock's seconds, microwatts of all rails)."""
        power = sum(sensor.read() for sensor in self.sensors)
        return time.perf_counter(), power


def integrate(at: np.ndarray, microwatts: np.ndarray, begin: float, end: float) -> float:
    """Microjoules from `begin` to `end` (s) by the trapezoidal rule over readings (n,) at the times `at` (n,), which
    ascend and enclose both; between two readings power is a straight line."""
    inside = (at > begin) & (at < end)
    times = np.concatenate([[begin], at[inside], [end]])
    power = np.interp(times, at, microwatts)
    return float(np.sum((power[1:] + power[:-1]) / 2 * np.diff(times)))


def find(root: Path | None = None) -> Meter | Absent:
    """The meter below `root` (None: /sys): sensors of a board before counters of a CPU, since they see more of it.

    What is there and cannot be read is named in `Absent`, with the command that makes it readable.
    """
    root = SYS if root is None else root
    refused: list[str] = []
    for candidate in (_iio, _hwmon, _rapl):
        for meter in candidate(root):
            try:
                for counter in meter.counters:
                    counter.read()
                for sensor in meter.sensors:
                    sensor.read()
            except PermissionError as error:
                refused.append(str(error.filename))
            except (OSError, ValueError):
                continue
            else:
                return meter

    if refused:
        return Absent(
            f"the meter {refused[0]} may be read by root alone (counters of energy have told secrets, CVE-2020-8694): "
            f"run as root, or `sudo chmod a+r {refused[0]}` until the next start"
        )

    return Absent(
        "no meter of energy here: neither RAPL (/sys/class/powercap), nor a sensor of power or energy in hwmon or iio; "
        "virtual machines and containers show none, and a Raspberry Pi has none"
    )


def _rapl(root: Path) -> Iterator[Meter]:
    """The packages of all sockets together. psys (the whole system) is left out where packages are there: its domains
    overlap with theirs, and on many machines it is not wired."""
    domains = [d for d in sorted(root.glob("class/powercap/intel-rapl:*")) if d.name.count(":") == 1]
    named = [(text_of_sensor(d / "name") or d.name, d) for d in domains if (d / "energy_uj").exists()]
    packages = [(name, d) for name, d in named if name.startswith("package")] or named
    if packages:
        counters = [Counter(d / "energy_uj", _number(d / "max_energy_range_uj")) for _, d in packages]
        yield Meter("rapl", tuple(name for name, _ in packages), tuple(counters))


def _hwmon(root: Path) -> Iterator[Meter]:
    """A chip's counters of energy, its sensors of power, or its pairs of voltage and current."""
    for chip in sorted(root.glob("class/hwmon/hwmon*")):
        name = text_of_sensor(chip / "name") or chip.name
        energies = sorted(chip.glob("energy[0-9]*_input"))
        powers = sorted([*chip.glob("power[0-9]*_input")])
        if energies:
            rails = tuple(_label(f, name) for f in energies)
            yield Meter("hwmon", rails, tuple(Counter(f) for f in energies))
        elif powers:
            yield _board("hwmon", [(_label(f, name), Sensor((f,))) for f in powers])
        elif pairs := _pairs(chip, name):
            yield _board("hwmon", pairs)


def _pairs(chip: Path, name: str) -> list[tuple[str, Sensor]]:
    """(rail, millivolts times milliamperes = microwatts) of the channels that measure a current and are in use."""
    rails = []
    for current in sorted(chip.glob("curr[0-9]*_input")):
        number = current.name[len("curr") : -len("_input")]
        voltage, enabled = chip / f"in{number}_input", text_of_sensor(chip / f"in{number}_enable")
        if (
            voltage.exists()
            and enabled != "0"
            and "sum" not in (text_of_sensor(chip / f"curr{number}_label") or "").lower()
        ):
            rails.append((_label(voltage, name), Sensor((voltage, current))))

    return rails


def _iio(root: Path) -> Iterator[Meter]:
    for folder in sorted({f.parent for f in root.glob("bus/i2c/drivers/ina3221x/*/iio:device*/in_power*_input")}):
        rails = []
        for file in sorted(folder.glob("in_power*_input")):
            number = file.name[len("in_power") : -len("_input")]
            rails.append((text_of_sensor(folder / f"rail_name_{number}") or f"rail {number}", Sensor((file,), 1000.0)))
        yield _board("iio", rails)


def _board(kind: str, rails: list[tuple[str, Sensor]]) -> Meter:
    """The rail of the whole board where there is one, else all of them."""
    whole = [(name, sensor) for name, sensor in rails if name in WHOLE_BOARD][:1]
    chosen = whole or rails
    return Meter(kind, tuple(name for name, _ in chosen), sensors=tuple(sensor for _, sensor in chosen))


def _label(file: Path, chip: str) -> str:
    label = text_of_sensor(file.with_name(file.name.replace("_input", "_label")))
    return label or f"{chip} {file.name.removesuffix('_input')}"


def _number(file: Path) -> int:
    text = text_of_sensor(file) or ""
    return int(text) if text.isdigit() else 0
