"""A hook of mkdocs: pages and files of the checkout that lie outside of docs/ join the site, and links follow them.

Files link to each other by their place in the checkout, so that they also read well in a browser of repositories. A
link to a file that is no page of the site becomes the file's path in the checkout.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
#: files outside of docs/ that are pages of the site, under the same path
PAGES = ("SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/RESULTS.md")
#: files that are no pages, and that somebody without a checkout needs
FILES = ("constraints.txt", "constraints-vision.txt")
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")
_CODE = re.compile(r"(^```.*?^```$|(?<!\[)`[^`\n]+`)", re.S | re.M)


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    for name in (*PAGES, *FILES):
        files.append(File.generated(config, name, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    place = page.file.src_uri
    parts = _CODE.split(markdown)
    parts[::2] = [_LINK.sub(lambda match: _link(match, place), part) for part in parts[::2]]
    return "".join(parts)


def _link(match: re.Match[str], page: str) -> str:
    """A Markdown link or picture of `page` (a path of the site), for the site."""
    picture, text, link, anchor = match[1], match[2], match[3], match[4] or ""
    source = page if page in PAGES else f"docs/{page}"
    file = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    if file not in (*PAGES, *FILES) and not file.startswith("docs/"):
        if picture:
            return match[0]  # a picture that is no file of the site is a warning of mkdocs
        return f"{text} (`{file}`)" if text.strip("`") != file else f"`{file}`"

    target = posixpath.relpath(file.removeprefix("docs/"), posixpath.dirname(page) or ".")
    return f"{picture}[{text}]({target}{anchor})"
