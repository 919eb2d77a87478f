"""Report, manifest and summary values for the tests of the report room: realistic ones and hostile ones."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

HOSTILE = "<script>alert(1)</script>\"'&$\\frac{\x00\x1b[31m]]>{{x}} http://evil.example/ 细胞 @all |`*"


def gate(name: str, verdict: str, **values: Any) -> dict[str, Any]:
    blank = {"metric": "", "float": None, "quantized": None, "drop": None, "ci95": None, "limit": None, "n": 0}
    return {"name": name, "verdict": verdict, "why": f"why {name}", "required": True, **blank, **values}


def report() -> dict[str, Any]:
    return {
        "schema": "1.0",
        "target": "jetson-orin-nano",
        "backend": "onnxruntime",
        "verdict": "pass",
        "gates": [
            gate(
                "accuracy",
                "pass",
                metric="accuracy",
                float=0.9714,
                quantized=0.9667,
                drop=0.0048,
                ci95=[-0.0048, 0.0143],
                limit=0.01,
                n=210,
            ),
            gate("agreement", "pass", metric="agreement", quantized=0.9905, ci95=[0.966, 0.998], limit=0.0, n=210),
            gate("parity", "pass", metric="recorded outputs", quantized=1.0, limit=3, n=8),
            gate("integer", "advisory", metric="int8_share", quantized=0.98, limit=0.5, n=18 * 10**8, required=False),
            gate("latency", "advisory", metric="speedup", float=1.0, quantized=0.82, limit=1.0, n=240, required=False),
            gate("compatibility", "unverified", metric="rules broken", required=False),
        ],
        "latency": {
            "float_ms": 9.76,
            "quantized_ms": 11.9,
            "speedup": 0.82,
            "ci99": [0.8, 0.84],
            "where": "host",
            "samples_ms": {"float": [9.7, 9.8, 9.9] * 30, "quantized": [11.8, 11.9, 12.4] * 30},
        },
        "size": {"float_bytes": 44_721_234, "quantized_bytes": 11_341_234},
        "int8_share": 0.98,
        "worst_class": {"label": "Platelets", "float": 0.9286, "quantized": 0.9143, "drop": 0.0143, "n": 70},
        "worst_class_float": {"label": "Platelets", "float": 0.9286, "quantized": 0.9143, "drop": 0.0143, "n": 70},
        "largest_drop": {"label": "Cells", "float": 0.99, "quantized": 0.96, "drop": 0.03, "n": 70},
        "fingerprint": {"cpu": "a processor", "flags": ["avx2", "avx512_vnni"], "threads": 1, "governor": None},
    }


def auto() -> dict[str, Any]:
    """The record of a search for layers in float."""

    def point(metric: float, share: float, *names: str) -> dict[str, Any]:
        drop = 0.9714 - metric
        return {"method": "ptq", "keep_float": list(names), "int8_macs": share, "metric": metric, "drop": drop,
                "agreement": None, "holds": drop <= 0.01}  # fmt: skip

    def layer(name: str, weights: float, activations: float | None) -> dict[str, Any]:
        effects = {"weights": weights, "activations": activations}
        parts = {k: v if v is None else {"sqnr_db": v, "metric": 0.97, "loss": 0.1} for k, v in effects.items()}
        return {"name": name, "sqnr_db": weights - 1, "macs": 10**6, "parameters": 5000, **parts}

    layers = [layer(f"backbone.stages.{i}.blocks.{i}.conv_{i}", 5.0 + i, 9.0 + i if i else None) for i in range(30)]
    held = layers[0]["name"]
    return {
        "verdict": "pass",
        "why": "a drop of at most 1.00 points: reached on validation, with 1 layer in float",
        "split": "val",
        "n": 210,
        "metric": "accuracy",
        "float": 0.9714,
        "limit": 0.01,
        "min_agreement": 0.0,
        "min_int8_share": 0.5,
        "keep_float": [held],
        "path": [point(0.81, 1.0), point(0.9667, 0.93, held), point(0.85, 0.8, layers[1]["name"])],
        "sensitivity": {"split": "val", "n": 32, "float": {"metric": 0.97, "loss": 0.1}, "layers": layers},
    }


def manifest() -> dict[str, Any]:
    return {
        "schema": "1.0",
        "name": "blood-cells",
        "task": "classify",
        "target": "jetson-orin-nano",
        "backend": "onnxruntime",
        "labels": ["RBC", "WBC", "Platelets"],
        "runtime": {"name": "onnxruntime", "version": "1.32.0", "threads": 1, "options": {}},
        "scheme": {"name": "symmetric-residual_branch", "weight_bits": 8},
        "requires": {"opset": 17},
        "provenance": {"run": "runs/blood-cells", "versions": {"torch": "2.13.0"}},
        "files": {"model.onnx": {"sha256": "ab" * 32, "bytes": 11_341_234}},
    }


def summary() -> dict[str, Any]:
    return {
        "task": "classify",
        "metric": "accuracy",
        "float": 0.9714,
        "ptq": 0.9571,
        "quantized": 0.9667,
        "n": 210,
        "chance": 1 / 3,
        "updated_parameters": 11_177_000,
        "total_parameters": 11_177_000,
        "peak_training_bytes": 734_003_200,
        "seconds": 184.2,
        "steps": 880,
        "schemes": {"affine": {"ptq": 0.9571, "quantized": 0.9667}},
        "versions": {"torch": "2.13.0"},
    }


def history() -> list[dict[str, Any]]:
    rows = [{"stage": "float", "epoch": 0, "validation": 0.4}]
    rows += [{"stage": "float", "epoch": e, "loss": 1 / e, "validation": 1 - 0.5**e, "lr": 1e-3} for e in (1, 2, 3)]
    return rows + [{"stage": "quantized", "epoch": e, "loss": 0.2 / e, "validation": 0.95} for e in (1, 2)]


def extras() -> dict[str, Any]:
    image = np.arange(64 * 64 * 3, dtype=np.uint32).reshape(64, 64, 3).astype(np.uint8)
    return {
        "per_class": {
            "RBC": {"float": 0.98, "quantized": 0.98, "n": 70},
            "Platelets": {"float": 0.9286, "quantized": 0.9143, "n": 70},
        },
        "samples": [
            {"image": image, "label": "RBC", "float": "RBC", "quantized": "WBC"},
            {"image": image[..., 0], "label": "WBC", "float": "WBC", "quantized": "WBC"},
            {"text": "a sentence", "label": "good", "float": None, "quantized": "good"},
        ],
        "extra_metrics": {"auc": {"float": 0.99, "quantized": 0.985}, "rmse": {"float": 2.0, "quantized": 2.5}},
        "confusion": {"labels": ["RBC", "WBC"], "float": [[70, 0], [3, 60]], "quantized": [[69, 1], [3, 60]]},
        "layer_error": [{"name": "stem", "sqnr_db": 21.5, "fake_quantize": "fq_0"}, {"name": "fc", "sqnr_db": 8.2}],
        "history": history(),
        "rows": {"float": 0.9714, "ptq": 0.9571, "quantized": 0.9667},
        "int8": {"share": 0.98, "float_ops": {"Pad": 2, "Slice": 1}},
    }


def spoil(value: Any, how: Any) -> Any:
    """A copy in which `how` has replaced every leaf and, where it is text, every key of an open table."""
    if isinstance(value, dict):
        return {key: spoil(item, how) for key, item in value.items()}
    if isinstance(value, list):
        return [spoil(item, how) for item in value]
    return how(value)


def hostile() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Every string replaced by `HOSTILE`, but the verdicts and gate names that steer what is drawn."""
    steering = {"pass", "advisory", "unverified", "accuracy", "latency"}

    def text(value: Any) -> Any:
        return HOSTILE if isinstance(value, str) and value not in steering else copy.copy(value)

    more = spoil(extras(), text)
    more["per_class"] = {HOSTILE: {"float": 0.9, "quantized": 0.8, "n": 5}, "细胞": {"float": 0.9, "quantized": 0.9}}
    more["int8"]["float_ops"] = {HOSTILE: 3}
    made = spoil(manifest(), text)
    made["files"] = {HOSTILE: {"sha256": HOSTILE, "bytes": 3}}
    run = spoil(summary(), text)
    run["schemes"] = {HOSTILE: {"ptq": 0.5, "quantized": 0.6}}
    return spoil(report(), text), made, run, more


def unmeasured(value: Any) -> Any:
    """Numbers become NaN, text stays."""
    return value if isinstance(value, (str, bool)) else float("nan")


def endless(value: Any) -> Any:
    """Numbers become infinite, text stays."""
    return value if isinstance(value, (str, bool)) else float("inf")


def unknown(value: Any) -> Any:
    """Nothing is known."""
    del value


def wrong(value: Any) -> Any:
    """Every value is of a type that nobody expects."""
    del value
    return []
