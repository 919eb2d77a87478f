"""Boards emulated: the real ARM builds under qemu. What is fetched is kept for the module; no network: skipped."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sounds
import tiny_bundle

import edgeft
from edgeft.cli.entry import run as main
from edgeft.core.errors import InvalidInput, Missing, UsageError
from edgeft.devices import debian, emulate, packages
from edgeft.devices.call import held
from edgeft.devices.registry import get

TESTS = Path(__file__).resolve().parents[1]
RESULTS = TESTS.parent / "benchmarks" / "results" / "emulated.json"


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`emulate:rpi4` with LiteRT, in a cache of this module's."""
    folder = tmp_path_factory.mktemp("emulated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        _set_up("emulate:rpi4", "litert")
        yield "emulate:rpi4"


def _set_up(name: str, *runtimes: str, extras: tuple[str, ...] = ()) -> None:
    try:
        emulate.setup(name, runtimes=runtimes, extras=extras)
    except Missing as error:
        pytest.skip(f"cannot be set up here: {error.message}")


@pytest.mark.slow
def test_the_arm_build_verifies_a_bundle(emulated: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    made = tiny_bundle.build(tmp_path)
    report = edgeft.verify(made, device=emulated)
    assert report["fingerprint"]["isa"] == "aarch64" and report["fingerprint"]["runtime"]["name"] == "litert"
    judged = [gate for gate in report["gates"] if gate["name"] == "parity" and gate["required"]]
    assert judged and all(gate["verdict"] == "pass" for gate in judged)
    assert not [gate for gate in report["gates"] if gate["name"] == "latency"], "an emulator says nothing of speed"
    with pytest.raises(UsageError, match="no figure of speed"):
        edgeft.bench(made, device=emulated)
    assert main(["device", "check", emulated]) == 0
    assert "cortex-a72 (aarch64, emulated)" in capfd.readouterr().out


@pytest.mark.slow
def test_a_wheel_that_dies_on_the_cpu_is_a_fail_that_names_both(emulated: str, tmp_path: Path):
    made = tiny_bundle.build(tmp_path, "onnxruntime")
    _set_up(emulated, "onnxruntime==1.21.0")
    report = edgeft.verify(made, device=emulated)
    assert report["verdict"] == "fail"
    (gate,) = (gate for gate in report["gates"] if gate["required"])
    assert "onnxruntime 1.21.0 on cortex-a72" in gate["why"] and "SIGILL" in gate["why"]
    assert main(["verify", str(made), "--device", emulated]) == 1
    _set_up(emulated, "litert")


@pytest.mark.slow
def test_sounds_are_read_on_the_emulated_board(emulated: str, tmp_path: Path):
    made = Path(shutil.copytree(TESTS / "fixtures" / "chirps", tmp_path / "chirps"))
    data = sounds.write_folder(tmp_path / "sounds", {"test": 4})
    _set_up(emulated, "litert", extras=("audio",))
    done = held(get(emulated).argv("import soundfile\nprint(soundfile.__libsndfile_version__)"))
    assert done.returncode == 0 and done.stdout.strip(), done.stderr
    report = edgeft.verify(made, data=data, device=emulated)
    (accuracy,) = [gate for gate in report["gates"] if gate["name"] == "accuracy"]
    assert accuracy["n"] == 12 and accuracy["quantized"] > 0.8, accuracy
    assert report["fingerprint"]["isa"] == "aarch64"


@pytest.mark.slow
def test_values_of_mlperf_tiny_are_the_committed_ones(emulated: str):
    root = Path(os.environ.get("EDGEFT_DATA", "")) / "09_mlperf_tiny" / "models"
    if not os.environ.get("EDGEFT_DATA") or not root.is_dir():
        pytest.skip("EDGEFT_DATA has no MLPerf Tiny models")
    record = json.loads(RESULTS.read_text())
    _set_up(emulated, f"litert=={record['versions']['litert Cortex-A72'].split()[-1]}")
    code = (
        "import hashlib, json, sys\nfrom pathlib import Path\nimport numpy as np\n"
        "from edgeft.backends.litert import session as litert\n"
        "for path in sys.argv[1:]:\n"
        "    s = litert.load(Path(path), threads=1)\n    (x,) = s.inputs\n    rng = np.random.default_rng(0)\n"
        "    outs = []\n"
        "    for _ in range(8):\n"
        "        q = rng.integers(-128, 128, [abs(d) for d in x.shape])\n"
        "        out = s.run({x.name: ((q - (x.zero_point or 0)) * (x.scale or 1)).astype('float32')})\n"
        "        outs.append(np.concatenate([np.rint(out[y.name] / (y.scale or 1)).ravel() for y in s.outputs]))\n"
        "    print('@', hashlib.sha256(np.stack(outs).tobytes()).hexdigest())\n"
    )
    names = list(record["digests"]["litert Cortex-A72"])
    done = held(get(emulated).argv(code, *(str(root / name) for name in names)))
    found = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("@")]
    assert dict(zip(names, found)) == record["digests"]["litert Cortex-A72"], done.stderr[-500:]


def test_what_cannot_be_emulated():
    for name in ("emulate:intel-nuc", "emulate:host"):
        with pytest.raises(UsageError, match="cannot be emulated"):
            emulate.setup(name)
    with pytest.raises(UsageError, match="did you mean 'rpi4'"):
        emulate.setup("emulate:rpi44")
    with pytest.raises(UsageError, match="is not a runtime"):
        packages.for_runtime(["litter"])
    with pytest.raises(UsageError, match="did you mean 'audio'"):
        packages.for_runtime(["litert"], ["audoi"])


def test_requirements_of_a_board():
    assert packages.for_runtime(["litert"]) == ["numpy", "click>=8.1", "pillow", "ai-edge-litert"]
    assert packages.for_runtime(["tflite-runtime"]) == ["click>=8.1", "pillow", "tflite-runtime==2.14.0", "numpy<2"]
    assert packages.for_runtime(["onnxruntime==1.21.0"])[-1] == "onnxruntime==1.21.0"
    assert packages.for_runtime(["litert"], ["audio", "text"])[-3:] == ["soundfile", "tokenizers", "ai-edge-litert"]
    assert packages.backend("tflite-runtime") == "litert"


def test_a_device_that_was_not_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(Missing, match="not set up"):
        get("emulate:rpi5")


def _deb(*members: tarfile.TarInfo) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    content = data.getvalue()
    head = b"!<arch>\n" + b"debian-binary   0           0     0     100644  4         `\n2.0\n"
    return head + f"{'data.tar.xz':<16}{'0':<12}{'0':<6}{'0':<6}{'100644':<8}{len(content):<10}`\n".encode() + content


def _member(name: str, *, size: int = 0, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o4755
    if link:
        member.type, member.linkname = tarfile.SYMTYPE, link
    return member


def test_packages_are_unpacked_inside_their_folder_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    deb = _deb(_member("./usr/bin/tool", size=3), _member("./lib/x", link="/usr/bin/tool"))
    index = {"tool": {"Filename": "pool/tool.deb", "SHA256": hashlib.sha256(deb).hexdigest(), "Version": "1"}}
    monkeypatch.setattr(debian, "fetch", lambda path, sha256="": deb)
    assert debian.unpack(["tool"], index, tmp_path / "root") == {"tool": "1"}
    assert (tmp_path / "root/lib/x").read_bytes() == b"xxx"
    assert (tmp_path / "root/usr/bin/tool").stat().st_mode & 0o7777 == 0o755, "no setuid bit comes along"
    evil = _deb(_member("../outside", size=1))
    monkeypatch.setattr(debian, "fetch", lambda path, sha256="": evil)
    with pytest.raises(InvalidInput, match="leads out"):
        debian.unpack(["tool"], index, tmp_path / "root")
    assert not (tmp_path / "outside").exists()
    with pytest.raises(Missing, match="there is no package"):
        debian.unpack(["other"], index, tmp_path / "root")


def test_a_package_of_another_content_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "file").write_bytes(b"tampered")
    monkeypatch.setenv("EDGEFT_DEBIAN", tmp_path.as_uri())
    with pytest.raises(InvalidInput, match="sha256"):
        debian.fetch("file", "0" * 64)
    with pytest.raises(Missing, match="could not be fetched"):
        debian.fetch("absent")
