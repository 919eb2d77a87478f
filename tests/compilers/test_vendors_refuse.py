"""Real compilers of vendors on models with one thing that they do not take: a fail that names the node and the cause.

The environments are made once and stay in the user's cache; without a connection these tests are skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sabotage_models
import sabotage_tflite

from edgeft import backends, compilers
from edgeft.compilers import Compilation, compilation
from edgeft.compilers.environment import Environment
from edgeft.config import target
from edgeft.config.target import Target
from edgeft.core.verdict import UNVERIFIED, Verdict
from edgeft.verify import compiler_gate

pytestmark = pytest.mark.slow
Vendor = Callable[[str], Environment]


def judged(profile: Target, made: Compilation) -> Verdict:
    rules = Verdict("compatibility", UNVERIFIED, "has not run", needs=profile.compiler)
    return compiler_gate.judged(rules, made, 0.95)


def asked(environment: Environment, sabotage: str, folder: Path) -> tuple[Compilation, Verdict]:
    profile = target.load("rb3-gen2")
    path = sabotage_models.write(folder / "model.onnx", sabotage)
    made = compilation.compiled(environment, profile, path, folder / "compiled")
    return made, judged(profile, made)


@pytest.fixture
def by_vela(vendor: Vendor, tmp_path: Path) -> Callable[[str], tuple[Compilation, Verdict]]:
    """What Vela makes of the small TFLite model with a sabotage, and the gate's verdict."""
    environment, profile = vendor("vela"), target.load("imx93")

    def compiled(sabotage: str) -> tuple[Compilation, Verdict]:
        path = sabotage_tflite.write(tmp_path / "model.tflite", sabotage)
        made = compilation.compiled(environment, profile, path, tmp_path / "compiled")
        return made, judged(profile, made)

    return compiled


def test_vela_takes_the_model_as_it_is(by_vela):
    made, verdict = by_vela("")
    assert verdict.verdict == "pass" and made.coverage_macs == made.coverage_ops == 1.0
    assert made.estimate["cycles"] > 0


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        ("float", "not CONV_2D at 'body' (Operation has tensor with unsupported DataType Float32 (x))"),
        ("stride", "not CONV_2D at 'body' (Unsupported kernel stride: 5, 5)"),
        ("infinite", "at 'body': Does not have valid TFLite Semantics. - Tensor Quantization scales must be finite"),
    ],
)
def test_vela_names_the_convolution_that_it_does_not_take(by_vela, tmp_path: Path, sabotage: str, words: str):
    made, verdict = by_vela(sabotage)
    assert verdict.verdict == "fail" and words in verdict.why
    assert made.accepted == (tmp_path / "compiled").exists() == (sabotage != "infinite")


def test_vela_leaves_an_op_that_it_does_not_have(by_vela):
    made, verdict = by_vela("sin")
    assert [(left.op, left.node, left.why) for left in made.fallback] == [
        ("DEQUANTIZE", "real", "Unsupported opType"),
        ("SIN", "sine", "Unsupported opType"),
    ]
    assert verdict.verdict == "pass" and "on the CPU: 1 x DEQUANTIZE, 1 x SIN" in verdict.why


def test_vela_refuses_half_a_file(vendor: Vendor, tmp_path: Path):
    profile = target.load("imx93")
    path = sabotage_tflite.write(tmp_path / "model.tflite")
    path.write_bytes(path.read_bytes()[:700])
    made = compilation.compiled(vendor("vela"), profile, path, tmp_path / "compiled")
    assert judged(profile, made).verdict == "fail" and not (tmp_path / "compiled").exists()


def test_qnn_takes_the_model_as_it_is(vendor: Vendor, tmp_path: Path):
    made, verdict = asked(vendor("qnn"), "", tmp_path)
    assert verdict.verdict == "pass" and made.coverage_macs == made.coverage_ops == 1.0


def test_qnn_does_not_take_scales_of_another_axis(vendor: Vendor, tmp_path: Path):
    made, verdict = asked(vendor("qnn"), "axis", tmp_path)
    assert verdict.verdict == "fail" and made.coverage_macs == 0.0
    assert "not Conv at 'body'" in verdict.why and "axis == 0" in verdict.why


def test_qnn_names_an_op_that_it_does_not_have(vendor: Vendor, tmp_path: Path):
    made, _ = asked(vendor("qnn"), "det", tmp_path)
    (left,) = made.fallback
    assert (left.op, left.node) == ("Det", "det") and "`Det` are not supported" in left.why


def test_qnn_refuses_an_op_on_stored_integers(vendor: Vendor, tmp_path: Path):
    made, verdict = asked(vendor("qnn"), "pad", tmp_path)
    assert verdict.verdict == "fail" and not made.accepted
    assert "Pad at 'border': backendValidateOpConfig fails with error 3110" in verdict.why
    assert not (tmp_path / "compiled").exists()


def test_rknn_leaves_an_op_that_it_does_not_have_and_dies_of_a_wrong_axis(vendor: Vendor, tmp_path: Path):
    environment, profile = vendor("rknn"), target.load("rk3588")
    folders = [tmp_path / "det", tmp_path / "axis"]
    made = []
    for folder in folders:
        folder.mkdir()
        path = sabotage_models.write(folder / "model.onnx", folder.name)
        made.append(compilation.compiled(environment, profile, path, folder / "compiled"))

    left, died = made
    assert [(operation.op, operation.node, operation.why) for operation in left.fallback] == [
        ("Det", "det", "the CPU runs Det")
    ]
    verdict = judged(profile, died)
    assert verdict.verdict == "fail" and "RKNN-Toolkit2 was ended by signal SIGABRT" in verdict.why
    assert not (tmp_path / "axis" / "compiled").exists()


def test_rknn_simulates_a_model_without_an_image(vendor: Vendor, tmp_path: Path):
    environment, profile = vendor("rknn"), target.load("rk3588")
    path = sabotage_models.vectors(tmp_path / "model.onnx")
    made = compilation.compiled(environment, profile, path, tmp_path / "compiled")
    assert made.coverage_macs == 1.0

    feeds = {"x": np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)}
    file = tmp_path / "compiled" / made.files[0]
    (after,) = compilation.simulated(environment, profile, path, file, feeds, 60.0).values()
    session = backends.get("onnxruntime").load(path)
    before = [session.run({"x": row[None]})["y"][0] for row in feeds["x"]]
    np.testing.assert_allclose(after.reshape(3, 4), before, atol=2 * sabotage_models.SCALE)


def test_vela_makes_the_same_bytes_each_time(vendor: Vendor, tmp_path: Path):
    """What its record says (`repeats`), and `verify` holds the files of a bundle to."""
    profile, path = target.load("imx93"), sabotage_tflite.write(tmp_path / "model.tflite")
    contents = []
    for place in (tmp_path / "first", tmp_path / "second"):
        made = compilation.compiled(vendor("vela"), profile, path, place)
        contents.append((place / made.files[0]).read_bytes())

    assert compilers.get("vela").repeats and contents[0] == contents[1]
