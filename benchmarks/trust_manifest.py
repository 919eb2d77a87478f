"""What may stand in a manifest unnoticed: every key altered, every digest made anew, `edgeft verify` asked.

    python benchmarks/trust_manifest.py BUNDLE [--data DATA] [--log FILE] [--only PLACE]

A row of --log (JSON lines) for each alteration: its place, what verify said (`refused`, `fail`, `pass`, ...), and of those
that pass whether predictions or the report (figures, settings, gates; not times) differ from those of the original.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from trust_attacks import manifest, seal

#: digests of files: another one is a file that was altered
PASSED_OVER = ("files",)
REMOVED = "(removed)"
#: entries of a report that differ from run to run
_TIMED = ("fingerprint", "latency", "seconds", "why")


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value; of a long list that of the first two, of digests of weights that of the first."""
    if at:
        yield at
    inner = list(value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ())
    for key, below in inner[:1] if at == ("integer_weights",) else inner:
        if at or key not in PASSED_OVER:
            yield from places(below, (*at, key))


def others(value: Any) -> Iterator[Any]:
    """Values of the same type and of another one, in place of `value`."""
    if isinstance(value, bool):
        yield from (not value, "x")
    elif isinstance(value, (int, float)):
        yield from (value * 2 + 1, value / 2, 0, -1, 10**9, "7", [value])
    elif isinstance(value, str):
        yield from (value + "x", value[:-1], "", 7, [value])
    elif isinstance(value, list):
        yield from ([], value[1:], value[::-1], [*value, *value[:1]], "x", {})
    elif isinstance(value, dict):
        yield from ({}, {**value, "further": 1}, "x", [])
    else:
        yield from (1, "x", {})
    yield REMOVED


def alterations(table: dict[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """(place, the value put there, the altered manifest)."""
    for at in places(table):
        holder: Any = table
        for key in at:
            holder = holder[key]
        for value in others(holder):
            if value == holder and type(value) is type(holder):
                continue
            changed: Any = copy.deepcopy(table)
            inner = changed
            for key in at[:-1]:
                inner = inner[key]
            if value == REMOVED:
                del inner[at[-1]]
            else:
                inner[at[-1]] = value
            yield ".".join(map(str, at)), value, changed


def plain(value: Any) -> Any:
    """A report without what depends on the moment."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key not in _TIMED}
    return [plain(item) for item in value] if isinstance(value, list) else value


def answers(bundle: Path) -> list[str]:
    """What `predict` says of the stored samples."""
    from edgeft import tasks
    from edgeft.bundle import reader

    opened = reader.open(bundle)
    session = opened.session()
    words = []

    for raw in reader.raws(opened.samples())[:4]:
        outputs = session.run(opened.task.preprocess(raw, opened.preprocess))
        words.append(repr(tasks.tell(opened.task, outputs, raw, opened.preprocess, opened.labels, top=5)))

    return words


def asked(bundle: Path, data: Path | None) -> tuple[str, str, Any]:
    """(verdict, what decided, the report without times) of `verify` without timing."""
    from edgeft.core.errors import EdgeftError
    from edgeft.verify.run import run

    try:
        with np.errstate(all="ignore"):
            report = run(bundle, data, measure_latency=False, ask_compiler=False)
    except EdgeftError as error:
        return "refused", f"{error.where}: {error.message}"[:160], None
    except Exception as error:  # what must not be
        return "FOREIGN", f"{type(error).__name__}: {error}"[:160], None

    named = [f"{g['name']} ({g['metric']})" for g in report["gates"] if g["required"] and g["verdict"] != "pass"]
    return report["verdict"], ", ".join(dict.fromkeys(named)), plain(report)


def differs(first: Any, second: Any, at: str = "") -> Iterator[str]:
    """The places where two reports differ."""
    if isinstance(first, dict) and isinstance(second, dict):
        for key in sorted({*first, *second}):
            yield from differs(first.get(key), second.get(key), f"{at}.{key}" if at else key)
    elif first != second:
        yield at


def judged(original: Path, data: Path | None, only: str) -> Iterator[dict[str, Any]]:
    """A row for each alteration of the bundle's manifest."""
    verdict, named, report = asked(original, data)
    if verdict != "pass":
        raise SystemExit(f"{original}, as it is: {verdict}, {named}")

    before = answers(original)
    with tempfile.TemporaryDirectory(prefix="edgeft-manifest-") as folder:
        copied = Path(shutil.copytree(original, Path(folder) / "bundle"))
        for where, value, table in alterations(manifest(original)):
            if not where.startswith(only):
                continue
            seal(copied, table)
            verdict, named, now = asked(copied, data)
            row = {"place": where, "value": repr(value)[:60], "verdict": verdict, "named": named}
            if verdict == "pass":
                row["report"] = list(differs(report, now))
                try:
                    row["answers"] = answers(copied) != before
                except Exception as error:
                    row["answers"] = f"{type(error).__name__}: {error}"[:120]
            yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--only", default="", help="alter keys whose place begins so")
    arguments = parser.parse_args()
    rows = []

    for row in judged(arguments.bundle, arguments.data, arguments.only):
        rows.append(row)
        if arguments.log:
            with arguments.log.open("a") as handle:
                handle.write(json.dumps(row) + "\n")

    print(Counter(row["verdict"] for row in rows))
    for row in rows:
        if row["verdict"] in ("pass", "FOREIGN"):
            print(json.dumps(row))


if __name__ == "__main__":
    main()
