"""The origin of a bundle on a report page: a digest shows alteration, only a signature shows origin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import words

#: what a page says: it is written from a folder whose signature nobody checks then
PAGE = (
    "Integrity only: this page repeats what the bundle records and does not show who made it. "
    "`edgeft verify --trust KEYS` checks its signature."
)


def sentence(report: Mapping[str, Any]) -> str:
    """The line of a terminal: by which key a bundle is signed, where this run has checked that, else integrity only."""
    trust = words.table(report.get("trust"))
    if trust.get("status") == "signed":
        return f"signed by {words.line(trust.get('file') or 'a trusted key')}, key {words.line(trust.get('key'))[:16]}"
    if trust.get("signed"):
        return "integrity only: the signature was not checked (--trust KEYS checks it)"
    return "integrity only: no signature says who made this bundle"
