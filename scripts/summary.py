"""Adds up pytest's JUnit files in a folder: the longest files, reasons of skipped tests, names of failed ones, and one
closing line.

    python scripts/summary.py FOLDER [--most-skips N [--without-peers]]

With `--most-skips` more skipped tests than that are an error (exit 1), so that no room falls out of a run unseen; with
`--without-peers` those that are marked `peer` are not counted, since their environment could not be installed.
"""

from __future__ import annotations

import argparse
import sys
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from pathlib import Path

#: how the reason ends that `tests/conftest.py` gives for a test marked `peer`
PEER = "(scripts/test --peers)"
#: files of tests that are listed with their time
LONGEST = 20


def main(folder: Path, most_skips: int | None = None, without_peers: bool = False) -> int:
    """Prints the sums; the exit code."""
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    failed: list[str] = []
    seconds: dict[str, float] = defaultdict(float)

    for path in sorted(folder.glob("*.xml")):
        for case in ET.parse(path).iter("testcase"):
            seconds[str(case.get("classname"))] += float(case.get("time") or 0)
            if (skip := case.find("skipped")) is not None:
                counts["skipped"] += 1
                reasons[skip.get("message") or "no reason"] += 1
            elif case.find("failure") is not None or case.find("error") is not None:
                counts["failed"] += 1
                failed.append(f"{case.get('classname')}::{case.get('name')}")
            else:
                counts["passed"] += 1

    for name, spent in sorted(seconds.items(), key=lambda item: -item[1])[:LONGEST]:
        print(f"{spent:6.0f} s in {name}")

    for reason, n in reasons.most_common():
        print(f"skipped {n}: {reason}")

    for name in failed:
        print(f"FAILED {name}")

    counted = sum(n for reason, n in reasons.items() if not (without_peers and reason.endswith(PEER)))
    too_many = most_skips is not None and counted > most_skips
    if too_many:
        print(f"FAILED: {counted} tests were skipped, {most_skips} at most may be (the reasons are above)")

    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return int(too_many)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--most-skips", type=int)
    parser.add_argument("--without-peers", action="store_true")
    options = parser.parse_args()
    sys.exit(main(options.folder, options.most_skips, options.without_peers))
