"""The command that installs an extra of edgeft from where this edgeft came: a checkout, a wheel, or a package index."""

from __future__ import annotations

import shlex
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def command(extra: str = "", *options: str) -> str:
    """`pip install` of edgeft, with an extra if one is named; `options` are pip's own, such as "--force-reinstall".

    What is not on an index cannot be installed by its name: a checkout is named by its folder (with its pins), a wheel
    by its file, as pip recorded them in `direct_url.json` (PEP 610).
    """
    suffix = f"[{extra}]" if extra else ""
    words = ["pip", "install", *options]
    folder = _checkout()

    if folder is not None:
        pins = folder / "constraints.txt"
        words += ["--constraint", str(pins)] if pins.is_file() and "--no-deps" not in options else []
        return shlex.join([*words, "-e", f"{folder}{suffix}"])

    wheel = _recorded()
    return shlex.join([*words, f"{wheel or 'edgeft'}{suffix}"])


def _checkout() -> Path | None:
    """The folder of the checkout that this package is imported from, or was installed from."""
    for folder in (_PACKAGE.parent, _recorded()):
        if folder is not None and (folder / "pyproject.toml").is_file() and (folder / "edgeft").is_dir():
            return folder
    return None


def _recorded() -> Path | None:
    """The folder or file that pip installed edgeft from, where it is still there."""
    import json  # here: every error message would load them otherwise
    from importlib import metadata
    from urllib.parse import unquote, urlsplit

    try:
        text = metadata.distribution("edgeft").read_text("direct_url.json") or "{}"
        url = urlsplit(str(json.loads(text).get("url", "")))
    except (metadata.PackageNotFoundError, ValueError, AttributeError):
        return None

    path = Path(unquote(url.path))
    return path if url.scheme == "file" and path.exists() else None
