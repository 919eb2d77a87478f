"""The GitHub Action, the GitLab component and the pre-commit hook on small real bundles, by their very shell steps."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import tiny_bundle
from integrations import ROOT, action, component, environment, hook, yaml_documents

FILES = {"summary.md", "results.xml", "report.html", "gate.json"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A checkout of a user with the bundle `bundles/host`, which passes."""
    tiny_bundle.usable("onnxruntime")
    shutil.copytree(ROOT / "tests" / "fixtures" / "0.1.0" / "host", tmp_path / "bundles" / "host")
    return tmp_path


def set_gate(bundle: Path, name: str, verdict: str) -> None:
    """Change what report.json records of a gate and of the bundle."""
    report = json.loads((bundle / "report.json").read_text())
    for gate in report["gates"]:
        if gate["name"] == name:
            gate["verdict"] = verdict
    (bundle / "report.json").write_text(json.dumps({**report, "verdict": verdict}))


# -- GitHub ----------------------------------------------------------------------------------------------------------
def test_the_action_shows_every_gate_and_keeps_the_report(home: Path) -> None:
    shutil.copytree(home / "bundles", home / "base branch")
    job = action(home, bundle="bundles/host", against="base branch", edgeft="installed", tolerance="400")
    assert (job.code, job.outputs) == (0, {"verdict": "pass"}), job.log
    assert "| host | ✅ pass |" in job.summary and "host · onnxruntime" in job.summary
    assert {path.name for path in (home / "edgeft-gate").iterdir()} == FILES
    cases = ET.parse(home / "edgeft-gate" / "results.xml").getroot()
    assert int(cases.get("tests", 0)) > 10 and cases.get("failures") == "0"
    results = json.loads((home / "edgeft-gate" / "gate.json").read_text())
    assert results["reports"][0]["verdict"] == "pass" and results["bench"][0]["verdict"] == "pass"


def test_the_action_fails_where_a_gate_fails(home: Path) -> None:
    tiny_bundle.build(home, "onnxruntime")
    job = action(home, bundle="bundles/host\n\n bundle \n".replace(" ", ""), edgeft="installed")
    assert (job.code, job.outputs) == (1, {"verdict": "fail"}), job.log
    assert "❌ fail" in job.summary and "✅ pass" in job.summary and "::error" in job.log


def test_the_action_warns_where_nothing_can_be_said(home: Path) -> None:
    set_gate(home / "bundles" / "host", "accuracy", "inconclusive")
    job = action(home, bundle="bundles/host", edgeft="installed")
    assert (job.code, job.outputs) == (0, {"verdict": "inconclusive"}), job.log
    assert "::warning" in job.log and "inconclusive" in job.summary
    strict = action(home, bundle="bundles/host", edgeft="installed", strict="true")
    assert (strict.code, strict.outputs) == (1, {"verdict": "fail"})


def test_the_action_fails_where_a_bundle_cannot_be_judged(home: Path) -> None:
    (home / "edgeft-gate").mkdir()
    (home / "edgeft-gate" / "summary.md").write_text("✅ pass")  # of an earlier step
    (home / "bundles" / "host" / "model.onnx").write_bytes(b"altered")
    job = action(home, bundle="bundles/host", edgeft="installed")
    assert (job.code, job.outputs) == (3, {"verdict": "error"})
    assert "no verdict" in job.summary and "pass" not in job.summary
    assert "model.onnx" in job.log and "Traceback" not in job.log


def test_inputs_of_the_action_are_no_code(home: Path) -> None:
    for text in ('"; touch hacked; "', "$(touch hacked)", "`touch hacked`"):
        job = action(home, bundle=text, data=text, against=text, tolerance=text, trust=text, edgeft="installed")
        assert job.code != 0 and job.outputs == {"verdict": "error"}
    assert not (home / "hacked").exists()


def test_the_action_installs_its_own_revision(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network: pip takes the build tools of this environment (0 is its word for that) and nothing else."""
    pytest.importorskip("hatchling", reason="pip install 'edgeft[dev]'")
    for name, value in (("TARGET", home / "site"), ("NO_DEPS", 1), ("NO_BUILD_ISOLATION", 0), ("NO_INDEX", 1)):
        monkeypatch.setenv(f"PIP_{name}", str(value))
    job = action(home, bundle="bundles/host", packages="")
    assert job.code == 0, job.log
    assert (home / "site" / "edgeft" / "py.typed").is_file() and (home / "site" / "edgeft" / "_shipped").is_dir()


def test_the_action_is_what_github_reads() -> None:
    (table,) = yaml_documents(ROOT / "action.yml")
    upload = [step for step in table["runs"]["steps"] if "uses" in step]
    assert [step["if"] for step in upload] == ["always()"]
    used = (ROOT / "docs" / "ci.md").read_text()
    for name in table["inputs"]:
        assert f"`{name}`" in used, name


# -- GitLab ----------------------------------------------------------------------------------------------------------
def test_the_component_passes_fails_and_warns(home: Path) -> None:
    shutil.copytree(home / "bundles" / "host", home / "second")
    job = component(home, bundle="bundles/host second", edgeft="installed")
    assert job.code == 0, job.log
    assert {path.name for path in (home / job.outputs["report"]).iterdir()} == FILES

    set_gate(home / "bundles" / "host", "accuracy", "inconclusive")
    job = component(home, bundle="bundles/host", edgeft="installed", report="here")
    assert (job.code, job.outputs["allowed"]) == (5, "True") and (home / "here" / "results.xml").is_file()
    job = component(home, bundle="absent", edgeft="installed", strict="true", data="$(touch hacked)")
    assert (job.code, job.outputs["allowed"]) == (3, "False") and not (home / "hacked").exists()


# -- pre-commit ------------------------------------------------------------------------------------------------------
@pytest.fixture
def repository(home: Path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    environment(home)  # the programs of the job stand beside the repository's files, and git does not know them
    git(home, "init", "-q")
    git(home, "add", "bundles")
    return home


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, timeout=60)


def test_the_hook_takes_a_bundle_with_its_verdict(repository: Path) -> None:
    assert hook(repository) == (0, "pass  bundles/host\n")
    assert hook(repository, "bundles/host")[0] == 0


def test_the_hook_refuses_a_bundle_without_a_verdict(repository: Path) -> None:
    bundle = repository / "bundles" / "host"
    git(repository, "rm", "-q", "--cached", "bundles/host/report.json")
    code, log = hook(repository)
    assert code == 3 and "report.json is not in the commit" in log and "git add" in log  # it lies there, untracked
    git(repository, "add", "bundles")

    report = json.loads((bundle / "report.json").read_text())
    (bundle / "report.json").write_text(json.dumps({**report, "gates": []}))
    code, log = hook(repository)
    assert code == 3 and "differs from what is staged" in log
    git(repository, "add", "bundles")
    code, log = hook(repository)
    assert code == 3 and "has no verdict" in log


@pytest.mark.parametrize(("verdict", "expected"), [("fail", 1), ("inconclusive", 5)])
def test_the_hook_refuses_what_did_not_pass(repository: Path, verdict: str, expected: int) -> None:
    set_gate(repository / "bundles" / "host", "accuracy", verdict)
    git(repository, "add", "bundles")
    assert hook(repository)[0] == expected
    assert hook(repository, "--strict")[0] == 1


def test_a_verdict_that_its_gates_do_not_bear_out_is_none(repository: Path) -> None:
    bundle = repository / "bundles" / "host"
    set_gate(bundle, "accuracy", "fail")
    report = json.loads((bundle / "report.json").read_text())
    (bundle / "report.json").write_text(json.dumps({**report, "verdict": "pass"}))
    git(repository, "add", "bundles")
    assert hook(repository)[0] == 1


def test_the_hook_names_every_bundle(repository: Path) -> None:
    shutil.copytree(repository / "bundles" / "host", repository / "bundles" / "other")
    (repository / "bundles" / "other" / "model.onnx").write_bytes(b"altered")
    git(repository, "add", "bundles")
    code, log = hook(repository)
    assert code == 3 and "pass     bundles/host" in log and "refused  bundles/other" in log and "model.onnx" in log
    assert hook(repository, "bundles/host")[0] == 0
    code, log = hook(repository, "bundles/absent")
    assert code == 2 and "no bundle that git knows" in log


def test_a_repository_without_bundles_and_none_at_all(tmp_path: Path) -> None:
    code, log = hook(tmp_path)
    assert code == 2 and "git says" in log
    git(tmp_path, "init", "-q")
    assert hook(tmp_path) == (0, "git knows no bundle here\n")
    assert hook(tmp_path, "--data", "x")[0] == 2


def test_without_git_and_without_a_bundle(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "edgeft", "gate", "--json"]
    done = subprocess.run(
        [*argv, "--tracked"], cwd=tmp_path, env={"PATH": "", "PYTHONPATH": str(ROOT)}, capture_output=True
    )
    assert done.returncode == 4 and "git is not installed" in json.loads(done.stdout)["message"]
    done = subprocess.run(argv, cwd=tmp_path, env={"PATH": "", "PYTHONPATH": str(ROOT)}, capture_output=True)
    assert done.returncode == 2 and "no bundle was named" in json.loads(done.stdout)["message"]
