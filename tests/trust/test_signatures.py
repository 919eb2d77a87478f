"""A signature says who made a bundle: what is altered after it, unsigned, or signed by somebody else is refused."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle
from shapes_run import seal
from trust_keys import Keys

import edgeft
from edgeft.bundle import reader
from edgeft.core import files
from edgeft.core.errors import BundleError, InvalidInput, Missing, UsageError
from edgeft.report import html, origin, sources, text
from edgeft.trust import environment, signature, tool

SIGNATURE = "bundle.sigstore.json"


def refused(bundle: Path, keys: Path | None, *words: str) -> None:
    with pytest.raises(BundleError) as caught:
        edgeft.load(bundle, keys)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_signed_bundle_passes_wherever_it_lies(signed: Path, keys: Keys) -> None:
    assert edgeft.load(signed, keys.public("alice")).name == reader.open(signed).name
    report = edgeft.verify(signed, trust=keys.public("alice"), state=None)
    assert report["trust"] == {
        "status": "signed",
        "signed": True,
        "key": keys.fingerprint("alice"),
        "file": "alice.pub",
    }
    assert "trust: signed by alice.pub" in text.render(report)


def test_the_signature_is_one_that_model_signing_reads(signer: str, signed: Path, keys: Keys) -> None:
    command = [signer, "-I", "-m", "model_signing", "verify", "key", "--ignore_unsigned_files"]
    words = ["--public_key", keys.public("alice"), "--signature", signed / SIGNATURE, signed]
    done = subprocess.run([*command, *words], capture_output=True, text=True)
    assert done.returncode == 0 and "succeeded" in done.stdout, done.stdout + done.stderr


def test_without_keys_a_report_shows_integrity_only(signed: Path) -> None:
    report = edgeft.verify(signed)
    assert report["trust"] == {"status": "integrity only", "signed": True}
    assert "trust: integrity only: the signature was not checked" in text.render(report)
    (signed / SIGNATURE).unlink()
    assert "trust: integrity only: no signature" in text.render(edgeft.verify(signed))
    page = html.document([sources.of_bundle(reader.open(signed))])
    assert "Integrity only" in page and origin.PAGE.startswith("Integrity only")


def worse_report(bundle: Path) -> None:
    table = json.loads((bundle / "report.json").read_text())
    files.write_json(bundle / "report.json", {**table, "verdict": "pass", "edited": 99.9})


def worse_baseline(bundle: Path) -> None:
    shutil.copy(bundle / "model.onnx", bundle / "baseline" / "model.onnx")
    with (bundle / "baseline" / "model.onnx").open("ab") as handle:
        handle.write(b"\x72\x00")  # an empty field that no reader minds
    seal(bundle)


def fewer_samples(bundle: Path) -> None:
    stored = dict(np.load(bundle / "samples.npz", allow_pickle=False))
    np.savez(bundle / "samples.npz", **{key: value for key, value in stored.items() if key != "targets"})
    seal(bundle)


def other_preprocessing(bundle: Path) -> None:
    table = json.loads((bundle / "manifest.json").read_text())
    seal(bundle, preprocess={**table["preprocess"], "mean": [0.01]})


def added_file(bundle: Path) -> None:
    (bundle / "more.bin").write_bytes(b"more")
    table = json.loads((bundle / "manifest.json").read_text())
    seal(bundle, files={**table["files"], "more.bin": {}})


@pytest.mark.parametrize(
    ("attack", "named"),
    [
        (worse_report, "report.json"),
        (worse_baseline, "baseline/model.onnx"),
        (fewer_samples, "samples.npz"),
        (lambda bundle: seal(bundle, gates={"max_drop": 0.9}), "manifest.json"),
        (other_preprocessing, "manifest.json"),
        (added_file, "manifest.json"),
        (lambda bundle: (bundle / "report.html").write_text("<p>another page"), "report.html"),
        (lambda bundle: (bundle / "report.json").unlink(), "report.json: removed after signing"),
    ],
)
def test_what_is_altered_and_hashed_again_is_named(attack, named: str, signed: Path, keys: Keys) -> None:
    attack(signed)
    reader.open(signed)  # every digest of the manifest fits
    refused(signed, keys.public("alice"), named)


def test_a_bundle_of_nobody_or_of_somebody_else(signed: Path, keys: Keys) -> None:
    refused(signed, keys.public("mallory"), keys.fingerprint("alice"), "not trusted")
    edgeft.sign(signed, keys.private("mallory"))
    refused(signed, keys.public("alice"), keys.fingerprint("mallory"), "not trusted")
    (signed / SIGNATURE).unlink()
    refused(signed, keys.public("alice"), "is not signed", "edgeft sign")


def test_a_signature_that_claims_another_key(signed: Path, keys: Keys) -> None:
    worse_report(signed)
    edgeft.sign(signed, keys.private("mallory"))
    forged = (signed / SIGNATURE).read_text().replace(keys.fingerprint("mallory"), keys.fingerprint("alice"))
    (signed / SIGNATURE).write_text(forged)
    refused(signed, keys.public("alice"), "does not hold")


def test_a_signature_of_another_bundle(signed: Path, keys: Keys, tmp_path: Path) -> None:
    other = tiny_bundle.build(tmp_path, "onnxruntime", name="other")
    edgeft.sign(other, keys.private("alice"))
    shutil.copy(other / SIGNATURE, signed / SIGNATURE)
    refused(signed, keys.public("alice"), "altered after signing")


def statement_refused(text: str, words: str) -> None:
    job = {"bundle": "b", "signature": text, "keys": [], "revoked": [], "source": "--trust"}
    with pytest.raises(BundleError, match=words):
        tool.check(job)


@pytest.mark.parametrize("content", ["", "{}", "[" * 100_000, '{"verificationMaterial": 3}', "[]", "1" * 5000])
def test_a_signature_that_is_none(content: str) -> None:
    statement_refused(content, "the signature cannot be read")


def test_a_signature_that_is_no_text(signed: Path, keys: Keys) -> None:
    (signed / SIGNATURE).write_bytes(b"\xff\xfe")
    refused(signed, keys.public("alice"), "the signature cannot be read")


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "baseline/../../secret", 7])
def test_a_signature_that_names_files_outside(first: Path, name: object) -> None:
    table = json.loads((first / SIGNATURE).read_text())
    statement = json.loads(base64.b64decode(table["dsseEnvelope"]["payload"]))
    statement["predicate"]["resources"].append({"name": name, "algorithm": "sha256", "digest": "0" * 64})
    table["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    statement_refused(json.dumps(table), "the signature cannot be read")


def test_a_signature_that_is_a_link(signed: Path, keys: Keys, tmp_path: Path) -> None:
    shutil.move(signed / SIGNATURE, tmp_path / "elsewhere.json")
    (signed / SIGNATURE).symlink_to(tmp_path / "elsewhere.json")
    refused(signed, keys.public("alice"), "is a link")


def test_what_was_opened_is_what_was_signed(signed: Path, keys: Keys) -> None:
    opened = reader.open(signed)
    seal(signed, labels=["a", "b", "c"])
    edgeft.sign(signed, keys.private("alice"))  # another bundle of the same key takes its place
    with pytest.raises(BundleError, match=r"manifest\.json: altered after signing"):
        signature.check(opened, keys.public("alice"))


def test_revoked_and_rotated_keys(signed: Path, keys: Keys, tmp_path: Path) -> None:
    folder = tmp_path / "trusted"
    folder.mkdir()
    for name in ("alice", "mallory"):
        shutil.copy(keys.public(name), folder)
    assert edgeft.verify(signed, trust=folder)["trust"]["file"] == "alice.pub"

    (folder / "revoked.txt").write_text(f"# left the team\n{keys.fingerprint('alice').upper()}  # stolen\n\n")
    refused(signed, folder, keys.fingerprint("alice"), "revoked")
    refused(signed, folder / "alice.pub", "revoked")  # the list beside a single key counts too

    edgeft.sign(signed, keys.private("mallory"))
    assert edgeft.load(signed, folder)

    (folder / "revoked.txt").write_text("deadbeef\n")
    with pytest.raises(InvalidInput, match="'deadbeef' is no fingerprint"):
        edgeft.load(signed, folder)


def test_keys_that_cannot_be_used(signed: Path, keys: Keys, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for path, word in ((empty, "no public key"), (tmp_path / "none", "does not exist")):
        with pytest.raises(UsageError, match=word):
            edgeft.load(signed, path)
    for path, word in ((keys.private("alice"), "no public key in PEM"), (keys.public("rsa"), "elliptic curve")):
        with pytest.raises(InvalidInput, match=word):
            edgeft.load(signed, path)


def test_private_keys_that_cannot_sign(signed: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (signed / SIGNATURE).read_bytes()
    for path in (keys.public("alice"), keys.private("rsa"), keys.private("locked"), keys.folder / "none.pem"):
        with pytest.raises(UsageError) as caught:
            edgeft.sign(signed, path)
        assert str(path) in str(caught.value)
    assert (signed / SIGNATURE).read_bytes() == before

    monkeypatch.setenv("EDGEFT_KEY_PASSWORD", "secret")
    edgeft.sign(signed, keys.private("locked"))
    assert edgeft.load(signed, keys.public("locked"))


def test_a_setting_asks_for_signatures_everywhere(
    signed: Path, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsigned = tiny_bundle.build(tmp_path, "onnxruntime", name="unsigned")
    monkeypatch.setenv("EDGEFT_TRUST", str(keys.public("alice")))
    for command in (
        lambda: edgeft.verify(unsigned),
        lambda: edgeft.predict(unsigned, ["x.png"]),
        lambda: edgeft.bench(unsigned, seconds=0.1),
        lambda: edgeft.bench(signed, unsigned),
        lambda: edgeft.personalize(unsigned, tmp_path),
    ):
        with pytest.raises(BundleError, match="is not signed, and EDGEFT_TRUST asks for a signature"):
            command()
    assert edgeft.verify(signed)["trust"]["status"] == "signed"

    monkeypatch.delenv("EDGEFT_TRUST")
    folder = tmp_path / "config" / "edgeft" / "trust"
    folder.mkdir(parents=True)
    with pytest.raises(UsageError, match="no public key"):  # an empty folder does not mean that all is trusted
        edgeft.load(unsigned)
    shutil.copy(keys.public("alice"), folder)
    refused(unsigned, None, "is not signed", "config/edgeft/trust asks for a signature")
    assert edgeft.load(signed)


def test_what_would_break_a_signature_is_refused(signed: Path, keys: Keys, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in signed.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="signed"):
        edgeft.report(signed)
    with pytest.raises(UsageError, match="signed"):
        edgeft.bench(signed, search=True)
    edgeft.verify(signed)
    assert {path: path.read_bytes() for path in signed.rglob("*") if path.is_file()} == before
    assert edgeft.report(signed, tmp_path / "page.html").exists()


def test_what_a_device_learns_does_not_break_it(signed: Path, keys: Keys) -> None:
    (signed / "state.npz").write_bytes(b"learned later")
    assert edgeft.load(signed, keys.public("alice"))


def test_without_model_signing_the_command_is_told(signed: Path, keys: Keys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if environment.python() is not None:
        pytest.skip("model-signing is installed in this very environment")
    for work in (lambda: edgeft.sign(signed, keys.private("alice")), lambda: edgeft.load(signed, keys.public("alice"))):
        with pytest.raises(Missing, match="model-signing") as caught:
            work()
        assert caught.value.remedy.startswith("edgeft sign --setup") and caught.value.exit_code == 4
