"""Photographs a report page in a headless Chromium: the picture of docs/index.md.

    python scripts/report_picture.py PAGE.html OUT.png [WIDTH HEIGHT]

The page loads nothing, so no network is needed. Exit code 1 where no Chromium is installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def photograph(page: Path, picture: Path, width: int, height: int) -> None:
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise SystemExit("no Chromium is installed: apt-get install chromium")

    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                f"--user-data-dir={profile}", f"--window-size={width},{height}", f"--screenshot={picture.resolve()}",
                page.resolve().as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )  # fmt: skip


if __name__ == "__main__":
    page, picture, *size = sys.argv[1:]
    width, height = (int(number) for number in size) if size else (1000, 720)
    photograph(Path(page), Path(picture), width, height)
