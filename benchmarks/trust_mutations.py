"""Mutated inputs of the readers: what comes back is a value or one of our errors, in time and in memory.

    python benchmarks/trust_mutations.py READER FILE FIRST LAST SEED

prints one line an input, `NUMBER OUTCOME SECONDS`: the process may die, and whoever started it goes on behind that input.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import trust_readers

#: the limits of a reader: seconds an input, bytes of memory beside the interpreter with its libraries
SECONDS, MEMORY = 1.0, 512 << 20
#: inputs of one process of a reader
PIECE = 2000
_PIECES = (b"[" * 3000, b"9" * 400, b"\x00" * 64, b"\xff" * 64, b"1e999", b"NaN", b'{"a":' * 2000, "\u202e٣".encode())


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One to eight changes: a byte, a bit, a piece removed, doubled, moved, or replaced by what parsers dislike.

    Of an archive every second one is made in a member, which gets a checksum that fits it.
    """
    if data[:2] == b"PK" and rng.random() < 0.5:
        return _member_mutated(data, rng)

    out = bytearray(data)
    for _ in range(int(rng.integers(1, 9)) if rng.random() < 0.5 else 1):
        at, length = int(rng.integers(len(out) or 1)), int(rng.integers(1, 17))
        kind = int(rng.integers(6))
        if kind == 0 and out:
            out[at] = int(rng.integers(256))
        elif kind == 1 and out:
            out[at] ^= 1 << int(rng.integers(8))
        elif kind == 2:
            del out[at : at + length]
        elif kind == 3:
            out[at:at] = out[at : at + length]
        elif kind == 4:
            out[at : at + length] = _PIECES[int(rng.integers(len(_PIECES)))]
        else:
            del out[int(rng.integers(len(out) + 1)) if rng.random() < 0.1 else len(out) :]

    return bytes(out)


def _member_mutated(data: bytes, rng: np.random.Generator) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(content, "w") as after:
        names = before.namelist()
        chosen = names[int(rng.integers(len(names)))]
        for name in names:
            member = before.read(name)
            # what a reader decides by stands in the first bytes
            head = int(rng.integers(1, 200))
            after.writestr(name, mutated(member[:head], rng) + member[head:] if name == chosen else member)

    return content.getvalue()


def readers(backend: str) -> dict[str, Callable[[Path], Any]]:
    """Reader by name; each takes the path of a mutated copy."""
    from edgeft import backends
    from edgeft.bundle import manifest, reader
    from edgeft.config import target
    from edgeft.core import npz
    from edgeft.inputs import sound_file
    from edgeft.trust import tool
    from edgeft.verify import not_repeated

    def checked_manifest(path: Path) -> None:
        manifest.check(manifest.parse(path.read_bytes(), "manifest.json"))

    def artifact(path: Path) -> None:
        record = backends.get(backend)
        record.emitted(path)
        record.integer_weights(path)
        record.activation_grids(path)
        record.flow(path)

    def runtime(path: Path) -> None:
        session = backends.get(backend).load(path, threads=1, options=None)
        session.run({t.name: np.zeros([max(side, 1) for side in t.shape], np.float32) for t in session.inputs})

    def text_signature(path: Path) -> None:
        tool._statement(path.read_text("utf-8", errors="replace"), "b")

    return {
        "manifest.json": checked_manifest,
        "report.json": lambda path: not_repeated.read(path.parent),
        "samples.npz": npz.read,
        "profile.toml": lambda path: target.load(str(path)),
        "sound.wav": sound_file.read,
        "bundle.sigstore.json": text_signature,
        "bundle": lambda path: reader.open(path.parent),
        "artifact": artifact,
        "runtime": runtime,
        **trust_readers.readers(),
    }


def serve(name: str, backend: str, file: Path, first: int, last: int, seed: int) -> None:
    from edgeft.core import limits
    from edgeft.core.errors import EdgeftError

    read, original = readers(backend)[name], file.read_bytes()
    read(file)  # libraries are loaded here, and the original has to be readable
    taken = int(Path("/proc/self/status").read_text().split("VmData:")[1].split()[0]) << 10

    for number in range(first, last):
        file.write_bytes(mutated(original, np.random.default_rng([seed, number])))
        limits.apply(taken + MEMORY * (8 if name == "runtime" else 1), 30)
        begun = time.perf_counter()
        try:
            read(file)
            outcome = "read"
        except EdgeftError:
            outcome = "refused"
        except MemoryError:
            outcome = "memory"
        except Exception as error:
            outcome = f"foreign:{type(error).__name__}"
        print(number, outcome, f"{time.perf_counter() - begun:.4f}", flush=True)

    file.write_bytes(original)


def count(name: str, backend: str, file: Path, tries: int, seed: int, log: Path) -> dict[str, Any]:
    """Outcomes of so many inputs: a crash of the reader's process counts as one, and the next process goes on.

    `log` keeps what was counted, so that a later call goes on behind it, and the number of each input that crashed or
    raised what is not ours: `mutated` with the seed and that number makes it again.
    """
    row = json.loads(log.read_text()) if log.exists() else {"inputs": 0, "outcomes": {}, "slowest": 0.0, "bad": {}}
    outcomes, original = Counter(row["outcomes"]), file.read_bytes()
    while row["inputs"] < tries:
        last = min(row["inputs"] + PIECE, tries)
        words = [name, backend, str(file), str(row["inputs"]), str(last), str(seed)]
        done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=False)
        file.write_bytes(original)
        lines = [line.split() for line in done.stdout.splitlines() if line[:1].isdigit()]
        if done.returncode > 0 and not lines:
            raise SystemExit(f"{name}: {done.stderr[-2000:]}")
        row["inputs"] = int(lines[-1][0]) + 1 if lines else row["inputs"]
        row["slowest"] = max([row["slowest"], *(float(seconds) for _, _, seconds in lines)])
        if done.returncode:
            lines.append([str(row["inputs"]), f"signal:{-done.returncode}", "0"])
            row["inputs"] += 1
        outcomes.update(outcome for _, outcome, _ in lines)
        for number, outcome, seconds in lines:
            known = row["bad"].setdefault(outcome.partition(":")[2] or "slow", [])
            if (":" in outcome or float(seconds) > SECONDS) and len(known) < 20:
                known.append(int(number))
        row |= {"outcomes": dict(outcomes), "slow": row["slowest"] > SECONDS}
        row["bad"] = {key: numbers for key, numbers in row["bad"].items() if numbers}
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(json.dumps(row))

    return row


def inputs(bundle: Path, folder: Path) -> dict[str, tuple[str, Path]]:
    """Row title -> (reader, a copy of a real file that it reads); made in `folder`."""
    import wave

    table = json.loads((bundle / "manifest.json").read_text())
    backend = table["backend"]
    rows: dict[str, tuple[str, Path]] = {}

    for name in ("manifest.json", "report.json", "samples.npz", "bundle.sigstore.json"):
        copy = Path(shutil.copytree(bundle, folder / f"in-{name}"))
        rows[name] = (name, copy / name)

    for name in ("artifact", "runtime"):
        copy = Path(shutil.copytree(bundle, folder / f"in-{name}"))
        rows[f"{name}, {backend}"] = (name, copy / table["graphs"][0]["file"])

    rows["bundle, its manifest"] = ("bundle", Path(shutil.copytree(bundle, folder / "in-bundle")) / "manifest.json")
    with wave.open(str(folder / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(4000))

    root = Path(__file__).resolve().parent.parent
    shutil.copy(root / "targets" / "rpi5.toml", folder / "rpi5.toml")
    rows |= {"sound.wav": ("sound.wav", folder / "sound.wav"), "profile.toml": ("profile.toml", folder / "rpi5.toml")}

    for title, write in trust_readers.FILES.items():
        place = folder / f"in-{title.replace(' ', '-')}"
        place.mkdir()
        rows[title] = (title, write(place))

    return rows


if __name__ == "__main__":
    reader_name, backend_name, path, begin, end, seed_text = sys.argv[1:]
    serve(reader_name, backend_name, Path(path), int(begin), int(end), int(seed_text))
