"""Results for people and machines: a page, a terminal, a pull request, a CI server.

html.py       one offline page of a bundle or a run        sections.py, page.py, plots.py, png.py   what it is made of
text.py       lines for a terminal                         markdown.py   a table for a pull request
junit.py      gates as test cases                          words.py      how figures are written, everywhere
sources.py    what a page needs, read from a bundle, a run directory or a store of baselines (trend.py)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def write(paths: Sequence[Path | str], file: Path | str) -> None:
    """Write the bundles, run directories and stores of baselines of `paths` as one offline page, `file`.

    Raises `BundleError` or `RunError` for a folder that is none of them or is damaged, and `SystemFailure` when the
    system refuses to write.
    """
    from ..core.files import write_text
    from . import html, sources

    write_text(file, html.document([sources.read(Path(path)) for path in paths]))
