"""Debian packages without root: looked up in the archive's index, checked by sha256, unpacked into a folder."""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import shutil
import ssl
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from ..core.errors import InvalidInput, Missing

#: where packages come from; `EDGEFT_DEBIAN` names a mirror
ARCHIVE = "https://deb.debian.org/debian"
SECONDS = 120.0


def mirror() -> str:
    return os.environ.get("EDGEFT_DEBIAN", ARCHIVE).rstrip("/")


def index(suite: str, architecture: str) -> dict[str, dict[str, str]]:
    """{package: its fields} of one suite's main section; its digest is that of the suite's Release file."""
    place = f"main/binary-{architecture}/Packages.xz"
    release = fetch(f"dists/{suite}/Release").decode("utf-8", "replace")
    packed = fetch(f"dists/{suite}/{place}")
    digest = hashlib.sha256(packed).hexdigest()
    listed = release.partition("\nSHA256:\n")[2]
    if not any(line.split() == [digest, str(len(packed)), place] for line in listed.splitlines()):
        raise InvalidInput("its digest is not the one in Release", where=f"{suite}/{place}", remedy="try again later")

    packages = {}
    for block in lzma.decompress(packed).decode("utf-8", "replace").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != " ")
        if "Package" in fields:
            packages[fields["Package"]] = fields

    return packages


def fetch(path: str, sha256: str = "") -> bytes:
    """One file of the archive; raises `Missing` without a connection, `InvalidInput` for another content."""
    url = f"{mirror()}/{path}"
    try:
        with urllib.request.urlopen(url, timeout=SECONDS, context=ssl.create_default_context()) as answer:
            data: bytes = answer.read()
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise Missing(
            f"could not be fetched ({reason})", where=url, remedy="EDGEFT_DEBIAN names a mirror that can be reached"
        ) from error

    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise InvalidInput("is not what the archive's index says (sha256)", where=url, remedy="try again later")

    return data


def unpack(
    packages: Iterable[str], known: Mapping[str, Mapping[str, str]], root: Path, *, only: Iterable[str] = ()
) -> dict[str, str]:
    """Put the files of `packages` below `root`; {package: version}. With `only`, just the members with these names."""
    names = set(only)
    versions = {}
    for name in packages:
        if name not in known:
            raise Missing(f"there is no package {name}", where=mirror(), remedy="EDGEFT_DEBIAN names another mirror")
        fields = known[name]
        _unpack(fetch(fields["Filename"], fields["SHA256"]), root, names)
        versions[name] = fields["Version"]

    return versions


def _unpack(deb: bytes, root: Path, names: set[str]) -> None:
    """The data of a .deb: an `ar` archive (60-byte heads, members padded to even length) that holds a tar."""
    at = 8
    while at < len(deb):
        name, size = deb[at : at + 16].decode().strip(" /"), int(deb[at + 48 : at + 58])
        if name.startswith("data.tar"):
            with tarfile.open(fileobj=io.BytesIO(deb[at + 60 : at + 60 + size])) as archive:
                for member in archive:
                    if not names or member.name.lstrip("./") in names:
                        _extract(archive, member, root)
            return
        at += 60 + size + size % 2

    raise InvalidInput("is not a Debian package", where="data.tar", remedy="try again later")


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, root: Path) -> None:
    """One member below `root`; absolute links are made relative to it, names that climb out are refused."""
    pure = PurePosixPath(member.name)
    if ".." in pure.parts or pure.is_absolute():
        raise InvalidInput(f"{member.name!r} leads out of the folder", where="data.tar")

    path = root / pure
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return

    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)

    if member.issym():
        target = member.linkname
        if target.startswith("/"):
            target = os.path.relpath(root / target.lstrip("/"), path.parent)
        path.symlink_to(target)
    elif member.islnk():
        os.link(root / PurePosixPath(member.linkname), path)
    elif member.isfile():
        source = archive.extractfile(member)
        assert source is not None
        with source, path.open("wb") as out:
            shutil.copyfileobj(source, out)
        path.chmod(member.mode & 0o755)
