"""Is the board too hot, or short of power? Temperatures of its thermal zones, and whether its clock was lowered.

A throttled board is slower than usual: measurements of that time do not describe the artifact. Sources, each optional:
Linux thermal zones, the Raspberry Pi firmware's `get_throttled` word (in sysfs), Intel's count of throttle events, and
the power mode file of a Jetson.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.files import text_of_sensor

SYS = Path("/sys")
#: bits of the Raspberry Pi's word that hold now; the same bits 16 higher have held since it started
PI_BITS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
_PI = "devices/platform/soc/soc:firmware/get_throttled"
_JETSON_MODE = Path("/var/lib/nvpmodel/status")


def read(root: Path = SYS, mode: Path = _JETSON_MODE) -> dict[str, Any]:
    """{"celsius" {zone: degrees}, "events" (a count or None), "now" [words], "power_mode"}; empty or None: unknown."""
    return {
        "celsius": _zones(root),
        "events": _events(root),
        "now": _pi(root),
        "power_mode": text_of_sensor(mode),
    }


def throttled(before: dict[str, Any], after: dict[str, Any]) -> bool | None:
    """Whether the clock was lowered between two readings, or is at the second; None where the system does not tell."""
    if after["now"] is None and after["events"] is None:
        return None
    counted = (after["events"] or 0) > (before["events"] or 0)
    return bool(after["now"]) or counted


def _zones(root: Path) -> dict[str, float]:
    zones = {}
    for zone in sorted(root.glob("class/thermal/thermal_zone*")):
        value = text_of_sensor(zone / "temp")
        if value and value.lstrip("-").isdigit():
            zones[text_of_sensor(zone / "type") or zone.name] = int(value) / 1000

    return zones


def _events(root: Path) -> int | None:
    counts = [text_of_sensor(path) for path in root.glob("devices/system/cpu/cpu*/thermal_throttle/*_throttle_count")]
    numbers = [int(count) for count in counts if count and count.isdigit()]
    return sum(numbers) if numbers else None


def _pi(root: Path) -> list[str] | None:
    text = text_of_sensor(root / _PI)
    if text is None:
        return None

    try:
        word = int(text, 16)
    except ValueError:
        return None

    return [name for bit, name in PI_BITS.items() if word >> bit & 1]
