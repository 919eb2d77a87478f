"""One verdict on bundles where a team decides about them: in a pull request, and before a commit.

`write` puts what was judged into a folder for CI, `tracked` judges what bundles in git's index record, without a
runtime.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .bundle import reader
from .core import files
from .core.errors import BundleError, EdgeftError, Missing, UsageError
from .core.verdict import FAIL, Verdict, worst
from .report import html, junit, markdown
from .verify import not_repeated

#: what `write` puts into its folder
SUMMARY, CASES, PAGE, RESULTS = "summary.md", "results.xml", "report.html", "gate.json"
_GIT_SECONDS = 60


def write(
    folder: Path, reports: Sequence[Mapping[str, Any]], benches: Sequence[Mapping[str, Any]], *, strict: bool = False
) -> None:
    """Write a summary for a pull request, JUnit cases, a page and all results as JSON into a folder that exists.

    `reports` are those of `edgeft.verify` and `benches` those of `edgeft.bench`. Raises `SystemFailure`.
    """
    results = [*reports, *benches]
    files.write_text(folder / SUMMARY, markdown.render(results))
    files.write_text(folder / CASES, junit.render(results, strict=strict))
    files.write_json(folder / RESULTS, {"reports": list(reports), "bench": list(benches)})
    parts = [html.bundle_part(report, reader.open(report["path"]).manifest) for report in reports]
    files.write_text(folder / PAGE, html.document(parts))


def beside(against: Path, bundle: Path) -> Path:
    """The bundle that `bundle` is compared with: `against` itself, or the one of the same name in this folder."""
    return against if (against / "manifest.json").exists() else against / bundle.resolve().name


def tracked(bundles: Sequence[Path], folder: Path) -> list[dict[str, Any]]:
    """The recorded verdict of bundles in git's index: {"path", "verdict"}, or {"path", "error"} of one that has none.

    `bundles` empty: all in the repository of `folder`. Every file that a manifest lists has to be in the index
    unchanged, and report.json too; its verdict is that of its gates. Nothing is run. Raises `UsageError` outside of a
    repository and for a named bundle that git does not know, `Missing` without git.
    """
    root = Path(_git(folder, "rev-parse", "--show-toplevel").rstrip("\n"))
    known = set(_git(root, "ls-files", "-z").split("\0"))
    found = [root / name for name in sorted(known) if Path(name).name == "manifest.sha256"]
    places = [path.parent for path in found if _in(path.parent, root, "manifest.json") in known]

    for bundle in bundles:
        if bundle.resolve() not in [place.resolve() for place in places]:
            remedy = f"git add {bundle}"
            raise UsageError("is no bundle that git knows", where=str(bundle), remedy=remedy)

    chosen = {bundle.resolve() for bundle in bundles}
    return [_recorded(place, root, known) for place in places if not chosen or place.resolve() in chosen]


def _recorded(place: Path, root: Path, known: set[str]) -> dict[str, Any]:
    name = place.relative_to(root).as_posix()
    try:
        opened = reader.open(place)
        listed = ["manifest.json", "manifest.sha256", not_repeated.REPORT, *opened.manifest["files"]]
        absent = [file for file in listed if _in(place, root, file) not in known]
        if absent:
            raise BundleError(f"{absent[0]} is not in the commit", where=name, remedy=f"git add -f {name}/{absent[0]}")
        if changed := _git(root, "diff", "--name-only", "--", name).splitlines():
            raise BundleError(f"{changed[0]} differs from what is staged", where=name, remedy=f"git add {name}")
        return {"path": name, "verdict": _verdict(place)}
    except EdgeftError as error:
        return {"path": name, "error": error.as_dict()}


def _in(place: Path, root: Path, file: str) -> str:
    """How git's index calls a file of a bundle."""
    return (place.relative_to(root) / file).as_posix()


def _verdict(place: Path) -> str:
    """The worst of the required gates that report.json records: its line `verdict` alone could have been edited."""
    gates = not_repeated.read(place)
    if not gates:
        raise BundleError("has no verdict", where=str(place), remedy=f"edgeft verify {place}, and export it again")
    table = reader.recorded_report(place) or {}
    judged = worst(Verdict(**{**gate, "ci95": gate["ci95"] and tuple(gate["ci95"])}) for gate in gates)
    return judged if table.get("verdict") == judged else FAIL


def _git(folder: Path, *words: str) -> str:
    """What git prints there; raises `UsageError` outside of a repository, `Missing` without git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=_GIT_SECONDS,
        )
    except FileNotFoundError as error:
        raise Missing("git is not installed", remedy="install git, or name the bundles without --tracked") from error

    if done.returncode:
        problem = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0]
        raise UsageError(f"git says: {problem}", where=str(folder), remedy="run it in a repository of git")

    return done.stdout
