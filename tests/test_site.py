"""The documentation site: every page is in its navigation, and links follow pages from elsewhere in the checkout."""

from __future__ import annotations

import importlib.util
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def links() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_links", ROOT / "scripts" / "docs_links.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def listed(entry: Any) -> Iterator[str]:
    """The pages of a navigation, in its order."""
    if isinstance(entry, str):
        yield entry
    for part in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from listed(part)


def test_every_page_is_in_the_navigation_once(links: ModuleType) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    pages = list(listed(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(pages) == sorted(written | set(links.PAGES))


def test_nothing_is_loaded_from_elsewhere() -> None:
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in settings and "extra_javascript" not in settings
    assert re.findall("^extra_css: (.*)$", settings, re.M) == ["[site.css]"]
    assert not re.search(r"url\(|@import", (ROOT / "docs" / "site.css").read_text(encoding="utf-8"))


def test_files_that_are_no_pages_are_linked_as_they_are(links: ModuleType) -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="getting-started.md"))
    assert links.on_page_markdown("[a](../constraints.txt)", page=page) == "[a](constraints.txt)"
    assert all((ROOT / name).is_file() for name in links.FILES)


@pytest.mark.parametrize(
    "page, before, after",
    [
        ("boards.md", "[a](../benchmarks/RESULTS.md)", "[a](benchmarks/RESULTS.md)"),
        ("boards.md", "[a](verdicts.md#leaks)", "[a](verdicts.md#leaks)"),
        ("reference/contract.md", "[a](../verdicts.md)", "[a](../verdicts.md)"),
        ("reference/contract.md", "[a](../../SECURITY.md)", "[a](../SECURITY.md)"),
        ("SECURITY.md", "[a](docs/verdicts.md)", "[a](verdicts.md)"),
        ("benchmarks/RESULTS.md", "[a](../docs/boards.md#b)", "[a](../boards.md#b)"),
        ("reference/contract.md", "[a table](../../edgeft/schemas/x.json)", "a table (`edgeft/schemas/x.json`)"),
        ("boards.md", "[`edgeft/x.py`](../edgeft/x.py)", "`edgeft/x.py`"),
        ("boards.md", "`[a](../x.py)`", "`[a](../x.py)`"),
        ("boards.md", "```sh\n[a](../x.py)\n```", "```sh\n[a](../x.py)\n```"),
        ("benchmarks/RESULTS.md", "![a](../docs/pictures/x.svg)", "![a](../pictures/x.svg)"),
        ("boards.md", "[a](https://a.b/c) [b](#here) ![c](pictures/x.png)", None),
    ],
)
def test_links_follow_the_checkout(links: ModuleType, page: str, before: str, after: str | None) -> None:
    shown = links.on_page_markdown(before, page=SimpleNamespace(file=SimpleNamespace(src_uri=page)))
    assert shown == (before if after is None else after)


def test_links_between_pages_lead_to_files() -> None:
    """The site's own build checks the pages of docs/; this one checks every Markdown file, and without mkdocs."""
    broken = []
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]:
        text = re.sub(r"^```.*?^```$|`[^`\n]+`", "", path.read_text(encoding="utf-8"), flags=re.S | re.M)
        for link in re.findall(r"\]\(([^)\s#:]+)(?:#[^)\s]*)?\)", text):
            place = posixpath.normpath((path.parent / link).as_posix())
            if not Path(place).exists():
                broken.append(f"{path.relative_to(ROOT)}: {link}")
    assert not broken
