"""`edgeft export --auto`: every candidate of a board made and measured, one shipped. No test asserts a time."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import schemas
import steering
from end_to_end import ask

import edgeft
from edgeft import backends
from edgeft.config import recipe, target
from edgeft.core.errors import UsageError
from edgeft.devices.device import Here
from edgeft.devices.speeds import unmeasured
from edgeft.export.candidates import candidates, name
from edgeft.report import markdown, text

pytestmark = pytest.mark.slow  # what its nets share with others is in the quick tests

for _package in ("torch", "onnxruntime", "onnxscript", "openvino"):
    pytest.importorskip(_package, reason=f"{_package} is not installed")

KEYS = {
    *("name", "backend", "format", "method", "verdict", "chosen", "pareto", "why", "speedup", "interval"),
    *("in_choice", "yardstick", "metric", "drop", "bytes"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small perceptron that steers: a state of four numbers to two controls."""
    folder = tmp_path_factory.mktemp("arm")
    steering.tuned(folder, {"epochs": 1})
    # the weights of another format, damaged on the way: what cannot be made is a row, and no end
    (folder / "run" / "quantized.fp16.safetensors").write_bytes(b"no tensors")
    return folder / "run"


@pytest.fixture(scope="module")
def chosen(run: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    out = tmp_path_factory.mktemp("bundles")
    (report,) = edgeft.export(run, ["host-openvino"], out, auto=True, seconds=0.5)
    return SimpleNamespace(run=run, out=out, report=report, rows=report["choice"]["candidates"])


def test_every_format_of_the_runtime_is_a_row_and_one_is_shipped(chosen: SimpleNamespace) -> None:
    form = backends.get("openvino").form("integer")
    assert {row["name"] for row in chosen.rows} == {f"openvino {number_format}" for number_format in form.formats}
    assert {"openvino int8", "openvino fp16", "openvino fp32"} <= {row["name"] for row in chosen.rows}
    assert all(set(row) == KEYS and row["why"] for row in chosen.rows)
    (shipped,) = [row for row in chosen.rows if row["chosen"]]
    manifest = edgeft.load(chosen.report["path"]).manifest
    assert shipped["name"] == chosen.report["choice"]["chosen"] == f"openvino {manifest['scheme']['format']}"
    assert manifest["backend"] == "openvino" and manifest["provenance"]["recipe"]["export"]["choose"] == "fastest"
    assert chosen.report["format"] == shipped["format"] and shipped["verdict"] == chosen.report["verdict"] == "pass"
    assert [path.name for path in chosen.out.iterdir()] == ["host-openvino"], "other candidates were left behind"
    schemas.hold(chosen.run, [chosen.report])


def test_the_float_model_is_the_yardstick_and_the_others_have_intervals(chosen: SimpleNamespace) -> None:
    of_name = {row["name"]: row for row in chosen.rows}
    assert chosen.report["choice"]["yardstick"] == "openvino fp32" and not chosen.report["choice"]["unmeasured"]
    float_row, int8 = of_name["openvino fp32"], of_name["openvino int8"]
    assert float_row["speedup"] == 1 and float_row["interval"] is None and float_row["drop"] == 0
    low, high = int8["interval"] or (0, np.inf)  # in half a second there may be too few quads for an interval
    assert int8["in_choice"] and low <= int8["speedup"] <= high
    assert int8["bytes"] and float_row["bytes"] and int8["method"] in ("qat", "ptq") and float_row["method"] is None


def test_what_cannot_be_made_is_a_row_with_the_reason(chosen: SimpleNamespace) -> None:
    row = next(row for row in chosen.rows if row["name"] == "openvino fp16")
    assert row["verdict"] is None and "cannot be read" in row["why"] and row["speedup"] is None
    assert not row["chosen"] and not row["pareto"]


def test_every_form_of_the_report_shows_the_choice(chosen: SimpleNamespace) -> None:
    page = (Path(chosen.report["path"]) / "report.html").read_text()
    sentence = f"Chosen of {len(chosen.rows)} candidates: {chosen.report['choice']['chosen']}"
    for shown in (page, text.render(chosen.report), text.reports([chosen.report] * 2), markdown.render(chosen.report)):
        assert sentence in shown
    for row in chosen.rows:
        assert row["name"] in page and row["name"] in text.render(chosen.report)
    assert "cannot be read" in page and "Pareto" in page


def test_the_shipped_bundle_verifies_and_answers(chosen: SimpleNamespace, capfd: pytest.CaptureFixture[str]) -> None:
    again = edgeft.verify(chosen.report["path"])
    assert again["verdict"] == "pass" and again["format"] == chosen.report["format"]
    code, found, _ = ask(capfd, "predict", chosen.report["path"], "0.1,0.2,0.3,0.4")
    assert code == 0 and found["predictions"]


@pytest.mark.slow
def test_what_fails_a_gate_is_not_shipped(run, tmp_path, capfd) -> None:
    """The int8 graph of so small a net takes more bytes than its float one: its scales and its ops."""
    words = ("export", run, "--target", "host-openvino", "--out", tmp_path, "--auto", "--seconds", "0.1")
    code, found, err = ask(capfd, *words, "--set", "gates.size_mb=0.03")
    assert code == 0 and found["choice"]["chosen"] == "openvino fp32" and found["format"] == "fp32", err
    row = next(row for row in found["choice"]["candidates"] if row["format"] == "int8")
    assert row["verdict"] == "fail" and row["why"].startswith("size: ") and not row["chosen"] and not row["pareto"]
    assert not row["in_choice"] and "openvino fp32 is chosen: " in err


# -- what is a candidate ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("board", target.names())
def test_candidates_follow_from_profile_and_records(board: str) -> None:
    profile = target.load(board)
    variants = candidates(profile, recipe.Quantize())
    names = [name(variant) for variant in variants]
    assert variants[0] == profile and len(set(names)) == len(names)
    assert all(variant.name == board for variant in variants)
    assert any(not variant.scheme.quantized for variant in variants) != profile.full_integer
    runtimes = {variant.backend for variant in variants}
    assert profile.backend in runtimes and (runtimes == {profile.backend} or not profile.compiler)


def test_a_board_with_several_runtimes_has_candidates_of_each() -> None:
    names = [name(variant) for variant in candidates(target.load("rpi5"), recipe.Quantize(format="fp16"))]
    assert names[0] == "litert fp16" and {"litert int8", "litert fp32", "onnxruntime int8"} <= {*names}


# -- where speed says nothing ----------------------------------------------------------------------------------------
def test_a_board_that_is_not_here_is_not_chosen_for_by_speed() -> None:
    assert unmeasured(target.load("host-any"), Here()) == ""
    assert "trtexec" in unmeasured(target.load("jetson-orin-nano"), Here())
    foreign = "imx93" if target.host_cpu()[0] == "aarch64" else "rpi5"
    assert unmeasured(target.load(foreign), Here())
    with pytest.raises(UsageError, match="an emulator gives no figure of speed"):
        unmeasured(target.load("rpi5"), SimpleNamespace(name="emulate:rpi5", where="emulated", timed=False))


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--device", "ssh://pi@board"), 2, "--device is about timing candidates"),
        (("--seconds", "3"), 2, "--seconds is about timing candidates"),
        (("--auto", "--seconds", "-1"), 2, "-1 seconds are no time to measure in"),
        (("--auto", "--device", "nowhere"), 2, "'nowhere' is not a device"),
        (("--set", "export.choose=fast"), 3, "'export.choose' cannot be 'fast'"),
    ],
)
def test_options_that_make_no_sense_are_refused(run, tmp_path, capfd, words, code, says) -> None:
    found = ask(capfd, "export", run, "--target", "host", "--out", tmp_path / "out", *words)
    assert found[0] == code and says in json.dumps(found[1]), found
    assert not (tmp_path / "out").exists()
