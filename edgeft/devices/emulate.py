"""Boards emulated: the real ARM build of a runtime under qemu-user, on the instructions of the board's CPU.

`edgeft device setup emulate:rpi4` puts three things into the cache, without root: qemu-user 10 (Debian 13's, static),
Python 3.11 of the board's architecture (Debian 12's packages, unpacked), and the runtime's wheels for it. What runs
there runs the kernels that the board runs: accuracy, agreement and refusals are the board's. Time is not, and is never
shown.

    cache/qemu-VERSION/usr/bin/qemu-aarch64      root-ISA-VERSION/        site-ISA-DIGEST/       lib-DIGEST/edgeft
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import shipped
from ..config import target as targets
from ..core import environment, files, interpreter, once
from ..core.errors import InvalidInput, Missing, SystemFailure, UsageError, nearest
from . import debian, known
from .packages import ALWAYS, bare, for_runtime, of_target

#: Debian 13's qemu: version 10 gives the right cores, Debian 12's 7.2 does not
QEMU = ("trixie", {"x86_64": "amd64", "aarch64": "arm64"})
#: the emulated system: Debian 12, whose Python 3.11 and glibc 2.36 the wheels of all runtimes accept
SUITE = "bookworm"
#: seconds that Python and numpy may take to start under qemu
START_SECONDS = 300.0
_ROOT = (
    *("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libssl3", "libffi8", "libbz2-1.0", "liblzma5"),
    *("libcrypt1", "libuuid1", "libatomic1", "libgomp1"),
    *("libpython3.11-minimal", "libpython3.11-stdlib", "python3.11-minimal"),
)


@dataclass(frozen=True)
class Machine:
    """One emulated architecture: qemu's program, Debian's name, the tags of wheels, packages that have no wheel."""

    qemu: str
    debian: str
    tag: str
    extra: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()  # distributions that the packages in `extra` bring


MACHINES = {
    "aarch64": Machine("qemu-aarch64", "arm64", "aarch64"),
    # the index has no wheels of numpy for armv7: Debian's numpy 1.24 stands in
    "armv7": Machine(
        "qemu-arm", "armhf", "armv7l", ("python3-numpy", "libblas3", "liblapack3", "libgfortran5"), ("numpy", "pillow")
    ),
}


@dataclass(frozen=True)
class Emulated:
    """One emulated board; `record` holds its paths in the cache and the versions of what runs there."""

    name: str
    record: dict[str, Any] = field(compare=False)
    where, timed = "emulated", False

    @classmethod
    def known(cls, name: str) -> Emulated:
        profile_of(name)
        record = known.read(name)
        if record is None:
            raise Missing(f"{name} is not set up", remedy=f"edgeft device setup {name}")

        for key in ("qemu", "root", "site"):
            if not Path(record[key]).exists():
                raise Missing(f"{record[key]} is gone", where=name, remedy=f"edgeft device setup {name}")

        return cls(name, record)

    def argv(self, code: str, *args: str) -> list[str]:
        root, lib = self.record["root"], package(cache())
        folders = (self.record["site"], f"{root}/usr/lib/python3/dist-packages")
        return [
            *(self.record["qemu"], "-cpu", self.record["cpu"], "-L", root),
            *("-E", "LD_LIBRARY_PATH=" + ":".join(f"{root}/{place}" for place in _libraries(self.record["isa"]))),
            *interpreter.emulated(f"{root}/usr/bin/python3.11", f"{lib}/edgeft", folders, code, *args),
        ]

    def place(self, bundle: Path) -> str:
        return str(bundle.resolve())

    def carry(self, path: Path) -> str:
        return str(path.resolve())

    def suspect(self) -> str:
        """What to name when the runtime dies: the wheels and the CPU."""
        wheels = ", ".join(f"{name} {version}" for name, version in self.record["runtimes"].items())
        return f"{wheels} on {self.record['cpu']} ({self.record['isa']})"


def cache() -> Path:
    """`~/.cache/edgeft/emulate`, below `XDG_CACHE_HOME` where that is set."""
    return environment.cache("emulate")


def profile_of(name: str) -> tuple[targets.Target, str]:
    """(profile, qemu's name of its CPU) of `emulate:TARGET`; raises `UsageError` for what cannot be emulated."""
    profile = targets.load(name.removeprefix("emulate:"))
    if not profile.emulate_cpu or profile.isa not in MACHINES:
        able = [n for n in targets.names() if targets.load(n).emulate_cpu]
        raise UsageError(f"{profile.name} cannot be emulated", where=name, remedy=f"these can: {', '.join(able)}")

    return profile, profile.emulate_cpu


def setup(
    name: str,
    *,
    runtimes: Sequence[str] = (),
    extras: Sequence[str] = (),
    isa: str | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Fetch, check and unpack what an emulated board runs; the record that `known` keeps.

    `runtimes` as `devices.setup.setup`, each with a version where one is wanted (`onnxruntime==1.21.0`); none means the
    profile's own. `extras` as there. `isa` "armv7" is the 32-bit system of a 64-bit board. Raises `Missing` without a
    connection or a wheel, `UsageError` for a board that cannot be emulated here.
    """
    profile, cpu = profile_of(name)
    isa = isa or profile.isa
    if isa not in MACHINES:
        raise UsageError(f"{isa!r} cannot be emulated", where="--isa", remedy=nearest(isa, MACHINES))

    host = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine())
    if host not in QEMU[1] or not sys.platform.startswith("linux"):
        raise Missing(f"boards are emulated on Linux, x86_64 or aarch64, not on {host}", where=name)

    machine = MACHINES[isa]
    selected = list(runtimes) or [of_target(profile, isa)]
    packages = for_runtime(selected, extras)
    place = cache()
    with files.system_errors(place):
        place.mkdir(parents=True, exist_ok=True)
        qemu = _qemu(place, machine, host, say)
        root, versions = _root(place, isa, machine, say)
        site, wheels = _site(place, isa, machine, packages, say)
    record = {
        "python": f"{root}/usr/bin/python3.11",
        "qemu": str(qemu),
        "root": str(root),
        "site": str(site),
        "cpu": cpu if isa == profile.isa else "cortex-a15",
        "isa": isa,
        "target": profile.name,
        "machine": isa,
        "packages": {**{k: v for k, v in versions.items() if k in machine.extra[:1]}, **wheels},
    }
    device = Emulated(name, record)
    done = environment.run(
        device.argv("import numpy, platform; print(platform.machine(), numpy.__version__)"), START_SECONDS
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"signal {-done.returncode}"])[-1]
        raise SystemFailure(f"its Python does not start: {last}", where=name, remedy=f"remove {place}, set it up again")
    names = [bare(package) for package in packages]
    plain = {bare(package) for package in (*ALWAYS, *for_runtime([], extras))}
    record["runtimes"] = {name: wheels[name] for name in names if name in wheels and name not in plain}
    known.write(name, record)
    return {**record, "name": name}


def package(place: Path) -> Path:
    """This package in the cache by content: a folder that holds nothing else of this environment."""
    source = Path(__file__).resolve().parents[1]
    names = {f"edgeft/{path.relative_to(source).as_posix()}": path for path in _sources(source)}
    for folder in ("targets", "calibration"):
        where = shipped.folder(folder)
        names |= {f"edgeft/_shipped/{folder}/{path.name}": path for path in where.glob("*.toml")}

    digest = hashlib.sha256()
    for name, path in sorted(names.items()):
        digest.update(f"{name}\0{files.sha256(path)}\n".encode())

    target = place / f"lib-{digest.hexdigest()[:16]}"

    def fill(folder: Path) -> None:
        for name, path in names.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)

    once.folder(target, fill)
    return target


def _sources(source: Path) -> list[Path]:
    skip = {"__pycache__", "_shipped"}
    return sorted(p for p in source.rglob("*") if p.is_file() and not skip & set(p.relative_to(source).parts))


def _qemu(place: Path, machine: Machine, host: str, say: Callable[[str], None]) -> Path:
    suite, names = QEMU
    installed = sorted(place.glob(f"qemu-*/usr/bin/{machine.qemu}"))
    if installed:
        return installed[-1]

    say("fetching qemu-user (70 MB)")
    index = debian.index(suite, names[host])
    version = re.sub(r"[^\w.]+", "-", index["qemu-user"]["Version"])
    programs = [f"usr/bin/{emulator.qemu}" for emulator in MACHINES.values()]
    target = place / f"qemu-{version}"

    def fill(folder: Path) -> None:
        debian.unpack(["qemu-user"], index, folder, only=programs)

    once.folder(target, fill)
    return target / "usr/bin" / machine.qemu


def _root(place: Path, isa: str, machine: Machine, say: Callable[[str], None]) -> tuple[Path, dict[str, str]]:
    import json

    installed = sorted(place.glob(f"root-{isa}-*/versions.json"))
    if installed:
        return installed[-1].parent, json.loads(installed[-1].read_text())

    say(f"fetching Python 3.11 for {isa}")
    index = debian.index(SUITE, machine.debian)
    target = place / f"root-{isa}-{re.sub(r'[^A-Za-z0-9.]+', '-', index['python3.11-minimal']['Version'])}"

    def fill(folder: Path) -> None:
        versions = debian.unpack((*_ROOT, *machine.extra), index, folder)
        files.write_json(folder / "versions.json", versions)

    once.folder(target, fill)
    return target, json.loads((target / "versions.json").read_text())


def _site(
    place: Path, isa: str, machine: Machine, packages: Sequence[str], say: Callable[[str], None]
) -> tuple[Path, dict[str, str]]:
    """The wheels of `packages` for the architecture, unpacked side by side; {distribution: version}."""
    selected = [package for package in packages if bare(package) not in machine.instead]
    digest = hashlib.sha256("\n".join([isa, *selected]).encode()).hexdigest()[:12]
    target = place / f"site-{isa}-{digest}"

    def fill(folder: Path) -> None:
        say(f"fetching wheels for {isa}: {', '.join(selected)}")
        wheels = folder / ".wheels"
        # every tag by name: with fewer, pip takes an old release whose wheel has an older tag, without a word
        tags = [f"manylinux_2_{minor}_{machine.tag}" for minor in range(36, 16, -1)]
        tags += [f"manylinux2014_{machine.tag}", f"linux_{machine.tag}", "any"]
        command = interpreter.module("pip", "download", "--quiet", "--disable-pip-version-check", "-d", str(wheels))
        command += ["--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"]
        command += ["--abi", "abi3", "--abi", "none", *(word for tag in tags for word in ("--platform", tag))]
        command += ["--no-deps"] if machine.instead else []
        done = environment.run([*command, *selected], environment.PIP_SECONDS)

        if done.returncode:
            environment.refused(done.stderr, place)
            lines = [line for line in done.stderr.splitlines() if "ERROR" in line] or done.stderr.splitlines()
            raise Missing(
                (lines or ["pip failed"])[0].removeprefix("ERROR: "),
                where=isa,
                remedy="name another version or runtime",
            )

        for wheel in sorted(wheels.glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                for name in archive.namelist():
                    if name.startswith("/") or ".." in name.split("/"):
                        raise InvalidInput(f"{name!r} leads out of the folder", where=wheel.name)
                archive.extractall(folder)

        shutil.rmtree(wheels)

    once.folder(target, fill)
    versions = {}
    for info in target.glob("*.dist-info/METADATA"):
        fields = info.read_text(encoding="utf-8", errors="replace").splitlines()
        name = next(line[6:] for line in fields if line.startswith("Name: "))
        versions[name.lower().replace("_", "-")] = next(line[9:] for line in fields if line.startswith("Version: "))

    return target, dict(sorted(versions.items()))


def _libraries(isa: str) -> tuple[str, ...]:
    triplet = {"aarch64": "aarch64-linux-gnu", "armv7": "arm-linux-gnueabihf"}[isa]
    base = (f"lib/{triplet}", f"usr/lib/{triplet}")
    return (*base, f"usr/lib/{triplet}/blas", f"usr/lib/{triplet}/lapack") if isa == "armv7" else base
