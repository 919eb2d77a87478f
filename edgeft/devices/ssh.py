"""Boards behind the system's own OpenSSH: its keys, its config, its known hosts; nothing is asked and nothing skipped.

What lies on the board, below `~/.edgeft` (or the folder that the address names):

    venv/                an environment with numpy, click and a runtime (none where setup was given --python)
    lib/DIGEST/          this package
    bundles/DIGEST/      bundles by content        data/DIGEST/    data by content

Each is carried over once: into a temporary folder, then renamed. Beside it lies DIGEST.sums with the SHA-256 of its
files, by which the board says before each use whether they are still those; where they are not they are sent again.
Nobody else on the board may read them. `EDGEFT_SSH_COMMAND` replaces `ssh` (for example `ssh -F config`).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shlex
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import shipped
from ..core import files, interpreter, strict_json
from ..core.errors import EdgeftError, InvalidInput, Missing, SystemFailure, UsageError
from . import known
from .link import LinkLost

OPTIONS = (
    *("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15"),
    *("-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3"),
)
ROOT = ".edgeft"
_ADDRESS = re.compile(
    r"ssh://(?:(?P<user>[A-Za-z0-9_][\w.-]*)@)?(?P<host>[A-Za-z0-9][\w.-]*|\[[0-9a-fA-F:]+\])(?::(?P<port>\d+))?(?P<root>/.*)?"
)
#: what ssh says -> (what we say, the kind, what to do)
_COMPLAINTS: tuple[tuple[str, str, type[EdgeftError], str], ...] = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key is not the one in known_hosts: another machine, or a board that was set up anew",
        InvalidInput,
        "find out which; only then: ssh-keygen -R {host}",
    ),
    (
        "Host key verification failed",
        "its host key is not in known_hosts",
        InvalidInput,
        "connect once by hand and compare the fingerprint: ssh {host}",
    ),
    (
        "Permission denied",
        "it rejects all of your ssh keys",
        Missing,
        "ssh-copy-id {host}, or name the key in ~/.ssh/config",
    ),
    ("Could not resolve hostname", "there is no such host", Missing, "check the name"),
    ("Connection refused", "nothing answers at that port", Missing, "is sshd running there?"),
    ("No route to host", "it cannot be reached", Missing, "is it switched on and on this network?"),
    ("timed out", "it does not answer", Missing, "is it switched on and on this network?"),
    ("Bad configuration", "ssh does not accept its own configuration", UsageError, "see ~/.ssh/config"),
)
#: unpacks an archive beside its place, then renames it. The temporary folder has the number of its shell: what shells
#: left that are gone is removed, what others are writing is not. `mv` puts a folder into one that came meanwhile.
#: Where the place is there its files are replaced, and what a device has learned beside them stays.
_UNPACK = """mkdir -p {shelf} && chmod 700 {shelf} && for old in {shelf}/{name}.*.tmp; do
  number=${{old%.tmp}}; kill -0 "${{number##*.}}" 2>/dev/null || rm -rf "$old"
done
new={shelf}/{name}.$$.tmp
rm -rf $new && mkdir $new && tar -xf - -C $new && mv -f $new/{sums} {place}.sums && {{
  if [ -d {place} ]; then cp -R $new/. {place}/; else mv $new {place}; fi; }}
code=$?; rm -rf $new {place}/{name}.$$.tmp; exit $code"""
#: says whether a place holds the files that its list names, and the list is the one with this digest
_COMPARED = """[ -d {place} ] && [ "$(sha256sum < {place}.sums)" = "{digest}  -" ] &&
(cd {place} && sha256sum -c ../{leaf}.sums >/dev/null 2>&1) && echo same || echo other"""
#: the list of digests within what is sent
SUMS = ".edgeft.sums"
#: what we say of a board that may answer a moment later
UNREACHABLE = ("nothing answers at that port", "it cannot be reached", "it does not answer")


@dataclass(frozen=True)
class Ssh:
    """One board. `python` and `lib` are paths below the board's root, as `setup` found or made them."""

    name: str
    user: str
    host: str
    port: int
    root: str
    python: str = "python3"
    lib: str = ""
    record: Mapping[str, Any] = field(default_factory=dict, compare=False)
    where, timed = "device", True

    @classmethod
    def parse(cls, name: str) -> Ssh:
        """An address; raises `UsageError` for one that ssh could take for an option or that is none."""
        match = _ADDRESS.fullmatch(name)
        port = int(match["port"] or 22) if match else 0
        if not match or not 0 < port < 65536 or (match["root"] and ".." in match["root"].split("/")):
            raise UsageError(f"{name!r} is not an address", where="--device", remedy="ssh://user@host[:port][/folder]")

        root = match["root"] if match["root"] and match["root"] != "/" else ROOT
        return cls(name, match["user"] or "", match["host"].strip("[]"), port if match["port"] else 0, root)

    @classmethod
    def known(cls, name: str, say: Callable[[str], None] = lambda text: None) -> Ssh:
        """A board that was set up, with this edgeft on it; raises `Missing` for another, and what connecting raises."""
        bare = cls.parse(name)
        record = known.read(name)
        if record is None:
            raise Missing(f"{name} is not set up", remedy=f"edgeft device setup {name}")

        board = bare.having(record)
        return board.having({**record, "lib": board.carry_package(say)})

    def having(self, record: Mapping[str, Any]) -> Ssh:
        return Ssh(
            self.name, self.user, self.host, self.port, self.root, record["python"], record.get("lib", ""), dict(record)
        )

    @property
    def target(self) -> str:
        return f"{self.user}@{self.host}" if self.user else self.host

    def ssh(self, script: str) -> list[str]:
        """The local command that runs a POSIX shell script there, in the board's root folder."""
        command = shlex.split(os.environ.get("EDGEFT_SSH_COMMAND", "ssh"))
        port = ["-p", str(self.port)] if self.port else []
        root = shlex.quote(self.root)
        inside = f"umask 077; mkdir -p {root} && cd {root} && {{ {script}\n}}"
        return [*command, *OPTIONS, *port, self.target, f"exec sh -c {shlex.quote(inside)}"]

    def argv(self, code: str, *args: str) -> list[str]:
        return self.ssh(f"exec {shlex.join(interpreter.there(self.python, f'{self.lib}/edgeft', code, *args))}")

    def run(self, script: str, *, timeout: float = 120.0, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a script there, and say in words what went wrong with the connection or, with `check`, the script."""
        try:
            done = subprocess.run(
                self.ssh(script),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LinkLost(f"no answer for {timeout:.0f} s", where=self.name) from error
        except OSError as error:
            raise Missing(
                f"ssh does not start: {error.strerror}", where=self.name, remedy="install OpenSSH's client"
            ) from error

        if done.returncode == 255 or (check and done.returncode):
            raise self.complaint(done.stderr)

        return done

    def complaint(self, output: str) -> EdgeftError:
        """What ssh, or a script, said on stderr, as an error."""
        for sign, words, kind, remedy in _COMPLAINTS:
            if sign in output:
                return kind(words, where=self.name, remedy=remedy.format(host=self.host))

        if "No space left on device" in output or "Wrote only" in output:  # the system's words, and tar's
            return SystemFailure("the disk is full", where=self.name, remedy=f"free some space on it ({self.root})")

        lines = [line for line in output.strip().splitlines() if line.strip()]
        if not lines:  # ssh says nothing where its server is killed at the wrong moment
            return LinkLost("the connection ended", where=self.name)

        last = lines[-1]
        if any(word in output for word in ("Connection closed", "Connection reset", "Broken pipe", "closed by remote")):
            return LinkLost(f"the connection broke: {last}", where=self.name)

        return SystemFailure(last, where=self.name)

    def place(self, bundle: Path) -> str:
        digest = files.sha256(bundle / "manifest.json")
        listed = strict_json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["files"]
        names = {name: bundle / name for name in (*listed, "manifest.json", "manifest.sha256")}
        return self._put("bundles", digest, names)

    def carry(self, path: Path) -> str:
        names = {path.name: path} if path.is_file() else {name: path / name for name in _walk(path)}
        digest = hashlib.sha256()
        for name, file in names.items():
            digest.update(f"{name}\0{files.sha256(file)}\n".encode())

        remote_path = self._put("data", digest.hexdigest(), names)
        return f"{remote_path}/{path.name}" if path.is_file() else remote_path

    def carry_package(self, say: Callable[[str], None] = lambda text: None) -> str:
        """This package in the board's `lib/`, by content; the folder that holds it."""
        package = Path(__file__).resolve().parents[1]
        names = {
            f"edgeft/{name}": package / name
            for name in _walk(package)
            if not name.endswith(".pyc") and "_shipped/" not in name
        }

        for folder in ("targets", "calibration"):
            where = shipped.folder(folder)
            names |= {
                f"edgeft/_shipped/{folder}/{name}": where / name for name in _walk(where) if name.endswith(".toml")
            }

        digest = hashlib.sha256()
        for name, file in sorted(names.items()):
            digest.update(f"{name}\0{files.sha256(file)}\n".encode())

        return self._put("lib", digest.hexdigest(), names, say)

    def _put(
        self, shelf: str, digest: str, names: Mapping[str, Path], say: Callable[[str], None] = lambda text: None
    ) -> str:
        """`names` as a folder `shelf/digest` there; nothing is sent where the same files are there already."""
        leaf, sums = digest[:32], _sums(names)
        remote_path = f"{shelf}/{leaf}"
        listed = hashlib.sha256(sums).hexdigest()
        same = _COMPARED.format(place=remote_path, leaf=leaf, digest=listed)
        if self.run(same).stdout.strip().endswith("same"):
            return remote_path

        say(f"{self.name}: carrying over {len(names)} files")
        script = _UNPACK.format(shelf=shelf, name=f".{digest[:12]}", place=remote_path, sums=SUMS)
        sender = subprocess.Popen(
            self.ssh(script), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

        with sender:
            try:
                errors = _sent(sender, names, sums)
            except BaseException:
                sender.kill()  # the board keeps nothing of a transfer that was cut short
                raise

        if sender.returncode:
            raise self.complaint(errors)

        return remote_path


def _sums(names: Mapping[str, Path]) -> bytes:
    """What `sha256sum` would write of the files; raises `InvalidInput` for names that its lines do not hold."""
    for name in names:
        if "\n" in name or "\r" in name or "\\" in name:
            raise InvalidInput(
                f"the name {name!r} has a line break or a backslash and is not sent to a board",
                where=str(names[name]),
                remedy="rename the file",
            )

    return "".join(f"{files.sha256(file)}  {name}\n" for name, file in names.items()).encode("utf-8", "surrogateescape")


def _private(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """For the user of the board alone; programs stay programs."""
    member.mode = 0o700 if member.mode & 0o100 else 0o600
    return member


def _sent(sender: subprocess.Popen[bytes], names: Mapping[str, Path], sums: bytes) -> str:
    """Write files and the list of their digests as a tar archive to a process that unpacks it; what it complains of."""
    assert sender.stdin is not None and sender.stderr is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        with tarfile.open(fileobj=sender.stdin, mode="w|", dereference=True) as archive:
            for name, file in names.items():
                archive.add(file, name, recursive=False, filter=_private)
            member = tarfile.TarInfo(SUMS)
            member.size, member.mode = len(sums), 0o600
            archive.addfile(member, io.BytesIO(sums))
        sender.stdin.close()

    errors = sender.stderr.read().decode(errors="replace")
    with contextlib.suppress(OSError):
        sender.stdin.close()

    return errors


def _walk(root: Path) -> Iterator[str]:
    """Every file below `root`, sorted, with forward slashes; caches of Python are left out."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            yield (Path(folder) / name).relative_to(root).as_posix()
