"""The machine a figure was measured on, as JSON values; every source is optional and nothing leaves the machine."""

from __future__ import annotations

import os
import platform
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

#: the instruction sets that decide which integer kernels a runtime picks. ARM says `asimd` for NEON on 64 bits.
FLAGS = (
    *("sse4_1", "avx", "avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("neon", "asimd", "asimdhp", "asimddp", "i8mm", "sve", "sve2", "bf16"),
)
#: ARM's /proc/cpuinfo names cores by part number only.
ARM_PARTS = {
    "0xd03": "Cortex-A53",
    "0xd05": "Cortex-A55",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd0b": "Cortex-A76",
    "0xd0d": "Cortex-A77",
    "0xd41": "Cortex-A78",
    "0xd42": "Cortex-A78AE",
    "0xd4b": "Cortex-A78C",
}
_CPUINFO = Path("/proc/cpuinfo")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def fingerprint(
    *, threads: int | None = None, runtime: Mapping[str, str] | None = None, cpuinfo: str | None = None
) -> dict[str, Any]:
    """{cpu, isa, cores, flags, kernel, governor, threads, python, numpy, runtime}; None where it cannot be told.

    `runtime` is {"name", "version"} of what ran, `threads` how many it was given; `cpuinfo` replaces /proc/cpuinfo.
    """
    import numpy

    text = _read(_CPUINFO) or "" if cpuinfo is None else cpuinfo
    return {
        "cpu": cpu_name(text),
        "isa": isa(),
        "cores": os.cpu_count(),
        "flags": sorted(cpu_flags(text)),
        "kernel": f"{platform.system()} {platform.release()}",
        "governor": _read(_GOVERNOR),
        "threads": threads,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "runtime": dict(runtime) if runtime else None,
    }


def isa() -> str:
    """x86_64, aarch64 or armv7, in the words of the target profiles; else what the system says."""
    machine = platform.machine().lower()
    name = {"amd64": "x86_64", "arm64": "aarch64", "armv7l": "armv7", "armv8l": "armv7"}.get(machine, machine)
    # a 32-bit Python on a 64-bit kernel, as Raspberry Pi OS often is, runs 32-bit kernels
    return "armv7" if name == "aarch64" and struct.calcsize("P") == 4 else name


def cpu_name(cpuinfo: str) -> str | None:
    """The processor's name from the text of /proc/cpuinfo, or the platform's guess."""
    fields = _fields(cpuinfo)
    for key in ("model name", "Hardware"):
        if fields.get(key):
            return fields[key][0]

    parts = dict.fromkeys(ARM_PARTS.get(part, part) for part in fields.get("CPU part", []))
    return " + ".join(parts) or platform.processor() or None


def cpu_flags(cpuinfo: str) -> set[str]:
    """Those of `FLAGS` that the text of /proc/cpuinfo shows."""
    fields = _fields(cpuinfo)
    words = {word for key in ("flags", "Features") for line in fields.get(key, []) for word in line.split()}
    return words & set(FLAGS)


def differences(first: Mapping[str, Any], second: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    """The `keys` in which two fingerprints differ: measurements may only be compared where there are none."""
    return [key for key in keys if first.get(key) != second.get(key)]


def _fields(cpuinfo: str) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for line in cpuinfo.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip(), []).append(value.strip())

    return fields


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
