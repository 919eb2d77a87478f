"""The keys of the tests of signatures: `<name>.pem` and `<name>.pub` in one folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeft.core import files


@dataclass(frozen=True)
class Keys:
    folder: Path

    def private(self, name: str) -> Path:
        return self.folder / f"{name}.pem"

    def public(self, name: str) -> Path:
        return self.folder / f"{name}.pub"

    def fingerprint(self, name: str) -> str:
        return files.sha256(self.public(name))
