"""Finds phrases that documentation and messages do not use any more: scripts/retired_phrases.txt says what to write.

python scripts/prose.py [FILE...]     exit 1 where one is found; without FILE all Markdown, TOML and modules of edgeft
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
PHRASES = Path(__file__).with_name("retired_phrases.txt")
#: generated tables and the record of what was said in earlier versions
_LEFT_OUT = ("benchmarks/", "CHANGELOG.md")
_SUFFIXES = (".md", ".py", ".toml")
_OFF, _ON = "<!-- prose: off -->", "<!-- prose: on -->"


def phrases(text: str) -> dict[str, str]:
    """{retired phrase: what to write instead} of the lines of `text`."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {old.strip().lower(): new.strip() for old, _, new in (line.partition("=>") for line in lines)}


def findings(text: str, retired: dict[str, str]) -> Iterator[tuple[int, str]]:
    """(line, phrase) of each retired phrase in `text`; a phrase may go on in the next line."""
    hidden = re.compile(re.escape(_OFF) + ".*?" + re.escape(_ON), re.S)
    text = hidden.sub(lambda match: "\n" * match[0].count("\n"), text)
    for phrase in retired:
        # in Python a sentence may also be two adjacent literals, in comments a new line begins with a hash
        gap = r"(?:\s+|\s*[\"']?\s*\n\s*(?:#:?\s*|f?[\"'])?)"
        pattern = r"\b" + gap.join(map(re.escape, phrase.split())) + r"\b"
        for match in re.finditer(pattern, text, re.I):
            yield text.count("\n", 0, match.start()) + 1, phrase


def _files() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.splitlines() if name.endswith(_SUFFIXES) and not name.startswith(_LEFT_OUT)]


def main(names: Sequence[str]) -> int:
    """Prints `file:line: phrase -> instead`; 1 where a phrase is found."""
    retired = phrases(PHRASES.read_text(encoding="utf-8"))
    bad = 0
    for name in names or _files():
        path = ROOT / name
        if not path.is_file() or (name.endswith(".py") and not name.startswith("edgeft/") and not names):
            continue
        for line, phrase in findings(path.read_text(encoding="utf-8"), retired):
            print(f"{name}:{line}: {phrase!r} -> {retired[phrase]}")
            bad += 1

    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
