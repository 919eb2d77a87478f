"""Adds up pytest's JUnit files in a folder: reasons of skipped tests, names of failed ones, and one closing line."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path


def main(folder: Path) -> None:
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    failed: list[str] = []
    for path in sorted(folder.glob("*.xml")):
        for case in ET.parse(path).iter("testcase"):
            if (skip := case.find("skipped")) is not None:
                counts["skipped"] += 1
                reasons[skip.get("message") or "no reason"] += 1
            elif case.find("failure") is not None or case.find("error") is not None:
                counts["failed"] += 1
                failed.append(f"{case.get('classname')}::{case.get('name')}")
            else:
                counts["passed"] += 1
    for reason, n in reasons.most_common():
        print(f"skipped {n}: {reason}")
    for name in failed:
        print(f"FAILED {name}")
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
